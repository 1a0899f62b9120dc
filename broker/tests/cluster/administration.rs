//! What operators ask about partitions: more of them, other leaders, other replicas.

use crate::support::{Cluster, batch, connect_to_leader, create_topic, eventually, leader, metadata, produce, run};
use client::Connection;
use protocol::{
    error_code::ErrorCode,
    ids::TopicId,
    messages::{
        AlterPartitionReassignmentsRequest, CreatePartitionsRequest, DescribeQuorumRequest, ElectLeadersRequest,
        FetchRequest, ListPartitionReassignmentsRequest, StrBytes, UnregisterBrokerRequest, UpdateFeaturesRequest,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        create_partitions_request::CreatePartitionsTopic,
        describe_quorum_request::{PartitionData as QuorumPartition, TopicData as QuorumTopic},
        elect_leaders_request::TopicPartitions,
        fetch_request::{FetchPartition, FetchTopic},
        topic_name,
        update_features_request::FeatureUpdateKey,
    },
    record_batch::{BatchHeader, records},
};
use runtime::{sync, task, time};
use std::{collections::BTreeMap, time::Duration};

#[test]
fn any_broker_adds_partitions_and_knows_them_when_it_answers() {
    run(1, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(2).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        for (version, count) in (0..=3).zip(2..) {
            let topic = |name| {
                CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(None)
            };
            let request = CreatePartitionsRequest::default()
                .with_topics(vec![topic("orders"), topic("gone")])
                .with_timeout_ms(20_000);
            let validated = request.clone().with_validate_only(true);
            for request in [validated, request.clone(), request] {
                let response = connection.call_at(version, &request).await.unwrap();
                let told: Vec<_> =
                    response.results.iter().map(|topic| ErrorCode::from_wire(topic.error_code)).collect();
                let there = metadata(&connection, &["orders"]).await.topics[0].partitions.len() as i32;
                let before = if request.validate_only { count - 1 } else { count };
                assert_eq!(there, before, "version {version}");
                assert_eq!(told[1], ErrorCode::UnknownTopicOrPartition);
                assert!(matches!(told[0], ErrorCode::None | ErrorCode::InvalidPartitions), "{told:?}");
            }
        }
        eventually("leaders of the new partitions", async || {
            let topic = metadata(&connection, &["orders"]).await.topics[0].clone();
            topic.partitions.len() == 5 && topic.partitions.iter().all(|partition| partition.leader_id.0 > 0)
        })
        .await;
    });
}

#[test]
fn a_leader_that_is_not_preferred_gives_way_on_demand() {
    run(2, || async {
        let mut cluster = Cluster::start_with(3, &[("auto.leader.rebalance.enable", "false")]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let preferred = leader(&connection, "orders", 0).await;
        drop(connect_to_leader(&connection, "orders").await);
        cluster.stop(preferred).await;
        let other = if preferred == 1 { 2 } else { 1 };
        let connection = Cluster::connect(other).await;
        eventually("another leader", async || ![-1, preferred].contains(&leader(&connection, "orders", 0).await)).await;
        cluster.boot(preferred);
        let elect = |partition| {
            let topic = TopicPartitions::default().with_topic(topic_name("orders")).with_partitions(vec![partition]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])).with_timeout_ms(20_000)
        };
        eventually("the preferred leader", async || {
            let response = connection.call_at(2, &elect(0)).await.unwrap();
            let told = ErrorCode::from_wire(response.replica_election_results[0].partition_result[0].error_code);
            assert!(matches!(told, ErrorCode::None | ErrorCode::PreferredLeaderNotAvailable), "{told:?}");
            told == ErrorCode::None
        })
        .await;
        eventually("what was elected", async || leader(&connection, "orders", 0).await == preferred).await;
        for version in 0..=2 {
            let told = connection.call_at(version, &elect(0)).await.unwrap();
            let told = told.replica_election_results[0].partition_result[0].error_code;
            assert_eq!(ErrorCode::from_wire(told), ErrorCode::ElectionNotNeeded, "version {version}");
        }
        let all = ElectLeadersRequest::default().with_topic_partitions(None).with_timeout_ms(20_000);
        let told = connection.call_at(1, &all).await.unwrap();
        assert!(told.replica_election_results.iter().all(|topic| topic.partition_result.is_empty()));
    });
}

/// Moves partition 0 to these nodes, or cancels its move.
async fn reassign(connection: &Connection, topic: &str, replicas: Option<&[i32]>) -> ErrorCode {
    let replicas = replicas.map(|replicas| replicas.iter().map(|id| (*id).into()).collect());
    let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
    let topic = ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let response = connection.call(&request).await.unwrap();
    assert_eq!(ErrorCode::from_wire(response.error_code), ErrorCode::None);
    ErrorCode::from_wire(response.responses[0].partitions[0].error_code)
}

/// Who comes and who leaves, while partition 0 is moved.
async fn moving(connection: &Connection) -> Option<(Vec<i32>, Vec<i32>)> {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None).with_timeout_ms(20_000);
    let response = connection.call(&request).await.unwrap();
    let partition = response.topics.first()?.partitions.first()?.clone();
    let ids = |ids: Vec<protocol::messages::WireBrokerId>| ids.into_iter().map(|id| id.0).collect();
    Some((ids(partition.adding_replicas), ids(partition.removing_replicas)))
}

async fn replicas(connection: &Connection, topic: &str) -> Vec<i32> {
    let partition = metadata(connection, &[topic]).await.topics[0].partitions[0].clone();
    partition.replica_nodes.iter().map(|id| id.0).collect()
}

/// Writes values one after another, wherever the leader is, until it is told to end; returns them with their offsets.
async fn write(mut stop: sync::oneshot::Receiver<()>) -> BTreeMap<i64, String> {
    let asked = Cluster::connect(1).await;
    let mut acknowledged = BTreeMap::new();
    let mut leading = Cluster::connect(leader(&asked, "orders", 0).await).await;
    for number in 0.. {
        if stop.try_recv().is_ok() {
            break;
        }
        let value = format!("value {number}");
        loop {
            let answer = produce(&leading, "orders", 0, batch(&[&value]), -1).await;
            if ErrorCode::from_wire(answer.error_code) == ErrorCode::None {
                acknowledged.insert(answer.base_offset, value);
                break;
            }
            time::sleep(Duration::from_millis(20)).await;
            let id = leader(&asked, "orders", 0).await;
            if id > 0 {
                leading = Cluster::connect(id).await;
            }
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    acknowledged
}

/// Every record of partition 0 by its offset.
async fn read(connection: &Connection, topic_id: TopicId, end: i64) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    let mut next = 0;
    while next < end {
        let partition =
            FetchPartition::default().with_partition(0).with_fetch_offset(next).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic_id(topic_id.0).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer = connection.call_at(13, &request).await.unwrap();
        let data = &answer.responses[0].partitions[0];
        assert_eq!(ErrorCode::from_wire(data.error_code), ErrorCode::None);
        let mut bytes = data.records.clone().unwrap_or_default();
        assert!(!bytes.is_empty(), "nothing at {next}, and {end} records are acknowledged");
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).unwrap();
            let batch = bytes.split_to(header.size());
            next = header.base_offset.0;
            for record in records(&batch, 1 << 20).unwrap() {
                found.insert(next, String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                next += 1;
            }
        }
    }
    found
}

#[test]
fn a_partition_moves_under_load_and_nothing_is_lost() {
    for seed in [11, 12, 13] {
        run(seed, || async {
            let cluster = Cluster::start(4);
            cluster.whole().await;
            let connection = Cluster::connect(1).await;
            let id = create_topic(&connection, "orders", 1, 2, &[("file.delete.delay.ms", "1000")]).await;
            let from = replicas(&connection, "orders").await;
            let to: Vec<i32> = (1..=4).filter(|id| !from.contains(id)).collect();
            let (end, ended) = sync::oneshot::channel();
            let writing = task::spawn(write(ended));
            time::sleep(Duration::from_secs(1)).await;
            assert_eq!(reassign(&connection, "orders", Some(&to)).await, ErrorCode::None);
            eventually("the end of the move", async || moving(&connection).await.is_none()).await;
            eventually("the new replicas", async || replicas(&connection, "orders").await == to).await;
            time::sleep(Duration::from_secs(1)).await;
            end.send(()).unwrap();
            let acknowledged = writing.await.unwrap();
            assert!(acknowledged.len() > 50, "{}", acknowledged.len());
            assert!(to.contains(&leader(&connection, "orders", 0).await));
            let leading = connect_to_leader(&connection, "orders").await;
            let last = *acknowledged.keys().next_back().unwrap();
            let found = read(&leading, id, last + 1).await;
            for (offset, value) in &acknowledged {
                assert_eq!(found.get(offset), Some(value), "at {offset}");
            }
            eventually("the removal of the old logs", async || from.iter().all(|id| !cluster.has(*id, "orders-0")))
                .await;
            assert!(to.iter().all(|id| cluster.has(*id, "orders-0")));
        });
    }
}

#[test]
fn a_move_that_cannot_end_is_told_and_cancelled() {
    run(4, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        let from = replicas(&connection, "orders").await;
        assert_eq!(reassign(&connection, "orders", None).await, ErrorCode::NoReassignmentInProgress);
        let down = if from == [2] { 3 } else { 2 };
        cluster.stop(down).await;
        assert_eq!(reassign(&connection, "orders", Some(&[down])).await, ErrorCode::None);
        assert_eq!(moving(&connection).await, Some((vec![down], from.clone())));
        assert_eq!(reassign(&connection, "orders", Some(&[9])).await, ErrorCode::InvalidReplicaAssignment);
        assert_eq!(reassign(&connection, "orders", None).await, ErrorCode::None);
        assert_eq!(moving(&connection).await, None);
        eventually("the old replicas", async || replicas(&connection, "orders").await == from).await;
        assert_eq!(leader(&connection, "orders", 0).await, from[0]);
    });
}

#[test]
fn the_quorum_is_described_by_its_leader_through_any_broker() {
    run(5, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(2).await;
        let asked = |topic: &str, partition: i32| {
            let partition = QuorumPartition::default().with_partition_index(partition);
            let topic = QuorumTopic::default().with_topic_name(topic_name(topic)).with_partitions(vec![partition]);
            DescribeQuorumRequest::default().with_topics(vec![topic])
        };
        for version in 0..=2 {
            let told = connection.call_at(version, &asked("__cluster_metadata", 0)).await.unwrap();
            let partition = &told.topics[0].partitions[0];
            assert_eq!((told.error_code, partition.error_code), (0, 0));
            assert!((1..=3).contains(&partition.leader_id.0) && partition.leader_epoch > 0);
            let voters: Vec<i32> = partition.current_voters.iter().map(|voter| voter.replica_id.0).collect();
            assert_eq!(voters, [1, 2, 3]);
            assert!(partition.high_watermark > 0);
            let leader = partition.current_voters.iter().find(|voter| voter.replica_id == partition.leader_id).unwrap();
            assert!(leader.log_end_offset >= partition.high_watermark);
            assert_eq!(told.nodes.len(), if version < 2 { 0 } else { 3 });
        }
        let told = connection.call_at(2, &asked("orders", 0)).await.unwrap();
        let code = told.topics[0].partitions[0].error_code;
        assert_eq!(ErrorCode::from_wire(code), ErrorCode::UnknownTopicOrPartition);
    });
}

#[test]
fn a_broker_that_is_gone_for_good_is_unregistered() {
    run(6, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        cluster.stop(3).await;
        let connection = Cluster::connect(1).await;
        let request = UnregisterBrokerRequest::default().with_broker_id(3.into());
        assert_eq!(connection.call(&request).await.unwrap().error_code, 0);
        let again = connection.call(&request).await.unwrap();
        assert_eq!(ErrorCode::from_wire(again.error_code), ErrorCode::BrokerIdNotRegistered);
        eventually("two brokers", async || metadata(&connection, &[]).await.brokers.len() == 2).await;
        let update = |level| {
            let update = FeatureUpdateKey::default()
                .with_feature(StrBytes::from_static_str("metadata.version"))
                .with_max_version_level(level);
            UpdateFeaturesRequest::default().with_feature_updates(vec![update]).with_timeout_ms(20_000)
        };
        for version in 0..=2 {
            let told = connection.call_at(version, &update(99)).await.unwrap();
            assert_eq!(ErrorCode::from_wire(told.error_code), ErrorCode::InvalidUpdateVersion);
            let same = connection.call_at(version, &update(metadata::image::METADATA_VERSION_LEVEL)).await.unwrap();
            assert_eq!((same.error_code, same.results.len()), (0, if version < 2 { 1 } else { 0 }));
        }
    });
}
