//! Pure. A member of a classic group: it joins, is synced, sends heartbeats, and joins again (KIP-394, KIP-345, KIP-429).
//!
//! The rules are those of `AbstractCoordinator` and `ConsumerCoordinator`. It never calls its user and moves no position: the
//! poller does when it has a [`Duty`]. Driven by `group`.
//!
//! ```text
//!             poll           answer            leader alone        answer
//!   Unjoined ------> Joining ------> (Leading) ------------> Syncing ----> Stable
//!       ^               ^                                       |            |
//!       |               +---- rebalance, once given up ---------+------------+
//!       +-------------------- the coordinator knows the member no more ------+
//! ```

mod answers;

use super::{Duty, Generation, GroupError, GroupMetadata, Life, MemberId, Settings, Step};
use crate::PartitionName;
use crate::consumer::assignors::{
    Assignments, Assignor, Member, PartitionCounts, RebalanceProtocol, rebalance_protocol,
};
use crate::consumer::consumer_protocol::{self, PROTOCOL_TYPE, Subscription};
use protocol::ids::{BrokerId, MonotonicMillis};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, StrBytes, SyncGroupRequest};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Where a member is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It has no subscription.
    Out,
    /// It waits for the poller, which may hold partitions that are lost.
    Unjoined,
    /// It is to send JoinGroup, or has.
    Joining,
    /// It leads, and is to share partitions among these.
    /// Without sharing, it only has to know their topics.
    Leading { members: Vec<Member>, shares: bool },
    /// It is to send SyncGroup, or has, with what it shared if it leads.
    Syncing(Assignments),
    /// It is a member. What it was assigned waits for the poller.
    Stable { adopt: Option<BTreeSet<PartitionName>> },
    /// It cannot be a member. Until it is polled, or for good.
    Failed(GroupError),
}

/// What the leader of a generation based its sharing on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    topics: BTreeSet<Arc<str>>,
    counts: PartitionCounts,
}

/// The machine.
#[derive(Debug)]
pub struct Classic {
    settings: Settings,
    topics: BTreeSet<Arc<str>>,
    member_id: MemberId,
    generation: Option<Generation>,
    assignor: Option<Assignor>,
    owned: BTreeSet<PartitionName>,
    state: State,
    life: u64,
    coordinator: Option<BrokerId>,
    /// Why the member wants to join again, once the poller has given up what it must.
    rejoin: Option<&'static str>,
    shared: Option<Shared>,
    failures: u32,
    retry_at: MonotonicMillis,
    heartbeat_at: MonotonicMillis,
    /// When the coordinator last answered well.
    heard_at: MonotonicMillis,
    /// When the last poll ended; nothing while one is under way.
    polled_at: Option<MonotonicMillis>,
}

impl Classic {
    /// No member of any group yet.
    ///
    /// # Panics
    /// When there is no assignor.
    pub fn new(settings: Settings) -> Self {
        assert!(!settings.assignors.is_empty(), "a member offers at least one assignor");
        Self {
            settings,
            topics: BTreeSet::new(),
            member_id: MemberId::none(),
            generation: None,
            assignor: None,
            owned: BTreeSet::new(),
            state: State::Out,
            life: 0,
            coordinator: None,
            rejoin: None,
            shared: None,
            failures: 0,
            retry_at: MonotonicMillis(0),
            heartbeat_at: MonotonicMillis(0),
            heard_at: MonotonicMillis(0),
            polled_at: None,
        }
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The partitions that it reads.
    pub fn owned(&self) -> &BTreeSet<PartitionName> {
        &self.owned
    }

    /// Who coordinates the group, as far as is known.
    pub fn coordinator(&self) -> Option<BrokerId> {
        self.coordinator
    }

    /// Somebody coordinates the group.
    pub fn found(&mut self, coordinator: BrokerId, now: MonotonicMillis) {
        self.coordinator = Some(coordinator);
        self.failures = 0;
        self.retry_at = now;
        self.heard_at = now;
    }

    /// The broker that was asked does not coordinate the group, or does not answer.
    pub fn lost_coordinator(&mut self, was: BrokerId) {
        if self.coordinator == Some(was) {
            self.coordinator = None;
        }
    }

    /// Who this member is.
    pub fn metadata(&self) -> GroupMetadata {
        GroupMetadata {
            group_id: self.settings.group_id.clone(),
            generation: self.generation.unwrap_or(Generation::NONE),
            member_id: self.member_id.clone(),
            instance_id: self.settings.instance_id.clone(),
        }
    }

    /// Whether it has a subscription.
    pub fn is_subscribed(&self) -> bool {
        self.state != State::Out
    }

    /// Whether it is a member that is in no rebalance of its own: one that may commit (`generationIfStable`).
    pub fn is_stable(&self) -> bool {
        matches!(self.state, State::Stable { .. })
    }

    /// Whether it is on its way into a generation, and may commit once it is there.
    pub fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining | State::Leading { .. } | State::Syncing(_))
    }

    /// Wants these topics from now on. A member joins again to say so; a fenced one begins anew.
    pub fn subscribe(&mut self, topics: BTreeSet<Arc<str>>, now: MonotonicMillis) {
        match &self.state {
            State::Out | State::Failed(_) => {
                self.reset(true);
                self.state = State::Unjoined;
                self.polled_at = Some(now);
            }
            _ if topics != self.topics => self.want_rejoin("the subscription has changed"),
            _ => {}
        }
        self.topics = topics;
    }

    /// Wants to join again, as soon as it is polled.
    pub fn want_rejoin(&mut self, reason: &'static str) {
        self.rejoin = Some(reason);
    }

    /// Takes in what the cluster's topics are like now: the topics that match the subscription, and how many partitions a topic
    /// has. A leader joins again when the topics that it shared have changed (`ConsumerCoordinator.rejoinNeededOrPending`).
    pub fn look_at(&mut self, matching: Option<BTreeSet<Arc<str>>>, count: impl Fn(&str) -> Option<i32>) {
        if let Some(matching) = matching
            && matching != self.topics
            && self.is_subscribed()
        {
            self.topics = matching;
            self.want_rejoin("the topics that match have changed");
        }
        if let (State::Stable { .. }, Some(shared)) = (&self.state, &self.shared) {
            let counts = counts_of(&shared.topics, count);
            if counts != shared.counts {
                self.want_rejoin("the topics' partitions have changed");
            }
        }
    }

    /// The topics whose partitions matter to the member: its own, and as leader those of all.
    pub fn watched(&self) -> BTreeSet<Arc<str>> {
        let shared = self.shared.iter().flat_map(|shared| &shared.topics);
        self.topics.iter().chain(shared).cloned().collect()
    }

    /// A poll begins.
    pub fn poll_began(&mut self) {
        self.polled_at = None;
    }

    /// A poll ended: the next one is awaited for `max.poll.interval.ms`.
    pub fn poll_ended(&mut self, now: MonotonicMillis) {
        self.polled_at = Some(now);
    }

    /// Why it is no member, if so. Said at every poll to who was fenced, else once: then it tries again.
    pub fn failure(&mut self) -> Option<GroupError> {
        let State::Failed(error) = &self.state else { return None };
        let error = error.clone();
        if !matches!(error, GroupError::Fenced { .. }) {
            self.state = State::Unjoined;
        }
        Some(error)
    }

    /// What the poller has to do now.
    pub fn duty(&self) -> Option<Duty> {
        match &self.state {
            State::Stable { adopt: Some(assigned) } => {
                let added = assigned.difference(&self.owned).cloned().collect();
                let revoked = self.owned.difference(assigned).cloned().collect();
                Some(Duty::Adopt { assigned: assigned.clone(), added, revoked })
            }
            State::Stable { adopt: None } if self.rejoin.is_some() => {
                let is_given_up = |partition: &&PartitionName| match rebalance_protocol(&self.settings.assignors) {
                    RebalanceProtocol::Eager => true,
                    RebalanceProtocol::Cooperative => !self.topics.contains(&partition.topic),
                };
                let partitions = self.owned.iter().filter(is_given_up).cloned().collect();
                Some(Duty::GiveUp { partitions, is_lost: false })
            }
            State::Unjoined => Some(Duty::GiveUp { partitions: self.owned.clone(), is_lost: true }),
            State::Failed(_) if !self.owned.is_empty() => {
                Some(Duty::GiveUp { partitions: self.owned.clone(), is_lost: true })
            }
            State::Out | State::Joining | State::Leading { .. } | State::Syncing(_) | State::Stable { .. } => None,
            State::Failed(_) => None,
        }
    }

    /// The poller has given these up.
    pub fn gave_up(&mut self, partitions: &BTreeSet<PartitionName>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        match &self.state {
            State::Unjoined if self.owned.is_empty() => self.state = State::Joining,
            State::Stable { adopt: None } if self.rejoin.is_some() => self.state = State::Joining,
            // Something has happened meanwhile, which is a duty of its own.
            _ => {}
        }
    }

    /// The poller reads these now, and has given up what it had beside. A member that gave something up joins again, so that
    /// others may have it (KIP-429).
    pub fn adopted(&mut self, assigned: &BTreeSet<PartitionName>) {
        let has_revoked = !self.owned.is_subset(assigned);
        match &mut self.state {
            State::Stable { adopt } if adopt.as_ref() == Some(assigned) => {
                *adopt = None;
                self.owned = assigned.clone();
                if has_revoked {
                    self.want_rejoin("partitions were given up");
                }
            }
            State::Out => {}
            State::Failed(_) => self.owned = assigned.clone(),
            // The coordinator has thrown the member out while the poller was at it: what was adopted is lost already.
            State::Unjoined | State::Joining | State::Leading { .. } | State::Syncing(_) | State::Stable { .. } => {
                self.owned = assigned.clone();
                self.life += 1;
                self.state = if self.owned.is_empty() { State::Joining } else { State::Unjoined };
            }
        }
    }

    /// Ends the membership: what to send to the coordinator, if it knows a dynamic member. A static one stays until its session
    /// ends, so that it finds its partitions when it is back (KIP-345).
    pub fn leave(&mut self, reason: &'static str) -> Option<LeaveGroupRequest> {
        let request = self.leave_request(reason);
        self.reset(true);
        self.owned.clear();
        self.state = State::Out;
        request
    }

    fn leave_request(&self, reason: &'static str) -> Option<LeaveGroupRequest> {
        let is_dynamic = self.settings.instance_id.is_none();
        (is_dynamic && self.member_id.is_known()).then(|| {
            let member = MemberIdentity::default()
                .with_member_id(text(&self.member_id.0))
                .with_reason(Some(StrBytes::from_static_str(reason)));
            LeaveGroupRequest::default()
                .with_group_id(GroupId(text(&self.settings.group_id)))
                .with_member_id(text(&self.member_id.0))
                .with_members(vec![member])
        })
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: MonotonicMillis) -> Step {
        let overdue_at = self.polled_at.map(|at| at.plus(millis(self.settings.poll_interval_max)));
        match &self.state {
            State::Out | State::Unjoined | State::Failed(_) => return Step::Wait(None),
            State::Joining | State::Leading { .. } | State::Syncing(_) | State::Stable { .. } => {}
        }
        if overdue_at.is_some_and(|at| at <= now) {
            let request = self.leave_request("the consumer was not polled for max.poll.interval.ms");
            self.reset(true);
            self.state = State::Unjoined;
            return Step::Leave(request.map(Box::new));
        }
        let wait = |at: MonotonicMillis| Step::Wait(Some(overdue_at.map_or(at, |overdue_at| overdue_at.min(at))));
        if now < self.retry_at {
            return wait(self.retry_at);
        }
        let life = Life(self.life);
        if self.is_stable() && now.since(self.heard_at) > millis(self.settings.session_timeout) {
            self.coordinator = None;
        }
        if self.coordinator.is_none() {
            return Step::Find(life);
        }
        match &self.state {
            State::Joining => {
                self.rejoin = None;
                self.shared = None;
                Step::Join(life, Box::new(self.join_request()))
            }
            State::Leading { members, .. } => {
                let topics = members.iter().flat_map(|member| &member.subscription.topics).cloned();
                Step::Count(life, topics.collect())
            }
            State::Syncing(assignments) => Step::Sync(life, Box::new(self.sync_request(assignments))),
            State::Stable { .. } if now >= self.heartbeat_at => {
                self.heartbeat_at = now.plus(millis(self.settings.heartbeat_interval));
                Step::Heartbeat(life, Box::new(self.heartbeat_request()))
            }
            State::Stable { .. } => wait(self.heartbeat_at),
            State::Out | State::Unjoined | State::Failed(_) => unreachable!("these wait"),
        }
    }

    fn join_request(&self) -> JoinGroupRequest {
        let offer = |assignor: &Assignor| {
            let subscription = Subscription {
                topics: self.topics.clone(),
                user_data: assignor.user_data(self.generation),
                owned: self.owned.clone(),
                generation: self.generation,
                rack: self.settings.rack.clone(),
            };
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(consumer_protocol::encode_subscription(&subscription))
        };
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.settings.group_id)))
            .with_session_timeout_ms(millis_on_wire(self.settings.session_timeout))
            .with_rebalance_timeout_ms(millis_on_wire(self.settings.poll_interval_max))
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(self.settings.assignors.iter().map(offer).collect())
    }

    fn sync_request(&self, assignments: &Assignments) -> SyncGroupRequest {
        let assigned = assignments.iter().map(|(member_id, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&member_id.0))
                .with_assignment(consumer_protocol::encode_assignment(partitions))
        });
        SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.settings.group_id)))
            .with_generation_id(self.metadata().generation.0)
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(self.assignor.map(|assignor| StrBytes::from_static_str(assignor.name())))
            .with_assignments(assigned.collect())
    }

    fn heartbeat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.settings.group_id)))
            .with_generation_id(self.metadata().generation.0)
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.settings.instance_id.as_deref().map(text)
    }

    /// Begins another life: what was asked in this one counts no more. What it owns is lost; the poller will be told.
    fn reset(&mut self, forgets_member_id: bool) {
        self.life += 1;
        self.generation = None;
        if forgets_member_id {
            self.member_id = MemberId::none();
        }
        self.rejoin = None;
        self.shared = None;
        self.failures = 0;
        self.retry_at = MonotonicMillis(0);
        self.state = if self.owned.is_empty() { State::Joining } else { State::Unjoined };
    }
}

/// The topics that exist, with their counts.
fn counts_of(topics: &BTreeSet<Arc<str>>, count: impl Fn(&str) -> Option<i32>) -> PartitionCounts {
    topics.iter().filter_map(|topic| Some((topic.clone(), count(topic)?))).collect()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_on_wire(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
