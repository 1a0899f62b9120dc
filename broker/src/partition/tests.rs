//! The shell of a replica, on a simulated disk: who is told what, and when. What is right is tested in [`super::state`].

mod bottle;

use super::appending::{Acks, Appended};
use super::context::{CurrentImage, Proposed};
use super::fetch_wait::FetchWait;
use super::fetching::{Arrival, Asker, FetchLimits, Fetched, OffsetSpec};
use super::isr::FollowerFetch;
use super::state::{FetchPosition, FollowerPosition, Isolation, Reader};
use super::*;
use crate::throttle::Throttles;
use metadata::config::Properties;
use metadata::delta::Delta;
use metadata::image::Image;
use metadata::record::Record;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::ids::{
    BrokerEpoch, IncarnationId, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId,
    WallMillis,
};
use protocol::record_batch::{BatchBuilder, BatchHeader};
use runtime::disk::Disk;
use runtime::simulation::{self, Options, disk as simulated};
use runtime::sync::mpsc;
use runtime::time::{self, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::task::Poll;
use std::time::Duration;
use storage::{LogConfig, Recovery};

const LAG_MAX: Duration = Duration::from_secs(2);
const ALL: FetchLimits = FetchLimits { bytes_max: 1 << 20, at_least_one: true };

fn tp() -> TopicPartition {
    TopicPartition { topic_id: TopicId(uuid::Uuid::from_u128(7)), partition: PartitionIndex(0) }
}

fn ids(of: &[i32]) -> Vec<BrokerId> {
    of.iter().copied().map(BrokerId).collect()
}

/// Brokers 1, 2 and 3, each under the broker epoch that is its id, all active.
fn image() -> Image {
    let mut delta = Delta::new(&Image::default());
    delta.apply(&Record::NoOp);
    for id in ids(&[1, 2, 3]) {
        let incarnation_id = IncarnationId(uuid::Uuid::from_u128(id.0 as u128));
        delta.apply(&registration(id, incarnation_id));
    }
    delta.finish().0
}

fn registration(broker_id: BrokerId, incarnation_id: IncarnationId) -> Record {
    Record::RegisterBroker {
        broker_id,
        incarnation_id,
        listeners: Vec::new(),
        rack: None,
        directories: Vec::new(),
        fenced: false,
        controlled_shutdown: false,
        features: BTreeMap::new(),
    }
}

/// A broker with one replica.
struct Bench {
    context: Arc<ReplicaContext>,
    partition: Arc<Partition>,
    proposals: mpsc::UnboundedReceiver<Proposed>,
    platter: simulated::Disk,
}

fn context(local: i32) -> (Arc<ReplicaContext>, mpsc::UnboundedReceiver<Proposed>) {
    let (proposals, taken) = mpsc::unbounded_channel();
    let image = CurrentImage::default();
    image.set(Arc::new(self::image()));
    let (failures, assignments) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
    let (local, throttles) = (BrokerId(local), Throttles::new(&Properties::new()));
    let lag_max = LAG_MAX;
    let context = ReplicaContext { local, lag_max, image, proposals, failures, assignments, throttles };
    (Arc::new(context), taken)
}

impl Bench {
    async fn new(local: i32) -> Self {
        let platter = simulated::Disk::new(local as u64);
        let disk = Disk::simulated(platter.clone());
        let created =
            Log::create(&disk, "orders-0", tp().topic_id, tp().partition, LogConfig::default(), WallMillis(0)).await;
        let (context, proposals) = context(local);
        let partition = Partition::new(tp(), "orders".into(), 0, created.unwrap(), None, context.clone());
        Self { context, partition, proposals, platter }
    }

    /// Broker 1 leading in leader epoch 0.
    async fn leading(isr: &[i32]) -> Self {
        let bench = Self::new(1).await;
        bench.configure(isr.len(), Throttled::default());
        bench.elect(0, 0, isr).finish().await;
        bench
    }

    fn configure(&self, min_insync_replicas: usize, throttled: Throttled) {
        self.partition.set_config(Settings { log: LogConfig::default(), min_insync_replicas, throttled });
    }

    fn update(&self, leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Updated {
        self.partition.update(
            &PartitionUpdate {
                leader: BrokerId::from_wire(leader),
                leader_epoch: LeaderEpoch(leader_epoch),
                partition_epoch: PartitionEpoch(partition_epoch),
                replicas: &ids(&[1, 2, 3]),
                isr: &ids(isr),
            },
            None,
        )
    }

    fn elect(&self, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Election {
        match self.update(self.context.local.0, leader_epoch, partition_epoch, isr) {
            Updated::Elected(election) => election,
            _ => panic!("broker {} was not elected", self.context.local),
        }
    }

    fn append(&self, acks: Acks) -> Result<Appended, appending::AppendError> {
        append(&self.partition, b"value", acks)
    }

    fn fetch(&self, follower: i32, offset: i64) -> Fetched {
        let (position, reader) = follower_at(follower, offset, None);
        self.partition.fetch(&position, &reader, ALL, Arrival::First).unwrap()
    }
}

fn append(partition: &Arc<Partition>, value: &[u8], acks: Acks) -> Result<Appended, appending::AppendError> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(WallMillis(0), None, Some(value), &[]);
    let mut batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
    let header = BatchHeader::parse(&batch).unwrap();
    partition.append_as_leader(&mut batch, &[header], acks)
}

fn follower_at(follower: i32, offset: i64, high_watermark: Option<i64>) -> (FetchPosition, Reader) {
    let position = FetchPosition { current_leader_epoch: None, fetch_offset: Offset(offset), last_fetched_epoch: None };
    let reader = Reader::Follower(FollowerFetch {
        follower: BrokerId(follower),
        broker_epoch: BrokerEpoch(i64::from(follower)),
        fetch_offset: Offset(offset),
        log_start_offset: Offset(0),
        high_watermark: high_watermark.map(Offset),
    });
    (position, reader)
}

fn consumer_at(offset: i64) -> (FetchPosition, Reader) {
    let position = FetchPosition { current_leader_epoch: None, fetch_offset: Offset(offset), last_fetched_epoch: None };
    (position, Reader::Consumer { isolation: Isolation::ReadUncommitted, leader_only: true })
}

fn simulate<T, F>(seed: u64, options: Options, story: impl FnOnce() -> F + Send + 'static) -> simulation::Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    simulation::run(seed, options, story)
}

fn run<F: Future<Output = ()> + 'static>(story: impl FnOnce() -> F + Send + 'static) {
    simulate(1, Options::default(), story).result.expect("the story holds");
}

fn soon() -> Instant {
    time::now() + Duration::from_secs(1)
}

#[test]
fn a_produce_to_all_waits_for_everybody_in_sync() {
    run(|| async {
        let bench = Bench::leading(&[1, 2, 3]).await;
        let mut ticket = bench.append(Acks::All).unwrap().ticket.expect("nobody else has it");
        bench.fetch(2, 1);
        assert!(futures_util::poll!(&mut ticket).is_pending());
        bench.fetch(3, 1);
        assert_eq!(futures_util::poll!(&mut ticket), Poll::Ready(Ok(())));
        assert!(bench.append(Acks::Leader).unwrap().ticket.is_none());
    });
}

#[test]
fn a_leader_that_steps_down_tells_who_waits_although_the_batch_is_in_its_log() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let ticket = bench.append(Acks::All).unwrap().ticket.unwrap();
        assert!(matches!(bench.update(2, 1, 1, &[1, 2]), Updated::Follows { new_epoch: true, .. }));
        assert_eq!(ticket.wait_until(soon()).await, Err(AckError::NotLeader));
        let refused = bench.append(Acks::All).map(|_| ()).map_err(|error| error.error_code());
        assert_eq!(refused, Err(ErrorCode::NotLeaderOrFollower));
    });
}

#[test]
fn below_the_minimum_in_sync_nothing_is_committed_and_nothing_more_accepted() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let ticket = bench.append(Acks::All).unwrap().ticket.unwrap();
        assert!(matches!(bench.update(1, 0, 1, &[1]), Updated::Leads));
        assert_eq!(bench.partition.standing().high_watermark, Offset(0));
        assert_eq!(ticket.wait_until(soon()).await, Err(AckError::TimedOut));
        let refused = bench.append(Acks::All).map(|_| ()).map_err(|error| error.error_code());
        assert_eq!(refused, Err(ErrorCode::NotEnoughReplicas));
        assert!(bench.append(Acks::Leader).is_ok());
    });
}

#[test]
fn whoever_gives_up_waiting_leaves_nothing_behind() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let (late, gone) = (bench.append(Acks::All).unwrap().ticket.unwrap(), bench.append(Acks::All).unwrap().ticket);
        drop(gone);
        assert_eq!(late.wait_until(soon()).await, Err(AckError::TimedOut));
        assert!(bench.partition.replica.lock().acknowledgements.is_empty());
        bench.fetch(2, 2);
        assert_eq!(bench.partition.standing().high_watermark, Offset(2));
    });
}

#[test]
fn an_elected_replica_serves_only_once_its_epoch_is_durable() {
    run(|| async {
        let bench = Bench::new(1).await;
        let election = bench.elect(3, 0, &[1]);
        let refused = bench.append(Acks::Leader).map(|_| ()).map_err(|error| error.error_code());
        assert_eq!(refused, Err(ErrorCode::NotLeaderOrFollower));
        election.finish().await;
        let durable = bench.platter.durable("orders-0/leader-epoch-checkpoint").expect("the epoch is on the device");
        assert_eq!(String::from_utf8(durable).unwrap(), "0\n1\n3 0\n");
        assert_eq!(bench.append(Acks::Leader).unwrap().leader_epoch, LeaderEpoch(3));
    });
}

#[test]
fn an_election_that_newer_metadata_overtook_elects_nobody() {
    run(|| async {
        let bench = Bench::new(1).await;
        let election = bench.elect(3, 0, &[1]);
        bench.update(2, 4, 1, &[2]);
        election.finish().await;
        assert!(!bench.partition.standing().leads);
    });
}

#[test]
fn metadata_older_than_the_log_elects_nobody() {
    run(|| async {
        let bench = Bench::new(1).await;
        bench.elect(3, 5, &[1]).finish().await;
        bench.append(Acks::Leader).unwrap();
        let log = {
            let disk = Disk::simulated(bench.platter.clone());
            let recovery = Recovery::Unclean { recovery_point: Offset(0) };
            Log::open(&disk, "orders-0", LogConfig::default(), recovery, WallMillis(0)).await.unwrap()
        };
        let (context, _proposals) = context(1);
        let again = Partition::new(tp(), "orders".into(), 0, log, None, context.clone());
        let bench = Bench { context, partition: again, ..bench };
        assert!(matches!(bench.update(1, 2, 4, &[1]), Updated::Ignored));
        assert_eq!(bench.elect(4, 6, &[1]).leader_epoch, LeaderEpoch(4));
    });
}

#[test]
fn an_append_rings_the_followers_and_a_high_watermark_the_consumers() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let (follower, consumer) = (FetchWait::new(), FetchWait::new());
        let (position, reader) = follower_at(2, 0, Some(0));
        bench.partition.park(&follower, &position, &reader, Offset(0));
        let (position, reader) = consumer_at(0);
        bench.partition.park(&consumer, &position, &reader, Offset(0));
        bench.append(Acks::None).unwrap();
        let start = time::now();
        follower.ready().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(time::timeout(Duration::from_millis(1), consumer.ready()).await.is_err());
        bench.fetch(2, 1);
        consumer.ready().await;
    });
}

#[test]
fn a_follower_hears_of_a_high_watermark_alone_once_nothing_else_comes() {
    run(|| async {
        let bench = Bench::leading(&[1, 2, 3]).await;
        bench.append(Acks::None).unwrap();
        bench.fetch(2, 1);
        let (wait, (position, reader)) = (FetchWait::new(), follower_at(2, 1, Some(0)));
        bench.partition.park(&wait, &position, &reader, Offset(1));
        bench.fetch(3, 1);
        let start = time::now();
        wait.ready().await;
        assert!(start.elapsed() >= Duration::from_millis(10), "{:?}", start.elapsed());
        // One that knows it already is left in peace.
        let (wait, (position, reader)) = (FetchWait::new(), follower_at(2, 1, Some(1)));
        bench.partition.park(&wait, &position, &reader, Offset(1));
        assert!(time::timeout(Duration::from_millis(500), wait.ready()).await.is_err());
    });
}

#[test]
fn a_fetch_that_parks_too_late_is_rung_at_once() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let (wait, (position, reader)) = (FetchWait::new(), follower_at(2, 0, None));
        bench.append(Acks::None).unwrap();
        bench.partition.park(&wait, &position, &reader, Offset(0));
        wait.ready().await;
        let (wait, (position, reader)) = (FetchWait::new(), consumer_at(0));
        bench.update(2, 1, 1, &[1, 2]);
        bench.partition.park(&wait, &position, &reader, Offset(0));
        wait.ready().await;
    });
}

#[test]
fn a_leader_that_may_know_too_little_does_not_tell_the_newest_offset() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        bench.append(Acks::None).unwrap();
        bench.elect(1, 1, &[1, 2]).finish().await;
        let list = |asker| bench.partition.list_offset(None, OffsetSpec::Latest, asker);
        let client = Asker::Client(Isolation::ReadUncommitted);
        assert_eq!(list(client).map_err(|error| error.error_code()), Err(ErrorCode::OffsetNotAvailable));
        assert_eq!(list(Asker::Replica).unwrap().unwrap().offset, Offset(1));
        bench.fetch(2, 1);
        assert_eq!(list(client).unwrap().unwrap().offset, Offset(1));
    });
}

#[test]
fn a_disk_that_fails_ends_the_replica_and_tells_who_waits() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let ticket = bench.append(Acks::All).unwrap().ticket.unwrap();
        bench.platter.set_faults(simulated::Faults { no_space: true, ..simulated::Faults::default() });
        let code = |appended: Result<Appended, appending::AppendError>| {
            appended.map(|_| ()).map_err(|error| error.error_code())
        };
        assert_eq!(code(bench.append(Acks::All)), Err(ErrorCode::KafkaStorageError));
        assert_eq!(ticket.wait_until(soon()).await, Err(AckError::Offline));
        bench.platter.set_faults(simulated::Faults::default());
        assert_eq!(code(bench.append(Acks::Leader)), Err(ErrorCode::KafkaStorageError), "it stays offline");
        let (position, reader) = consumer_at(0);
        let fetched = bench.partition.fetch(&position, &reader, ALL, Arrival::First).map(|_| ());
        assert_eq!(fetched.map_err(|error| error.error_code()), Err(ErrorCode::KafkaStorageError));
    });
}

#[test]
fn a_throttled_leader_sends_nothing_more_to_a_follower_that_is_behind() {
    run(|| async {
        let bench = Bench::leading(&[1, 2]).await;
        let throttled = Throttled { leader: true, follower: false };
        bench.configure(1, throttled);
        bench.append(Acks::Leader).unwrap();
        bench.context.throttles.leaders.set_rate(1);
        assert!(bench.fetch(3, 0).records.is_some(), "nothing of the rate is used");
        bench.partition.on_sent_to_follower(100);
        assert!(bench.fetch(3, 0).records.is_none());
        assert!(bench.fetch(2, 0).records.is_some(), "it is in sync, and is kept so");
        bench.configure(1, Throttled::default());
        assert!(bench.fetch(3, 0).records.is_some(), "the topic does not name it any more");
    });
}

#[test]
fn a_follower_whose_last_leader_epoch_rotted_is_damaged_and_not_stuck() {
    run(|| async {
        let (leader, follower) = (Bench::leading(&[1, 2]).await, Bench::new(2).await);
        (0..2).for_each(|_| drop(leader.append(Acks::None).unwrap()));
        follower.update(1, 5, 0, &[1, 2]);
        let mut records = leader.fetch(2, 0).records.unwrap().slice.read().unwrap();
        let second = records.split_off(records.len() / 2);
        // The leader epoch of a batch is its bytes 12 to 16, and not under its CRC.
        records[15] = 5;
        let append = |records: &[u8]| {
            let asked = follower.partition.follower_position(LeaderEpoch(5)).unwrap();
            let sent = copying::FromLeader { records, high_watermark: Offset(0), log_start_offset: Offset(0) };
            follower.partition.append_as_follower(&asked, &sent).map(|copied| copied.current)
        };
        assert!(append(&records).unwrap());
        assert!(follower.partition.replica.lock().damage_told.is_none());
        assert_eq!(append(&second).unwrap_err().error_code(), ErrorCode::CorruptMessage);
        assert!(follower.partition.replica.lock().damage_told.is_some(), "it is to be copied anew");
    });
}

#[test]
fn a_log_that_ends_in_an_epoch_that_nobody_led_in_is_damaged() {
    run(|| async {
        let bench = Bench::new(2).await;
        bench.update(1, 5, 0, &[1, 2]);
        let asked = bench.partition.follower_position(LeaderEpoch(5)).unwrap();
        let told = |last| {
            let last_fetched_epoch = Some(LeaderEpoch(last));
            bench.partition.check_last_epoch(&FollowerPosition { last_fetched_epoch, ..asked });
            bench.partition.replica.lock().damage_told.is_some()
        };
        assert!(!told(5), "the leader may have lost the offset");
        assert!(told(6));
    });
}

#[test]
fn a_follower_appends_only_what_follows_its_log_in_its_epoch() {
    run(|| async {
        let (leader, follower) = (Bench::leading(&[1, 2]).await, Bench::new(2).await);
        leader.append(Acks::None).unwrap();
        follower.update(1, 0, 0, &[1, 2]);
        let asked = follower.partition.follower_position(LeaderEpoch(0)).unwrap();
        let records = leader.fetch(2, 0).records.unwrap().slice.read().unwrap();
        let sent = copying::FromLeader { records: &records, high_watermark: Offset(0), log_start_offset: Offset(0) };
        assert!(follower.partition.append_as_follower(&asked, &sent).unwrap().current);
        assert!(!follower.partition.append_as_follower(&asked, &sent).unwrap().current, "the same answer again");
        let asked = follower.partition.follower_position(LeaderEpoch(0)).unwrap();
        assert_eq!(asked.fetch_offset, Offset(1));
        follower.update(3, 1, 1, &[2, 3]);
        let late = copying::FromLeader { records: &[], high_watermark: Offset(1), log_start_offset: Offset(0) };
        assert!(!follower.partition.append_as_follower(&asked, &late).unwrap().current, "of another leader epoch");
        assert_eq!(follower.partition.standing().high_watermark, Offset(0));
        assert_eq!(follower.partition.follower_position(LeaderEpoch(0)), None::<FollowerPosition>);
    });
}

/// A new leader with ten records that all may be committed, of which it knows of none; a follower that has four of them
/// fetches. Returns whom it proposes.
async fn proposed_with_a_follower_below_the_epoch_start() -> Option<BTreeSet<BrokerId>> {
    let mut bench = Bench::leading(&[1, 2]).await;
    (0..10).for_each(|_| assert!(bench.append(Acks::None).is_ok()));
    bench.elect(1, 1, &[1, 2]).finish().await;
    bench.fetch(3, 4);
    bench.proposals.try_recv().ok().map(|proposed| proposed.proposal.isr())
}

#[test]
fn the_mutant_z04_lets_a_follower_join_below_the_epoch_start() {
    let right = simulate(1, Options::default(), proposed_with_a_follower_below_the_epoch_start);
    assert_eq!(right.result.unwrap(), None);
    let options = Options { mutant: Some("Z04".to_owned()), ..Options::default() };
    let wrong = simulate(1, options, proposed_with_a_follower_below_the_epoch_start);
    assert_eq!(wrong.result.unwrap(), Some(ids(&[1, 2, 3]).into_iter().collect()));
    assert_eq!(wrong.diverged.get("Z04"), Some(&1));
}

/// A follower falls silent and leaves the ISR, and nothing more happens. Returns what the one produce that waited is told.
async fn told_after_a_shrink() -> Result<(), AckError> {
    let mut bench = Bench::leading(&[1, 2]).await;
    bench.configure(1, Throttled::default());
    let ticket = bench.append(Acks::All).unwrap().ticket.unwrap();
    time::sleep(LAG_MAX * 2).await;
    bench.partition.tick();
    let proposal = bench.proposals.try_recv().unwrap().proposal;
    let (leader_epoch, isr) = (proposal.leader_epoch, proposal.isr());
    let answer = IsrAnswer::Committed { leader_epoch, partition_epoch: PartitionEpoch(1), isr };
    bench.partition.on_isr_answer(&proposal, &answer);
    bench.update(1, 0, 1, &[1]);
    ticket.wait_until(soon()).await
}

#[test]
fn the_mutant_z11_leaves_a_produce_waiting_for_whoever_left_the_isr() {
    assert_eq!(simulate(1, Options::default(), told_after_a_shrink).result.unwrap(), Ok(()));
    let options = Options { mutant: Some("Z11".to_owned()), ..Options::default() };
    let wrong = simulate(1, options, told_after_a_shrink);
    assert_eq!(wrong.result.unwrap(), Err(AckError::TimedOut));
    assert!(wrong.diverged.contains_key("Z11"));
}
