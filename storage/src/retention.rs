//! Pure. Which of a log's oldest segments a topic's `retention.ms` and `retention.bytes` let go.
//!
//! Never one that reaches past the high watermark: what is not committed is never deleted (`UnifiedLog.deleteOldSegments`,
//! KAFKA-5634). Driven by [`crate::log::Log::retire_old_segments`].

use crate::config::LogConfig;
use protocol::ids::{Offset, WallMillis};

/// What counts of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// One past its last record.
    pub end_offset: Offset,
    /// In bytes.
    pub size: u64,
    /// When its newest record was written, by the record's own word if it has one.
    pub newest: WallMillis,
}

/// How many of the oldest segments may go. The last of `segments` is the active one: an empty one never goes, and one that
/// has records makes room for a new one first.
///
/// A segment goes for its age when its newest record is older than `retention.ms`, and for its size only if the log is not
/// smaller than `retention.bytes` without it. Without `delete` in `cleanup.policy` nothing goes.
pub(crate) fn expired(segments: &[Stretch], config: &LogConfig, high_watermark: Offset, now: WallMillis) -> usize {
    let committed = |segment: &&Stretch| segment.end_offset <= high_watermark;
    beyond_retention(segments, config, now).min(segments.iter().take_while(committed).count())
}

/// As [`expired`], whatever the high watermark.
pub(crate) fn beyond_retention(segments: &[Stretch], config: &LogConfig, now: WallMillis) -> usize {
    if !config.deletes {
        return 0;
    }
    let size: u64 = segments.iter().map(|segment| segment.size).sum();
    let mut excess = u64::try_from(config.retention_bytes).map_or(0, |limit| size.saturating_sub(limit));
    let mut count = 0;
    for segment in segments {
        let is_empty_and_active = segment.size == 0 && count + 1 == segments.len();
        let too_old = config.retention_ms >= 0 && now.0.saturating_sub(segment.newest.0) > config.retention_ms;
        let too_much = excess > 0 && excess >= segment.size;
        if is_empty_and_active || !(too_old || too_much) {
            break;
        }
        excess = excess.saturating_sub(segment.size);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log() -> impl Strategy<Value = Vec<Stretch>> {
        prop::collection::vec((1..20i64, 0..1000u64, 0..5000i64), 1..12).prop_map(|segments| {
            let mut end = 0;
            let stretch = |(records, size, newest)| {
                end += records;
                Stretch { end_offset: Offset(end), size, newest: WallMillis(newest) }
            };
            segments.into_iter().map(stretch).collect()
        })
    }

    fn config(retention_ms: i64, retention_bytes: i64) -> LogConfig {
        LogConfig { retention_ms, retention_bytes, ..LogConfig::default() }
    }

    #[test]
    fn age_counts_from_the_newest_record_and_only_beyond_the_limit() {
        let stretch = |end, newest| Stretch { end_offset: Offset(end), size: 10, newest: WallMillis(newest) };
        let segments = [stretch(5, 1000), stretch(9, 2000), stretch(12, 1000)];
        let expired_at = |now| expired(&segments, &config(500, -1), Offset(12), WallMillis(now));
        assert_eq!([1500, 1501, 2500, 2501].map(expired_at), [0, 1, 1, 3]);
        assert_eq!(expired(&segments, &config(-1, -1), Offset(12), WallMillis(i64::MAX)), 0, "for ever");
    }

    #[test]
    fn no_more_goes_for_its_size_than_leaves_what_is_to_be_retained() {
        let segments = [30, 30, 40].map(|size| Stretch { end_offset: Offset(9), size, newest: WallMillis(0) });
        let expired_with = |bytes| expired(&segments, &config(-1, bytes), Offset(9), WallMillis(0));
        assert_eq!([-1, 100, 71, 70, 40, 39, 0].map(expired_with), [0, 0, 0, 1, 2, 2, 3]);
    }

    proptest! {
        #[test]
        fn what_goes_was_eligible_committed_and_the_oldest(
            segments in log(), ms in -1..5000i64, bytes in -1..8000i64, high_watermark in 0..200i64, now in 0..10_000i64,
        ) {
            let (count, now) = (expired(&segments, &config(ms, bytes), Offset(high_watermark), WallMillis(now)), WallMillis(now));
            let (gone, kept) = segments.split_at(count);
            let size = |segments: &[Stretch]| segments.iter().map(|segment| segment.size).sum::<u64>();
            for (at, segment) in gone.iter().enumerate() {
                prop_assert!(segment.end_offset.0 <= high_watermark);
                let too_old = ms >= 0 && now.0 - segment.newest.0 > ms;
                let too_much = bytes >= 0 && size(&segments[at + 1..]) >= bytes as u64;
                prop_assert!(too_old || too_much);
            }
            // Nothing stays that must go: the first that is kept is not old, not committed, or needed for its size.
            if let Some(first) = kept.first() {
                let old = ms >= 0 && now.0 - first.newest.0 > ms;
                let active = kept.len() == 1 && first.size == 0;
                prop_assert!(!old || active || first.end_offset.0 > high_watermark);
            }
        }

        #[test]
        fn nothing_goes_where_the_policy_does_not_say_delete(segments in log(), now in 0..10_000i64) {
            let config = LogConfig { deletes: false, ..config(0, 0) };
            prop_assert_eq!(expired(&segments, &config, Offset(i64::MAX), WallMillis(now)), 0);
        }

        #[test]
        fn time_and_the_high_watermark_only_let_more_go(
            segments in log(), ms in 0..5000i64, high_watermark in 0..200i64, now in 0..10_000i64, later in 0..5000i64,
        ) {
            let at = |high_watermark, now| expired(&segments, &config(ms, -1), Offset(high_watermark), WallMillis(now));
            prop_assert!(at(high_watermark, now) <= at(high_watermark, now + later));
            prop_assert!(at(high_watermark, now) <= at(high_watermark + later, now));
        }
    }
}
