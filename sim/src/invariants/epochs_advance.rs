//! Pure. No. 6: a partition's epochs never go back, the partition epoch rises by one with each change, and the leader epoch
//! by one exactly when the leader changes or a replica is removed (Kafka's `PartitionChangeBuilder`).

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use metadata::record::Record;
use protocol::ids::TopicPartition;

/// See the module.
pub struct EpochsAdvance;

impl Invariant for EpochsAdvance {
    fn name(&self) -> &'static str {
        "epochs_advance"
    }

    fn claim(&self) -> &'static str {
        "6: partition epochs rise by one with each change, leader epochs with each leader"
    }

    fn check(&mut self, ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
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
        let removed = before.replicas.iter().any(|replica| !after.replicas.contains(replica));
        let moved = before.leader != after.leader || removed;
        let bumped = after.leader_epoch == before.leader_epoch.next();
        let kept = after.leader_epoch == before.leader_epoch;
        if !(bumped || kept) || (moved && !bumped) {
            return Err(format!(
                "{of}: leader {:?} epoch {} became leader {:?} epoch {} at metadata offset {offset}",
                before.leader, before.leader_epoch, after.leader, after.leader_epoch
            ));
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
    use protocol::ids::{BrokerId, LeaderEpoch, PartitionEpoch};

    #[test]
    fn a_leader_change_without_a_new_epoch_is_found() {
        let change = |leader_epoch| Record::PartitionChange {
            topic_id: orders().topic_id,
            partition: orders().partition,
            replicas: None,
            directories: None,
            isr: None,
            elr: None,
            last_known_elr: None,
            leader: Some(Some(BrokerId(2))),
            leader_epoch: Some(LeaderEpoch(leader_epoch)),
            partition_epoch: PartitionEpoch(1),
            leader_recovery_state: None,
        };
        assert!(Story::new(EpochsAdvance).cluster().record(change(1)).verdict.is_ok());
        assert!(Story::new(EpochsAdvance).cluster().record(change(0)).verdict.is_err());
        assert!(Story::new(EpochsAdvance).cluster().record(change(2)).verdict.is_err());
    }
}
