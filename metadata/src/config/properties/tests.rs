//! Claims about static settings.

use super::*;

#[test]
fn a_key_that_nobody_set_has_its_default() {
    let properties = Properties::new();
    assert_eq!(properties.int("num.partitions"), 1);
    assert_eq!(properties.unsigned("broker.session.timeout.ms"), 3000);
    assert!(properties.boolean("auto.create.topics.enable"));
    assert_eq!(properties.optional_long("log.retention.ms"), None);
    assert_eq!(properties.list("process.roles"), Vec::<&str>::new());
    assert_eq!(properties.node_id(), None);
}

#[test]
fn the_stronger_origin_wins_whatever_the_order() {
    let mut properties = Properties::new();
    properties.set("num.partitions", "3", Origin::CommandLine).expect("a good value");
    properties.set("num.partitions", "2", Origin::File).expect("a good value");
    assert_eq!(properties.int("num.partitions"), 3);
    properties.set("num.partitions", "4", Origin::CommandLine).expect("a good value");
    assert_eq!(properties.int("num.partitions"), 4);
}

#[test]
fn a_bad_value_is_refused_and_changes_nothing() {
    let mut properties = Properties::new();
    let error = properties.set("num.partitions", "0", Origin::File).expect_err("at least one");
    insta::assert_snapshot!(error, @"Invalid value 0 for configuration num.partitions: Value must be at least 1");
    assert_eq!(properties, Properties::new());
}

#[test]
fn a_key_of_the_past_says_what_to_do() {
    let mut properties = Properties::new();
    let error = properties.set("zookeeper.connect", "localhost:2181", Origin::File).expect_err("gone");
    insta::assert_snapshot!(error, @"zookeeper.connect is no longer a setting: there is no ZooKeeper; delete it, and name the controllers in controller.quorum.voters");
}

#[test]
fn an_unknown_key_is_taken_and_listed() {
    let mut properties = Properties::new();
    for name in ["jmx.port", "num.partiton", "super.users", "listener.name.internal.ssl.client.auth", "num.io.threads"]
    {
        properties.set(name, "8", Origin::Environment).expect("never fatal");
    }
    let unknown = properties.unknown().into_iter().map(|key| (key.name, key.suggestion)).collect::<Vec<_>>();
    assert_eq!(unknown, [("jmx.port".into(), None), ("num.partiton".into(), Some("num.partitions"))]);
    assert_eq!(properties.without_effect().into_iter().map(|key| key.name).collect::<Vec<_>>(), ["num.io.threads"]);
}

#[test]
fn the_node_id_has_an_older_name() {
    let old = Properties::new().with("broker.id", "4").expect("a good value");
    assert_eq!(old.node_id(), Some(BrokerId(4)));
    assert_eq!(old.with("node.id", "5").expect("a good value").node_id(), Some(BrokerId(5)));
}
