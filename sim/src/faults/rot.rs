//! What lies in a closed segment changes, as by a cosmic ray or by a disk that wrote somewhere else than it was told. Nobody is
//! told: whoever reads there next must notice.
//!
//! Within the fault budget only: the replica counts as lost until it was copied anew.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// One bit.
pub const BIT_FLIP: Kind = Kind {
    name: "bit-flip",
    about: "one bit of a closed segment flips on the disk; the strength picks which",
    make: |target| Box::new(Rot { target, hit: World::flip_bit }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 1_000,
};

/// One bit that no checksum covers.
pub const HEADER_FLIP: Kind = Kind {
    name: "header-flip",
    about: "one bit of a batch's offset, length, leader epoch or version flips in a closed segment; the strength picks which",
    make: |target| Box::new(Rot { target, hit: World::flip_header_bit }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 1_000,
};

/// A sector.
pub const MISDIRECTED_WRITE: Kind = Kind {
    name: "misdirected-write",
    about: "a sector of a closed segment is overwritten with another one's bytes; the strength picks which",
    make: |target| Box::new(Rot { target, hit: World::misdirect_write }),
    strength: Some((1, 1 << 40)),
    lasts_ms_max: 1_000,
};

struct Rot {
    target: Target,
    /// Damages something on a node, chosen by a number, and tells what.
    hit: fn(&mut World, i32, u64) -> Result<String, &'static str>,
}

impl Fault for Rot {
    fn begin(&mut self, world: &mut World) -> Begun {
        match (self.hit)(world, self.target.node, self.target.strength.unwrap_or(1)) {
            Ok(what) => Begun::Yes(what),
            Err(why) => Begun::No(why),
        }
    }

    fn end(&mut self, _world: &mut World) -> Ended {
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.target.node])
    }
}
