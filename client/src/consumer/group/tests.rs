//! A group whose coordinator keeps the rules of the wire, over real and simulated sockets.

mod reconciling;

use super::*;
use crate::consumer::{
    Assignor, ClassicProtocol, CommitError, ConsumerOptions, ConsumerRecord, GroupError, PositionError, ResetTo,
};
use crate::fake::{FakeCluster, Fault, TOPIC, in_both_worlds, until};
use protocol::api;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, WallMillis};
use protocol::record_batch::BatchBuilder;
use runtime::sync::Lock;
use runtime::time;
use std::collections::BTreeMap;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn orders(partition: i32) -> PartitionName {
    PartitionName::new(TOPIC, PartitionIndex(partition))
}

fn append(cluster: &FakeCluster, partition: i32, count: u32) {
    let mut builder = BatchBuilder::new(Compression::None);
    for number in 0..count {
        builder.push(WallMillis(0), None, Some(&number.to_be_bytes()), &[]);
    }
    let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
    cluster.append(PartitionIndex(partition), &batch);
}

fn options(assignor: Assignor) -> GroupOptions {
    let heartbeat_interval = Duration::from_millis(100);
    let protocol = ClassicProtocol { assignors: vec![assignor], heartbeat_interval, ..ClassicProtocol::default() };
    GroupOptions { protocol: GroupProtocol::Classic(protocol), commit_interval: None, ..GroupOptions::new("g") }
}

/// What a user is told, in words.
#[derive(Clone)]
struct Heard(Arc<Lock<Vec<String>>>);

impl Heard {
    fn note(&self, what: &str, partitions: &BTreeSet<PartitionName>) -> Told<'static> {
        let indexes: Vec<String> = partitions.iter().map(|partition| partition.partition.to_string()).collect();
        self.0.lock().push(format!("{what} {}", indexes.join(" ")).trim_end().to_owned());
        Box::pin(ready(()))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl RebalanceListener for Heard {
    fn assigned<'a>(&'a self, _: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        self.note("assigned", partitions)
    }

    fn revoked<'a>(&'a self, _: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        self.note("revoked", partitions)
    }

    fn lost<'a>(&'a self, _: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        self.note("lost", partitions)
    }
}

/// A consumer that subscribes to the one topic there is.
fn member(cluster: &FakeCluster, options: GroupOptions) -> (Consumer, Heard) {
    let options = ConsumerOptions { group: Some(options), ..ConsumerOptions::default() };
    let consumer = Consumer::new(cluster.client(), options);
    let heard = Heard(Arc::new(Lock::new(10, Vec::new())));
    consumer.set_rebalance_listener(Arc::new(heard.clone())).expect("it has a group");
    consumer.subscribe([TOPIC]).expect("it has a group");
    (consumer, heard)
}

/// Polls the consumers in turn until something holds; gives what they read.
async fn poll_until(consumers: &[&Consumer], mut holds: impl FnMut(&[ConsumerRecord]) -> bool) -> Vec<ConsumerRecord> {
    let deadline = time::now() + LONG;
    let mut read = Vec::new();
    while !holds(&read) {
        assert!(time::now() < deadline, "in vain, after {} records", read.len());
        for consumer in consumers {
            read.extend(consumer.poll(SHORT).await.expect("no errors"));
        }
    }
    read
}

fn owned(consumer: &Consumer) -> usize {
    consumer.assignment().len()
}

#[test]
fn two_members_share_the_partitions_and_read_everything() {
    in_both_worlds(|| async {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            let cluster = FakeCluster::start(2, 4).await;
            (0..4).for_each(|partition| append(&cluster, partition, 5));
            let (one, _) = member(&cluster, options(assignor));
            let read = poll_until(&[&one], |read| read.len() == 20).await;
            assert_eq!(read.len(), 20, "each once");
            let (two, _) = member(&cluster, options(assignor));
            poll_until(&[&one, &two], |_| owned(&one) == 2 && owned(&two) == 2).await;
            let both: BTreeSet<_> = one.assignment().into_iter().chain(two.assignment()).collect();
            assert_eq!(both.len(), 4, "{both:?}");
            one.close(LONG).await;
            poll_until(&[&two], |_| owned(&two) == 4).await;
        }
    });
}

#[test]
fn a_cooperative_member_keeps_what_it_does_not_lose() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 4).await;
        let (one, heard) = member(&cluster, options(Assignor::CooperativeSticky));
        poll_until(&[&one], |_| owned(&one) == 4).await;
        let (two, _) = member(&cluster, options(Assignor::CooperativeSticky));
        poll_until(&[&one, &two], |_| owned(&one) == 2 && owned(&two) == 2).await;
        let revoked: Vec<String> = heard.all().into_iter().filter(|line| line.starts_with("revoked")).collect();
        assert_eq!(revoked.len(), 1, "{:?}", heard.all());
        assert_eq!(revoked[0].split(' ').count(), 3, "two of four: {revoked:?}");
    });
}

#[test]
fn an_automatic_commit_at_the_end_is_where_the_next_one_begins() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        (0..2).for_each(|partition| append(&cluster, partition, 5));
        let automatic = GroupOptions { commit_interval: Some(LONG), ..options(Assignor::Range) };
        let (one, heard) = member(&cluster, automatic.clone());
        poll_until(&[&one], |read| read.len() == 10).await;
        one.close(LONG).await;
        assert_eq!(heard.all(), ["assigned 0 1", "revoked 0 1"]);
        assert!(cluster.group(|group| group.members().is_empty()), "it has said goodbye");
        let (two, _) = member(&cluster, automatic);
        append(&cluster, 0, 3);
        let read = poll_until(&[&two], |read| read.len() >= 3).await;
        assert_eq!(read.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [5, 6, 7]);
    });
}

#[test]
fn polls_commit_now_and_then() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 5);
        let automatic = GroupOptions { commit_interval: Some(SHORT), ..options(Assignor::Range) };
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::CoordinatorLoadInProgress), Fault::Drop]);
        let (one, _) = member(&cluster, automatic);
        let is_committed = || cluster.group(|group| group.committed.get(&(TOPIC.to_owned(), 0)).map(|told| told.0));
        poll_until(&[&one], |_| is_committed() == Some(5)).await;
    });
}

#[test]
fn what_is_committed_by_hand_is_told_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        append(&cluster, 0, 5);
        let (one, _) = member(&cluster, options(Assignor::Range));
        poll_until(&[&one], |read| read.len() == 5).await;
        let refusals = [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator];
        cluster.script(api::OFFSET_COMMIT, refusals.map(Fault::Refuse));
        cluster.script(api::OFFSET_COMMIT, [Fault::Drop]);
        let (leader_epoch, metadata) = (Some(LeaderEpoch(0)), "halfway".to_owned());
        let offsets = BTreeMap::from([(orders(0), OffsetAndMetadata { offset: Offset(3), leader_epoch, metadata })]);
        assert_eq!(one.commit_offsets(offsets.clone(), LONG).await, Ok(()));
        assert_eq!(one.committed(&[orders(0)].into(), LONG).await, Ok(offsets));
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::OffsetMetadataTooLarge)]);
        let refused = CommitError::Refused { partition: Some(orders(0)), code: ErrorCode::OffsetMetadataTooLarge };
        assert_eq!(one.commit(LONG).await, Err(refused));
        assert_eq!(one.commit(LONG).await, Ok(()));
        let by_hand = ConsumerOptions { group: Some(options(Assignor::Range)), ..ConsumerOptions::default() };
        let other = Consumer::new(cluster.client(), ConsumerOptions { reset: None, ..by_hand });
        other.assign([orders(0)]);
        append(&cluster, 0, 1);
        let read = poll_until(&[&other], |read| !read.is_empty()).await;
        assert_eq!(read[0].offset, Offset(5), "whoever assigns by hand begins there too");
    });
}

#[test]
fn a_coordinator_that_moves_costs_nobody_a_partition() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 2).await;
        let (one, heard) = member(&cluster, options(Assignor::Range));
        poll_until(&[&one], |_| owned(&one) == 2).await;
        cluster.group(|group| group.coordinator = BrokerId(2));
        cluster.script(api::FIND_COORDINATOR, [Fault::Refuse(ErrorCode::CoordinatorNotAvailable), Fault::Drop]);
        let is_found = || cluster.heartbeats_of(BrokerId(2)) > 3;
        poll_until(&[&one], |_| is_found()).await;
        cluster.stop_broker(BrokerId(2));
        cluster.group(|group| group.coordinator = BrokerId(3));
        poll_until(&[&one], |_| cluster.heartbeats_of(BrokerId(3)) > 3).await;
        assert_eq!(heard.all(), ["assigned 0 1"]);
        assert_eq!(cluster.group(|group| group.settled()), Some(1));
    });
}

#[test]
fn whoever_was_thrown_out_has_lost_its_partitions_and_comes_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        let (one, heard) = member(&cluster, options(Assignor::CooperativeSticky));
        poll_until(&[&one], |_| owned(&one) == 2).await;
        let id = cluster.group(|group| group.members()).remove(0);
        cluster.group(|group| group.evict(&id));
        poll_until(&[&one], |_| heard.all().len() == 3 && owned(&one) == 2).await;
        assert_eq!(heard.all(), ["assigned 0 1", "lost 0 1", "assigned 0 1"]);
    });
}

#[test]
fn a_join_goes_on_while_the_coordinator_fails() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        cluster.script(
            api::JOIN_GROUP,
            [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator].map(Fault::Refuse),
        );
        cluster.script(api::JOIN_GROUP, [Fault::Drop]);
        cluster.script(api::SYNC_GROUP, [Fault::Drop, Fault::Refuse(ErrorCode::RebalanceInProgress)]);
        cluster.script(api::OFFSET_FETCH, [Fault::Refuse(ErrorCode::UnstableOffsetCommit), Fault::Drop]);
        append(&cluster, 0, 2);
        let (one, _) = member(&cluster, options(Assignor::Range));
        poll_until(&[&one], |read| read.len() == 2).await;
    });
}

#[test]
fn a_refusal_and_a_fence_are_told_by_polls() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.script(api::JOIN_GROUP, [Fault::Refuse(ErrorCode::GroupMaxSizeReached)]);
        let fixed = GroupOptions { instance_id: Some(Arc::from("i")), ..options(Assignor::Range) };
        let (one, heard) = member(&cluster, fixed);
        let full = ConsumerError::Group(GroupError::Refused { code: ErrorCode::GroupMaxSizeReached, message: None });
        assert_eq!(one.poll(LONG).await, Err(full));
        poll_until(&[&one], |_| owned(&one) == 1).await;
        cluster.script(api::HEARTBEAT, [Fault::Refuse(ErrorCode::FencedInstanceId)]);
        let fenced = ConsumerError::Group(GroupError::Fenced { instance_id: Arc::from("i") });
        assert_eq!(one.poll(LONG).await, Err(fenced.clone()));
        assert_eq!(one.poll(SHORT).await, Err(fenced));
        assert_eq!(heard.all(), ["assigned 0", "lost 0"]);
        assert_eq!(one.commit(LONG).await, Err(CommitError::NotMember));
    });
}

#[test]
fn whoever_does_not_poll_leaves_and_may_come_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let hasty = GroupOptions { poll_interval_max: Duration::from_millis(500), ..options(Assignor::Range) };
        let (one, heard) = member(&cluster, hasty);
        poll_until(&[&one], |_| owned(&one) == 1).await;
        assert_eq!(one.poll(Duration::from_millis(800)).await, Ok(Vec::new()), "a long poll is no absence");
        assert_eq!(owned(&one), 1);
        until("it has left", || cluster.group(|group| group.members().is_empty())).await;
        poll_until(&[&one], |_| heard.all().len() == 3).await;
        assert_eq!(heard.all(), ["assigned 0", "lost 0", "assigned 0"]);
    });
}

#[test]
fn a_pattern_takes_in_what_matches_as_a_whole() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        let group = Some(options(Assignor::Range));
        let consumer = Consumer::new(cluster.client(), ConsumerOptions { group, ..ConsumerOptions::default() });
        assert!(matches!(consumer.subscribe_pattern("("), Err(ConsumerError::BadPattern(_))));
        consumer.subscribe_pattern("rder").expect("a pattern");
        poll_until(&[&consumer], |_| cluster.group(|group| group.settled()).is_some()).await;
        assert_eq!(owned(&consumer), 0, "a part of the name is not enough");
        consumer.subscribe_pattern("or.*s").expect("a pattern");
        poll_until(&[&consumer], |_| owned(&consumer) == 2).await;
    });
}

#[test]
fn a_paused_partition_is_read_on_after_it_is_resumed() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        (0..2).for_each(|partition| append(&cluster, partition, 5));
        let (one, _) = member(&cluster, options(Assignor::Range));
        poll_until(&[&one], |_| owned(&one) == 2).await;
        assert!(one.pause(&orders(0)) && one.seek(&orders(0), Offset(2)) && one.seek(&orders(1), Offset(0)));
        let read = poll_until(&[&one], |read| read.len() >= 5).await;
        assert!(read.iter().all(|record| record.partition == PartitionIndex(1)));
        assert!(one.resume(&orders(0)));
        let read = poll_until(&[&one], |read| read.len() >= 3).await;
        assert_eq!(read.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [2, 3, 4]);
    });
}

#[test]
fn without_a_commit_and_a_policy_there_is_nowhere_to_begin() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 5);
        let group = Some(options(Assignor::Range));
        let consumer =
            Consumer::new(cluster.client(), ConsumerOptions { reset: None, group, ..ConsumerOptions::default() });
        consumer.subscribe([TOPIC]).expect("it has a group");
        let error = loop {
            match consumer.poll(SHORT).await {
                Ok(records) => assert_eq!(records, []),
                Err(error) => break error,
            }
        };
        assert_eq!(error, ConsumerError::Position { partition: orders(0), cause: PositionError::NoPosition });
        let group = Some(GroupOptions { group_id: Arc::from("h"), ..options(Assignor::Range) });
        let reset = Some(ResetTo::ByDuration(Duration::from_secs(60)));
        let consumer = Consumer::new(cluster.client(), ConsumerOptions { reset, group, ..ConsumerOptions::default() });
        consumer.assign([orders(0)]);
        assert_eq!(consumer.poll(Duration::from_millis(300)).await, Ok(Vec::new()), "all records are of 1970");
        assert_eq!(consumer.position(&orders(0)).map(|position| position.offset), Some(Offset(5)));
    });
}

#[test]
fn without_a_group_nobody_subscribes_or_commits() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let consumer = Consumer::new(cluster.client(), ConsumerOptions::default());
        assert_eq!(consumer.subscribe([TOPIC]), Err(ConsumerError::NoGroup));
        assert_eq!(consumer.commit(LONG).await, Err(CommitError::NoGroup));
        assert_eq!(consumer.group_metadata(), None);
        consumer.close(LONG).await;
    });
}
