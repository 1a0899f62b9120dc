//! Two nodes cannot reach each other, in either direction; everybody else reaches both.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "partition",
    about: "two nodes cannot reach each other",
    make: |target| Box::new(Partition { target }),
    strength: None,
    lasts_ms_max: 25_000,
};

struct Partition {
    target: Target,
}

impl Fault for Partition {
    fn begin(&mut self, world: &mut World) -> Begun {
        let other = world.other(self.target);
        self.target.other = Some(other);
        world.cut(self.target.node, other);
        world.cut(other, self.target.node);
        Begun::Yes(format!("cut {} from {other}", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        let other = world.other(self.target);
        world.heal(self.target.node, other);
        world.heal(other, self.target.node);
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
