//! One machine's clocks are off: the wall clock jumps, and both run too fast or too slowly.
//!
//! The strength is the rate's error in parts per million; odd ones are slow. The wall clock is off by 12 ms for each.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// How far the wall clock is off for each part per million, in milliseconds: ten minutes at five percent.
const WALL_MS: i64 = 12;

/// See the module.
pub const KIND: Kind = Kind {
    name: "clock-skew",
    about: "a machine's clocks are wrong and run wrong; the strength is the error in parts per million, odd ones too slow",
    make: |target| Box::new(ClockSkew { node: target.node, ppm: target.strength.unwrap_or(20_000) }),
    strength: Some((500, 50_000)),
    lasts_ms_max: 25_000,
};

struct ClockSkew {
    node: i32,
    ppm: u64,
}

impl ClockSkew {
    fn rate(&self) -> i64 {
        // A clock that stands still or runs twice as fast is another fault.
        let ppm = self.ppm.min(500_000) as i64;
        if ppm % 2 == 0 { ppm } else { -ppm }
    }
}

impl Fault for ClockSkew {
    fn begin(&mut self, world: &mut World) -> Begun {
        let rate = self.rate();
        world.skew(self.node, (rate * WALL_MS, rate));
        Begun::Yes(format!("clocks of {} off by {rate} ppm", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.unskew(self.node, (self.rate() * WALL_MS, self.rate()));
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(Vec::new())
    }
}
