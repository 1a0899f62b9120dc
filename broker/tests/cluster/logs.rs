//! What becomes of old and deleted records, and what brokers say of their logs.

use crate::support::{
    Cluster, batch, batch_of, connect_to_leader, create_topic, eventually, leader, list_offset, metadata, produce, run,
};
use client::{Admin, ClusterOptions, Connection, PartitionName};
use protocol::{
    error_code::ErrorCode,
    ids::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence},
    messages::{
        DeleteRecordsRequest, DescribeLogDirsRequest, DescribeProducersRequest, InitProducerIdRequest,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_producers_request::TopicRequest,
        topic_name,
    },
};
use runtime::{simulation::disk::Damage, time};
use std::{collections::BTreeMap, time::Duration};

fn admin(nodes: i32) -> Admin {
    let options = ClusterOptions::new((1..=nodes).map(Cluster::address));
    Admin::new(client::Cluster::new(options), Duration::from_secs(25))
}

/// Asks a broker for a deletion in every version, and says what it said.
async fn delete(connection: &Connection, topic: &str, offset: i64) -> ErrorCode {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let mut told = Vec::new();
    for version in 0..=2 {
        let response = connection.call_at(version, &request).await.unwrap();
        told.push(ErrorCode::from_wire(response.topics[0].partitions[0].error_code));
    }
    assert!(told.iter().all(|code| *code == told[0]), "{told:?}");
    told[0]
}

#[test]
fn deleted_records_stay_deleted_when_another_replica_leads() {
    run(21, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let leading = connect_to_leader(&connection, "orders").await;
        for _ in 0..10 {
            assert_eq!(produce(&leading, "orders", 0, batch(&["one", "two"]), -1).await.error_code, 0);
        }
        let partition = PartitionName::new("orders", PartitionIndex(0));
        let before = |offset| BTreeMap::from([(partition.clone(), offset)]);
        let deleted = admin(3).delete_records(&before(Some(Offset(7)))).await.unwrap();
        assert_eq!(deleted[&partition].as_ref().unwrap(), &Offset(7));
        assert_eq!(list_offset(&leading, "orders", -2, 5).await, (0, 7));

        let first = leader(&connection, "orders", 0).await;
        cluster.power_off(first);
        let survivor = Cluster::connect(if first == 1 { 2 } else { 1 }).await;
        eventually("another leader", async || ![-1, first].contains(&leader(&survivor, "orders", 0).await)).await;
        let leading = connect_to_leader(&survivor, "orders").await;
        assert_eq!(list_offset(&leading, "orders", -2, 5).await, (0, 7));
        // Without an offset everything goes that is committed; the broker that is down is not waited for.
        let deleted = admin(3).delete_records(&before(None)).await.unwrap();
        assert_eq!(deleted[&partition].as_ref().unwrap(), &Offset(20));
        assert_eq!(list_offset(&leading, "orders", -1, 5).await, (0, 20));

        // The one that was away begins where the others do.
        cluster.boot(first);
        let second = leader(&survivor, "orders", 0).await;
        cluster.whole().await;
        eventually("a third copy that begins there too", async || {
            let deleted = admin(3).delete_records(&before(Some(Offset(20)))).await.unwrap();
            deleted[&partition].as_ref().is_ok_and(|begins| *begins == Offset(20))
        })
        .await;
        cluster.power_off(second);
        let survivor = Cluster::connect(first).await;
        eventually("another leader", async || ![-1, second].contains(&leader(&survivor, "orders", 0).await)).await;
        let leading = connect_to_leader(&survivor, "orders").await;
        assert_eq!(list_offset(&leading, "orders", -2, 5).await, (0, 20));
    });
}

#[test]
fn a_follower_comes_back_to_a_leader_whose_log_begins_inside_a_batch() {
    run(22, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let first = leader(&connection, "orders", 0).await;
        let leading = connect_to_leader(&connection, "orders").await;
        let follower = first % 3 + 1;
        cluster.power_off(follower);
        for _ in 0..3 {
            assert_eq!(produce(&leading, "orders", 0, batch(&["one", "two", "three", "four"]), 1).await.error_code, 0);
        }
        let partition = PartitionName::new("orders", PartitionIndex(0));
        let committed = async || list_offset(&leading, "orders", -1, 5).await == (0, 12);
        eventually("all of it is committed", committed).await;
        let inside = BTreeMap::from([(partition.clone(), Some(Offset(6)))]);
        assert_eq!(admin(3).delete_records(&inside).await.unwrap()[&partition].as_ref().unwrap(), &Offset(6));
        cluster.boot(follower);
        eventually("three in sync", async || {
            metadata(&leading, &["orders"]).await.topics[0].partitions[0].isr_nodes.len() == 3
        })
        .await;
        cluster.power_off(first);
        let survivor = Cluster::connect(follower).await;
        eventually("another leader", async || ![-1, first].contains(&leader(&survivor, "orders", 0).await)).await;
        let leading = connect_to_leader(&survivor, "orders").await;
        assert_eq!(list_offset(&leading, "orders", -2, 5).await, (0, 6));
    });
}

#[test]
fn what_may_not_be_deleted_is_refused_with_kafkas_codes() {
    run(22, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        create_topic(&connection, "table", 1, 1, &[("cleanup.policy", "compact")]).await;
        connect_to_leader(&connection, "table").await;
        let leading = connect_to_leader(&connection, "orders").await;
        assert_eq!(produce(&leading, "orders", 0, batch(&["one"]), -1).await.error_code, 0);
        assert_eq!(delete(&leading, "orders", 2).await, ErrorCode::OffsetOutOfRange);
        assert_eq!(delete(&leading, "orders", -2).await, ErrorCode::OffsetOutOfRange);
        assert_eq!(delete(&leading, "nothing", 0).await, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(delete(&leading, "table", 0).await, ErrorCode::PolicyViolation);
        assert_eq!(delete(&leading, "orders", 0).await, ErrorCode::None);
        let unknown = BTreeMap::from([(PartitionName::new("nothing", PartitionIndex(0)), None)]);
        let outcomes = admin(1).delete_records(&unknown).await.unwrap();
        let error = outcomes.into_values().next().unwrap().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    });
}

#[test]
fn a_broker_tells_of_its_directories_and_of_the_replicas_in_them() {
    run(23, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        for topic in ["orders", "audit"] {
            create_topic(&connection, topic, 2, 1, &[]).await;
        }
        let leading = connect_to_leader(&connection, "orders").await;
        let records = batch(&["one"]);
        let size = records.len() as i64;
        assert_eq!(produce(&leading, "orders", 0, records, -1).await.error_code, 0);
        let asked = DescribableLogDirTopic::default().with_topic(topic_name("orders")).with_partitions(vec![0, 7]);
        for version in 1..=4 {
            for topics in [None, Some(vec![asked.clone()])] {
                let request = DescribeLogDirsRequest::default().with_topics(topics.clone());
                let response = leading.call_at(version, &request).await.unwrap();
                let [directory] = &response.results[..] else { panic!("{response:?}") };
                assert_eq!((response.error_code, directory.error_code), (0, 0));
                assert_eq!(directory.log_dir.as_str(), "/simulated/1");
                let partitions = directory.topics.iter().flat_map(|topic| &topic.partitions).count();
                assert_eq!(partitions, if topics.is_some() { 1 } else { 4 });
                let orders = directory.topics.iter().find(|topic| topic.name == topic_name("orders")).unwrap();
                let told = &orders.partitions[0];
                assert_eq!((told.partition_size, told.offset_lag, told.is_future_key), (size, 0, false));
            }
        }
    });
}

#[test]
fn a_broker_tells_of_the_producers_that_a_log_remembers() {
    run(24, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        let leading = connect_to_leader(&connection, "orders").await;
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(0);
        let id = leading.call(&request).await.unwrap().producer_id.0;
        let records = batch_of(&["one", "two"], ProducerId(id), ProducerEpoch(0), Sequence(0));
        assert_eq!(produce(&leading, "orders", 0, records, -1).await.error_code, 0);
        let topics = ["orders", "nothing"]
            .map(|name| TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(vec![0]));
        let request = DescribeProducersRequest::default().with_topics(topics.to_vec());
        let response = leading.call(&request).await.unwrap();
        let told = &response.topics[0].partitions[0];
        let [producer] = &told.active_producers[..] else { panic!("{told:?}") };
        assert_eq!((producer.producer_id.0, producer.producer_epoch, producer.last_sequence), (id, 0, 1));
        assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
        let unknown = &response.topics[1].partitions[0];
        assert_eq!(ErrorCode::from_wire(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
    });
}

#[test]
fn a_replica_whose_durable_records_are_damaged_is_set_aside_and_copied_anew() {
    run(25, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[("segment.bytes", "1048576")]).await;
        let first = leader(&connection, "orders", 0).await;
        let leading = connect_to_leader(&connection, "orders").await;
        let value = "x".repeat(300_000);
        let fill = async |batches| {
            for _ in 0..batches {
                assert_eq!(produce(&leading, "orders", 0, batch(&[&value]), -1).await.error_code, 0);
            }
        };
        // Three batches a segment: the recovery point is written down in the second one, which is closed afterwards.
        fill(5).await;
        time::sleep(Duration::from_secs(62)).await;
        fill(2).await;
        time::sleep(Duration::from_secs(2)).await;
        let follower = first % 3 + 1;
        cluster.power_off(follower);
        let damage = Damage::FlipBit { position: 1000, bit: 1 };
        assert!(cluster.damage(follower, "orders-0/00000000000000000003.log", damage), "{:?}", cluster.files(follower));
        cluster.boot(follower);
        eventually("a log that is set aside", async || {
            cluster.files(follower).iter().any(|path| path.starts_with("orders-0.") && path.contains("-stray/"))
        })
        .await;
        eventually("three in sync", async || {
            metadata(&leading, &["orders"]).await.topics[0].partitions[0].isr_nodes.len() == 3
        })
        .await;
        assert!(cluster.files(follower).contains(&"orders-0/00000000000000000006.log".to_owned()));
    });
}

#[test]
fn a_log_directory_that_fails_takes_its_replicas_with_it_and_not_the_broker() {
    run(26, || async {
        let cluster = Cluster::start_on(3, 2, &[]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 12, 3, &[]).await;
        let leaders = async || {
            let described = metadata(&connection, &["orders"]).await;
            let mut partitions = described.topics[0].partitions.clone();
            partitions.sort_by_key(|partition| partition.partition_index);
            partitions.iter().map(|partition| partition.leader_id.0).collect::<Vec<_>>()
        };
        let connections = [Cluster::connect(1).await, Cluster::connect(2).await, Cluster::connect(3).await];
        let write_everywhere = async || {
            for partition in 0..12 {
                eventually("a leader that takes a record", async || {
                    let leader = leaders().await[partition as usize];
                    let Some(leading) = usize::try_from(leader - 1).ok().and_then(|at| connections.get(at)) else {
                        return false;
                    };
                    produce(leading, "orders", partition, batch(&["one"]), -1).await.error_code == 0
                })
                .await;
            }
        };
        write_everywhere().await;
        let before = leaders().await;
        // Every other replica of a broker is in its second directory.
        let leads = |node: i32, odd: usize| (0..12).any(|at| before[at] == node && at % 2 == odd);
        let node = (1..=3).find(|node| leads(*node, 0) && leads(*node, 1)).unwrap();
        cluster.fail_second_disk(node);
        write_everywhere().await;
        let after = leaders().await;
        for at in (0..12).filter(|at| before[*at] == node) {
            assert_eq!(after[at] == node, at % 2 == 0, "{before:?} {after:?}");
        }
        assert_eq!(metadata(&connection, &[]).await.brokers.len(), 3, "it lives");
        let described =
            connections[node as usize - 1].call(&DescribeLogDirsRequest::default().with_topics(None)).await.unwrap();
        let codes: Vec<_> = described.results.iter().map(|one| ErrorCode::from_wire(one.error_code)).collect();
        assert_eq!(codes, [ErrorCode::None, ErrorCode::KafkaStorageError]);
    });
}
