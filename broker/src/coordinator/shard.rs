//! The groups of one partition of `__consumer_offsets`, in one leader epoch: decide, append, apply, wait, answer.
//!
//! A decision is made and its records are appended under one lock, so that the log has them in the order in which they were
//! decided. Every answer, a read's too, leaves when the high watermark, in that leader epoch, has passed everything that the
//! decision had seen: whoever is told something is never told the opposite by the next coordinator. Where an append fails
//! nobody knows any more what the groups are, and they are loaded again (`CoordinatorRuntime`).

use super::{
    CoordinatorConfig, Decide,
    loading::{self, NotLoaded},
    topics::ClusterTopics,
};
use crate::event::ReplicaEvent;
use crate::partition::{
    Partition,
    appending::{AckError, Acks, AppendError},
    context::{monotonic_now, wall_now},
    refusal::AppendRefusal,
};
use crate::partitions::Partitions;
use bytes::BytesMut;
use groups::{
    effects::{Effects, Ticket},
    ids::TopicName,
    record::Record,
    shard::{Answer, Clock, GroupShard},
};
use protocol::{
    compression::Compression,
    error_code::ErrorCode,
    ids::{LeaderEpoch, MonotonicMillis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition},
    record_batch::{BatchBuilder, BatchHeader},
};
use runtime::{
    observe, reachable,
    sync::{Lock, Notify, oneshot},
    time::{self, Instant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Under it the lock of its partition is taken, and no other.
const RANK: u8 = 4;
/// How long before its replica leads it looks again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long after a log could not be read it is read again: what is broken may be led by another replica by then, or be deleted.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(1);
/// How large a batch of records grows before another begins, in bytes: what topics take by themselves (`max.message.bytes`).
const BATCH_BYTES: usize = 1 << 20;

/// See the module.
pub struct Shard {
    of: TopicPartition,
    leader_epoch: LeaderEpoch,
    config: CoordinatorConfig,
    partitions: Arc<Partitions>,
    state: Lock<State>,
    /// A deadline is nearer than it was, or the state is another.
    changed: Notify,
}

enum State {
    /// The log is being read.
    Loading,
    /// It serves.
    Active(Box<Active>),
    /// An append failed: it is to be loaded again.
    Lost,
    /// Another leader epoch has begun.
    Over,
}

struct Active {
    replica: Arc<Partition>,
    groups: GroupShard,
    /// One past the last record that was seen.
    seen: Offset,
    /// Requests whose answer depends on what others do.
    waiting: BTreeMap<Ticket, oneshot::Sender<(Answer, Seen)>>,
    tickets: u64,
    /// For when the shard's task has set its alarm.
    alarm: Option<MonotonicMillis>,
}

/// What must be committed before something that was decided may be told.
pub struct Seen {
    replica: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    end: Offset,
}

/// What was decided, and what must be committed first.
pub type Decided<T> = Result<(T, Seen), ErrorCode>;

impl Seen {
    /// Waits until everything that was seen is committed.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` where the leader epoch ended first, `COORDINATOR_NOT_AVAILABLE` where it took too long: the client
    /// asks again, and finds whatever became of it (`CoordinatorOperationExceptionHelper`).
    pub async fn committed(self, deadline: Instant) -> Result<(), ErrorCode> {
        if runtime::mutant!("S20") {
            runtime::mutant_diverged!("S20");
            return Ok(());
        }
        let outcome = match self.replica.committed(self.leader_epoch, self.end) {
            Ok(None) => Ok(()),
            Ok(Some(ticket)) => ticket.wait_until(deadline).await,
            Err(error) => Err(error),
        };
        outcome.map_err(|error| match error {
            AckError::NotLeader | AckError::Offline => ErrorCode::NotCoordinator,
            AckError::NotEnoughReplicasAfterAppend | AckError::TimedOut => ErrorCode::CoordinatorNotAvailable,
        })
    }
}

impl Shard {
    /// One that is to be loaded: see [`Self::run`].
    pub fn new(
        of: TopicPartition,
        leader_epoch: LeaderEpoch,
        config: CoordinatorConfig,
        partitions: Arc<Partitions>,
    ) -> Self {
        let state = Lock::new(RANK, State::Loading);
        Self { of, leader_epoch, config, partitions, state, changed: Notify::new() }
    }

    /// Whose groups it has.
    pub fn partition(&self) -> TopicPartition {
        self.of
    }

    /// In which leader epoch it acts.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Loads, and then does what is due when it is due, until it is over.
    pub async fn run(self: Arc<Self>) {
        while !matches!(*self.state.lock(), State::Over) {
            let loaded = loading::load(&self.partitions, self.of, self.leader_epoch, &self.config).await;
            match loaded.map(|loaded| self.activate(loaded)) {
                Ok(true) => self.keep_time().await,
                Ok(false) | Err(NotLoaded::NotLeader) => time::sleep(AGAIN).await,
                Err(NotLoaded::Unreadable) => time::sleep(UNREADABLE_AGAIN).await,
            }
        }
    }

    /// From here on it serves, unless it is over.
    fn activate(&self, loaded: loading::Loaded) -> bool {
        let loading::Loaded { replica, mut groups, end } = loaded;
        let mut state = self.state.lock();
        if matches!(*state, State::Over) {
            return false;
        }
        observe::emit(|| ReplicaEvent::CoordinatorLoaded {
            partition: self.of,
            leader_epoch: self.leader_epoch,
            end,
            recorded: Arc::new(groups.recorded()),
        });
        let effects = groups.loaded(clock());
        let (waiting, alarm) = (BTreeMap::new(), None);
        let mut active = Box::new(Active { replica, groups, seen: end, waiting, tickets: 0, alarm });
        reachable!("a group coordinator is loaded");
        if self.carry_out(&mut active, effects).is_err() {
            *state = State::Lost;
            return false;
        }
        *state = State::Active(active);
        true
    }

    /// Sleeps until something is due, and does it, as long as the shard serves.
    async fn keep_time(&self) {
        loop {
            let due = {
                let mut state = self.state.lock();
                let State::Active(active) = &mut *state else { break };
                active.alarm = active.groups.next_deadline();
                active.alarm
            };
            let wait = due.map(|due| Duration::from_millis(due.0.saturating_sub(monotonic_now().0)));
            runtime::select! {
                () = self.changed.notified() => {}
                () = time::sleep(wait.unwrap_or(Duration::from_secs(3_600))) => {
                    let topics = self.topics();
                    let _ = self.decide(|groups, clock| ((), groups.expire(clock, &topics)));
                }
            }
        }
        let mut state = self.state.lock();
        if matches!(*state, State::Lost) {
            *state = State::Loading;
        }
    }

    /// Another leader epoch has begun: whoever waits is told to look for the coordinator again.
    pub fn end(&self) {
        // Dropping what waits tells it.
        *self.state.lock() = State::Over;
        self.changed.notify_one();
    }

    /// The cluster's topics, as they are now.
    pub fn topics(&self) -> ClusterTopics {
        ClusterTopics::new(self.partitions.context().image.get())
    }

    /// Topics are new, have other partitions, or are gone; what was committed of those that are gone goes too.
    pub fn on_topics_changed(&self, changed: &BTreeSet<TopicName>, gone: &BTreeSet<TopicName>) {
        let _ = self.decide(|groups, _| {
            groups.on_topics_changed(changed);
            ((), groups.forget_topics(gone))
        });
    }

    /// Decides something whose answer is known at once.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, or why its records were not appended.
    pub fn decide<T>(&self, decision: impl Decide<T>) -> Decided<T> {
        let mut state = self.state.lock();
        let active = serving(&mut state)?;
        let (told, effects) = decision(&mut active.groups, clock());
        let done = self.carry_out(active, effects);
        let seen = self.seen(active);
        self.after(&mut state, done)?;
        Ok((told, seen))
    }

    /// As [`Self::decide`], for what would have to be appended: it is refused before it is decided where it could not be.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub fn decide_to_write<T>(&self, decision: impl Decide<T>) -> Decided<T> {
        {
            let mut state = self.state.lock();
            let active = serving(&mut state)?;
            active.replica.check_append_in(self.leader_epoch).map_err(refused)?;
        }
        self.decide(decision)
    }

    /// Decides something whose answer may depend on what others do, and waits for it.
    ///
    /// # Errors
    /// As [`Self::decide`], and as [`Seen::committed`].
    pub async fn decide_and_wait(
        &self,
        commit_within: Duration,
        decision: impl FnOnce(&mut GroupShard, Ticket, Clock) -> Effects<Answer>,
    ) -> Result<Answer, ErrorCode> {
        let answer = {
            let mut state = self.state.lock();
            let active = serving(&mut state)?;
            active.tickets += 1;
            let ticket = Ticket(active.tickets);
            let (sender, answer) = oneshot::channel();
            active.waiting.insert(ticket, sender);
            let effects = decision(&mut active.groups, ticket, clock());
            let done = self.carry_out(active, effects);
            self.after(&mut state, done)?;
            answer
        };
        let (answer, seen) = answer.await.map_err(|_| ErrorCode::NotCoordinator)?;
        seen.committed(time::now() + commit_within).await?;
        Ok(answer)
    }

    /// Appends the records, applies them, and hands the answers to whoever waits for them.
    fn carry_out(&self, active: &mut Active, effects: Effects<Answer>) -> Result<(), ErrorCode> {
        if !effects.records.is_empty() {
            active.seen = self.append(&active.replica, &effects.records)?;
            effects.records.iter().for_each(|record| active.groups.apply(record));
        }
        active.groups.decided(clock());
        for (ticket, answer) in effects.answers {
            if let Some(waiting) = active.waiting.remove(&ticket) {
                // Whoever has gone away needs no answer.
                let _ = waiting.send((answer, self.seen(active)));
            }
        }
        if active.groups.next_deadline().is_some_and(|due| active.alarm.is_none_or(|alarm| due < alarm)) {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// One batch, so that what was decided together is there together; several only where one would be too large, as when the
    /// offsets of many partitions have grown old. Answers where the log ends then.
    fn append(&self, replica: &Arc<Partition>, records: &[Record]) -> Result<Offset, ErrorCode> {
        let (mut batch, mut first) = (BatchBuilder::new(Compression::None), 0);
        for (at, record) in records.iter().enumerate() {
            let (key, value) = record.encode();
            batch.push(wall_now(), Some(&key), value.as_deref(), &[]);
            if at + 1 < records.len() && batch.size_estimate() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(Compression::None));
                self.append_batch(replica, full, &records[first..=at])?;
                first = at + 1;
            }
        }
        self.append_batch(replica, batch, &records[first..])
    }

    fn append_batch(
        &self,
        replica: &Arc<Partition>,
        batch: BatchBuilder,
        records: &[Record],
    ) -> Result<Offset, ErrorCode> {
        replica.check_append_in(self.leader_epoch).map_err(refused)?;
        let batch = batch.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
        let header = BatchHeader::parse(&batch).expect("it was just built");
        let mut bytes = BytesMut::from(batch);
        match replica.append_as_leader(&mut bytes, &[header], Acks::All) {
            Ok(appended) if appended.leader_epoch == self.leader_epoch => {
                let end = appended.last_offset.plus(1);
                observe::emit(|| ReplicaEvent::GroupsWritten {
                    partition: self.of,
                    leader_epoch: appended.leader_epoch,
                    base_offset: appended.base_offset,
                    end,
                    records: records.into(),
                });
                Ok(end)
            }
            Ok(_) => Err(ErrorCode::NotCoordinator),
            Err(AppendError::Refused(refusal)) => Err(refused(refusal)),
            Err(AppendError::Log(error)) => {
                tracing::error!(partition = %self.of, %error, "a group coordinator cannot append");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }

    fn seen(&self, active: &Active) -> Seen {
        Seen { replica: active.replica.clone(), leader_epoch: self.leader_epoch, end: active.seen }
    }

    /// Where an append failed the groups are not what they were taken for any more.
    fn after(&self, state: &mut State, done: Result<(), ErrorCode>) -> Result<(), ErrorCode> {
        if done.is_err() {
            reachable!("a group coordinator is loaded again after a failed append");
            *state = State::Lost;
            self.changed.notify_one();
        }
        done
    }
}

fn serving(state: &mut State) -> Result<&mut Active, ErrorCode> {
    match state {
        State::Active(active) => Ok(active),
        State::Loading | State::Lost => Err(ErrorCode::CoordinatorLoadInProgress),
        State::Over => Err(ErrorCode::NotCoordinator),
    }
}

fn clock() -> Clock {
    Clock { now: monotonic_now(), wall: wall_now() }
}

/// As Kafka tells it to the clients of groups (`CoordinatorOperationExceptionHelper`).
fn refused(refusal: AppendRefusal) -> ErrorCode {
    match refusal {
        AppendRefusal::NotLeader | AppendRefusal::Offline => ErrorCode::NotCoordinator,
        AppendRefusal::NotEnoughReplicas { .. } => ErrorCode::CoordinatorNotAvailable,
    }
}
