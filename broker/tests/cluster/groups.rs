//! Consumer groups, on the wire: members join, commit and are told of each other, and the next coordinator knows it all.

use crate::support::{Cluster, create_topic, eventually, metadata, run};
use bytes::Bytes;
use client::Connection;
use protocol::{
    error_code::ErrorCode,
    messages::{
        ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, StrBytes, SyncGroupRequest, SyncGroupResponse,
        consumer_group_heartbeat_request::TopicPartitions,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
        topic_name,
    },
};
use runtime::{simulation::disk::Damage, task, time};
use std::time::Duration;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// Who coordinates a group, by what node `id` says.
pub(crate) async fn coordinator_id(id: i32, name: &str) -> Result<i32, ErrorCode> {
    let connection = Cluster::connect(id).await;
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(name)]);
    let response = connection.call(&request).await.unwrap();
    match ErrorCode::from_wire(response.coordinators[0].error_code) {
        ErrorCode::None => Ok(response.coordinators[0].node_id.0),
        error => Err(error),
    }
}

/// A connection to a group's coordinator, once it has read its groups; not to node `gone`.
async fn coordinator(asked: i32, name: &str, gone: Option<i32>) -> (i32, Connection) {
    let mut found = None;
    eventually("a coordinator", async || {
        let Ok(id) = coordinator_id(asked, name).await else { return false };
        if Some(id) == gone {
            return false;
        }
        let connection = Cluster::connect(id).await;
        let is_there = fetch(&connection, name, 0).await.is_ok();
        found = is_there.then_some((id, connection));
        is_there
    })
    .await;
    found.unwrap()
}

fn join(name: &str, member: &str) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"mine"));
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(member))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(5_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as somebody new: first an id, then the group.
async fn join_anew(connection: &Connection, name: &str) -> JoinGroupResponse {
    let first = connection.call(&join(name, "")).await.unwrap();
    assert_eq!(ErrorCode::from_wire(first.error_code), ErrorCode::MemberIdRequired);
    let joined = connection.call(&join(name, &first.member_id)).await.unwrap();
    assert_eq!(ErrorCode::from_wire(joined.error_code), ErrorCode::None);
    joined
}

async fn sync(connection: &Connection, name: &str, joined: &JoinGroupResponse, given: &[&str]) -> SyncGroupResponse {
    let assignment = |member: &&str| {
        let bytes = Bytes::from(format!("for {member}"));
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(bytes)
    };
    let request = SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(given.iter().map(assignment).collect());
    connection.call(&request).await.unwrap()
}

async fn heartbeat(connection: &Connection, name: &str, member: &str, generation: i32) -> ErrorCode {
    let request = HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(member))
        .with_generation_id(generation);
    ErrorCode::from_wire(connection.call(&request).await.unwrap().error_code)
}

/// Commits for partition 0 and 99 of `orders`, and says what became of each.
async fn commit(
    connection: &Connection,
    name: &str,
    (member, generation): (&str, i32),
    offset: i64,
    note: &str,
) -> (ErrorCode, ErrorCode) {
    let partition = |index| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(note)))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partitions(vec![partition(99), partition(0)]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic]);
    let response = connection.call_at(9, &request).await.unwrap();
    let code = |index: usize| ErrorCode::from_wire(response.topics[0].partitions[index].error_code);
    (code(1), code(0))
}

/// What is committed for a partition of `orders`, with what was noted beside it.
async fn fetch(connection: &Connection, name: &str, partition: i32) -> Result<(i64, String), ErrorCode> {
    let topic =
        OffsetFetchRequestTopics::default().with_name(topic_name("orders")).with_partition_indexes(vec![partition]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let response = connection.call_at(9, &request).await.unwrap();
    match ErrorCode::from_wire(response.groups[0].error_code) {
        ErrorCode::None => {
            let told = &response.groups[0].topics[0].partitions[0];
            Ok((told.committed_offset, told.metadata.as_ref().unwrap().to_string()))
        }
        error => Err(error),
    }
}

async fn cluster(nodes: i32) -> Cluster {
    let replicas = nodes.to_string();
    let cluster = Cluster::start_with(
        nodes,
        &[
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", &replicas),
            ("group.initial.rebalance.delay.ms", "100"),
        ],
    );
    cluster.whole().await;
    let connection = Cluster::connect(1).await;
    create_topic(&connection, "orders", 1, nodes as i16, &[]).await;
    cluster
}

#[test]
fn the_next_coordinator_knows_the_members_their_generation_and_what_they_committed() {
    run(31, || async {
        let mut cluster = cluster(3).await;
        let (first, one) = coordinator(1, "g", None).await;
        let two = Cluster::connect(first).await;
        let joining = task::spawn(async move { (join_anew(&two, "g").await, two) });
        let leader = join_anew(&one, "g").await;
        let (follower, two) = joining.await.unwrap();
        let (leader, follower, one, two) = match leader.members.is_empty() {
            true => (follower, leader, two, one),
            false => (leader, follower, one, two),
        };
        assert_eq!((leader.generation_id, follower.generation_id, leader.members.len()), (1, 1, 2));
        let (name, waiting) = (follower.member_id.to_string(), follower.clone());
        let synced = task::spawn(async move { sync(&two, "g", &waiting, &[]).await });
        let own = sync(&one, "g", &leader, &[&leader.member_id, &name]).await;
        assert_eq!(own.assignment, Bytes::from(format!("for {}", leader.member_id)));
        assert_eq!(synced.await.unwrap().assignment, Bytes::from(format!("for {name}")));
        assert_eq!(heartbeat(&one, "g", &leader.member_id, 1).await, ErrorCode::None);
        let committed = commit(&one, "g", (&leader.member_id, 1), 42, "so far").await;
        assert_eq!(committed, (ErrorCode::None, ErrorCode::UnknownTopicOrPartition));

        cluster.power_off(first);
        let asked = if first == 1 { 2 } else { 1 };
        let (second, other) = coordinator(asked, "g", Some(first)).await;
        assert_ne!(second, first);
        assert_eq!(fetch(&other, "g", 0).await, Ok((42, "so far".to_owned())));
        assert_eq!(heartbeat(&other, "g", &leader.member_id, 1).await, ErrorCode::None);
        assert_eq!(heartbeat(&other, "g", &name, 1).await, ErrorCode::None);
        assert_eq!(heartbeat(&other, "g", &name, 2).await, ErrorCode::IllegalGeneration);
        let again = sync(&other, "g", &follower, &[]).await;
        assert_eq!(again.assignment, Bytes::from(format!("for {name}")));
    });
}

#[test]
fn whoever_falls_silent_is_missed_and_the_others_go_on() {
    run(32, || async {
        let _cluster = cluster(1).await;
        let (_, connection) = coordinator(1, "g", None).await;
        let joined = join_anew(&connection, "g").await;
        let me = joined.member_id.to_string();
        assert_eq!(sync(&connection, "g", &joined, &[&me]).await.error_code, 0);
        let silent = Cluster::connect(1).await;
        let joining = task::spawn(async move { join_anew(&silent, "g").await });
        eventually("a rebalance", async || heartbeat(&connection, "g", &me, 1).await == ErrorCode::RebalanceInProgress)
            .await;
        let again = connection.call(&join("g", &me)).await.unwrap();
        assert_eq!((again.generation_id, again.members.len()), (2, 2));
        let other = joining.await.unwrap().member_id.to_string();
        assert_eq!(sync(&connection, "g", &again, &[&me, &other]).await.error_code, 0);
        eventually("whoever is silent to be missed", async || {
            time::sleep(Duration::from_secs(1)).await;
            heartbeat(&connection, "g", &me, 2).await == ErrorCode::RebalanceInProgress
        })
        .await;
        let alone = connection.call(&join("g", &me)).await.unwrap();
        assert_eq!((alone.generation_id, alone.members.len()), (3, 1));
        assert_eq!(heartbeat(&connection, "g", &other, 3).await, ErrorCode::UnknownMemberId);
    });
}

#[test]
fn what_is_wrong_is_said_to_be_wrong() {
    run(33, || async {
        let _cluster = cluster(1).await;
        let (_, connection) = coordinator(1, "g", None).await;
        let nobody = ("", -1);
        assert_eq!(commit(&connection, "g", nobody, 7, "").await.0, ErrorCode::None);
        assert_eq!(commit(&connection, "g", nobody, 8, &"x".repeat(4_096)).await.0, ErrorCode::None);
        let long = "x".repeat(4_097);
        assert_eq!(commit(&connection, "g", nobody, 9, &long).await.0, ErrorCode::OffsetMetadataTooLarge);
        assert_eq!(commit(&connection, "g", ("somebody", 3), 9, "").await.0, ErrorCode::UnknownMemberId);
        assert_eq!(commit(&connection, "other", ("somebody", 3), 9, "").await.0, ErrorCode::GroupIdNotFound);
        assert_eq!(fetch(&connection, "g", 0).await.unwrap().0, 8);
        assert_eq!(fetch(&connection, "g", 1).await.unwrap().0, -1);
        assert_eq!(heartbeat(&connection, "", "somebody", 1).await, ErrorCode::InvalidGroupId);
        assert_eq!(heartbeat(&connection, "g", "somebody", 1).await, ErrorCode::UnknownMemberId);
        let refused =
            async |request: JoinGroupRequest| ErrorCode::from_wire(connection.call(&request).await.unwrap().error_code);
        assert_eq!(refused(join("", "")).await, ErrorCode::InvalidGroupId);
        assert_eq!(refused(join("g", "somebody")).await, ErrorCode::UnknownMemberId);
        assert_eq!(refused(join("g", "").with_session_timeout_ms(1)).await, ErrorCode::InvalidSessionTimeout);
        assert_eq!(refused(join("g", "").with_protocols(vec![])).await, ErrorCode::InconsistentGroupProtocol);
        let of_transactions = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text("t")]);
        let told = connection.call(&of_transactions).await.unwrap();
        assert_eq!(ErrorCode::from_wire(told.coordinators[0].error_code), ErrorCode::UnsupportedVersion);
    });
}

#[test]
fn groups_are_listed_described_and_deleted() {
    run(34, || async {
        let _cluster = cluster(1).await;
        let (_, connection) = coordinator(1, "busy", None).await;
        assert_eq!(commit(&connection, "idle", ("", -1), 7, "").await.0, ErrorCode::None);
        let joined = join_anew(&connection, "busy").await;
        let me = joined.member_id.to_string();
        assert_eq!(sync(&connection, "busy", &joined, &[&me]).await.error_code, 0);

        let listed = connection.call(&ListGroupsRequest::default()).await.unwrap().groups;
        let names: Vec<(&str, &str)> =
            listed.iter().map(|one| (one.group_id.as_str(), one.group_state.as_str())).collect();
        assert_eq!(names, [("busy", "Stable"), ("idle", "Empty")]);
        let stable = ListGroupsRequest::default().with_states_filter(vec![text("stable")]);
        assert_eq!(connection.call(&stable).await.unwrap().groups.len(), 1);

        let asked = DescribeGroupsRequest::default()
            .with_groups(vec![group("busy"), group("nobody")])
            .with_include_authorized_operations(true);
        let described = connection.call(&asked).await.unwrap().groups;
        assert_eq!((described[0].group_state.as_str(), described[0].protocol_data.as_str()), ("Stable", "range"));
        assert_eq!(described[0].members[0].member_assignment, Bytes::from(format!("for {me}")));
        assert_eq!(described[0].members[0].client_host.as_str().chars().next(), Some('/'));
        // As Apache Kafka 4.3.1 says: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
        assert_eq!(described[0].authorized_operations, 0x0d48);
        assert_eq!(ErrorCode::from_wire(described[1].error_code), ErrorCode::GroupIdNotFound);

        let names = ["busy", "idle", "nobody"].map(group).to_vec();
        let deleted = connection.call(&DeleteGroupsRequest::default().with_groups_names(names)).await.unwrap();
        let codes: Vec<_> = deleted.results.iter().map(|one| ErrorCode::from_wire(one.error_code)).collect();
        assert_eq!(codes, [ErrorCode::NonEmptyGroup, ErrorCode::None, ErrorCode::GroupIdNotFound]);
        assert_eq!(fetch(&connection, "idle", 0).await.unwrap().0, -1);

        let leave = LeaveGroupRequest::default()
            .with_group_id(group("busy"))
            .with_members(vec![MemberIdentity::default().with_member_id(text(&me))]);
        assert_eq!(connection.call(&leave).await.unwrap().members[0].error_code, 0);
        assert_eq!(commit(&connection, "busy", ("", -1), 5, "").await.0, ErrorCode::None);
        let forget = OffsetDeleteRequest::default().with_group_id(group("busy")).with_topics(vec![
            OffsetDeleteRequestTopic::default()
                .with_name(topic_name("orders"))
                .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(0)]),
        ]);
        assert_eq!(connection.call(&forget).await.unwrap().topics[0].partitions[0].error_code, 0);
        assert_eq!(fetch(&connection, "busy", 0).await.unwrap().0, -1);
        assert!(metadata(&connection, &["__consumer_offsets"]).await.topics[0].is_internal);
    });
}

#[test]
fn what_could_not_be_written_down_did_not_happen() {
    run(35, || async {
        let settings = [
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", "3"),
            ("min.insync.replicas", "2"),
            ("group.initial.rebalance.delay.ms", "100"),
        ];
        let mut cluster = Cluster::start_with(5, &settings);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let (id, connection) = coordinator(1, "g", None).await;
        let joined = join_anew(&connection, "g").await;
        let me = joined.member_id.to_string();
        assert_eq!(sync(&connection, "g", &joined, &[&me]).await.error_code, 0);

        let told = metadata(&connection, &["__consumer_offsets"]).await;
        let replicas: Vec<i32> = told.topics[0].partitions[0].replica_nodes.iter().map(|node| node.0).collect();
        let others: Vec<i32> = replicas.into_iter().filter(|node| *node != id).collect();
        others.iter().for_each(|node| cluster.power_off(*node));
        // It is appended while the two are still in sync by what is known, and nobody but the leader has it.
        assert_eq!(commit(&connection, "g", (&me, 1), 8, "").await.0, ErrorCode::CoordinatorNotAvailable);
        eventually("too few in sync", async || {
            let told = metadata(&connection, &["__consumer_offsets"]).await;
            told.topics[0].partitions[0].isr_nodes.len() == 1
        })
        .await;
        assert_eq!(commit(&connection, "g", (&me, 1), 9, "").await.0, ErrorCode::CoordinatorNotAvailable);
        // What is not committed is not told either, and there is something since the first of the two commits.
        assert_eq!(fetch(&connection, "g", 0).await, Err(ErrorCode::CoordinatorNotAvailable));
        // The last one leaves, which would have to be written down: the group is what its log says, and has it still.
        let leave = LeaveGroupRequest::default()
            .with_group_id(group("g"))
            .with_members(vec![MemberIdentity::default().with_member_id(text(&me))]);
        let left = connection.call(&leave).await.unwrap();
        assert_eq!(ErrorCode::from_wire(left.error_code), ErrorCode::CoordinatorNotAvailable);
        others.iter().for_each(|node| cluster.boot(*node));
        eventually("enough in sync", async || commit(&connection, "g", (&me, 1), 10, "").await.0 == ErrorCode::None)
            .await;
        assert_eq!(fetch(&connection, "g", 0).await.unwrap().0, 10);
    });
}

#[test]
fn a_coordinator_whose_log_is_damaged_gives_way_to_one_whose_log_is_not() {
    run(36, || async {
        let settings = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "2")];
        let mut cluster = Cluster::start_with(5, &settings);
        cluster.whole().await;
        let asked = Cluster::connect(1).await;
        create_topic(&asked, "orders", 1, 3, &[]).await;
        let (sound, connection) = coordinator(1, "g", None).await;
        assert_eq!(commit(&connection, "g", ("", -1), 42, "so far").await.0, ErrorCode::None);
        let told =
            async |asked: &Connection| metadata(asked, &["__consumer_offsets"]).await.topics[0].partitions[0].clone();
        let nodes = told(&connection).await.replica_nodes;
        let damaged = nodes.iter().map(|node| node.0).find(|node| *node != sound).unwrap();
        let other = (1..=5).find(|node| ![sound, damaged].contains(node)).unwrap();
        let asked = Cluster::connect(other).await;

        cluster.stop(damaged).await;
        let damage = Damage::FlipBit { position: 75, bit: 1 };
        assert!(cluster.damage(damaged, "__consumer_offsets-0/00000000000000000000.log", damage));
        cluster.boot(damaged);
        eventually("both in sync", async || told(&asked).await.isr_nodes.len() == 2).await;
        cluster.stop(sound).await;
        eventually("the damaged one to lead", async || told(&asked).await.leader_id.0 == damaged).await;
        time::sleep(Duration::from_secs(3)).await;
        let connection = Cluster::connect(damaged).await;
        assert_eq!(fetch(&connection, "g", 0).await, Err(ErrorCode::CoordinatorLoadInProgress));
        cluster.boot(sound);
        let (id, connection) = coordinator(other, "g", None).await;
        assert_eq!((id, fetch(&connection, "g", 0).await), (sound, Ok((42, "so far".to_owned()))));
    });
}

/// A heartbeat of a consumer group: the answer's error, member epoch, and the partitions of `orders` that it names, if any.
async fn beat(
    connection: &Connection,
    member: &str,
    epoch: i32,
    owned: Option<&[i32]>,
) -> (ErrorCode, i32, Option<Vec<i32>>) {
    let topic_id = metadata(connection, &["orders"]).await.topics[0].topic_id;
    let held = |partitions: &[i32]| {
        let partitions = partitions.to_vec();
        vec![TopicPartitions::default().with_topic_id(topic_id).with_partitions(partitions)]
    };
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(if joins { 5_000 } else { -1 })
        .with_subscribed_topic_names(joins.then(|| vec![topic_name("orders")]))
        .with_topic_partitions(if joins { Some(vec![]) } else { owned.map(held) });
    let answer = connection.call_at(1, &request).await.unwrap();
    let partitions = answer.assignment.map(|given| {
        given.topic_partitions.iter().flat_map(|topic| topic.partitions.iter().copied()).collect::<Vec<_>>()
    });
    (ErrorCode::from_wire(answer.error_code), answer.member_epoch, partitions)
}

#[test]
fn a_consumer_group_moves_partitions_from_one_member_to_another_and_over_to_the_next_coordinator() {
    run(37, || async {
        let settings = [
            ("offsets.topic.num.partitions", "1"),
            ("group.consumer.session.timeout.ms", "6000"),
            ("group.consumer.heartbeat.interval.ms", "1000"),
        ];
        let mut cluster = Cluster::start_with(3, &settings);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 2, 3, &[]).await;
        let (first, connection) = coordinator(1, "g", None).await;
        assert_eq!(beat(&connection, "one", 0, None).await, (ErrorCode::None, 1, Some(vec![0, 1])));
        // The second one waits for what the first one has to give back.
        assert_eq!(beat(&connection, "two", 0, None).await, (ErrorCode::None, 2, Some(vec![])));
        let (error, epoch, kept) = beat(&connection, "one", 1, Some(&[0, 1])).await;
        assert_eq!((error, epoch, kept.as_ref().map(Vec::len)), (ErrorCode::None, 1, Some(1)));
        assert_eq!(beat(&connection, "two", 2, None).await, (ErrorCode::None, 2, None));
        let kept = kept.unwrap();
        assert_eq!(beat(&connection, "one", 1, Some(&kept)).await.1, 2);
        let (_, _, given) = beat(&connection, "two", 2, None).await;
        assert_eq!(given.unwrap(), vec![1 - kept[0]]);
        assert_eq!(commit(&connection, "g", ("one", 1), 7, "").await.0, ErrorCode::StaleMemberEpoch);
        assert_eq!(commit(&connection, "g", ("one", 2), 7, "").await.0, ErrorCode::None);

        cluster.power_off(first);
        let asked = if first == 1 { 2 } else { 1 };
        let (_, connection) = coordinator(asked, "g", Some(first)).await;
        assert_eq!(beat(&connection, "one", 2, None).await.0, ErrorCode::None);
        assert_eq!(beat(&connection, "one", 5, None).await.0, ErrorCode::FencedMemberEpoch);
        assert_eq!(fetch(&connection, "g", 0).await.unwrap().0, 7);
        // "two" is not heard of any more, and "one" gets everything in the end.
        let mut all = None;
        eventually("all partitions", async || {
            time::sleep(Duration::from_secs(1)).await;
            let epoch = if all.is_none() { 2 } else { 3 };
            let (error, epoch, given) = beat(&connection, "one", epoch, None).await;
            assert_eq!(error, ErrorCode::None);
            all = given.filter(|_| epoch == 3).or(all.take());
            all == Some(vec![0, 1])
        })
        .await;
    });
}
