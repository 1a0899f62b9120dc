//! Some reads and writes of a machine's disks fail, and some writes do so half-way. Nothing that is stored is lost.

use super::{Begun, Ended, Fault, Kind};
use crate::{
    event::Impairs,
    world::{Which, World},
};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "disk-error",
    about: "reads and writes fail with EIO, some writes half-way; the strength is how many of a thousand",
    make: |target| Box::new(DiskError { node: target.node, per_thousand: target.strength.unwrap_or(20) }),
    strength: Some((1, 100)),
    lasts_ms_max: 8000,
};

struct DiskError {
    node: i32,
    per_thousand: u64,
}

impl DiskError {
    fn faults(&self) -> Faults {
        let often = self.per_thousand;
        Faults { read_error: often, append_error: often, short_write: often, ..Faults::default() }
    }
}

impl Fault for DiskError {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.ail_disks(self.node, Which::Data, self.faults(), false) {
            Ok(()) => Begun::Yes(format!("{} of 1000 reads and writes of {} fail", self.per_thousand, self.node)),
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
