//! Pure. Where a consumer is in each partition that it was assigned, and what it has to ask before it can go on.
//!
//! A position moves when records are taken, when its user seeks, and when the reset policy says so for data that is gone. It
//! never moves because a leader changed: then it is validated, and a log that has been truncated below it is reported (KIP-320,
//! as `SubscriptionState` and `OffsetFetcher`; stricter in that no policy hides a truncation). Driven by `consumer`.

use crate::PartitionName;
use crate::cluster::Leader;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, MonotonicMillis, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where to begin when there is no position, or its data is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetTo {
    /// At the first offset that the log still has.
    Earliest,
    /// Behind the last record.
    Latest,
    /// At the first record that is not older than this (`by_duration`, KIP-1106); behind the last one if all are.
    ByDuration(Duration),
}

/// The next record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch of the record before it, as far as is known: what the position is validated by.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Why a partition cannot be read on without its user. It rests until a seek.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The log was truncated below the position: records that were read have been lost, and others may stand at their offsets.
    #[error("the log was truncated below offset {}", position.offset)]
    Truncated {
        /// Where the consumer was.
        position: Position,
        /// The leader epoch and the offset up to which the log is as it was, as far as the leader knows.
        diverges_at: Option<(LeaderEpoch, Offset)>,
    },
    /// The offset is not in the log, and the policy is to do nothing about it.
    #[error("offset {offset} is out of range")]
    OutOfRange {
        /// Where the consumer was.
        offset: Offset,
    },
    /// There is no position to begin at, and the policy is to do nothing about it.
    #[error("no position to begin at")]
    NoPosition,
    /// The cluster refuses, and would again.
    #[error("{0}")]
    Refused(ErrorCode),
}

/// Names one question about one partition. The answer counts only while nothing else has happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A question to a partition's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// About which partition.
    pub partition: PartitionName,
    /// To hand in with the answer.
    pub ticket: Ticket,
    /// Whom to ask.
    pub leader: Leader,
    /// What to ask.
    pub question: Question,
}

/// What to ask a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where the log begins or ends (ListOffsets).
    Offset(ResetTo),
    /// Where this leader epoch ends (OffsetForLeaderEpoch).
    EpochEnd(LeaderEpoch),
    /// The records from here (Fetch).
    Records(Position),
}

/// What to ask now.
#[derive(Debug)]
pub struct Plan {
    /// Questions, in the order of partitions.
    pub errands: Vec<Errand>,
    /// Look again then, if nothing happens before.
    pub wake_at: Option<MonotonicMillis>,
    /// Some partition has no known leader.
    pub wants_leader: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for what the group has committed.
    Awaiting,
    Resetting(ResetTo),
    Validating {
        position: Position,
        /// The position is known to be out of range: what to do if it proves not to be truncated.
        out_of_range: bool,
    },
    Fetching(Position),
    /// Waits for a seek; the reason has been handed out.
    Resting,
}

#[derive(Debug)]
struct Tracked {
    ticket: Ticket,
    state: State,
    /// A question is under way, or its records are not all taken.
    is_busy: bool,
    /// Its user wants no records of it at the moment.
    is_paused: bool,
    /// The newest leader epoch under which the position is known to be good.
    validated_in: LeaderEpoch,
    retry_at: MonotonicMillis,
    /// The leader epoch that was asked last.
    asked_in: LeaderEpoch,
    /// Who was asked for the records that it is busy with.
    fetched_from: Option<BrokerId>,
}

/// Every assigned partition.
#[derive(Debug)]
pub struct Positions {
    reset: Option<ResetTo>,
    partitions: BTreeMap<PartitionName, Tracked>,
    fetching: BTreeSet<BrokerId>,
    ticket_next: u64,
    failures: Vec<(PartitionName, PositionError)>,
}

impl Positions {
    /// Nothing assigned yet. `reset` is the policy, `auto.offset.reset`; nothing means `none`.
    pub fn new(reset: Option<ResetTo>) -> Self {
        Self { reset, partitions: BTreeMap::new(), fetching: BTreeSet::new(), ticket_next: 0, failures: Vec::new() }
    }

    /// Replaces the assignment. Partitions that stay keep their position, new ones begin as the policy says.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = PartitionName>) {
        self.replace(partitions, Self::begin);
    }

    /// As [`Positions::assign`], for a member of a group: new partitions wait for what the group has committed.
    pub fn assign_committed(&mut self, partitions: impl IntoIterator<Item = PartitionName>) {
        self.replace(partitions, |positions, partition| positions.set(&partition, State::Awaiting));
    }

    fn replace(
        &mut self,
        partitions: impl IntoIterator<Item = PartitionName>,
        begin: impl Fn(&mut Self, PartitionName),
    ) {
        let mut before = std::mem::take(&mut self.partitions);
        for partition in partitions {
            match before.remove(&partition) {
                Some(tracked) => drop(self.partitions.insert(partition, tracked)),
                None => begin(self, partition),
            }
        }
        let assigned = &self.partitions;
        self.failures.retain(|(partition, _)| assigned.contains_key(partition));
    }

    fn begin(&mut self, partition: PartitionName) {
        let state = match self.reset {
            Some(reset) => State::Resetting(reset),
            None => {
                self.failures.push((partition.clone(), PositionError::NoPosition));
                State::Resting
            }
        };
        self.set(&partition, state);
    }

    /// The assigned partitions.
    pub fn assignment(&self) -> impl Iterator<Item = &PartitionName> {
        self.partitions.keys()
    }

    /// Goes to an offset. With the leader epoch of the record before it, the position is validated first.
    ///
    /// False when the partition is not assigned.
    pub fn seek(&mut self, partition: &PartitionName, position: Position) -> bool {
        let state = match position.leader_epoch {
            Some(_) => State::Validating { position, out_of_range: false },
            None => State::Fetching(position),
        };
        self.seek_in(partition, state)
    }

    /// Goes to the beginning or the end, as the leader says where that is. False when the partition is not assigned.
    pub fn seek_to(&mut self, partition: &PartitionName, to: ResetTo) -> bool {
        self.seek_in(partition, State::Resetting(to))
    }

    fn seek_in(&mut self, partition: &PartitionName, state: State) -> bool {
        let is_assigned = self.partitions.contains_key(partition);
        if is_assigned {
            self.failures.retain(|(failed, _)| failed != partition);
            self.set(partition, state);
        }
        is_assigned
    }

    fn set(&mut self, partition: &PartitionName, state: State) {
        self.ticket_next += 1;
        let is_paused = self.partitions.get(partition).is_some_and(|tracked| tracked.is_paused);
        let tracked = Tracked {
            ticket: Ticket(self.ticket_next),
            state,
            is_busy: false,
            is_paused,
            validated_in: LeaderEpoch::UNKNOWN,
            retry_at: MonotonicMillis(0),
            asked_in: LeaderEpoch::UNKNOWN,
            fetched_from: None,
        };
        self.partitions.insert(partition.clone(), tracked);
    }

    /// The next offset that will be read; nothing while it is not known.
    pub fn position(&self, partition: &PartitionName) -> Option<Position> {
        match self.partitions.get(partition)?.state {
            State::Fetching(position) | State::Validating { position, .. } => Some(position),
            State::Awaiting | State::Resetting(_) | State::Resting => None,
        }
    }

    /// Wants no records of a partition until [`Positions::resume`]; what has arrived of it is fetched again then. False when it
    /// is not assigned.
    pub fn pause(&mut self, partition: &PartitionName) -> bool {
        let Some(tracked) = self.partitions.get_mut(partition) else { return false };
        if !tracked.is_paused {
            tracked.is_paused = true;
            if matches!(tracked.state, State::Fetching(_)) {
                self.ticket_next += 1;
                tracked.ticket = Ticket(self.ticket_next);
                tracked.is_busy = false;
                tracked.fetched_from = None;
            }
        }
        true
    }

    /// Wants records of a partition again. False when it is not assigned.
    pub fn resume(&mut self, partition: &PartitionName) -> bool {
        self.partitions.get_mut(partition).map(|tracked| tracked.is_paused = false).is_some()
    }

    /// The paused partitions, in order.
    pub fn paused(&self) -> impl Iterator<Item = &PartitionName> {
        self.partitions.iter().filter(|(_, tracked)| tracked.is_paused).map(|(partition, _)| partition)
    }

    /// What to commit: where each partition is that is known to be somewhere.
    pub fn consumed(&self) -> impl Iterator<Item = (&PartitionName, Position)> {
        let ahead = i64::from(runtime::mutant!("S24"));
        self.partitions.keys().filter_map(move |partition| {
            let position = self.position(partition)?;
            if ahead > 0 {
                runtime::mutant_diverged!("S24");
            }
            Some((partition, Position { offset: position.offset.plus(ahead), ..position }))
        })
    }

    /// The partitions to ask the group's coordinator about at `now`, and when to look again if there are others.
    pub fn plan_committed(&mut self, now: MonotonicMillis) -> (Vec<(PartitionName, Ticket)>, Option<MonotonicMillis>) {
        let (mut asked, mut wake_at) = (Vec::new(), None);
        let awaiting = self.partitions.iter_mut();
        for (partition, tracked) in awaiting.filter(|(_, tracked)| tracked.state == State::Awaiting && !tracked.is_busy)
        {
            if now < tracked.retry_at {
                wake_at = Some(wake_at.map_or(tracked.retry_at, |at: MonotonicMillis| at.min(tracked.retry_at)));
                continue;
            }
            tracked.is_busy = true;
            asked.push((partition.clone(), tracked.ticket));
        }
        (asked, wake_at)
    }

    /// The coordinator said where the group is in a partition, nothing when it has committed nothing: then it begins as the
    /// policy says.
    pub fn committed_told(&mut self, partition: &PartitionName, ticket: Ticket, committed: Option<Position>) {
        if !self.is_current(partition, ticket) {
            return;
        }
        match committed {
            Some(position) => drop(self.seek(partition, position)),
            None => self.begin(partition.clone()),
        }
    }

    /// What to ask at `now`, where `leader` says who leads a partition.
    pub fn plan(&mut self, now: MonotonicMillis, mut leader: impl FnMut(&PartitionName) -> Option<Leader>) -> Plan {
        let mut plan = Plan { errands: Vec::new(), wake_at: None, wants_leader: false };
        let mut fetching_from = BTreeSet::new();
        // While records of one partition wait to be taken, its leader is not asked about the others: that fetch could find
        // nothing, wait, and hold back the next one about the first (as `AbstractFetch` since KAFKA-17182).
        let busy = self.partitions.values().filter(|tracked| tracked.is_busy);
        let untaken: BTreeSet<BrokerId> = busy.filter_map(|tracked| tracked.fetched_from).collect();
        for (partition, tracked) in &mut self.partitions {
            if tracked.is_busy || matches!(tracked.state, State::Resting | State::Awaiting) {
                continue;
            }
            let Some(leader) = leader(partition).filter(|leader| tracked.can_be_judged_by(*leader)) else {
                plan.wants_leader = true;
                continue;
            };
            if now < tracked.retry_at && leader.leader_epoch <= tracked.asked_in {
                plan.wake_at = Some(plan.wake_at.map_or(tracked.retry_at, |at| at.min(tracked.retry_at)));
                continue;
            }
            let question = tracked.question(leader);
            if matches!(question, Question::Records(_)) {
                if tracked.is_paused {
                    continue;
                }
                if self.fetching.contains(&leader.broker) || untaken.contains(&leader.broker) {
                    continue;
                }
                fetching_from.insert(leader.broker);
            }
            tracked.is_busy = true;
            tracked.asked_in = leader.leader_epoch;
            tracked.fetched_from = matches!(question, Question::Records(_)).then_some(leader.broker);
            plan.errands.push(Errand { partition: partition.clone(), ticket: tracked.ticket, leader, question });
        }
        self.fetching.append(&mut fetching_from);
        plan
    }

    /// A fetch request to `broker` has been answered, or has failed.
    pub fn fetch_ended(&mut self, broker: BrokerId) {
        self.fetching.remove(&broker);
    }

    /// Whether an answer to this ticket still counts.
    pub fn is_current(&self, partition: &PartitionName, ticket: Ticket) -> bool {
        self.partitions.get(partition).is_some_and(|tracked| tracked.ticket == ticket)
    }

    fn current(&mut self, partition: &PartitionName, ticket: Ticket) -> Option<&mut Tracked> {
        self.partitions.get_mut(partition).filter(|tracked| tracked.ticket == ticket)
    }

    /// The leader said where the log begins or ends.
    pub fn offset_told(&mut self, partition: &PartitionName, ticket: Ticket, offset: Offset) {
        let Some(tracked) = self.current(partition, ticket) else { return };
        tracked.is_busy = false;
        // The epoch that ListOffsets names is of the record at the offset, not of the one before: it validates nothing.
        tracked.state = State::Fetching(Position { offset, leader_epoch: None });
        tracked.validated_in = tracked.asked_in;
    }

    /// The leader has no record as late as was asked: the next one comes behind the last.
    pub fn nothing_so_late(&mut self, partition: &PartitionName, ticket: Ticket) {
        if self.is_current(partition, ticket) {
            self.set(partition, State::Resetting(ResetTo::Latest));
        }
    }

    /// The leader said where the position's leader epoch ends in its log; `end` is nothing when it does not know the epoch.
    pub fn epoch_end_told(&mut self, partition: &PartitionName, ticket: Ticket, end: Option<(LeaderEpoch, Offset)>) {
        let reset = self.reset;
        let Some(tracked) = self.current(partition, ticket) else { return };
        tracked.is_busy = false;
        let State::Validating { position, out_of_range } = tracked.state else { return };
        let asked = position.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN);
        let is_good = end.is_some_and(|(leader_epoch, offset)| leader_epoch >= asked && offset >= position.offset);
        if !is_good {
            return self.fail(partition, PositionError::Truncated { position, diverges_at: end });
        }
        match (out_of_range, reset) {
            (false, _) => {
                tracked.validated_in = tracked.asked_in;
                tracked.state = State::Fetching(position);
            }
            (true, Some(reset)) => tracked.state = State::Resetting(reset),
            (true, None) => self.fail(partition, PositionError::OutOfRange { offset: position.offset }),
        }
    }

    /// The leader says that its log parted from the position's at this point (`diverging_epoch` of a fetch).
    pub fn diverged(&mut self, partition: &PartitionName, ticket: Ticket, at: (LeaderEpoch, Offset)) {
        if !self.is_current(partition, ticket) {
            return;
        }
        let Some(position) = self.position(partition) else { return };
        self.fail(partition, PositionError::Truncated { position, diverges_at: Some(at) });
    }

    /// The leader answered with an error, or not at all (`None`). Ask again after `wait_ms`, unless there is a newer leader.
    /// True when newer metadata may help.
    pub fn failed(
        &mut self,
        partition: &PartitionName,
        ticket: Ticket,
        code: Option<ErrorCode>,
        now: MonotonicMillis,
        wait_ms: u64,
    ) -> bool {
        let reset = self.reset;
        let Some(tracked) = self.current(partition, ticket) else { return false };
        tracked.is_busy = false;
        tracked.retry_at = now.plus(wait_ms);
        match (code, tracked.state) {
            (Some(ErrorCode::OffsetOutOfRange), State::Fetching(position)) => {
                if position.leader_epoch.is_some() {
                    // Gone by retention, or by truncation? Only the first is what the policy is for.
                    tracked.state = State::Validating { position, out_of_range: true };
                } else if let Some(reset) = reset {
                    tracked.state = State::Resetting(reset);
                } else {
                    self.fail(partition, PositionError::OutOfRange { offset: position.offset });
                    return false;
                }
                tracked_retry_now(self.current(partition, ticket));
                false
            }
            (Some(code), _) if is_refusal(code) => {
                self.fail(partition, PositionError::Refused(code));
                false
            }
            (Some(ErrorCode::OffsetNotAvailable), _) => false,
            (Some(_) | None, _) => true,
        }
    }

    /// Nothing came of the question, and nothing is wrong: a fetch without records.
    pub fn nothing_new(&mut self, partition: &PartitionName, ticket: Ticket) {
        if let Some(tracked) = self.current(partition, ticket) {
            tracked.is_busy = false;
        }
    }

    /// Records up to `position` have been taken; `is_drained` when there are no more of this fetch. False when the ticket is
    /// no longer current: then they must not be handed out.
    pub fn taken(&mut self, partition: &PartitionName, ticket: Ticket, position: Position, is_drained: bool) -> bool {
        let Some(tracked) = self.current(partition, ticket) else { return false };
        let State::Fetching(before) = tracked.state else { return false };
        assert!(position.offset >= before.offset, "{} is before {}", position.offset, before.offset);
        tracked.state = State::Fetching(position);
        // They came from the leader of the epoch that was asked.
        tracked.validated_in = tracked.asked_in;
        tracked.is_busy = !is_drained;
        true
    }

    fn fail(&mut self, partition: &PartitionName, error: PositionError) {
        self.set(partition, State::Resting);
        self.failures.push((partition.clone(), error));
    }

    /// The oldest failure that has not been handed out yet. Its partition rests until a seek.
    pub fn next_failure(&mut self) -> Option<(PartitionName, PositionError)> {
        (!self.failures.is_empty()).then(|| self.failures.remove(0))
    }
}

/// A state that follows from an answer is acted on at once: the wait is for the same question again.
fn tracked_retry_now(tracked: Option<&mut Tracked>) {
    if let Some(tracked) = tracked {
        tracked.retry_at = MonotonicMillis(0);
    }
}

impl Tracked {
    /// Whether a leader may say if a position from elsewhere is good: one of an older leader epoch than the position's has not
    /// heard of it, and would call it truncated (`Metadata.updateLastSeenEpochIfNewer`).
    fn can_be_judged_by(&self, leader: Leader) -> bool {
        match self.state {
            State::Validating { position, out_of_range: false } if self.validated_in == LeaderEpoch::UNKNOWN => {
                leader.leader_epoch == LeaderEpoch::UNKNOWN
                    || position.leader_epoch.is_none_or(|leader_epoch| leader_epoch <= leader.leader_epoch)
            }
            State::Validating { .. } | State::Fetching(_) | State::Awaiting | State::Resetting(_) | State::Resting => {
                true
            }
        }
    }

    /// What to ask `leader`. A position that was good under an older leader epoch is validated first.
    fn question(&mut self, leader: Leader) -> Question {
        if let State::Fetching(position) = self.state
            && leader.leader_epoch > self.validated_in
            && position.leader_epoch.is_some()
        {
            self.state = State::Validating { position, out_of_range: false };
        }
        match self.state {
            State::Resetting(to) => Question::Offset(to),
            State::Fetching(position) => Question::Records(position),
            State::Validating { position, .. } => match position.leader_epoch {
                Some(leader_epoch) => Question::EpochEnd(leader_epoch),
                None => Question::Records(position),
            },
            State::Resting | State::Awaiting => unreachable!("its leader is not asked about it"),
        }
    }
}

/// Whether the cluster would say the same again.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::InvalidTopicException
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::InvalidRequest
    )
}

#[cfg(test)]
mod tests;
