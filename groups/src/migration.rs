//! Pure. Groups that go over from one protocol to the other while they have members (KIP-848): whether they may, and what of a
//! member goes with it.

use crate::ids::{InstanceId, MemberId};
use bytes::Bytes;

/// Which way groups with members may go: `group.consumer.migration.policy` (`ConsumerGroupMigrationPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both.
    #[default]
    Bidirectional,
    /// A classic group may become a consumer group.
    Upgrade,
    /// A consumer group may become a classic group.
    Downgrade,
    /// Neither.
    Disabled,
}

impl MigrationPolicy {
    /// The policy of that name, in whichever case, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            ("bidirectional", Self::Bidirectional),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
            ("disabled", Self::Disabled),
        ];
        all.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, policy)| policy)
    }

    /// Whether a classic group may become a consumer group.
    pub fn may_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// Whether a consumer group may become a classic group.
    pub fn may_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// A member that speaks the classic protocol, as both kinds of groups know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Migrant {
    /// Its id.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// Its protocols, best first, with what it says for each.
    pub protocols: Vec<(String, Bytes)>,
    /// What it has, as a leader would have given it.
    pub assignment: Bytes,
}
