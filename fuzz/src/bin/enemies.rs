//! Millions of broken requests for a running node, and what a client beside them notices.
//!
//! `cargo run --release --bin enemies -- 127.0.0.1:9092 $(pgrep -f 'gregor server') 10000000`, in this folder, against a node
//! with a topic `orders` of one partition and one replica. Prints the client's latencies before and during, and how large
//! the node got.

use enemy::{Enemy, batch, framed, produce};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

#[path = "../../../protocol/tests/fuzz/enemy.rs"]
mod enemy;
#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../../protocol/tests/golden/files.rs"]
mod files;
#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../../protocol/tests/fuzz/mutation.rs"]
mod mutation;

const ENEMIES: u64 = 8;
/// How long an answer is waited for: a request that waits for records answers later, and is left alone.
const PATIENCE: Duration = Duration::from_millis(2);
const PEACE: Duration = Duration::from_secs(10);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "enemies HOST:PORT PID COUNT";
    let address: SocketAddr = arguments.next().expect(usage).parse().expect("an address with a port");
    let pid: u32 = arguments.next().expect(usage).parse().expect("the node's process");
    let count: u64 = arguments.next().expect(usage).parse().expect("how many requests");
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let before = friend(address, &AtomicBool::new(false), Some(PEACE));
    println!("before: {}", told(before));
    let began = Instant::now();
    thread::scope(|scope| {
        let friend = scope.spawn(|| friend(address, &over, None));
        let enemies: Vec<_> = (0..ENEMIES)
            .map(|seed| {
                scope.spawn({
                    let sent = &sent;
                    move || attack(address, seed, sent, count)
                })
            })
            .collect();
        enemies.into_iter().for_each(|enemy| enemy.join().expect("an enemy ends well"));
        let elapsed = began.elapsed();
        over.store(true, Ordering::Relaxed);
        println!("during: {}", told(friend.join().expect("the client ends well")));
        println!("{} broken requests in {:.0} s", sent.load(Ordering::Relaxed), elapsed.as_secs_f64());
    });
    println!("largest resident size: {} KiB", largest(pid));
}

/// Writes one batch after another, and returns how long each took until it was acknowledged.
fn friend(address: SocketAddr, over: &AtomicBool, at_most: Option<Duration>) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("a friend is served");
    stream.set_nodelay(true).expect("a socket");
    let frame = framed(&produce(&batch()));
    let (began, mut latencies) = (Instant::now(), Vec::new());
    while !over.load(Ordering::Relaxed) && at_most.is_none_or(|most| began.elapsed() < most) {
        let asked = Instant::now();
        stream.write_all(&frame).expect("a friend is not cut off");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("a friend is answered");
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).expect("a friend is answered");
        latencies.push(asked.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    latencies
}

fn told(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!(
        "{} produce requests, p50 {:.2} ms, p99 {:.2} ms, worst {:.1} ms",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

fn attack(address: SocketAddr, seed: u64, sent: &AtomicU64, count: u64) {
    let (mut enemy, mut stream) = (Enemy::new(seed), None);
    while sent.fetch_add(1, Ordering::Relaxed) < count {
        let frame = enemy.next();
        let mut open = stream.take().unwrap_or_else(|| connect(address));
        let written = open.write_all(&frame);
        let answer = open.read(&mut [0; 16_384]);
        let ended =
            matches!(&answer, Ok(0)) || matches!(&answer, Err(error) if error.kind() != io::ErrorKind::WouldBlock);
        if written.is_ok() && !ended && answer.is_ok() {
            stream = Some(open);
        }
    }
    sent.fetch_sub(1, Ordering::Relaxed);
}

fn connect(address: SocketAddr) -> TcpStream {
    loop {
        // The system runs out of ports before the node runs out of patience.
        if let Ok(stream) = TcpStream::connect(address) {
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            return stream;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The most that a process has held in memory so far, in KiB.
fn largest(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
