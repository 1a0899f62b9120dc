//! A client stands still for a while and then goes on as if nothing had been: a zombie, if others took over meanwhile.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "client-pause",
    about: "a client stands still and then goes on; the strength picks which",
    make: |target| Box::new(ClientPause { pick: target.strength.unwrap_or(1), client: None }),
    strength: Some((1, 1 << 20)),
    lasts_ms_max: 15_000,
};

struct ClientPause {
    pick: u64,
    client: Option<i32>,
}

impl Fault for ClientPause {
    fn begin(&mut self, world: &mut World) -> Begun {
        self.client = world.pause_client(self.pick);
        match self.client {
            Some(client) => Begun::Yes(format!("client {} stands still", client - crate::recording::FIRST_CLIENT)),
            None => Begun::No("no client runs"),
        }
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.client.take().into_iter().for_each(|client| world.resume_client(client));
        Ended::Yes
    }

    fn impairs(&self, world: &World) -> Impairs {
        // It may be the only one that writes, and nobody can be expected to answer who asks nothing.
        Impairs::Nodes(world.brokers())
    }
}
