//! The binary as people meet it: what it says of itself, what it says to mistakes, and one run of the simulator.

#![allow(clippy::disallowed_methods, reason = "these tests run in the real world")]

use protocol::{
    compression::Compression,
    ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, WallMillis},
    record_batch::{BatchBuilder, BatchHeader, Header, patch},
};
use std::process::{Command, Output};

fn gregor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gregor")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_explains_itself_with_examples() {
    for command in [
        "server",
        "storage",
        "cluster",
        "topic",
        "config",
        "produce",
        "consume",
        "group",
        "verify",
        "log",
        "sim",
        "doctor",
        "test",
        "profile",
        "install-tools",
        "completion",
        "man",
    ] {
        let help = gregor(&[command, "--help"]);
        assert!(help.status.success(), "{command}");
        assert!(text(&help.stdout).contains("Examples:"), "{command} has no examples");
    }
}

#[test]
fn a_cluster_id_is_fresh_and_has_kafkas_form() {
    let ids: Vec<String> = (0..2).map(|_| text(&gregor(&["storage", "random-uuid"]).stdout)).collect();
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        assert!(protocol::ids::ClusterUuid::parse(id.trim()).is_some(), "{id}");
    }
}

#[test]
fn a_mistake_gets_one_line_that_says_what_is_wrong() {
    for (arguments, words) in [
        (&["server", "--config", "nowhere.properties"][..], "nowhere.properties is not there"),
        (&["sim", "replay", "nonsense"], "is not a run"),
        (&["sim", "run", "no-such-scenario"], "there is no scenario"),
        (&["cluster", "--dir", "nowhere", "status"], "there is no cluster in nowhere"),
        (&["produce", "orders", "--acks", "2"], "--acks is 0, 1 or all"),
    ] {
        let answer = gregor(arguments);
        let said = text(&answer.stderr);
        assert!(!answer.status.success(), "{arguments:?}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

/// As `kafka-dump-log --print-data-log` prints it.
const DUMPED: &str = "Dumping FILE
Log starting offset: 5
baseOffset: 5 lastOffset: 6 count: 2 baseSequence: 7 lastSequence: 8 producerId: 3 producerEpoch: 1 partitionLeaderEpoch: 4 \
isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1001 size: SIZE magic: 2 \
compresscodec: none crc: CRC isvalid: true
| offset: 5 CreateTime: 1000 keySize: 1 valueSize: 5 sequence: 7 headerKeys: [trace,span] key: k payload: hello
| offset: 6 CreateTime: 1001 keySize: -1 valueSize: -1 sequence: 8 headerKeys: []
Found 3 invalid bytes at the end of 00000000000000000005.log
";

#[test]
fn a_segment_is_dumped_as_kafka_dumps_it() {
    let mut builder = BatchBuilder::new(Compression::None);
    let header = |key: &str| Header { key: key.into(), value: None };
    builder.push(WallMillis(1_000), Some(b"k"), Some(b"hello"), &[header("trace"), header("span")]);
    builder.push(WallMillis(1_001), None, None, &[]);
    let mut batch = builder.finish(ProducerId(3), ProducerEpoch(1), Sequence(7)).to_vec();
    patch(&mut batch, Offset(5), LeaderEpoch(4));
    let parsed = BatchHeader::parse(&batch).expect("a batch");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gregor-dump-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("00000000000000000005.log");
    std::fs::write(&file, [&batch[..], b"end"].concat()).expect("a file");
    let place = file.to_string_lossy();
    let out = gregor(&["log", "dump", "--print-data-log", &place]);
    let _ = std::fs::remove_dir_all(&folder);
    let expected = DUMPED.replace("FILE", &place).replace("SIZE", &parsed.size().to_string());
    assert_eq!(text(&out.stdout), expected.replace("CRC", &parsed.crc.to_string()));
}

/// A file of a node's settings, for one test.
fn properties_file(name: &str, more: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("gregor-{}-{name}.properties", std::process::id()));
    let text = format!("node.id=1\nprocess.roles=broker,controller\nlog.retention.hours=2\n{more}");
    std::fs::write(&path, text).expect("a writable folder");
    path.to_string_lossy().into_owned()
}

fn shown(file: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
    command.args(["config", "show", "--config", file]).args(arguments).env_clear();
    command.envs(environment.iter().copied()).output().expect("the binary runs")
}

#[test]
fn every_setting_is_shown_with_where_it_comes_from() {
    let file = properties_file("shown", "num.partitions=3\nssl.key.password=secret\n");
    let environment = [("KAFKA_NUM_PARTITIONS", "4"), ("KAFKA_MESSAGE_MAX_BYTES", "5000"), ("KAFKA_OPTS", "-Xmx1g")];
    let answer = shown(&file, &["--effective", "-o", "json", "--override", "message.max.bytes=6000"], &environment);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&answer.stdout).expect("one JSON document");
    let rows = rows.as_array().expect("a list");
    let origin_of = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{key} is not shown"));
        format!("{} {}", row["value"].as_str().expect("text"), row["origin"].as_str().expect("text"))
    };
    assert_eq!(origin_of("message.max.bytes"), "6000 flag");
    assert_eq!(origin_of("num.partitions"), "4 environment");
    assert_eq!(origin_of("log.retention.hours"), "2 file");
    assert_eq!(origin_of("broker.session.timeout.ms"), "3000 gregor's default (Kafka's: 9000)");
    assert_eq!(origin_of("num.io.threads"), "8 Kafka's default");
    assert_eq!(origin_of("ssl.key.password"), "[hidden] file");
    let only_given = text(&shown(&file, &[], &[]).stdout);
    assert!(only_given.contains("num.partitions") && !only_given.contains("num.io.threads"), "{only_given}");
}

#[test]
fn a_typo_brings_the_right_key_to_mind_and_a_bad_value_names_its_key() {
    let typo = shown(&properties_file("typo", "log.retenton.ms=1\n"), &[], &[]);
    assert!(typo.status.success(), "{}", text(&typo.stderr));
    assert!(text(&typo.stderr).contains("log.retenton.ms: did you mean log.retention.ms?"), "{}", text(&typo.stderr));
    for (more, environment, word) in [
        ("num.partitions=many\n", &[][..], "num.partitions"),
        ("zookeeper.connect=host:2181\n", &[][..], "zookeeper.connect"),
        ("", &[("KAFKA_LOG_SEGMENT_BYTES", "few")][..], "log.segment.bytes"),
    ] {
        let refused = shown(&properties_file("refused", more), &[], environment);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(word), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn a_setting_that_does_nothing_here_is_told_once() {
    let directory =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gregor-{}-told", std::process::id()));
    let more = format!("log.dirs={}\nnum.io.threads=16\nbackground.threads=4\nmy.plugin=on\n", directory.display());
    let listeners = "listeners=PLAINTEXT://:0,CONTROLLER://:0\ncontroller.listener.names=CONTROLLER\n";
    let file = properties_file("told", &format!("{more}{listeners}"));
    let said = text(&gregor(&["server", "--log", "info", "--config", &file]).stderr);
    for (level, key) in [("INFO", "num.io.threads"), ("WARN", "background.threads"), ("WARN", "my.plugin")] {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(key)).collect();
        assert!(matches!(lines[..], [line] if line.contains(level)), "{key}: {said}");
    }
    assert!(said.contains("is not formatted"), "{said}");
}

/// A folder of one test, gone with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gregor-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn called_by_the_name_of_a_script_it_is_that_tool() {
    let folder = Folder::new("tools");
    let installed = gregor(&["install-tools", &folder.path("bin")]);
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    // A second time they are made anew.
    assert!(gregor(&["install-tools", &folder.path("bin")]).status.success());
    let run = |tool: &str, arguments: &[&str]| {
        Command::new(folder.path(&format!("bin/{tool}"))).args(arguments).output().expect("the link runs")
    };
    let config = folder.path("server.properties");
    let data = folder.path("data");
    let properties = "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:0,CONTROLLER://:0\n\
                      controller.listener.names=CONTROLLER";
    std::fs::write(&config, format!("{properties}\nlog.dirs={data}\n")).expect("a file");
    let empty = run("kafka-storage.sh", &["info", "-c", &config]);
    assert!(
        text(&empty.stdout).contains(&format!("Found problem:\n  {data} is not formatted.")),
        "{}",
        text(&empty.stdout)
    );
    assert!(!std::path::Path::new(&data).exists(), "looking makes no folder");
    let id = text(&run("kafka-storage.sh", &["random-uuid"]).stdout).trim().to_string();
    let format = ["format", "--standalone", "-t", &id, "-c", &config];
    let formatted = run("kafka-storage.sh", &format);
    let expected = format!("Formatting metadata directory {data} with metadata.version 4.1-IV1.\n");
    assert_eq!(text(&formatted.stdout), expected, "{}", text(&formatted.stderr));
    let again = run("kafka-storage.sh", &format);
    assert!(text(&again.stderr).contains("is already formatted. Use --ignore-formatted"), "{}", text(&again.stderr));
    let info = text(&run("kafka-storage.sh", &["info", "-c", &config]).stdout);
    assert!(info.contains(&format!("Found metadata: {{cluster.id={id}, directory.id=")), "{info}");
    let old = run("kafka-topics.sh", &["--zookeeper", "host:2181", "--list"]);
    assert_eq!(old.status.code(), Some(1));
    assert!(text(&old.stderr).contains("write --bootstrap-server HOST:PORT"), "{}", text(&old.stderr));
    let stop = run("kafka-server-stop.sh", &["--node-id", "424242"]);
    assert!(text(&stop.stderr).contains("No kafka server"), "{}", text(&stop.stderr));
}

#[test]
fn what_is_no_link_is_not_written_over() {
    let folder = Folder::new("no-link");
    std::fs::write(folder.path("kafka-topics.sh"), "mine").expect("a file");
    let said = text(&gregor(&["install-tools", &folder.path("")]).stderr);
    assert!(said.contains("is there and is no link"), "{said}");
    assert_eq!(std::fs::read(folder.path("kafka-topics.sh")).expect("a file"), b"mine");
}

#[test]
fn a_command_is_run_beside_a_node_and_its_exit_code_is_kept() {
    let create = r#""$0" topic create orders -b "$KAFKA_BOOTSTRAP_SERVERS" && "$0" topic list && exit 7"#;
    let out = gregor(&["test", "--", "sh", "-c", create, env!("CARGO_BIN_EXE_gregor")]);
    assert_eq!(out.status.code(), Some(7), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "created topic orders\nTOPIC\norders\n");
    let absent = gregor(&["test", "--", "no-such-command"]);
    assert!(text(&absent.stderr).contains("no-such-command: "), "{}", text(&absent.stderr));
    assert_eq!(absent.status.code(), Some(2));
}

/// The variables of each service of a compose file: its own, and what it takes over by `<<`.
fn services(compose: &str) -> std::collections::BTreeMap<String, Vec<(String, String)>> {
    let mut found: std::collections::BTreeMap<String, Vec<(String, String)>> = Default::default();
    let (mut shared, mut owner) = (Vec::new(), None);
    for line in compose.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let (key, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        match (indent, key) {
            (0, "x-environment") => owner = None,
            (2, name) if value.is_empty() && !name.starts_with("data") => {
                owner = Some(name.to_owned());
                found.insert(name.to_owned(), shared.clone());
            }
            (_, name) if name == "CLUSTER_ID" || name.starts_with("KAFKA_") => {
                let variable = (name.to_owned(), value.trim().trim_matches('"').to_owned());
                match &owner {
                    Some(owner) => found.get_mut(owner).expect("it was met").push(variable),
                    None => shared.push(variable),
                }
            }
            _ => {}
        }
    }
    found
}

fn packaged(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name);
    std::fs::read_to_string(path).expect("a packaged file")
}

#[test]
fn every_variable_of_the_compose_files_is_a_setting_with_an_effect() {
    let folder = Folder::new("compose");
    let file = folder.path("empty.properties");
    std::fs::write(&file, "").expect("a file");
    for (compose, size) in [("compose/single.yml", 1), ("compose/three.yml", 3)] {
        let services = services(&packaged(compose));
        assert_eq!(services.len(), size, "{compose}");
        for (name, variables) in services {
            let pairs: Vec<(&str, &str)> =
                variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let shown = shown(&file, &["-o", "json"], &pairs);
            assert_eq!((text(&shown.stderr).as_str(), shown.status.code()), ("", Some(0)), "{compose} {name}");
            let rows: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
            let settings = variables.iter().filter(|(key, _)| key.starts_with("KAFKA_")).count();
            assert_eq!(rows.as_array().map(Vec::len), Some(settings), "{compose} {name}");
            assert!(settings >= 9, "{compose} {name}: {variables:?}");
            let ignored = self::shown(&file, &["--ignored", "-o", "json"], &pairs);
            assert_eq!(text(&ignored.stdout).trim(), "[]", "{compose} {name}");
        }
    }
}

/// A node that a test runs in the background, ended with it.
struct Node(std::process::Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_container_is_formatted_and_served_from_its_variables_and_logs_json() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new("container");
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners = [free(), free(), free()];
    let ports: Vec<String> =
        listeners.iter().map(|listener| listener.local_addr().expect("an address").port().to_string()).collect();
    drop(listeners);
    let mut compose = packaged("compose/single.yml").replace("/var/lib/gregor", &folder.path("data"));
    for (there, here) in [
        ("//broker:", "//127.0.0.1:"),
        ("1@broker:", "1@127.0.0.1:"),
        (":19092", &format!(":{}", ports[0])),
        (":29093", &format!(":{}", ports[1])),
        (":9092", &format!(":{}", ports[2])),
    ] {
        compose = compose.replace(there, here);
    }
    let variables = services(&compose).remove("broker").expect("the service");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
    command.args(["--log", "info", "server", "--container"]).env_clear().envs(variables);
    command.env("GREGOR_LOG_FORMAT", "json").env("KAFKA_GREGOR_HTTP_LISTENER", "").stderr(std::process::Stdio::piped());
    let mut node = Node(command.spawn().expect("the binary runs"));
    let lines = BufReader::new(node.0.stderr.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    for line in lines {
        let line = line.expect("text");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["timestamp"].is_string() && object["level"].is_string(), "{line}");
        seen.push(object["message"].as_str().unwrap_or_default().to_owned());
        if seen.last().is_some_and(|message| message.contains("is ready")) {
            break;
        }
    }
    let formatted = std::fs::read_to_string(folder.path("data/meta.properties")).expect("a formatted directory");
    assert!(formatted.contains("cluster.id=4L6g3nShT-eMCtK--X86sw"), "{formatted}");
    assert!(seen.last().is_some_and(|message| message.contains("node 1 is ready")), "{seen:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_tell_of() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let printing = Command::new(env!("CARGO_BIN_EXE_gregor"))
        .args(["storage", "random-uuid"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let ended = printing.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(141), "{}", text(&ended.stderr));
    assert_eq!(text(&ended.stderr), "");
}

#[cfg(madsim)]
mod simulated {
    use super::*;

    #[test]
    fn one_seed_gives_one_hash_in_any_surroundings() {
        let answer = gregor(&["sim", "sweep", "--seeds", "3", "--twice", "--hashes"]);
        let said = text(&answer.stdout);
        assert!(answer.status.success(), "{said}");
        assert!(said.contains("3 equal, 0 not"), "{said}");
    }

    #[test]
    fn a_planted_bug_is_found_and_replayed_elsewhere() {
        let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/gregor-runs");
        let found = gregor(&["sim", "sweep", "--seeds", "3", "--mutant", "S01", "--out", folder]);
        let said = text(&found.stdout);
        assert_eq!(found.status.code(), Some(1), "{said}");
        let token =
            said.split("gregor sim replay ").nth(1).and_then(|rest| rest.lines().next()).expect("a replay line");
        let replayed = Command::new(env!("CARGO_BIN_EXE_gregor"))
            .args(["sim", "replay", token])
            .current_dir("/")
            .env_clear()
            .env("TZ", "Pacific/Chatham")
            .output()
            .expect("the binary runs");
        assert_eq!(replayed.status.code(), Some(1));
        assert!(text(&replayed.stdout).contains("FAIL acknowledged_is_replicated"), "{}", text(&replayed.stdout));
    }

    #[test]
    fn a_guided_search_changes_schedules_and_is_the_same_on_any_number_of_cores() {
        let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/guided");
        let search = |jobs: &str| {
            let answer =
                gregor(&["sim", "sweep", "--seeds", "40", "--guided", "--hashes", "--out", folder, "--jobs", jobs]);
            let said = text(&answer.stdout);
            assert!(answer.status.success(), "{said}");
            said.lines().filter(|line| line.contains('@')).map(str::to_owned).collect::<Vec<_>>()
        };
        let (one, two) = (search("1"), search("2"));
        assert_eq!(one, two);
        assert!(one.len() == 40 && one.iter().any(|line| line.contains("guided-")), "{one:?}");
    }

    #[test]
    fn every_fault_happens_somewhere() {
        let answer = gregor(&["sim", "sweep", "--seeds", "30"]);
        let said = text(&answer.stdout);
        for kind in sim::faults::all() {
            let line = said
                .lines()
                .find(|line| line.starts_with(kind.name))
                .unwrap_or_else(|| panic!("{}: {said}", kind.name));
            assert_ne!(line.split_whitespace().last(), Some("0"), "{line}");
        }
    }
}
