//! One bit of a closed segment flips while it lies on the disk. Nobody is told: whoever reads there next must notice.
//!
//! Within the fault budget only: the replica counts as lost until it was copied anew.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "bit-flip",
    about: "one bit of a closed segment flips on the disk; the strength picks which",
    make: |target| Box::new(BitFlip { node: target.node, pick: target.strength.unwrap_or(1) }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 1_000,
};

struct BitFlip {
    node: i32,
    pick: u64,
}

impl Fault for BitFlip {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.flip_bit(self.node, self.pick) {
            Ok(what) => Begun::Yes(what),
            Err(why) => Begun::No(why),
        }
    }

    fn end(&mut self, _world: &mut World) -> Ended {
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
