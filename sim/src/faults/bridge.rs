//! The nodes fall into two halves that only one of them can see both of.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "bridge",
    about: "two halves of the nodes cannot reach each other; one node reaches both",
    make: |target| Box::new(Bridge { node: target.node, cuts: Vec::new() }),
    strength: None,
    lasts_ms_max: 12_000,
};

struct Bridge {
    node: i32,
    cuts: Vec<(i32, i32)>,
}

impl Fault for Bridge {
    fn begin(&mut self, world: &mut World) -> Begun {
        let others: Vec<i32> = world.nodes().into_iter().filter(|id| *id != self.node).collect();
        if others.len() < 2 {
            return Begun::No("there are not enough nodes");
        }
        // Every other one, so that brokers and controllers apart are on both sides.
        let odd = others.iter().step_by(2);
        let even = || others.iter().skip(1).step_by(2);
        self.cuts = odd.flat_map(|a| even().flat_map(|b| [(*a, *b), (*b, *a)])).collect();
        self.cuts.iter().for_each(|(from, to)| world.cut(*from, *to));
        Begun::Yes(format!("only {} sees everybody", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.cuts.drain(..).for_each(|(from, to)| world.heal(from, to));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Nodes(world.nodes())
    }
}
