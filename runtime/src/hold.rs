//! Messages of one kind that are held back where they leave or arrive: a fault that only the simulated world knows.
//!
//! Whoever speaks a protocol says what kind a message is, as a number of its own, and asks here how long it is to wait.

use std::time::Duration;

/// Where a message is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Where it leaves.
    Leaving,
    /// Where it arrives.
    Arriving,
}

/// How long a message waits on this node before it goes on; never in the real world, where nobody is asked for its kind.
pub fn held(at: Held, kind: impl FnOnce() -> Option<i16>) -> Option<Duration> {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return crate::simulation::held(here.node, at, kind()?);
    }
    let _ = (at, kind);
    None
}
