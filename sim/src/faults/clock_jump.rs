//! One machine's wall clock is set to another time, as by an operator or a time server; the monotonic clock never jumps.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "clock-jump",
    about: "a machine's wall clock is set wrong; the strength is by how many milliseconds, odd ones into the past",
    make: |target| Box::new(ClockJump { node: target.node, millis: target.strength.unwrap_or(60_000) }),
    strength: Some((1_000, 3_600_000)),
    lasts_ms_max: 25_000,
};

struct ClockJump {
    node: i32,
    millis: u64,
}

impl ClockJump {
    fn offset_ms(&self) -> i64 {
        let millis = i64::try_from(self.millis).unwrap_or(i64::MAX);
        if millis % 2 == 0 { millis } else { -millis }
    }
}

impl Fault for ClockJump {
    fn begin(&mut self, world: &mut World) -> Begun {
        world.skew(self.node, (self.offset_ms(), 0));
        Begun::Yes(format!("the wall clock of {} jumps by {} ms", self.node, self.offset_ms()))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.unskew(self.node, (self.offset_ms(), 0));
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(Vec::new())
    }
}
