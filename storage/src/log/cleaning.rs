//! What a cleaning ([`crate::cleaner`]) needs of the log itself: what may be cleaned, and the moment in which cleaned segments
//! take the place of old ones.
//!
//! That moment is a row of renames, and of a directory's changes a crash keeps the first ones: before the new segment's file
//! has its `.swap` name the old ones are whole, and from then on recovery does what was left to do
//! (`LocalLog.replaceSegments`, `LogLoader.removeTempFilesAndCollectSwapFiles`).

use super::{Log, deletion::DELETED_SUFFIX, deletion::DeletedFiles};
use crate::{
    cleaner::{
        CLEANED_SUFFIX, CleanError, CleanedSegment, CleanerConfig, Cleaning, DECOMPRESSED_BYTES_MAX, Identity,
        SWAP_SUFFIX, Source,
        filter::{LastOfProducers, Rules},
        policy::{self, Cleanable, Position, Stretch},
    },
    durability::{Plan, SyncTask},
    error::{AppendError, LogError},
    event::LogEvent,
    recovery,
    segment::Segment,
};
use protocol::{
    ids::{Offset, WallMillis},
    record_batch::{BatchHeader, validate_compacted, validate_replicated},
};
use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

/// The suffixes of a segment's files in the order in which they are renamed: the batches count, the indexes can be built
/// again.
const SUFFIXES: [&str; 3] = ["index", "timeindex", "log"];

impl Log {
    /// Below it every key has one record; for the checkpoint file.
    pub fn first_dirty_offset(&self) -> Offset {
        self.first_dirty_offset
    }

    /// Takes over what the checkpoint file has for a log that was just opened.
    pub fn set_first_dirty_offset(&mut self, checkpointed: Offset) {
        self.first_dirty_offset = checkpointed;
    }

    /// Whether offsets may be missing between batches.
    pub fn has_gaps(&self) -> bool {
        self.gaps
    }

    /// Offsets may be missing between batches from now on, in this log and after the next start: a topic need not be
    /// compacted any more for its logs to have gaps.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn expect_gaps(&mut self) -> Result<(), LogError> {
        self.check_online()?;
        if self.gaps {
            return Ok(());
        }
        let marked = self.guarded(recovery::mark_gaps(&self.disk, &self.directory))?;
        self.durability.to_sync(Offset::ZERO, marked);
        self.durability.names_changed();
        self.gaps = true;
        Ok(())
    }

    /// Checks what the leader sent. Where the topic is compacted its log may have gaps, and so then has this one.
    pub(super) fn validate_sent(&mut self, batches: &[u8]) -> Result<Vec<BatchHeader>, AppendError> {
        let mut expected = self.log_end_offset();
        if !self.gaps && !self.config.compacts {
            return Ok(validate_replicated(batches, expected)?);
        }
        let headers = validate_compacted(batches, expected)?;
        let has_gap = headers.iter().any(|header| {
            let gap = header.base_offset > expected;
            expected = header.next_offset();
            gap
        });
        if has_gap {
            self.expect_gaps()?;
        }
        Ok(headers)
    }

    /// The log was cut: what is cleaned now is not this log any more, and what follows is dirty.
    pub(super) fn note_cut(&mut self, to: Offset) {
        self.first_dirty_offset = self.first_dirty_offset.min(to);
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// What may be cleaned now; nothing where the topic is not compacted, or the log is offline.
    pub fn cleanable(&self, high_watermark: Offset, now: WallMillis) -> Option<Cleanable> {
        if !self.config.compacts || self.is_offline() {
            return None;
        }
        Some(policy::cleanable(&self.stretches(), &self.position(high_watermark), &self.config, now))
    }

    fn position(&self, high_watermark: Offset) -> Position {
        Position {
            first_dirty: self.first_dirty_offset,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset(),
            last_stable_offset: self.cleanable_below(high_watermark),
        }
    }

    /// Up to where records are certain: what is not committed may yet be cut.
    fn cleanable_below(&self, high_watermark: Offset) -> Offset {
        let stable = self.last_stable_offset(high_watermark).min(self.log_end_offset());
        if stable < self.log_end_offset() && runtime::mutant!("S27") {
            runtime::mutant_diverged!("S27");
            return self.log_end_offset();
        }
        stable
    }

    fn delete_retention_ms(&self) -> i64 {
        if runtime::mutant!("S28") {
            runtime::mutant_diverged!("S28");
            return 0;
        }
        self.config.delete_retention_ms
    }

    fn stretches(&self) -> Vec<Stretch> {
        let stretch = |segment: &Segment| Stretch {
            base_offset: segment.base_offset,
            size: segment.size,
            index_bytes: segment.offset_index.len() as u64 * 8,
            time_index_bytes: segment.time_index.len() as u64 * 12,
            first_timestamp: segment.first_timestamp,
            largest_timestamp: segment.largest.timestamp,
        };
        self.segments.iter().map(stretch).collect()
    }

    /// Begins to clean the log up to where it may be, whether or not it is due. Nothing where [`Self::cleanable`] is
    /// nothing.
    pub fn begin_cleaning(&self, cleaner: CleanerConfig, high_watermark: Offset, now: WallMillis) -> Option<Cleaning> {
        let cleanable = self.cleanable(high_watermark, now)?;
        let source = |segment: &Segment| Source {
            base_offset: segment.base_offset,
            end_offset: segment.end_offset,
            size: segment.size,
            created: segment.created,
            file: segment.file.clone(),
            stem: segment.stem().clone(),
        };
        let rules = Rules {
            now,
            delete_retention_ms: self.delete_retention_ms(),
            first_uncleanable: cleanable.first_uncleanable,
            producers: LastOfProducers::of(&self.producers),
            budget: DECOMPRESSED_BYTES_MAX,
        };
        Some(Cleaning {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            config: self.config.clone(),
            cleaner,
            cleanable,
            high_watermark,
            epochs: self.epochs.clone(),
            rules,
            sources: self.segments.iter().map(source).collect(),
            stretches: self.stretches(),
            log: Identity {
                durability: self.durability.clone(),
                cuts: self.cuts.clone(),
                cuts_seen: self.cuts.load(Ordering::Acquire),
            },
            is_observed: runtime::observe::is_observed(),
            prepared: None,
        })
    }

    /// Puts a cleaned segment, which must have been synced, in the place of those that it was made of. Returns their files,
    /// which wait to be removed. Readers that have slices of them go on.
    ///
    /// # Errors
    /// `Changed` where they are not there any more: then the new one's files are removed. `Log` when the disk refuses; the
    /// log is then offline.
    pub fn swap_in(&mut self, cleaned: CleanedSegment) -> Result<DeletedFiles, CleanError> {
        let Some(place) = self.place_of(&cleaned) else {
            cleaned.discard()?;
            return Err(CleanError::Changed);
        };
        let swapped = self.swap(place, cleaned);
        Ok(self.guarded(swapped)?)
    }

    fn place_of(&self, cleaned: &CleanedSegment) -> Option<Range<usize>> {
        if !Arc::ptr_eq(&cleaned.log.durability, &self.durability) || cleaned.log.check().is_err() {
            return None;
        }
        let first = cleaned.segment.base_offset;
        let at = self.segments.partition_point(|segment| segment.base_offset < first);
        let place = at..at + cleaned.replaced.len();
        let closed = &self.segments[..self.segments.len() - 1];
        let bases = closed.get(place.clone())?.iter().map(|segment| segment.base_offset);
        bases.eq(cleaned.replaced.iter().copied()).then_some(place)
    }

    fn swap(&mut self, place: Range<usize>, cleaned: CleanedSegment) -> Result<DeletedFiles, LogError> {
        let CleanedSegment { mut segment, cleaned_to: to, batches, .. } = cleaned;
        self.gaps = true;
        // Told before the first rename: what fails in the middle is finished by the next start.
        let (partition, from) = (self.partition, segment.base_offset);
        runtime::observe::emit(|| LogEvent::Cleaned { partition, from, to, batches });
        self.rename_all(&segment, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        let mut deleted = DeletedFiles::default();
        let newest = self.snapshots.last().copied();
        for at in place.clone() {
            let (stem, base) = (self.segments[at].stem().clone(), self.segments[at].base_offset);
            let keeps_snapshot = at == place.start || newest == Some(base);
            let suffixes = ["log", "index", "timeindex", "txnindex"].into_iter();
            for suffix in suffixes.chain((!keeps_snapshot).then_some("snapshot")) {
                self.rename_deleted(&format!("{stem}.{suffix}"), &mut deleted)?;
            }
            if !keeps_snapshot {
                self.snapshots.remove(&base);
            }
        }
        self.rename_all(&segment, SWAP_SUFFIX, "")?;
        segment.take_place();
        self.segments.splice(place, [segment]);
        self.durability.names_changed();
        Ok(deleted)
    }

    fn rename_all(&self, segment: &Segment, from: &str, to: &str) -> Result<(), LogError> {
        for suffix in SUFFIXES {
            let path = segment.path(suffix);
            let (from, to) = (format!("{path}{from}"), format!("{path}{to}"));
            self.disk.rename(&from, &to).map_err(|error| LogError::io("rename", from, error))?;
        }
        Ok(())
    }

    /// Gives a file, if it is there, the name under which it waits to be removed.
    pub(super) fn rename_deleted(&self, from: &str, deleted: &mut DeletedFiles) -> Result<(), LogError> {
        let to = format!("{from}{DELETED_SUFFIX}");
        match self.disk.rename(from, &to) {
            Ok(()) => deleted.0.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("rename", from, error)),
        }
        Ok(())
    }

    /// Every segment of a cleaning was swapped in: the task makes that durable, and then [`Self::note_cleaned`].
    ///
    /// # Errors
    /// `Changed` where it was of another log, or of one that was cut since.
    pub fn end_cleaning(&self, cleaning: &Cleaning) -> Result<SyncTask, CleanError> {
        self.check_is_cleaned(cleaning)?;
        Ok(self.durability.task(Plan { names: true, ..Plan::default() }))
    }

    /// The log is clean up to where the cleaning went, durably: [`Self::first_dirty_offset`] rises.
    ///
    /// # Errors
    /// As [`Self::end_cleaning`].
    pub fn note_cleaned(&mut self, cleaning: &Cleaning) -> Result<(), CleanError> {
        self.check_is_cleaned(cleaning)?;
        self.first_dirty_offset = cleaning.end();
        Ok(())
    }

    fn check_is_cleaned(&self, cleaning: &Cleaning) -> Result<(), CleanError> {
        if !Arc::ptr_eq(&cleaning.log.durability, &self.durability) {
            return Err(CleanError::Changed);
        }
        cleaning.log.check()
    }
}
