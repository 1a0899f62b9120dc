//! Pure. Beside no. 15: who is to join the ISR fetches. One that is silent does not come back by what it fetched before
//! (`Partition.maybeExpandIsr`, which is asked when a follower fetches).

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, TopicPartition};
use std::collections::BTreeMap;

/// Clocks may run up to half as fast again, or half as fast; and what a leader decides it may tell a moment later.
const TIMES: u64 = 2;
const SLACK: u64 = 1_000_000_000;

/// See the module.
#[derive(Default)]
pub struct JoinersFetch {
    /// `replica.lag.time.max.ms`, in nanoseconds.
    lag_max: u64,
    /// When a leader was last asked by a follower.
    fetched: BTreeMap<(BrokerId, TopicPartition, BrokerId), u64>,
}

impl Invariant for JoinersFetch {
    fn name(&self) -> &'static str {
        "joiners_fetch"
    }

    fn claim(&self) -> &'static str {
        "15: who is to join the ISR has fetched of late"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Built { replica_lag_ms, .. }) => self.lag_max = replica_lag_ms * 1_000_000,
            Fact::Replica(ReplicaEvent::FollowerFetched { partition, follower, .. }) => {
                self.fetched.insert((observed.broker, *partition, *follower), observed.at);
            }
            Fact::Replica(ReplicaEvent::IsrProposed { partition, isr, proposed, .. }) => {
                for joining in proposed.difference(isr) {
                    let fetched = self.fetched.get(&(observed.broker, *partition, *joining));
                    let silent = observed.at - fetched.copied().unwrap_or_default();
                    if silent > TIMES * self.lag_max + SLACK {
                        let seconds = silent as f64 / 1e9;
                        return Err(format!(
                            "{joining} is to join the ISR of {partition}, and has not fetched for {seconds:.1} s"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders, set},
        *,
    };
    use protocol::ids::{BrokerEpoch, LeaderEpoch, Offset};

    fn joins(after: u64) -> Result<(), String> {
        let (partition, leader_epoch) = (orders(), LeaderEpoch(0));
        let fetched = ReplicaEvent::FollowerFetched {
            partition,
            leader_epoch,
            follower: BrokerId(2),
            broker_epoch: BrokerEpoch(0),
            fetch_offset: Offset(0),
        };
        let proposed = ReplicaEvent::IsrProposed { partition, leader_epoch, isr: set(&[1]), proposed: set(&[1, 2]) };
        let story = Story::new(JoinersFetch::default()).cluster().replica(1, fetched);
        story.wait(after).replica(1, proposed).verdict
    }

    #[test]
    fn who_joins_in_silence_is_found() {
        assert!(joins(1).is_ok());
        assert!(joins(6).is_err());
    }
}
