//! Packets between two nodes get lost: retransmission delays them, and a connection that loses too many is reset.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "loss",
    about: "packets between two nodes get lost and are sent again; the strength is the loss in percent",
    make: |target| Box::new(Loss { target }),
    strength: Some((1, 40)),
    lasts_ms_max: 15_000,
};

struct Loss {
    target: Target,
}

impl Fault for Loss {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (other, percent) = (world.other(self.target), self.target.strength.unwrap_or(10));
        self.target.other = Some(other);
        world.lose(self.target.node, other, Some(percent));
        world.lose(other, self.target.node, Some(percent));
        Begun::Yes(format!("{percent} % loss between {} and {other}", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        let other = world.other(self.target);
        world.lose(self.target.node, other, None);
        world.lose(other, self.target.node, None);
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
