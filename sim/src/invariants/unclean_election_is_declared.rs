//! Pure. No. 10: who is elected is active, and comes from the in-sync or the eligible set, unless the same record declares
//! an unclean election by marking the partition as recovering (KIP-966).

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use metadata::record::{LeaderRecoveryState, Record};
use protocol::ids::TopicPartition;

/// See the module.
pub struct UncleanElectionIsDeclared;

impl Invariant for UncleanElectionIsDeclared {
    fn name(&self) -> &'static str {
        "unclean_election_is_declared"
    }

    fn claim(&self) -> &'static str {
        "10: an active broker is elected, and one that may lack records only where that is declared"
    }

    fn check(&mut self, ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        let Some((_, record, before)) = &ledger.new_record else { return Ok(()) };
        let Record::PartitionChange { topic_id, partition, leader: Some(Some(leader)), .. } = record else {
            return Ok(());
        };
        let of = TopicPartition { topic_id: *topic_id, partition: *partition };
        let (Some(old), Some(new)) = (before.partition(of), ledger.image.partition(of)) else { return Ok(()) };
        if !ledger.image.is_active(*leader) {
            return Err(format!("{of}: broker {leader} was elected, which is fenced, shutting down or unknown"));
        }
        // Who comes to be in sync by the record that ends a move may lead by it: it was in its leader's maximal ISR.
        let moved = old.is_reassigning() && !new.is_reassigning() && new.isr.contains(leader);
        let complete = old.isr.contains(leader) || old.elr.contains(leader) || moved;
        if !complete && new.leader_recovery_state != LeaderRecoveryState::Recovering {
            return Err(format!(
                "{of}: broker {leader} was elected without a declaration, from outside {:?} in sync and {:?} eligible",
                old.isr, old.elr
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
    use protocol::ids::{BrokerEpoch, BrokerId};

    fn change(leader: Option<i32>, isr: &[i32], recovering: bool) -> Record {
        Record::PartitionChange {
            topic_id: orders().topic_id,
            partition: orders().partition,
            isr: Some(isr.iter().copied().map(BrokerId).collect()),
            elr: None,
            last_known_elr: None,
            leader: Some(leader.map(BrokerId)),
            leader_recovery_state: recovering.then_some(LeaderRecoveryState::Recovering),
            replicas: None,
            adding_replicas: None,
            removing_replicas: None,
        }
    }

    #[test]
    fn an_election_from_outside_that_is_not_declared_is_found() {
        let story = || Story::new(UncleanElectionIsDeclared).cluster().record(change(Some(2), &[2], false));
        assert!(story().verdict.is_ok());
        assert!(story().record(change(Some(3), &[3], true)).verdict.is_ok());
        assert!(story().record(change(Some(3), &[3], false)).verdict.is_err());
    }

    #[test]
    fn the_election_of_a_fenced_broker_is_found() {
        let fence = Record::FenceBroker { broker_id: BrokerId(2), broker_epoch: BrokerEpoch(1) };
        let story = Story::new(UncleanElectionIsDeclared).cluster().record(fence);
        assert!(story.record(change(Some(2), &[2], false)).verdict.is_err());
    }
}
