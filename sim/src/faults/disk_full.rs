//! A machine's disks are full: writes and new files are refused, until somebody makes room. Nothing that is stored is lost.

use super::{Begun, Ended, Fault, Kind};
use crate::{
    event::Impairs,
    world::{Which, World},
};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-full",
    about: "writes fail with ENOSPC until the fault ends",
    make: |target| Box::new(DiskFull { node: target.node }),
    strength: None,
    lasts_ms_max: 8000,
};

struct DiskFull {
    node: i32,
}

impl DiskFull {
    fn faults(&self) -> Faults {
        Faults { no_space: true, ..Faults::default() }
    }
}

impl Fault for DiskFull {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.ail_disks(self.node, Which::All, self.faults(), false) {
            Ok(()) => Begun::Yes(format!("the disks of {} are full", self.node)),
            Err(why) => Begun::No(why),
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.cure_disks(self.node, self.faults());
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
