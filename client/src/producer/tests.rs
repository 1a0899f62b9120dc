//! Producing to brokers that fail, over real and simulated sockets: what is in the log in the end, and what its sender was told.

use super::*;
use crate::fake::{FakeCluster, Fault, TOPIC, in_both_worlds, until};
use protocol::api;
use protocol::ids::{BrokerId, Offset};

const P0: PartitionIndex = PartitionIndex(0);
const LONG: Duration = Duration::from_secs(20);

fn options() -> ProducerOptions {
    ProducerOptions { linger: Duration::ZERO, request_timeout: Duration::from_secs(2), ..ProducerOptions::default() }
}

fn numbered(number: u32) -> ProducerRecord {
    ProducerRecord::value(number.to_be_bytes().to_vec())
}

/// The numbers in a partition's log.
fn numbers(cluster: &FakeCluster, partition: i32) -> Vec<u32> {
    let values = cluster.with(PartitionIndex(partition), |partition| partition.values());
    values.iter().map(|value| u32::from_be_bytes(*value.first_chunk().expect("a number"))).collect()
}

/// Produces the numbers up to `count` to partition 0, as fast as it goes.
async fn produce(producer: &Producer, count: u32) -> Vec<Result<RecordMetadata, ProduceError>> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.enqueue(TOPIC, Some(P0), numbered(number)).await.expect("there is room"));
    }
    let mut results = Vec::new();
    for delivery in deliveries {
        results.push(delivery.await);
    }
    results
}

/// Every number is in the log once, in order, where its sender was told.
fn assert_all_acknowledged(cluster: &FakeCluster, results: &[Result<RecordMetadata, ProduceError>]) {
    let told: Vec<Offset> =
        results.iter().map(|result| result.as_ref().expect("acknowledged").offset.expect("an offset")).collect();
    assert_eq!(told, (0..results.len() as i64).map(Offset).collect::<Vec<_>>());
    assert_eq!(numbers(cluster, 0), (0..results.len() as u32).collect::<Vec<_>>());
}

#[test]
fn records_are_appended_in_order() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        let small = ProducerOptions { batch_bytes: 200, ..options() };
        let producer = Producer::new(cluster.client(), small);
        let results = produce(&producer, 500).await;
        assert_all_acknowledged(&cluster, &results);
    });
}

#[test]
fn every_codec_is_read_back() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let mut expected = Vec::new();
        for compression in Compression::ALL {
            let producer = Producer::new(cluster.client(), ProducerOptions { compression, ..options() });
            for number in 0..3 {
                producer.send(TOPIC, Some(P0), numbered(number)).await.expect("acknowledged");
                expected.push(number);
            }
        }
        assert_eq!(numbers(&cluster, 0), expected);
    });
}

#[test]
fn nothing_is_lost_doubled_or_reordered_while_brokers_fail() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        let small = ProducerOptions { batch_bytes: 100, ..options() };
        let producer = Producer::new(cluster.client(), small);
        let faults = [
            Fault::DoAndDrop,
            Fault::Refuse(ErrorCode::NotEnoughReplicas),
            Fault::Drop,
            Fault::DoAndRefuse(ErrorCode::NotEnoughReplicasAfterAppend),
            Fault::DoAndRefuse(ErrorCode::RequestTimedOut),
            Fault::Refuse(ErrorCode::CorruptMessage),
            Fault::DoAndDrop,
        ];
        // The first is answered well, so that those behind it are sent five at a time.
        for fault in faults {
            cluster.script(api::PRODUCE, [Fault::Wait(Duration::from_millis(1)); 4]);
            cluster.script(api::PRODUCE, [fault]);
        }
        let results = produce(&producer, 300).await;
        assert_all_acknowledged(&cluster, &results);
    });
}

#[test]
fn a_producer_follows_its_leader() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        let producer = Producer::new(cluster.client(), options());
        let producing = task::spawn({
            let producer = producer.clone();
            async move { produce(&producer, 3000).await }
        });
        until("some are appended", || cluster.with(P0, |partition| partition.end()) > Offset(0)).await;
        cluster.elect(P0, BrokerId(2));
        time::sleep(Duration::from_millis(100)).await;
        cluster.stop_broker(BrokerId(2));
        time::sleep(Duration::from_millis(300)).await;
        cluster.elect(P0, BrokerId(3));
        let elected = time::now();
        let results = producing.await.expect("it ends");
        assert_all_acknowledged(&cluster, &results);
        assert!(elected.elapsed() < Duration::from_secs(2), "{:?} after the election", elected.elapsed());
    });
}

#[test]
fn a_request_without_an_answer_is_sent_again_on_another_connection() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let impatient = ProducerOptions { request_timeout: Duration::from_millis(200), ..options() };
        let producer = Producer::new(cluster.client(), impatient);
        cluster.script(api::PRODUCE, [Fault::Wait(Duration::from_secs(600))]);
        let metadata = producer.send(TOPIC, Some(P0), numbered(7)).await.expect("acknowledged");
        assert_eq!(metadata.offset, Some(Offset(0)));
    });
}

#[test]
fn what_may_have_been_appended_is_unknown_and_what_was_refused_is_refused() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let hasty = ProducerOptions { retries_max: 0, ..options() };
        let producer = Producer::new(cluster.client(), hasty);
        let fault = |fault| cluster.script(api::PRODUCE, [fault]);
        fault(Fault::DoAndDrop);
        let lost = producer.send(TOPIC, Some(P0), numbered(1)).await.expect_err("nobody answered");
        assert_eq!(lost.kind, ProduceErrorKind::Unknown, "{lost}");
        fault(Fault::Refuse(ErrorCode::MessageTooLarge));
        loop {
            let refused = producer.send(TOPIC, Some(P0), numbered(2)).await.expect_err("it was refused");
            assert!(refused.is_refused(), "{refused}");
            // The connection that was dropped may not be known to be closed yet: then the broker has not even heard of it.
            if refused.cause.code() == Some(ErrorCode::MessageTooLarge) {
                break;
            }
        }
        producer.send(TOPIC, Some(P0), numbered(3)).await.expect("the next epoch is taken");
        assert_eq!(numbers(&cluster, 0), [1, 3]);
    });
}

#[test]
fn nobody_waits_past_the_delivery_timeout() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let delivery_timeout = Duration::from_millis(300);
        let producer = Producer::new(cluster.client(), ProducerOptions { delivery_timeout, ..options() });
        producer.send(TOPIC, Some(P0), numbered(0)).await.expect("acknowledged");
        cluster.script(api::PRODUCE, [Fault::Wait(LONG)]);
        let started = time::now();
        let under_way = producer.enqueue(TOPIC, Some(P0), numbered(1)).await.expect("there is room");
        let unknown = under_way.await.expect_err("nobody answers");
        assert_eq!(unknown.kind, ProduceErrorKind::Unknown);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        cluster.stop_broker(BrokerId(1));
        time::sleep(Duration::from_millis(50)).await;
        let refused = producer.send(TOPIC, Some(P0), numbered(2)).await.expect_err("nobody is there");
        assert!(refused.is_refused(), "{refused}");
    });
}

#[test]
fn keys_choose_their_partition_and_others_stick() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 4).await;
        let producer = Producer::new(cluster.client(), options());
        for key in ["21", "foobar", "a-little-bit-long-string"] {
            let record = numbered(1).with_key(key);
            let metadata = producer.send(TOPIC, None, record).await.expect("acknowledged");
            assert_eq!(metadata.partition, partitioner::for_key(key.as_bytes(), 4));
        }
        let mut partitions = std::collections::BTreeSet::new();
        for number in 0..20 {
            partitions.insert(producer.send(TOPIC, None, numbered(number)).await.expect("acknowledged").partition);
        }
        assert_eq!(partitions.len(), 1, "less than a batch's worth of bytes stays together");
    });
}

#[test]
fn a_record_for_nowhere_is_refused() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let block_max = Duration::from_millis(200);
        let producer = Producer::new(cluster.client(), ProducerOptions { block_max, buffer_bytes: 5000, ..options() });
        let nowhere = producer.send("nowhere", None, numbered(1)).await.expect_err("no such topic");
        let partition =
            producer.send(TOPIC, Some(PartitionIndex(9)), numbered(1)).await.expect_err("no such partition");
        let large = producer.send(TOPIC, Some(P0), ProducerRecord::value(vec![0; 6000])).await.expect_err("too large");
        assert!(nowhere.is_refused() && partition.is_refused() && large.is_refused());
        assert_eq!(large.cause.code(), Some(ErrorCode::MessageTooLarge));
    });
}

#[test]
fn a_full_buffer_makes_senders_wait() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let small = ProducerOptions { buffer_bytes: 300, block_max: LONG, ..options() };
        let producer = Producer::new(cluster.client(), small);
        let results = produce(&producer, 50).await;
        assert_all_acknowledged(&cluster, &results);
        cluster.script(api::PRODUCE, [Fault::Wait(Duration::from_secs(1))]);
        let first =
            producer.enqueue(TOPIC, Some(P0), ProducerRecord::value(vec![0; 200])).await.expect("there is room");
        let second = producer.enqueue(TOPIC, Some(P0), ProducerRecord::value(vec![0; 200]));
        assert!(time::timeout(Duration::from_millis(100), second).await.is_err(), "there is no room yet");
        first.await.expect("acknowledged");
        producer.send(TOPIC, Some(P0), numbered(50)).await.expect("there is room again");
    });
}

#[test]
fn without_acknowledgement_records_are_sent_and_forgotten() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let producer = Producer::new(cluster.client(), ProducerOptions { acks: Acks::None, ..options() });
        for number in 0..20 {
            let metadata = producer.send(TOPIC, Some(P0), numbered(number)).await.expect("sent");
            assert_eq!(metadata.offset, None);
        }
        until("all are appended", || cluster.with(P0, |partition| partition.end()) == Offset(20)).await;
        assert!(cluster.versions_seen(api::INIT_PRODUCER_ID).is_empty(), "without acknowledgement no idempotence");
    });
}

#[test]
fn a_flush_waits_for_all_and_a_close_for_the_rest() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let lingering = ProducerOptions { linger: Duration::from_secs(600), ..options() };
        let producer = Producer::new(cluster.client(), lingering);
        let first = producer.enqueue(TOPIC, Some(P0), numbered(0)).await.expect("there is room");
        producer.flush().await;
        assert_eq!(numbers(&cluster, 0), [0]);
        first.await.expect("acknowledged");
        let second = producer.enqueue(TOPIC, Some(P0), numbered(1)).await.expect("there is room");
        producer.close(LONG).await;
        second.await.expect("acknowledged");
        let late = producer.send(TOPIC, Some(P0), numbered(2)).await.expect_err("it is closed");
        assert!(late.is_refused());
        assert_eq!(numbers(&cluster, 0), [0, 1]);
    });
}

#[test]
fn what_is_left_in_a_dropped_producer_is_refused() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let lingering = ProducerOptions { linger: Duration::from_secs(600), ..options() };
        let producer = Producer::new(cluster.client(), lingering);
        let left = producer.enqueue(TOPIC, Some(P0), numbered(0)).await.expect("there is room");
        drop(producer);
        assert!(left.await.expect_err("it was never sent").is_refused());
    });
}

#[test]
fn a_producer_id_is_asked_for_until_a_broker_gives_one() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let later = Fault::Refuse(ErrorCode::CoordinatorLoadInProgress);
        cluster.script(api::INIT_PRODUCER_ID, [later, Fault::Drop, later]);
        let producer = Producer::new(cluster.client(), options());
        producer.send(TOPIC, Some(P0), numbered(0)).await.expect("acknowledged");
        cluster.script(api::INIT_PRODUCER_ID, [Fault::Refuse(ErrorCode::ClusterAuthorizationFailed)]);
        let producer = Producer::new(cluster.client(), options());
        let refused = producer.send(TOPIC, Some(P0), numbered(1)).await.expect_err("it will never be given");
        assert_eq!(refused.cause.code(), Some(ErrorCode::ClusterAuthorizationFailed));
    });
}
