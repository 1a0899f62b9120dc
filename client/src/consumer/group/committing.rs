//! Commits where a consumer is: by hand, and automatically with polls, before partitions are given up, and at the end.
//!
//! An earlier commit never overwrites a later one of the same consumer: they are numbered as they are made, and sent one at a
//! time. What an error says of the membership is told to its machine. Driven by `group` and the user of a `Consumer`.

use super::coordinator;
use crate::PartitionName;
use crate::consumer::membership::{GroupMetadata, Life, MemberId};
use crate::consumer::{Consumer, Position, Shared, now};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, MonotonicMillis, Offset};
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, StrBytes, topic_name};
use runtime::{rand, task, time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The last version of OffsetCommit that names topics by name.
const NAMES_UNTIL: i16 = 9;

/// What a group remembers of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, if it is known: a reader who begins here is told of a truncation (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the user likes to remember beside.
    pub metadata: String,
}

impl From<Position> for OffsetAndMetadata {
    fn from(position: Position) -> Self {
        Self { offset: position.offset, leader_epoch: position.leader_epoch, metadata: String::new() }
    }
}

/// What one commit says.
pub type Offsets = BTreeMap<PartitionName, OffsetAndMetadata>;

/// Why offsets are not committed, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It takes a group to commit.
    #[error("the consumer has no group")]
    NoGroup,
    /// The group is being rebalanced: poll, and commit again what is still assigned (`RebalanceInProgressException`).
    #[error("the group is being rebalanced")]
    RebalanceInProgress,
    /// The member's epoch has risen since it sent this, and nothing is committed. Commit again: it is told the new one with its
    /// next heartbeat.
    #[error("the member epoch has risen meanwhile")]
    StaleMemberEpoch,
    /// The consumer is no member of the group any more: others may have read on from the last commit (`CommitFailedException`).
    #[error("the consumer is no member of its group any more")]
    NotMember,
    /// The coordinator refuses, and would again.
    #[error("{}: {code}", partition.as_ref().map_or_else(|| "the group".to_owned(), ToString::to_string))]
    Refused {
        /// About which partition, or all.
        partition: Option<PartitionName>,
        /// Why.
        code: ErrorCode,
    },
    /// No coordinator has answered in time.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl CommitError {
    /// Whether the same commit may succeed a little later.
    fn is_retriable(&self) -> bool {
        match self {
            Self::StaleMemberEpoch => true,
            Self::NoGroup | Self::RebalanceInProgress | Self::NotMember => false,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Client(error) => error.is_retriable(),
        }
    }
}

/// The commits that a consumer has made.
#[derive(Debug, Default)]
pub(super) struct Commits {
    number_last: u64,
    /// The newest commit of each partition that was sent.
    sent: BTreeMap<PartitionName, u64>,
    /// When polls commit next; nothing before the first one.
    due_at: Option<MonotonicMillis>,
    is_automatic_under_way: bool,
}

/// One commit, and its place among the others of the consumer.
#[derive(Clone, Debug)]
struct Commit {
    number: u64,
    offsets: Offsets,
}

impl Consumer {
    /// Commits the positions of all assigned partitions: every record that polls have returned counts as done.
    ///
    /// # Errors
    /// [`CommitError`]. After a timeout the offsets may be committed, or may yet be.
    pub async fn commit(&self, timeout: Duration) -> Result<(), CommitError> {
        let offsets = self.shared.consumed(None);
        self.commit_offsets(offsets, timeout).await
    }

    /// Commits these offsets, of any partitions.
    ///
    /// # Errors
    /// As [`Consumer::commit`].
    pub async fn commit_offsets(&self, offsets: Offsets, timeout: Duration) -> Result<(), CommitError> {
        let commit = self.shared.number(offsets)?;
        Box::pin(self.shared.commit_until(commit, time::now() + timeout)).await
    }

    /// Commits these offsets without waiting, and tells `done` how it went. It is tried once.
    ///
    /// # Errors
    /// [`CommitError::NoGroup`] alone.
    pub fn commit_async(
        &self,
        offsets: Offsets,
        done: impl FnOnce(Result<(), CommitError>) + Send + 'static,
    ) -> Result<(), CommitError> {
        let commit = self.shared.number(offsets)?;
        let shared = self.shared.clone();
        task::spawn(async move { done(shared.commit_once(&commit).await) });
        Ok(())
    }

    /// What a commit of all assigned partitions would say.
    pub fn consumed(&self) -> Offsets {
        self.shared.consumed(None)
    }
}

/// Starts a commit if polls are to make one now. Returns when the next one is due.
pub(super) fn commit_when_due(shared: &Arc<Shared>) -> Option<MonotonicMillis> {
    let interval = shared.options.group.as_ref()?.commit_interval?;
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let now = now();
    let due_at = {
        let mut state = shared.state.lock();
        let group = state.group();
        let due_at = *group.commits.due_at.get_or_insert(now.plus(interval_ms));
        if now < due_at {
            return Some(due_at);
        }
        let is_allowed = !group.membership.is_subscribed() || group.membership.is_stable();
        if !is_allowed || group.commits.is_automatic_under_way {
            return None;
        }
        let next = now.plus(interval_ms);
        group.commits.due_at = Some(next);
        group.commits.is_automatic_under_way = true;
        next
    };
    let commit = shared.number(shared.consumed(None)).ok()?;
    let shared = shared.clone();
    task::spawn(async move {
        let outcome = shared.commit_once(&commit).await;
        let mut state = shared.state.lock();
        let commits = &mut state.group().commits;
        commits.is_automatic_under_way = false;
        if let Err(error) = outcome {
            tracing::debug!(%error, "an automatic commit failed");
            if error.is_retriable() {
                let wait = shared.options.retry_backoff.after(1, rand::next());
                commits.due_at = Some(crate::consumer::now().plus(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
            }
        }
        drop(state);
        shared.arrived.notify_one();
    });
    Some(due_at)
}

impl Shared {
    /// Where the consumer is in its partitions, or in some of them.
    fn consumed(&self, among: Option<&BTreeSet<PartitionName>>) -> Offsets {
        let state = self.state.lock();
        let consumed = state.positions.consumed();
        let wanted = consumed.filter(|(partition, _)| among.is_none_or(|among| among.contains(*partition)));
        wanted.map(|(partition, position)| (partition.clone(), position.into())).collect()
    }

    fn number(&self, offsets: Offsets) -> Result<Commit, CommitError> {
        let mut state = self.state.lock();
        let commits = &mut state.group.as_mut().ok_or(CommitError::NoGroup)?.commits;
        commits.number_last += 1;
        Ok(Commit { number: commits.number_last, offsets })
    }

    /// Commits what was consumed of these partitions, or of all, if commits are automatic. A failure is no reason to stay: who
    /// reads on reads those records again.
    pub(super) async fn commit_before_revocation(&self, among: Option<&BTreeSet<PartitionName>>, timeout: Duration) {
        let is_automatic = self.options.group.as_ref().is_some_and(|group| group.commit_interval.is_some());
        let offsets = if is_automatic { self.consumed(among) } else { Offsets::new() };
        if offsets.is_empty() {
            return;
        }
        let outcome = match self.number(offsets) {
            Ok(commit) => Box::pin(self.commit_until(commit, time::now() + timeout)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "what was read before a rebalance is not committed");
        }
    }

    async fn commit_until(&self, commit: Commit, deadline: time::Instant) -> Result<(), CommitError> {
        let mut failures = 0u32;
        let mut last = None;
        let (life, held) = self.held(&commit);
        loop {
            let error = match time::timeout_at(deadline, self.commit_once(&commit)).await {
                Ok(Err(CommitError::StaleMemberEpoch)) if !self.still_holds(life, &held) => {
                    return Err(CommitError::NotMember);
                }
                Ok(Err(error)) if error.is_retriable() && time::now() < deadline => error,
                Ok(outcome) => return outcome,
                Err(_) => return Err(last.unwrap_or_else(|| no_answer(&commit))),
            };
            failures = failures.saturating_add(1);
            last = Some(error);
            let wait = self.options.retry_backoff.after(failures, rand::next());
            time::sleep_until(deadline.min(time::now() + wait)).await;
        }
    }

    /// What a commit says of the member's own partitions, and in which of its lives.
    fn held(&self, commit: &Commit) -> (Life, BTreeSet<PartitionName>) {
        let mut state = self.state.lock();
        let membership = &state.group().membership;
        let owned = membership.owned().iter().filter(|partition| commit.offsets.contains_key(partition));
        (membership.contact().life(), owned.cloned().collect())
    }

    /// Whether nobody else can have read on in these partitions. Then a commit that came under a member epoch of before is sent
    /// under the new one (`isStaleEpochErrorAndValidEpochAvailable`); else it might undo another's.
    fn still_holds(&self, life: Life, held: &BTreeSet<PartitionName>) -> bool {
        let mut state = self.state.lock();
        let membership = &state.group().membership;
        membership.contact().life() == life && held.is_subset(membership.owned())
    }

    /// Sends one commit, but for what a later one has said already.
    async fn commit_once(&self, commit: &Commit) -> Result<(), CommitError> {
        let _turn = self.committing.lock().await;
        let broker = coordinator::known_or_found(self).await?;
        let (sender, offsets) = {
            let mut state = self.state.lock();
            let group = state.group();
            let sender = sender(group)?;
            let sent = &mut group.commits.sent;
            let is_newest =
                |partition: &PartitionName| sent.get(partition).is_none_or(|newest| *newest <= commit.number);
            let offsets: Offsets =
                commit.offsets.iter().filter(|(partition, _)| is_newest(partition)).map(clone_pair).collect();
            sent.extend(offsets.keys().map(|partition| (partition.clone(), commit.number)));
            (sender, offsets)
        };
        if offsets.is_empty() {
            return Ok(());
        }
        let request = request(&sender, &offsets);
        let timeout = self.options.request_timeout;
        let answer = coordinator::ask(&self.cluster, broker, NAMES_UNTIL, &request, timeout).await;
        let response =
            answer.inspect_err(|_| self.state.lock().group().membership.contact_mut().lost_coordinator(broker))?;
        self.judge(broker, &sender, &response)
    }

    /// The first thing that is wrong with a commit, after the machine has heard of all.
    fn judge(
        &self,
        broker: protocol::ids::BrokerId,
        sender: &GroupMetadata,
        response: &OffsetCommitResponse,
    ) -> Result<(), CommitError> {
        let mut first = Ok(());
        let mut state = self.state.lock();
        let membership = &mut state.group().membership;
        for topic in &response.topics {
            for partition in &topic.partitions {
                let code = ErrorCode::from_wire(partition.error_code);
                if code.is_none() {
                    continue;
                }
                let name = PartitionName::new(topic.name.as_str(), partition.partition_index.into());
                let error = match code {
                    ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::RequestTimedOut => {
                        membership.contact_mut().lost_coordinator(broker);
                        CommitError::Refused { partition: None, code }
                    }
                    ErrorCode::RebalanceInProgress => CommitError::RebalanceInProgress,
                    ErrorCode::StaleMemberEpoch => CommitError::StaleMemberEpoch,
                    ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                        CommitError::NotMember
                    }
                    ErrorCode::GroupAuthorizationFailed => CommitError::Refused { partition: None, code },
                    _ => CommitError::Refused { partition: Some(name), code },
                };
                membership.commit_refused(sender, code, now(), rand::next());
                if first.is_ok() {
                    first = Err(error);
                }
            }
        }
        drop(state);
        if first.is_err() {
            self.group_wanted.notify_one();
        }
        first
    }
}

/// Under which identity a commit goes: a member's, or nobody's for partitions that were assigned by hand.
fn sender(group: &super::Group) -> Result<GroupMetadata, CommitError> {
    let membership = &group.membership;
    if membership.is_stable() || !membership.is_subscribed() {
        let metadata = membership.metadata();
        return Ok(if membership.is_subscribed() {
            metadata
        } else {
            GroupMetadata { instance_id: None, member_id: MemberId::none(), ..metadata }
        });
    }
    Err(if membership.is_joining() { CommitError::RebalanceInProgress } else { CommitError::NotMember })
}

fn clone_pair((partition, offset): (&PartitionName, &OffsetAndMetadata)) -> (PartitionName, OffsetAndMetadata) {
    (partition.clone(), offset.clone())
}

fn request(sender: &GroupMetadata, offsets: &Offsets) -> OffsetCommitRequest {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic> = BTreeMap::new();
    for (partition, committed) in offsets {
        let topic = topics.entry(&partition.topic);
        let topic =
            topic.or_insert_with(|| OffsetCommitRequestTopic::default().with_name(topic_name(&partition.topic)));
        topic.partitions.push(
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition.0)
                .with_committed_offset(committed.offset.0)
                .with_committed_leader_epoch(committed.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0)
                .with_committed_metadata(Some(text(&committed.metadata))),
        );
    }
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(&sender.group_id)))
        .with_generation_id_or_member_epoch(sender.generation.0)
        .with_member_id(text(&sender.member_id.0))
        .with_group_instance_id(sender.instance_id.as_deref().map(text))
        .with_topics(topics.into_values().collect())
}

fn no_answer(commit: &Commit) -> CommitError {
    let partitions: Vec<String> = commit.offsets.keys().map(ToString::to_string).collect();
    ClientError::NoBroker { last: format!("no commit of {} in time", partitions.join(", ")) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::membership::Generation;
    use protocol::frame::encode_request;
    use protocol::ids::PartitionIndex;
    use protocol::messages::Message;

    #[test]
    fn a_commit_fits_every_version() {
        let sender = GroupMetadata {
            group_id: Arc::from("g"),
            generation: Generation(3),
            member_id: MemberId::from("m"),
            instance_id: None,
        };
        let committed =
            OffsetAndMetadata { offset: Offset(7), leader_epoch: Some(LeaderEpoch(3)), metadata: "m".to_owned() };
        let offsets = [0, 1].map(|index| (PartitionName::new("t", PartitionIndex(index)), committed.clone()));
        let request = request(&sender, &offsets.into());
        assert_eq!((request.topics.len(), request.topics[0].partitions.len()), (1, 2));
        for version in OffsetCommitRequest::VERSIONS.min..=NAMES_UNTIL {
            encode_request(0, None, version, &request).unwrap_or_else(|error| panic!("version {version}: {error}"));
        }
    }
}
