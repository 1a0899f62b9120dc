//! A link between two nodes is cut and healed, over and over.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};

/// How often it changes after it was cut first.
const CHANGES: u32 = 15;

/// See the module.
pub const KIND: Kind = Kind {
    name: "flapping-link",
    about: "two nodes lose each other and find each other again, over and over",
    make: |target| Box::new(FlappingLink { target, is_cut: false, left: CHANGES }),
    strength: None,
    lasts_ms_max: 2_000,
};

struct FlappingLink {
    target: Target,
    is_cut: bool,
    left: u32,
}

impl FlappingLink {
    fn change(&mut self, world: &mut World) {
        let (a, b) = (self.target.node, world.other(self.target));
        for (from, to) in [(a, b), (b, a)] {
            if self.is_cut { world.heal(from, to) } else { world.cut(from, to) }
        }
        self.is_cut = !self.is_cut;
    }
}

impl Fault for FlappingLink {
    fn begin(&mut self, world: &mut World) -> Begun {
        self.target.other = Some(world.other(self.target));
        self.change(world);
        Begun::Yes(format!("{} and {} lose each other now and then", self.target.node, world.other(self.target)))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        if self.left > 0 {
            self.left -= 1;
            self.change(world);
        }
        if self.left > 0 || self.is_cut { Ended::NotYet } else { Ended::Yes }
    }

    fn impairs(&self, world: &World) -> Impairs {
        Impairs::Link(self.target.node, world.other(self.target))
    }
}
