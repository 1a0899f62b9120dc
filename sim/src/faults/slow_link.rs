//! What one node sends to another takes long.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "slow-link",
    about: "what one node sends to another takes long; the strength is the delay in milliseconds",
    make: |target| Box::new(SlowLink { target }),
    strength: Some((5, 1_500)),
    lasts_ms_max: 15_000,
};

struct SlowLink {
    target: Target,
}

impl Fault for SlowLink {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (other, delay_ms) = (world.other(self.target), self.target.strength.unwrap_or(200));
        self.target.other = Some(other);
        world.slow(self.target.node, other, Some(delay_ms));
        Begun::Yes(format!("{delay_ms} ms from {} to {other}", self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.slow(self.target.node, world.other(self.target), None);
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
