//! Deleting from a log's beginning, what its topic does not retain and what was deleted by request; and the whole of it.
//!
//! In three steps, so that a crash between them leaves a log that can be opened and begins no earlier than it did: the log
//! start offset rises; the caller writes it down (`log-start-offset-checkpoint`); the files of the segments below it get a
//! name under which they are never read again, and are removed later, when nobody is being sent from them any more.

use super::Log;
use crate::{
    error::LogError,
    event::LogEvent,
    recovery,
    retention::{self, Stretch},
    segment::{Segment, stem},
};
use protocol::ids::{Offset, WallMillis};
use runtime::disk::Disk;

/// What a file is called that waits to be removed (`LogFileUtils.DELETED_FILE_SUFFIX`).
pub(super) const DELETED_SUFFIX: &str = ".deleted";

/// Files that wait to be removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeletedFiles(pub(super) Vec<String>);

impl DeletedFiles {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes them, as after `file.delete.delay.ms`. It waits for the disk. Those that are gone already, with their whole
    /// directory perhaps, are no error.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, disk: &Disk) -> Result<(), LogError> {
        self.0.iter().try_for_each(|path| recovery::remove_if_present(disk, path))
    }
}

impl Log {
    /// Raises the log start offset past the oldest segments that `retention.ms` and `retention.bytes` let go, as long as
    /// they end at or below `high_watermark`. Where the active segment is among them, a new one is begun. Answers whether
    /// there are segments below the log start offset now, for this or an earlier reason: write that down, and then call
    /// [`Self::delete_segments_below`].
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn retire_old_segments(&mut self, now: WallMillis, high_watermark: Offset) -> Result<bool, LogError> {
        self.check_online()?;
        let stretch = |segment: &Segment| Stretch {
            end_offset: segment.end_offset,
            size: segment.size,
            // Records without a time are as old as their segment is known to be.
            newest: if segment.largest.timestamp.0 >= 0 { segment.largest.timestamp } else { segment.created },
        };
        let stretches: Vec<Stretch> = self.segments.iter().map(stretch).collect();
        let mut count = retention::expired(&stretches, &self.config, high_watermark, now);
        if runtime::mutant!("Z18") {
            let eager = retention::beyond_retention(&stretches, &self.config, now);
            if eager > count {
                runtime::mutant_diverged!("Z18");
            }
            count = eager;
        }
        if count == self.segments.len() && !self.roll(now)? {
            count -= 1;
        }
        if count > 0 {
            let start = self.segments[count].base_offset;
            self.set_log_start_offset(start)?;
        }
        Ok(self.segments_below(self.log_start_offset) > 0)
    }

    /// Gives the files of the segments that end at or below `stored` a name under which they wait to be removed, and returns
    /// those; the active segment is never among them. `stored` is the log start offset that is written down: above it
    /// nothing goes, for a crash could leave the segments in any state.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn delete_segments_below(&mut self, stored: Offset) -> Result<DeletedFiles, LogError> {
        self.check_online()?;
        let count = self.segments_below(stored.min(self.log_start_offset));
        let gone: Vec<Segment> = self.segments.drain(..count).collect();
        let mut deleted = DeletedFiles::default();
        for segment in &gone {
            let renamed = self.rename_files_of(segment, &mut deleted);
            self.guarded(renamed)?;
        }
        runtime::sometimes!(!gone.is_empty(), "segments below the log start offset were deleted");
        Ok(deleted)
    }

    /// How many segments lie wholly below an offset, but for the active one.
    fn segments_below(&self, offset: Offset) -> usize {
        let closed = &self.segments[..self.segments.len() - 1];
        closed.iter().take_while(|segment| segment.end_offset <= offset).count()
    }

    /// Gives the directory the name under which a deleted partition waits for its removal, and stops writing to it. The
    /// new name is returned; it is durable after the next sync of the disk's root, and removed by
    /// [`crate::directory::remove`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_deleted(&self) -> Result<String, LogError> {
        self.durability.go_offline();
        let to = crate::directory::deleted_name(&self.directory, runtime::rand::uuid());
        let renamed = self.disk.rename(&self.directory, &to);
        renamed.map_err(|error| LogError::io("rename", &self.directory, error))?;
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Deleted { partition });
        Ok(to)
    }

    fn rename_files_of(&mut self, segment: &Segment, deleted: &mut DeletedFiles) -> Result<(), LogError> {
        let stem = stem(&self.directory, segment.base_offset);
        for suffix in ["log", "index", "timeindex", "txnindex", "snapshot"] {
            self.rename_deleted(&format!("{stem}.{suffix}"), deleted)?;
        }
        self.snapshots.remove(&segment.base_offset);
        self.durability.names_changed();
        Ok(())
    }
}
