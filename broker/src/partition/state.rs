//! Pure. One replica of a partition: which role it has in which epoch, how far its log and its high watermark go, and what
//! a produce or a fetch may do with it.
//!
//! It never touches the log: its owner tells it what was appended or truncated, and carries out what it decides. Driven by
//! [`crate::partition`], under that replica's lock.

mod deletion;

use super::isr::{Brokers, FollowerFetch, InSync, IsrAnswer, IsrProposal, JoinFloor, ProposalId, Refusal, refusal};
use super::refusal::{AppendRefusal, FetchRefusal};
use protocol::ids::{BrokerId, LeaderEpoch, MonotonicMillis, Offset, PartitionEpoch};
use std::collections::BTreeSet;
use std::time::Duration;

pub use super::position::{Cut, EpochEnd, FetchPlan, FetchPosition, FollowerPosition, Isolation, Reader};

/// What the replica is.
#[derive(Clone, Debug)]
pub enum Role {
    /// It copies the leader's log, if there is a leader.
    Follower,
    /// It was elected, and the first offset of its epoch is being made durable. It serves nobody as a leader yet.
    Becoming(InSync),
    /// It leads.
    Leader(InSync),
    /// Its log failed; only a restart of the broker brings it back.
    Offline,
}

/// What the metadata says of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionUpdate<'a> {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Rises with each change of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with each change of the partition.
    pub partition_epoch: PartitionEpoch,
    /// The assignment.
    pub replicas: &'a [BrokerId],
    /// The committed in-sync replicas.
    pub isr: &'a [BrokerId],
}

/// What a partition update makes of the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing: what it says is older than what is known, or the log is offline.
    Ignored,
    /// It leads in a new leader epoch, once `(leader_epoch, start)` is durable: then
    /// [`PartitionState::on_epoch_durable`]. Whoever waited on the old epoch must be told.
    Elected {
        /// The new leader epoch.
        leader_epoch: LeaderEpoch,
        /// Its first offset: the log end.
        start: Offset,
    },
    /// It leads as before, in the same leader epoch. The ISR or the replicas may have changed: the high watermark must be
    /// looked at again ([`PartitionState::reconsider`]).
    StillLeads,
    /// It follows. Whoever waited on an old epoch must be told when the epoch is new, and fetching must begin anew.
    Follows {
        /// Whether the leader epoch rose.
        new_epoch: bool,
        /// Whom it follows, if there is a leader.
        leader: Option<BrokerId>,
    },
}

/// What must be done after a change, beside what every append does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// The high watermark rose to this: whoever waits for it can be answered.
    pub high_watermark: Option<Offset>,
    /// Ask the controller for these in-sync replicas.
    pub propose: Option<IsrProposal>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The answer is to nothing that is in flight: newer metadata or another epoch came first.
    Late,
    /// More in-sync replicas are committed. The high watermark must be looked at again ([`PartitionState::reconsider`]).
    Committed,
    /// It was refused and is forgotten. The high watermark must be looked at again.
    RolledBack,
    /// It may have been applied; newer metadata will say.
    AwaitsMetadata,
    /// The same proposal must be sent again.
    Repeat(IsrProposal),
}

/// One replica of a partition.
#[derive(Clone, Debug)]
pub struct PartitionState {
    local: BrokerId,
    lag_max: Duration,
    join_floor: JoinFloor,
    role: Role,
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    replicas: Vec<BrokerId>,
    min_insync_replicas: usize,
    log_start_offset: Offset,
    log_end_offset: Offset,
    high_watermark: Offset,
}

/// The high watermark that a replica starts with: a checkpoint is a hint, which may be behind the log or ahead of it
/// (`UnifiedLog.updateHighWatermark`).
pub fn initial_high_watermark(checkpoint: Offset, log_start_offset: Offset, log_end_offset: Offset) -> Offset {
    checkpoint.clamp(log_start_offset, log_end_offset)
}

impl PartitionState {
    /// A replica whose log was just loaded or created, and which no metadata has spoken of yet.
    pub fn new(
        local: BrokerId,
        lag_max: Duration,
        join_floor: JoinFloor,
        log: (Offset, Offset),
        high_watermark: Offset,
    ) -> Self {
        let (log_start_offset, log_end_offset) = log;
        Self {
            local,
            lag_max,
            join_floor,
            role: Role::Follower,
            leader: None,
            leader_epoch: LeaderEpoch::UNKNOWN,
            partition_epoch: PartitionEpoch(-1),
            replicas: Vec::new(),
            min_insync_replicas: 1,
            log_start_offset,
            log_end_offset,
            high_watermark,
        }
    }

    /// The role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Whether it leads and serves as leader.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The leader, if the metadata names one.
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    /// The leader epoch of the newest metadata seen.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The partition epoch of the newest metadata seen, or committed by the controller on this leader's proposal.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// One past the last committed offset, as far as this replica knows.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset kept.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// One past the last record.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// The followers' account, while this replica leads.
    pub fn in_sync(&self) -> Option<&InSync> {
        match &self.role {
            Role::Leader(in_sync) => Some(in_sync),
            Role::Follower | Role::Becoming(_) | Role::Offline => None,
        }
    }

    /// How many replicas must be in sync for acks=all: `min.insync.replicas`, or all replicas where that asks for more
    /// (`Partition.effectiveMinIsr`).
    pub fn effective_min_isr(&self) -> usize {
        self.min_insync_replicas.min(self.replicas.len().max(1))
    }

    /// Takes the topic's `min.insync.replicas`. The high watermark must be looked at again ([`Self::reconsider`]).
    pub fn set_min_insync_replicas(&mut self, min_insync_replicas: usize) {
        self.min_insync_replicas = min_insync_replicas;
    }

    /// Takes what the metadata says (`Partition.makeLeader`, `Partition.makeFollower`).
    ///
    /// An older partition epoch changes nothing. The same one may come after the answer to the proposal that made it, and
    /// must not make us forget a proposal that was sent since. Followers' progress is forgotten when the leader epoch
    /// rises, always and only then.
    pub fn on_metadata(&mut self, update: &PartitionUpdate<'_>, now: MonotonicMillis) -> Transition {
        let offline = matches!(self.role, Role::Offline);
        if offline || update.partition_epoch < self.partition_epoch || update.leader_epoch < self.leader_epoch {
            return Transition::Ignored;
        }
        let newer = update.partition_epoch > self.partition_epoch;
        let new_epoch = update.leader_epoch > self.leader_epoch;
        self.partition_epoch = update.partition_epoch;
        self.leader_epoch = update.leader_epoch;
        self.leader = update.leader;
        self.replicas = update.replicas.to_vec();
        if update.leader != Some(self.local) {
            self.role = Role::Follower;
            return Transition::Follows { new_epoch, leader: update.leader };
        }
        if new_epoch {
            let start = self.log_end_offset;
            let mut in_sync = InSync::new(self.local, self.lag_max, start, self.join_floor);
            in_sync.assign(update.replicas, update.isr, now);
            self.role = Role::Becoming(in_sync);
            return Transition::Elected { leader_epoch: update.leader_epoch, start };
        }
        let in_sync = match &mut self.role {
            Role::Becoming(in_sync) | Role::Leader(in_sync) => in_sync,
            Role::Follower | Role::Offline => panic!("leadership moved to {} within {}", self.local, self.leader_epoch),
        };
        if newer {
            in_sync.forget_in_flight();
        }
        in_sync.assign(update.replicas, update.isr, now);
        Transition::StillLeads
    }

    /// The first offset of `leader_epoch` is durable: the replica leads from now on. Nothing when the epoch is over
    /// already.
    pub fn on_epoch_durable(
        &mut self,
        leader_epoch: LeaderEpoch,
        now: MonotonicMillis,
        brokers: &impl Brokers,
    ) -> Option<Effects> {
        if self.leader_epoch != leader_epoch || !matches!(self.role, Role::Becoming(_)) {
            return None;
        }
        let Role::Becoming(in_sync) = std::mem::replace(&mut self.role, Role::Follower) else { return None };
        self.role = Role::Leader(in_sync);
        Some(self.reconsider(now, brokers))
    }

    /// The log failed: nothing is served any more.
    pub fn go_offline(&mut self) {
        self.role = Role::Offline;
    }

    /// Whether a produce may be appended, and in which leader epoch (`Partition.appendRecordsToLeader`).
    ///
    /// # Errors
    /// Not the leader; or acks=all and too few in sync, in this order.
    pub fn check_append(&self, acks_all: bool) -> Result<LeaderEpoch, AppendRefusal> {
        let in_sync = match &self.role {
            Role::Leader(in_sync) => in_sync.isr().len(),
            Role::Follower | Role::Becoming(_) => return Err(AppendRefusal::NotLeader),
            Role::Offline => return Err(AppendRefusal::Offline),
        };
        let effective_min_isr = self.effective_min_isr();
        if acks_all && in_sync < effective_min_isr {
            return Err(AppendRefusal::NotEnoughReplicas { in_sync, effective_min_isr });
        }
        Ok(self.leader_epoch)
    }

    /// Whether a batch that is below the high watermark may be acknowledged with acks=all: enough replicas must be in sync
    /// still (`Partition.checkEnoughReplicasReachOffset`).
    pub fn may_acknowledge(&self) -> bool {
        self.in_sync().is_some_and(|in_sync| in_sync.maximal_isr_size() >= self.effective_min_isr())
    }

    /// The leader appended: its log ends here now. Returns the high watermark if it rose, which it does when the leader
    /// alone is in sync.
    pub fn on_leader_append(
        &mut self,
        log_end_offset: Offset,
        now: MonotonicMillis,
        brokers: &impl Brokers,
    ) -> Option<Offset> {
        assert!(self.is_leader(), "only a leader appends, this is {:?}", self.role);
        assert!(log_end_offset >= self.log_end_offset, "{log_end_offset} >= {}", self.log_end_offset);
        self.log_end_offset = log_end_offset;
        self.advance_high_watermark(now, brokers)
    }

    /// What a fetch gets. The checks, and their order, are Kafka's: epoch, role, who asks, where, and whether the logs
    /// agree (`Partition.fetchRecords`, `readRecords`; KAFKA-12996 for the order of the last two).
    ///
    /// `end_of` is the log's [`EpochEnd`] for an epoch. A follower may answer consumers below its own high watermark only;
    /// past that it cannot tell what exists and never says that an offset is out of range (KIP-392).
    ///
    /// # Errors
    /// See [`FetchRefusal`].
    pub fn plan_fetch(
        &self,
        position: &FetchPosition,
        reader: &Reader,
        last_stable_offset: Offset,
        end_of: impl FnOnce(LeaderEpoch) -> Option<EpochEnd>,
        brokers: &impl Brokers,
    ) -> Result<FetchPlan, FetchRefusal> {
        self.check_reader(position, reader, brokers)?;
        let offset = position.fetch_offset;
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
        let out_of_range = FetchRefusal::OffsetOutOfRange { offset, log_start_offset, log_end_offset };
        let not_available = FetchRefusal::OffsetNotAvailable { offset, high_watermark: self.high_watermark };
        if offset < log_start_offset {
            return Err(out_of_range);
        }
        let leads = self.is_leader();
        if !leads && offset > self.high_watermark {
            return Err(not_available);
        }
        // S06 of the bug zoo: a leader that does not know yet what is committed calls a reader lost that is ahead of it.
        if runtime::mutant!("S06") && matches!(reader, Reader::Consumer { .. }) && offset > self.high_watermark {
            runtime::mutant_diverged!("S06");
            return Err(out_of_range);
        }
        if let Some(last_fetched_epoch) = position.last_fetched_epoch {
            let end = end_of(last_fetched_epoch).ok_or(if leads { out_of_range } else { not_available })?;
            if end.leader_epoch < last_fetched_epoch || end.end_offset < offset {
                return Ok(FetchPlan::Diverges(end));
            }
        }
        if offset > log_end_offset {
            return Err(out_of_range);
        }
        Ok(FetchPlan::Read { upto: self.upper_bound(reader, last_stable_offset) })
    }

    /// Nothing at or past this may be sent to the reader.
    pub fn upper_bound(&self, reader: &Reader, last_stable_offset: Offset) -> Offset {
        match reader {
            Reader::Follower(_) => self.log_end_offset,
            // S04 of the bug zoo: a consumer reads what may be cut again.
            Reader::Consumer { .. } if runtime::mutant!("S04") => {
                if self.high_watermark < self.log_end_offset {
                    runtime::mutant_diverged!("S04");
                }
                self.log_end_offset
            }
            Reader::Consumer { isolation: Isolation::ReadUncommitted, .. } => self.high_watermark,
            Reader::Consumer { isolation: Isolation::ReadCommitted, .. } => last_stable_offset.min(self.high_watermark),
        }
    }

    fn check_reader(
        &self,
        position: &FetchPosition,
        reader: &Reader,
        brokers: &impl Brokers,
    ) -> Result<(), FetchRefusal> {
        self.check_position(position, reader)?;
        if let (Reader::Follower(fetch), Some(in_sync)) = (reader, self.in_sync()) {
            let follower = fetch.follower;
            if !in_sync.is_follower(follower) {
                let named_epoch = position.current_leader_epoch.is_some();
                return Err(FetchRefusal::UnknownReplica { follower, named_epoch });
            }
            if in_sync.is_stale(follower, fetch.broker_epoch, brokers) {
                return Err(FetchRefusal::StaleBrokerEpoch { follower });
            }
        }
        Ok(())
    }

    /// Whether a fetch is of the current leader epoch, and may be answered here: see [`Self::check_epoch`].
    ///
    /// # Errors
    /// As there.
    pub fn check_position(&self, position: &FetchPosition, reader: &Reader) -> Result<(), FetchRefusal> {
        let leader_only = !matches!(reader, Reader::Consumer { leader_only: false, .. });
        let asked = position.current_leader_epoch;
        // Z03 of the bug zoo is the rule before KIP-320: a follower's fetch counts whatever epoch it is in.
        if runtime::mutant!("Z03") && matches!(reader, Reader::Follower(_)) {
            if self.is_leader() && asked.is_some_and(|asked| asked != self.leader_epoch) {
                runtime::mutant_diverged!("Z03");
            }
            return self.check_epoch(None, leader_only);
        }
        self.check_epoch(asked, leader_only)
    }

    /// Whether the sender and this replica agree on the leader epoch, and whether this replica leads if it must
    /// (`Partition.getLocalLog`). What counts a follower's progress stands on this: it only ever counts in the current
    /// leader epoch (KIP-320).
    ///
    /// # Errors
    /// A fenced or unknown epoch, not the leader, offline.
    pub fn check_epoch(&self, asked: Option<LeaderEpoch>, leader_only: bool) -> Result<(), FetchRefusal> {
        let current = self.leader_epoch;
        match &self.role {
            Role::Offline => return Err(FetchRefusal::Offline),
            Role::Follower | Role::Becoming(_) | Role::Leader(_) => {}
        }
        match asked {
            Some(asked) if asked < current => Err(FetchRefusal::FencedLeaderEpoch { asked, current }),
            Some(asked) if asked > current => Err(FetchRefusal::UnknownLeaderEpoch { asked, current }),
            _ if leader_only && !self.is_leader() => Err(FetchRefusal::NotLeader),
            _ => Ok(()),
        }
    }

    /// Whether this leader may yet lag behind what an earlier one committed: then it does not know the newest committed
    /// offset (KIP-207).
    pub fn has_stale_high_watermark(&self) -> bool {
        self.in_sync().is_some_and(|in_sync| self.high_watermark < in_sync.epoch_start())
    }

    /// Counts a follower's fetch that was found to agree with the log, and was read up to the present log end
    /// (`Partition.updateFollowerFetchState`).
    pub fn on_follower_fetch(
        &mut self,
        fetch: &FollowerFetch,
        now: MonotonicMillis,
        brokers: &impl Brokers,
    ) -> Effects {
        let log_end_offset = self.log_end_offset;
        let Role::Leader(in_sync) = &mut self.role else { return Effects::default() };
        let before = in_sync.log_end_offset_of(fetch.follower);
        in_sync.on_fetch(fetch, log_end_offset, now);
        let moved = before != Some(fetch.fetch_offset);
        let high_watermark = if moved { self.advance_high_watermark(now, brokers) } else { None };
        Effects { high_watermark, propose: self.propose_expansion(now, brokers) }
    }

    /// The leader's records were appended to this follower's log, which ends at `log_end_offset` now; the leader's high
    /// watermark is `high_watermark`. Returns this replica's own if it rose (`ReplicaFetcherThread.processPartitionData`).
    ///
    /// It never goes back here, although a new leader may know less at first: what was committed stays committed.
    pub fn on_follower_append(&mut self, log_end_offset: Offset, high_watermark: Offset) -> Option<Offset> {
        assert!(matches!(self.role, Role::Follower), "only a follower copies, this is {:?}", self.role);
        assert!(log_end_offset >= self.log_end_offset, "{log_end_offset} >= {}", self.log_end_offset);
        self.log_end_offset = log_end_offset;
        self.raise_high_watermark(high_watermark.min(log_end_offset))
    }

    /// The log was cut, and ends at `log_end_offset` now; a cut below its start moves that down too.
    pub fn on_truncated(&mut self, log_start_offset: Offset, log_end_offset: Offset) {
        assert!(matches!(self.role, Role::Follower), "only a follower truncates, this is {:?}", self.role);
        assert!(log_end_offset <= self.log_end_offset, "{log_end_offset} <= {}", self.log_end_offset);
        assert!(log_start_offset <= log_end_offset, "{log_start_offset} <= {log_end_offset}");
        self.log_start_offset = log_start_offset;
        self.log_end_offset = log_end_offset;
        self.high_watermark = self.high_watermark.min(log_end_offset);
    }

    /// The log was emptied, and begins and ends at `offset` now.
    pub fn on_restarted_at(&mut self, offset: Offset) {
        assert!(matches!(self.role, Role::Follower), "only a follower starts anew, this is {:?}", self.role);
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.high_watermark = offset;
    }

    /// The first kept offset rose.
    pub fn on_log_start(&mut self, log_start_offset: Offset) {
        assert!(log_start_offset >= self.log_start_offset, "{log_start_offset} >= {}", self.log_start_offset);
        assert!(log_start_offset <= self.log_end_offset, "{log_start_offset} <= {}", self.log_end_offset);
        self.log_start_offset = log_start_offset;
        self.high_watermark = self.high_watermark.max(log_start_offset);
    }

    /// Time passed: members that lag are to leave the ISR. The high watermark must be looked at again
    /// ([`Self::reconsider`]), for a follower that no longer catches up holds nothing back.
    pub fn on_tick(&mut self, now: MonotonicMillis) -> Option<IsrProposal> {
        let Role::Leader(in_sync) = &mut self.role else { return None };
        in_sync.propose_shrink(self.leader_epoch, self.partition_epoch, self.log_end_offset, now)
    }

    /// Takes the controller's answer to a proposal (`Partition.submitAlterPartition`). See [`Answered`] for what must
    /// follow.
    ///
    /// That fewer are in sync is learned from the metadata, which also says, and earlier, how many must be: the answer may
    /// overtake a raised `min.insync.replicas`, and the high watermark would pass whoever the controller keeps eligible
    /// because of it (KIP-966: it moves only while enough are in sync).
    pub fn on_isr_answer(
        &mut self,
        id: ProposalId,
        leader_epoch: LeaderEpoch,
        answer: &IsrAnswer,
        now: MonotonicMillis,
    ) -> Answered {
        let local = self.local;
        let Role::Leader(in_sync) = &mut self.role else { return Answered::Late };
        let Some(proposal) = in_sync.in_flight(id).filter(|proposal| proposal.leader_epoch == leader_epoch) else {
            return Answered::Late;
        };
        match answer {
            IsrAnswer::Committed { leader_epoch, partition_epoch, isr } => {
                let current = *leader_epoch == self.leader_epoch && *partition_epoch >= self.partition_epoch;
                if !current || !isr.contains(&local) {
                    return Answered::AwaitsMetadata;
                }
                let shrinks = isr.len() < in_sync.isr().len();
                // S11 of the bug zoo takes every answer at its word, as Kafka does.
                if shrinks && !runtime::mutant!("S11") {
                    return Answered::AwaitsMetadata;
                }
                if shrinks {
                    runtime::mutant_diverged!("S11");
                }
                in_sync.commit(isr.clone());
                self.partition_epoch = *partition_epoch;
                Answered::Committed
            }
            IsrAnswer::Refused(error) => match refusal(*error) {
                Refusal::NotApplied => {
                    in_sync.roll_back(now);
                    Answered::RolledBack
                }
                Refusal::MetadataBehind => Answered::AwaitsMetadata,
                Refusal::Repeat => Answered::Repeat(proposal.clone()),
            },
        }
    }

    /// Looks again at how far the high watermark may go, and then at who may join the ISR: a member that was just dropped
    /// must first reach what it held back. Costs little when nothing changed.
    pub fn reconsider(&mut self, now: MonotonicMillis, brokers: &impl Brokers) -> Effects {
        let high_watermark = self.advance_high_watermark(now, brokers);
        Effects { high_watermark, propose: self.propose_expansion(now, brokers) }
    }

    /// Looks again at who may join the ISR only.
    pub fn propose_expansion(&mut self, now: MonotonicMillis, brokers: &impl Brokers) -> Option<IsrProposal> {
        let Role::Leader(in_sync) = &mut self.role else { return None };
        in_sync.propose_expansion(self.leader_epoch, self.partition_epoch, self.high_watermark, now, brokers)
    }

    /// Raises the high watermark as far as every replica has come that is, may be, or is about to be in sync, while enough
    /// are in sync (`Partition.maybeIncrementLeaderHW`, KAFKA-15583).
    fn advance_high_watermark(&mut self, now: MonotonicMillis, brokers: &impl Brokers) -> Option<Offset> {
        let in_sync = self.in_sync()?;
        if self.high_watermark >= self.log_end_offset {
            return None;
        }
        let enough = in_sync.isr().len() >= self.effective_min_isr();
        // Z06 of the bug zoo is the rule before KAFKA-15583.
        if !enough && !runtime::mutant!("Z06") {
            return None;
        }
        let replicated_to = in_sync.replicated_to(self.log_end_offset, now, brokers);
        if !enough && replicated_to > self.high_watermark {
            runtime::mutant_diverged!("Z06");
        }
        assert!(replicated_to <= self.log_end_offset, "{replicated_to} <= {}", self.log_end_offset);
        self.raise_high_watermark(replicated_to)
    }

    fn raise_high_watermark(&mut self, to: Offset) -> Option<Offset> {
        (to > self.high_watermark).then(|| {
            self.high_watermark = to;
            to
        })
    }

    /// The committed in-sync replicas, empty unless this replica leads.
    pub fn isr(&self) -> BTreeSet<BrokerId> {
        self.in_sync().map(|in_sync| in_sync.isr().clone()).unwrap_or_default()
    }

    /// The maximal in-sync replicas, empty unless this replica leads.
    pub fn maximal_isr(&self) -> BTreeSet<BrokerId> {
        self.in_sync().map(InSync::maximal_isr).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
