//! Pure. Who may commit and fetch offsets in the name of a consumer group.

use super::ConsumerGroup;
use crate::ids::{MemberEpoch, MemberId};
use protocol::error_code::ErrorCode;

/// The first version of OffsetCommit that can say that a member epoch is stale (KIP-848).
const MEMBER_EPOCH_VERSION: i16 = 9;

/// Why offsets are neither taken nor told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// The member is not in the group.
    #[error("Member {member} is not in the group")]
    UnknownMember {
        /// Which.
        member: MemberId,
    },
    /// The member's epoch is not this: it may have lost the partitions that it speaks for.
    #[error("The member epoch is {expected}, and the request says {got}")]
    StaleMemberEpoch {
        /// Which it says.
        got: MemberEpoch,
        /// Which it is.
        expected: MemberEpoch,
    },
    /// The same, of a member that speaks the classic protocol.
    #[error("The generation is {expected}, and the request says {got}")]
    IllegalGeneration {
        /// Which it says.
        got: MemberEpoch,
        /// Which it is.
        expected: MemberEpoch,
    },
    /// The version of the request cannot say what a member of a consumer group has to hear.
    #[error(
        "OffsetCommit version {MEMBER_EPOCH_VERSION} or above must be used by members of consumer groups, not {got}"
    )]
    UnsupportedVersion {
        /// Which version was used.
        got: i16,
    },
}

impl OffsetError {
    /// Kafka's code for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownMember { .. } => ErrorCode::UnknownMemberId,
            Self::StaleMemberEpoch { .. } => ErrorCode::StaleMemberEpoch,
            Self::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
            Self::UnsupportedVersion { .. } => ErrorCode::UnsupportedVersion,
        }
    }
}

impl ConsumerGroup {
    /// Whether offsets may be committed (`ConsumerGroup.validateOffsetCommit`): by a member in its epoch, or, while there are
    /// no members, by anybody who claims no epoch: an admin client, or a consumer that assigns partitions by itself.
    ///
    /// # Errors
    /// When the member is unknown, when its epoch is another, or when it uses a version before 9 outside a transaction.
    pub fn validate_commit(
        &self,
        member: &MemberId,
        member_epoch: MemberEpoch,
        api_version: i16,
        transactional: bool,
    ) -> Result<(), OffsetError> {
        if member_epoch < MemberEpoch::JOIN && self.state().members().is_empty() {
            return Ok(());
        }
        let is_classic = self.state().members().get(member).is_some_and(|member| member.classic.is_some());
        let is_known = self.state().members().contains_key(member);
        if is_known && !transactional && !is_classic && api_version < MEMBER_EPOCH_VERSION {
            return Err(OffsetError::UnsupportedVersion { got: api_version });
        }
        self.validate_epoch(member, member_epoch)
    }

    /// Whether offsets may be fetched (`ConsumerGroup.validateOffsetFetch`): by a member in its epoch, or by anybody who claims
    /// to be none.
    ///
    /// # Errors
    /// When the member is unknown, or when its epoch is another.
    pub fn validate_fetch(&self, member: Option<&MemberId>, member_epoch: MemberEpoch) -> Result<(), OffsetError> {
        match member {
            None if member_epoch < MemberEpoch::JOIN => Ok(()),
            None => Err(OffsetError::UnknownMember { member: MemberId::default() }),
            Some(member) => self.validate_epoch(member, member_epoch),
        }
    }

    fn validate_epoch(&self, member: &MemberId, got: MemberEpoch) -> Result<(), OffsetError> {
        let Some(value) = self.state().members().get(member) else {
            return Err(OffsetError::UnknownMember { member: member.clone() });
        };
        let expected = self.state().member_epoch(member);
        match &value.classic {
            _ if got == expected => Ok(()),
            Some(_) => Err(OffsetError::IllegalGeneration { got, expected }),
            None => Err(OffsetError::StaleMemberEpoch { got, expected }),
        }
    }
}
