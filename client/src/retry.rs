//! Pure. How long to wait before trying again: exponential backoff with jitter.
//!
//! The random number is given in, so that the same run waits the same times. Driven by `cluster`, `producer`, `consumer`
//! and `admin`, and by whoever calls a peer again.

use std::time::Duration;

/// Exponential backoff between two bounds, each wait spread by twenty percent either way (KIP-580).
///
/// The first failure waits about `first`, each further one twice as long, never longer than `longest` and its spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The wait that no number of failures goes past, before its spread.
    pub longest: Duration,
}

impl Backoff {
    /// A backoff from `first` to `longest`.
    ///
    /// # Panics
    /// When `first` is longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        assert!(first.as_nanos() <= longest.as_nanos(), "the first wait is not longer than the longest");
        Self { first, longest }
    }

    /// The wait after `failures` failures in a row, given a number that is uniform over all of `u64`.
    ///
    /// No failures: no wait.
    pub fn after(&self, failures: u32, random: u64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = (failures - 1).min(30);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        // From 80 to 120 percent, in thousandths.
        let thousandths = 800 + (random % 401);
        let nanos = wait.as_nanos().saturating_mul(u128::from(thousandths)) / 1000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(1000));

    #[test]
    fn each_failure_doubles_the_wait_until_the_longest() {
        let waits: Vec<_> = (0..8).map(|failures| BACKOFF.after(failures, 200).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_a_fifth_of_its_step(failures in 1u32..100, random: u64) {
            let wait = BACKOFF.after(failures, random);
            let step = BACKOFF.after(failures, 200);
            prop_assert!(wait >= step.mul_f64(0.8) && wait <= step.mul_f64(1.2), "{wait:?} around {step:?}");
        }
    }
}
