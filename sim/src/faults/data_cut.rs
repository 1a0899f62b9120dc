//! A broker and the other brokers cannot reach each other, and the controllers notice nothing: heartbeats go on.
//!
//! Only where controllers have machines of their own: elsewhere the same links carry heartbeats.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "data-cut",
    about: "a broker and the other brokers cannot reach each other; the controllers reach all",
    make: |target| Box::new(DataCut { node: target.node, cuts: Vec::new() }),
    strength: None,
    lasts_ms_max: 15_000,
};

struct DataCut {
    node: i32,
    cuts: Vec<(i32, i32)>,
}

impl Fault for DataCut {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (node, brokers) = (self.node, world.brokers());
        if world.controllers_apart().is_empty() || !brokers.contains(&node) {
            return Begun::No("controllers share the brokers' links");
        }
        let others = brokers.into_iter().filter(|other| *other != node);
        self.cuts = others.flat_map(|other| [(node, other), (other, node)]).collect();
        self.cuts.iter().for_each(|(from, to)| world.cut(*from, *to));
        Begun::Yes(format!("cut {node} from the other brokers"))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.cuts.drain(..).for_each(|(from, to)| world.heal(from, to));
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
