//! What a broker and the controllers say to each other takes long: its metadata is old, its proposals and their answers are
//! under way for seconds.
//!
//! Only where controllers have machines of their own: elsewhere the same links carry records.

use super::{Begun, Ended, Fault, Kind};
use crate::{event::Impairs, world::World};

/// See the module.
pub const KIND: Kind = Kind {
    name: "control-delay",
    about: "what a broker and the controllers send each other takes long; the strength is the delay in milliseconds",
    make: |target| {
        let delay_ms = target.strength.unwrap_or(1_000);
        Box::new(ControlDelay { node: target.node, delay_ms, links: Vec::new() })
    },
    strength: Some((50, 2_500)),
    lasts_ms_max: 20_000,
};

struct ControlDelay {
    node: i32,
    delay_ms: u64,
    links: Vec<(i32, i32)>,
}

impl Fault for ControlDelay {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (node, controllers) = (self.node, world.controllers_apart());
        if controllers.is_empty() || controllers.contains(&node) {
            return Begun::No("controllers share the brokers' links");
        }
        self.links = controllers.into_iter().flat_map(|other| [(node, other), (other, node)]).collect();
        self.links.iter().for_each(|(from, to)| world.slow(*from, *to, Some(self.delay_ms)));
        Begun::Yes(format!("{} ms between {node} and the controllers", self.delay_ms))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        self.links.drain(..).for_each(|(from, to)| world.slow(from, to, None));
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.node])
    }
}
