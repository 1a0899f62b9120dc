//! Pure. No. 12, leader completeness: a new leader holds everything that was ever committed, except after a declared
//! unclean election beyond the fault budget (KIP-101, KIP-966).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;

/// See the module.
pub struct LeaderIsComplete;

impl Invariant for LeaderIsComplete {
    fn name(&self) -> &'static str {
        "leader_is_complete"
    }

    fn claim(&self) -> &'static str {
        "12: a new leader holds everything that was committed"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::BecameLeader { partition, leader_epoch, .. }) = observed.fact else {
            return Ok(());
        };
        let Some(committed) = ledger.committed.get(partition) else { return Ok(()) };
        let to = committed.true_high_watermark;
        ledger.agrees(observed.broker, *partition, to).map_err(|difference| {
            let broker = observed.broker;
            format!("{partition}: broker {broker} leads epoch {leader_epoch}, {to} was committed, and it holds {difference}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    #[test]
    fn a_leader_without_a_committed_record_is_found() {
        let story = || {
            Story::new(LeaderIsComplete)
                .append(1, 0, 0, 9, Origin::Leader)
                .append(2, 0, 0, 9, Origin::Follower)
                .high_watermark(1, 0, 1, &[1, 2], &[1, 2])
        };
        assert!(story().lead(2, 1, 1).verdict.is_ok());
        assert!(story().truncate(2, 1, 0).lead(2, 1, 0).verdict.is_err());
    }
}
