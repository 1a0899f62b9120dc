//! An operator stops the node in good order; it starts again when the fault ends.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "restart",
    about: "the node is stopped in good order and started again",
    make: |target| Box::new(Restart { node: target.node }),
    strength: None,
    lasts_ms_max: 6_000,
};

struct Restart {
    node: i32,
}

impl Fault for Restart {
    fn begin(&mut self, world: &mut World) -> Begun {
        if world.stop(self.node) { Begun::Yes(format!("stop {}", self.node)) } else { Begun::No("it was not running") }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        if world.is_up(self.node) {
            return Ended::Yes; // another fault has started it again already
        }
        // Whoever has not stopped by now is not waited for any longer, if the fault budget allows for it.
        if world.is_stopping(self.node) && !world.may_crash(self.node, false) {
            return Ended::NotYet;
        }
        world.crash(self.node, false);
        world.start(self.node);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
