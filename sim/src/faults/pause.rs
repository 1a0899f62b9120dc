//! The process stands still, as in a long garbage collection or under SIGSTOP: its sockets stay open, its clock runs on.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "pause",
    about: "the process stands still, longer than a session if it lasts; then it goes on as if nothing had been",
    make: |target| Box::new(Pause { node: target.node }),
    strength: None,
    lasts_ms_max: 8_000,
};

struct Pause {
    node: i32,
}

impl Fault for Pause {
    fn begin(&mut self, world: &mut World) -> Begun {
        if world.pause(self.node) {
            Begun::Yes(format!("pause {}", self.node))
        } else {
            Begun::No("it was not running")
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.resume(self.node);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
