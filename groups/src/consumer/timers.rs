//! Pure. The clocks of a group's members: how long each may be silent, and how long it may take to give partitions back.
//!
//! Nothing of it is written down: whoever loads a group gives all members their whole time again.

use crate::ids::MemberId;
use protocol::ids::MonotonicMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Why a member is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// It was silent for too long.
    Session,
    /// It did not give partitions back in time.
    Revocation,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    session: MonotonicMillis,
    revocation: Option<MonotonicMillis>,
}

impl Clock {
    fn deadline(&self) -> MonotonicMillis {
        self.revocation.map_or(self.session, |revocation| revocation.min(self.session))
    }
}

/// The clocks of all members.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    clocks: BTreeMap<MemberId, Clock>,
    /// The same by deadline, so that asking for the next one costs nothing.
    queue: BTreeSet<(MonotonicMillis, MemberId)>,
}

impl Timers {
    /// Starts the member's session again. Its time to give partitions back starts if it has none, and else goes on; without
    /// `revocation` it ends.
    pub fn start(&mut self, member: &MemberId, now: MonotonicMillis, session: Duration, revocation: Option<Duration>) {
        let at = |timeout: Duration| now.plus(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let running = self.take(member).and_then(|clock| clock.revocation);
        let revocation = revocation.map(|timeout| running.unwrap_or(at(timeout)));
        self.put(member, Clock { session: at(session), revocation });
    }

    /// Ends the member's time to give partitions back: it did, or it is asked for others.
    pub fn stop_revocation(&mut self, member: &MemberId) {
        if let Some(clock) = self.take(member) {
            self.put(member, Clock { revocation: None, ..clock });
        }
    }

    /// Drops the member's clocks.
    pub fn forget(&mut self, member: &MemberId) {
        self.take(member);
    }

    fn take(&mut self, member: &MemberId) -> Option<Clock> {
        let clock = self.clocks.remove(member)?;
        self.queue.remove(&(clock.deadline(), member.clone()));
        Some(clock)
    }

    fn put(&mut self, member: &MemberId, clock: Clock) {
        self.queue.insert((clock.deadline(), member.clone()));
        self.clocks.insert(member.clone(), clock);
    }

    /// When the first clock runs out.
    pub fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Whose clocks have run out.
    pub fn expired(&self, now: MonotonicMillis) -> BTreeMap<MemberId, Timeout> {
        let due = self.queue.iter().take_while(|(deadline, _)| *deadline <= now);
        due.map(|(_, member)| {
            let timeout = if self.clocks[member].session <= now { Timeout::Session } else { Timeout::Revocation };
            (member.clone(), timeout)
        })
        .collect()
    }
}
