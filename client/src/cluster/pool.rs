//! Pure. The connections to the cluster's brokers: at most one for each broker and lane, and when to try one again.
//!
//! It opens nothing itself: it says when to, and is told how that went. `C` is the connection. Driven by `cluster`.

use crate::retry::Backoff;
use protocol::ids::{BrokerId, MonotonicMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a connection is for. A broker answers each connection in order, so a Metadata request behind a long poll would wait
/// for it: each kind of waiting has a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Questions that are answered at once: metadata, offsets, administration.
    Ask,
    /// Fetch requests, which wait for records.
    Fetch,
    /// Produce requests, which wait for replication.
    Produce,
    /// What a member of a group says to its coordinator, which waits for the other members.
    Group,
}

/// A connection that lived this long was a good one: its end does not lengthen the wait for the next.
const GOOD_AFTER_MS: u64 = 1000;

/// Names one opening of one connection, so that news of an earlier one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt(u64);

#[derive(Debug)]
struct Slot<C> {
    endpoint: String,
    state: State<C>,
    /// Attempts in a row that led to nothing, or to a connection that closed soon.
    failures: u32,
}

#[derive(Debug)]
enum State<C> {
    Idle,
    Opening(Attempt),
    Open { attempt: Attempt, connection: C, since: MonotonicMillis },
}

/// What there is for whoever asks for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<C> {
    /// Here it is.
    Open(C),
    /// Somebody is opening it already.
    Opening,
    /// The asker is to open it, after this wait, and to report under this number.
    ToOpen(Attempt, Duration),
}

/// The slots.
#[derive(Debug)]
pub(super) struct Pool<C> {
    slots: BTreeMap<(BrokerId, Lane), Slot<C>>,
    backoff: Backoff,
    attempts: u64,
}

impl<C: Clone> Pool<C> {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { slots: BTreeMap::new(), backoff, attempts: 0 }
    }

    /// The connection to `broker` in `lane`, or who opens it. One to another endpoint than `endpoint` counts as none.
    pub(super) fn find(&mut self, broker: BrokerId, lane: Lane, endpoint: &str, random: u64) -> Found<C> {
        let slot = self.slots.entry((broker, lane)).or_insert_with(|| Slot {
            endpoint: endpoint.to_owned(),
            state: State::Idle,
            failures: 0,
        });
        if slot.endpoint != endpoint {
            *slot = Slot { endpoint: endpoint.to_owned(), state: State::Idle, failures: 0 };
        }
        match &slot.state {
            State::Open { connection, .. } => Found::Open(connection.clone()),
            State::Opening(_) => Found::Opening,
            State::Idle => {
                self.attempts += 1;
                let attempt = Attempt(self.attempts);
                slot.state = State::Opening(attempt);
                Found::ToOpen(attempt, self.backoff.after(slot.failures, random))
            }
        }
    }

    /// The attempt led to a connection. False when nobody wants it any more.
    pub(super) fn opened(
        &mut self,
        broker: BrokerId,
        lane: Lane,
        attempt: Attempt,
        connection: C,
        now: MonotonicMillis,
    ) -> bool {
        match self.slots.get_mut(&(broker, lane)) {
            Some(slot) if matches!(slot.state, State::Opening(current) if current == attempt) => {
                slot.state = State::Open { attempt, connection, since: now };
                true
            }
            _ => false,
        }
    }

    /// The attempt led to nothing, or its connection has closed. Returns the connection, to be dropped outside any lock.
    pub(super) fn ended(&mut self, broker: BrokerId, lane: Lane, attempt: Attempt, now: MonotonicMillis) -> Option<C> {
        let slot = self.slots.get_mut(&(broker, lane))?;
        let (current, was_good) = match &slot.state {
            State::Idle => return None,
            State::Opening(current) => (*current, false),
            State::Open { attempt: current, since, .. } => (*current, now.since(*since) >= GOOD_AFTER_MS),
        };
        if current != attempt {
            return None;
        }
        slot.failures = if was_good { 1 } else { slot.failures.saturating_add(1) };
        match std::mem::replace(&mut slot.state, State::Idle) {
            State::Open { connection, .. } => Some(connection),
            State::Idle | State::Opening(_) => None,
        }
    }

    /// Whether the last that was heard of `broker` in `lane` was a failure.
    pub(super) fn is_failing(&self, broker: BrokerId, lane: Lane) -> bool {
        self.slots
            .get(&(broker, lane))
            .is_some_and(|slot| slot.failures > 0 && !matches!(slot.state, State::Open { .. }))
    }

    /// Ends it: everything that is open, to be dropped outside any lock.
    pub(super) fn close(&mut self) -> Vec<C> {
        let slots = std::mem::take(&mut self.slots);
        slots
            .into_values()
            .filter_map(|slot| match slot.state {
                State::Open { connection, .. } => Some(connection),
                State::Idle | State::Opening(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKER: BrokerId = BrokerId(1);
    const START: MonotonicMillis = MonotonicMillis(0);

    fn pool() -> Pool<&'static str> {
        Pool::new(Backoff::new(Duration::from_millis(50), Duration::from_millis(1000)))
    }

    fn to_open(found: Found<&'static str>) -> (Attempt, u128) {
        match found {
            Found::ToOpen(attempt, wait) => (attempt, wait.as_millis()),
            other => panic!("{other:?} is nothing to open"),
        }
    }

    #[test]
    fn one_asker_opens_and_the_others_wait() {
        let mut pool = pool();
        let (attempt, wait) = to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200));
        assert_eq!(wait, 0);
        assert_eq!(pool.find(BROKER, Lane::Ask, "b1:1", 200), Found::Opening);
        assert!(pool.opened(BROKER, Lane::Ask, attempt, "first", START));
        assert_eq!(pool.find(BROKER, Lane::Ask, "b1:1", 200), Found::Open("first"));
        to_open(pool.find(BROKER, Lane::Fetch, "b1:1", 200));
    }

    #[test]
    fn each_failure_lengthens_the_wait_and_a_good_connection_shortens_it() {
        let mut pool = pool();
        for expected in [0, 50, 100] {
            let (attempt, wait) = to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200));
            assert_eq!(wait, expected);
            assert_eq!(pool.ended(BROKER, Lane::Ask, attempt, START), None);
        }
        let (attempt, wait) = to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200));
        assert_eq!(wait, 200);
        assert!(pool.opened(BROKER, Lane::Ask, attempt, "good", START));
        assert_eq!(pool.ended(BROKER, Lane::Ask, attempt, MonotonicMillis(5000)), Some("good"));
        assert_eq!(to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200)).1, 50);
    }

    #[test]
    fn a_connection_that_closes_at_once_counts_as_a_failure() {
        let mut pool = pool();
        for expected in [0, 50, 100, 200] {
            let (attempt, wait) = to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200));
            assert_eq!(wait, expected);
            assert!(pool.opened(BROKER, Lane::Ask, attempt, "short", START));
            assert_eq!(pool.ended(BROKER, Lane::Ask, attempt, MonotonicMillis(3)), Some("short"));
        }
    }

    #[test]
    fn news_of_an_earlier_attempt_changes_nothing() {
        let mut pool = pool();
        let (old, _) = to_open(pool.find(BROKER, Lane::Ask, "b1:1", 200));
        let (new, _) = to_open(pool.find(BROKER, Lane::Ask, "b1:2", 200));
        assert!(!pool.opened(BROKER, Lane::Ask, old, "to the old endpoint", START));
        assert!(pool.opened(BROKER, Lane::Ask, new, "to the new endpoint", START));
        assert_eq!(pool.ended(BROKER, Lane::Ask, old, START), None);
        assert_eq!(pool.close(), ["to the new endpoint"]);
    }
}
