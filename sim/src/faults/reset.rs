//! Every connection between two nodes is broken off, as by a middlebox that forgot them: both ends see a reset.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "reset",
    about: "all connections between two nodes are reset; new ones work",
    make: |target| Box::new(Reset { target }),
    strength: None,
    lasts_ms_max: 1_000,
};

struct Reset {
    target: Target,
}

impl Fault for Reset {
    fn begin(&mut self, world: &mut World) -> Begun {
        let other = world.other(self.target);
        self.target.other = Some(other);
        world.reset(self.target.node, other);
        Begun::Yes(format!("connections between {} and {other} are reset", self.target.node))
    }

    fn end(&mut self, _world: &mut World) -> Ended {
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
