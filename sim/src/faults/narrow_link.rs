//! What one node sends to another has little room, and queues.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "narrow-link",
    about: "what one node sends to another has little room; the strength is how much, in KB a second",
    make: |target| Box::new(NarrowLink { target }),
    strength: Some((4, 500)),
    lasts_ms_max: 15_000,
};

struct NarrowLink {
    target: Target,
}

impl Fault for NarrowLink {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (other, kilobytes) = (world.other(self.target), self.target.strength.unwrap_or(20));
        self.target.other = Some(other);
        world.narrow(self.target.node, other, Some(kilobytes * 1_000));
        Begun::Yes(format!("{kilobytes} KB a second from {} to {other}", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.narrow(self.target.node, world.other(self.target), None);
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
