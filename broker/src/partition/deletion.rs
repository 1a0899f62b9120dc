//! What a replica deletes from the beginning of its log.
//!
//! It never decides which segments are old: [`storage`] does. Driven by `partitions`, which writes the log start offset
//! down between the two steps.

use super::Partition;
use super::context::wall_now;
use super::state::Role;
use protocol::ids::Offset;
use storage::DeletedFiles;

impl Partition {
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
