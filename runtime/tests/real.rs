//! The real world: sockets, timers and tasks of this machine.

use bytes::{Bytes, BytesMut};
use runtime::{
    disk::{Disk, FileSlice, Open},
    net::{Listener, Slice, Stream},
    observe::{self, Digest, Envelope, Event, emit},
    sync::{Notify, shutdown},
    task::{self, block_on_real},
    time,
};
use std::{
    any::Any,
    future::Future,
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("gregor-runtime-{}", runtime::rand::uuid())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Connects to a listener on this machine, and gives both ends.
async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_address().to_string();
    let client = Stream::connect(&address).await.expect("somebody listens");
    let server = listener.accept().await.expect("somebody connected");
    assert_eq!(client.local_address().ok(), Some(server.1));
    assert_eq!(client.peer_address().ok(), Some(listener.local_address()));
    (client, server.0)
}

async fn read_to_end(stream: &mut Stream) -> io::Result<BytesMut> {
    let mut buffer = BytesMut::new();
    while stream.read(&mut buffer).await? > 0 {}
    Ok(buffer)
}

#[test]
fn a_file_larger_than_the_socket_buffer_is_sent_whole_between_other_pieces() {
    const SIZE: usize = 24 << 20;
    let scratch = Scratch::new();
    block_on_real(async {
        let disk = Disk::real(&scratch.0).unwrap();
        let file = disk.open("log", Open::CreateNew).unwrap();
        let contents: Vec<u8> = (0..SIZE).map(|index| (index / 7 % 251) as u8).collect();
        file.append(&contents).unwrap();
        let (mut client, mut server) = pair().await;
        let slice = |position, length| Slice::File(FileSlice { file: file.clone(), position, length });
        let body = [slice(5, 0), slice(10, SIZE as u64 - 20), Bytes::from_static(b"between").into(), slice(0, 3)];
        let sending = task::spawn(async move {
            server.send(b"header", &body).await.unwrap();
            server.shutdown().await.unwrap();
            server
        });
        let all = read_to_end(&mut client).await.unwrap();
        let expected = [b"header", &contents[10..SIZE - 10], b"between", &contents[..3]].concat();
        assert!(all[..] == expected[..], "{} bytes of {}", all.len(), expected.len());
        sending.await.unwrap();
    });
}

#[test]
fn a_file_shorter_than_its_slice_is_an_error() {
    let scratch = Scratch::new();
    block_on_real(async {
        let disk = Disk::real(&scratch.0).unwrap();
        let file = disk.open("log", Open::CreateNew).unwrap();
        file.append(b"short").unwrap();
        let (_client, mut server) = pair().await;
        let body = [Slice::File(FileSlice { file, position: 0, length: 100 })];
        assert_eq!(server.send(&[], &body).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn many_pieces_are_gathered_and_arrive_in_order() {
    block_on_real(async {
        let (mut client, mut server) = pair().await;
        let body: Vec<Slice> = (0..1_000u32).map(|number| Bytes::from(vec![number as u8; 3_000]).into()).collect();
        let sending = task::spawn(async move { server.send(&[], &body).await });
        let all = read_to_end(&mut client).await.unwrap();
        sending.await.unwrap().unwrap();
        assert_eq!(all.len(), 3_000_000);
        assert!(all.iter().enumerate().all(|(index, byte)| *byte == (index / 3_000) as u8));
    });
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer() {
    block_on_real(async {
        let (client, mut server) = pair().await;
        let endless = [Slice::Bytes(vec![0; 64 << 20].into())];
        let sent = time::timeout(Duration::from_millis(200), server.send(&[], &endless)).await;
        assert_eq!(sent.map(|_| ()), Err(time::Elapsed));
        drop(client);
    });
}

#[test]
fn halves_end_and_close_as_in_the_simulated_world() {
    block_on_real(async {
        let (client, mut server) = pair().await;
        let (mut read, write) = client.into_split();
        drop(write);
        assert_eq!(server.read(&mut BytesMut::new()).await.unwrap(), 0);
        server.send(b"still heard", &[]).await.unwrap();
        let mut buffer = BytesMut::new();
        assert_eq!(read.read(&mut buffer).await.unwrap(), 11);
        drop(read);
        let (client, mut server) = pair().await;
        server.send(b"never read", &[]).await.unwrap();
        drop(client);
        assert_eq!(read_to_end(&mut server).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn nobody_listening_refuses() {
    block_on_real(async {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_string();
        drop(listener);
        assert_eq!(Stream::connect(&address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn timers_and_tasks_are_the_machines_own() {
    block_on_real(async {
        let begin = time::now();
        let (a, b) = (
            time::sleep(Duration::from_millis(20)),
            time::timeout(Duration::from_millis(5), std::future::pending::<()>()),
        );
        assert_eq!(b.await, Err(time::Elapsed));
        a.await;
        assert!(begin.elapsed() >= Duration::from_millis(20));
        let mut sleep = time::sleep(Duration::from_secs(3_600));
        sleep.reset(time::now());
        sleep.await;
        assert!(time::wall_now() > 1_700_000_000_000);
        assert_eq!(task::blocking(|| 6 * 7).await.unwrap(), 42);
        let endless = task::spawn(std::future::pending::<()>());
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
        task::yield_now().await;
    });
}

#[test]
fn a_shutdown_wakes_real_tasks() {
    block_on_real(async {
        let (trigger, shutdown) = shutdown();
        let ready = Arc::new(Notify::new());
        let waiting = task::spawn({
            let ready = ready.clone();
            async move {
                ready.notify_one();
                shutdown.requested().await;
            }
        });
        ready.notified().await;
        trigger.request();
        waiting.await.unwrap();
    });
}

#[derive(Debug)]
struct Counted(u64);

impl Event for Counted {
    fn kind(&self) -> &'static str {
        "counted"
    }

    fn digest(&self, into: &mut Digest) {
        into.u64(self.0);
    }
}

#[test]
fn events_reach_the_process_only_once_somebody_listens() {
    static SUM: AtomicU64 = AtomicU64::new(0);
    emit(|| -> Counted { panic!("nobody listens, so nothing is made") });
    observe::subscribe_process(Box::new(|envelope: &Envelope, event: &dyn Event| {
        let counted = (event as &dyn Any).downcast_ref::<Counted>().expect("the only kind of this program");
        assert_eq!((envelope.life, event.kind()), (0, "counted"));
        SUM.fetch_add(counted.0, Ordering::Relaxed);
    }));
    (1..=4).for_each(|number| emit(|| Counted(number)));
    assert_eq!(SUM.load(Ordering::Relaxed), 10);
}

#[test]
fn openraft_finds_its_runtime_here() {
    fn is_runtime<R: openraft_rt::AsyncRuntime>() -> impl Future<Output = io::Result<u32>> {
        R::spawn_blocking(|| 7)
    }
    assert_eq!(block_on_real(is_runtime::<runtime::raft::RaftRuntime>()).unwrap(), 7);
}
