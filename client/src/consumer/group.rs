//! A consumer as a member of a group: it subscribes, is assigned partitions, commits where it is, and leaves.
//!
//! What goes on with the coordinator is a task beside the polls (`driving`); what the user sees of it happens in polls alone,
//! as duties that the membership's machine has for the poller. It has no opinion on what an answer means: the machine does.
//! Driven by the user of a `Consumer`.

pub(super) mod committed;
pub mod committing;
mod coordinator;
mod driving;

pub use committing::{CommitError, OffsetAndMetadata};

use super::membership::options::{GroupOptions, GroupProtocol};
use super::membership::{self, Duty, GroupMetadata, Interest, Life, MemberId, Membership};
use super::{Consumer, ConsumerError, Shared, State, now};
use crate::PartitionName;
use crate::retry::Backoff;
use committing::Commits;
use protocol::ids::MonotonicMillis;
use regex::Regex;
use runtime::{rand, task};
use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a user does in a rebalance, on its way.
pub type Told<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Who is told of a rebalance, within a poll (`ConsumerRebalanceListener`).
///
/// A poll that is dropped while it tells may tell the same again.
pub trait RebalanceListener: Send + Sync {
    /// These are read from now on. Their positions are being asked for: a seek goes before.
    fn assigned<'a>(&'a self, consumer: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        let _ = (consumer, partitions);
        Box::pin(ready(()))
    }

    /// These are read no more after this. They are still the consumer's to commit.
    fn revoked<'a>(&'a self, consumer: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        let _ = (consumer, partitions);
        Box::pin(ready(()))
    }

    /// These are others' already: the consumer was thrown out of the group. As revoked, unless it is told apart.
    fn lost<'a>(&'a self, consumer: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        self.revoked(consumer, partitions)
    }
}

/// What the user wants to read.
#[derive(Clone)]
enum Wanted {
    Topics(BTreeSet<Arc<str>>),
    /// What matches, as this client sees it.
    Matching(Regex),
    /// What matches, as the coordinator sees it.
    MatchingThere(Arc<str>),
}

/// What a consumer keeps of its group, under its lock.
pub(super) struct Group {
    membership: Box<dyn Membership>,
    wanted: Option<Wanted>,
    listener: Option<Arc<dyn RebalanceListener>>,
    commits: Commits,
    /// There is a task for the membership.
    is_driven: bool,
}

impl Group {
    pub(super) fn new(options: &GroupOptions, retry_backoff: Backoff) -> Self {
        Self {
            membership: membership::new(options, retry_backoff, || MemberId::from(rand::uuid().to_string().as_str())),
            wanted: None,
            listener: None,
            commits: Commits::default(),
            is_driven: false,
        }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.wanted.is_some()
    }
}

impl State {
    /// For whoever has checked that there is a group.
    fn group(&mut self) -> &mut Group {
        self.group.as_mut().expect("a group's shell runs for a consumer with a group")
    }
}

/// Marks a poll as under way: a user who waits in one is not slow.
pub(super) struct Polling<'a> {
    shared: &'a Shared,
}

impl<'a> Polling<'a> {
    pub(super) fn begin(shared: &'a Shared) -> Self {
        if let Some(group) = &mut shared.state.lock().group {
            group.membership.contact_mut().poll_began();
        }
        Self { shared }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if let Some(group) = &mut self.shared.state.lock().group {
            group.membership.contact_mut().poll_ended(now());
        }
    }
}

impl Consumer {
    /// Reads these topics from now on, as a member of the group. Partitions come with the polls.
    ///
    /// # Errors
    /// [`ConsumerError::NoGroup`].
    ///
    /// # Panics
    /// When partitions are assigned by hand.
    pub fn subscribe<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Result<(), ConsumerError> {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().map(Arc::from).collect();
        for topic in &topics {
            self.shared.cluster.track(topic);
        }
        self.want(Wanted::Topics(topics))
    }

    /// Reads the topics whose whole name matches a regular expression, those that are created later too. This client looks which
    /// those are, and names them to its group (`subscribe(Pattern)`); a member by KIP-848 may leave that to the coordinator
    /// ([`Consumer::subscribe_remote_pattern`]).
    ///
    /// # Errors
    /// [`ConsumerError::BadPattern`], and as [`Consumer::subscribe`].
    ///
    /// # Panics
    /// As [`Consumer::subscribe`].
    pub fn subscribe_pattern(&self, pattern: &str) -> Result<(), ConsumerError> {
        let whole =
            Regex::new(&format!("^(?:{pattern})$")).map_err(|error| ConsumerError::BadPattern(error.to_string()))?;
        self.shared.cluster.track_all();
        self.want(Wanted::Matching(whole))
    }

    /// Reads the topics that match a regular expression of RE2's syntax as a whole, those that are created later too, as the
    /// coordinator sees it (`subscribe(SubscriptionPattern)`). Members see the same topics at the same time, and no list of all
    /// topics travels to each of them but for their names. It takes `group.protocol=consumer`. An expression that the
    /// coordinator does not understand is told by polls, as [`GroupError`](super::GroupError).
    ///
    /// # Errors
    /// [`ConsumerError::PatternOfClassicGroup`], and as [`Consumer::subscribe`].
    ///
    /// # Panics
    /// As [`Consumer::subscribe`].
    pub fn subscribe_remote_pattern(&self, pattern: &str) -> Result<(), ConsumerError> {
        let group = self.shared.options.group.as_ref().ok_or(ConsumerError::NoGroup)?;
        if matches!(group.protocol, GroupProtocol::Classic(_)) {
            return Err(ConsumerError::PatternOfClassicGroup);
        }
        // What is assigned is named by id alone; its name is in a listing of all topics.
        self.shared.cluster.track_all();
        self.want(Wanted::MatchingThere(Arc::from(pattern)))
    }

    /// Tells `listener` of every rebalance from now on.
    ///
    /// # Errors
    /// [`ConsumerError::NoGroup`].
    pub fn set_rebalance_listener(&self, listener: Arc<dyn RebalanceListener>) -> Result<(), ConsumerError> {
        let mut state = self.shared.state.lock();
        state.group.as_mut().ok_or(ConsumerError::NoGroup)?.listener = Some(listener);
        Ok(())
    }

    fn want(&self, wanted: Wanted) -> Result<(), ConsumerError> {
        let shared = &self.shared;
        let interest = match &wanted {
            Wanted::Topics(_) | Wanted::Matching(_) => Interest::Topics(shared.topics_of(&wanted)),
            Wanted::MatchingThere(pattern) => Interest::Pattern(pattern.clone()),
        };
        {
            let mut state = shared.state.lock();
            let is_assigned = state.positions.assignment().next().is_some();
            let group = state.group.as_mut().ok_or(ConsumerError::NoGroup)?;
            assert!(group.is_subscribed() || !is_assigned, "a consumer with partitions by hand does not subscribe");
            group.wanted = Some(wanted);
            group.membership.subscribe(interest, now());
            if !std::mem::replace(&mut group.is_driven, true) {
                task::spawn(driving::drive(shared.clone()));
            }
        }
        shared.group_wanted.notify_one();
        Ok(())
    }

    /// Who this consumer is in its group, for a producer whose transactions commit its offsets. Nothing without a group.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.shared.state.lock().group.as_ref().map(|group| group.membership.metadata())
    }

    /// Has the group share its partitions anew, with the next poll. By `group.protocol=consumer` that is the coordinator's to
    /// decide, and nothing comes of it.
    pub fn enforce_rebalance(&self) {
        if let Some(group) = &mut self.shared.state.lock().group {
            group.membership.want_rejoin("its user wants it");
        }
    }

    /// Carries out what the membership has for the poller, and commits if it is time to. Returns when to commit next. For a
    /// consumer with a group.
    ///
    /// # Errors
    /// [`ConsumerError::Group`] when the consumer is no member.
    pub(super) async fn attend(&self) -> Result<Option<MonotonicMillis>, ConsumerError> {
        let shared = &self.shared;
        loop {
            let duty = shared.state.lock().group().membership.duty();
            match duty {
                Some(Duty::GiveUp { partitions, is_lost }) => self.give_up(&partitions, is_lost).await,
                Some(Duty::Adopt { life, assigned, added, revoked }) => {
                    self.adopt(life, &assigned, &added, &revoked).await;
                }
                None => break,
            }
            shared.group_wanted.notify_one();
        }
        if let Some(error) = shared.state.lock().group().membership.failure() {
            return Err(error.into());
        }
        Ok(committing::commit_when_due(shared))
    }

    async fn give_up(&self, partitions: &BTreeSet<PartitionName>, is_lost: bool) {
        let shared = &self.shared;
        if !is_lost {
            shared.commit_before_revocation(None, shared.options.request_timeout).await;
        }
        self.tell_gone(partitions, is_lost).await;
        let mut guard = shared.state.lock();
        let state = &mut *guard;
        let group = state.group.as_mut().expect("it has one");
        group.membership.gave_up(partitions);
        state.positions.assign_committed(group.membership.owned().iter().cloned());
    }

    async fn adopt(
        &self,
        life: Life,
        assigned: &BTreeSet<PartitionName>,
        added: &BTreeSet<PartitionName>,
        revoked: &BTreeSet<PartitionName>,
    ) {
        let shared = &self.shared;
        if !revoked.is_empty() {
            shared.commit_before_revocation(Some(revoked), shared.options.request_timeout).await;
            self.tell_gone(revoked, false).await;
        }
        for partition in added {
            shared.cluster.track(&partition.topic);
        }
        shared.state.lock().positions.assign_committed(assigned.iter().cloned());
        let listener = shared.state.lock().group().listener.clone();
        if let Some(listener) = listener {
            listener.assigned(self, added).await;
        }
        shared.state.lock().group().membership.adopted(life, assigned);
    }

    async fn tell_gone(&self, partitions: &BTreeSet<PartitionName>, is_lost: bool) {
        let listener = self.shared.state.lock().group().listener.clone();
        match listener {
            Some(listener) if !partitions.is_empty() && is_lost => listener.lost(self, partitions).await,
            Some(listener) if !partitions.is_empty() => listener.revoked(self, partitions).await,
            Some(_) | None => {}
        }
    }

    /// Reads nothing any more: commits if that is automatic, tells the user, and leaves the group. Waits for the coordinator
    /// no longer than `timeout`.
    pub async fn unsubscribe(&self, timeout: Duration) {
        let shared = &self.shared;
        if shared.options.group.is_none() {
            return self.assign([]);
        }
        let deadline = runtime::time::now() + timeout;
        let (owned, may_commit) = {
            let mut state = shared.state.lock();
            let membership = &state.group().membership;
            (membership.owned().clone(), membership.is_stable() || !membership.is_subscribed())
        };
        if may_commit {
            shared.commit_before_revocation(None, timeout).await;
        }
        self.tell_gone(&owned, !may_commit).await;
        let leaving = {
            let mut state = shared.state.lock();
            state.positions.assign([]);
            let group = state.group();
            group.wanted = None;
            let coordinator = group.membership.contact().coordinator();
            coordinator.zip(group.membership.leave("the consumer is being closed"))
        };
        shared.group_interrupted.notify_waiters();
        shared.group_wanted.notify_one();
        if let Some((broker, goodbye)) = leaving {
            coordinator::leave(&shared.cluster, broker, &goodbye, deadline - runtime::time::now()).await;
        }
    }

    /// Ends the consumer: as [`Consumer::unsubscribe`], and for good. A static member keeps its partitions until its session ends.
    pub async fn close(&self, timeout: Duration) {
        self.unsubscribe(timeout).await;
        self.shared.end();
    }
}

impl Shared {
    /// The topics that are wanted, as far as the cluster is known; none where the coordinator knows.
    fn topics_of(&self, wanted: &Wanted) -> BTreeSet<Arc<str>> {
        let excludes_internal = self.options.group.as_ref().is_none_or(|group| group.excludes_internal_topics);
        match wanted {
            Wanted::Topics(topics) => topics.clone(),
            Wanted::MatchingThere(_) => BTreeSet::new(),
            Wanted::Matching(pattern) => self
                .cluster
                .topics_where(|name, topic| pattern.is_match(name) && !(excludes_internal && topic.is_internal)),
        }
    }
}

#[cfg(test)]
mod tests;
