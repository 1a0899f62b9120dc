//! Pure. No. 7: a broker epoch names one life of one broker in the whole cluster, and a broker's next life has a larger one
//! (KIP-631, KIP-903).

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerEpoch, BrokerId};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct OneBrokerEpoch {
    /// How often each broker was started: which life it is in.
    lives: BTreeMap<BrokerId, u64>,
    given: BTreeMap<BrokerEpoch, (BrokerId, u64)>,
    largest: BTreeMap<BrokerId, BrokerEpoch>,
}

impl Invariant for OneBrokerEpoch {
    fn name(&self) -> &'static str {
        "one_broker_epoch"
    }

    fn claim(&self) -> &'static str {
        "7: a broker epoch names one life of one broker"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Started { broker }) => {
                *self.lives.entry(BrokerId(*broker)).or_default() += 1;
                Ok(())
            }
            Fact::Replica(ReplicaEvent::Registered { broker_epoch }) => {
                let broker = observed.broker;
                let life = self.lives.get(&broker).copied().unwrap_or_default();
                let (owner, of) = *self.given.entry(*broker_epoch).or_insert((broker, life));
                if (owner, of) != (broker, life) {
                    return Err(format!(
                        "broker epoch {broker_epoch} is life {of} of {owner} and life {life} of {broker}"
                    ));
                }
                match self.largest.insert(broker, *broker_epoch) {
                    Some(before) if before > *broker_epoch => {
                        Err(format!("broker {broker} went from broker epoch {before} to {broker_epoch}"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    fn registered(epoch: i64) -> ReplicaEvent {
        ReplicaEvent::Registered { broker_epoch: BrokerEpoch(epoch) }
    }

    fn story() -> Story<OneBrokerEpoch> {
        Story::new(OneBrokerEpoch::default()).world(WorldEvent::Started { broker: 1 }).replica(1, registered(5))
    }

    #[test]
    fn a_broker_epoch_of_two_brokers_is_found() {
        assert!(story().replica(2, registered(6)).verdict.is_ok());
        assert!(story().replica(2, registered(5)).verdict.is_err());
    }

    #[test]
    fn a_broker_epoch_of_two_lives_is_found() {
        assert!(story().replica(1, registered(5)).verdict.is_ok());
        let restarted = || story().world(WorldEvent::Started { broker: 1 });
        assert!(restarted().replica(1, registered(7)).verdict.is_ok());
        assert!(restarted().replica(1, registered(5)).verdict.is_err());
        assert!(restarted().replica(1, registered(4)).verdict.is_err());
    }
}
