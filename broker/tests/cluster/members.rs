//! Members of consumer groups, as clients of this project are: they share a topic, whatever becomes of them and of their
//! coordinator.

use crate::support::{Cluster, create_topic, eventually, run};
use client::{
    ClusterOptions, Consumer, ConsumerError, ConsumerOptions, ConsumerProtocol, GroupError, GroupOptions,
    GroupProtocol, Producer, ProducerOptions, ProducerRecord,
};
use protocol::{error_code::ErrorCode, ids::PartitionIndex};
use runtime::{
    sync::Lock,
    task::{self, JoinHandle},
    time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const PARTITIONS: i32 = 6;
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

/// What was read, by whom: partition and offset.
type Reads = Arc<Lock<BTreeMap<&'static str, BTreeSet<(i32, i64)>>>>;

fn client() -> client::Cluster {
    client::Cluster::new(ClusterOptions::new((1..=3).map(Cluster::address)))
}

fn options(protocol: GroupProtocol) -> GroupOptions {
    GroupOptions { protocol, commit_interval: Some(Duration::from_millis(500)), ..GroupOptions::new("g") }
}

fn modern() -> GroupOptions {
    options(GroupProtocol::Consumer(ConsumerProtocol::default()))
}

fn classic() -> GroupOptions {
    options(GroupOptions::new("g").protocol)
}

fn consumer(group: GroupOptions) -> Consumer {
    let consumer = Consumer::new(client(), ConsumerOptions { group: Some(group), ..ConsumerOptions::default() });
    consumer.subscribe(["orders"]).unwrap();
    consumer
}

/// A member that notes what it reads until it is stopped; it dies with its task, and says goodbye to nobody.
fn reading(name: &'static str, reads: &Reads, group: GroupOptions) -> (JoinHandle<()>, Arc<Consumer>) {
    let (consumer, reads) = (Arc::new(consumer(group)), reads.clone());
    let member = consumer.clone();
    let reading = task::spawn(async move {
        loop {
            let records = member.poll(SHORT).await.unwrap();
            let mut reads = reads.lock();
            reads.entry(name).or_default().extend(records.iter().map(|read| (read.partition.0, read.offset.0)));
        }
    });
    (reading, consumer)
}

/// One record into each partition.
async fn produce_round(producer: &Producer) {
    for partition in 0..PARTITIONS {
        producer.send("orders", Some(PartitionIndex(partition)), ProducerRecord::value("o")).await.unwrap();
    }
}

/// Waits until all of these rounds have been read, by anybody.
async fn all_read(reads: &Reads, rounds: i64) {
    let expected: BTreeSet<(i32, i64)> =
        (0..PARTITIONS).flat_map(|partition| (0..rounds).map(move |offset| (partition, offset))).collect();
    eventually("every record", async || {
        let read: BTreeSet<(i32, i64)> = reads.lock().values().flatten().copied().collect();
        read == expected
    })
    .await;
}

/// Waits until the members have all partitions between them, as many each.
async fn shared_by(members: &[&Consumer]) {
    eventually("fair shares", async || {
        let shares: Vec<usize> = members.iter().map(|member| member.assignment().len()).collect();
        let all: BTreeSet<_> = members.iter().flat_map(|member| member.assignment()).collect();
        all.len() as i32 == PARTITIONS && shares.iter().all(|share| *share == PARTITIONS as usize / members.len())
    })
    .await;
}

/// A cluster of three with the topic.
async fn cluster() -> (Cluster, Producer) {
    cluster_with("bidirectional").await
}

/// The same, in which groups with members may go over to another protocol, or not.
async fn cluster_with(migration_policy: &str) -> (Cluster, Producer) {
    let settings = [
        ("group.consumer.migration.policy", migration_policy),
        ("offsets.topic.num.partitions", "1"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("group.consumer.heartbeat.interval.ms", "1000"),
        ("group.initial.rebalance.delay.ms", "100"),
    ];
    let cluster = Cluster::start_with(3, &settings);
    cluster.whole().await;
    create_topic(&Cluster::connect(1).await, "orders", PARTITIONS, 3, &[]).await;
    (cluster, Producer::new(client(), ProducerOptions::default()))
}

#[test]
fn three_members_share_a_topic_and_nothing_is_skipped_when_one_dies_and_then_their_coordinator() {
    for seed in 51..54 {
        run(seed, || async {
            let (mut cluster, producer) = cluster().await;
            let reads: Reads = Arc::new(Lock::new(10, BTreeMap::new()));
            let (_one, first) = reading("one", &reads, modern());
            produce_round(&producer).await;
            let (_two, second) = reading("two", &reads, modern());
            let (three, third) = reading("three", &reads, modern());
            shared_by(&[&first, &second, &third]).await;
            produce_round(&producer).await;
            all_read(&reads, 2).await;

            three.abort();
            drop(third);
            for _ in 0..20 {
                produce_round(&producer).await;
                time::sleep(SHORT).await;
            }
            shared_by(&[&first, &second]).await;
            all_read(&reads, 22).await;

            let coordinator = crate::groups::coordinator_id(1, "g").await.unwrap();
            cluster.power_off(coordinator);
            for _ in 0..20 {
                produce_round(&producer).await;
                time::sleep(SHORT).await;
            }
            first.close(LONG).await;
            shared_by(&[&second]).await;
            all_read(&reads, 42).await;
        });
    }
}

/// Stops what a member reads, and lets it leave.
async fn stop(reading: JoinHandle<()>, member: &Consumer) {
    reading.abort();
    member.close(LONG).await;
}

#[test]
fn a_group_that_may_not_go_over_does_once_its_members_have_left() {
    run(55, || async {
        let (_cluster, producer) = cluster_with("Disabled").await;
        produce_round(&producer).await;
        let reads: Reads = Arc::new(Lock::new(10, BTreeMap::new()));
        let (reading, member) = reading("before", &reads, classic());
        shared_by(&[&member]).await;
        all_read(&reads, 1).await;
        let next = consumer(modern());
        let error = next.poll(LONG).await.unwrap_err();
        let is_refused = matches!(
            &error,
            ConsumerError::Group(GroupError::Refused { code, .. }) if *code == ErrorCode::GroupIdNotFound
        );
        assert!(is_refused, "{error}");
        stop(reading, &member).await;
        eventually("all partitions", async || {
            // It is refused until the group has noticed that nobody is left.
            let _ = next.poll(SHORT).await;
            next.assignment().len() as i32 == PARTITIONS
        })
        .await;
        assert_eq!(next.poll(Duration::from_secs(2)).await, Ok(Vec::new()), "it begins where the others have ended");
        next.close(LONG).await;
    });
}

#[test]
fn a_group_goes_over_to_the_other_protocol_and_back_while_it_is_read() {
    for seed in 56..58 {
        run(seed, || async {
            let (_cluster, producer) = cluster().await;
            let reads: Reads = Arc::new(Lock::new(10, BTreeMap::new()));
            let (one, first) = reading("one", &reads, classic());
            let (two, second) = reading("two", &reads, classic());
            shared_by(&[&first, &second]).await;
            produce_round(&producer).await;

            let (three, third) = reading("three", &reads, modern());
            shared_by(&[&first, &second, &third]).await;
            produce_round(&producer).await;
            all_read(&reads, 2).await;

            stop(one, &first).await;
            shared_by(&[&second, &third]).await;
            stop(two, &second).await;
            shared_by(&[&third]).await;
            produce_round(&producer).await;
            all_read(&reads, 3).await;

            let (_four, fourth) = reading("four", &reads, classic());
            let (_five, fifth) = reading("five", &reads, classic());
            shared_by(&[&third, &fourth, &fifth]).await;
            produce_round(&producer).await;
            all_read(&reads, 4).await;
            stop(three, &third).await;
            shared_by(&[&fourth, &fifth]).await;
            produce_round(&producer).await;
            all_read(&reads, 5).await;

            // It is a classic group again: whoever makes it another finds one that it can make it of.
            let (_six, sixth) = reading("six", &reads, modern());
            shared_by(&[&fourth, &fifth, &sixth]).await;
            produce_round(&producer).await;
            all_read(&reads, 6).await;
        });
    }
}
