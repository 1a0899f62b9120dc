//! Pure. What may be deleted from the beginning of a log by request, and what counts as deleted.
//!
//! It never deletes: [`super::super::deletion`] does.

use super::super::isr::Brokers;
use super::super::refusal::DeletionRefusal;
use super::{PartitionState, Role};
use protocol::ids::Offset;

impl PartitionState {
    /// Up to where records may be deleted by request (`Partition.deleteRecordsOnLeader`): `before`, or the high watermark
    /// where none is given. Never past the high watermark: what is not committed is not deleted.
    ///
    /// # Errors
    /// Not the leader, offline, or an offset out of range.
    pub fn check_deletion(&self, before: Option<Offset>) -> Result<Offset, DeletionRefusal> {
        match &self.role {
            Role::Leader(_) => {}
            Role::Follower | Role::Becoming(_) => return Err(DeletionRefusal::NotLeader),
            Role::Offline => return Err(DeletionRefusal::Offline),
        }
        let (offset, high_watermark) = (before.unwrap_or(self.high_watermark), self.high_watermark);
        if offset < Offset::ZERO || offset > high_watermark {
            return Err(DeletionRefusal::OffsetOutOfRange { offset, high_watermark });
        }
        Ok(offset)
    }

    /// Below this no live replica has records (`Partition.lowWatermarkIfLeader`).
    ///
    /// # Errors
    /// Not the leader, or offline.
    pub fn low_watermark(&self, brokers: &impl Brokers) -> Result<Offset, DeletionRefusal> {
        match &self.role {
            Role::Leader(in_sync) => Ok(in_sync.low_watermark(self.log_start_offset, brokers)),
            Role::Follower | Role::Becoming(_) => Err(DeletionRefusal::NotLeader),
            Role::Offline => Err(DeletionRefusal::Offline),
        }
    }
}
