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

use super::contact::Contact;
use super::options::ClassicProtocol;
use super::{
    Answer, Duty, Generation, Goodbye, GroupError, GroupMetadata, Interest, Life, MemberEpoch, MemberId, Membership,
    Seen, Step, millis, millis_on_wire, text,
};
use crate::PartitionName;
use crate::consumer::assignors::{
    Assignments, Assignor, Member, PartitionCounts, RebalanceProtocol, rebalance_protocol,
};
use crate::consumer::consumer_protocol::{self, PROTOCOL_TYPE, Subscription};
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, TopicId};
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
    contact: Contact,
    protocol: ClassicProtocol,
    topics: BTreeSet<Arc<str>>,
    member_id: MemberId,
    generation: Option<Generation>,
    assignor: Option<Assignor>,
    owned: BTreeSet<PartitionName>,
    state: State,
    /// Why the member wants to join again, once the poller has given up what it must.
    rejoin: Option<&'static str>,
    shared: Option<Shared>,
    heartbeat_at: MonotonicMillis,
}

impl Classic {
    /// No member of any group yet.
    ///
    /// # Panics
    /// When there is no assignor.
    pub fn new(contact: Contact, protocol: ClassicProtocol) -> Self {
        assert!(!protocol.assignors.is_empty(), "a member offers at least one assignor");
        Self {
            contact,
            protocol,
            topics: BTreeSet::new(),
            member_id: MemberId::none(),
            generation: None,
            assignor: None,
            owned: BTreeSet::new(),
            state: State::Out,
            rejoin: None,
            shared: None,
            heartbeat_at: MonotonicMillis(0),
        }
    }

    /// What the poller has to do now.
    fn due(&self) -> Option<Duty> {
        match &self.state {
            State::Stable { adopt: Some(assigned) } => {
                let added = assigned.difference(&self.owned).cloned().collect();
                let revoked = self.owned.difference(assigned).cloned().collect();
                Some(Duty::Adopt { life: self.contact.life(), assigned: assigned.clone(), added, revoked })
            }
            State::Stable { adopt: None } if self.rejoin.is_some() => {
                let is_given_up = |partition: &&PartitionName| match rebalance_protocol(&self.protocol.assignors) {
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

    /// What the coordinator is told if it knows a dynamic member.
    fn goodbye(&self, reason: &'static str) -> Option<Goodbye> {
        let options = self.contact.options();
        (options.instance_id.is_none() && self.member_id.is_known()).then(|| {
            let member = MemberIdentity::default()
                .with_member_id(text(&self.member_id.0))
                .with_reason(Some(StrBytes::from_static_str(reason)));
            let request = LeaveGroupRequest::default()
                .with_group_id(GroupId(text(&options.group_id)))
                .with_member_id(text(&self.member_id.0))
                .with_members(vec![member]);
            Goodbye::Classic(Box::new(request))
        })
    }

    fn join_request(&self) -> JoinGroupRequest {
        let offer = |assignor: &Assignor| {
            let subscription = Subscription {
                topics: self.topics.clone(),
                user_data: assignor.user_data(self.generation),
                owned: self.owned.clone(),
                generation: self.generation,
                rack: self.contact.options().rack.clone(),
            };
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(consumer_protocol::encode_subscription(&subscription))
        };
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.contact.options().group_id)))
            .with_session_timeout_ms(millis_on_wire(self.protocol.session_timeout))
            .with_rebalance_timeout_ms(millis_on_wire(self.contact.options().poll_interval_max))
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(self.protocol.assignors.iter().map(offer).collect())
    }

    fn sync_request(&self, assignments: &Assignments) -> SyncGroupRequest {
        let assigned = assignments.iter().map(|(member_id, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&member_id.0))
                .with_assignment(consumer_protocol::encode_assignment(partitions))
        });
        SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.contact.options().group_id)))
            .with_generation_id(self.metadata().generation.0)
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(self.assignor.map(|assignor| StrBytes::from_static_str(assignor.name())))
            .with_assignments(assigned.collect())
    }

    fn heartbeat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.contact.options().group_id)))
            .with_generation_id(self.metadata().generation.0)
            .with_member_id(text(&self.member_id.0))
            .with_group_instance_id(self.instance_id())
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.contact.options().instance_id.as_deref().map(text)
    }

    /// Begins another life: what was asked in this one counts no more. What it owns is lost; the poller will be told.
    fn reset(&mut self, forgets_member_id: bool) {
        self.contact.begin_life();
        self.generation = None;
        if forgets_member_id {
            self.member_id = MemberId::none();
        }
        self.rejoin = None;
        self.shared = None;
        self.state = if self.owned.is_empty() { State::Joining } else { State::Unjoined };
    }
}

impl Membership for Classic {
    fn contact(&self) -> &Contact {
        &self.contact
    }

    fn contact_mut(&mut self) -> &mut Contact {
        &mut self.contact
    }

    fn owned(&self) -> &BTreeSet<PartitionName> {
        &self.owned
    }

    fn metadata(&self) -> GroupMetadata {
        let options = self.contact.options();
        GroupMetadata {
            group_id: options.group_id.clone(),
            generation: self.generation.unwrap_or(Generation::NONE),
            member_id: self.member_id.clone(),
            instance_id: options.instance_id.clone(),
        }
    }

    fn asks_as(&self) -> Option<(MemberId, MemberEpoch)> {
        None
    }

    fn is_subscribed(&self) -> bool {
        self.state != State::Out
    }

    /// One that is in no rebalance of its own (`generationIfStable`).
    fn is_stable(&self) -> bool {
        matches!(self.state, State::Stable { .. })
    }

    fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining | State::Leading { .. } | State::Syncing(_))
    }

    fn heartbeat_patience(&self) -> Duration {
        self.protocol.session_timeout
    }

    /// A member joins again to say so.
    ///
    /// # Panics
    /// With a pattern: a coordinator of this protocol knows of no topics.
    fn subscribe(&mut self, interest: Interest, now: MonotonicMillis) {
        let Interest::Topics(topics) = interest else { panic!("a classic member wants {interest:?}") };
        match &self.state {
            State::Out | State::Failed(_) => {
                self.reset(true);
                self.state = State::Unjoined;
                self.contact.poll_ended(now);
            }
            _ if topics != self.topics => self.want_rejoin("the subscription has changed"),
            _ => {}
        }
        self.topics = topics;
    }

    fn want_rejoin(&mut self, reason: &'static str) {
        self.rejoin = Some(reason);
    }

    /// A leader joins again when the topics that it shared have changed (`ConsumerCoordinator.rejoinNeededOrPending`).
    fn look_at(&mut self, seen: &Seen) {
        if seen.wanted != self.topics && self.is_subscribed() {
            self.topics = seen.wanted.clone();
            self.want_rejoin("the topics that match have changed");
        }
        if let (State::Stable { .. }, Some(shared)) = (&self.state, &self.shared) {
            let counts = counts_of(&shared.topics, &seen.counts);
            if counts != shared.counts {
                self.want_rejoin("the topics' partitions have changed");
            }
        }
    }

    /// Its own, and as leader those of all.
    fn watched(&self) -> BTreeSet<Arc<str>> {
        let shared = self.shared.iter().flat_map(|shared| &shared.topics);
        self.topics.iter().chain(shared).cloned().collect()
    }

    fn unnamed(&self) -> BTreeSet<TopicId> {
        BTreeSet::new()
    }

    fn failure(&mut self) -> Option<GroupError> {
        let State::Failed(error) = &self.state else { return None };
        let error = error.clone();
        if !matches!(error, GroupError::Fenced { .. }) {
            self.state = State::Unjoined;
        }
        Some(error)
    }

    fn has_duty(&self) -> bool {
        self.due().is_some()
    }

    fn duty(&mut self) -> Option<Duty> {
        self.due()
    }

    fn gave_up(&mut self, partitions: &BTreeSet<PartitionName>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        match &self.state {
            State::Unjoined if self.owned.is_empty() => self.state = State::Joining,
            State::Stable { adopt: None } if self.rejoin.is_some() => self.state = State::Joining,
            // Something has happened meanwhile, which is a duty of its own.
            _ => {}
        }
    }

    /// A member that gave something up joins again, so that others may have it (KIP-429).
    fn adopted(&mut self, life: Life, assigned: &BTreeSet<PartitionName>) {
        let has_revoked = !self.owned.is_subset(assigned);
        match &mut self.state {
            State::Stable { adopt } if self.contact.life() == life && adopt.as_ref() == Some(assigned) => {
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
                self.contact.begin_life();
                self.state = if self.owned.is_empty() { State::Joining } else { State::Unjoined };
            }
        }
    }

    /// A static member says nothing: it stays until its session ends, so that it finds its partitions when it is back (KIP-345).
    fn leave(&mut self, reason: &'static str) -> Option<Goodbye> {
        let goodbye = self.goodbye(reason);
        self.reset(true);
        self.owned.clear();
        self.state = State::Out;
        goodbye
    }

    fn next(&mut self, now: MonotonicMillis) -> Step {
        match &self.state {
            State::Out | State::Unjoined | State::Failed(_) => return Step::Wait(None),
            State::Joining | State::Leading { .. } | State::Syncing(_) | State::Stable { .. } => {}
        }
        if self.contact.is_overdue(now) {
            let goodbye = self.goodbye("the consumer was not polled for max.poll.interval.ms");
            self.reset(true);
            self.state = State::Unjoined;
            return Step::Leave(goodbye);
        }
        if now < self.contact.retry_at() {
            return self.contact.wait_until(self.contact.retry_at());
        }
        let life = self.contact.life();
        if self.is_stable() && self.contact.silent_for(now) > millis(self.protocol.session_timeout) {
            self.contact.forget_coordinator();
        }
        if self.contact.coordinator().is_none() {
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
                self.heartbeat_at = now.plus(millis(self.protocol.heartbeat_interval));
                Step::Heartbeat(life, Box::new(self.heartbeat_request()))
            }
            State::Stable { .. } => self.contact.wait_until(self.heartbeat_at),
            State::Out | State::Unjoined | State::Failed(_) => unreachable!("these wait"),
        }
    }

    /// Whoever was joining joins anew. A member stays one: its session may outlive the coordinator.
    fn unanswered(&mut self, life: Life, now: MonotonicMillis, random: u64) {
        if self.contact.life() == life {
            self.ask_another(now, random);
        }
    }

    fn refused(&mut self, life: Life, code: ErrorCode, message: Option<String>) {
        if self.contact.life() == life {
            self.fail(GroupError::Refused { code, message });
        }
    }

    fn answered(&mut self, life: Life, answer: Answer<'_>, now: MonotonicMillis, random: u64) {
        if self.contact.life() != life {
            return;
        }
        match answer {
            Answer::Join(response) => self.joined(response, now, random),
            Answer::Count(counts) => self.counted(counts),
            Answer::Sync(response) => self.synced(response, now, random),
            Answer::Heartbeat(response) => self.heard(response, now, random),
            // A classic member does not ask for it.
            Answer::ConsumerGroupHeartbeat(_) => {}
        }
    }

    fn commit_refused(&mut self, sent_as: &GroupMetadata, code: ErrorCode, now: MonotonicMillis, random: u64) {
        if *sent_as != self.metadata() || !self.is_stable() {
            return;
        }
        match code {
            ErrorCode::RebalanceInProgress => self.want_rejoin("a commit met a rebalance"),
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                self.turned_away(code, now, random);
            }
            // These say something of the commit, not of the member.
            _ => {}
        }
    }
}

/// The topics that exist, with their counts.
fn counts_of(topics: &BTreeSet<Arc<str>>, counts: &PartitionCounts) -> PartitionCounts {
    topics.iter().filter_map(|topic| Some((topic.clone(), *counts.get(topic)?))).collect()
}

#[cfg(test)]
mod tests;
