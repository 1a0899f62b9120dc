//! Pure. How many bytes a second went by lately, in a few windows (`SimpleRate`, `SampledStat`).

use protocol::ids::MonotonicMillis;
use std::collections::VecDeque;

/// A rate over the last windows.
#[derive(Clone, Debug)]
pub struct Meter {
    window_ms: u64,
    windows: usize,
    /// When each window began, and what fell into it; the oldest first.
    samples: VecDeque<(MonotonicMillis, u64)>,
}

impl Meter {
    /// Nothing yet, in so many windows of this length.
    pub fn new(windows: usize, window_ms: u64) -> Self {
        Self { window_ms: window_ms.max(1), windows: windows.max(1), samples: VecDeque::new() }
    }

    /// So many bytes went by.
    pub fn record(&mut self, bytes: u64, now: MonotonicMillis) {
        match self.samples.back_mut().filter(|(began, _)| now.since(*began) < self.window_ms) {
            Some((_, total)) => *total = total.saturating_add(bytes),
            None => self.samples.push_back((now, bytes)),
        }
        while self.samples.len() > self.windows {
            self.samples.pop_front();
        }
    }

    /// Whether more than `bytes_per_second` went by. What is younger than a window counts as spread over a whole one, so that
    /// the first bytes after a pause are no burst.
    pub fn exceeds(&self, bytes_per_second: u64, now: MonotonicMillis) -> bool {
        let kept = self.window_ms.saturating_mul(self.windows as u64);
        let recent = || self.samples.iter().filter(|(began, _)| now.since(*began) < kept);
        let Some((oldest, _)) = recent().next() else { return false };
        let total: u128 = recent().map(|(_, bytes)| u128::from(*bytes)).sum();
        let elapsed_ms = now.since(*oldest).max(self.window_ms);
        total * 1_000 > u128::from(bytes_per_second) * u128::from(elapsed_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicMillis {
        MonotonicMillis(millis)
    }

    #[test]
    fn a_rate_is_exceeded_by_more_than_it_and_no_longer_once_time_has_passed() {
        let mut meter = Meter::new(11, 1_000);
        assert!(!meter.exceeds(0, at(0)), "nothing is not more than nothing");
        meter.record(1_000, at(0));
        assert!(!meter.exceeds(1_000, at(0)));
        meter.record(1, at(500));
        assert!(meter.exceeds(1_000, at(500)));
        assert!(meter.exceeds(1_000, at(1_000)));
        assert!(!meter.exceeds(1_000, at(1_001)));
    }

    #[test]
    fn a_burst_is_paid_for_until_its_window_is_forgotten() {
        let mut meter = Meter::new(11, 1_000);
        meter.record(50_000, at(0));
        assert!(meter.exceeds(1_000, at(10_999)));
        assert!(!meter.exceeds(1_000, at(11_000)));
    }

    #[test]
    fn what_keeps_within_the_rate_never_exceeds_it() {
        let mut meter = Meter::new(11, 1_000);
        for second in 0..60 {
            assert!(!meter.exceeds(1_000, at(second * 1_000)));
            meter.record(1_000, at(second * 1_000));
        }
        meter.record(2_000, at(60_000));
        assert!(meter.exceeds(1_000, at(60_000)));
    }
}
