//! Members of a consumer group who come and go: they read, commit in one of three ways, leave in good order or without a word,
//! are too slow now and then, and come back as somebody else or under a name that they keep.
//!
//! Once everything is whole again they stay until they have read all that there is.

use super::{failed, named, polled};
use crate::{
    event::{ClientEvent, Member, MemberDid, MemberEvent, NamedPartition},
    scenario::{Assigning, Delivers, Topic, Workload},
};
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{
        Assignor, ClassicProtocol, Consumer, ConsumerError, ConsumerOptions, ConsumerProtocol, GroupOptions,
        GroupProtocol, OffsetAndMetadata, RebalanceListener, ResetTo, group::Told,
    },
};
use protocol::ids::{Offset, PartitionIndex};
use runtime::{
    observe, rand,
    sync::{Lock, Shutdown},
    time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a member stays before it goes, in milliseconds.
const STAYS_MS: std::ops::Range<u64> = 4_000..25_000;
/// And how long one in so many, who goes before the others have given it anything.
const HURRIES_MS: std::ops::Range<u64> = 300..3_000;
const HURRIES_EVERY: u64 = 3;
/// How long nobody is there in its place, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 0..3_000;
/// How long one poll may wait for records.
const POLL: Duration = Duration::from_millis(300);
/// A member that is silent for longer is taken for dead.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// How often it says that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(700);
/// A member that does not poll for longer leaves.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How long whoever is slow takes: longer than any of the above.
const SLOW: Duration = Duration::from_secs(7);
/// How long a commit or a question for committed offsets may take.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long a member stays for what it cannot read once all is written: what has rotted on its only replica nobody can.
const WAITS_MAX: Duration = Duration::from_secs(40);
/// After how long it asks that everything be shared anew (KIP-568). Where a static leader died after it had a partition given up
/// and before that was given to another, nobody notices: who comes back in its place does not know of it, in Kafka either.
const ASKS_ANEW_AFTER: Duration = Duration::from_secs(15);
/// One poll in so many is followed by a commit.
const COMMITS_EVERY: u64 = 3;
/// One poll in so many is followed by a long silence.
const SLOW_EVERY: u64 = 60;
/// One time in so many it takes a while to give partitions back, in milliseconds.
const CLINGS_EVERY: u64 = 4;
const CLINGS_MS: std::ops::Range<u64> = 300..4_000;
/// One time in so many a member that commits first ends before it has processed all that it has committed.
const DIES_EVERY: u64 = 20;
/// The rank of the board's lock: a consumer's is taken under it.
const RANK: u8 = 60;

/// How a member commits.
#[derive(Clone, Copy, PartialEq)]
enum Commits {
    AndWaits,
    AndGoesOn,
    WithPolls,
}

/// How far anybody of a group has read, in each partition that its topic has from the beginning or somebody was given: a member
/// that has nothing to read stays for what the others leave.
pub(super) type Board = Arc<Lock<BTreeMap<PartitionName, Offset>>>;

/// One on which nothing is read.
pub(super) fn board(topic: &Topic) -> Board {
    let all = (0..topic.partitions).map(|partition| PartitionName::new(&topic.name, PartitionIndex(partition)));
    Arc::new(Lock::new(RANK, all.map(|partition| (partition, Offset::ZERO)).collect()))
}

pub(super) async fn run(cluster: Cluster, workload: &Workload, board: Board, number: u32, stopping: Shutdown) {
    let group = workload.group();
    let mut life = 0;
    // Some have a name that they keep.
    let instance = (rand::range(0..4) == 0).then(|| Arc::from(format!("instance-{number}")));
    loop {
        let member = Member { group: group.clone(), reader: ClientEvent::GROUPED + number * ClientEvent::LIVES + life };
        life = (life + 1) % ClientEvent::LIVES;
        let one = Reader::new(&cluster, workload, board.clone(), member, instance.clone());
        let is_last = one.read(&stopping).await;
        if is_last {
            return;
        }
        time::sleep(Duration::from_millis(rand::range(AWAY_MS))).await;
    }
}

/// One life of one member.
struct Reader {
    consumer: Arc<Consumer>,
    notes: Arc<Notes>,
    commits: Commits,
    delivers: Delivers,
    board: Board,
}

/// What a member tells the world.
struct Notes {
    member: Member,
    attempts: AtomicU64,
}

impl Reader {
    fn new(cluster: &Cluster, workload: &Workload, board: Board, member: Member, instance: Option<Arc<str>>) -> Self {
        let drawn = [Commits::AndWaits, Commits::AndGoesOn, Commits::WithPolls][rand::range(0..3) as usize];
        let delivers = workload.delivers;
        let commits = if delivers == Delivers::AtMostOnce { Commits::AndWaits } else { drawn };
        let classic = |assignors: &[Assignor]| {
            GroupProtocol::Classic(ClassicProtocol {
                session_timeout: SESSION_TIMEOUT,
                heartbeat_interval: HEARTBEAT_INTERVAL,
                assignors: assignors.to_vec(),
            })
        };
        let protocol = match workload.assigning {
            Assigning::Eager => classic(&[Assignor::Range, Assignor::RoundRobin]),
            Assigning::Cooperative => classic(&[Assignor::CooperativeSticky]),
            Assigning::Mixed if rand::range(0..2) == 0 => classic(&[Assignor::CooperativeSticky]),
            Assigning::Coordinator | Assigning::Mixed => GroupProtocol::Consumer(ConsumerProtocol::default()),
        };
        let group = GroupOptions {
            protocol,
            instance_id: instance,
            poll_interval_max: POLL_INTERVAL_MAX,
            commit_interval: (commits == Commits::WithPolls).then_some(Duration::from_secs(1)),
            ..GroupOptions::new(&member.group)
        };
        let options =
            ConsumerOptions { group: Some(group), reset: Some(ResetTo::Earliest), ..ConsumerOptions::default() };
        let consumer = Arc::new(Consumer::new(cluster.clone(), options));
        let notes = Arc::new(Notes { member, attempts: AtomicU64::new(0) });
        consumer.set_rebalance_listener(notes.clone()).expect("it has a group");
        consumer.subscribe([workload.topic.as_str()]).expect("it has a group");
        if delivers == Delivers::AtMostOnce {
            notes.tell(|| MemberDid::CommitsFirst);
        }
        Self { consumer, notes, commits, delivers, board }
    }

    /// Reads until its time is over, or for good. Answers whether it was for good.
    async fn read(self, stopping: &Shutdown) -> bool {
        let stays = if rand::range(0..HURRIES_EVERY) == 0 { HURRIES_MS } else { STAYS_MS };
        let until = time::now() + Duration::from_millis(rand::range(stays));
        let (mut ends_at, mut asks_at) = (None, None);
        loop {
            if stopping.is_requested() {
                let ends_at = *ends_at.get_or_insert(time::now() + WAITS_MAX);
                if time::now() >= ends_at || self.has_read_everything().await {
                    break;
                }
                if *asks_at.get_or_insert(time::now() + ASKS_ANEW_AFTER) <= time::now() {
                    self.consumer.enforce_rebalance();
                    asks_at = Some(ends_at);
                }
            } else if time::now() >= until {
                break;
            } else if rand::range(0..SLOW_EVERY) == 0 {
                runtime::select! {
                    () = stopping.requested() => {}
                    () = time::sleep(SLOW) => {}
                }
            }
            match self.consumer.poll(POLL).await {
                Ok(records) => {
                    let processed = self.processes(records.len()).await;
                    records.iter().take(processed).for_each(|record| polled(record, self.notes.member.reader));
                    self.note_read();
                    if processed > 0 && processed < records.len() {
                        self.notes.tell(|| MemberDid::Ended);
                        return false;
                    }
                }
                // Somebody took over its name, as a join of an earlier life does that comes late: a program ends for it.
                Err(ConsumerError::Group(error)) => {
                    tracing::debug!(%error, "a member's group failed it");
                    time::sleep(POLL).await;
                    self.notes.tell(|| MemberDid::Ended);
                    return false;
                }
                Err(error) => failed(&error).await,
            }
            if rand::range(0..COMMITS_EVERY) == 0 && self.delivers == Delivers::AtLeastOnce {
                self.commit().await;
            }
        }
        // Whoever goes without a word is missed only once its session is over.
        let is_last = stopping.is_requested();
        if is_last || rand::range(0..3) > 0 {
            self.consumer.close(ASKS_WITHIN).await;
        }
        self.notes.tell(|| MemberDid::Ended);
        is_last
    }

    /// How many of so many records that it has read it processes. Whoever commits first and does not know that it has leaves all
    /// of them out; and now and then somebody dies over them.
    async fn processes(&self, read: usize) -> usize {
        match self.delivers {
            Delivers::AtLeastOnce => read,
            Delivers::AtMostOnce if read == 0 || !self.commit().await => 0,
            Delivers::AtMostOnce if rand::range(0..DIES_EVERY) == 0 => rand::range(0..read as u64) as usize,
            Delivers::AtMostOnce => read,
        }
    }

    /// Writes on the board how far it is in what it has.
    fn note_read(&self) {
        let mut board = self.board.lock();
        // An operator may have added some.
        for partition in self.consumer.assignment() {
            board.entry(partition).or_insert(Offset::ZERO);
        }
        for (partition, read) in board.iter_mut() {
            // A position is behind what was deleted, too.
            let is_at = self.consumer.position(partition).map_or(Offset::ZERO, |position| position.offset);
            *read = is_at.max(*read);
        }
    }

    /// Nothing is left to read for anybody in the group.
    async fn has_read_everything(&self) -> bool {
        let all: Vec<PartitionName> = self.board.lock().keys().cloned().collect();
        let Ok(ends) = self.consumer.end_offsets(&all, ASKS_WITHIN / 5).await else { return false };
        let board = self.board.lock();
        board.iter().all(|(partition, read)| ends.get(partition).is_some_and(|end| read >= end))
    }

    /// Answers whether it is known to be committed.
    async fn commit(&self) -> bool {
        let consumed = self.consumer.consumed();
        if consumed.is_empty() || self.commits == Commits::WithPolls {
            return false;
        }
        let attempt = self.notes.attempts.fetch_add(1, Ordering::Relaxed);
        let text = self.notes.member.text(attempt);
        let with_text = consumed
            .into_iter()
            .map(|(partition, committed)| (partition, OffsetAndMetadata { metadata: text.clone(), ..committed }));
        let offsets: BTreeMap<PartitionName, OffsetAndMetadata> = with_text.collect();
        let now = self.consumer.group_metadata();
        self.notes.tell(|| MemberDid::CommitInvoked {
            attempt,
            id: now.as_ref().map(|now| now.member_id.to_string()).unwrap_or_default(),
            generation: now.map_or(-1, |now| now.generation.0),
            offsets: told(&offsets),
        });
        let (notes, consumer) = (self.notes.clone(), self.consumer.clone());
        let acknowledged = move || {
            let generation = generation_of(&consumer);
            notes.tell(|| MemberDid::CommitAcknowledged { attempt, generation });
        };
        match self.commits {
            Commits::AndWaits => {
                let is_done = self.consumer.commit_offsets(offsets, ASKS_WITHIN).await.is_ok();
                if is_done {
                    acknowledged();
                }
                is_done
            }
            Commits::AndGoesOn | Commits::WithPolls => {
                let done = move |outcome: Result<(), _>| {
                    if outcome.is_ok() {
                        acknowledged();
                    }
                };
                self.consumer.commit_async(offsets, done).expect("it has a group");
                false
            }
        }
    }
}

fn generation_of(consumer: &Consumer) -> i32 {
    consumer.group_metadata().map_or(-1, |metadata| metadata.generation.0)
}

fn told(offsets: &BTreeMap<PartitionName, OffsetAndMetadata>) -> BTreeMap<NamedPartition, (Offset, String)> {
    offsets.iter().map(|(partition, told)| (named(partition), (told.offset, told.metadata.clone()))).collect()
}

impl Notes {
    fn tell(&self, what: impl FnOnce() -> MemberDid) {
        observe::emit(|| MemberEvent { member: self.member.clone(), what: what() });
    }

    fn gave_up(&self, partitions: &BTreeSet<PartitionName>, lost: bool) {
        self.tell(|| MemberDid::GaveUp { partitions: partitions.iter().map(named).collect(), lost });
    }
}

impl RebalanceListener for Notes {
    fn assigned<'a>(&'a self, consumer: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        let generation = generation_of(consumer);
        self.tell(|| MemberDid::Took { generation, partitions: partitions.iter().map(named).collect() });
        Box::pin(async move {
            if partitions.is_empty() {
                return;
            }
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            self.tell(|| MemberDid::FetchInvoked { attempt, partitions: partitions.iter().map(named).collect() });
            // Whoever is not told in time asks again with the next ones.
            if let Ok(offsets) = consumer.committed(partitions, ASKS_WITHIN / 5).await {
                self.tell(|| MemberDid::FetchAnswered { attempt, offsets: told(&offsets) });
            }
        })
    }

    fn revoked<'a>(&'a self, _: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        Box::pin(async move {
            if rand::range(0..CLINGS_EVERY) == 0 {
                time::sleep(Duration::from_millis(rand::range(CLINGS_MS))).await;
            }
            self.gave_up(partitions, false);
        })
    }

    fn lost<'a>(&'a self, _: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        self.gave_up(partitions, true);
        Box::pin(std::future::ready(()))
    }
}
