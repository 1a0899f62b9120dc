//! Clients cannot reach one node, while all nodes reach each other.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "client-cut",
    about: "clients cannot reach one node; the nodes reach each other",
    make: |target| Box::new(ClientCut { node: target.node, cuts: Vec::new() }),
    strength: None,
    lasts_ms_max: 10_000,
};

struct ClientCut {
    node: i32,
    cuts: Vec<(i32, i32)>,
}

impl Fault for ClientCut {
    fn begin(&mut self, world: &mut World) -> Begun {
        self.cuts = world.clients().flat_map(|client| [(client, self.node), (self.node, client)]).collect();
        self.cuts.iter().for_each(|(from, to)| world.cut(*from, *to));
        Begun::Yes(format!("cut {} from all clients", self.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.cuts.drain(..).for_each(|(from, to)| world.heal(from, to));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        // It goes on leading, and nobody can write to what it leads.
        Impairs::Nodes(world.brokers())
    }
}
