//! A machine is busy with something else: whatever its programs want to do waits longer for a processor.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "slow-cpu",
    about: "a machine is slow; the strength is how many times as long each task waits for a processor",
    make: |target| Box::new(SlowCpu { node: target.node, factor: target.strength.unwrap_or(50) }),
    strength: Some((2, 1_000)),
    lasts_ms_max: 15_000,
};

struct SlowCpu {
    node: i32,
    factor: u64,
}

impl Fault for SlowCpu {
    fn begin(&mut self, world: &mut World) -> Begun {
        world.slow_down(self.node, Some(self.factor));
        Begun::Yes(format!("{} is {} times as slow", self.node, self.factor))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.slow_down(self.node, None);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
