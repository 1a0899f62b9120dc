//! Pure. Heartbeat: a member lives, and hears whether it has to join again.

use super::{ClassicGroup, State};
use crate::ids::{Generation, InstanceId, MemberId};
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;

impl ClassicGroup {
    /// A member says that it lives: its session lasts its whole timeout again
    /// (`GroupMetadataManager.classicGroupHeartbeatToClassicGroup`).
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS` where it is to join again, though it was heard; whatever is wrong with who it says it is.
    pub fn heartbeat(
        &mut self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
        now: MonotonicMillis,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.roster.check(member, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.roster.keep_alive(member, now);
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty | State::Dead => unreachable!("a group that is {} has no member {member}", self.state),
        }
    }
}
