//! Pure. No. 6: a partition's epochs never go back, in the metadata nor on a replica in one of its lives; the partition epoch
//! rises by one with each change, the leader epoch with each leader, and one leader epoch has one leader (Kafka's
//! `PartitionChangeBuilder`).

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, LeaderEpoch, TopicPartition};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct EpochsAdvance {
    on_replica: BTreeMap<(BrokerId, TopicPartition), LeaderEpoch>,
    leaders: BTreeMap<(TopicPartition, LeaderEpoch), BrokerId>,
}

impl EpochsAdvance {
    fn replica(
        &mut self,
        broker: BrokerId,
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), String> {
        match self.on_replica.insert((broker, partition), leader_epoch) {
            Some(before) if before > leader_epoch => {
                Err(format!("{partition}: leader epoch went from {before} back to {leader_epoch} on broker {broker}"))
            }
            _ => Ok(()),
        }
    }

    fn record(ledger: &Ledger) -> Result<(), String> {
        let Some((offset, Record::PartitionChange { topic_id, partition, .. }, before)) = &ledger.new_record else {
            return Ok(());
        };
        let of = TopicPartition { topic_id: *topic_id, partition: *partition };
        let (Some(before), Some(after)) = (before.partition(of), ledger.image.partition(of)) else {
            return Err(format!("metadata offset {offset} changes {of}, which does not exist"));
        };
        if after.partition_epoch != before.partition_epoch.next() {
            return Err(format!(
                "{of}: partition epoch went from {} to {} at metadata offset {offset}",
                before.partition_epoch, after.partition_epoch
            ));
        }
        let bumped = after.leader_epoch == before.leader_epoch.next();
        let kept = after.leader_epoch == before.leader_epoch;
        if !bumped && (!kept || before.leader != after.leader) {
            return Err(format!(
                "{of}: leader {:?} epoch {} became leader {:?} epoch {} at metadata offset {offset}",
                before.leader, before.leader_epoch, after.leader, after.leader_epoch
            ));
        }
        Ok(())
    }
}

impl Invariant for EpochsAdvance {
    fn name(&self) -> &'static str {
        "epochs_advance"
    }

    fn claim(&self) -> &'static str {
        "6: partition epochs rise by one with each change, leader epochs with each leader"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Started { broker }) => {
                self.on_replica.retain(|(of, _), _| *of != BrokerId(*broker));
                Ok(())
            }
            Fact::Replica(ReplicaEvent::BecameFollower { partition, leader_epoch, .. }) => {
                self.replica(observed.broker, *partition, *leader_epoch)
            }
            Fact::Replica(ReplicaEvent::BecameLeader { partition, leader_epoch, .. }) => {
                let first = *self.leaders.entry((*partition, *leader_epoch)).or_insert(observed.broker);
                if first != observed.broker {
                    let second = observed.broker;
                    return Err(format!(
                        "{partition}: brokers {first} and {second} both lead in leader epoch {leader_epoch}"
                    ));
                }
                self.replica(observed.broker, *partition, *leader_epoch)
            }
            _ => Self::record(ledger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn a_leader_epoch_that_goes_back_is_found() {
        let story = || Story::new(EpochsAdvance::default()).cluster().lead(1, 3, 0);
        assert!(story().lead(1, 4, 0).verdict.is_ok());
        assert!(story().lead(1, 2, 0).verdict.is_err());
    }

    #[test]
    fn two_leaders_of_one_epoch_are_found() {
        assert!(Story::new(EpochsAdvance::default()).lead(1, 3, 0).lead(2, 3, 0).verdict.is_err());
    }
}
