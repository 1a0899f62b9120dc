//! One node cannot reach any other node, nor be reached; every second client is cut off with it, and so goes on talking to
//! it alone.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "isolate",
    about: "one node and every second client are cut off from everybody else",
    make: |target| Box::new(Isolate { node: target.node, cuts: Vec::new() }),
    strength: None,
    lasts_ms_max: 25_000,
};

struct Isolate {
    node: i32,
    cuts: Vec<(i32, i32)>,
}

impl Fault for Isolate {
    fn begin(&mut self, world: &mut World) -> Begun {
        let inside = |id: i32| id == self.node || (world.is_client(id) && id % 2 == 0);
        let everybody = world.everybody();
        for a in &everybody {
            for b in everybody.iter().filter(|b| inside(*a) != inside(**b)) {
                self.cuts.push((*a, *b));
            }
        }
        self.cuts.iter().for_each(|(from, to)| world.cut(*from, *to));
        Begun::Yes(format!("isolate {}", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.cuts.drain(..).for_each(|(from, to)| world.heal(from, to));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        // The clients that went with it can do nothing, whatever the others do.
        Impairs::Nodes(if world.clients().any(|id| id % 2 == 0) { world.brokers() } else { vec![self.node] })
    }
}
