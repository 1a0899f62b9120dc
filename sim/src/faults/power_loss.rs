//! The machine loses power: sockets vanish without a word, and of what was not synced only a drawn part survives.
//!
//! Within the fault budget only: where one more lossy replica would break the promise of `min.insync.replicas` for some
//! partition (KIP-966), the fault does not begin.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "power-loss",
    about: "the machine loses power; un-synced bytes and directory entries may be lost or torn",
    make: |target| Box::new(PowerLoss { node: target.node }),
    strength: None,
    lasts_ms_max: 8_000,
};

struct PowerLoss {
    node: i32,
}

impl Fault for PowerLoss {
    fn begin(&mut self, world: &mut World) -> Begun {
        if !world.may_crash(self.node, true) {
            return Begun::No("it would exceed the fault budget");
        }
        if world.crash(self.node, true) {
            Begun::Yes(format!("power loss on {}", self.node))
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
