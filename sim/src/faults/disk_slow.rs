//! A machine's disks are slow: some syncs take up to three seconds, some reads hold the whole machine.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-slow",
    about: "the disks are slow; the strength is how many syncs and reads of a thousand",
    make: |target| Box::new(DiskSlow { node: target.node, per_thousand: target.strength.unwrap_or(100) }),
    strength: Some((10, 500)),
    lasts_ms_max: 15_000,
};

struct DiskSlow {
    node: i32,
    per_thousand: u64,
}

impl DiskSlow {
    fn faults(&self) -> Faults {
        Faults { slow_sync: self.per_thousand, slow_read: self.per_thousand / 10, ..Faults::default() }
    }
}

impl Fault for DiskSlow {
    fn begin(&mut self, world: &mut World) -> Begun {
        world.worsen_disks(self.node, self.faults());
        Begun::Yes(format!("{} of 1000 syncs of {} are slow", self.per_thousand, self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.mend_disks(self.node, self.faults());
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
