//! Cutting a log: from its end, as a follower that has diverged must; from its start; or wholly.

use super::Log;
use crate::{
    durability::{Plan, SyncTask},
    error::LogError,
    event::LogEvent,
    producer_state::ProducerState,
    recovery,
    segment::{Segment, stem},
};
use protocol::ids::{Offset, WallMillis};
use runtime::disk::{File, Open};

impl Log {
    /// Removes every batch that holds `offset` or a later one, and the leader epochs that begin there; epochs that begin at
    /// the log's end go even if there is nothing else to remove, for a leader may have written one and no batch after it.
    /// Producers are as they were at the new end.
    ///
    /// Await the task before anything is appended: where segments were removed, an append is refused until that is durable.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<SyncTask, LogError> {
        self.check_online()?;
        let now = WallMillis(runtime::time::wall_now());
        let from = self.log_end_offset();
        if offset >= from {
            if self.epochs.truncate_from_end(from) {
                self.durability.set_epochs(&self.epochs);
                self.emit_epochs();
            }
            return Ok(SyncTask::done());
        }
        if offset < self.segments[0].base_offset {
            return self.truncate_fully_and_start_at(offset);
        }
        self.note_cut(offset);
        let cut = self.cut_segments(offset);
        let (cut, removed) = self.guarded(cut)?;
        let to = self.log_end_offset();
        if self.truncate_epochs(to) {
            self.durability.set_epochs(&self.epochs);
        }
        self.log_start_offset = self.log_start_offset.min(to);
        // The file's new length is not on the device before its next sync: until then a crash may bring the cut bytes back,
        // so recovery has to look into the whole segment, and it is not rolled.
        self.durability.truncated(self.active().base_offset.min(to));
        let rebuilt = self.rebuild_producers(now);
        let removed = self.guarded(rebuilt)? || removed;
        if removed {
            self.durability.names_must_last(cut);
        } else if let Some((file, length)) = cut {
            let truncated =
                file.truncate(length).map_err(|error| LogError::io("truncate", self.active().path("log"), error));
            self.guarded(truncated)?;
        }
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Truncated { partition, to, from });
        self.emit_epochs();
        runtime::sometimes!(removed, "a truncation removed a file");
        Ok(self.durability.task(Plan { names: removed, ..Plan::default() }))
    }

    /// Removes the leader epochs that begin at the log's new end. S03 of the bug zoo keeps them, so that the log answers for
    /// epochs of which it has no batch.
    fn truncate_epochs(&mut self, to: Offset) -> bool {
        if !runtime::mutant!("S03") {
            return self.epochs.truncate_from_end(to);
        }
        if self.epochs.latest().is_some_and(|latest| latest.start_offset >= to) {
            runtime::mutant_diverged!("S03");
        }
        false
    }

    /// Removes the segments after the one that holds `offset`, and forgets that one's batches from there on. Answers how its
    /// file is to be cut, and whether files were removed.
    fn cut_segments(&mut self, offset: Offset) -> Result<(Option<(File, u64)>, bool), LogError> {
        let kept = self.segments.partition_point(|segment| segment.base_offset <= offset).max(1);
        let removed: Vec<Segment> = self.segments.drain(kept..).collect();
        // The last goes first: whatever part of this a crash leaves, there is no hole.
        for segment in removed.iter().rev() {
            self.remove_files_of(segment)?;
        }
        let (disk, interval_bytes) = (self.disk.clone(), self.config.index_interval_bytes);
        let active = self.active_mut();
        if !removed.is_empty() && !active.load_indexes(&disk)? {
            active.size = active.file.len().map_err(|error| LogError::io("measure", active.path("log"), error))?;
            active.index_by_headers(interval_bytes)?;
        }
        let cut = active.truncate(offset)?.map(|length| (active.file.clone(), length));
        Ok((cut, !removed.is_empty()))
    }

    /// Removes everything, and begins anew at an offset: as a follower whose log ends before the leader's begins.
    ///
    /// Await the task before anything is appended: an append is refused until the removal is durable.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<SyncTask, LogError> {
        self.check_online()?;
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Emptying { partition, at: offset });
        let restarted = self.restart_at(offset, WallMillis(runtime::time::wall_now()));
        self.guarded(restarted)?;
        runtime::observe::emit(|| LogEvent::Restarted { partition, at: offset });
        self.emit_epochs();
        Ok(self.durability.task(Plan { names: true, epochs: true, ..Plan::default() }))
    }

    fn restart_at(&mut self, offset: Offset, now: WallMillis) -> Result<(), LogError> {
        self.note_cut(offset);
        // Where the disk refuses, the log keeps what it knew: it goes offline, and is asked where it ended.
        let before = std::mem::take(&mut self.segments);
        match self.replace_files(&before, offset, now) {
            Ok(segment) => self.segments.push(segment),
            Err(error) => {
                self.segments = before;
                return Err(error);
            }
        }
        self.log_start_offset = offset;
        self.epochs.clear();
        self.producers = ProducerState::new(offset);
        self.durability.set_epochs(&self.epochs);
        self.durability.restarted(offset);
        self.durability.names_must_last(None);
        Ok(())
    }

    /// Removes all files of these segments, and begins another at an offset.
    fn replace_files(&mut self, before: &[Segment], offset: Offset, now: WallMillis) -> Result<Segment, LogError> {
        for segment in before.iter().rev() {
            self.remove_files_of(segment)?;
        }
        self.remove_snapshots(|_| true)?;
        Segment::open(&self.disk, &self.directory, offset, Open::CreateNew, now)
    }

    /// Raises the first offset that may be read; a lower one changes nothing. The caller sees to it that the high watermark
    /// is not passed. Segments below are removed by [`Log::delete_segments_below`].
    ///
    /// # Errors
    /// When the log is offline.
    ///
    /// # Panics
    /// If `offset` is past the log's end.
    pub fn set_log_start_offset(&mut self, offset: Offset) -> Result<(), LogError> {
        self.check_online()?;
        assert!(offset <= self.log_end_offset(), "{offset} <= {}", self.log_end_offset());
        if offset <= self.log_start_offset {
            return Ok(());
        }
        self.log_start_offset = offset;
        if self.epochs.truncate_from_start(offset) {
            self.durability.set_epochs(&self.epochs);
        }
        self.producers.forget_transactions_below(offset);
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::StartAdvanced { partition, to: offset });
        self.emit_epochs();
        Ok(())
    }

    /// Takes over the first offset that the checkpoint file has for a log that was just opened. If the log ends before it,
    /// the log begins anew there (`LogLoader.deleteSegmentsIfLogStartGreaterThanLogEnd`): await the task.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub(super) fn restore_log_start_offset(&mut self, checkpointed: Offset) -> Result<SyncTask, LogError> {
        if checkpointed > self.log_end_offset() {
            return self.truncate_fully_and_start_at(checkpointed);
        }
        self.set_log_start_offset(checkpointed)?;
        Ok(SyncTask::done())
    }

    /// Removes a segment's files, and the producer snapshot at its base.
    pub(crate) fn remove_files_of(&mut self, segment: &Segment) -> Result<(), LogError> {
        for suffix in ["log", "index", "timeindex", "txnindex"] {
            let path = segment.path(suffix);
            recovery::remove_if_present(&self.disk, &path)?;
        }
        self.remove_snapshots(|offset| offset == segment.base_offset)?;
        self.durability.names_changed();
        Ok(())
    }

    /// Removes producer snapshots. Answers whether there were any.
    pub(crate) fn remove_snapshots(&mut self, goes: impl Fn(Offset) -> bool) -> Result<bool, LogError> {
        let gone: Vec<Offset> = self.snapshots.iter().copied().filter(|offset| goes(*offset)).collect();
        for offset in &gone {
            recovery::remove_if_present(&self.disk, &format!("{}.snapshot", stem(&self.directory, *offset)))?;
            self.snapshots.remove(offset);
        }
        Ok(!gone.is_empty())
    }

    /// Makes the producers' table what it was at the log's end: from the newest snapshot not above, and the batches after
    /// it. Answers whether snapshots were removed.
    fn rebuild_producers(&mut self, now: WallMillis) -> Result<bool, LogError> {
        let end = self.log_end_offset();
        let removed = self.remove_snapshots(|offset| offset > end)?;
        self.durability.forget_others_above(end);
        // Without producers before there are none after.
        if self.producers.is_empty() {
            self.producers = ProducerState::new(end);
            return Ok(removed);
        }
        self.producers = recovery::load_producers(self, now)?;
        Ok(removed)
    }

    /// What the mutant Z13 does where a replica becomes leader: only the last snapshot counts.
    pub(crate) fn forget_replayed_producers(&mut self) {
        let snapshot = recovery::newest_snapshot(self, WallMillis(0)).ok().flatten();
        let forgetful = snapshot.unwrap_or_else(|| ProducerState::new(self.log_start_offset));
        if forgetful.iter().ne(self.producers.iter()) {
            runtime::mutant_diverged!("Z13");
        }
        self.producers = forgetful;
        self.producers.advance_to(self.log_end_offset());
    }
}
