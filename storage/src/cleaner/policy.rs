//! Pure. Which part of a log may be cleaned, whether it is worth it, and which of its segments become one.
//!
//! The rules are those of `LogCleanerManager.cleanableOffsets`, `LogToClean` and `Cleaner.groupSegmentsBySize`.

use crate::config::LogConfig;
use protocol::ids::{Offset, WallMillis};

/// What counts of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub base_offset: Offset,
    /// In bytes.
    pub size: u64,
    /// Of its offset index, in bytes.
    pub index_bytes: u64,
    /// Of its time index, in bytes.
    pub time_index_bytes: u64,
    /// The timestamp of its first batch.
    pub first_timestamp: Option<WallMillis>,
    /// The largest of its batches.
    pub largest_timestamp: WallMillis,
}

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Below it the log was cleaned, as far as is known.
    pub first_dirty: Offset,
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    /// Never above the high watermark.
    pub last_stable_offset: Offset,
}

/// What may be cleaned of a log, and how much that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// Below it every key has one record.
    pub first_dirty: Offset,
    /// Neither this nor what follows may be touched.
    pub first_uncleanable: Offset,
    /// Bytes of the segments below the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of the segments from there on that may be cleaned whole.
    pub cleanable_bytes: u64,
    /// Whether something has waited for `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// How much of the log is dirty: from 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether it is to be cleaned: it is dirtier than `min.cleanable.dirty.ratio`, or overdue.
    pub fn is_due(&self, config: &LogConfig) -> bool {
        self.cleanable_bytes > 0 && (self.is_overdue || self.dirty_ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// What may be cleaned of a log with these segments, the last of which is active and never cleaned.
pub(crate) fn cleanable(segments: &[Stretch], at: &Position, config: &LogConfig, now: WallMillis) -> Cleanable {
    // An offset that does not lie in the log is of another one: then nothing is known to be clean.
    let known = at.log_start_offset <= at.first_dirty && at.first_dirty <= at.log_end_offset;
    let first_dirty = if known { at.first_dirty } else { at.log_start_offset };
    let (closed, active) = segments.split_at(segments.len() - 1);
    let dirty = &closed[holding(closed, first_dirty)..];
    let dirty = if first_dirty >= active[0].base_offset { &[] } else { dirty };
    let young = |segment: &&Stretch| segment.largest_timestamp.0 > now.0.saturating_sub(config.min_compaction_lag_ms);
    let lagging = if config.min_compaction_lag_ms > 0 { dirty.iter().find(young) } else { None };
    let bounds = [Some(at.last_stable_offset), Some(active[0].base_offset), lagging.map(|segment| segment.base_offset)];
    let first_uncleanable = bounds.into_iter().flatten().fold(Offset(i64::MAX), Offset::min).max(first_dirty);
    let uncleanable_from = if first_uncleanable >= active[0].base_offset {
        active[0].base_offset
    } else {
        closed[holding(closed, first_uncleanable)].base_offset
    };
    let size = |segments: &[Stretch]| segments.iter().map(|segment| segment.size).sum();
    let clean = closed.partition_point(|segment| segment.base_offset < first_dirty);
    let whole = dirty.partition_point(|segment| segment.base_offset < uncleanable_from);
    let oldest = dirty.iter().filter_map(|segment| segment.first_timestamp).filter(|first| first.0 > 0).min();
    let latest = now.0.saturating_sub(config.max_compaction_lag_ms);
    Cleanable {
        first_dirty,
        first_uncleanable,
        clean_bytes: size(&closed[..clean]),
        cleanable_bytes: size(&dirty[..whole]),
        is_overdue: oldest.is_some_and(|oldest| oldest.0 < latest),
    }
}

/// Which segment holds an offset; the first for offsets before.
fn holding(segments: &[Stretch], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

/// How many segments go into each cleaned one: as long as together they are no larger than `segment.bytes`, nor their
/// indexes than `segment.index.bytes`, and their offsets fit one index.
pub(crate) fn groups(segments: &[Stretch], first_uncleanable: Offset, config: &LogConfig) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let (mut size, mut index, mut time_index) = (first.size, first.index_bytes, first.time_index_bytes);
        let mut count = 1;
        while let Some(next) = rest.get(count) {
            let last_offset = rest.get(count + 1).map_or(first_uncleanable, |after| after.base_offset).plus(-1);
            let fits = size + next.size <= config.segment_bytes
                && index + next.index_bytes <= config.segment_index_bytes
                && time_index + next.time_index_bytes <= config.segment_index_bytes
                && (next.size == 0 || last_offset.0 - first.base_offset.0 <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            (size, index, time_index) =
                (size + next.size, index + next.index_bytes, time_index + next.time_index_bytes);
            count += 1;
        }
        groups.push(count);
        rest = &rest[count..];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(base_offset: i64, size: u64, timestamp: i64) -> Stretch {
        Stretch {
            base_offset: Offset(base_offset),
            size,
            index_bytes: size / 10,
            time_index_bytes: size / 10,
            first_timestamp: Some(WallMillis(timestamp)),
            largest_timestamp: WallMillis(timestamp),
        }
    }

    fn at(first_dirty: i64, last_stable_offset: i64) -> Position {
        Position {
            first_dirty: Offset(first_dirty),
            log_start_offset: Offset(0),
            log_end_offset: Offset(40),
            last_stable_offset: Offset(last_stable_offset),
        }
    }

    const SEGMENTS: [i64; 4] = [0, 10, 20, 30];

    fn log() -> Vec<Stretch> {
        SEGMENTS.into_iter().map(|base| segment(base, 100, 1000 + base)).collect()
    }

    fn compacted() -> LogConfig {
        LogConfig { compacts: true, deletes: false, ..LogConfig::default() }
    }

    fn bounds(position: Position, config: &LogConfig, now: i64) -> (i64, i64, u64, u64) {
        let found = cleanable(&log(), &position, config, WallMillis(now));
        (found.first_dirty.0, found.first_uncleanable.0, found.clean_bytes, found.cleanable_bytes)
    }

    #[test]
    fn the_active_segment_and_what_is_not_stable_are_left_alone() {
        assert_eq!(bounds(at(0, 40), &compacted(), 2000), (0, 30, 0, 300));
        assert_eq!(
            bounds(at(0, 15), &compacted(), 2000),
            (0, 15, 0, 100),
            "a segment that is cleaned in part counts not"
        );
        assert_eq!(bounds(at(20, 40), &compacted(), 2000), (20, 30, 200, 100));
        assert_eq!(bounds(at(30, 40), &compacted(), 2000), (30, 30, 300, 0));
        assert_eq!(bounds(at(35, 40), &compacted(), 2000), (35, 35, 300, 0));
        assert_eq!(bounds(at(20, 5), &compacted(), 2000), (20, 20, 200, 0), "the high watermark went back");
    }

    #[test]
    fn young_segments_wait_for_the_minimum_lag() {
        let config = LogConfig { min_compaction_lag_ms: 100, ..compacted() };
        assert_eq!(bounds(at(0, 40), &config, 1115), (0, 20, 0, 200));
        assert_eq!(bounds(at(0, 40), &config, 1099), (0, 0, 0, 0));
        assert_eq!(bounds(at(0, 40), &config, 5000), (0, 30, 0, 300));
    }

    #[test]
    fn a_checkpoint_outside_the_log_says_nothing() {
        assert_eq!(bounds(at(41, 40), &compacted(), 2000), (0, 30, 0, 300));
        let moved = Position { log_start_offset: Offset(15), ..at(3, 40) };
        assert_eq!(bounds(moved, &compacted(), 2000).0, 15);
    }

    #[test]
    fn a_log_is_cleaned_when_it_is_dirty_enough_or_overdue() {
        let due =
            |position, config: &LogConfig, now| cleanable(&log(), &position, config, WallMillis(now)).is_due(config);
        let half = LogConfig { min_cleanable_dirty_ratio: 0.5, ..compacted() };
        assert!(due(at(10, 40), &half, 2000));
        assert!(!due(at(20, 40), &half, 2000));
        let exactly = LogConfig { min_cleanable_dirty_ratio: 1.0, ..compacted() };
        assert!(!due(at(0, 40), &exactly, 2000), "more than the ratio, not as much (as LogCleanerManager)");
        let lag = LogConfig { max_compaction_lag_ms: 500, ..exactly };
        assert!(!due(at(0, 40), &lag, 1500));
        assert!(due(at(0, 40), &lag, 1501));
        assert!(!due(at(30, 40), &lag, 9000), "nothing is dirty but the active segment");
        assert!(!due(at(0, 5), &lag, 9000), "nothing may be cleaned");
    }

    proptest! {
        #[test]
        fn a_group_has_no_more_than_a_segment_may(
            sizes in prop::collection::vec(0..900u64, 0..20), segment_bytes in 1..2000u64, segment_index_bytes in 1..200u64,
        ) {
            let config = LogConfig { segment_bytes, segment_index_bytes, ..compacted() };
            let segments: Vec<Stretch> = sizes.iter().enumerate().map(|(at, size)| segment(at as i64 * 10, *size, 0)).collect();
            let counts = groups(&segments, Offset(1000), &config);
            prop_assert_eq!(counts.iter().sum::<usize>(), segments.len());
            let mut rest = &segments[..];
            for count in counts {
                let (group, after) = rest.split_at(count);
                let size: u64 = group.iter().map(|segment| segment.size).sum();
                let index: u64 = group.iter().map(|segment| segment.index_bytes).sum();
                prop_assert!(count == 1 || (size <= segment_bytes && index <= segment_index_bytes));
                if let Some(next) = after.first() {
                    prop_assert!(size + next.size > segment_bytes || index + next.index_bytes > segment_index_bytes);
                }
                rest = after;
            }
        }
    }

    #[test]
    fn offsets_of_a_group_fit_its_index() {
        let far = i64::from(i32::MAX);
        let segments = [segment(0, 10, 0), segment(far, 10, 0), segment(far + 5, 10, 0)];
        assert_eq!(groups(&segments, Offset(far + 9), &compacted()), [1, 2]);
        assert_eq!(groups(&segments[..2], Offset(far + 1), &compacted()), [2]);
        assert_eq!(groups(&segments[..2], Offset(far + 2), &compacted()), [1, 1]);
    }
}
