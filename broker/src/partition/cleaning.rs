//! What a replica does for the cleaning of its log.
//!
//! It never decides what may go: [`storage::cleaner`] does, and works outside this replica's lock. Driven by `partitions`.

use super::Partition;
use super::context::wall_now;
use super::state::Role;
use protocol::ids::Offset;
use storage::{CleanError, Cleanable, CleanedSegment, CleanerConfig, Cleaning, DeletedFiles, LogError, SyncTask};

impl Partition {
    /// How much of the log is to be cleaned, if it is due (`LogCleanerManager.grabFilthiestCompactedLog`).
    pub fn due_cleaning(&self) -> Option<Cleanable> {
        let replica = self.replica.lock();
        if matches!(replica.state.role(), Role::Offline) {
            return None;
        }
        let cleanable = replica.log.cleanable(replica.state.high_watermark(), wall_now())?;
        cleanable.is_due(replica.log.config()).then_some(cleanable)
    }

    /// Bytes of the segments that could be cleaned now.
    pub fn cleanable_bytes(&self) -> u64 {
        let replica = self.replica.lock();
        let cleanable = replica.log.cleanable(replica.state.high_watermark(), wall_now());
        cleanable.map_or(0, |cleanable| cleanable.cleanable_bytes)
    }

    /// Up to where the log is clean, if that is further than its beginning; for the checkpoint file.
    pub fn first_dirty_offset(&self) -> Option<Offset> {
        let replica = self.replica.lock();
        let first_dirty = replica.log.first_dirty_offset();
        (first_dirty > replica.log.log_start_offset()).then_some(first_dirty)
    }

    /// Begins to clean the log up to its high watermark at most; nothing where it is not compacted any more, or offline.
    pub fn begin_cleaning(&self, cleaner: CleanerConfig) -> Option<Cleaning> {
        let replica = self.replica.lock();
        if matches!(replica.state.role(), Role::Offline) {
            return None;
        }
        replica.log.begin_cleaning(cleaner, replica.state.high_watermark(), wall_now())
    }

    /// Puts a cleaned segment in the place of those that it was made of, whose files are returned: they are to be removed
    /// after [`Partition::file_delete_delay`].
    ///
    /// # Errors
    /// `Changed` when the replica is offline, or its log was cut or moved since; `Log` when the disk refuses.
    pub fn swap_in(&self, segment: CleanedSegment) -> Result<DeletedFiles, CleanError> {
        let mut replica = self.replica.lock();
        let swapped = replica.log.swap_in(segment);
        if let Err(CleanError::Log(error)) = &swapped {
            self.fail(&mut replica, error);
        }
        swapped
    }

    /// Every cleaned segment is in its place: the task makes that durable.
    ///
    /// # Errors
    /// `Changed`, as [`Self::swap_in`].
    pub fn end_cleaning(&self, cleaning: &Cleaning) -> Result<SyncTask, CleanError> {
        self.replica.lock().log.end_cleaning(cleaning)
    }

    /// The cleaning is durable: what it went through is clean.
    ///
    /// # Errors
    /// `Changed`, as [`Self::swap_in`].
    pub fn note_cleaned(&self, cleaning: &Cleaning) -> Result<(), CleanError> {
        self.replica.lock().log.note_cleaned(cleaning)
    }

    /// A cleaning failed. A log that is not what was written is damaged, as if a reader had found it; other troubles of one
    /// file leave the log alone.
    pub fn on_cleaning_failure(&self, error: &LogError) {
        if error.is_damage() || error.is_disk_failure() {
            self.on_failure(error);
        }
    }
}
