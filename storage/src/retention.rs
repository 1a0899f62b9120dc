//! Deleting old segments, by the topic's `retention.ms` and `retention.bytes`, or because the log begins after them.
//!
//! The log start offset is raised before a segment goes, and never past the high watermark: what is not committed is never
//! deleted (`UnifiedLog.deleteOldSegments`, KAFKA-5634).

use crate::{error::LogError, log::Log, segment::Segment};
use protocol::ids::{Offset, WallMillis};

impl Log {
    /// Deletes the oldest segments that are past their time, too many bytes, or wholly below the log start offset, as long
    /// as they end at or below `high_watermark`; the active segment only makes room for a new one. Answers how many.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn delete_old_segments(&mut self, now: WallMillis, high_watermark: Offset) -> Result<usize, LogError> {
        self.check_online()?;
        let mut count = self.deletable(now, high_watermark);
        if count == self.segments.len() && !self.roll(now)? {
            count -= 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let log_start_offset = self.segments[count].base_offset;
        if log_start_offset > self.log_start_offset() {
            self.set_log_start_offset(log_start_offset)?;
        }
        let removed: Vec<Segment> = self.segments.drain(..count).collect();
        for segment in &removed {
            self.remove_files_of(segment)?;
        }
        Ok(count)
    }

    /// How many of the oldest segments may go.
    fn deletable(&self, now: WallMillis, high_watermark: Offset) -> usize {
        let mut excess = match u64::try_from(self.config().retention_bytes) {
            Ok(limit) => self.size().saturating_sub(limit),
            Err(_) => 0,
        };
        let mut count = 0;
        for segment in &self.segments {
            let is_active = count + 1 == self.segments.len();
            let below_start = segment.end_offset <= self.log_start_offset() && !is_active;
            let too_old = self.config().deletes
                && self.config().retention_ms >= 0
                && segment.largest.timestamp.0 >= 0
                && now.0.saturating_sub(segment.largest.timestamp.0) > self.config().retention_ms;
            // A segment goes for its size only if the log is still too large without it (`retention.bytes` is a minimum).
            let too_much = self.config().deletes && excess >= segment.size && excess > 0 && !is_active;
            if !(below_start || too_old || too_much) || segment.size == 0 && is_active {
                break;
            }
            if segment.end_offset > high_watermark {
                if !runtime::mutant!("Z18") {
                    break;
                }
                runtime::mutant_diverged!("Z18");
            }
            excess = excess.saturating_sub(segment.size);
            count += 1;
        }
        count
    }
}
