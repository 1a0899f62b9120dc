//! A sector of a closed segment is overwritten with another place's bytes, as by a disk that wrote somewhere else than it
//! was told. Nobody is told: whoever reads there next must notice.
//!
//! Within the fault budget only: the replica counts as lost until it was copied anew.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "misdirected-write",
    about: "a sector of a closed segment is overwritten with another one's bytes; the strength picks which",
    make: |target| Box::new(MisdirectedWrite { node: target.node, pick: target.strength.unwrap_or(1) }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 1_000,
};

struct MisdirectedWrite {
    node: i32,
    pick: u64,
}

impl Fault for MisdirectedWrite {
    fn begin(&mut self, world: &mut World) -> Begun {
        match world.misdirect_write(self.node, self.pick) {
            Ok(what) => Begun::Yes(what),
            Err(why) => Begun::No(why),
        }
    }

    fn end(&mut self, _world: &mut World) -> Ended {
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
