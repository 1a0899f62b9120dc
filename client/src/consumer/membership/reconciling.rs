//! Pure. A member of a consumer group by KIP-848 (`group.protocol=consumer`): in heartbeats it says what it wants and what it
//! owns, and is told what to read. What it is not to read any more it gives up, says so, and is then told more.
//!
//! The rules are those of `AbstractMembershipManager`, `ConsumerMembershipManager` and `ConsumerHeartbeatRequestManager`. It
//! never calls its user and moves no position: the poller does when it has a [`Duty`]. Heartbeats go on meanwhile. Driven by
//! `group`.
//!
//! ```text
//!             poll            answer          told to read something else
//!   Unjoined ------> Joining -------> Joined ----------------------------> the poller adopts it
//!       ^                             |    ^                                       |
//!       +-- fenced, or not polled ----+    +------ the next heartbeat says so -----+
//! ```

mod answers;

use super::contact::Contact;
use super::options::ConsumerProtocol;
use super::{
    Answer, Duty, Generation, Goodbye, GroupError, GroupMetadata, Interest, Life, MemberEpoch, MemberId, Membership,
    Seen, Step, millis_on_wire, text,
};
use crate::PartitionName;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, PartitionIndex, TopicId};
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId, StrBytes, topic_name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often a heartbeat is due before the coordinator has said how often: Kafka's default
/// (`group.consumer.heartbeat.interval.ms`).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// After so many heartbeats' time without an answer, the coordinator may be gone. By default it waits for nine itself before it
/// gives a member up.
const PATIENCE_IN_HEARTBEATS: u32 = 3;

/// Partitions by the identity of their topic, as the coordinator names them. No set is empty.
type Assignment = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// Where a member is on its way (`MemberState`).
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It has no subscription.
    Out,
    /// It waits for the poller, which may hold partitions that are lost.
    Unjoined,
    /// It is to send its first heartbeat, or has.
    Joining,
    /// It is a member.
    Joined,
    /// It cannot be a member. Until it is polled, or for good.
    Failed(GroupError),
}

/// What the coordinator knows of what may change (`ConsumerHeartbeatRequestManager.SentFields`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    interest: Interest,
    current: Assignment,
}

/// The machine.
#[derive(Debug)]
pub struct Reconciling {
    contact: Contact,
    protocol: ConsumerProtocol,
    interest: Interest,
    /// Its own for as long as the consumer lives (KIP-1082).
    member_id: MemberId,
    member_epoch: MemberEpoch,
    state: State,
    /// What it reads, by name.
    owned: BTreeSet<PartitionName>,
    /// The same as the coordinator named it. Nothing before the poller has adopted anything in this life.
    current: Option<Assignment>,
    /// What it is to read. Nothing before it has been told in this life.
    target: Option<Assignment>,
    /// What the poller is about to adopt, or has.
    offered: Assignment,
    /// What the topics that it is to read are called.
    names: BTreeMap<TopicId, Arc<str>>,
    /// The metadata was looked into since it was last told what to read.
    has_looked: bool,
    /// Nothing when the coordinator is to be told everything: at the beginning, and after an error.
    said: Option<Said>,
    /// A pattern has been sent, so that one has to be taken back.
    has_said_pattern: bool,
    heartbeat_interval: Duration,
    /// When the last heartbeat was made.
    said_at: MonotonicMillis,
}

impl Reconciling {
    /// No member of any group yet.
    ///
    /// # Panics
    /// When there is no member id.
    pub fn new(contact: Contact, protocol: ConsumerProtocol, member_id: MemberId) -> Self {
        assert!(member_id.is_known(), "a member by KIP-848 brings its own id");
        Self {
            contact,
            protocol,
            interest: Interest::Topics(BTreeSet::new()),
            member_id,
            member_epoch: MemberEpoch::JOIN,
            state: State::Out,
            owned: BTreeSet::new(),
            current: None,
            target: None,
            offered: Assignment::new(),
            names: BTreeMap::new(),
            has_looked: false,
            said: None,
            has_said_pattern: false,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            said_at: MonotonicMillis(0),
        }
    }

    /// As much of what it is to read as it knows by name, if that is not what it reads. The rest waits for metadata
    /// (`findResolvableAssignmentAndTriggerMetadataUpdate`).
    fn to_adopt(&self) -> Option<Assignment> {
        let target = self.target.as_ref().filter(|_| self.state == State::Joined)?;
        if !self.has_looked && !self.unnamed().is_empty() {
            // What is known anyway is not waited for in vain.
            return None;
        }
        let named = target.iter().filter(|(topic_id, _)| self.names.contains_key(topic_id));
        let named: Assignment = named.map(|(topic_id, partitions)| (*topic_id, partitions.clone())).collect();
        (self.current.as_ref() != Some(&named)).then_some(named)
    }

    fn by_name(&self, assignment: &Assignment) -> BTreeSet<PartitionName> {
        let mut named = BTreeSet::new();
        for (topic_id, partitions) in assignment {
            let topic = &self.names[topic_id];
            named.extend(partitions.iter().map(|index| PartitionName { topic: topic.clone(), partition: *index }));
        }
        named
    }

    /// Forgets what the topics are called that it neither reads nor is to read.
    fn forget_names(&mut self) {
        let Self { names, current, target, .. } = self;
        let is_used = |topic_id: &TopicId| current.iter().chain(target.iter()).any(|used| used.contains_key(topic_id));
        names.retain(|topic_id, _| is_used(topic_id));
    }

    /// Whether the coordinator is to hear something before the next heartbeat is due: something that it asked for, or that
    /// its user wants, or everything after an error.
    fn has_news(&self) -> bool {
        self.said.as_ref() != Some(&self.news())
    }

    fn news(&self) -> Said {
        Said { interest: self.interest.clone(), current: self.current.clone().unwrap_or_default() }
    }

    /// The next heartbeat: with what has changed since the last one, and with everything when it is the first one or the one
    /// before failed. Making it counts as saying it (`HeartbeatState.buildRequestData`).
    fn heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let news = self.news();
        let before = self.said.replace(news.clone());
        let mut request = self.spoken_as(self.member_epoch);
        if before.is_none() {
            let options = self.contact.options();
            request.rebalance_timeout_ms = millis_on_wire(options.poll_interval_max);
            request.rack_id = options.rack.as_deref().map(text);
            request.server_assignor = self.protocol.remote_assignor.as_deref().map(text);
        }
        if before.as_ref().is_none_or(|before| before.interest != news.interest) {
            match &news.interest {
                Interest::Topics(topics) => {
                    request.subscribed_topic_names = Some(topics.iter().map(|topic| topic_name(topic)).collect());
                    request.subscribed_topic_regex = self.has_said_pattern.then(StrBytes::default);
                }
                Interest::Pattern(pattern) => {
                    request.subscribed_topic_names = Some(Vec::new());
                    request.subscribed_topic_regex = Some(text(pattern));
                    self.has_said_pattern = true;
                }
            }
        }
        if before.as_ref().is_none_or(|before| before.current != news.current) {
            let topic = |(topic_id, partitions): (TopicId, BTreeSet<PartitionIndex>)| {
                let partitions = partitions.into_iter().map(|partition| partition.0).collect();
                TopicPartitions::default().with_topic_id(topic_id.0).with_partitions(partitions)
            };
            request.topic_partitions = Some(news.current.into_iter().map(topic).collect());
        }
        request
    }

    /// What every heartbeat says.
    fn spoken_as(&self, member_epoch: MemberEpoch) -> ConsumerGroupHeartbeatRequest {
        let options = self.contact.options();
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&options.group_id)))
            .with_member_id(text(&self.member_id.0))
            .with_member_epoch(member_epoch.0)
            .with_instance_id(options.instance_id.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
    }

    /// What a member says when it goes; nothing when it is none. A static one will be back (`leaveGroupEpoch`).
    fn goodbye(&self) -> Option<Goodbye> {
        let is_static = self.contact.options().instance_id.is_some();
        let member_epoch = if is_static { MemberEpoch::LEAVE_STATIC } else { MemberEpoch::LEAVE };
        matches!(self.state, State::Joining | State::Joined)
            .then(|| Goodbye::Consumer(Box::new(self.spoken_as(member_epoch))))
    }

    /// Begins another life: it joins anew. What it owns is lost; the poller will be told (`transitionToFenced`).
    fn reset(&mut self) {
        self.contact.begin_life();
        self.member_epoch = MemberEpoch::JOIN;
        self.current = None;
        self.target = None;
        self.names.clear();
        self.said = None;
        self.state = if self.owned.is_empty() { State::Joining } else { State::Unjoined };
    }
}

impl Membership for Reconciling {
    fn contact(&self) -> &Contact {
        &self.contact
    }

    fn contact_mut(&mut self) -> &mut Contact {
        &mut self.contact
    }

    fn owned(&self) -> &BTreeSet<PartitionName> {
        &self.owned
    }

    /// A member's epoch stands where a classic member has its generation, as in `ConsumerGroupMetadata`.
    fn metadata(&self) -> GroupMetadata {
        let options = self.contact.options();
        let generation = if self.is_stable() { Generation(self.member_epoch.0) } else { Generation::NONE };
        GroupMetadata {
            group_id: options.group_id.clone(),
            generation,
            member_id: self.member_id.clone(),
            instance_id: options.instance_id.clone(),
        }
    }

    /// A coordinator tells no more to a member that it has thrown out, or that is behind (`OffsetFetchRequestState`).
    fn asks_as(&self) -> Option<(MemberId, MemberEpoch)> {
        self.is_stable().then(|| (self.member_id.clone(), self.member_epoch))
    }

    fn is_subscribed(&self) -> bool {
        self.state != State::Out
    }

    /// It may commit in the middle of a reconciliation too.
    fn is_stable(&self) -> bool {
        self.state == State::Joined
    }

    /// Never: whoever joins has lost what it had.
    fn is_joining(&self) -> bool {
        false
    }

    fn heartbeat_patience(&self) -> Duration {
        self.heartbeat_interval * PATIENCE_IN_HEARTBEATS
    }

    fn subscribe(&mut self, interest: Interest, now: MonotonicMillis) {
        if matches!(self.state, State::Out | State::Failed(_)) {
            self.reset();
            self.state = State::Unjoined;
            self.contact.poll_ended(now);
        }
        self.interest = interest;
    }

    /// Nothing comes of it: when partitions are shared anew is the coordinator's to say (`AsyncKafkaConsumer.enforceRebalance`).
    fn want_rejoin(&mut self, reason: &'static str) {
        let _ = reason;
    }

    fn look_at(&mut self, seen: &Seen) {
        if let Interest::Topics(topics) = &mut self.interest
            && self.state != State::Out
        {
            topics.clone_from(&seen.wanted);
        }
        self.has_looked = true;
        let unnamed = self.unnamed();
        let named = seen.names.iter().filter(|(topic_id, _)| unnamed.contains(topic_id));
        self.names.extend(named.map(|(topic_id, name)| (*topic_id, name.clone())));
    }

    fn watched(&self) -> BTreeSet<Arc<str>> {
        match &self.interest {
            Interest::Topics(topics) => topics.clone(),
            Interest::Pattern(_) => BTreeSet::new(),
        }
    }

    fn unnamed(&self) -> BTreeSet<TopicId> {
        let target = self.target.iter().flat_map(BTreeMap::keys);
        target.filter(|topic_id| !self.names.contains_key(topic_id)).copied().collect()
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
        match &self.state {
            State::Unjoined => true,
            State::Failed(_) => !self.owned.is_empty(),
            State::Joined => self.to_adopt().is_some(),
            State::Out | State::Joining => false,
        }
    }

    fn duty(&mut self) -> Option<Duty> {
        match &self.state {
            State::Unjoined => Some(Duty::GiveUp { partitions: self.owned.clone(), is_lost: true }),
            State::Failed(_) if !self.owned.is_empty() => {
                Some(Duty::GiveUp { partitions: self.owned.clone(), is_lost: true })
            }
            State::Joined => {
                self.offered = self.to_adopt()?;
                let assigned = self.by_name(&self.offered);
                let added = assigned.difference(&self.owned).cloned().collect();
                let revoked = self.owned.difference(&assigned).cloned().collect();
                Some(Duty::Adopt { life: self.contact.life(), assigned, added, revoked })
            }
            State::Out | State::Joining | State::Failed(_) => None,
        }
    }

    fn gave_up(&mut self, partitions: &BTreeSet<PartitionName>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        if self.state == State::Unjoined && self.owned.is_empty() {
            self.state = State::Joining;
        }
    }

    /// The coordinator hears of it at once (`ACKNOWLEDGING`). It may have told something else meanwhile, which is the next
    /// duty.
    fn adopted(&mut self, life: Life, assigned: &BTreeSet<PartitionName>) {
        match self.state {
            State::Joined if self.contact.life() == life => {
                self.owned = assigned.clone();
                self.current = Some(std::mem::take(&mut self.offered));
                self.forget_names();
            }
            State::Out => {}
            State::Failed(_) => self.owned = assigned.clone(),
            // The coordinator has thrown the member out while the poller was at it: what was adopted is lost already, even
            // if it has been given the same again (`rejoinedWhileReconciliationInProgress`).
            State::Unjoined | State::Joining | State::Joined => {
                self.owned = assigned.clone();
                self.reset();
            }
        }
    }

    /// The protocol has no place for the reason.
    fn leave(&mut self, reason: &'static str) -> Option<Goodbye> {
        let _ = reason;
        let goodbye = self.goodbye();
        self.reset();
        self.owned.clear();
        self.state = State::Out;
        goodbye
    }

    fn next(&mut self, now: MonotonicMillis) -> Step {
        if !matches!(self.state, State::Joining | State::Joined) {
            return Step::Wait(None);
        }
        if self.contact.is_overdue(now) {
            let goodbye = self.goodbye();
            self.reset();
            // Unlike one that was thrown out, it joins no sooner than it is polled (`STALE`).
            self.state = State::Unjoined;
            return Step::Leave(goodbye);
        }
        if now < self.contact.retry_at() {
            return self.contact.wait_until(self.contact.retry_at());
        }
        let life = self.contact.life();
        if self.contact.coordinator().is_none() {
            return Step::Find(life);
        }
        let due_at = self.said_at.plus(super::millis(self.heartbeat_interval));
        if now < due_at && !self.has_news() {
            return self.contact.wait_until(due_at);
        }
        self.said_at = now;
        Step::ConsumerGroupHeartbeat(life, Box::new(self.heartbeat()))
    }

    /// Whether the coordinator has heard what was said is not known: it is said again.
    fn unanswered(&mut self, life: Life, now: MonotonicMillis, random: u64) {
        if self.contact.life() == life {
            self.ask_another(now, random);
        }
    }

    fn refused(&mut self, life: Life, code: ErrorCode, message: Option<String>) {
        if self.contact.life() == life {
            self.turned_away(code, message);
        }
    }

    fn answered(&mut self, life: Life, answer: Answer<'_>, now: MonotonicMillis, random: u64) {
        if self.contact.life() != life {
            return;
        }
        match answer {
            Answer::ConsumerGroupHeartbeat(response) => self.heard(response, now, random),
            // A member by KIP-848 does not ask for these.
            Answer::Join(_) | Answer::Count(_) | Answer::Sync(_) | Answer::Heartbeat(_) => {}
        }
    }

    /// Nothing follows: the next heartbeat tells the member whether it is one, and in which epoch.
    fn commit_refused(&mut self, sent_as: &GroupMetadata, code: ErrorCode, now: MonotonicMillis, random: u64) {
        let _ = (sent_as, code, now, random);
    }
}

#[cfg(test)]
mod tests;
