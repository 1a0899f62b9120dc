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
    for command in
        ["server", "storage", "cluster", "topic", "produce", "consume", "verify", "log", "sim", "completion", "man"]
    {
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
    let folder = std::env::temp_dir().join(format!("gregor-dump-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("00000000000000000005.log");
    std::fs::write(&file, [&batch[..], b"end"].concat()).expect("a file");
    let place = file.to_string_lossy();
    let out = gregor(&["log", "dump", "--print-data-log", &place]);
    let _ = std::fs::remove_dir_all(&folder);
    let expected = DUMPED.replace("FILE", &place).replace("SIZE", &parsed.size().to_string());
    assert_eq!(text(&out.stdout), expected.replace("CRC", &parsed.crc.to_string()));
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
        let found = gregor(&["sim", "sweep", "--seeds", "3", "--mutant", "S01"]);
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
    fn every_fault_happens_somewhere() {
        let answer = gregor(&["sim", "sweep", "--seeds", "12"]);
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
