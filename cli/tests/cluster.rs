//! Real processes on real sockets: three nodes whose leaders are killed while clients write, and one node among enemies.

#![allow(clippy::disallowed_methods, reason = "these tests run in the real world")]

use bytes::Bytes;
use mutation::Mutator;
use protocol::{
    api::Plane,
    compression::Compression,
    frame::encode_request,
    ids::{ProducerEpoch, ProducerId, Sequence, WallMillis},
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
        topic_name,
    },
    record_batch::BatchBuilder,
};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Duration,
};

#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../protocol/tests/golden/files.rs"]
mod files;
#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../protocol/tests/fuzz/mutation.rs"]
mod mutation;

const CREATE_TOPICS: i16 = 19;
const PRODUCE_VERSION: i16 = 9;

/// How many broken requests and batches each enemy sends.
const ATTACKS: usize = 800;
const ENEMIES: u64 = 4;
/// How many connections announce much and send little.
const BRAGGARTS: usize = 60;
/// What one node may take while it is under attack, in KiB.
const RESIDENT_MAX_KIB: u64 = 200 << 10;

/// Nodes of a test, gone with it.
struct Nodes {
    folder: PathBuf,
    base_port: u16,
}

impl Nodes {
    fn start(name: &str, nodes: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("gregor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let started = Self { folder, base_port: free_ports(nodes) };
        let (nodes, port) = (nodes.to_string(), started.base_port.to_string());
        let out = started.cluster(&["start", "-n", &nodes, "--base-port", &port]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        started
    }

    fn cluster(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
        command.args(["cluster", "--dir"]).arg(&self.folder).args(arguments);
        command.output().expect("the binary runs")
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.base_port))
    }

    fn gregor(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
        command.args(arguments).env("GREGOR_BOOTSTRAP", format!("localhost:{}", self.base_port));
        command
    }

    /// What the first node said, and its largest resident size so far in KiB: nothing if it does not run any more.
    fn first(&self) -> (String, Option<u64>) {
        let folder = self.folder.join("node-1");
        let said = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        let pid = std::fs::read_to_string(folder.join("pid")).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        let largest = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        (said, largest.and_then(|line| line.split_whitespace().next()?.parse().ok()))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.cluster(&["stop"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where the next search for ports begins: tests run at the same time, and what one has found is not in use yet.
static NEXT_PORT: Mutex<Option<u16>> = Mutex::new(None);

/// The first of some ports that nobody uses: each node has one for clients, brokers, controllers and HTTP.
fn free_ports(nodes: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offsets = [-1i16, 0, 1, 552];
    let all_free = |base: &u16| {
        (0..nodes)
            .all(|node| offsets.iter().all(|offset| is_free((base + 1_000 * node).saturating_add_signed(*offset))))
    };
    let mut next = NEXT_PORT.lock().expect("no test fails while it holds this");
    let from = next.unwrap_or(12_000 + (std::process::id() % 6_000) as u16 * 3);
    let mut candidates = (0..3_000).map(|at| 12_000 + (from - 12_000 + at * 3) % 18_000);
    let found = candidates.find(all_free).expect("some ports are free");
    *next = Some(found + 3);
    found
}

#[test]
fn nothing_acknowledged_is_lost_while_leaders_are_killed() {
    let nodes = Nodes::start("kills", 3);
    let dir = nodes.folder.to_string_lossy().into_owned();
    let verify = ["verify", "--dir", &dir, "--for", "6s", "--rate", "500", "--kill-every", "2s", "-o", "json"];
    let out = nodes.gregor(&verify).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_str(&said).expect("a report");
    let count = |what: &str| report[what].as_u64().unwrap_or_else(|| panic!("{what}: {said}"));
    assert!(count("breaks") > 0 && count("acknowledged") > 0, "{said}");
    assert_eq!(count("lost") + count("duplicated") + count("reordered"), 0, "{said}");
}

#[test]
fn a_node_among_enemies_stays_small_and_serves_its_friends() {
    let nodes = Nodes::start("enemies", 1);
    let made = nodes.gregor(&["topic", "create", "orders"]).output().expect("the binary runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let braggarts: Vec<TcpStream> = (0..BRAGGARTS).map(|at| brag(nodes.address(), at)).collect();
    let verify = ["verify", "-r", "1", "--for", "5s", "--rate", "300", "-o", "json"];
    let friend = nodes.gregor(&verify).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let address = nodes.address();
    std::thread::scope(|scope| {
        for seed in 0..ENEMIES {
            scope.spawn(move || attack(address, seed));
        }
    });
    let friend = friend.wait_with_output().expect("the binary ends");
    let report = String::from_utf8_lossy(&friend.stdout);
    assert!(friend.status.success(), "{report}");
    drop(braggarts);
    let (said, largest_kib) = nodes.first();
    assert!(!said.contains("panicked"), "{said}");
    let largest_kib = largest_kib.expect("the node runs");
    println!("largest resident size: {largest_kib} KiB");
    assert!(largest_kib < RESIDENT_MAX_KIB, "{largest_kib} KiB at most");
}

/// The metrics that the expressions of a dashboard name.
fn metrics_of(dashboard: &serde_json::Value) -> BTreeSet<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let words = targets.flat_map(|target| {
        let expression = target["expr"].as_str().expect("an expression");
        expression.split(|symbol: char| !symbol.is_ascii_alphanumeric() && symbol != '_').map(String::from)
    });
    words.filter(|word| ["kafka_", "gregor_", "process_"].iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_node_tells_how_it_is_and_everything_that_the_dashboard_shows() {
    let nodes = Nodes::start("health", 1);
    let made = nodes.gregor(&["topic", "create", "orders"]).output().expect("the binary runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = nodes.base_port + 552;
    assert!(http_get(port, "/livez").starts_with("HTTP/1.1 200 OK"));
    assert!(http_get(port, "/readyz").starts_with("HTTP/1.1 200 OK"));
    let scrape = http_get(port, "/metrics");
    let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/grafana/gregor.json");
    let dashboard = std::fs::read_to_string(dashboard).expect("the dashboard");
    let shown = metrics_of(&serde_json::from_str(&dashboard).expect("JSON"));
    assert!(shown.len() > 10, "{shown:?}");
    for metric in shown {
        assert!(scrape.lines().any(|line| line.starts_with(&metric)), "{metric} is not in the scrape");
    }
    assert!(scrape.contains("kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 0"));
}

/// A connection that announces a hundred megabytes and sends a few bytes of them.
fn brag(address: SocketAddr, at: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(&(100i32 << 20).to_be_bytes()).expect("a few bytes");
    stream.write_all(&vec![0; 64 * at]).expect("a few bytes");
    stream
}

/// Sends broken requests, over as many connections as it takes.
fn attack(address: SocketAddr, seed: u64) {
    let mut mutator = Mutator::new(seed);
    let captured: Vec<Vec<u8>> = files::all()
        .into_iter()
        // A topic with any number of partitions is a rightful wish.
        .filter(|golden| golden.direction == files::Direction::Request && golden.key != CREATE_TOPICS)
        .filter(|golden| golden.plane() == Plane::Client && golden.bytes.len() < 10_000)
        .map(|golden| golden.bytes.to_vec())
        .collect();
    let mut stream = None;
    for case in 0..ATTACKS {
        let frame = match case % 3 {
            0 => produce(&mutator.mutated(&batch())),
            1 => mutator.mutated(&produce(&batch())),
            _ => mutator.mutated(&captured[case % captured.len()]),
        };
        let open = stream.take().map_or_else(|| TcpStream::connect(address), Ok);
        let Ok(mut open) = open else { continue };
        open.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let length = (frame.len() as i32).to_be_bytes();
        let sent = open.write_all(&length).and_then(|()| open.write_all(&frame));
        // An answer, the end of the connection, or nothing for a request that waits: whatever comes is right.
        let ended = matches!(open.read(&mut [0; 4_096]), Ok(0));
        if sent.is_ok() && !ended && case % 20 != 0 {
            stream = Some(open);
        }
    }
}

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::Gzip);
    for at in 0..20 {
        builder.push(WallMillis(at), Some(b"key"), Some(&[b'v'; 30]), &[]);
    }
    builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec()
}

/// A Produce request for the topic `orders`, without its length.
fn produce(batch: &[u8]) -> Vec<u8> {
    let data = PartitionProduceData::default().with_records(Some(Bytes::copy_from_slice(batch)));
    let topic = TopicProduceData::default().with_name(topic_name("orders")).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic]);
    let frame = encode_request(7, Some("enemy"), PRODUCE_VERSION, &request).expect("a request");
    frame[4..].to_vec()
}
