//! Pure. The clocks of a group's members: how long each may be silent, how long it may take to give partitions back, and how
//! long one that speaks the classic protocol may take to join again and to ask for its assignment.
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
    /// It was told to join again, and did not in time.
    Join,
    /// It joined, and did not ask for its assignment in time.
    Sync,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    session: MonotonicMillis,
    revocation: Option<MonotonicMillis>,
    join: Option<MonotonicMillis>,
    sync: Option<MonotonicMillis>,
}

impl Clock {
    /// What runs out first, and when.
    fn first(&self) -> (MonotonicMillis, Timeout) {
        let others = [(self.revocation, Timeout::Revocation), (self.join, Timeout::Join), (self.sync, Timeout::Sync)];
        let mut first = (self.session, Timeout::Session);
        for (deadline, timeout) in others {
            if let Some(deadline) = deadline.filter(|deadline| *deadline < first.0) {
                first = (deadline, timeout);
            }
        }
        first
    }

    fn deadline(&self) -> MonotonicMillis {
        self.first().0
    }
}

fn at(now: MonotonicMillis, timeout: Duration) -> MonotonicMillis {
    now.plus(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
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
        let running = self.take(member);
        let revoking = running.and_then(|clock| clock.revocation);
        let revocation = revocation.map(|timeout| revoking.unwrap_or(at(now, timeout)));
        let (join, sync) = running.map_or((None, None), |clock| (clock.join, clock.sync));
        self.put(member, Clock { session: at(now, session), revocation, join, sync });
    }

    /// The member is told to join again: its time for that starts, unless it runs already.
    pub fn begin_join(&mut self, member: &MemberId, now: MonotonicMillis, timeout: Duration) {
        if let Some(clock) = self.take(member) {
            self.put(member, Clock { join: clock.join.or(Some(at(now, timeout))), ..clock });
        }
    }

    /// The member has joined again: its time to ask for its assignment starts.
    pub fn begin_sync(&mut self, member: &MemberId, now: MonotonicMillis, timeout: Duration) {
        if let Some(clock) = self.take(member) {
            self.put(member, Clock { join: None, sync: Some(at(now, timeout)), ..clock });
        }
    }

    /// The member has asked for its assignment.
    pub fn stop_sync(&mut self, member: &MemberId) {
        if let Some(clock) = self.take(member) {
            self.put(member, Clock { sync: None, ..clock });
        }
    }

    /// The member neither joins nor asks for its assignment: it speaks the other protocol.
    pub fn stop_joining(&mut self, member: &MemberId) {
        if let Some(clock) = self.take(member) {
            self.put(member, Clock { join: None, sync: None, ..clock });
        }
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
            let clock = &self.clocks[member];
            let timeout = if clock.session <= now { Timeout::Session } else { clock.first().1 };
            (member.clone(), timeout)
        })
        .collect()
    }
}
