//! TCP as programs see it when nothing is broken, and when the other side ends.

use crate::{connect, deaf, echo_server, failure, ms, node, read_exactly, read_within, run, timed};
use bytes::{Bytes, BytesMut};
use runtime::{
    net::{Listener, Slice, Stream},
    simulation::{self, net},
    task, time,
};
use std::{io::ErrorKind, time::Duration};

#[test]
fn what_is_sent_arrives_whole_and_in_order() {
    run(1, || async {
        echo_server().await;
        let (mut read, mut write) = connect().await.unwrap().into_split();
        let body: Vec<Slice> = (0..200u8).map(|byte| Bytes::from(vec![byte; 1_000]).into()).collect();
        let sent = task::spawn(async move { write.send(b"header", &body).await });
        let mut buffer = BytesMut::new();
        while buffer.len() < 200_006 {
            assert_ne!(read.read(&mut buffer).await.unwrap(), 0);
        }
        sent.await.unwrap().unwrap();
        assert_eq!(&buffer[..6], b"header");
        assert!(
            (0..200usize).all(|index| buffer[6 + index * 1_000..][..1_000].iter().all(|byte| *byte == index as u8))
        );
    });
}

#[test]
fn frames_do_not_always_arrive_whole() {
    let (whole, parts) = run(1, || async {
        echo_server().await;
        let (mut whole, mut parts) = (0, 0);
        let mut stream = connect().await.unwrap();
        for _ in 0..300 {
            stream.send(&[1; 100], &[]).await.unwrap();
            let mut buffer = BytesMut::new();
            match stream.read(&mut buffer).await.unwrap() {
                100 => whole += 1,
                _ => parts += 1,
            }
            while buffer.len() < 100 {
                stream.read(&mut buffer).await.unwrap();
            }
        }
        (whole, parts)
    })
    .result
    .unwrap();
    assert!(whole > 200 && parts > 10, "{whole} whole, {parts} in parts");
}

#[test]
fn nobody_listening_refuses_after_one_round_trip() {
    run(1, || async {
        echo_server().await;
        let (result, took) = timed(Stream::connect("server:81")).await;
        assert_eq!(failure(result), ErrorKind::ConnectionRefused);
        assert!(took >= ms(0) + Duration::from_micros(400) && took < ms(4), "{took:?}");
    });
}

#[test]
fn names_addresses_and_loopback_are_resolved() {
    run(1, || async {
        let server = echo_server().await;
        assert!(Stream::connect("10.0.0.1:80").await.is_ok());
        assert_eq!(failure(Stream::connect("nobody:80").await), ErrorKind::NotFound);
        assert_eq!(failure(Stream::connect("10.9.9.9:80").await), ErrorKind::HostUnreachable);
        assert_eq!(failure(Stream::connect("127.0.0.1:80").await), ErrorKind::ConnectionRefused);
        assert_eq!(failure(Listener::bind("10.0.0.1:90").await), ErrorKind::AddrNotAvailable);
        let first = Listener::bind("0.0.0.0:0").await.unwrap();
        let second = Listener::bind("localhost:0").await.unwrap();
        assert_ne!(first.local_address(), second.local_address());
        assert_eq!(failure(Listener::bind(&first.local_address().to_string()).await), ErrorKind::AddrInUse);
        let stream = connect().await.unwrap();
        assert_eq!(stream.peer_address().unwrap().to_string(), "10.0.0.1:80");
        assert_eq!(net::connection_count(server), 1, "the streams dropped above are gone");
    });
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, deaf());
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        let mut sent = 0;
        while let Ok(result) = time::timeout(ms(1_000), stream.send(&[0; 4_096], &[])).await {
            result.unwrap();
            sent += 4_096;
        }
        assert_eq!(sent, 256 << 10);
    });
}

#[test]
fn reading_opens_the_window_again() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            time::sleep(ms(3_000)).await;
            read_exactly(&mut stream, 1 << 20).await.unwrap();
            stream.send(b"done", &[]).await.unwrap();
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        let (sent, took) = timed(stream.send(&[], &[Slice::Bytes(vec![7; 1 << 20].into())])).await;
        sent.unwrap();
        assert!(took > ms(2_900) && took < ms(3_200), "{took:?}");
        assert_eq!(read_within(&mut stream, ms(100)).await.unwrap().unwrap(), "done");
    });
}

#[test]
fn an_ended_direction_is_read_to_its_end_while_the_other_stays_open() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = BytesMut::new();
            while stream.read(&mut question).await.unwrap() > 0 {}
            assert_eq!(stream.read(&mut question).await.unwrap(), 0, "the end does not go away");
            stream.send(b"heard: ", &[Slice::Bytes(question.freeze())]).await.unwrap();
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        stream.send(b"question", &[]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(failure(stream.send(b"more", &[]).await), ErrorKind::BrokenPipe);
        let answer = read_exactly(&mut stream, 15).await.unwrap();
        assert_eq!(&answer[..], b"heard: question");
        assert_eq!(read_within(&mut stream, ms(11_000)).await.unwrap().unwrap(), "", "the server is gone in order");
    });
}

#[test]
fn dropping_the_writing_half_ends_the_direction_and_dropping_both_closes() {
    run(1, || async {
        let server = echo_server().await;
        let (mut read, write) = connect().await.unwrap().into_split();
        drop(write);
        let mut buffer = BytesMut::new();
        let end = time::timeout(ms(100), read.read(&mut buffer)).await;
        assert_eq!(end.unwrap().unwrap(), 0, "the echo ended, for it read to the end");
        drop(read);
        time::sleep(ms(10)).await;
        assert_eq!(net::connection_count(server), 0);
    });
}

#[test]
fn closing_with_unread_bytes_is_a_reset() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            time::sleep(ms(50)).await;
            drop(stream);
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        stream.send(b"never read", &[]).await.unwrap();
        assert_eq!(failure(read_within(&mut stream, ms(1_000)).await.unwrap()), ErrorKind::ConnectionReset);
        assert_eq!(failure(stream.send(b"more", &[]).await), ErrorKind::BrokenPipe);
    });
}

#[test]
fn writing_to_a_closed_peer_succeeds_once_and_then_fails() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            drop(listener.accept().await.unwrap());
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        assert_eq!(read_within(&mut stream, ms(100)).await.unwrap().unwrap(), "");
        stream.send(b"into the void", &[]).await.unwrap();
        time::sleep(ms(10)).await;
        assert_eq!(failure(stream.send(b"again", &[]).await), ErrorKind::BrokenPipe);
    });
}

#[test]
fn dropping_a_listener_resets_what_waits_and_refuses_what_comes() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            time::sleep(ms(50)).await;
            drop(listener);
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        assert_eq!(failure(read_within(&mut stream, ms(1_000)).await.unwrap()), ErrorKind::ConnectionReset);
        assert_eq!(failure(connect().await), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_full_backlog_leaves_connects_without_an_answer() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let _listener = Listener::bind("0.0.0.0:80").await.unwrap();
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut held = Vec::new();
        for _ in 0..128 {
            held.push(connect().await.unwrap());
        }
        time::sleep(ms(5)).await;
        assert!(time::timeout(ms(5_000), connect()).await.is_err());
    });
}

#[test]
fn a_cancelled_connect_leaves_nothing_behind() {
    run(1, || async {
        let server = echo_server().await;
        for micros in (100..4_000).step_by(100) {
            let _ = time::timeout(Duration::from_micros(micros), connect()).await;
        }
        time::sleep(ms(100)).await;
        assert_eq!(net::connection_count(server), 0);
    });
}

#[test]
fn a_file_slice_is_sent_as_its_bytes() {
    run(1, || async {
        echo_server().await;
        let disk = runtime::disk::Disk::simulated(simulation::disk::Disk::new(1));
        let file = disk.open("log", runtime::disk::Open::CreateNew).unwrap();
        file.append(b"0123456789").unwrap();
        let slice = |position, length| runtime::disk::FileSlice { file: file.clone(), position, length };
        let mut stream = connect().await.unwrap();
        stream.send(b"<", &[Slice::File(slice(2, 3)), Slice::Bytes(b">".as_slice().into())]).await.unwrap();
        assert_eq!(&read_exactly(&mut stream, 5).await.unwrap()[..], b"<234>");
        assert_eq!(failure(stream.send(b"!", &[Slice::File(slice(8, 3))]).await), ErrorKind::UnexpectedEof);
        assert_eq!(&read_exactly(&mut stream, 1).await.unwrap()[..], b"!", "what came before the file had left");
    });
}
