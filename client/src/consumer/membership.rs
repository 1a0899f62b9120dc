//! Pure. What a member of a consumer group is, and the words between its machine, its shell and whoever polls.
//!
//! A machine says the next [`Step`] to its shell, which asks the coordinator and hands in the [`Answer`]; and a [`Duty`] to the
//! poller, which alone calls its user and moves positions. There is one for each protocol: in [`classic`] the members share
//! partitions among themselves, in [`reconciling`] the coordinator does (KIP-848). Driven by `group`.

pub mod classic;
pub mod contact;
pub mod options;
pub mod reconciling;

use super::assignors::PartitionCounts;
use crate::PartitionName;
use crate::retry::Backoff;
use classic::Classic;
use contact::Contact;
use options::{GroupOptions, GroupProtocol};
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, TopicId};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, StrBytes, SyncGroupRequest, SyncGroupResponse,
};
use reconciling::Reconciling;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Rises with each rebalance of a classic group; a commit of an older one is refused. A commit of a member by KIP-848 has its
/// [`MemberEpoch`] in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i32);

impl Generation {
    /// "In no generation" on the wire.
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a member of a consumer group by KIP-848 has come after its group; what it says under an older one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberEpoch(pub i32);

impl MemberEpoch {
    /// Of who joins, or joins anew.
    pub const JOIN: Self = Self(0);
    /// Of who leaves.
    pub const LEAVE: Self = Self(-1);
    /// Of a static member that leaves and will be back: its partitions wait for it.
    pub const LEAVE_STATIC: Self = Self(-2);
}

impl fmt::Display for MemberEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of a group, by the id that the coordinator gave it, or by KIP-848 it gave itself. Empty before that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub Arc<str>);

impl MemberId {
    /// Of a member that has not been given an id.
    pub fn none() -> Self {
        Self(Arc::from(""))
    }

    /// Whether there is one.
    pub fn is_known(&self) -> bool {
        !self.0.is_empty()
    }
}

impl From<&str> for MemberId {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a consumer says who it is: what a commit carries, and a transaction that commits offsets (`ConsumerGroupMetadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Its group.
    pub group_id: Arc<str>,
    /// In which generation, or member epoch, it is a member, or [`Generation::NONE`].
    pub generation: Generation,
    /// Its id there, or an empty one.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if it is a static member.
    pub instance_id: Option<Arc<str>>,
}

/// Why a consumer is no member of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another consumer has come with the same `group.instance.id`. It stays so until the user subscribes anew.
    #[error("another consumer has taken over the instance id {instance_id}")]
    Fenced {
        /// The instance id of both.
        instance_id: Arc<str>,
    },
    /// The coordinator refuses: the group is full, has other assignors, is of the other protocol. The next poll tries again.
    #[error("the coordinator refuses: {code}{}", message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
    Refused {
        /// Why.
        code: ErrorCode,
        /// What the coordinator says to it.
        message: Option<String>,
    },
    /// The cluster does not serve the protocol, or not the version that the subscription takes. The next poll tries again.
    #[error("the cluster does not serve this by group.protocol=consumer; take classic until it is upgraded: {message}")]
    Unsupported {
        /// What it does not serve.
        message: String,
    },
    /// The coordinator chose an assignor that this member did not offer, or sent it what no consumer says.
    #[error("the group does not speak as consumers do: {0}")]
    NotConsumers(String),
}

/// Names one life of a member. What was asked in an earlier one is answered to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub(super) u64);

/// What a member wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// These topics.
    Topics(BTreeSet<Arc<str>>),
    /// The topics that match this regular expression, as the coordinator sees it (`SubscriptionPattern`).
    Pattern(Arc<str>),
}

/// What is known of the cluster's topics.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Those that the user wants, unless the coordinator says which those are.
    pub wanted: BTreeSet<Arc<str>>,
    /// How many partitions each of [`Membership::watched`] has; one that does not exist is left out.
    pub counts: PartitionCounts,
    /// What those of [`Membership::unnamed`] are called; one that is not known is left out.
    pub names: BTreeMap<TopicId, Arc<str>>,
}

/// What the shell has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing before then, or before something happens.
    Wait(Option<MonotonicMillis>),
    /// Find out who coordinates the group.
    Find(Life),
    /// Send this to the coordinator, and wait for as long as the rebalance takes.
    Join(Life, Box<JoinGroupRequest>),
    /// Find out how many partitions these topics have: this member shares them out.
    Count(Life, BTreeSet<Arc<str>>),
    /// Send this to the coordinator, and wait for the leader's.
    Sync(Life, Box<SyncGroupRequest>),
    /// Send this to the coordinator.
    Heartbeat(Life, Box<HeartbeatRequest>),
    /// Send this to the coordinator.
    ConsumerGroupHeartbeat(Life, Box<ConsumerGroupHeartbeatRequest>),
    /// Send this to the coordinator, and do not care for the answer: the user has not polled for too long. There may be nothing
    /// to send.
    Leave(Option<Goodbye>),
}

/// What the coordinator, or for [`Step::Count`] the metadata, had to say to a step.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// To [`Step::Join`].
    Join(&'a JoinGroupResponse),
    /// To [`Step::Count`]. A topic that does not exist is left out.
    Count(&'a PartitionCounts),
    /// To [`Step::Sync`].
    Sync(&'a SyncGroupResponse),
    /// To [`Step::Heartbeat`].
    Heartbeat(&'a HeartbeatResponse),
    /// To [`Step::ConsumerGroupHeartbeat`].
    ConsumerGroupHeartbeat(&'a ConsumerGroupHeartbeatResponse),
}

/// What a member says when it goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Goodbye {
    /// Of the classic protocol.
    Classic(Box<LeaveGroupRequest>),
    /// By KIP-848.
    Consumer(Box<ConsumerGroupHeartbeatRequest>),
}

/// What the poller has to do before it reads on. It reports when it has; a duty that is not reported stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Commit, tell the user, and read these no more. The member joins after that.
    GiveUp {
        /// Which; there may be none.
        partitions: BTreeSet<PartitionName>,
        /// They are others' already: nothing can be committed.
        is_lost: bool,
    },
    /// Read these from now on.
    Adopt {
        /// In which life they were given: in a later one they are lost.
        life: Life,
        /// All of them.
        assigned: BTreeSet<PartitionName>,
        /// Those that are new.
        added: BTreeSet<PartitionName>,
        /// Those that are no longer: to be committed and told first.
        revoked: BTreeSet<PartitionName>,
    },
}

/// A member, whatever its protocol: what its shell, its poller and whoever commits say to its machine.
pub trait Membership: fmt::Debug + Send {
    /// How it stands with its coordinator and its poller.
    fn contact(&self) -> &Contact;

    /// The same, to be told of either.
    fn contact_mut(&mut self) -> &mut Contact;

    /// The partitions that it reads.
    fn owned(&self) -> &BTreeSet<PartitionName>;

    /// Who this member is.
    fn metadata(&self) -> GroupMetadata;

    /// As whom it asks what the group has committed; nothing where that is told to anybody.
    fn asks_as(&self) -> Option<(MemberId, MemberEpoch)>;

    /// Whether it has a subscription.
    fn is_subscribed(&self) -> bool;

    /// Whether it is a member that may commit.
    fn is_stable(&self) -> bool;

    /// Whether it is on its way into a generation with what it has, and may commit once it is there.
    fn is_joining(&self) -> bool;

    /// Without an answer to a heartbeat for so long, the coordinator may be gone.
    fn heartbeat_patience(&self) -> Duration;

    /// Wants this from now on. A member says so to its coordinator; a fenced one begins anew.
    fn subscribe(&mut self, interest: Interest, now: MonotonicMillis);

    /// Wants the group to share its partitions anew, if members can want that.
    fn want_rejoin(&mut self, reason: &'static str);

    /// Takes in what the cluster's topics are like now.
    fn look_at(&mut self, seen: &Seen);

    /// The topics whose partitions matter to the member.
    fn watched(&self) -> BTreeSet<Arc<str>>;

    /// The topics that it is to read, and does not know by name.
    fn unnamed(&self) -> BTreeSet<TopicId>;

    /// Why it is no member, if so. Said at every poll to who was fenced, else once: then it tries again.
    fn failure(&mut self) -> Option<GroupError>;

    /// Whether there is something for the poller to do.
    fn has_duty(&self) -> bool;

    /// What the poller has to do now, and begins to.
    fn duty(&mut self) -> Option<Duty>;

    /// The poller has given these up.
    fn gave_up(&mut self, partitions: &BTreeSet<PartitionName>);

    /// The poller reads these now, and has given up what it had beside.
    fn adopted(&mut self, life: Life, assigned: &BTreeSet<PartitionName>);

    /// Ends the membership: what to send to the coordinator, if anything.
    fn leave(&mut self, reason: &'static str) -> Option<Goodbye>;

    /// What to do at `now`.
    fn next(&mut self, now: MonotonicMillis) -> Step;

    /// No coordinator is known, or the one that is does not answer.
    fn unanswered(&mut self, life: Life, now: MonotonicMillis, random: u64);

    /// The group may not be asked about, or not in this way.
    fn refused(&mut self, life: Life, code: ErrorCode, message: Option<String>);

    /// A step was answered.
    fn answered(&mut self, life: Life, answer: Answer<'_>, now: MonotonicMillis, random: u64);

    /// The coordinator refused a commit that was sent under this identity.
    fn commit_refused(&mut self, sent_as: &GroupMetadata, code: ErrorCode, now: MonotonicMillis, random: u64);
}

/// A member of no group yet, of the protocol that its user wants; `member_id` makes an id for one that brings its own.
pub fn new(
    options: &GroupOptions,
    retry_backoff: Backoff,
    member_id: impl FnOnce() -> MemberId,
) -> Box<dyn Membership> {
    let contact = Contact::new(options.clone(), retry_backoff);
    match &options.protocol {
        GroupProtocol::Classic(classic) => Box::new(Classic::new(contact, classic.clone())),
        GroupProtocol::Consumer(consumer) => Box::new(Reconciling::new(contact, consumer.clone(), member_id())),
    }
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
