//! The disk with a broker's partitions dies with everything on it, and the broker starts again on an empty one.
//!
//! Within the fault budget only: it is a power loss in which nothing at all survives (KIP-966, KIP-858).

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-replaced",
    about: "the machine loses power and its data disk; it starts again on an empty one",
    make: |target| Box::new(DiskReplaced { node: target.node }),
    strength: None,
    lasts_ms_max: 8_000,
};

struct DiskReplaced {
    node: i32,
}

impl Fault for DiskReplaced {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.replace_disk(self.node) {
            Ok(()) => Begun::Yes(format!("{} loses its data disk", self.node)),
            Err(why) => Begun::No(why),
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
