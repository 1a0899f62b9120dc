//! Pure. No. 60: a coordinator writes of groups only in a leader epoch in which it has read all that is committed of them
//! (`CoordinatorRuntime.scheduleLoadOperation`).

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, LeaderEpoch, TopicPartition};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct OneCoordinator {
    loaded: BTreeMap<(BrokerId, TopicPartition), LeaderEpoch>,
}

impl Invariant for OneCoordinator {
    fn name(&self) -> &'static str {
        "one_coordinator"
    }

    fn claim(&self) -> &'static str {
        "60: who writes of groups has read all of them, in the leader epoch in which it writes"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Replica(ReplicaEvent::CoordinatorLoaded { partition, leader_epoch, end, .. }) => {
                self.loaded.insert((broker, *partition), *leader_epoch);
                let committed = ledger.committed.get(partition).map(|committed| committed.true_high_watermark);
                match committed.filter(|committed| committed > end) {
                    Some(committed) => {
                        Err(format!("{broker} has read {partition} up to {end}, and {committed} is committed"))
                    }
                    None => Ok(()),
                }
            }
            Fact::Replica(ReplicaEvent::GroupsWritten { partition, leader_epoch, .. }) => {
                match self.loaded.get(&(broker, *partition)) {
                    Some(loaded) if loaded == leader_epoch => Ok(()),
                    Some(loaded) => {
                        Err(format!("{broker} writes to {partition} in epoch {leader_epoch}, and read it in {loaded}"))
                    }
                    None => Err(format!("{broker} writes to {partition} and has not read it")),
                }
            }
            Fact::World(WorldEvent::Started { broker }) => {
                self.loaded.retain(|(one, _), _| *one != BrokerId(*broker));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, orders},
        *,
    };
    use groups::shard::{Config, GroupShard};
    use protocol::ids::Offset;
    use std::sync::Arc;

    fn loaded(leader_epoch: i32, end: i64) -> ReplicaEvent {
        ReplicaEvent::CoordinatorLoaded {
            partition: orders(),
            leader_epoch: LeaderEpoch(leader_epoch),
            end: Offset(end),
            recorded: Arc::new(GroupShard::new(Config::default()).recorded()),
        }
    }

    #[test]
    fn whoever_writes_without_having_read_is_found() {
        let story = || Story::new(OneCoordinator::default()).cluster();
        let read = || story().replica(1, loaded(1, 0));
        assert!(read().groups(0, 1, vec![commit(5, "")]).verdict.is_ok());
        assert!(story().groups(0, 1, vec![commit(5, "")]).verdict.is_err());
        assert!(read().groups(0, 2, vec![commit(5, "")]).verdict.is_err());
        let again = read().world(WorldEvent::Started { broker: 1 });
        assert!(again.groups(0, 1, vec![commit(5, "")]).verdict.is_err());
    }

    #[test]
    fn whoever_has_not_read_all_is_found() {
        let written = || {
            let one = Story::new(OneCoordinator::default()).cluster().replica(1, loaded(1, 0));
            one.append(1, 0, 1, 1, storage::event::Origin::Leader).high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3])
        };
        assert!(written().replica(2, loaded(2, 1)).verdict.is_ok());
        assert!(written().replica(2, loaded(2, 0)).verdict.is_err());
    }
}
