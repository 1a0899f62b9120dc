//! A process dies, and finds some of the files gone, cut or scrambled that can be made anew from its logs: indexes, producer
//! snapshots, checkpoints. Nothing that was acknowledged is in them.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "lost-files",
    about: "the process dies, and indexes, producer snapshots and checkpoints are gone, cut or scrambled when it starts again",
    make: |target| Box::new(LostFiles { node: target.node, pick: target.strength.unwrap_or(1) }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 6_000,
};

struct LostFiles {
    node: i32,
    pick: u64,
}

impl Fault for LostFiles {
    fn begin(&mut self, world: &mut World) -> Begun {
        if !world.may_crash(self.node, false) {
            return Begun::No("it would exceed the fault budget");
        }
        if !world.crash(self.node, false) {
            return Begun::No("it was down already");
        }
        let hit = world.lose_files(self.node, self.pick);
        Begun::Yes(format!("kill {}, and spoil {hit} of its indexes, snapshots and checkpoints", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.start(self.node);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
