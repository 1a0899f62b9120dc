//! Pure. What a broker is to the controller, and what it says to it next.
//!
//! Registration, heartbeats, fencing and leaving as in KIP-631 (`BrokerLifecycleManager.java`), with two differences: a
//! registration that the controller no longer knows is made again instead of ending the process, and nothing here ends
//! it. Driven by `lifecycle`, which sends what is said and brings the answers.

use protocol::{error_code::ErrorCode, ids::BrokerEpoch};
use std::time::Duration;

/// The wait before the next heartbeat while the controller is about to change its mind: to unfence, or to let go.
const EAGER: Duration = Duration::from_millis(20);
/// The wait before a refused registration is tried again.
const REGISTRATION_RETRY: Duration = Duration::from_millis(50);

/// How far a broker has come. It goes forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Recovering its logs and catching up with the metadata: wants to stay fenced.
    Starting,
    /// Able to lead and follow: wants to be unfenced.
    Running,
    /// Wants to shut down, once the controller has moved its leaderships.
    Leaving,
    /// The controller let it go, or it gave up asking.
    Left,
}

/// What a broker says to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// That it is there, and which registration it had when it last stopped in good order, if it did.
    Register { previous_broker_epoch: BrokerEpoch },
    /// That it is still there, and what it wants.
    Heartbeat { broker_epoch: BrokerEpoch, want_fence: bool, want_shut_down: bool },
    /// Nothing more.
    Rest,
}

/// A broker's registration and phase.
#[derive(Clone, Debug)]
pub(super) struct LifecycleState {
    phase: Phase,
    broker_epoch: Option<BrokerEpoch>,
    /// The registration that this broker's logs are known to be whole since.
    previous: BrokerEpoch,
    /// Whether the controller knows the registration; false again once it refused it as stale.
    registered: bool,
    fenced: bool,
}

impl LifecycleState {
    /// A broker that just started; `previous` is what the clean shutdown file holds, [`BrokerEpoch::UNKNOWN`] without one.
    pub(super) fn new(previous: BrokerEpoch) -> Self {
        Self { phase: Phase::Starting, broker_epoch: None, previous, registered: false, fenced: true }
    }

    /// Under which registration it acts; the newest one, also while it is made again.
    pub(super) fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.broker_epoch
    }

    /// Moves on to a later phase; an earlier one is ignored.
    pub(super) fn advance(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    /// What to say next.
    pub(super) fn next(&self) -> Step {
        match (self.phase, self.broker_epoch) {
            (Phase::Left, _) => Step::Rest,
            (phase, Some(broker_epoch)) if self.registered => Step::Heartbeat {
                broker_epoch,
                want_fence: phase == Phase::Starting,
                want_shut_down: phase == Phase::Leaving,
            },
            // One that was never registered has nothing to leave.
            (Phase::Leaving, None) => Step::Rest,
            _ => Step::Register { previous_broker_epoch: self.previous },
        }
    }

    /// The registration was accepted.
    pub(super) fn on_registered(&mut self, broker_epoch: BrokerEpoch) -> Duration {
        assert!(
            self.broker_epoch.is_none_or(|before| before <= broker_epoch),
            "broker epoch {broker_epoch} is older than {:?}",
            self.broker_epoch
        );
        self.registered = true;
        self.broker_epoch = Some(broker_epoch);
        // The process has not stopped since: should it register again, its logs are whole.
        self.previous = broker_epoch;
        Duration::ZERO
    }

    /// The registration was refused: with `DUPLICATE_BROKER_REGISTRATION` until the session of an earlier incarnation
    /// ends, with anything else until somebody mends the configuration. Returns the wait before it is tried again.
    pub(super) fn on_registration_refused(&mut self) -> Duration {
        REGISTRATION_RETRY
    }

    /// A heartbeat was accepted. Returns the wait before the next one.
    pub(super) fn on_heartbeat(&mut self, is_fenced: bool, should_shut_down: bool, interval: Duration) -> Duration {
        self.fenced = is_fenced;
        match self.phase {
            Phase::Leaving if should_shut_down => {
                self.phase = Phase::Left;
                Duration::ZERO
            }
            Phase::Leaving => EAGER.min(interval),
            Phase::Running if is_fenced => EAGER.min(interval),
            Phase::Starting | Phase::Running | Phase::Left => interval,
        }
    }

    /// A heartbeat was refused. Returns the wait before the next step.
    pub(super) fn on_heartbeat_refused(&mut self, code: ErrorCode, interval: Duration) -> Duration {
        if matches!(code, ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered) {
            self.registered = false;
            self.fenced = true;
            return Duration::ZERO;
        }
        EAGER.min(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn registered(epoch: i64) -> LifecycleState {
        let mut state = LifecycleState::new(BrokerEpoch(3));
        let _ = state.on_registered(BrokerEpoch(epoch));
        state
    }

    #[test]
    fn a_broker_registers_first_and_names_its_last_clean_stop() {
        let mut state = LifecycleState::new(BrokerEpoch(3));
        assert_eq!(state.next(), Step::Register { previous_broker_epoch: BrokerEpoch(3) });
        assert!(state.on_registration_refused() > Duration::ZERO);
        assert_eq!(state.next(), Step::Register { previous_broker_epoch: BrokerEpoch(3) });
        assert_eq!(state.broker_epoch(), None);
    }

    #[test]
    fn it_asks_to_be_unfenced_only_once_it_is_ready_and_then_often() {
        let mut state = registered(9);
        let broker_epoch = BrokerEpoch(9);
        assert_eq!(state.next(), Step::Heartbeat { broker_epoch, want_fence: true, want_shut_down: false });
        assert_eq!(state.on_heartbeat(true, false, INTERVAL), INTERVAL);
        state.advance(Phase::Running);
        assert_eq!(state.next(), Step::Heartbeat { broker_epoch, want_fence: false, want_shut_down: false });
        assert!(state.on_heartbeat(true, false, INTERVAL) < INTERVAL);
        assert_eq!(state.on_heartbeat(false, false, INTERVAL), INTERVAL);
        assert!(!state.fenced);
    }

    #[test]
    fn a_stale_registration_is_made_again_under_the_epoch_that_its_logs_are_whole_since() {
        let mut state = registered(9);
        state.advance(Phase::Running);
        assert_eq!(state.on_heartbeat_refused(ErrorCode::StaleBrokerEpoch, INTERVAL), Duration::ZERO);
        assert_eq!(state.next(), Step::Register { previous_broker_epoch: BrokerEpoch(9) });
        assert_eq!(state.broker_epoch(), Some(BrokerEpoch(9)));
        let _ = state.on_registered(BrokerEpoch(12));
        let expected = Step::Heartbeat { broker_epoch: BrokerEpoch(12), want_fence: false, want_shut_down: false };
        assert_eq!(state.next(), expected);
    }

    #[test]
    fn other_refusals_keep_the_registration() {
        let mut state = registered(9);
        assert!(state.on_heartbeat_refused(ErrorCode::NotController, INTERVAL) > Duration::ZERO);
        assert!(matches!(state.next(), Step::Heartbeat { .. }));
    }

    #[test]
    fn it_leaves_when_the_controller_says_so_and_not_before() {
        let mut state = registered(9);
        state.advance(Phase::Leaving);
        let broker_epoch = BrokerEpoch(9);
        assert_eq!(state.next(), Step::Heartbeat { broker_epoch, want_fence: false, want_shut_down: true });
        assert!(state.on_heartbeat(false, false, INTERVAL) > Duration::ZERO);
        assert_eq!(state.phase, Phase::Leaving);
        let _ = state.on_heartbeat(false, true, INTERVAL);
        assert_eq!(state.phase, Phase::Left);
        assert_eq!(state.next(), Step::Rest);
        state.advance(Phase::Running);
        assert_eq!(state.phase, Phase::Left);
    }

    #[test]
    fn one_that_was_never_registered_has_nothing_to_leave() {
        let mut state = LifecycleState::new(BrokerEpoch::UNKNOWN);
        state.advance(Phase::Leaving);
        assert_eq!(state.next(), Step::Rest);
    }
}
