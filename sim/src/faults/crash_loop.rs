//! A process is killed, and each time it starts it is killed again, three times, while it recovers.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// How often it is killed again.
const AGAIN: u32 = 3;

/// See the module.
pub const KIND: Kind = Kind {
    name: "crash-loop",
    about: "the process is killed, and three times again just after it has started",
    make: |target| Box::new(CrashLoop { node: target.node, left: AGAIN, up: false }),
    strength: None,
    lasts_ms_max: 3_000,
};

struct CrashLoop {
    node: i32,
    left: u32,
    up: bool,
}

impl Fault for CrashLoop {
    fn begin(&mut self, world: &mut World) -> Begun {
        if !world.may_crash(self.node, false) {
            return Begun::No("it would exceed the fault budget");
        }
        if world.crash(self.node, false) {
            Begun::Yes(format!("kill {}, and again and again", self.node))
        } else {
            Begun::No("it was down already")
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        if self.up && self.left > 0 && world.may_crash(self.node, false) {
            self.left -= 1;
            self.up = !world.crash(self.node, false);
            return Ended::NotYet;
        }
        world.start(self.node);
        self.up = true;
        if self.left > 0 && world.may_crash(self.node, false) { Ended::NotYet } else { Ended::Yes }
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
