//! Pure. No. 73: a produce that waits for the in-sync replicas is answered by its timeout, whatever became of them; no waiting
//! request is forgotten (`DelayedProduce`).

use super::Invariant;
use crate::{
    event::{Impairs, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::BTreeSet;

/// How late an answer may be, in nanoseconds: clocks run at different rates. Less than a client has patience, or its going away
/// would end the wait.
const SLACK: u64 = 300_000_000;

/// See the module.
#[derive(Default)]
pub struct WaitsEnd {
    /// When each must be over, with a number that tells equals apart.
    waiting: BTreeSet<(u64, BrokerId, TopicPartition, Offset, u64)>,
    begun: u64,
}

impl WaitsEnd {
    fn forget(&mut self, nodes: &[i32]) {
        self.waiting.retain(|(_, broker, ..)| !nodes.contains(&broker.0));
    }
}

impl Invariant for WaitsEnd {
    fn name(&self) -> &'static str {
        "waits_end"
    }

    fn claim(&self) -> &'static str {
        "73: whoever waits for the in-sync replicas is answered in time"
    }

    fn before(&mut self, _ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match self.waiting.first() {
            Some((due, broker, partition, required, _)) if observed.at > *due => Err(format!(
                "{partition}: a produce waits on broker {broker} for offset {required} since it should have been answered"
            )),
            _ => Ok(()),
        }
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Replica(ReplicaEvent::ProduceWaits { partition, required, within_ms }) => {
                self.begun += 1;
                let due = observed.at + within_ms * 1_000_000 + SLACK;
                self.waiting.insert((due, broker, *partition, *required, self.begun));
            }
            Fact::Replica(ReplicaEvent::ProduceWaited { partition, required }) => {
                let same = |wait: &&(u64, BrokerId, TopicPartition, Offset, u64)| {
                    (wait.1, wait.2, wait.3) == (broker, *partition, *required)
                };
                if let Some(wait) = self.waiting.iter().find(same).copied() {
                    self.waiting.remove(&wait);
                }
            }
            // Whoever stands still answers nobody.
            Fact::World(WorldEvent::FaultBegan { impairs: Impairs::Nodes(nodes), .. }) => self.forget(nodes),
            Fact::World(WorldEvent::Crashed { broker, .. } | WorldEvent::Stopped { broker }) => self.forget(&[*broker]),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };

    #[test]
    fn a_produce_that_is_not_answered_is_found() {
        let waits = || ReplicaEvent::ProduceWaits { partition: orders(), required: Offset(4), within_ms: 3_000 };
        let waited = || ReplicaEvent::ProduceWaited { partition: orders(), required: Offset(4) };
        let story = || Story::new(WaitsEnd::default()).replica(1, waits());
        assert!(story().wait(3).replica(1, waited()).wait(9).world(WorldEvent::Healed).verdict.is_ok());
        assert!(story().wait(9).replica(1, waited()).verdict.is_err());
        assert!(
            story().world(WorldEvent::Crashed { broker: 1, power: false }).wait(9).replica(2, waited()).verdict.is_ok()
        );
    }
}
