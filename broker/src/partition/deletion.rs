//! What a replica deletes from the beginning of its log.
//!
//! It never decides which segments are old: [`storage`] does. Driven by `partitions`, which writes the log start offset
//! down between the two steps, and by the handler of DeleteRecords.

use super::Partition;
use super::context::wall_now;
use super::refusal::DeletionRefusal;
use super::state::Role;
use protocol::ids::Offset;
use runtime::time::{self, Instant};
use std::sync::Arc;
use storage::DeletedFiles;

/// Records that are being deleted: here they are.
#[derive(Debug)]
pub struct Deletion {
    partition: Arc<Partition>,
    before: Offset,
}

impl Deletion {
    /// The replica.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Waits until every live replica begins there, and returns where they all begin (`DelayedDeleteRecords`).
    ///
    /// # Errors
    /// See [`DeletionRefusal`]. The records are deleted here all the same.
    pub async fn everywhere(&self, deadline: Instant) -> Result<Offset, DeletionRefusal> {
        loop {
            let moved = self.partition.replica.lock().low_watermark_moved.clone();
            let moved = moved.notified();
            {
                let replica = self.partition.replica.lock();
                let low_watermark = replica.state.low_watermark(&self.partition.context.image)?;
                if low_watermark >= self.before {
                    return Ok(low_watermark);
                }
            }
            if time::timeout_at(deadline, moved).await.is_err() {
                return Err(DeletionRefusal::TimedOut);
            }
        }
    }
}

impl Partition {
    /// Deletes the records before an offset, or all that are committed: the log begins there now
    /// (`Partition.deleteRecordsOnLeader`). Whole segments go with the next look at what is old.
    ///
    /// # Errors
    /// See [`DeletionRefusal`]; then nothing is deleted.
    pub fn delete_records(self: &Arc<Self>, before: Option<Offset>) -> Result<Deletion, DeletionRefusal> {
        let mut replica = self.replica.lock();
        let before = replica.state.check_deletion(before)?;
        if !replica.log.config().deletes {
            return Err(DeletionRefusal::Compacted);
        }
        if let Err(error) = replica.log.set_log_start_offset(before) {
            self.fail(&mut replica, &error);
            return Err(DeletionRefusal::Offline);
        }
        let start = replica.log.log_start_offset();
        replica.state.on_log_start(start);
        Ok(Deletion { partition: self.clone(), before })
    }

    /// Raises the log start past what the topic does not retain, and forgets producers that were silent for long
    /// (`UnifiedLog.deleteOldSegments`). Answers whether there are segments below the log start, to be deleted by
    /// [`Self::delete_segments_below`].
    pub fn retire_old_segments(&self) -> bool {
        let now = wall_now();
        let mut replica = self.replica.lock();
        if matches!(replica.state.role(), Role::Offline) {
            return false;
        }
        replica.log.expire_producers(now);
        let high_watermark = replica.state.high_watermark();
        match replica.log.retire_old_segments(now, high_watermark) {
            Ok(retired) => {
                let start = replica.log.log_start_offset();
                replica.state.on_log_start(start);
                retired
            }
            Err(error) => {
                self.fail(&mut replica, &error);
                false
            }
        }
    }

    /// Renames the files of the segments below the log start offset that is written down, and returns those, to be removed
    /// after [`Partition::file_delete_delay`].
    pub fn delete_segments_below(&self, stored: Offset) -> DeletedFiles {
        let mut replica = self.replica.lock();
        if matches!(replica.state.role(), Role::Offline) {
            return DeletedFiles::default();
        }
        replica.log.delete_segments_below(stored).unwrap_or_else(|error| {
            self.fail(&mut replica, &error);
            DeletedFiles::default()
        })
    }
}
