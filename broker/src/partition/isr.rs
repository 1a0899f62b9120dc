//! Pure. The leader's account of its followers: how far each has come, who is in sync, and who should be.
//!
//! It never reads a log and never speaks to the controller: [`super::state`] tells it what happened, and carries what it
//! proposes. One account lasts one leader epoch: nothing of an earlier epoch may count in a later one.

use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, MonotonicMillis, Offset, PartitionEpoch};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the leader waits before it proposes a replica again that the controller has just called ineligible.
const EXPAND_PAUSE: Duration = Duration::from_millis(100);

/// What the cluster's metadata says of brokers, as far as being in sync depends on it (KIP-841, KIP-903).
pub trait Brokers {
    /// The epoch of the broker's registration, fenced or not.
    fn broker_epoch(&self, broker_id: BrokerId) -> Option<BrokerEpoch>;

    /// Whether the broker is registered, unfenced and not in controlled shutdown.
    fn is_active(&self, broker_id: BrokerId) -> bool;
}

/// What a follower says of itself when it fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who fetches.
    pub follower: BrokerId,
    /// Under which registration.
    pub broker_epoch: BrokerEpoch,
    /// Its log end offset: everything below is in its log.
    pub fetch_offset: Offset,
    /// The first offset that it keeps.
    pub log_start_offset: Offset,
    /// The high watermark that it knows; nothing in requests before version 18 (KIP-1166).
    pub high_watermark: Option<Offset>,
}

/// Names one proposal of one leader, so that a late answer to an earlier one is known for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalId(pub u64);

/// In-sync replicas that the leader asks the controller to commit (AlterPartition, KIP-497).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// Which proposal.
    pub id: ProposalId,
    /// The leader epoch that it is made in.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it builds on.
    pub partition_epoch: PartitionEpoch,
    /// The members, each with the broker epoch that it fetched under; unknown for the leader itself, and for a member that
    /// has not fetched in this leader epoch (KIP-903).
    pub members: Vec<(BrokerId, BrokerEpoch)>,
}

impl IsrProposal {
    /// The members' ids.
    pub fn isr(&self) -> BTreeSet<BrokerId> {
        self.members.iter().map(|(member, _)| *member).collect()
    }

    fn contains(&self, broker_id: BrokerId) -> bool {
        self.members.iter().any(|(member, _)| *member == broker_id)
    }
}

/// What the controller answered to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrAnswer {
    /// These are the committed in-sync replicas now.
    Committed {
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// At which partition epoch.
        partition_epoch: PartitionEpoch,
        /// Who is in sync.
        isr: BTreeSet<BrokerId>,
    },
    /// It refused, or it could not be asked.
    Refused(ErrorCode),
}

/// What a refusal means for the proposal (`Partition.handleAlterPartitionError`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was certainly not applied, now or ever: back to what is committed.
    NotApplied,
    /// It may have been applied, and our metadata is behind: it stays in flight until newer metadata arrives.
    MetadataBehind,
    /// It may have been applied or not: the same proposal is sent again.
    Repeat,
}

/// What the controller's error code says of a proposal.
pub fn refusal(error: ErrorCode) -> Refusal {
    match error {
        ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => Refusal::NotApplied,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::InvalidUpdateVersion
        | ErrorCode::InvalidRequest
        | ErrorCode::NewLeaderElected => Refusal::MetadataBehind,
        _ => Refusal::Repeat,
    }
}

/// What a follower must have reached before it may join the ISR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFloor {
    /// The high watermark and the first offset of the leader epoch: the rule.
    EpochStart,
    /// The high watermark only: the rule before KAFKA-7128, kept so that the checkers can be shown to notice.
    HighWatermark,
}

/// How far a follower has come in this leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    log_end_offset: Offset,
    log_start_offset: Offset,
    broker_epoch: BrokerEpoch,
    fetched_at: MonotonicMillis,
    /// The leader's log end offset at that fetch, or the highest at any fetch before.
    leader_end_at_fetch: Offset,
}

#[derive(Clone, Debug)]
struct Follower {
    broker_id: BrokerId,
    /// Nothing until it has fetched in this leader epoch.
    progress: Option<Progress>,
    /// The last moment at which it had, or was about to have, all that the leader had.
    caught_up_at: Option<MonotonicMillis>,
}

impl Follower {
    fn new(broker_id: BrokerId, caught_up_at: Option<MonotonicMillis>) -> Self {
        Self { broker_id, progress: None, caught_up_at }
    }

    /// Its log end offset as far as it counts: below every offset until it has fetched in this leader epoch.
    fn log_end_offset(&self) -> Offset {
        self.progress.map_or(Offset::UNKNOWN, |progress| progress.log_end_offset)
    }

    /// Whether it is no further behind than `lag_max` (`ReplicaState.isCaughtUp`).
    fn is_caught_up(&self, leader_end: Offset, now: MonotonicMillis, lag_max: Duration) -> bool {
        self.log_end_offset() == leader_end
            || self.caught_up_at.is_some_and(|at| Duration::from_millis(now.since(at)) <= lag_max)
    }
}

/// The followers of one partition in one leader epoch, as their leader sees them.
#[derive(Clone, Debug)]
pub struct InSync {
    local: BrokerId,
    lag_max: Duration,
    /// The first offset of the leader epoch.
    epoch_start: Offset,
    join_floor: JoinFloor,
    followers: Vec<Follower>,
    /// The committed in-sync replicas.
    isr: BTreeSet<BrokerId>,
    in_flight: Option<IsrProposal>,
    proposals: u64,
    /// No expansion before this.
    expand_from: MonotonicMillis,
}

impl InSync {
    /// The account at the start of a leader epoch, whose first offset is `epoch_start`: nobody has fetched yet.
    pub fn new(local: BrokerId, lag_max: Duration, epoch_start: Offset, join_floor: JoinFloor) -> Self {
        Self {
            local,
            lag_max,
            epoch_start,
            join_floor,
            followers: Vec::new(),
            isr: BTreeSet::new(),
            in_flight: None,
            proposals: 0,
            expand_from: MonotonicMillis(0),
        }
    }

    /// Takes what the metadata says of the partition in this leader epoch. Followers that are new and in sync count as
    /// caught up now; progress that was counted stays.
    ///
    /// # Panics
    /// When the leader is not among the replicas, or a member of the ISR is not.
    pub fn assign(&mut self, replicas: &[BrokerId], isr: &[BrokerId], now: MonotonicMillis) {
        assert!(replicas.contains(&self.local), "leader {} left the replicas {replicas:?}", self.local);
        self.followers.retain(|follower| replicas.contains(&follower.broker_id));
        for replica in replicas.iter().filter(|replica| **replica != self.local) {
            if !self.is_follower(*replica) {
                self.followers.push(Follower::new(*replica, isr.contains(replica).then_some(now)));
            }
        }
        self.followers.sort_by_key(|follower| follower.broker_id);
        self.isr = isr.iter().copied().collect();
        assert!(self.isr.iter().all(|member| replicas.contains(member)), "ISR {isr:?} is among replicas {replicas:?}");
    }

    /// Forgets the proposal in flight, for newer metadata has arrived: the proposal built on an older partition epoch, so
    /// it was applied before, or never will be.
    pub fn forget_in_flight(&mut self) {
        self.in_flight = None;
    }

    /// The committed in-sync replicas.
    pub fn isr(&self) -> &BTreeSet<BrokerId> {
        &self.isr
    }

    /// The committed in-sync replicas and those proposed: whichever of the two sets the controller holds, this holds it
    /// (KIP-497).
    pub fn maximal_isr(&self) -> BTreeSet<BrokerId> {
        let mut maximal = self.isr.clone();
        maximal.extend(self.in_flight.iter().flat_map(IsrProposal::isr));
        maximal
    }

    /// How many the maximal in-sync replicas are.
    pub fn maximal_isr_size(&self) -> usize {
        let proposed = self.in_flight.iter().flat_map(|proposal| &proposal.members);
        self.isr.len() + proposed.filter(|(member, _)| !self.isr.contains(member)).count()
    }

    /// Whether a proposal waits for its answer.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The first offset of the leader epoch.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The follower's log end offset, when it is a replica that has fetched in this leader epoch.
    pub fn log_end_offset_of(&self, follower: BrokerId) -> Option<Offset> {
        self.follower(follower)?.progress.map(|progress| progress.log_end_offset)
    }

    /// From where on a follower keeps the log, if it has fetched in this leader epoch.
    pub fn log_start_offset_of(&self, follower: BrokerId) -> Option<Offset> {
        self.follower(follower)?.progress.map(|progress| progress.log_start_offset)
    }

    /// The followers with their log end offsets, unknown ones as [`Offset::UNKNOWN`], in the order of ids.
    pub fn followers(&self) -> impl Iterator<Item = (BrokerId, Offset)> {
        self.followers.iter().map(|follower| (follower.broker_id, follower.log_end_offset()))
    }

    /// The lowest log start offset among the leader's and those of followers that are in touch
    /// (`Partition.lowWatermarkIfLeader`).
    pub fn low_watermark(&self, log_start_offset: Offset, brokers: &impl Brokers) -> Offset {
        // S08 of the bug zoo: records count as deleted once the leader has deleted them.
        if runtime::mutant!("S08") {
            runtime::mutant_diverged!("S08");
            return log_start_offset;
        }
        let live = self.followers.iter().filter(|follower| brokers.is_active(follower.broker_id));
        let starts =
            live.map(|follower| follower.progress.map_or(Offset::UNKNOWN, |progress| progress.log_start_offset));
        starts.fold(log_start_offset, Offset::min)
    }

    /// Whether the broker is one of the partition's followers.
    pub fn is_follower(&self, broker_id: BrokerId) -> bool {
        self.follower(broker_id).is_some()
    }

    /// Whether this registration of the follower is older than one already known, from metadata or from its own fetches:
    /// then a later life of it may have lost what this fetch claims to have (KIP-903).
    pub fn is_stale(&self, follower: BrokerId, broker_epoch: BrokerEpoch, brokers: &impl Brokers) -> bool {
        let registered = brokers.broker_epoch(follower);
        let seen = self.follower(follower).and_then(|follower| follower.progress).map(|progress| progress.broker_epoch);
        let is_stale = registered.max(seen).is_some_and(|known| broker_epoch < known);
        // Z08 of the bug zoo is the rule before KIP-903, here and in the controller.
        if is_stale && runtime::mutant!("Z08") {
            runtime::mutant_diverged!("Z08");
            return false;
        }
        is_stale
    }

    /// Records that a follower asked for `fetch_offset`, which says that it has everything below.
    ///
    /// `leader_end` is the leader's log end offset before the fetch was served, so that appends that follow do not keep a
    /// follower out of sync for ever (`Replica.updateFetchStateOrThrow`). Ignored for a broker that is no follower.
    pub fn on_fetch(&mut self, fetch: &FollowerFetch, leader_end: Offset, now: MonotonicMillis) {
        let Some(follower) = self.followers.iter_mut().find(|follower| follower.broker_id == fetch.follower) else {
            return;
        };
        let caught_up_at = if fetch.fetch_offset >= leader_end {
            Some(now)
        } else {
            let before = follower.progress.filter(|before| fetch.fetch_offset >= before.leader_end_at_fetch);
            before.map(|before| before.fetched_at)
        };
        follower.caught_up_at = follower.caught_up_at.max(caught_up_at);
        let leader_end_before = follower.progress.map_or(leader_end, |progress| progress.leader_end_at_fetch);
        follower.progress = Some(Progress {
            log_end_offset: fetch.fetch_offset,
            log_start_offset: fetch.log_start_offset,
            broker_epoch: fetch.broker_epoch,
            fetched_at: now,
            leader_end_at_fetch: leader_end.max(leader_end_before),
        });
    }

    /// The highest offset that the high watermark may have: what every replica has that is in sync, may be in sync already
    /// without our knowing, or is about to be (`Partition.maybeIncrementLeaderHW`).
    ///
    /// The last kind is waited for so that a follower can catch up at all with a leader that is alone in sync.
    pub fn replicated_to(&self, log_end_offset: Offset, now: MonotonicMillis, brokers: &impl Brokers) -> Offset {
        let mut lowest = log_end_offset;
        for follower in &self.followers {
            let reached = follower.log_end_offset();
            // Z05 of the bug zoo is the rule before KIP-497: only who is committed is waited for while a proposal is in
            // flight.
            if runtime::mutant!("Z05") && self.is_in_flight() && !self.isr.contains(&follower.broker_id) {
                if reached < lowest && self.is_in_maximal_isr(follower.broker_id) {
                    runtime::mutant_diverged!("Z05");
                }
                continue;
            }
            if reached < lowest
                && (self.is_in_maximal_isr(follower.broker_id)
                    || self.is_joining(follower, log_end_offset, now, brokers))
            {
                lowest = reached;
            }
        }
        lowest
    }

    /// Proposes to add every follower that is in sync now and not a member, unless a proposal is in flight
    /// (`Partition.maybeExpandIsr`).
    ///
    /// In sync is who has reached the high watermark *and* this epoch's first offset. Without the second half, a follower
    /// that lacks records committed by an earlier leader could be elected, for the high watermark of a new leader may be
    /// behind them (KAFKA-7128). And it still fetches: Kafka asks only when a follower does, here it is asked again whenever
    /// anything changes, and where the high watermark cannot pass whoever fell silent, that one would come back at once by what
    /// it had fetched before. The maximal ISR holds the new members from here on, before the controller has answered.
    pub fn propose_expansion(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        high_watermark: Offset,
        now: MonotonicMillis,
        brokers: &impl Brokers,
    ) -> Option<IsrProposal> {
        if self.in_flight.is_some() || now < self.expand_from || self.isr.len() > self.followers.len() {
            return None;
        }
        let floor = match self.join_floor {
            JoinFloor::EpochStart => high_watermark.max(self.epoch_start),
            JoinFloor::HighWatermark => high_watermark,
        };
        let joins = |follower: &&Follower| {
            !self.isr.contains(&follower.broker_id)
                && follower.log_end_offset() >= floor
                && self.still_fetches(follower, now)
                && self.is_eligible(follower, brokers)
        };
        let joining: Vec<BrokerId> = self.followers.iter().filter(joins).map(|follower| follower.broker_id).collect();
        if joining.is_empty() {
            return None;
        }
        let proposed = self.isr.iter().copied().chain(joining).collect();
        Some(self.propose(leader_epoch, partition_epoch, proposed))
    }

    /// Proposes to drop the members that have not been caught up for longer than `replica.lag.time.max.ms`, unless a
    /// proposal is in flight (`Partition.maybeShrinkIsr`).
    ///
    /// The maximal ISR stays as it is until the controller has answered: the proposal may fail.
    pub fn propose_shrink(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        log_end_offset: Offset,
        now: MonotonicMillis,
    ) -> Option<IsrProposal> {
        if self.in_flight.is_some() {
            return None;
        }
        let stays = |member: &BrokerId| {
            let follower = self.follower(*member);
            follower.is_none_or(|follower| follower.is_caught_up(log_end_offset, now, self.lag_max))
        };
        let staying: BTreeSet<BrokerId> = self.isr.iter().copied().filter(stays).collect();
        (staying.len() < self.isr.len()).then(|| self.propose(leader_epoch, partition_epoch, staying))
    }

    /// The proposal in flight, when it is this one.
    pub fn in_flight(&self, id: ProposalId) -> Option<&IsrProposal> {
        self.in_flight.as_ref().filter(|proposal| proposal.id == id)
    }

    /// These are the committed in-sync replicas now, and nothing is in flight any more.
    pub fn commit(&mut self, isr: BTreeSet<BrokerId>) {
        assert!(isr.contains(&self.local), "leader {} left {isr:?}", self.local);
        self.isr = isr;
        self.in_flight = None;
    }

    /// The proposal in flight was not applied and never will be: back to what is committed.
    pub fn roll_back(&mut self, now: MonotonicMillis) {
        self.in_flight = None;
        self.expand_from = now.plus(EXPAND_PAUSE.as_millis() as u64);
    }

    fn propose(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        proposed: BTreeSet<BrokerId>,
    ) -> IsrProposal {
        self.proposals += 1;
        let epoch_of = |member: BrokerId| {
            let progress = self.follower(member).and_then(|follower| follower.progress);
            progress.map_or(BrokerEpoch::UNKNOWN, |progress| progress.broker_epoch)
        };
        let proposal = IsrProposal {
            id: ProposalId(self.proposals),
            leader_epoch,
            partition_epoch,
            members: proposed.into_iter().map(|member| (member, epoch_of(member))).collect(),
        };
        assert!(proposal.contains(self.local), "leader {} left {:?}", self.local, proposal.members);
        self.in_flight.insert(proposal).clone()
    }

    fn follower(&self, broker_id: BrokerId) -> Option<&Follower> {
        self.followers.iter().find(|follower| follower.broker_id == broker_id)
    }

    fn is_in_maximal_isr(&self, broker_id: BrokerId) -> bool {
        self.isr.contains(&broker_id) || self.in_flight.as_ref().is_some_and(|proposal| proposal.contains(broker_id))
    }

    /// Whether it has fetched within `replica.lag.time.max.ms`.
    fn still_fetches(&self, follower: &Follower, now: MonotonicMillis) -> bool {
        let is_recent = |progress: Progress| Duration::from_millis(now.since(progress.fetched_at)) <= self.lag_max;
        let fetches = follower.progress.is_some_and(is_recent);
        if !fetches && runtime::mutant!("S34") {
            runtime::mutant_diverged!("S34");
            return true;
        }
        fetches
    }

    fn is_joining(
        &self,
        follower: &Follower,
        leader_end: Offset,
        now: MonotonicMillis,
        brokers: &impl Brokers,
    ) -> bool {
        follower.is_caught_up(leader_end, now, self.lag_max) && self.is_eligible(follower, brokers)
    }

    /// Whether the controller would take the follower into the ISR: it has fetched in this leader epoch, under the
    /// registration that the metadata holds, and that one is active (`Partition.isReplicaIsrEligible`).
    fn is_eligible(&self, follower: &Follower, brokers: &impl Brokers) -> bool {
        let registered = brokers.broker_epoch(follower.broker_id);
        let is_active = brokers.is_active(follower.broker_id);
        let same_life = |progress: Progress| registered == Some(progress.broker_epoch) || runtime::mutant!("Z08");
        // Z09 of the bug zoo is the rule before KIP-841, here and in the controller.
        (is_active || runtime::mutant!("Z09")) && follower.progress.is_some_and(same_life)
    }
}
