//! Syncs of a machine's disks fail, and what they covered never reaches the device, though it can still be read.
//!
//! The error is told once and the pages count as clean, as in Linux since 4.13: whoever tries again is told of success and
//! has nothing. So a failed sync must be final, and the machine loses what was not on the device.

use super::{Begun, Ended, Fault, Kind};
use crate::{
    event::Impairs,
    world::{Which, World},
};
use runtime::simulation::disk::Faults;

/// See the module.
pub const KIND: Kind = Kind {
    name: "sync-fails",
    about: "syncs fail with EIO and drop what they covered; the strength is how many of a thousand",
    make: |target| Box::new(SyncFails { node: target.node, per_thousand: target.strength.unwrap_or(1000) }),
    strength: Some((50, 1_000)),
    lasts_ms_max: 8000,
};

struct SyncFails {
    node: i32,
    per_thousand: u64,
}

impl SyncFails {
    fn faults(&self) -> Faults {
        Faults { sync_error: self.per_thousand, ..Faults::default() }
    }
}

impl Fault for SyncFails {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.ail_disks(self.node, Which::Data, self.faults(), true) {
            Ok(()) => Begun::Yes(format!("{} of 1000 syncs of {} fail", self.per_thousand, self.node)),
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
