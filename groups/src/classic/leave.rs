//! Pure. LeaveGroup: members go, or an administrator sends them away.

use super::messages::{Answer, MemberIdentity};
use super::{ClassicGroup, Moment, State};
use crate::effects::Effects;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};

/// What a LeaveGroup comes to, for one of those that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Who, as the request says.
    pub identity: MemberIdentity,
    /// Whether it is gone.
    pub error: ErrorCode,
}

impl ClassicGroup {
    /// Removes members, by member id or by instance alone (KIP-345); a rebalance follows if any was there. Their requests that
    /// wait are answered with `UNKNOWN_MEMBER_ID`.
    ///
    /// As `GroupMetadataManager.classicGroupLeaveToClassicGroup`, except that there a stable group also rebalances for one
    /// that was on the way and never joined.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` if the group is dead; everything else that can be wrong is said for each that is named.
    pub fn leave(
        &mut self,
        leaving: Vec<MemberIdentity>,
        now: MonotonicMillis,
        wall: WallMillis,
    ) -> Result<(Vec<Left>, Effects<Answer>), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let at = Moment { now, wall };
        let mut out = Effects::default();
        let members = self.roster.len();
        let mut left = Vec::with_capacity(leaving.len());
        for identity in leaving {
            let error = self.leave_one(&identity, &mut out).err().unwrap_or(ErrorCode::None);
            left.push(Left { identity, error });
        }
        match self.state {
            State::CompletingRebalance | State::Stable if self.roster.len() < members => {
                self.prepare_rebalance(at, &mut out);
            }
            State::PreparingRebalance => self.maybe_complete_join(at, &mut out),
            State::Empty | State::CompletingRebalance | State::Stable | State::Dead => {}
        }
        self.assert_sound();
        Ok((left, out))
    }

    fn leave_one(&mut self, leaving: &MemberIdentity, out: &mut Effects<Answer>) -> Result<(), ErrorCode> {
        let MemberIdentity { member, instance } = leaving;
        let member = if member.is_empty() {
            let named = instance.as_ref().and_then(|instance| self.roster.by_instance(instance));
            named.ok_or(ErrorCode::UnknownMemberId)?.clone()
        } else if self.roster.is_pending(member) {
            self.forget(member);
            return Ok(());
        } else {
            self.roster.check(member, instance.as_ref())?;
            member.clone()
        };
        self.dismiss(&member, out);
        Ok(())
    }
}
