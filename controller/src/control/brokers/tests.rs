//! Claims about registrations, heartbeats and leaving.

use super::super::stories::{CLUSTER, Story, TIMEOUT};
use super::super::{ControlRequest, ControlResponse};
use metadata::record::Record;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, DirectoryId, IncarnationId, MetadataOffset};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::{
    AssignReplicasToDirsRequest, BrokerRegistrationRequest, CreatePartitionsRequest, StrBytes, WireBrokerId,
    assign_replicas_to_dirs_request, topic_name,
};
use uuid::Uuid;

fn code(story: &mut Story, request: BrokerRegistrationRequest) -> ErrorCode {
    let ControlResponse::RegisterBroker(response) = story.decide(ControlRequest::RegisterBroker(request)) else {
        panic!("another request's response")
    };
    ErrorCode::from_code(response.error_code).expect("a code of Kafka's")
}

#[test]
fn the_broker_epoch_is_the_offset_of_the_registration() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.now = story.now.plus(TIMEOUT);
    let response = story.register(1, 2, None);
    // A change of the partition comes first in the batch.
    assert_eq!(story.records.iter().map(Record::name).collect::<Vec<_>>(), ["PartitionChange", "RegisterBroker"]);
    assert_eq!(response.broker_epoch, story.image.offset().0 - 1);
    assert_eq!(response.broker_epoch, story.epoch(1));
}

#[test]
fn a_broker_of_another_cluster_is_refused() {
    let mut story = Story::new(&[]);
    let request = story.registration(1, 1, None).with_cluster_id(StrBytes::from_static_str("other"));
    assert_eq!(code(&mut story, request), ErrorCode::InconsistentClusterId);
    assert_eq!(CLUSTER, "cluster");
}

#[test]
fn another_incarnation_is_refused_while_the_first_lives_and_taken_after() {
    let mut story = Story::with_brokers(&[], 1);
    assert_eq!(story.register(1, 2, None).error_code, ErrorCode::DuplicateBrokerRegistration as i16);
    story.wait(TIMEOUT - 1);
    assert_eq!(story.register(1, 2, None).error_code, ErrorCode::DuplicateBrokerRegistration as i16);
    story.wait(1);
    assert_eq!(story.register(1, 2, None).error_code, 0);
}

#[test]
fn a_broker_that_leaves_in_good_order_may_come_back_before_its_session_ends() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    assert!(!story.leave(1).should_shut_down);
    assert_eq!(story.register(1, 2, None).error_code, 0);
}

#[test]
fn the_same_incarnation_keeps_its_epoch_and_its_state_and_writes_nothing_new() {
    let mut story = Story::with_brokers(&[], 1);
    let epoch = story.epoch(1);
    assert_eq!(story.register(1, 1, None).broker_epoch, epoch);
    assert!(story.records.is_empty());
    assert!(story.image.is_active(BrokerId(1)));
}

#[test]
fn the_same_incarnation_may_say_where_else_it_is_reached() {
    let mut story = Story::with_brokers(&[], 1);
    let epoch = story.epoch(1);
    let mut request = story.registration(1, 1, None);
    request.listeners[0].port = 9999;
    assert_eq!(code(&mut story, request), ErrorCode::None);
    let broker = story.image.broker(BrokerId(1)).expect("registered");
    assert_eq!((broker.epoch.0, broker.listeners[0].port, broker.fenced), (epoch, 9999, false));
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let mut story = Story::with_brokers(&[], 1);
    let request = story.registration(2, 1, None);
    let taken = request.clone().with_log_dirs(vec![Uuid::from_u128(1001)]);
    let twice = request.clone().with_log_dirs(vec![Uuid::from_u128(7_000), Uuid::from_u128(7_000)]);
    let reserved = request.clone().with_log_dirs(vec![Uuid::from_u128(1)]);
    let nowhere = request.clone().with_log_dirs(Vec::new());
    let negative = request.clone().with_broker_id(WireBrokerId(-1));
    let same_name = request.clone().with_listeners([&request.listeners[..], &request.listeners[..]].concat());
    let mut strange = request.clone();
    strange.listeners[0].security_protocol = 9;
    for refused in [taken, twice, reserved, nowhere, negative, same_name, strange] {
        assert_eq!(code(&mut story, refused), ErrorCode::InvalidRegistration);
    }
    assert_eq!(code(&mut story, request), ErrorCode::None);
}

#[test]
fn a_broker_that_cannot_run_at_the_finalized_level_is_refused() {
    let mut story = Story::new(&[]);
    let mut old = story.registration(1, 1, None);
    old.features[0].max_supported_version = 20;
    assert_eq!(code(&mut story, old), ErrorCode::UnsupportedVersion);
    let silent = story.registration(1, 1, None).with_features(Vec::new());
    assert_eq!(code(&mut story, silent), ErrorCode::UnsupportedVersion);
}

#[test]
fn a_broker_is_unfenced_once_it_has_read_its_own_registration() {
    let mut story = Story::new(&[]);
    story.register(1, 1, None);
    let behind = story.heartbeat(1).with_current_metadata_offset(story.epoch(1) - 1);
    let response = story.send(behind);
    assert_eq!((response.is_caught_up, response.is_fenced), (false, true));
    let waiting = story.heartbeat(1).with_want_fence(true);
    let response = story.send(waiting);
    assert_eq!((response.is_caught_up, response.is_fenced), (true, true));
    let response = story.beat(1);
    assert_eq!((response.is_caught_up, response.is_fenced), (true, false));
    assert!(story.image.is_active(BrokerId(1)));
}

#[test]
fn a_heartbeat_of_an_earlier_life_is_stale() {
    let mut story = Story::with_brokers(&[], 1);
    let old = story.heartbeat(1);
    story.restart(1, 2, None);
    assert_eq!(story.send(old).error_code, ErrorCode::StaleBrokerEpoch as i16);
    let unknown = story.heartbeat(9);
    assert_eq!(story.send(unknown).error_code, ErrorCode::StaleBrokerEpoch as i16);
}

#[test]
fn a_broker_without_leaderships_may_go_at_once() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let response = story.leave(2);
    assert!(response.should_shut_down && response.is_fenced);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  fenced
    orders-0  leader 1 epoch 0  isr 1
    ");
}

#[test]
fn a_leaving_leader_goes_once_all_others_know_who_leads_now() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3]], &[]);
    let ignorant = story.heartbeat(3);
    let response = story.leave(1);
    assert!(!response.should_shut_down && !response.is_fenced);
    insta::assert_snapshot!(story.show(), @"
    broker 1  leaving
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 2 epoch 1  isr 2,3
    ");
    let offset = story.image.broker(BrokerId(1)).and_then(|broker| broker.controlled_shutdown_offset);
    assert_eq!(offset, Some(MetadataOffset(story.image.offset().0 - 1)), "the mark is the last of the batch");
    story.beat(2);
    story.send(ignorant);
    assert!(!story.leave(1).should_shut_down, "3 does not know yet");
    story.beat(3);
    assert!(story.leave(1).should_shut_down);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 2 epoch 1  isr 2,3
    ");
}

#[test]
fn a_broker_that_was_let_go_may_come_back_at_once() {
    let mut story = Story::with_brokers(&[("min.insync.replicas", "2")], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let epoch = story.epoch(2);
    assert!(story.leave(2).should_shut_down);
    assert_eq!(story.register(2, 2, Some(epoch)).error_code, 0);
    assert_eq!(story.partition("orders").elr, [BrokerId(2)], "it stopped cleanly");
}

#[test]
fn a_leaving_broker_joins_no_isr() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.leave(1);
    let asked = story.alteration("orders", &[2, 1]);
    assert_eq!(story.alter_as(2, asked), ErrorCode::IneligibleReplica);
}

#[test]
fn a_fenced_broker_that_wants_to_go_may_go() {
    let mut story = Story::with_brokers(&[], 1);
    story.fence(1);
    let response = story.leave(1);
    assert!(response.should_shut_down && response.is_fenced);
    assert!(story.records.is_empty(), "it is fenced already");
}

#[test]
fn a_broker_that_lost_a_directory_is_fenced_until_it_starts_anew() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let broken = |story: &Story| story.heartbeat(1).with_offline_log_dirs(vec![Uuid::from_u128(1001)]);
    let request = broken(&story);
    assert!(story.send(request).is_fenced);
    assert_eq!(story.partition("orders").leader, Some(BrokerId(2)));
    let request = broken(&story);
    assert!(story.send(request).is_fenced);
    assert!(story.records.is_empty());
}

/// Brokers 1 to 3, the first with two log directories, and four topics on all of them.
fn two_directories() -> (Story, [Uuid; 2]) {
    let mut story = Story::new(&[]);
    let directories = [Uuid::from_u128(1001), Uuid::from_u128(2001)];
    let request = story.registration(1, 1, None).with_log_dirs(directories.to_vec());
    assert_eq!(code(&mut story, request), ErrorCode::None);
    story.beat(1);
    for id in 2..=3 {
        story.register(id, 1, None);
        story.beat(id);
    }
    for topic in ["a", "b", "c", "d"] {
        story.topic(topic, &[&[1, 2, 3]], &[]);
    }
    (story, directories)
}

#[test]
fn replicas_are_spread_over_the_directories_of_a_broker() {
    let (story, directories) = two_directories();
    let chosen = ["a", "b", "c", "d"].map(|topic| story.partition(topic).directories.clone());
    assert_eq!(chosen.each_ref().map(|chosen| chosen[0].0), [directories, directories].concat()[..]);
    assert!(chosen.iter().all(|chosen| chosen[1].0 == Uuid::from_u128(1002)), "a broker with one has no choice");
}

#[test]
fn added_partitions_get_directories_too_and_a_failed_one_does_not_fence_the_broker() {
    let (mut story, directories) = two_directories();
    let more = CreatePartitionsTopic::default().with_name(topic_name("a")).with_count(3).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![more]);
    story.decide(ControlRequest::CreatePartitions { request, placement_seed: 0 });
    let added = story.image.topic_by_name("a").expect("it is there").partitions().map(|(_, state)| state.clone());
    let added: Vec<_> = added.flat_map(|state| state.directories.clone()).collect();
    assert_eq!(added.len(), 9);
    assert!(added.iter().all(|directory| !directory.0.is_nil()), "{added:?}");
    let request = story.heartbeat(1).with_offline_log_dirs(vec![directories[1]]);
    assert!(!story.send(request).is_fenced);
}

#[test]
fn a_broker_that_lost_one_of_its_directories_keeps_what_it_leads_in_the_other() {
    let (mut story, directories) = two_directories();
    let epoch = story.epoch(1);
    let broken = |story: &Story| story.heartbeat(1).with_offline_log_dirs(vec![directories[1]]);
    let request = broken(&story);
    let response = story.send(request);
    assert!(!response.is_fenced && response.error_code == 0);
    assert_eq!(story.epoch(1), epoch, "it is the same registration");
    for topic in ["a", "c"] {
        assert_eq!((story.partition(topic).leader, story.partition(topic).isr.len()), (Some(BrokerId(1)), 3));
    }
    for topic in ["b", "d"] {
        assert_eq!(story.partition(topic).leader, Some(BrokerId(2)));
        assert_eq!(story.partition(topic).isr, [BrokerId(2), BrokerId(3)]);
        let asked = story.alteration(topic, &[1, 2, 3]);
        assert_eq!(story.alter_as(2, asked), ErrorCode::IneligibleReplica);
    }
    let request = broken(&story);
    assert!(!story.send(request).is_fenced);
    assert!(story.records.is_empty(), "it is known");
    // New replicas go elsewhere, and nobody else's death makes it lead there.
    story.topic("e", &[&[1, 2]], &[]);
    story.fence(2);
    story.fence(3);
    assert_eq!(story.partition("e").leader, Some(BrokerId(1)));
    assert_eq!(story.partition("b").leader, None);
    let request = story.heartbeat(1).with_offline_log_dirs(directories.to_vec());
    assert!(story.send(request).is_fenced);
}

/// Broker 1 says that partition 0 of a topic is in a directory.
fn assign(story: &mut Story, epoch: i64, directory: Uuid, topic: Uuid) -> (ErrorCode, Vec<ErrorCode>) {
    let partition = assign_replicas_to_dirs_request::PartitionData::default();
    let topic =
        assign_replicas_to_dirs_request::TopicData::default().with_topic_id(topic).with_partitions(vec![partition]);
    let directory =
        assign_replicas_to_dirs_request::DirectoryData::default().with_id(directory).with_topics(vec![topic]);
    let request = AssignReplicasToDirsRequest::default().with_broker_id(1.into()).with_broker_epoch(epoch);
    match story.decide(ControlRequest::AssignReplicasToDirs(request.with_directories(vec![directory]))) {
        ControlResponse::AssignReplicasToDirs(response) => {
            let partitions = response.directories.iter().flat_map(|of| &of.topics).flat_map(|of| &of.partitions);
            let each: Vec<ErrorCode> = partitions.map(|of| ErrorCode::from_wire(of.error_code)).collect();
            (ErrorCode::from_wire(response.error_code), each)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_says_where_a_replica_moved() {
    let (mut story, directories) = two_directories();
    let (epoch, topic) = (story.epoch(1), story.alteration("a", &[1]).0.topic_id.0);
    assert_eq!(assign(&mut story, epoch, directories[1], topic), (ErrorCode::None, vec![ErrorCode::None]));
    assert_eq!(story.partition("a").directories[0].0, directories[1]);
    assert_eq!(assign(&mut story, epoch, directories[1], topic), (ErrorCode::None, vec![ErrorCode::None]));
    assert!(story.records.is_empty(), "it is known");
    assert_eq!(assign(&mut story, epoch - 1, directories[0], topic).0, ErrorCode::StaleBrokerEpoch);
    let elsewhere = assign(&mut story, epoch, Uuid::from_u128(1002), topic);
    assert_eq!(elsewhere, (ErrorCode::None, vec![ErrorCode::LogDirNotFound]), "that is another broker's");
    let nothing = assign(&mut story, epoch, directories[0], Uuid::from_u128(77));
    assert_eq!(nothing, (ErrorCode::None, vec![ErrorCode::UnknownTopicId]));
    // What moved goes with its new directory.
    let request = story.heartbeat(1).with_offline_log_dirs(vec![directories[1]]);
    story.send(request);
    assert_eq!(story.partition("a").leader, Some(BrokerId(2)));
}

/// A broker gives up what it has of `orders`, and what it is answered.
fn lose(story: &mut Story) -> ErrorCode {
    let (epoch, topic) = (story.epoch(1), story.alteration("orders", &[1]).0.topic_id.0);
    let (whole, each) = assign(story, epoch, DirectoryId::LOST.0, topic);
    assert_eq!((whole, each.len()), (ErrorCode::None, 1));
    each[0]
}

#[test]
fn a_damaged_replica_is_in_sync_no_more_until_it_was_copied_anew() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3]], &[]);
    assert_eq!(lose(&mut story), ErrorCode::None);
    let state = story.partition("orders").clone();
    assert_eq!(
        (state.leader, &state.isr[..], state.elr.len()),
        (Some(BrokerId(2)), &[BrokerId(2), BrokerId(3)][..], 0)
    );
    assert_eq!((state.directories[0], state.leader_epoch.0), (DirectoryId::LOST, 1));
    let asked = story.alteration("orders", &[1, 2, 3]);
    assert_eq!(story.alter_as(2, asked), ErrorCode::IneligibleReplica);
    // Said again, and after a start of the broker, nothing is new.
    assert_eq!(lose(&mut story), ErrorCode::None);
    assert!(story.records.is_empty(), "{:?}", story.records);
    story.fence(1);
    story.now = story.now.plus(TIMEOUT);
    story.register(1, 2, None);
    story.beat(1);
    assert_eq!(story.partition("orders").directories[0], DirectoryId::LOST);
    let (epoch, topic) = (story.epoch(1), story.alteration("orders", &[1]).0.topic_id.0);
    assert_eq!(assign(&mut story, epoch, Uuid::from_u128(1001), topic).1, [ErrorCode::None]);
    story.isr("orders", &[1, 2, 3]);
    assert_eq!(story.partition("orders").isr.len(), 3);
}

#[test]
fn what_a_leader_knew_of_a_damaged_replica_is_of_an_old_epoch() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[2, 1, 3]], &[("min.insync.replicas", "3")]);
    let late = story.alteration("orders", &[1, 2, 3]);
    assert_eq!(lose(&mut story), ErrorCode::None);
    let state = story.partition("orders").clone();
    assert_eq!(
        (state.leader, &state.isr[..], state.elr.len()),
        (Some(BrokerId(2)), &[BrokerId(2), BrokerId(3)][..], 0)
    );
    assert_eq!(state.leader_epoch.0, 1, "its leader leads in another epoch");
    assert_eq!(story.alter_as(2, late), ErrorCode::FencedLeaderEpoch);
}

#[test]
fn a_damaged_replica_that_alone_holds_what_is_committed_is_kept() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3]], &[("unclean.leader.election.enable", "true")]);
    story.isr("orders", &[1]);
    assert_eq!(lose(&mut story), ErrorCode::IneligibleReplica);
    assert!(story.records.is_empty());
    assert_eq!(story.partition("orders").leader, Some(BrokerId(1)));
}

#[test]
fn a_broker_that_starts_without_a_directory_is_in_sync_again_with_what_it_copies_anew() {
    let (mut story, directories) = two_directories();
    story.fence(1);
    story.now = story.now.plus(TIMEOUT);
    let request = story.registration(1, 2, None).with_log_dirs(vec![directories[0], Uuid::from_u128(3001)]);
    assert_eq!(code(&mut story, request), ErrorCode::None);
    story.beat(1);
    assert_eq!(story.partition("a").directories[0].0, directories[0]);
    assert!(story.partition("b").directories[0].0.is_nil());
    story.isr("b", &[1, 2, 3]);
    assert_eq!(story.partition("b").isr.len(), 3);
}

#[test]
fn an_unregistered_broker_is_nowhere_in_sync_nor_eligible() {
    let mut story = Story::with_brokers(&[("min.insync.replicas", "2")], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let unregister = |story: &mut Story, id| story.decide(ControlRequest::UnregisterBroker { broker_id: BrokerId(id) });
    assert_eq!(unregister(&mut story, 2), ControlResponse::UnregisterBroker(ErrorCode::None));
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    orders-0  leader 1 epoch 0  isr 1
    ");
    assert_eq!(unregister(&mut story, 2), ControlResponse::UnregisterBroker(ErrorCode::BrokerIdNotRegistered));
}

#[test]
fn a_late_fence_does_not_reach_the_next_life() {
    let mut story = Story::with_brokers(&[], 1);
    let first = story.epoch(1);
    story.restart(1, 2, None);
    story.beat(1);
    let broker_epoch = protocol::ids::BrokerEpoch(first);
    story.decide(ControlRequest::FenceBroker { broker_id: BrokerId(1), broker_epoch });
    assert!(story.image.is_active(BrokerId(1)));
    let life = story.image.broker(BrokerId(1)).map(|broker| broker.incarnation_id);
    assert_eq!(life, Some(IncarnationId(super::super::stories::incarnation(1, 2))));
}
