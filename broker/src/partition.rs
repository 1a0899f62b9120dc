//! One replica of a partition: its state, its log, and who waits on it, behind one lock.
//!
//! The lock is held for the time of an append to the page cache or a look into an index, never for a sync and never across
//! an await: what waits for the device is made under the lock and awaited outside. It never talks to other brokers, and has
//! no opinion on Kafka: it asks [`state`], does, and tells. Driven by handlers, by `partitions` (what the metadata says)
//! and by `replication` (what the leader sent, what the controller answered).

pub mod appending;
pub mod cleaning;
pub mod context;
pub mod coordinated;
pub mod copying;
pub mod deletion;
pub mod fetch_wait;
pub mod fetching;
pub mod isr;
pub mod moving;
pub mod position;
pub mod refusal;
pub mod settings;
pub mod state;
pub mod waiting;

use crate::event::ReplicaEvent;
use crate::metrics::Traffic;
use appending::{AckError, Acknowledgements};
use context::{Assignment, Proposed, ReplicaContext, monotonic_now, wall_now};
use fetch_wait::Ringer;
use isr::{IsrAnswer, IsrProposal, JoinFloor};
use protocol::ids::{BrokerId, DirectoryId, LeaderEpoch, MonotonicMillis, Offset, TopicPartition};
use runtime::sync::{Guard, Lock, Notify};
use runtime::{buggify, mutant, mutant_diverged, observe, rand, sometimes, task, time};
use settings::{Settings, Throttled};
use state::{Answered, Effects, PartitionState, PartitionUpdate, Role, Transition, initial_high_watermark};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use storage::{Log, LogError, SyncTask};
use waiting::Parked;

/// The rank of a replica's lock.
const RANK: u8 = 10;
/// How soon the controller is told again that a replica is damaged: whoever reads there may try again at once.
const DAMAGE_TOLD_EVERY_MS: u64 = 1_000;

/// One replica of a partition on this broker.
pub struct Partition {
    id: TopicPartition,
    topic: Arc<str>,
    /// The number of the log directory that holds it, until it moves to another.
    directory: AtomicUsize,
    context: Arc<ReplicaContext>,
    traffic: Arc<Traffic>,
    replica: Lock<Replica>,
}

/// What the lock protects.
struct Replica {
    state: PartitionState,
    log: Log,
    acknowledgements: Acknowledgements,
    parked: Parked<Ringer>,
    /// Woken when the low watermark may have risen, or will not be known here any more.
    low_watermark_moved: Arc<Notify>,
    throttled: Throttled,
    /// How often the log was cut.
    cuts: u64,
    /// When the controller was last told that stored bytes are not what was written, if they are not. The log is used as
    /// far as it can be read, until the controller says that another replica has it all.
    damage_told: Option<MonotonicMillis>,
    /// Whether the log stands still, for its copy is about to take its place.
    held: bool,
    /// How many removals of segments are not durable yet: until then the log refuses appends.
    unsettled: usize,
}

/// What a partition update came to.
pub enum Updated {
    /// Nothing: it was old.
    Ignored,
    /// The replica leads, as before.
    Leads,
    /// The replica was elected. It leads once this has ended.
    Elected(Election),
    /// The replica follows.
    Follows {
        /// Whether the leader epoch is new: then copying begins anew.
        new_epoch: bool,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// Whom, if there is a leader.
        leader: Option<BrokerId>,
    },
}

/// An election of this replica, until the first offset of its epoch is durable.
pub struct Election {
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    durable: SyncTask,
}

/// Where a replica stands, for whoever looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it leads.
    pub leads: bool,
    /// In which leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The first offset kept.
    pub log_start_offset: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
    /// One past the last record.
    pub log_end_offset: Offset,
    /// Bytes of its segments.
    pub size: u64,
}

impl Partition {
    /// A replica whose log was just opened or created. `checkpoint` is the high watermark that was last written down.
    pub fn new(
        id: TopicPartition,
        topic: Arc<str>,
        directory: usize,
        log: Log,
        checkpoint: Option<Offset>,
        context: Arc<ReplicaContext>,
    ) -> Arc<Self> {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let checkpoint = checkpoint.unwrap_or(start);
        let clamped = initial_high_watermark(checkpoint, start, end);
        let high_watermark = if mutant!("S02") {
            if checkpoint != clamped {
                mutant_diverged!("S02");
            }
            checkpoint
        } else {
            clamped
        };
        sometimes!(checkpoint > end, "a checkpointed high watermark is past the end of the recovered log");
        let join_floor = if mutant!("Z04") { JoinFloor::HighWatermark } else { JoinFloor::EpochStart };
        let state = PartitionState::new(context.local, context.lag_max, join_floor, (start, end), high_watermark);
        let (acknowledgements, parked) = (Acknowledgements::default(), Parked::default());
        let low_watermark_moved = Arc::default();
        let replica = Replica {
            state,
            log,
            acknowledgements,
            parked,
            low_watermark_moved,
            throttled: Throttled::default(),
            cuts: 0,
            damage_told: None,
            held: false,
            unsettled: 0,
        };
        let directory = AtomicUsize::new(directory);
        let traffic = Arc::default();
        Arc::new(Self { id, topic, directory, context, traffic, replica: Lock::new(RANK, replica) })
    }

    /// Which partition.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// The name of its topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What went through it.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The number of the log directory that holds it.
    pub fn directory(&self) -> usize {
        self.directory.load(Ordering::Acquire)
    }

    /// The name of its directory.
    pub fn directory_name(&self) -> String {
        Log::directory_name(&self.topic, self.id.partition)
    }

    /// `file.delete.delay.ms`
    pub fn file_delete_delay(&self) -> Duration {
        Duration::from_millis(self.replica.lock().log.config().file_delete_delay_ms)
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let replica = self.replica.lock();
        Standing {
            leads: replica.state.is_leader(),
            leader_epoch: replica.state.leader_epoch(),
            log_start_offset: replica.state.log_start_offset(),
            high_watermark: replica.state.high_watermark(),
            log_end_offset: replica.state.log_end_offset(),
            size: replica.log.size(),
        }
    }

    /// Takes what the metadata says of the partition (`Partition.makeLeader`, `Partition.makeFollower`), and the topic's
    /// settings where they changed with it. Whoever waited on an earlier leader epoch is told at once.
    ///
    /// Both in one step: a leader that took a smaller ISR before the smaller `min.insync.replicas` that goes with it, or a
    /// smaller `min.insync.replicas` before it hears that it leads no more, would let the high watermark pass replicas that
    /// the controller keeps eligible (KIP-966).
    pub fn update(self: &Arc<Self>, update: &PartitionUpdate<'_>, settings: Option<Settings>) -> Updated {
        let mut replica = self.replica.lock();
        let reconfigured = settings.map(|settings| replica.set_config(settings)).is_some();
        let elected_again = update.leader == Some(self.context.local);
        if elected_again && replica.log.latest_epoch().is_some_and(|latest| latest > update.leader_epoch) {
            // Its own log knows of a later leader: what is being applied here is history.
            tracing::warn!(partition = %self.id, leader_epoch = update.leader_epoch.0, "metadata is behind the log");
            return Updated::Ignored;
        }
        let isr = replica.state.isr();
        match replica.state.on_metadata(update, monotonic_now()) {
            Transition::Ignored => {
                if reconfigured {
                    self.reconsider(&mut replica);
                }
                Updated::Ignored
            }
            Transition::StillLeads => {
                if replica.state.isr() != isr {
                    sometimes!(replica.state.isr().len() < isr.len(), "the ISR shrank");
                    self.emit_isr_committed(&replica);
                }
                self.reconsider(&mut replica);
                Updated::Leads
            }
            Transition::Elected { leader_epoch, start } => {
                self.step_down(&mut replica);
                let assigned = replica.log.assign_epoch(leader_epoch, start);
                // A removal that is under way must be durable too, or the first append would be refused.
                let durable = if replica.unsettled > 0 { replica.log.flush() } else { assigned };
                Updated::Elected(Election { partition: self.clone(), leader_epoch, durable })
            }
            Transition::Follows { new_epoch, leader } => {
                let leader_epoch = replica.state.leader_epoch();
                if new_epoch {
                    self.step_down(&mut replica);
                    self.truncate_to_high_watermark_if_mutant(&mut replica);
                    observe::emit(|| ReplicaEvent::BecameFollower {
                        partition: self.id,
                        leader_epoch,
                        leader,
                        log_end_offset: replica.state.log_end_offset(),
                        high_watermark: replica.state.high_watermark(),
                    });
                }
                Updated::Follows { new_epoch, leader_epoch, leader }
            }
        }
    }

    /// Z01 of the bug zoo: the rule before KIP-101. A follower cuts its log to its own high watermark, which is behind what
    /// was acknowledged.
    fn truncate_to_high_watermark_if_mutant(self: &Arc<Self>, replica: &mut Guard<'_, Replica>) {
        if !mutant!("Z01") {
            return;
        }
        let high_watermark = replica.state.high_watermark();
        if high_watermark < replica.state.log_end_offset() {
            mutant_diverged!("Z01");
            match replica.log.truncate_to(high_watermark) {
                Ok(durable) => {
                    let (start, end) = (replica.log.log_start_offset(), replica.log.log_end_offset());
                    replica.state.on_truncated(start, end);
                    drop(self.settle(replica, durable));
                }
                Err(error) => self.fail(replica, &error),
            }
        }
    }

    /// Takes the controller's answer to a proposal. Returns the proposal when it must be sent again.
    pub fn on_isr_answer(&self, proposal: &IsrProposal, answer: &IsrAnswer) -> Option<IsrProposal> {
        let mut replica = self.replica.lock();
        match replica.state.on_isr_answer(proposal.id, proposal.leader_epoch, answer, monotonic_now()) {
            Answered::Late | Answered::AwaitsMetadata => None,
            Answered::Repeat(again) => Some(again),
            Answered::RolledBack => {
                self.reconsider(&mut replica);
                None
            }
            Answered::Committed => {
                self.emit_isr_committed(&replica);
                self.reconsider(&mut replica);
                None
            }
        }
    }

    fn emit_isr_committed(&self, replica: &Replica) {
        observe::emit(|| ReplicaEvent::IsrCommitted {
            partition: self.id,
            leader_epoch: replica.state.leader_epoch(),
            partition_epoch: replica.state.partition_epoch(),
            isr: replica.state.isr(),
        });
    }

    /// Time passed: whoever lags leaves the ISR. Called every half `replica.lag.time.max.ms`.
    pub fn tick(&self) {
        let mut replica = self.replica.lock();
        if let Some(proposal) = replica.state.on_tick(monotonic_now()) {
            self.propose(&replica, proposal);
        }
        self.reconsider(&mut replica);
    }

    /// The metadata of brokers changed: who may join the ISR, and whom the high watermark waits for, may have too.
    pub fn on_brokers_changed(&self) {
        let mut replica = self.replica.lock();
        self.reconsider(&mut replica);
        replica.low_watermark_moved.notify_waiters();
    }

    /// Takes the topic's settings as they are now.
    pub fn set_config(&self, settings: Settings) {
        let mut replica = self.replica.lock();
        replica.set_config(settings);
        self.reconsider(&mut replica);
    }

    /// Begins the flush that closed segments, or `flush.ms`, ask for, and returns it.
    pub fn flush_if_due(&self) -> Option<SyncTask> {
        let replica = self.replica.lock();
        let due = !matches!(replica.state.role(), Role::Offline) && replica.log.wants_flush(wall_now());
        due.then(|| replica.log.flush())
    }

    /// Below this everything is on the device.
    pub fn recovery_point(&self) -> Offset {
        self.replica.lock().log.recovery_point()
    }

    /// The checkpoint file holds this recovery point of the log now.
    pub fn recovery_point_stored(&self, stored: Offset) {
        self.replica.lock().log.recovery_point_stored(stored);
    }

    /// Serves nobody any more: whoever waits is told. The log can be closed by [`Self::close`], or its directory renamed.
    pub fn stop(&self) {
        let mut replica = self.replica.lock();
        if !matches!(replica.state.role(), Role::Offline) {
            self.step_down(&mut replica);
            replica.state.go_offline();
            observe::emit(|| ReplicaEvent::Stopped { partition: self.id });
        }
    }

    /// Stops, and leaves the log clean: everything durable once the task is done, indexes and producers in their files.
    ///
    /// # Errors
    /// When the disk refuses, or failed before: then the log is not clean.
    pub fn close(&self) -> Result<SyncTask, LogError> {
        self.stop();
        self.replica.lock().log.close()
    }

    /// Stops, and gives the log's directory the name under which it waits to be removed, which is returned.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn delete(&self) -> Result<String, LogError> {
        self.stop();
        self.replica.lock().log.mark_deleted()
    }

    /// The log failed, found outside this lock.
    pub fn on_failure(&self, error: &LogError) {
        self.fail(&mut self.replica.lock(), error);
    }

    /// The disk failed elsewhere: this log is not trusted either.
    pub fn go_offline(&self) {
        let mut replica = self.replica.lock();
        if !matches!(replica.state.role(), Role::Offline) {
            replica.state.go_offline();
            replica.acknowledgements.tell_all(Err(AckError::Offline));
            replica.wake_all_fetches();
        }
    }

    /// Whether stored bytes were found not to be what was written.
    pub fn is_damaged(&self) -> bool {
        self.replica.lock().damage_told.is_some()
    }

    /// A disk error is final for the log: nothing is appended after it, and nothing is served (KAFKA-3955, KIP-112). It is
    /// final for the whole directory, unless only the contents of the log are not what they should be.
    fn fail(&self, replica: &mut Guard<'_, Replica>, error: &LogError) {
        // A log that only waits for an earlier cut to be durable has not failed.
        if matches!(replica.state.role(), Role::Offline) || matches!(error, LogError::Unsettled { .. }) {
            return;
        }
        if mutant!("S14") {
            return;
        }
        if error.is_damage() {
            self.give_up(replica, error);
            if !replica.log.is_offline() {
                return;
            }
        }
        tracing::error!(partition = %self.id, topic = %self.topic, %error, "a log failed and goes offline");
        runtime::reachable!("a log went offline");
        replica.state.go_offline();
        replica.acknowledgements.tell_all(Err(AckError::Offline));
        replica.wake_all_fetches();
        if !error.is_damage() {
            // A receiver that is gone has stopped already.
            let _ = self.context.failures.send(self.directory());
        }
    }

    /// What is stored is not what was written. The controller is asked to count on this replica no more; it refuses while
    /// nobody else has all that is committed, so it is asked again when somebody meets the damage later.
    fn give_up(&self, replica: &mut Guard<'_, Replica>, error: &LogError) {
        let now = monotonic_now();
        if replica.damage_told.is_some_and(|told| now.since(told) < DAMAGE_TOLD_EVERY_MS) {
            return;
        }
        if replica.damage_told.replace(now).is_none() {
            tracing::error!(partition = %self.id, topic = %self.topic, %error, "a log is damaged");
            runtime::reachable!("a log was found damaged");
            observe::emit(|| ReplicaEvent::Damaged { partition: self.id });
        }
        // Under the lock, so that it cannot come after where the next copy of the replica is.
        let _ = self.context.assignments.send(Assignment { partition: self.id, directory: DirectoryId::LOST });
    }

    /// Sees a cut through to the device, whether or not somebody awaits it: until then the log refuses appends.
    fn settle(self: &Arc<Self>, replica: &mut Guard<'_, Replica>, durable: SyncTask) -> task::JoinHandle<()> {
        replica.unsettled += 1;
        let partition = self.clone();
        task::spawn(async move {
            let done = durable.await;
            let mut replica = partition.replica.lock();
            replica.unsettled -= 1;
            if let Err(error) = done {
                partition.fail(&mut replica, &error);
            }
        })
    }

    /// A leader epoch is over: nobody may be told success any more, whatever is in the log (Redpanda #3003).
    fn step_down(&self, replica: &mut Guard<'_, Replica>) {
        sometimes!(!replica.acknowledgements.is_empty(), "a produce with acks=all waited when its leader stepped down");
        if mutant!("Z10") && !replica.acknowledgements.is_empty() {
            mutant_diverged!("Z10");
            let high_watermark = replica.state.high_watermark();
            replica.acknowledgements.tell_all_acknowledged(self.id, high_watermark);
        } else {
            replica.acknowledgements.tell_all(Err(AckError::NotLeader));
        }
        replica.wake_all_fetches();
    }

    /// Looks at the high watermark and the ISR again, for what they depend on may have changed.
    fn reconsider(&self, replica: &mut Guard<'_, Replica>) {
        let (now, brokers) = (monotonic_now(), &self.context.image);
        let effects = if mutant!("Z11") {
            // As before KAFKA-13091: the high watermark moves only when a log grows.
            if replica.state.clone().reconsider(now, brokers).high_watermark.is_some() {
                mutant_diverged!("Z11");
            }
            Effects { high_watermark: None, propose: replica.state.propose_expansion(now, brokers) }
        } else {
            replica.state.reconsider(now, brokers)
        };
        self.carry_out(replica, effects);
    }

    fn carry_out(&self, replica: &mut Guard<'_, Replica>, effects: Effects) {
        if effects.high_watermark.is_some() {
            self.high_watermark_rose(replica);
        }
        if let Some(proposal) = effects.propose {
            self.propose(replica, proposal);
        }
    }

    /// Tells everybody who waits for the high watermark, in order.
    fn high_watermark_rose(&self, replica: &mut Guard<'_, Replica>) {
        let replica = &mut **replica;
        let state = &replica.state;
        observe::emit(|| ReplicaEvent::HighWatermark {
            partition: self.id,
            leader_epoch: state.leader_epoch(),
            leading: state.is_leader(),
            high_watermark: state.high_watermark(),
            log_end_offset: state.log_end_offset(),
            isr: state.isr(),
            maximal_isr: state.maximal_isr(),
            effective_min_isr: state.effective_min_isr(),
        });
        let high_watermark = state.high_watermark();
        if state.is_leader() {
            replica.acknowledgements.tell_reached(self.id, high_watermark, state.may_acknowledge());
        }
        replica.parked.take_consumers().for_each(|consumer| consumer.ring());
        replica.parked.followers_behind(high_watermark).for_each(Ringer::tell_high_watermark);
    }

    fn propose(&self, replica: &Replica, proposal: IsrProposal) {
        let state = &replica.state;
        if let (true, Some(in_sync)) = (mutant!("Z04"), state.in_sync()) {
            let joins_early = |(member, _): &(BrokerId, _)| {
                let reached = in_sync.log_end_offset_of(*member);
                !in_sync.isr().contains(member) && reached.is_some_and(|reached| reached < in_sync.epoch_start())
            };
            if proposal.members.iter().any(joins_early) {
                mutant_diverged!("Z04");
            }
        }
        tracing::debug!(partition = %self.id, isr = ?proposal.members, "proposes another ISR");
        observe::emit(|| ReplicaEvent::IsrProposed {
            partition: self.id,
            leader_epoch: proposal.leader_epoch,
            isr: state.isr(),
            proposed: proposal.isr(),
        });
        // A receiver that is gone has stopped already.
        let _ = self.context.proposals.send(Proposed { partition: self.id, proposal });
    }
}

impl Replica {
    /// A flush, where the topic's `flush.messages` asks for one before what was appended counts as written.
    fn flush_if_asked(&mut self) -> Option<SyncTask> {
        let unflushed = self.log.log_end_offset().0 - self.log.recovery_point().0;
        let due = u64::try_from(unflushed).is_ok_and(|unflushed| unflushed >= self.log.config().flush_messages);
        due.then(|| self.log.flush())
    }

    /// Something changed that every fetch must look at: its role, or the end of its log.
    fn wake_all_fetches(&mut self) {
        self.parked.take_followers().for_each(|follower| follower.ring());
        self.parked.take_consumers().for_each(|consumer| consumer.ring());
        self.low_watermark_moved.notify_waiters();
    }
}

impl Election {
    /// Waits until the first offset of the epoch is durable, and then leads, unless the epoch is over by then.
    pub async fn finish(self) {
        if buggify!("an election takes its time") {
            time::sleep(Duration::from_millis(rand::range(1..300))).await;
        }
        let durable = self.durable.await;
        let partition = &self.partition;
        let mut replica = partition.replica.lock();
        if let Err(error) = durable {
            partition.fail(&mut replica, &error);
            return;
        }
        let image = &partition.context.image;
        let high_watermark = replica.state.high_watermark();
        let Some(effects) = replica.state.on_epoch_durable(self.leader_epoch, monotonic_now(), image) else { return };
        let state = &replica.state;
        sometimes!(state.has_stale_high_watermark(), "a new leader starts with a stale high watermark");
        observe::emit(|| ReplicaEvent::BecameLeader {
            partition: partition.id,
            leader_epoch: self.leader_epoch,
            partition_epoch: state.partition_epoch(),
            isr: state.isr(),
            leader_epoch_start_offset: state.in_sync().map_or(state.log_end_offset(), isr::InSync::epoch_start),
            high_watermark,
        });
        partition.carry_out(&mut replica, effects);
    }
}

#[cfg(test)]
#[cfg(madsim)]
mod tests;
