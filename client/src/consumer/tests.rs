//! Consuming from brokers that fail, move and lose their log's end, over real and simulated sockets.

use super::*;
use crate::fake::{FakeCluster, Fault, TOPIC, epoch, in_both_worlds, until};
use protocol::api;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::ids::{ProducerEpoch, ProducerId, Sequence};
use protocol::record_batch::BatchBuilder;
use runtime::task;

const P0: PartitionIndex = PartitionIndex(0);
const LONG: Duration = Duration::from_secs(20);

fn orders(partition: i32) -> PartitionName {
    PartitionName::new(TOPIC, PartitionIndex(partition))
}

/// Appends one batch of numbers.
fn append(cluster: &FakeCluster, partition: i32, numbers: std::ops::Range<u32>) {
    let mut builder = BatchBuilder::new(Compression::Snappy);
    for number in numbers {
        builder.push(WallMillis(i64::from(number)), None, Some(&number.to_be_bytes()), &[]);
    }
    let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
    cluster.append(PartitionIndex(partition), &batch);
}

fn consumer(cluster: &FakeCluster, options: ConsumerOptions) -> Consumer {
    let consumer = Consumer::new(cluster.client(), options);
    consumer.assign([orders(0)]);
    consumer
}

fn number(record: &ConsumerRecord) -> u32 {
    u32::from_be_bytes(*record.value.as_ref().expect("a value").first_chunk().expect("a number"))
}

/// Polls until so many records have come, and checks that offsets rise.
async fn read(consumer: &Consumer, count: usize) -> Vec<u32> {
    let mut records: Vec<ConsumerRecord> = Vec::new();
    while records.len() < count {
        let polled = consumer.poll(LONG).await.expect("records");
        assert!(!polled.is_empty(), "after {} of {count} nothing came", records.len());
        records.extend(polled);
    }
    assert!(records.is_sorted_by(|one, next| (one.partition, one.offset) < (next.partition, next.offset)));
    records.iter().map(number).collect()
}

#[test]
fn records_are_read_once_in_order_and_as_they_come() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 0..10);
        let few = ConsumerOptions { poll_records_max: 4, ..ConsumerOptions::default() };
        let consumer = consumer(&cluster, few);
        assert_eq!(consumer.poll(LONG).await.expect("records").len(), 4);
        assert_eq!(read(&consumer, 6).await, (4..10).collect::<Vec<_>>());
        assert_eq!(consumer.poll(Duration::from_millis(20)).await, Ok(Vec::new()));
        let reading = async { read(&consumer, 2).await };
        let cluster = cluster.clone();
        task::spawn(async move {
            time::sleep(Duration::from_millis(50)).await;
            append(&cluster, 0, 10..12);
        });
        let started = time::now();
        assert_eq!(reading.await, [10, 11]);
        assert!(started.elapsed() < Duration::from_millis(400), "a long poll ends with the append");
    });
}

#[test]
fn several_partitions_and_leaders_are_read_at_once() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 4).await;
        cluster.elect(PartitionIndex(1), BrokerId(2));
        cluster.elect(PartitionIndex(3), BrokerId(2));
        for partition in 0..4 {
            append(&cluster, partition, 0..5);
        }
        let consumer = Consumer::new(cluster.client(), ConsumerOptions::default());
        consumer.assign((0..4).map(orders));
        let mut seen = BTreeMap::new();
        while seen.values().sum::<usize>() < 20 {
            for record in consumer.poll(LONG).await.expect("records") {
                *seen.entry(record.partition).or_default() += 1;
            }
        }
        assert_eq!(seen.into_values().collect::<Vec<_>>(), [5; 4]);
    });
}

#[test]
fn the_reset_policy_says_where_to_begin() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 0..10);
        let latest = consumer(&cluster, ConsumerOptions { reset: Some(ResetTo::Latest), ..ConsumerOptions::default() });
        assert_eq!(latest.poll(Duration::from_millis(200)).await, Ok(Vec::new()));
        append(&cluster, 0, 10..12);
        assert_eq!(read(&latest, 2).await, [10, 11]);
        let none = consumer(&cluster, ConsumerOptions { reset: None, ..ConsumerOptions::default() });
        let error = none.poll(LONG).await.expect_err("no position");
        assert!(matches!(error, ConsumerError::Position { cause: PositionError::NoPosition, .. }), "{error:?}");
        assert!(none.seek(&orders(0), Offset(11)));
        assert_eq!(read(&none, 1).await, [11]);
        assert!(none.seek_to_beginning(&orders(0)));
        assert_eq!(read(&none, 12).await.len(), 12);
    });
}

#[test]
fn reading_goes_on_while_brokers_fail() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        append(&cluster, 0, 0..10);
        cluster.script(api::LIST_OFFSETS, [Fault::Refuse(ErrorCode::OffsetNotAvailable), Fault::Drop]);
        cluster.script(api::FETCH, [Fault::Drop, Fault::Refuse(ErrorCode::NotLeaderOrFollower), Fault::Drop]);
        let consumer = consumer(&cluster, ConsumerOptions::default());
        assert_eq!(read(&consumer, 10).await, (0..10).collect::<Vec<_>>());
        cluster.elect(P0, BrokerId(2));
        append(&cluster, 0, 10..20);
        assert_eq!(read(&consumer, 10).await, (10..20).collect::<Vec<_>>());
        assert!(!cluster.versions_seen(api::OFFSET_FOR_LEADER_EPOCH).is_empty(), "the position was validated");
        cluster.stop_broker(BrokerId(2));
        cluster.elect(P0, BrokerId(3));
        append(&cluster, 0, 20..30);
        assert_eq!(read(&consumer, 10).await, (20..30).collect::<Vec<_>>());
    });
}

#[test]
fn a_truncated_log_is_reported_even_when_it_has_grown_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        append(&cluster, 0, 0..5);
        append(&cluster, 0, 5..10);
        let consumer = consumer(&cluster, ConsumerOptions::default());
        assert_eq!(read(&consumer, 10).await.len(), 10);
        cluster.with(P0, |partition| partition.truncate(Offset(5), BrokerId(2)));
        append(&cluster, 0, 100..120);
        let error = loop {
            match consumer.poll(LONG).await {
                Ok(records) => assert_eq!(records, [], "nothing is read past a truncation"),
                Err(error) => break error,
            }
        };
        let position = Position { offset: Offset(10), leader_epoch: Some(epoch(0)) };
        let cause = PositionError::Truncated { position, diverges_at: Some((epoch(0), Offset(5))) };
        assert_eq!(error, ConsumerError::Position { partition: orders(0), cause });
        assert_eq!(consumer.position(&orders(0)), None);
        assert!(consumer.seek(&orders(0), Offset(5)));
        assert_eq!(read(&consumer, 20).await, (100..120).collect::<Vec<_>>());
    });
}

#[test]
fn a_position_that_retention_has_passed_is_reset() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 0..5);
        let consumer = consumer(&cluster, ConsumerOptions::default());
        assert_eq!(read(&consumer, 5).await.len(), 5);
        append(&cluster, 0, 5..10);
        append(&cluster, 0, 10..15);
        consumer.seek(&orders(0), Offset(2));
        cluster.with(P0, |partition| partition.delete_to(Offset(10)));
        assert_eq!(read(&consumer, 5).await, (10..15).collect::<Vec<_>>());
    });
}

#[test]
fn a_damaged_batch_is_not_skipped() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 0..5);
        append(&cluster, 0, 5..10);
        cluster.with(P0, |partition| partition.damage());
        let consumer = consumer(&cluster, ConsumerOptions::default());
        assert_eq!(read(&consumer, 5).await.len(), 5);
        for _ in 0..2 {
            let error = consumer.poll(LONG).await.expect_err("it is damaged");
            assert!(matches!(&error, ConsumerError::Damaged { offset: Offset(5), .. }), "{error:?}");
        }
        cluster.with(P0, |partition| partition.damage());
        assert_eq!(read(&consumer, 5).await, (5..10).collect::<Vec<_>>());
    });
}

#[test]
fn offsets_are_told_by_end_and_by_time() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 2).await;
        cluster.elect(PartitionIndex(1), BrokerId(2));
        append(&cluster, 0, 0..5);
        append(&cluster, 0, 5..10);
        cluster.with(P0, |partition| partition.delete_to(Offset(5)));
        cluster.script(api::LIST_OFFSETS, [Fault::Drop, Fault::Refuse(ErrorCode::LeaderNotAvailable)]);
        let consumer = consumer(&cluster, ConsumerOptions::default());
        let both = [orders(0), orders(1)];
        let offsets = |first: i64, second: i64| Ok([Offset(first), Offset(second)]);
        let told =
            |told: Result<BTreeMap<_, Offset>, _>| told.map(|told| both.clone().map(|partition| told[&partition]));
        assert_eq!(told(consumer.beginning_offsets(&both, LONG).await), offsets(5, 0));
        assert_eq!(told(consumer.end_offsets(&both, LONG).await), offsets(10, 0));
        let asked = BTreeMap::from([(orders(0), WallMillis(7)), (orders(1), WallMillis(7))]);
        let found = consumer.offsets_for_times(asked, LONG).await.expect("answers");
        assert_eq!(found[&orders(0)].map(|found| found.offset), Some(Offset(7)));
        assert_eq!(found[&orders(1)], None);
        let missing = consumer.end_offsets(&[orders(9)], Duration::from_millis(200)).await;
        assert!(missing.is_err());
    });
}

#[test]
fn a_poll_that_is_dropped_loses_nothing() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let consumer = consumer(&cluster, ConsumerOptions::default());
        let _ = time::timeout(Duration::from_millis(30), consumer.poll(LONG)).await;
        append(&cluster, 0, 0..5);
        until("the fetch is asked", || !cluster.versions_seen(api::FETCH).is_empty()).await;
        time::sleep(Duration::from_millis(30)).await;
        assert_eq!(read(&consumer, 5).await, (0..5).collect::<Vec<_>>());
    });
}
