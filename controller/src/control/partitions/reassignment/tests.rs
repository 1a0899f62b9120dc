//! Claims about replicas that move.

use super::*;
use crate::control::stories::Story;
use crate::control::{ControlRequest, ControlResponse};
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

const DONE: (ErrorCode, String) = (ErrorCode::None, String::new());

/// Six brokers, one partition on the first three.
fn orders(settings: &[(&str, &str)]) -> Story {
    let mut story = Story::with_brokers(&[("min.insync.replicas", "2")], 6);
    story.topic("orders", &[&[1, 2, 3]], settings);
    story
}

fn shown(story: &Story) -> String {
    crate::control::stories::line(story.partition("orders"))
}

fn listed(story: &mut Story, topics: Option<Vec<ListPartitionReassignmentsTopics>>) -> String {
    let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
    let decided = story.decide(ControlRequest::ListPartitionReassignments(request));
    let ControlResponse::ListPartitionReassignments(response) = decided else { panic!("another request's response") };
    let ids = |ids: &[WireBrokerId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let lines = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let (adding, removing) = (ids(&partition.adding_replicas), ids(&partition.removing_replicas));
            let (name, index, replicas) = (&topic.name, partition.partition_index, ids(&partition.replicas));
            format!("{}-{index} replicas {replicas} adding {adding} removing {removing}", name.as_str())
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_move_is_complete_when_every_replica_that_stays_is_in_sync() {
    let mut story = orders(&[]);
    assert_eq!(story.reassign("orders", Some(&[4, 5, 3]), true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 0  isr 1,2,3  replicas 4,5,3,1,2  adding 4,5  removing 1,2");
    insta::assert_snapshot!(listed(&mut story, None), @"orders-0 replicas 4,5,3,1,2 adding 4,5 removing 1,2");
    story.isr("orders", &[1, 2, 3, 4]);
    assert!(story.partition("orders").is_reassigning(), "5 is not in sync");
    let asked = story.alteration("orders", &[1, 2, 3, 4, 5]);
    assert_eq!(story.alter_as(1, asked), ErrorCode::NewLeaderElected, "1 leads no more");
    insta::assert_snapshot!(shown(&story), @"leader 4 epoch 1  isr 3,4,5");
    let replicas = &story.partition("orders").replicas;
    assert_eq!(*replicas, [BrokerId(4), BrokerId(5), BrokerId(3)]);
    assert_eq!(listed(&mut story, None), "");
}

#[test]
fn a_leader_that_stays_leads_on_in_a_new_epoch() {
    let mut story = orders(&[]);
    assert_eq!(story.reassign("orders", Some(&[1, 4]), true), DONE);
    story.isr("orders", &[1, 2, 3, 4]);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 1  isr 1,4");
    assert_eq!(story.partition("orders").replicas, [BrokerId(1), BrokerId(4)]);
}

#[test]
fn another_order_and_fewer_replicas_need_no_copying() {
    let mut story = orders(&[]);
    assert_eq!(story.reassign("orders", Some(&[3, 2, 1]), true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 0  isr 1,2,3");
    assert_eq!(story.partition("orders").preferred_leader(), Some(BrokerId(3)));
    assert_eq!(story.reassign("orders", Some(&[3, 2]), true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 3 epoch 1  isr 2,3");
    assert_eq!(story.reassign("orders", Some(&[3, 2]), true), DONE);
    assert!(story.records.is_empty(), "it is so already");
}

#[test]
fn a_move_can_be_cancelled_and_then_there_is_none() {
    let mut story = orders(&[]);
    let none = (ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.".to_owned());
    assert_eq!(story.reassign("orders", None, true), none);
    story.reassign("orders", Some(&[4, 5, 6]), true);
    story.isr("orders", &[1, 2, 3, 4]);
    assert_eq!(story.reassign("orders", None, true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 1  isr 1,2,3");
    assert_eq!(story.partition("orders").replicas, [BrokerId(1), BrokerId(2), BrokerId(3)]);
    assert_eq!(story.reassign("orders", None, true), none);
}

#[test]
fn a_move_is_not_cancelled_if_only_those_who_came_are_in_sync() {
    let broken = |settings: &[(&str, &str)]| {
        let mut story = orders(settings);
        story.reassign("orders", Some(&[4, 5, 6]), true);
        story.isr("orders", &[1, 2, 3, 4, 5]);
        for id in [1, 2, 3] {
            story.fence(id);
        }
        for id in [1, 2, 3] {
            story.beat(id);
        }
        story
    };
    let mut story = broken(&[]);
    insta::assert_snapshot!(shown(&story), @"leader 4 epoch 1  isr 4,5  replicas 4,5,6,1,2,3  adding 4,5,6  removing 1,2,3");
    let (code, why) = story.reassign("orders", None, true);
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    insta::assert_snapshot!(why, @"Unable to revert partition assignment for orders:0 because it would require an unclean leader election.");
    let mut story = broken(&[("unclean.leader.election.enable", "true")]);
    assert_eq!(story.reassign("orders", None, true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 2  isr 1  recovering");
}

#[test]
fn a_move_can_go_elsewhere_before_it_is_complete() {
    let mut story = orders(&[]);
    story.reassign("orders", Some(&[1, 2, 4]), true);
    story.isr("orders", &[1, 2, 3]);
    assert_eq!(story.reassign("orders", Some(&[1, 4, 5]), true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 0  isr 1,2,3  replicas 1,4,5,2,3  adding 4,5  removing 2,3");
    assert_eq!(story.reassign("orders", Some(&[1, 2, 3]), true), DONE);
    insta::assert_snapshot!(shown(&story), @"leader 1 epoch 1  isr 1,2,3");
    assert_eq!(story.partition("orders").replicas, [BrokerId(1), BrokerId(2), BrokerId(3)]);
}

#[test]
fn the_factor_is_kept_where_that_is_wanted() {
    let mut story = orders(&[]);
    let (code, why) = story.reassign("orders", Some(&[1, 2]), false);
    assert_eq!((code, &*why), (ErrorCode::InvalidReplicationFactor, "The replication factor is changed from 3 to 2"));
    assert_eq!(story.reassign("orders", Some(&[4, 5, 6]), false), DONE);
    assert_eq!(story.reassign("orders", Some(&[1, 5]), false).0, ErrorCode::InvalidReplicationFactor);
    assert_eq!(story.reassign("orders", Some(&[1, 5, 6]), false), DONE);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut story = orders(&[]);
    story.topic("audit", &[&[1]], &[]);
    let mut told = |replicas: &[i32]| {
        let (code, why) = story.reassign("orders", Some(replicas), true);
        format!("{code} {why}\n")
    };
    let told = [told(&[]), told(&[1, 1]), told(&[1, 9])].concat();
    insta::assert_snapshot!(told, @"
    INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes an empty replica list.
    INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes the broker 1 more than once.
    INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes broker 9, but no such broker is registered.
    ");
    assert!(story.records.is_empty());
    let gone = ReassignablePartition::default().with_partition_index(0).with_replicas(None);
    let topic = protocol::messages::alter_partition_reassignments_request::ReassignableTopic::default()
        .with_name(topic_name("gone"))
        .with_partitions(vec![gone]);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
    let decided = story.decide(ControlRequest::AlterPartitionReassignments(request));
    let ControlResponse::AlterPartitionReassignments(response) = decided else { panic!("another request's response") };
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn only_what_is_named_is_listed() {
    let mut story = orders(&[]);
    story.topic("audit", &[&[1]], &[]);
    story.reassign("audit", Some(&[2]), true);
    story.reassign("orders", Some(&[1, 2, 4]), true);
    let topic = |name: &str, partitions: &[i32]| {
        ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(name))
            .with_partition_indexes(partitions.to_vec())
    };
    let named = vec![topic("orders", &[0, 1]), topic("audit", &[7]), topic("gone", &[0])];
    assert_eq!(listed(&mut story, Some(named)), "orders-0 replicas 1,2,4,3 adding 4 removing 3");
    assert_eq!(listed(&mut story, None).lines().count(), 2);
}
