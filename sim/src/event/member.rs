//! What members of consumer groups asked and were told.

use super::NamedPartition;
use protocol::ids::Offset;
use runtime::observe::{Digest, Event};
use std::collections::BTreeMap;

/// What a group remembers of a partition: how far it is, and the text beside it.
pub type Committed = (Offset, String);

/// A member of a group, for as long as it is one: whoever comes back is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The group.
    pub group: String,
    /// As which reader its polls are told.
    pub reader: u32,
}

impl Member {
    /// The text beside what this member commits.
    pub fn text(&self, attempt: u64) -> String {
        format!("{}.{attempt}", self.reader)
    }

    /// Which of its commits a text stands beside; nothing where it is another's.
    pub fn attempt_of(&self, text: &str) -> Option<u64> {
        let (reader, attempt) = text.split_once('.')?;
        (reader.parse() == Ok(self.reader)).then(|| attempt.parse().ok())?
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {} of {}", self.reader, self.group)
    }
}

/// One thing that a member asked, did, or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvent {
    /// Who.
    pub member: Member,
    /// What.
    pub what: MemberDid,
}

/// See [`MemberEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberDid {
    /// Whatever it reads it commits first, and processes it only if that was accepted: at most once.
    CommitsFirst,
    /// It reads these from now on, besides those that it has.
    Took {
        /// The generation of a classic group, or the member's epoch.
        generation: i32,
        /// Which.
        partitions: Vec<NamedPartition>,
    },
    /// It reads these no more.
    GaveUp {
        /// Which.
        partitions: Vec<NamedPartition>,
        /// They are others' already, as far as it knows.
        lost: bool,
    },
    /// It is about to commit.
    CommitInvoked {
        /// Counted by the member.
        attempt: u64,
        /// The id by which its group knows it.
        id: String,
        /// In which generation or epoch it is.
        generation: i32,
        /// What.
        offsets: BTreeMap<NamedPartition, Committed>,
    },
    /// The commit was accepted.
    CommitAcknowledged {
        /// As it was invoked.
        attempt: u64,
        /// The latest generation or epoch in which it may have been sent.
        generation: i32,
    },
    /// It is about to ask what the group has committed.
    FetchInvoked {
        /// Counted by the member.
        attempt: u64,
        /// For which partitions.
        partitions: Vec<NamedPartition>,
    },
    /// It was told.
    FetchAnswered {
        /// As it was invoked.
        attempt: u64,
        /// What; what is left out was never committed.
        offsets: BTreeMap<NamedPartition, Committed>,
    },
    /// It is over: it left, or was never heard of again.
    Ended,
}

impl MemberDid {
    /// The partitions that it is about.
    pub fn partitions(&self) -> Vec<&NamedPartition> {
        match self {
            Self::Took { partitions, .. } | Self::GaveUp { partitions, .. } | Self::FetchInvoked { partitions, .. } => {
                partitions.iter().collect()
            }
            Self::CommitInvoked { offsets, .. } | Self::FetchAnswered { offsets, .. } => offsets.keys().collect(),
            Self::CommitsFirst | Self::CommitAcknowledged { .. } | Self::Ended => Vec::new(),
        }
    }
}

impl Event for MemberEvent {
    fn kind(&self) -> &'static str {
        match self.what {
            MemberDid::CommitsFirst => "member-commits-first",
            MemberDid::Took { .. } => "member-took",
            MemberDid::GaveUp { .. } => "member-gave-up",
            MemberDid::CommitInvoked { .. } => "commit-invoked",
            MemberDid::CommitAcknowledged { .. } => "commit-acknowledged",
            MemberDid::FetchInvoked { .. } => "committed-asked",
            MemberDid::FetchAnswered { .. } => "committed-told",
            MemberDid::Ended => "member-ended",
        }
    }

    fn digest(&self, into: &mut Digest) {
        into.str(&self.member.group);
        into.u64(u64::from(self.member.reader));
        for partition in self.what.partitions() {
            into.str(&partition.topic);
            into.i64(i64::from(partition.partition.0));
        }
        match &self.what {
            MemberDid::Took { generation, .. } => into.i64(i64::from(*generation)),
            MemberDid::GaveUp { lost, .. } => into.u64(u64::from(*lost)),
            MemberDid::CommitInvoked { attempt, offsets, .. } | MemberDid::FetchAnswered { attempt, offsets } => {
                into.u64(*attempt);
                for (offset, metadata) in offsets.values() {
                    into.i64(offset.0);
                    into.str(metadata);
                }
            }
            MemberDid::CommitAcknowledged { attempt, generation } => {
                into.u64(*attempt);
                into.i64(i64::from(*generation));
            }
            MemberDid::FetchInvoked { attempt, .. } => into.u64(*attempt),
            MemberDid::CommitsFirst | MemberDid::Ended => {}
        }
    }
}
