//! Pure. Who waits on one replica: produces until the high watermark has passed them, fetches until there is more to read.
//!
//! It never decides what a waiter is told and never wakes one itself: it hands them out in order. Driven by
//! [`crate::partition`], under that replica's lock. `W` is whatever the owner needs in order to reach the waiter.

use protocol::ids::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

/// Parked fetches are looked through for those that have given up once there are this many, and at each doubling.
const PRUNE_FROM: usize = 16;

/// Where a produce stands in the queue. Ordered as the produces are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The high watermark that it waits for: one past its last record.
    pub required: Offset,
    arrival: u64,
}

/// The produces with acks=all that wait, in the order in which the high watermark will reach them. All belong to one leader
/// epoch: when it ends, everyone is told (never "my record is still in the log").
#[derive(Clone, Debug)]
pub struct Waiting<W> {
    leader_epoch: LeaderEpoch,
    queue: BTreeMap<Place, W>,
    arrivals: u64,
}

impl<W> Default for Waiting<W> {
    fn default() -> Self {
        Self { leader_epoch: LeaderEpoch::UNKNOWN, queue: BTreeMap::new(), arrivals: 0 }
    }
}

impl<W> Waiting<W> {
    /// Lets a produce wait until the high watermark is at `required`, within `leader_epoch`.
    ///
    /// # Panics
    /// When somebody waits from another leader epoch.
    pub fn park(&mut self, leader_epoch: LeaderEpoch, required: Offset, waiter: W) -> Place {
        assert!(
            self.queue.is_empty() || self.leader_epoch == leader_epoch,
            "waiters of leader epoch {} are told before epoch {leader_epoch} begins",
            self.leader_epoch
        );
        self.leader_epoch = leader_epoch;
        self.arrivals += 1;
        let place = Place { required, arrival: self.arrivals };
        self.queue.insert(place, waiter);
        place
    }

    /// Takes out the first waiter that the high watermark has reached.
    pub fn next_reached(&mut self, high_watermark: Offset) -> Option<(Place, W)> {
        let first = self.queue.first_entry().filter(|first| first.key().required <= high_watermark)?;
        Some(first.remove_entry())
    }

    /// Takes out the first waiter, reached or not.
    pub fn take_first(&mut self) -> Option<(Place, W)> {
        self.queue.pop_first()
    }

    /// The waiter at a place, while it waits.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut W> {
        self.queue.get_mut(&place)
    }

    /// Takes out a waiter that has given up.
    pub fn give_up(&mut self, place: Place) -> Option<W> {
        self.queue.remove(&place)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// A follower's fetch that waits for more of the log.
#[derive(Clone, Debug)]
struct ParkedFollower<W> {
    waiter: W,
    /// The high watermark that the follower knows, if it says so.
    high_watermark: Option<Offset>,
    /// Whether the waiter has been handed out because that is behind.
    told: bool,
}

/// The fetches that wait: followers' for the log end to move, consumers' for the high watermark.
#[derive(Clone, Debug)]
pub struct Parked<W> {
    followers: Vec<ParkedFollower<W>>,
    consumers: Vec<W>,
    prune_at: usize,
}

impl<W> Default for Parked<W> {
    fn default() -> Self {
        Self { followers: Vec::new(), consumers: Vec::new(), prune_at: PRUNE_FROM }
    }
}

impl<W> Parked<W> {
    /// Lets a follower's fetch wait until something is appended. `is_over` says of a waiter that nobody waits on it any
    /// more.
    pub fn park_follower(&mut self, waiter: W, high_watermark: Option<Offset>, is_over: impl Fn(&W) -> bool) {
        self.prune(is_over);
        self.followers.push(ParkedFollower { waiter, high_watermark, told: false });
    }

    /// Lets a consumer's fetch wait until the high watermark moves. `is_over` as in [`Self::park_follower`].
    pub fn park_consumer(&mut self, waiter: W, is_over: impl Fn(&W) -> bool) {
        self.prune(is_over);
        self.consumers.push(waiter);
    }

    /// Something was appended: hands out every follower's fetch.
    pub fn take_followers(&mut self) -> impl Iterator<Item = W> {
        self.followers.drain(..).map(|follower| follower.waiter)
    }

    /// The high watermark moved: hands out every consumer's fetch.
    pub fn take_consumers(&mut self) -> impl Iterator<Item = W> {
        self.consumers.drain(..)
    }

    /// The high watermark moved: the followers' fetches whose senders now know an older one, each once. They stay parked
    /// (KIP-392: a follower that serves consumers needs a fresh high watermark; KIP-1166: it says which one it knows).
    pub fn followers_behind(&mut self, high_watermark: Offset) -> impl Iterator<Item = &W> {
        self.followers.iter_mut().filter_map(move |follower| {
            let behind = !follower.told && follower.high_watermark.is_some_and(|known| known < high_watermark);
            follower.told |= behind;
            behind.then_some(&follower.waiter)
        })
    }

    /// How many wait, or did and gave up.
    pub fn len(&self) -> usize {
        self.followers.len() + self.consumers.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn prune(&mut self, is_over: impl Fn(&W) -> bool) {
        if self.len() >= self.prune_at {
            self.followers.retain(|follower| !is_over(&follower.waiter));
            self.consumers.retain(|consumer| !is_over(consumer));
            self.prune_at = (self.len() * 2).max(PRUNE_FROM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: LeaderEpoch = LeaderEpoch(4);

    fn released<W>(waiting: &mut Waiting<W>, high_watermark: i64) -> Vec<(i64, W)> {
        std::iter::from_fn(|| waiting.next_reached(Offset(high_watermark)))
            .map(|(place, waiter)| (place.required.0, waiter))
            .collect()
    }

    #[test]
    fn waiters_leave_in_the_order_of_their_offsets_then_of_their_arrival() {
        let mut waiting = Waiting::default();
        for (required, name) in [(10, "first"), (12, "second"), (10, "duplicate of the first"), (15, "third")] {
            waiting.park(EPOCH, Offset(required), name);
        }
        assert_eq!(released(&mut waiting, 9), []);
        assert_eq!(released(&mut waiting, 12), [(10, "first"), (10, "duplicate of the first"), (12, "second")]);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.take_first().map(|(_, waiter)| waiter), Some("third"));
    }

    #[test]
    fn a_waiter_that_gave_up_is_not_released() {
        let mut waiting = Waiting::default();
        let place = waiting.park(EPOCH, Offset(3), "gone");
        waiting.park(EPOCH, Offset(3), "patient");
        assert_eq!(waiting.give_up(place), Some("gone"));
        assert_eq!(waiting.give_up(place), None);
        assert_eq!(released(&mut waiting, 3), [(3, "patient")]);
    }

    #[test]
    #[should_panic(expected = "waiters of leader epoch 4 are told before epoch 5 begins")]
    fn two_leader_epochs_never_wait_together() {
        let mut waiting = Waiting::default();
        waiting.park(EPOCH, Offset(3), ());
        waiting.park(EPOCH.next(), Offset(4), ());
    }

    #[test]
    fn a_parked_follower_hears_of_a_high_watermark_once_and_of_an_append_always() {
        let mut parked = Parked::default();
        parked.park_follower("knows 5", Some(Offset(5)), |_| false);
        parked.park_follower("knows 7", Some(Offset(7)), |_| false);
        parked.park_follower("old version", None, |_| false);
        parked.park_consumer("consumer", |_| false);
        assert_eq!(parked.followers_behind(Offset(7)).collect::<Vec<_>>(), [&"knows 5"]);
        assert_eq!(parked.followers_behind(Offset(8)).collect::<Vec<_>>(), [&"knows 7"]);
        assert_eq!(parked.take_followers().collect::<Vec<_>>(), ["knows 5", "knows 7", "old version"]);
        assert_eq!(parked.take_consumers().collect::<Vec<_>>(), ["consumer"]);
        assert!(parked.is_empty());
    }

    #[test]
    fn fetches_that_gave_up_do_not_pile_up() {
        let mut parked = Parked::default();
        for at in 0..10_000 {
            parked.park_follower(at, None, |earlier| *earlier < at - 3);
            assert!(parked.len() <= PRUNE_FROM + 4, "{} fetches are parked", parked.len());
        }
    }

    proptest! {
        #[test]
        fn each_waiter_is_released_once_and_never_early(
            required in prop::collection::vec(0i64..50, 0..40),
            high_watermarks in prop::collection::vec(0i64..60, 0..10),
        ) {
            let mut waiting = Waiting::default();
            for (at, offset) in required.iter().enumerate() {
                waiting.park(EPOCH, Offset(*offset), at);
            }
            let mut seen = Vec::new();
            for high_watermark in high_watermarks {
                for (offset, at) in released(&mut waiting, high_watermark) {
                    prop_assert!(offset <= high_watermark);
                    prop_assert_eq!(offset, required[at]);
                    seen.push(at);
                }
            }
            while let Some((_, at)) = waiting.take_first() {
                seen.push(at);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..required.len()).collect::<Vec<_>>());
        }
    }
}
