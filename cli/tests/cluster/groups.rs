//! Consumer groups on a real cluster, as an operator looks after them.

use super::{Nodes, script};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Child, Output, Stdio},
};

/// How often it is looked whether a member is in its group, each time by a process.
const LOOKS: usize = 1_000;

impl Nodes {
    /// Runs a command that has to go well. What it prints.
    fn ok(&self, line: &str) -> String {
        let out = self.gregor(&words(line)).output().expect("the binary runs");
        assert!(out.status.success(), "{line}: {}", told(&out));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs a command that prints a JSON document.
    fn json(&self, line: &str) -> Value {
        let said = self.ok(&format!("{line} -o json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Runs a command that is refused: the one line that it says.
    fn refusal(&self, line: &str) -> String {
        let out = self.gregor(&words(line)).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.trim_end().lines().count() == 1, "{line}: {}", told(&out));
        said
    }

    fn produce(&self, line: &str, lines: &str) {
        let mut command = self.gregor(&words(&format!("produce {line}")));
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary runs");
        running.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("it reads");
        assert!(running.wait().expect("it ends").success());
    }

    /// What the group has committed of the topic's partitions, in order.
    fn committed(&self, group: &str) -> Vec<Value> {
        let rows = self.json(&format!("group describe {group}"));
        rows.as_array().expect("a list").iter().map(|row| row["current_offset"].clone()).collect()
    }

    /// Puts the group somewhere: the new offsets that are told. They must be committed then.
    fn reset(&self, group: &str, how: &str) -> Value {
        let told = self.json(&format!("group reset-offsets {group} {how} --execute"));
        let new: Vec<Value> = told.as_array().expect("a list").iter().map(|row| row["new_offset"].clone()).collect();
        assert_eq!(self.committed(group), new, "{how}");
        json!(new)
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned()
}

/// A member of a group that reads for as long as it lives.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Member {
    fn join(nodes: &Nodes, topic: &str, group: &str) -> Self {
        let mut command = nodes.gregor(&["consume", topic, "--group", group]);
        let member = Self(command.stdout(Stdio::null()).spawn().expect("the binary runs"));
        let state = || nodes.json(&format!("group describe {group} --state"))[0]["state"].clone();
        assert!((0..LOOKS).any(|_| state() == "Stable"), "nobody has joined {group}");
        member
    }

    /// Asks it to leave, and waits until it has.
    fn leave(mut self) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.0.wait().expect("it ends");
    }
}

#[test]
fn a_group_is_looked_after_from_its_first_record_to_its_end() {
    let nodes = Nodes::start("groups", 3);
    nodes.ok("topic create orders -p 1 -r 3");
    nodes.produce("orders", "a\nb\nc\nd\ne\n");
    assert_eq!(nodes.json("group list"), json!([]));
    assert!(nodes.refusal("group describe billing").contains("there is no group billing"));

    // Two of five records are read, and the member leaves.
    nodes.ok("consume orders --group billing --from-beginning -n 2");
    let rows = nodes.json("group describe billing");
    let row = &rows[0];
    let age = row["lag_seconds"].as_f64().expect("the age of the third record");
    assert!((0.0..600.0).contains(&age), "{rows}");
    let mut expected = json!([{
        "group": "billing", "topic": "orders", "partition": 0, "current_offset": 2, "log_end_offset": 5, "lag": 3,
        "lag_seconds": null, "consumer_id": null, "host": null, "client_id": null,
    }]);
    expected[0]["lag_seconds"] = row["lag_seconds"].clone();
    assert_eq!(rows, expected);
    let listed = json!([{"group": "billing", "type": "Classic", "protocol_type": "consumer", "state": "Empty"}]);
    assert_eq!(nodes.json("group list"), listed);
    assert_eq!(nodes.json("group list --state empty --type classic"), listed);
    assert_eq!(nodes.json("group list --state stable"), json!([]));
    assert_eq!(nodes.json("group list --type consumer"), json!([]));

    // Caught up: nothing is unread, however old it is.
    nodes.reset("billing", "--topic orders --to-latest");
    let caught_up = nodes.json("group describe billing");
    assert_eq!((&caught_up[0]["lag"], &caught_up[0]["lag_seconds"]), (&json!(0), &json!(0)));

    let member = Member::join(&nodes, "orders", "billing");
    let described = nodes.json("group describe billing --members");
    let assignment = json!({"orders": [0]});
    assert_eq!((&described[0]["assignment"], &described[0]["partitions"]), (&assignment, &json!(1)));
    assert_eq!(nodes.json("group describe billing")[0]["host"], "127.0.0.1");
    for refused in ["reset-offsets billing --topic orders --to-earliest --execute", "delete billing"] {
        let said = nodes.refusal(&format!("group {refused}"));
        assert!(said.contains("group billing") && said.contains("members"), "{said}");
    }
    let said = nodes.refusal("group delete-offsets billing --topic orders");
    assert!(said.contains("a member of group billing reads it"), "{said}");
    assert_eq!(nodes.committed("billing"), [json!(5)]);
    member.leave();

    assert_eq!(nodes.ok("group delete-offsets billing --topic orders"), "group billing has forgotten orders-0\n");
    nodes.reset("billing", "--topic orders --to-earliest");
    assert_eq!(nodes.ok("group delete billing"), "deleted group billing\n");
    assert!(nodes.refusal("group delete billing").contains("there is no group billing"));
    assert_eq!(nodes.json("group list"), json!([]));
}

#[test]
fn a_group_is_put_wherever_it_is_to_go_on() {
    let nodes = Nodes::start("resets", 1);
    nodes.ok("topic create orders -p 2");
    // Keys that lie in both partitions.
    let lines: String = (0..40).map(|number| format!("k{number}:v\n")).collect();
    nodes.produce("orders --key-separator :", &lines);
    nodes.ok("topic delete-records orders -p 0 --before-offset 3");

    let planned = nodes.json("group reset-offsets g --topic orders --to-latest");
    let ends: Vec<i64> = (0..2).map(|at| planned[at]["new_offset"].as_i64().expect("an offset")).collect();
    assert!(ends[0] > 5 && ends[1] > 5 && ends[0] + ends[1] == 40, "{planned}");
    assert!(nodes.refusal("group describe g").contains("there is no group g"), "a dry run changes nothing");

    assert_eq!(nodes.reset("g", "--topic orders --to-latest"), json!(ends));
    assert_eq!(nodes.reset("g", "--all-topics --to-earliest"), json!([3, 0]));
    assert_eq!(nodes.reset("g", "--all-topics --shift-by 2"), json!([5, 2]));
    assert_eq!(nodes.reset("g", "--all-topics --to-offset 4"), json!([4, 4]));
    assert_eq!(nodes.reset("g", "--all-topics --to-current"), json!([4, 4]));
    assert_eq!(nodes.reset("g", "--all-topics --by-duration P1D"), json!([3, 0]));
    assert_eq!(nodes.reset("g", "--all-topics --to-datetime 2000-01-01T00:00:00.000"), json!([3, 0]));
    // Clamped, and told so.
    let far = nodes.json("group reset-offsets g --all-topics --to-offset 1000 --execute");
    assert_eq!((&far[0]["new_offset"], &far[1]["new_offset"]), (&json!(ends[0]), &json!(ends[1])));
    assert_eq!(far[0]["remark"], "1000 is beyond the end of the log");
    let low = nodes.json("group reset-offsets g --topic orders:0 --to-offset 1");
    assert_eq!((&low[0]["new_offset"], &low[0]["remark"]), (&json!(3), &json!("1 is before the first record")));
    let late = nodes.json("group reset-offsets g --topic orders:1 --to-datetime 2100-01-01T00:00:00.000");
    assert_eq!(late[0]["new_offset"], json!(ends[1]));
    assert!(late[0]["remark"].as_str().expect("a remark").contains("no record is that late"), "{late}");
    let file = nodes.folder.join("offsets.csv");
    std::fs::write(&file, "orders,0,6\n\"orders\",1,1\n").expect("a file");
    assert_eq!(nodes.reset("g", &format!("--from-file {}", file.display())), json!([6, 1]));
    assert_eq!(nodes.reset("g", "--all-topics --shift-by -2"), json!([4, 0]));

    for (mistake, said) in [
        ("g --to-earliest", "write --topic TOPIC[:PARTITION,..] or --all-topics"),
        ("g --topic none --to-earliest", "there is no topic none"),
        ("g --topic orders:0,9 --to-earliest", "there is no partition orders-9"),
        ("h --all-topics --to-earliest", "group h has committed nothing: name topics with --topic"),
        ("h --topic orders --shift-by 1", "name an offset with --to-offset"),
    ] {
        let refusal = nodes.refusal(&format!("group reset-offsets {mistake}"));
        assert!(refusal.contains(said), "{mistake}: {refusal}");
    }
    let table = nodes.ok("group describe g");
    let heading: Vec<&str> = table.lines().next().expect("a heading").split_whitespace().collect();
    assert_eq!(heading[3..7], ["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "LAG-SECONDS"]);
}

#[test]
fn kafkas_script_looks_after_groups_in_kafkas_columns() {
    let nodes = Nodes::start("group-script", 1);
    let bin = nodes.folder.join("bin");
    nodes.ok(&format!("install-tools {}", bin.display()));
    let run = |line: &str| script(&nodes, "kafka-consumer-groups.sh", &words(line), "");
    nodes.ok("topic create orders -p 1");
    nodes.produce("orders", "a\nb\nc\n");
    nodes.ok("consume orders --group billing --from-beginning -n 2");
    assert_eq!(run("--list"), ("billing\n".to_owned(), true));
    let (listed, _) = run("--list --state --type classic");
    let rows: Vec<Vec<&str>> = listed.lines().map(words).collect();
    assert_eq!(rows, [["GROUP", "TYPE", "STATE"], ["billing", "Classic", "Empty"]]);
    assert!(!run("--list --state happy").1);
    let (described, ok) = run("--describe --group billing");
    let rows: Vec<Vec<&str>> = described.lines().map(words).filter(|row| row.len() > 7).collect();
    assert!(ok && described.contains("Consumer group 'billing' has no active members."), "{described}");
    assert_eq!(
        rows,
        [
            words("GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID"),
            words("billing orders 0 2 3 1 - - -")
        ]
    );
    let (stateful, _) = run("--describe --all-groups --state");
    assert!(stateful.contains(&format!("localhost:{}  (1)", nodes.base_port)), "{stateful}");
    let (unknown, ok) = run("--describe --group none");
    assert!(!ok && unknown.contains("Group none not found."), "{unknown}");

    let (dry, ok) = run("--reset-offsets --group billing --topic orders --to-offset 9");
    assert!(ok && dry.contains("WARN: No action will be performed as the --execute option is missing."), "{dry}");
    assert!(dry.contains("New offset (9) is higher than latest offset for topic partition orders-0."), "{dry}");
    assert_eq!(nodes.committed("billing"), [json!(2)]);
    let export = "--reset-offsets --group billing --all-topics --to-earliest --dry-run --export";
    assert_eq!(run(export), ("orders,0,0\n\n".to_owned(), true));
    let (done, ok) = run("--reset-offsets --group billing --all-topics --to-earliest --execute");
    let rows: Vec<Vec<&str>> = done.lines().map(words).filter(|row| !row.is_empty()).collect();
    assert!(ok, "{done}");
    assert_eq!(rows, [["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"], ["billing", "orders", "0", "0"]]);
    assert_eq!(nodes.committed("billing"), [json!(0)]);

    let member = Member::join(&nodes, "orders", "billing");
    let (members, _) = run("--describe --group billing --members --verbose");
    assert!(members.contains(" orders:0 "), "{members}");
    let (refused, ok) = run("--reset-offsets --group billing --all-topics --to-latest --execute");
    assert!(!ok && refused.contains("inactive, but the current state is Stable."), "{refused}");
    let (refused, ok) = run("--delete --group billing");
    assert!(
        !ok && refused.contains("* Group 'billing' could not be deleted due to: The group is not empty."),
        "{refused}"
    );
    member.leave();
    let (forgotten, ok) = run("--delete-offsets --group billing --topic orders");
    assert!(ok && forgotten.contains("Request succeeded for deleting offsets from group billing."), "{forgotten}");
    nodes.reset("billing", "--topic orders --to-latest");
    let deleted = "Deletion of requested consumer groups ('billing') was successful.\n";
    assert_eq!(run("--delete --group billing"), (deleted.to_owned(), true));
}
