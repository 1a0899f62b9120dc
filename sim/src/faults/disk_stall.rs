//! No sync of a machine ends for seconds, and then all of them do.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-stall",
    about: "no sync of the machine ends until the fault does",
    make: |target| Box::new(DiskStall { node: target.node }),
    strength: None,
    lasts_ms_max: 8_000,
};

const STALLED: Faults = Faults {
    read_error: 0,
    append_error: 0,
    short_write: 0,
    sync_error: 0,
    slow_sync: 0,
    stalled_sync: true,
    slow_read: 0,
    slow_append: 0,
    no_space: false,
    offline: false,
};

struct DiskStall {
    node: i32,
}

impl Fault for DiskStall {
    fn begin(&mut self, world: &mut World) -> Begun {
        world.worsen_disks(self.node, STALLED);
        Begun::Yes(format!("no sync of {} ends", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.mend_disks(self.node, STALLED);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
