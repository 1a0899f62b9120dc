//! Which kinds of messages are held back on which nodes, and for how long.

use super::{NodeId, world::world};
use crate::hold::Held;
use std::time::Duration;

/// Holds messages of a kind back on a node, each for this long; without a time, no longer. What is held already waits its
/// time out.
///
/// # Panics
/// Outside a simulation.
pub fn hold(node: NodeId, at: Held, kind: i16, delay: Option<Duration>) {
    world(|world| {
        let mut holds = world.holds.borrow_mut();
        match delay {
            Some(delay) => holds.insert((node, at, kind), delay),
            None => holds.remove(&(node, at, kind)),
        };
    });
}

pub(crate) fn held(node: NodeId, at: Held, kind: i16) -> Option<Duration> {
    world(|world| world.holds.borrow().get(&(node, at, kind)).copied())
}
