//! A link holds back all that one node sends to another, and then delivers it in one burst.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "clog",
    about: "what one node sends to another is held back, and then arrives in one burst",
    make: |target| Box::new(Clog { target }),
    strength: None,
    lasts_ms_max: 5_000,
};

struct Clog {
    target: Target,
}

impl Fault for Clog {
    fn begin(&mut self, world: &mut World) -> Begun {
        let other = world.other(self.target);
        self.target.other = Some(other);
        world.clog(self.target.node, other);
        Begun::Yes(format!("clog {} to {other}", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.unclog(self.target.node, world.other(self.target));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
