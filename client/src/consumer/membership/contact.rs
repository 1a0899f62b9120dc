//! Pure. How a member of either protocol stands with its coordinator and its poller: whom to ask, when again, and whether the
//! user still polls.
//!
//! It does not know what is asked. Driven by the machines, and by `group` where a coordinator is found or lost and polls begin
//! and end.

use super::options::GroupOptions;
use super::{Life, Step, millis};
use crate::retry::Backoff;
use protocol::ids::{BrokerId, MonotonicMillis};

/// See the module.
#[derive(Debug)]
pub struct Contact {
    options: GroupOptions,
    retry_backoff: Backoff,
    coordinator: Option<BrokerId>,
    life: u64,
    failures: u32,
    retry_at: MonotonicMillis,
    /// When the coordinator last answered well, or was found.
    heard_at: MonotonicMillis,
    /// When the last poll ended; nothing while one is under way.
    polled_at: Option<MonotonicMillis>,
}

impl Contact {
    /// With nobody yet. `retry_backoff` is the wait before a coordinator is asked again after an error.
    pub fn new(options: GroupOptions, retry_backoff: Backoff) -> Self {
        Self {
            options,
            retry_backoff,
            coordinator: None,
            life: 0,
            failures: 0,
            retry_at: MonotonicMillis(0),
            heard_at: MonotonicMillis(0),
            polled_at: None,
        }
    }

    /// What the user wants.
    pub fn options(&self) -> &GroupOptions {
        &self.options
    }

    /// Who coordinates the group, as far as is known.
    pub fn coordinator(&self) -> Option<BrokerId> {
        self.coordinator
    }

    /// Somebody coordinates the group.
    pub fn found(&mut self, coordinator: BrokerId, now: MonotonicMillis) {
        self.coordinator = Some(coordinator);
        self.failures = 0;
        self.retry_at = now;
        self.heard_at = now;
    }

    /// The broker that was asked does not coordinate the group, or does not answer.
    pub fn lost_coordinator(&mut self, was: BrokerId) {
        if self.coordinator == Some(was) {
            self.coordinator = None;
        }
    }

    /// A poll begins.
    pub fn poll_began(&mut self) {
        self.polled_at = None;
    }

    /// A poll ended, or whoever polls has just subscribed: the next one is awaited for `max.poll.interval.ms`.
    pub fn poll_ended(&mut self, now: MonotonicMillis) {
        self.polled_at = Some(now);
    }

    /// The member's life.
    pub fn life(&self) -> Life {
        Life(self.life)
    }

    /// Begins another life: what was asked in this one counts no more, and whoever is asked next is asked at once.
    pub(super) fn begin_life(&mut self) {
        self.life += 1;
        self.failures = 0;
        self.retry_at = MonotonicMillis(0);
    }

    /// Whoever coordinated the group is to be looked for again.
    pub(super) fn forget_coordinator(&mut self) {
        self.coordinator = None;
    }

    /// The coordinator answered well.
    pub(super) fn answered_well(&mut self, now: MonotonicMillis) {
        self.failures = 0;
        self.heard_at = now;
    }

    /// How long the coordinator has been silent, in milliseconds.
    pub(super) fn silent_for(&self, now: MonotonicMillis) -> u64 {
        now.since(self.heard_at)
    }

    /// Asks nobody for a while, which is longer after each failure in a row.
    pub(super) fn retry_later(&mut self, now: MonotonicMillis, random: u64) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.plus(millis(self.retry_backoff.after(self.failures, random)));
    }

    /// When somebody may be asked again.
    pub(super) fn retry_at(&self) -> MonotonicMillis {
        self.retry_at
    }

    /// Whether the user has not polled for `max.poll.interval.ms`.
    pub(super) fn is_overdue(&self, now: MonotonicMillis) -> bool {
        self.overdue_at().is_some_and(|at| at <= now)
    }

    fn overdue_at(&self) -> Option<MonotonicMillis> {
        self.polled_at.map(|at| at.plus(millis(self.options.poll_interval_max)))
    }

    /// Waits until then, or until the user is overdue.
    pub(super) fn wait_until(&self, at: MonotonicMillis) -> Step {
        Step::Wait(Some(self.overdue_at().map_or(at, |overdue_at| overdue_at.min(at))))
    }
}
