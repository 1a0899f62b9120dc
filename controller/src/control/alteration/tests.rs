//! Claims about settings that are changed.

use super::super::stories::Story;
use super::super::{ControlRequest, ControlResponse};
use super::*;
use protocol::messages::alter_configs_request::{self as legacy};
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn resource(resource_type: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> AlterConfigsResource {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| {
        AlterableConfig::default().with_name(text(name)).with_config_operation(*operation).with_value(value.map(text))
    };
    AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(change).collect())
}

fn outcome(name: &StrBytes, code: i16, message: Option<StrBytes>) -> String {
    let code = ErrorCode::from_code(code).expect("a code of Kafka's");
    let message = message.map(|message| message.to_string()).unwrap_or_default();
    format!("{:?} {code} {message}", name.as_str()).trim_end().to_owned()
}

/// The outcome of each resource, a line each.
fn change(story: &mut Story, resources: Vec<AlterConfigsResource>) -> String {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let ControlResponse::IncrementalAlterConfigs(response) =
        story.decide(ControlRequest::IncrementalAlterConfigs(request))
    else {
        panic!("another request's response")
    };
    let line = |one: incremental_alter_configs_response::AlterConfigsResourceResponse| {
        outcome(&one.resource_name, one.error_code, one.error_message)
    };
    response.responses.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn replace(story: &mut Story, resource_type: i8, name: &str, settings: &[(&str, Option<&str>)]) -> String {
    let config = |(name, value): &(&str, Option<&str>)| {
        legacy::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let resource = legacy::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(settings.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    let ControlResponse::AlterConfigs(response) = story.decide(ControlRequest::AlterConfigs(request)) else {
        panic!("another request's response")
    };
    let one = response.responses.into_iter().next().expect("one resource, one outcome");
    outcome(&one.resource_name, one.error_code, one.error_message)
}

fn settings(story: &Story, resource: &ConfigResource) -> String {
    story.image.configs.of(resource).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn orders() -> ConfigResource {
    ConfigResource::Topic("orders".to_owned())
}

/// Three brokers, and a topic on all of them.
fn story() -> Story {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3]], &[("retention.ms", "1000"), ("min.insync.replicas", "2")]);
    story
}

#[test]
fn settings_are_set_deleted_appended_to_and_subtracted_from() {
    let mut story = story();
    let changes = [
        ("retention.ms", DELETE, None),
        ("segment.bytes", SET, Some("1048576")),
        ("cleanup.policy", APPEND, Some("compact")),
        ("leader.replication.throttled.replicas", APPEND, Some("0:1,0:1,0:2")),
        ("follower.replication.throttled.replicas", SUBTRACT, Some("0:1")),
    ];
    insta::assert_snapshot!(change(&mut story, vec![resource(TOPIC, "orders", &changes)]), @r#""orders" NONE"#);
    insta::assert_snapshot!(settings(&story, &orders()), @"cleanup.policy=delete,compact follower.replication.throttled.replicas= leader.replication.throttled.replicas=0:1,0:2 min.insync.replicas=2 segment.bytes=1048576");
    let changes = [("cleanup.policy", SUBTRACT, Some("delete")), ("retention.ms", DELETE, None)];
    change(&mut story, vec![resource(TOPIC, "orders", &changes)]);
    assert_eq!(story.image.configs.get(&orders(), "cleanup.policy"), Some("compact"));
    assert_eq!(story.records.len(), 1, "what is not there need not be taken back: {:?}", story.records);
}

#[test]
fn a_resource_changes_as_a_whole_or_not_at_all() {
    let mut story = story();
    let before = settings(&story, &orders());
    let changes = [("retention.ms", SET, Some("5")), ("segment.bytes", SET, Some("few"))];
    let fine = resource(BROKER, "", &[("log.retention.ms", SET, Some("7"))]);
    insta::assert_snapshot!(change(&mut story, vec![resource(TOPIC, "orders", &changes), fine]), @r#"
    "orders" INVALID_CONFIG Invalid value few for configuration segment.bytes: Not a number of type INT
    "" NONE
    "#);
    assert_eq!(settings(&story, &orders()), before);
    assert_eq!(settings(&story, &ConfigResource::Broker(None)), "log.retention.ms=7");
}

#[test]
fn to_validate_only_changes_nothing() {
    let mut story = story();
    let before = settings(&story, &orders());
    for value in ["5", "five"] {
        let resources = vec![resource(TOPIC, "orders", &[("retention.ms", SET, Some(value))])];
        let request = IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(true);
        let response = story.decide(ControlRequest::IncrementalAlterConfigs(request));
        let ControlResponse::IncrementalAlterConfigs(response) = response else { panic!("another response") };
        let refused = response.responses[0].error_code == ErrorCode::InvalidConfig.code();
        assert_eq!(refused, value == "five");
        assert!(story.records.is_empty());
    }
    assert_eq!(settings(&story, &orders()), before);
}

#[test]
fn the_older_way_replaces_everything() {
    let mut story = story();
    insta::assert_snapshot!(replace(&mut story, TOPIC, "orders", &[("segment.ms", Some("9"))]), @r#""orders" NONE"#);
    assert_eq!(settings(&story, &orders()), "segment.ms=9");
    insta::assert_snapshot!(replace(&mut story, TOPIC, "orders", &[("segment.ms", None)]), @r#""orders" INVALID_REQUEST Null value not supported for : segment.ms"#);
    insta::assert_snapshot!(replace(&mut story, TOPIC, "orders", &[("segment.ms", Some("x"))]), @r#""orders" INVALID_CONFIG Invalid value x for configuration segment.ms: Not a number of type LONG"#);
    assert_eq!(settings(&story, &orders()), "segment.ms=9");
    replace(&mut story, TOPIC, "orders", &[]);
    assert_eq!(settings(&story, &orders()), "");
}

#[test]
fn resources_that_cannot_be_are_refused() {
    let mut story = story();
    let set = |resource_type, name| resource(resource_type, name, &[("retention.ms", SET, Some("5"))]);
    let of_broker = |name| resource(BROKER, name, &[("log.retention.ms", SET, Some("5"))]);
    let resources = vec![
        set(TOPIC, ""),
        set(TOPIC, "a/b"),
        set(TOPIC, "nowhere"),
        set(TOPIC, "orders"),
        set(TOPIC, "orders"),
        of_broker("one"),
        of_broker("-1"),
        of_broker("9"),
        of_broker("2"),
        set(8, "1"),
        set(99, "x"),
    ];
    insta::assert_snapshot!(change(&mut story, resources), @r#"
    "" INVALID_REQUEST Default topic resources are not allowed.
    "a/b" INVALID_TOPIC_EXCEPTION Topic name is invalid: it contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
    "nowhere" UNKNOWN_TOPIC_OR_PARTITION The topic 'nowhere' does not exist.
    "orders" INVALID_REQUEST Each resource must appear at most once.
    "orders" INVALID_REQUEST Each resource must appear at most once.
    "one" INVALID_REQUEST Unable to parse broker name as a base 10 number.
    "-1" INVALID_REQUEST Invalid negative broker ID.
    "9" BROKER_ID_NOT_REGISTERED No broker with id 9 found.
    "2" NONE
    "1" INVALID_REQUEST Unknown resource type 8
    "x" INVALID_REQUEST Unknown resource type 99
    "#);
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let mut story = story();
    let long = "9".repeat(VALUE_BYTES_MAX + 1);
    let mut refusal = |resource_type, name: &str, changes: &[(&str, i8, Option<&str>)]| {
        change(&mut story, vec![resource(resource_type, name, changes)])
    };
    let refusals = [
        refusal(TOPIC, "orders", &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)]),
        refusal(TOPIC, "orders", &[("retention.ms", SET, None), ("segment.ms", APPEND, None)]),
        refusal(TOPIC, "orders", &[("retention.ms", 4, Some("1"))]),
        refusal(TOPIC, "orders", &[("retention.ms", APPEND, Some("1"))]),
        refusal(TOPIC, "orders", &[("retention.msec", SET, Some("1"))]),
        refusal(TOPIC, "orders", &[("cleanup.policy", SET, Some("keep"))]),
        refusal(
            TOPIC,
            "orders",
            &[("max.compaction.lag.ms", SET, Some("1")), ("min.compaction.lag.ms", SET, Some("2"))],
        ),
        refusal(TOPIC, "orders", &[("retention.ms", SET, Some(&long))]),
        refusal(BROKER, "", &[("listeners", SET, Some("PLAINTEXT://:1")), ("node.id", SET, Some("7"))]),
        refusal(BROKER, "1", &[("log.retention.ms", SET, Some("soon"))]),
        refusal(BROKER, "1", &[("min.insync.replicas", SET, Some("2"))]),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    "orders" INVALID_REQUEST Error due to duplicate config keys
    "orders" INVALID_REQUEST Null value not supported for : retention.ms, segment.ms
    "orders" INVALID_REQUEST Unknown operations type 4
    "orders" INVALID_CONFIG Can't APPEND to key retention.ms because its type is not LIST.
    "orders" INVALID_CONFIG Unknown topic config name: retention.msec (did you mean retention.ms?)
    "orders" INVALID_CONFIG Invalid value keep for configuration cleanup.policy: String must be one of: compact, delete
    "orders" INVALID_CONFIG conflict topic config setting min.compaction.lag.ms (2) > max.compaction.lag.ms (1)
    "orders" INVALID_CONFIG The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.
    "" INVALID_REQUEST Cannot update these configs dynamically: Set(listeners, node.id)
    "1" INVALID_REQUEST Invalid value soon for configuration log.retention.ms: Not a number of type LONG
    "1" INVALID_CONFIG Broker-level min.insync.replicas cannot be altered while ELR is enabled.
    "#);
}

#[test]
fn fewer_replicas_that_are_enough_leave_nobody_eligible() {
    let mut story = story();
    story.isr("orders", &[1]);
    assert_eq!(story.partition("orders").elr, [BrokerId(2), BrokerId(3)]);
    let change_to = |story: &mut Story, min: &str| {
        change(story, vec![resource(TOPIC, "orders", &[(MIN_INSYNC_REPLICAS, SET, Some(min))])]);
    };
    change_to(&mut story, "3");
    assert_eq!(story.partition("orders").elr.len(), 2, "one in sync was not enough, and is not now");
    change_to(&mut story, "1");
    assert!(story.partition("orders").elr.is_empty());
    let names: Vec<&str> = story.records.iter().map(Record::name).collect();
    assert_eq!(names, ["PartitionChange", "Config"], "never both enough in sync and somebody eligible");
}

#[test]
fn the_least_number_in_sync_of_all_brokers_holds_for_topics_that_say_nothing() {
    let mut story = Story::with_brokers(&[("min.insync.replicas", "2")], 3);
    story.topic("orders", &[&[1, 2, 3]], &[]);
    story.topic("payments", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]);
    for name in ["orders", "payments"] {
        story.isr(name, &[1]);
    }
    change(&mut story, vec![resource(BROKER, "", &[(MIN_INSYNC_REPLICAS, SET, Some("1"))])]);
    assert!(story.partition("orders").elr.is_empty());
    assert_eq!(story.partition("payments").elr.len(), 2);
    let removed = change(&mut story, vec![resource(BROKER, "", &[(MIN_INSYNC_REPLICAS, DELETE, None)])]);
    insta::assert_snapshot!(removed, @r#""" INVALID_CONFIG Cluster-level min.insync.replicas cannot be removed while ELR is enabled."#);
}

#[test]
fn a_partition_that_anybody_may_lead_gets_a_leader_at_once() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2]], &[]);
    story.isr("orders", &[1]);
    story.fence(1);
    assert_eq!(story.partition("orders").leader, None);
    change(&mut story, vec![resource(TOPIC, "orders", &[(UNCLEAN_ELECTION, SET, Some("true"))])]);
    assert_eq!(story.partition("orders").leader, Some(BrokerId(2)));
}
