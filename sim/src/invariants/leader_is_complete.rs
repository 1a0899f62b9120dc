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
        // A broker that stood still may learn late that it was to lead: others have led since, and nobody follows it.
        if ledger.image.partition(*partition).is_some_and(|state| state.leader_epoch > *leader_epoch) {
            return Ok(());
        }
        let Some(committed) = ledger.committed.get(partition) else { return Ok(()) };
        let to = committed.true_high_watermark;
        ledger.agrees(observed.broker, *partition, to).map_err(|difference| {
            let broker = observed.broker;
            format!(
                "{partition}: broker {broker} leads epoch {leader_epoch}, {to} was committed, and it holds {difference}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders, partition_record},
        *,
    };
    use metadata::record::Record;
    use protocol::ids::LeaderEpoch;
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

    #[test]
    fn a_leader_of_an_epoch_that_is_over_is_not_judged() {
        let story = |now: i32| {
            let mut record = partition_record(&[1, 2, 3]);
            let Record::Partition { leader_epoch, .. } = &mut record else { unreachable!("it is one") };
            *leader_epoch = LeaderEpoch(now);
            let story = Story::new(LeaderIsComplete).append(1, 0, 0, 9, Origin::Leader);
            let story = story.high_watermark(1, 0, 1, &[1, 2], &[1, 2]);
            let topic = Record::Topic { name: "orders".into(), topic_id: orders().topic_id };
            story.record(topic).record(record).lead(2, 1, 0)
        };
        assert!(story(1).verdict.is_err());
        assert!(story(2).verdict.is_ok());
    }
}
