//! What the simulated world promises, tried from outside.

#[cfg(not(madsim))]
compile_error!("these tests run in the simulator: build without RUSTFLAGS in the environment");

mod simulated {
    mod connections;
    mod determinism;
    mod faults;
    mod marks;
    mod processes;
    mod select;
    mod time;
}

use bytes::BytesMut;
use runtime::{
    net::{Listener, Stream},
    simulation::{self, HARNESS, NodeId, Options, Outcome},
    time::{self, Elapsed},
};
use std::{future::Future, io, time::Duration};

const SECOND: u64 = 1_000_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a scenario that must succeed.
fn run<T, F>(seed: u64, scenario: impl FnOnce() -> F + Send + 'static) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let outcome = simulation::run(seed, Options::default(), scenario);
    if let Err(failure) = &outcome.result {
        panic!("seed {seed}: {failure}");
    }
    outcome
}

/// A node at 10.0.0.`last`.
fn node(name: &str, last: u8) -> NodeId {
    simulation::add_node(name, [10, 0, 0, last].into())
}

/// Answers every connection with what it says.
async fn echo() {
    let listener = Listener::bind("0.0.0.0:80").await.expect("the port is free");
    loop {
        let (mut stream, _) = listener.accept().await.expect("the node lives");
        runtime::task::spawn(async move {
            let mut buffer = BytesMut::new();
            while let Ok(1..) = stream.read(&mut buffer).await {
                let bytes = buffer.split().freeze();
                if stream.send(&bytes, &[]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// An echo server at `server:80`, started some milliseconds ago.
async fn echo_server() -> NodeId {
    let server = node("server", 1);
    simulation::start(server, echo());
    time::sleep(ms(5)).await;
    server
}

/// Accepts connections and never reads from them.
async fn deaf() {
    let listener = Listener::bind("0.0.0.0:80").await.expect("the port is free");
    let mut held = Vec::new();
    loop {
        held.push(listener.accept().await.expect("the node lives"));
    }
}

async fn connect() -> io::Result<Stream> {
    Stream::connect("server:80").await
}

/// What one read within a time limit gives, as text.
async fn read_within(stream: &mut Stream, limit: Duration) -> Result<io::Result<String>, Elapsed> {
    let mut buffer = BytesMut::new();
    let read = time::timeout(limit, stream.read(&mut buffer)).await?;
    Ok(read.map(|_| String::from_utf8_lossy(&buffer).into_owned()))
}

/// Reads until this many bytes are there.
async fn read_exactly(stream: &mut Stream, count: usize) -> io::Result<BytesMut> {
    let mut buffer = BytesMut::new();
    while buffer.len() < count {
        if stream.read(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer)
}

/// The kind of error of something that must fail.
fn failure<T>(result: io::Result<T>) -> io::ErrorKind {
    result.map(|_| ()).expect_err("must fail").kind()
}

fn cut_both(a: NodeId, b: NodeId) {
    simulation::net::cut(a, b);
    simulation::net::cut(b, a);
}

/// How long something takes on the virtual clock.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let begin = simulation::now_ns();
    let output = future.await;
    (output, Duration::from_nanos(simulation::now_ns() - begin))
}

#[test]
fn the_harness_is_node_zero_and_has_its_name() {
    run(1, || async {
        assert_eq!(simulation::name_of(HARNESS), "harness");
        assert!(simulation::is_running(HARNESS));
    });
}
