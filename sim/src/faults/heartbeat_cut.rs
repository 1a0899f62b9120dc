//! What a broker sends to the controllers does not arrive: no heartbeat, no proposal. What the controllers send to it does,
//! and brokers and clients notice nothing.
//!
//! Only where controllers have machines of their own: elsewhere the same links carry records.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "heartbeat-cut",
    about: "what a broker sends to the controllers does not arrive; all else is fine",
    make: |target| Box::new(HeartbeatCut { node: target.node, cuts: Vec::new() }),
    strength: None,
    lasts_ms_max: 15_000,
};

struct HeartbeatCut {
    node: i32,
    cuts: Vec<(i32, i32)>,
}

impl Fault for HeartbeatCut {
    fn begin(&mut self, world: &mut World) -> Begun {
        let controllers = world.controllers_apart();
        if controllers.is_empty() || controllers.contains(&self.node) {
            return Begun::No("controllers share the brokers' links");
        }
        self.cuts = controllers.into_iter().map(|controller| (self.node, controller)).collect();
        self.cuts.iter().for_each(|(from, to)| world.cut(*from, *to));
        Begun::Yes(format!("cut {} to the controllers, one way", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.cuts.drain(..).for_each(|(from, to)| world.heal(from, to));
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
