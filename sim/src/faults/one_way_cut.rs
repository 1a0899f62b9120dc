//! What one node sends to another does not arrive; the other way is fine.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "one-way-cut",
    about: "what one node sends to another does not arrive; the other way is fine",
    make: |target| Box::new(OneWayCut { target }),
    strength: None,
    lasts_ms_max: 25_000,
};

struct OneWayCut {
    target: Target,
}

impl Fault for OneWayCut {
    fn begin(&mut self, world: &mut World) -> Begun {
        let other = world.other(self.target);
        self.target.other = Some(other);
        world.cut(self.target.node, other);
        Begun::Yes(format!("cut {} to {other}, one way", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.heal(self.target.node, world.other(self.target));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
