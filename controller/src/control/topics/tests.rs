//! Claims about topics that are created and deleted.

use super::super::stories::{Story, config, line};
use super::super::{ControlRequest, ControlResponse};
use super::*;
use protocol::messages::WireBrokerId;
use protocol::messages::delete_topics_request::DeleteTopicState;
use uuid::Uuid;

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name_of(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
}

fn assigned(name: &str, replicas: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition, replicas): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(replicas.iter().copied().map(WireBrokerId).collect())
    };
    topic(name, -1, -1).with_assignments(replicas.iter().map(assignment).collect())
}

/// The outcome of each topic of a request, a line each.
fn outcomes(story: &mut Story, topics: Vec<CreatableTopic>) -> String {
    let response = story.create(CreateTopicsRequest::default().with_topics(topics));
    let line = |result: CreatableTopicResult| {
        let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
        let message = result.error_message.map(|message| message.to_string()).unwrap_or_default();
        format!("{} {code} {message}", result.name.as_str()).trim_end().to_owned()
    };
    response.topics.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_topic_gets_what_it_asks_for_and_what_is_set_up_for_the_rest() {
    let mut story = Story::with_brokers(&[("num.partitions", "2"), ("default.replication.factor", "3")], 3);
    let asked = topic("orders", -1, -1).with_configs(vec![config(&("retention.ms", "1000"))]);
    let response = story.create(CreateTopicsRequest::default().with_topics(vec![asked]));
    let created = &response.topics[0];
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 2, 3));
    assert_eq!(created.topic_id, Uuid::from_u128(1));
    let configs = created.configs.as_ref().expect("version 5 tells them");
    let find = |name: &str| configs.iter().find(|config| config.name.as_str() == name).expect("every key is told");
    let told = |name: &str| (find(name).value.as_ref().map(ToString::to_string), find(name).config_source);
    assert_eq!(told("retention.ms"), (Some("1000".into()), 1));
    assert_eq!(told("segment.bytes"), (Some("1073741824".into()), 5));
    let names: Vec<&str> = story.records.iter().map(Record::name).collect();
    assert_eq!(names, ["Topic", "Config", "Partition", "Partition"]);
}

#[test]
fn to_validate_only_changes_nothing() {
    let mut story = Story::with_brokers(&[], 1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic("orders", 1, 1)]).with_validate_only(true);
    let response = story.create(request);
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 1));
    assert!(story.records.is_empty());
    assert!(story.image.topic_by_name("orders").is_none());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let mut story = Story::with_brokers(&[], 1);
    story.topic("a.b", &[&[1]], &[]);
    let names = ["", "..", "a/b", "a_b", "a.b", "__cluster_metadata", "twice", "twice", "fine"];
    let topics = names.map(|name| topic(name, 1, 1)).to_vec();
    insta::assert_snapshot!(outcomes(&mut story, topics), @"
     INVALID_TOPIC_EXCEPTION Topic name is invalid: the empty string is not allowed
    .. INVALID_TOPIC_EXCEPTION Topic name is invalid: '..' is not allowed
    a/b INVALID_TOPIC_EXCEPTION Topic name is invalid: it contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
    a_b INVALID_TOPIC_EXCEPTION Topic 'a_b' collides with existing topic: a.b
    a.b TOPIC_ALREADY_EXISTS Topic 'a.b' already exists.
    __cluster_metadata INVALID_REQUEST Creation of internal topic __cluster_metadata is prohibited.
    twice INVALID_REQUEST Duplicate topic name.
    fine NONE
    ");
}

#[test]
fn two_names_of_one_request_that_collide_are_not_both_created() {
    let mut story = Story::with_brokers(&[], 1);
    insta::assert_snapshot!(outcomes(&mut story, vec![topic("a.b", 1, 1), topic("a_b", 1, 1)]), @"
    a.b NONE
    a_b INVALID_TOPIC_EXCEPTION Topic 'a_b' collides with existing topic: a.b
    ");
}

#[test]
fn counts_that_cannot_be_are_refused() {
    let mut story = Story::with_brokers(&[], 2);
    let topics = vec![topic("a", 0, 1), topic("b", -2, 1), topic("c", 1, 0), topic("d", 1, -2), topic("e", 1, 3)];
    insta::assert_snapshot!(outcomes(&mut story, topics), @"
    a INVALID_PARTITIONS Number of partitions was set to an invalid non-positive value.
    b INVALID_PARTITIONS Number of partitions was set to an invalid non-positive value.
    c INVALID_REPLICATION_FACTOR Replication factor must be larger than 0, or -1 to use the default value.
    d INVALID_REPLICATION_FACTOR Replication factor must be larger than 0, or -1 to use the default value.
    e INVALID_REPLICATION_FACTOR Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 2 broker(s) are registered.
    ");
    insta::assert_snapshot!(outcomes(&mut story, vec![topic("f", 10_001, 1), topic("g", 1, 1)]), @"
    f POLICY_VIOLATION Excessively large number of partitions per request.
    g POLICY_VIOLATION Excessively large number of partitions per request.
    ");
    story.fence(1);
    story.fence(2);
    insta::assert_snapshot!(outcomes(&mut story, vec![topic("h", 1, 1)]), @"h INVALID_REPLICATION_FACTOR Unable to replicate the partition 1 time(s): All brokers are currently fenced.");
}

#[test]
fn assignments_that_cannot_be_are_refused() {
    let mut story = Story::with_brokers(&[], 3);
    story.fence(3);
    let topics = vec![
        assigned("a", &[(0, &[1, 2]), (0, &[2, 1])]),
        assigned("b", &[(0, &[1]), (2, &[2])]),
        assigned("c", &[(0, &[1, 1])]),
        assigned("d", &[(0, &[1, 9])]),
        assigned("e", &[(0, &[])]),
        assigned("f", &[(0, &[1, 2]), (1, &[1])]),
        assigned("g", &[(0, &[3])]),
        assigned("h", &[(0, &[1])]).with_num_partitions(1),
        assigned("i", &[(0, &[1])]).with_replication_factor(1),
        assigned("j", &[(1, &[2, 3]), (0, &[3, 1])]),
    ];
    insta::assert_snapshot!(outcomes(&mut story, topics), @"
    a INVALID_REPLICA_ASSIGNMENT Found multiple manual partition assignments for partition 0
    b INVALID_REPLICA_ASSIGNMENT partitions should be a consecutive 0-based integer sequence
    c INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes the broker 1 more than once.
    d INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes broker 9, but no such broker is registered.
    e INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes an empty replica list.
    f INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s).
    g INVALID_REPLICA_ASSIGNMENT All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.
    h INVALID_REQUEST A manual partition assignment was specified, but numPartitions was not set to -1.
    i INVALID_REQUEST A manual partition assignment was specified, but replication factor was not set to -1.
    j NONE
    ");
    let created = story.image.topic_by_name("j").expect("it is fine");
    let lines: Vec<String> = created.partitions().map(|(_, state)| line(state)).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    leader 1 epoch 0  isr 1
    leader 2 epoch 0  isr 2
    ");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let mut story = Story::with_brokers(&[], 1);
    let with = |name: &str, setting: (&str, &str)| topic(name, 1, 1).with_configs(vec![config(&setting)]);
    let mut without_value = with("a", ("retention.ms", ""));
    without_value.configs[0].value = None;
    let topics = vec![
        without_value,
        with("b", ("retention.msec", "1")),
        with("c", ("min.insync.replicas", "0")),
        with("d", ("cleanup.policy", "burn")),
    ];
    insta::assert_snapshot!(outcomes(&mut story, topics), @"
    a INVALID_CONFIG Null value not supported for topic configs: retention.ms
    b INVALID_CONFIG Unknown topic config name: retention.msec (did you mean retention.ms?)
    c INVALID_CONFIG Invalid value 0 for configuration min.insync.replicas: Value must be at least 1
    d INVALID_CONFIG Invalid value burn for configuration cleanup.policy: String must be one of: compact, delete
    ");
    assert!(story.records.is_empty());
}

/// The outcome of each topic of a request, a line each.
fn deletions(story: &mut Story, request: DeleteTopicsRequest, version: i16) -> String {
    let ControlResponse::DeleteTopics(response) = story.decide(ControlRequest::DeleteTopics { request, version })
    else {
        panic!("another request's response")
    };
    let line = |result: DeletableTopicResult| {
        let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
        let name = result.name.map_or("-".to_owned(), |name| name.to_string());
        let message = result.error_message.map(|message| message.to_string()).unwrap_or_default();
        format!("{name} {} {code} {message}", TopicId(result.topic_id)).trim_end().to_owned()
    };
    response.responses.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn state(name: Option<&str>, id: u128) -> DeleteTopicState {
    DeleteTopicState::default().with_name(name.map(topic_name_of)).with_topic_id(Uuid::from_u128(id))
}

#[test]
fn topics_are_deleted_by_name_or_by_identity() {
    let mut story = Story::with_brokers(&[], 1);
    for name in ["a", "b", "c", "d", "e"] {
        story.topic(name, &[&[1]], &[]);
    }
    let older = DeleteTopicsRequest::default().with_topic_names(vec![topic_name_of("a"), topic_name_of("gone")]);
    insta::assert_snapshot!(deletions(&mut story, older, 5), @"
    a AAAAAAAAAAAAAAAAAAAAAQ NONE
    gone AAAAAAAAAAAAAAAAAAAAAA UNKNOWN_TOPIC_OR_PARTITION This server does not host this topic-partition.
    ");
    let topics = vec![
        state(Some("b"), 0),
        state(None, 3),
        state(None, 99),
        state(Some("d"), 4),
        state(None, 0),
        state(Some("d"), 0),
        state(None, 4),
        state(Some("e"), 0),
        state(Some("e"), 0),
    ];
    let newer = DeleteTopicsRequest::default().with_topics(topics);
    insta::assert_snapshot!(deletions(&mut story, newer, 6), @"
    b AAAAAAAAAAAAAAAAAAAAAg NONE
    c AAAAAAAAAAAAAAAAAAAAAw NONE
    - AAAAAAAAAAAAAAAAAAAAYw UNKNOWN_TOPIC_ID This server does not host this topic ID.
    d AAAAAAAAAAAAAAAAAAAABA INVALID_REQUEST You may not specify both topic name and topic id.
    - AAAAAAAAAAAAAAAAAAAAAA INVALID_REQUEST Neither topic name nor id were specified.
    d AAAAAAAAAAAAAAAAAAAAAA INVALID_REQUEST Duplicate topic name.
    - AAAAAAAAAAAAAAAAAAAABA INVALID_REQUEST Duplicate topic id.
    e AAAAAAAAAAAAAAAAAAAAAA INVALID_REQUEST Duplicate topic name.
    ");
    let left: Vec<&str> = story.image.topics_by_name().map(|topic| &*topic.name).collect();
    assert_eq!(left, ["d", "e"]);
}

#[test]
fn a_topic_of_the_same_name_is_another_topic() {
    let mut story = Story::with_brokers(&[], 1);
    story.topic("orders", &[&[1]], &[("retention.ms", "1000")]);
    let first = story.image.topic_by_name("orders").map(|topic| topic.id);
    deletions(&mut story, DeleteTopicsRequest::default().with_topic_names(vec![topic_name_of("orders")]), 5);
    story.topic("orders", &[&[1]], &[]);
    let topic = story.image.topic_by_name("orders").expect("created again");
    assert_ne!(Some(topic.id), first);
    assert_eq!(story.image.configs.iter().count(), 0);
}

#[test]
fn deletion_can_be_disabled_and_an_older_client_is_told_otherwise() {
    let mut story = Story::with_brokers(&[("delete.topic.enable", "false")], 1);
    story.topic("orders", &[&[1]], &[]);
    let request = || DeleteTopicsRequest::default().with_topic_names(vec![topic_name_of("orders")]);
    insta::assert_snapshot!(deletions(&mut story, request(), 5), @"orders AAAAAAAAAAAAAAAAAAAAAA TOPIC_DELETION_DISABLED Topic deletion is disabled.");
    insta::assert_snapshot!(deletions(&mut story, request(), 2), @"orders AAAAAAAAAAAAAAAAAAAAAA INVALID_REQUEST Topic deletion is disabled.");
    assert!(story.records.is_empty());
}
