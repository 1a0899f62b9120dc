//! Pure. Which controller a broker asks for metadata next.
//!
//! Any controller answers, but one that was cut off from the others answers with what it knew then. So: the one that
//! leads is preferred; silence moves on; and now and then, when nothing new has come for a while, another one is asked,
//! so that a broker cannot stay with a controller that believes it still leads. Driven by `metadata_cache`.

use protocol::ids::{BrokerId, MonotonicMillis};
use std::time::Duration;

/// How long a controller that knows no leader is believed.
const LEADERLESS_MAX_MS: u64 = 1_000;
/// How long any controller may have nothing new before another one is asked.
const QUIET_MAX_MS: u64 = 3_000;
/// The wait after every controller failed once; doubled for each further round.
const ROUND_WAIT: Duration = Duration::from_millis(20);
/// The longest wait between rounds.
const ROUND_WAIT_MAX: Duration = Duration::from_millis(500);

/// The controllers in a ring, and the one to ask.
#[derive(Debug)]
pub(super) struct Route {
    controllers: Vec<BrokerId>,
    at: usize,
    /// Where the last look elsewhere went, so that the next one goes on from there.
    looked: usize,
    failures: usize,
    quiet_since: MonotonicMillis,
}

impl Route {
    /// Begins anywhere: `start` picks the first controller, so that brokers do not all ask the same one.
    ///
    /// # Panics
    /// When there is no controller.
    pub(super) fn new(controllers: Vec<BrokerId>, start: u64, now: MonotonicMillis) -> Self {
        assert!(!controllers.is_empty(), "a broker has at least one controller");
        let at = usize::try_from(start % controllers.len() as u64).expect("smaller than a length");
        Self { controllers, at, looked: at, failures: 0, quiet_since: now }
    }

    /// Whom to ask.
    pub(super) fn target(&self) -> BrokerId {
        self.controllers[self.at]
    }

    /// No answer, or a bad one: the next controller is asked, after the wait that is returned.
    pub(super) fn on_failure(&mut self) -> Duration {
        self.at = (self.at + 1) % self.controllers.len();
        self.failures += 1;
        if !self.failures.is_multiple_of(self.controllers.len()) {
            return Duration::ZERO;
        }
        let rounds = u32::try_from(self.failures / self.controllers.len()).unwrap_or(u32::MAX);
        ROUND_WAIT.saturating_mul(1 << (rounds - 1).min(10)).min(ROUND_WAIT_MAX)
    }

    /// An answer that names `leader`, and brought something new or did not.
    pub(super) fn on_answer(&mut self, leader: Option<BrokerId>, brought_something: bool, now: MonotonicMillis) {
        self.failures = 0;
        if brought_something {
            self.quiet_since = now;
        }
        let leader = leader.and_then(|leader| self.controllers.iter().position(|controller| *controller == leader));
        let quiet_max = if leader.is_some() { QUIET_MAX_MS } else { LEADERLESS_MAX_MS };
        if now.since(self.quiet_since) >= quiet_max {
            self.quiet_since = now;
            self.looked = (self.looked + 1) % self.controllers.len();
            self.at = self.looked;
        } else if let Some(leader) = leader {
            self.at = leader;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route::new(vec![BrokerId(1), BrokerId(2), BrokerId(3)], 3, MonotonicMillis(0))
    }

    #[test]
    fn the_controller_that_leads_is_asked_as_soon_as_it_is_named() {
        let mut route = route();
        assert_eq!(route.target(), BrokerId(1));
        route.on_answer(Some(BrokerId(3)), true, MonotonicMillis(5));
        assert_eq!(route.target(), BrokerId(3));
        route.on_answer(Some(BrokerId(3)), false, MonotonicMillis(500));
        assert_eq!(route.target(), BrokerId(3));
    }

    #[test]
    fn failures_go_round_without_a_wait_and_each_round_waits_longer() {
        let mut route = route();
        let steps: Vec<_> = (0..9).map(|_| (route.on_failure().as_millis(), route.target().0)).collect();
        assert_eq!(steps, [(0, 2), (0, 3), (20, 1), (0, 2), (0, 3), (40, 1), (0, 2), (0, 3), (80, 1)]);
        for _ in 0..300 {
            assert!(route.on_failure() <= ROUND_WAIT_MAX);
        }
        route.on_answer(None, true, MonotonicMillis(0));
        assert_eq!(route.on_failure(), Duration::ZERO);
    }

    #[test]
    fn a_leader_that_has_nothing_new_for_long_is_checked_against_the_others() {
        let mut route = route();
        route.on_answer(Some(BrokerId(1)), true, MonotonicMillis(0));
        route.on_answer(Some(BrokerId(1)), false, MonotonicMillis(2_999));
        assert_eq!(route.target(), BrokerId(1));
        route.on_answer(Some(BrokerId(1)), false, MonotonicMillis(3_000));
        assert_eq!(route.target(), BrokerId(2));
        route.on_answer(Some(BrokerId(1)), false, MonotonicMillis(3_001));
        assert_eq!(route.target(), BrokerId(1), "it still leads");
        route.on_answer(Some(BrokerId(1)), false, MonotonicMillis(6_000));
        assert_eq!(route.target(), BrokerId(3), "the next look goes to the one after");
    }

    #[test]
    fn a_controller_without_a_leader_is_left_sooner() {
        let mut route = route();
        route.on_answer(None, false, MonotonicMillis(999));
        assert_eq!(route.target(), BrokerId(1));
        route.on_answer(None, false, MonotonicMillis(1_000));
        assert_eq!(route.target(), BrokerId(2));
    }

    #[test]
    fn one_controller_is_asked_for_ever() {
        let mut route = Route::new(vec![BrokerId(7)], 12, MonotonicMillis(0));
        route.on_answer(None, false, MonotonicMillis(10_000));
        let _ = route.on_failure();
        assert_eq!(route.target(), BrokerId(7));
    }
}
