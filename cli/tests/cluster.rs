//! Real processes on real sockets: three nodes whose leaders are killed while clients write, and one node among enemies.

#![allow(clippy::disallowed_methods, reason = "these tests run in the real world")]

use enemy::Enemy;
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Duration,
};

#[allow(dead_code, reason = "shared with whoever sends more of them")]
#[path = "../../protocol/tests/fuzz/enemy.rs"]
mod enemy;
#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../protocol/tests/golden/files.rs"]
mod files;
#[path = "cluster/groups.rs"]
mod groups;
#[allow(dead_code, reason = "shared with the tests of the parsers")]
#[path = "../../protocol/tests/fuzz/mutation.rs"]
mod mutation;

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
        Self::start_with(name, nodes, &[])
    }

    fn start_with(name: &str, nodes: u16, more: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("gregor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let started = Self { folder, base_port: free_ports(nodes) };
        let (nodes, port) = (nodes.to_string(), started.base_port.to_string());
        let out = started.cluster(&[&["start", "-n", &nodes, "--base-port", &port], more].concat());
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

/// The first of some ports that nobody uses: each node has one for clients, brokers, controllers and HTTP, a controller of
/// its own one for HTTP beside that, and behind a proxy a node listens a hundred ports above.
fn free_ports(nodes: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offsets = [-1i16, 0, 1, 99, 100, 101, 552, 553];
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

#[cfg(madsim)]
const STORY: &str = r#"
title = "A leader is killed, and its successor cut off"
lasts = "5s"
timeline = [
  { at = "1s", fault = "kill", node = "leader of orders-0", lasts = "1s" },
  { when = "leader_epoch(orders-0) >= 1", after = "2s", fault = "isolate", node = "leader of orders-0", lasts = "1s" },
]
[[topic]]
name = "orders"
[[workload]]
kind = "produce"
topic = "orders"
[[workload]]
kind = "consume"
topic = "orders"
"#;

#[cfg(madsim)]
#[test]
fn a_story_of_the_simulator_is_told_by_real_processes() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("story.toml");
    let run = |story: &str| {
        std::fs::write(&file, story).expect("the file is written");
        let port = free_ports(3).to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
        let out = command.args(["cluster", "run", "--base-port", &port]).arg(&file).output().expect("the binary runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = run(STORY);
    assert_eq!(code, Some(0), "{said}");
    for told in ["FAULT       kill", "FAULT       isolate", "SETTLED", "every claim about what clients were told holds"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    let (code, said) = run(&STORY.replace("\"kill\"", "\"clock-jump\""));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("'clock-jump' cannot be done to real processes"), "{said}");
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

/// Runs one of Kafka's scripts on a cluster: what it says, and whether all went well.
fn script(nodes: &Nodes, name: &str, arguments: &[&str], input: &str) -> (String, bool) {
    let mut command = Command::new(nodes.folder.join("bin").join(name));
    command.args(["--bootstrap-server", &format!("localhost:{}", nodes.base_port)]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("the link runs");
    running.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let out = running.wait_with_output().expect("the script ends");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (said, out.status.success())
}

#[test]
fn kafkas_scripts_work_on_a_cluster_whose_controllers_are_apart() {
    let nodes = Nodes::start_with("scripts", 2, &["--controllers", "3", "-o", "json"]);
    let bin = nodes.folder.join("bin");
    assert!(nodes.gregor(&["install-tools", &bin.to_string_lossy()]).status().expect("the binary runs").success());
    let run = |name: &str, line: &str, input: &str| {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        script(&nodes, name, &arguments, input)
    };
    let create = "--create --topic orders --replica-assignment 2:1,1:2 --config retention.ms=1000000";
    assert_eq!(run("kafka-topics.sh", create, ""), ("Created topic orders.\n".to_owned(), true));
    let (again, ok) = run("kafka-topics.sh", create, "");
    assert_eq!((again.as_str(), ok), ("Error while executing topic command : Topic 'orders' already exists.\n", false));
    assert!(run("kafka-topics.sh", &format!("{create} --if-not-exists"), "").1);
    let (described, _) = run("kafka-topics.sh", "--describe --topic or.*", "");
    let heading = described.lines().next().expect("a line");
    assert!(heading.starts_with("Topic: orders\tTopicId: "), "{described}");
    assert!(
        heading.ends_with(
            "\tPartitionCount: 2\tReplicationFactor: 2\tConfigs: min.insync.replicas=1,retention.ms=1000000"
        ),
        "{described}"
    );
    assert!(
        described.contains("\n\tTopic: orders\tPartition: 0\tLeader: 2\tReplicas: 2,1\tIsr: 2,1\tElr: "),
        "{described}"
    );
    let keyed = "--topic orders --property parse.key=true --property key.separator=: --compression-codec";
    assert_eq!(run("kafka-console-producer.sh", keyed, "k:a\nk:b\nk:c\n"), (String::new(), true));
    let (wrong, ok) = run("kafka-console-producer.sh", keyed, "nothing\n");
    assert_eq!((wrong.as_str(), ok), ("No key separator found on line number 1: 'nothing'\n", false));
    let all = "--topic orders --from-beginning --max-messages 3 --property print.key=true --property print.offset=true";
    let (read, _) = run("kafka-console-consumer.sh", all, "");
    assert_eq!(read, "Offset:0\tk\ta\nOffset:1\tk\tb\nOffset:2\tk\tc\nProcessed a total of 3 messages\n");
    let in_group = "--topic orders --group readers --from-beginning --property print.offset=true --max-messages";
    let (read, _) = run("kafka-console-consumer.sh", &format!("{in_group} 2"), "");
    assert_eq!(read, "Offset:0\ta\nOffset:1\tb\nProcessed a total of 2 messages\n");
    let (read, _) = run("kafka-console-consumer.sh", &format!("{in_group} 1"), "");
    assert_eq!(read, "Offset:2\tc\nProcessed a total of 1 messages\n");
    let (ends, _) = run("kafka-get-offsets.sh", "--topic orders", "");
    let ends: BTreeSet<&str> = ends.lines().filter_map(|line| line.rsplit_once(':')).map(|(_, end)| end).collect();
    assert_eq!(ends, BTreeSet::from(["0", "3"]));
    let set = "--alter --topic orders --add-config cleanup.policy=[compact,delete] --delete-config retention.ms";
    assert_eq!(run("kafka-configs.sh", set, ""), ("Completed updating config for topic orders.\n".to_owned(), true));
    let expected = "Dynamic configs for topic orders are:\n  cleanup.policy=compact,delete sensitive=false \
                    synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}\n";
    assert_eq!(run("kafka-configs.sh", "--describe --entity-type topics --entity-name orders", "").0, expected);
    let rolled = nodes.cluster(&["restart", "--rolling"]);
    let said = String::from_utf8_lossy(&rolled.stdout);
    assert!(rolled.status.success() && said.starts_with("node 101 is running"), "{said}");
    assert!(run("kafka-topics.sh", "--delete --topic orders", "").1);
    // What the group has committed stays.
    assert_eq!(run("kafka-topics.sh", "--list", ""), ("__consumer_offsets\n".to_owned(), true));
}

/// Writes lines to the topic `orders`. What went wrong, if anything did.
fn write_lines(nodes: &Nodes, lines: &str) -> String {
    let mut command = nodes.gregor(&["produce", "orders"]);
    let mut running = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    running.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("it reads");
    String::from_utf8_lossy(&running.wait_with_output().expect("the binary ends").stderr).into_owned()
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
    // Created is what the controllers know; acknowledged is what the broker leads.
    assert_eq!(write_lines(&nodes, "hello\n"), "");
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
    assert!(scrape.contains("kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 1"));
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
    let mut enemy = Enemy::new(seed);
    let mut stream = None;
    for case in 0..ATTACKS {
        let frame = enemy.next();
        let open = stream.take().map_or_else(|| TcpStream::connect(address), Ok);
        let Ok(mut open) = open else { continue };
        open.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let sent = open.write_all(&frame);
        // An answer, the end of the connection, or nothing for a request that waits: whatever comes is right.
        let ended = matches!(open.read(&mut [0; 4_096]), Ok(0));
        if sent.is_ok() && !ended && case % 20 != 0 {
            stream = Some(open);
        }
    }
}
