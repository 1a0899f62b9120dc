//! Pure. Which offsets may be committed, deleted and forgotten, as far as that depends on the group.

use super::{CONSUMER, ClassicGroup, State};
use crate::ids::{Generation, InstanceId, MemberId};
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};

/// Who says that it may commit offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitClaim {
    /// Which member it is: empty for one that is none.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// Its generation: [`Generation::NONE`] for one that has none.
    pub generation: Generation,
    /// Whether it commits in a transaction (TxnOffsetCommit).
    pub is_transactional: bool,
}

/// From when on the retention of a group's offsets is counted (`ClassicGroup.offsetExpirationCondition`). An offset with an
/// end of its own ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiration {
    /// Since each was committed.
    SinceCommit,
    /// Since the last member left.
    Since(WallMillis),
}

impl ClassicGroup {
    /// Whether somebody may commit offsets (`ClassicGroup.validateOffsetCommit`). A group that is not there has no
    /// generation: for it, only [`Generation::NONE`] is right, and creates it.
    ///
    /// # Errors
    /// What an OffsetCommit or a TxnOffsetCommit is answered.
    pub fn check_offset_commit(&self, claim: &CommitClaim) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if claim.generation.0 < 0 && self.state == State::Empty {
            // It assigns its partitions by itself, or is an administrator's tool.
            return Ok(());
        }
        if runtime::mutant!("S19") {
            runtime::mutant_diverged!("S19");
        } else if claim.generation.0 >= 0 || !claim.member.is_empty() || claim.instance.is_some() {
            self.roster.check(&claim.member, claim.instance.as_ref())?;
            if claim.generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !claim.is_transactional && self.state != State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !claim.is_transactional && self.state == State::CompletingRebalance {
            // It knows of this generation but cannot have an assignment of it yet.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Checks a commit, and takes one outside a transaction for a sign of life
    /// (`OffsetMetadataManager.validateOffsetCommit`).
    ///
    /// # Errors
    /// As [`Self::check_offset_commit`].
    pub fn offset_commit(&mut self, claim: &CommitClaim, now: MonotonicMillis) -> Result<(), ErrorCode> {
        self.check_offset_commit(claim)?;
        if !claim.is_transactional && self.roster.get(&claim.member).is_some() {
            self.roster.keep_alive(&claim.member, now);
        }
        Ok(())
    }

    /// Whether somebody may read the group's offsets: everybody may (`ClassicGroup.validateOffsetFetch`).
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` if the group is dead.
    pub fn check_offset_fetch(&self) -> Result<(), ErrorCode> {
        if self.state == State::Dead { Err(ErrorCode::GroupIdNotFound) } else { Ok(()) }
    }

    /// Whether offsets may be deleted, of topics to which nobody is subscribed (`ClassicGroup.validateOffsetDelete`,
    /// KIP-496).
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` if there are members of whom that cannot be known, `GROUP_ID_NOT_FOUND` if the group is dead.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => Err(ErrorCode::GroupIdNotFound),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable if !self.is_of_consumers() => {
                Err(ErrorCode::NonEmptyGroup)
            }
            State::Empty | State::PreparingRebalance | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether a member may be subscribed to a topic. Consumers whose subscriptions cannot be read may be subscribed to
    /// anything; others to nothing (`ClassicGroup.isSubscribedToTopic`).
    pub fn is_subscribed(&self, topic: &str) -> bool {
        if runtime::mutant!("S31") && self.is_rebalancing() {
            runtime::mutant_diverged!("S31");
            return false;
        }
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// From when on the retention of offsets counts that the group has for topics to which it is not subscribed; nothing
    /// while none may be forgotten (`ClassicGroup.offsetExpirationCondition`, KIP-211).
    pub fn offset_expiration(&self) -> Option<OffsetExpiration> {
        if self.protocol_type.is_none() {
            return Some(OffsetExpiration::SinceCommit);
        }
        match self.state {
            State::Empty => Some(self.state_since.map_or(OffsetExpiration::SinceCommit, OffsetExpiration::Since)),
            State::Stable if self.is_of_consumers() && self.subscribed.is_some() => Some(OffsetExpiration::SinceCommit),
            State::PreparingRebalance | State::CompletingRebalance if runtime::mutant!("S31") => {
                Some(OffsetExpiration::SinceCommit)
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable | State::Dead => None,
        }
    }

    fn is_rebalancing(&self) -> bool {
        matches!(self.state, State::PreparingRebalance | State::CompletingRebalance)
    }

    /// Whether the members are consumers, whose subscriptions can be read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}
