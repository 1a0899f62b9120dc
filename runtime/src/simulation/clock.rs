//! Time: one virtual clock, every node's own clocks over it, and timers.

use super::{
    Here,
    world::{World, try_world, world},
};
use crate::observe::NodeId;
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

const MILLION: i128 = 1_000_000;

/// A machine's clocks, as functions of the virtual time.
#[derive(Clone, Copy, Default)]
pub(super) struct Clocks {
    wall_offset_ms: i64,
    rate_ppm: i64,
    /// The virtual time at which the rate was set, and what the monotonic clock showed then.
    since: u64,
    shown: u64,
}

impl Clocks {
    fn at(&self, now: u64) -> u64 {
        if self.rate_ppm == 0 {
            return self.shown + (now - self.since);
        }
        let passed = i128::from(now - self.since) * (MILLION + i128::from(self.rate_ppm)) / MILLION;
        self.shown + u64::try_from(passed).expect("a rate is above minus one million")
    }

    /// The first virtual time at which the monotonic clock shows `local` or more.
    fn reached(&self, local: u64) -> u64 {
        let ahead = local.saturating_sub(self.shown);
        if self.rate_ppm == 0 {
            return self.since.saturating_add(ahead);
        }
        let rate = MILLION + i128::from(self.rate_ppm);
        let wait = (i128::from(ahead) * MILLION + rate - 1) / rate;
        self.since.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

/// Virtual nanoseconds since the start of the run: the one clock under all the nodes' own.
///
/// # Panics
/// Outside a simulation.
pub fn now_ns() -> u64 {
    world(|world| world.now.get())
}

fn clocks(world: &World, here: Here) -> Clocks {
    world.nodes.borrow()[here.node.0 as usize].clocks
}

pub(crate) fn local_now(here: Here) -> u64 {
    world(|world| clocks(world, here).at(world.now.get()))
}

pub(crate) fn local_wall(here: Here) -> i64 {
    world(|world| {
        let clocks = clocks(world, here);
        let shown = i64::try_from(clocks.at(world.now.get()) / 1_000_000).expect("a run is shorter than an age");
        world.wall_base + clocks.wall_offset_ms + shown
    })
}

/// Sets a node's clocks: the wall clock's offset, which may jump, and the rate of both in parts per million, which
/// changes without a jump of the monotonic clock. Timers already armed are never early by the new rate, and may be late.
///
/// # Panics
/// When the clocks would stand still or go back, and outside a simulation.
pub fn set_clock(node: NodeId, wall_offset_ms: i64, rate_ppm: i64) {
    assert!(rate_ppm > -1_000_000, "a clock of rate {rate_ppm} ppm does not go forward");
    world(|world| {
        let now = world.now.get();
        let clocks = &mut world.nodes.borrow_mut()[node.0 as usize].clocks;
        *clocks = Clocks { wall_offset_ms, rate_ppm, since: now, shown: clocks.at(now) };
    });
}

/// A timer on the virtual clock. It is armed once for a waker however often it is polled, and dropping it disarms it.
#[derive(Debug)]
pub struct Timer {
    at: u64,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    at: u64,
    id: u64,
    waker: Waker,
}

impl Timer {
    /// A timer for a virtual time, in nanoseconds since the run began.
    pub fn at(at: u64) -> Self {
        Self { at, armed: None }
    }

    pub(crate) fn at_local(here: Here, local: u64) -> Self {
        Self::at(world(|world| clocks(world, here).reached(local)))
    }

    /// Ready once the node's own clock shows `local`. One that was slowed down since the timer was armed is not there yet
    /// when it rings, and whoever looks at the clock then and waits on would wait for ever without time passing.
    pub(crate) fn poll_local(&mut self, local: u64, context: &mut Context<'_>) -> Poll<()> {
        while self.poll(context).is_ready() {
            if super::here().is_none_or(|here| local_now(here) >= local) {
                return Poll::Ready(());
            }
            self.reset_local(local);
        }
        Poll::Pending
    }

    pub(crate) fn reset_local(&mut self, local: u64) {
        let here = super::here().expect("a simulated timer belongs to a node");
        self.at = world(|world| clocks(world, here).reached(local));
    }

    /// Ready once the time has come; otherwise the waker is woken then.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = now_ns();
        if now >= self.at {
            self.disarm();
            return Poll::Ready(());
        }
        // One that is armed for an earlier time will wake us, and is armed anew then: a deadline that is moved away
        // again and again costs nothing.
        let armed = self.armed.as_ref();
        let good = armed.is_some_and(|a| a.at > now && a.at <= self.at && a.waker.will_wake(context.waker()));
        if !good {
            self.disarm();
            let waker = context.waker().clone();
            let id = world(|world| world.executor.borrow_mut().arm(self.at, waker.clone()));
            self.armed = Some(Armed { at: self.at, id, waker });
        }
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            // The removed waker is dropped after the executor's borrow: it may be anybody's.
            drop(try_world(|world| world.executor.borrow_mut().disarm(armed.at, armed.id)));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Sleeps on the virtual clock: for scenarios and for the simulated devices. Programs use [`crate::time`].
pub async fn sleep_until_ns(at: u64) {
    let mut timer = Timer::at(at);
    poll_fn(|context| timer.poll(context)).await;
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timer_is_never_early_on_its_own_clock(rate_ppm in -900_000i64..900_000, since in 0u64..1 << 50,
            shown in 0u64..1 << 50, ahead in 0u64..1 << 50) {
            let clocks = Clocks { wall_offset_ms: 0, rate_ppm, since, shown };
            let at = clocks.reached(shown + ahead);
            prop_assert!(clocks.at(at) >= shown + ahead);
            prop_assert!(at == since || clocks.at(at - 1) < shown + ahead);
        }
    }
}
