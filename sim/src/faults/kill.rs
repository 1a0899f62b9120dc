//! The process dies at once; the machine lives on, closes its sockets and keeps its page cache.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "kill",
    about: "the process dies without warning; the page cache survives",
    make: |target| Box::new(Kill { node: target.node }),
    strength: None,
    lasts_ms_max: 6_000,
};

struct Kill {
    node: i32,
}

impl Fault for Kill {
    fn begin(&mut self, world: &mut World) -> Begun {
        if !world.may_crash(self.node, false) {
            return Begun::No("it would exceed the fault budget");
        }
        if world.crash(self.node, false) {
            Begun::Yes(format!("kill {}", self.node))
        } else {
            Begun::No("it was down already")
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.start(self.node);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
