//! A broker's disk answers nothing but errors, as one that was pulled out; everything is on it when it is back.

use super::{Begun, Ended, Fault, Kind};
use crate::{
    event::Impairs,
    world::{Which, World},
};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-offline",
    about: "every operation on a machine's data disk fails with EIO, until the fault ends",
    make: |target| Box::new(DiskOffline { node: target.node }),
    strength: None,
    lasts_ms_max: 8_000,
};

struct DiskOffline {
    node: i32,
}

fn faults() -> Faults {
    Faults { offline: true, ..Faults::default() }
}

impl Fault for DiskOffline {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.ail_disks(self.node, Which::Data, faults(), false) {
            Ok(()) => Begun::Yes(format!("the data disk of {} is gone", self.node)),
            Err(why) => Begun::No(why),
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.cure_disks(self.node, faults());
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
