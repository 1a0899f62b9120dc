//! At the edge of the fault budget: machines that never come back.

use super::World;
use crate::event::WorldEvent;
use protocol::ids::BrokerId;
use runtime::{observe, simulation};

impl World {
    /// Takes machines away for good, until the others could do without no more of them. With whom it begins depends on the
    /// seed.
    pub fn take_away(&mut self) {
        let nodes = self.nodes();
        let first = simulation::draw("taken-away", 0, 0) as usize % nodes.len();
        for id in nodes[first..].iter().chain(&nodes[..first]).copied() {
            if self.can_do_without(id) {
                self.crash(id, true);
                self.gone.insert(BrokerId(id));
                observe::emit(|| WorldEvent::TakenAway { broker: id });
            }
        }
    }

    /// Whether a machine will never come back.
    pub fn is_gone(&self, id: i32) -> bool {
        self.gone.contains(&BrokerId(id))
    }

    fn can_do_without(&self, id: i32) -> bool {
        let controllers: Vec<i32> = self.controllers().into_keys().map(|id| id.0).collect();
        let left = controllers.iter().filter(|other| **other != id && !self.is_gone(**other)).count();
        // Whoever is no broker has no partitions, and was never asked to keep one.
        let ledger = &self.shared.borrow().judge.ledger;
        left > controllers.len() / 2 && ledger.can_do_without(BrokerId(id), &self.gone, &self.disks.at_risk())
    }
}
