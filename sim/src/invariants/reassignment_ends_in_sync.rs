//! Pure. No. 22: a move of replicas is over only when every replica that is to stay is in sync, and it leaves no fewer in sync
//! than `min.insync.replicas` (KAFKA-15665). One that is taken back brings nobody.

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use metadata::{image::PartitionImage, record::Record};
use protocol::ids::{BrokerId, TopicPartition};
use std::collections::BTreeSet;

/// See the module.
pub struct ReassignmentEndsInSync;

impl ReassignmentEndsInSync {
    fn judge(of: TopicPartition, before: &PartitionImage, after: &PartitionImage) -> Result<(), String> {
        let set = |brokers: &[BrokerId]| -> BTreeSet<BrokerId> { brokers.iter().copied().collect() };
        let (replicas, isr) = (set(&after.replicas), set(&after.isr));
        let moved: BTreeSet<BrokerId> =
            set(&before.replicas).difference(&set(&before.removing_replicas)).copied().collect();
        let kept: BTreeSet<BrokerId> =
            set(&before.replicas).difference(&set(&before.adding_replicas)).copied().collect();
        // One that is taken back ends where it began; a new one that is over at once takes the place of this one.
        if replicas == kept || isr == replicas {
            return Ok(());
        }
        Err(format!("{of}: a move to {moved:?} from {kept:?} ended with replicas {replicas:?} and {isr:?} in sync"))
    }
}

impl Invariant for ReassignmentEndsInSync {
    fn name(&self) -> &'static str {
        "reassignment_ends_in_sync"
    }

    fn claim(&self) -> &'static str {
        "22: a move of replicas is over only when all that stay are in sync"
    }

    fn check(&mut self, ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        let Some((_, Record::PartitionChange { topic_id, partition, .. }, before)) = &ledger.new_record else {
            return Ok(());
        };
        let of = TopicPartition { topic_id: *topic_id, partition: *partition };
        match (before.partition(of), ledger.image.partition(of)) {
            (Some(before), Some(after)) if before.is_reassigning() && !after.is_reassigning() => {
                Self::judge(of, before, after)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };

    fn change(replicas: &[i32], adding: &[i32], removing: &[i32], isr: &[i32]) -> Record {
        let ids = |ids: &[i32]| Some(ids.iter().copied().map(BrokerId).collect::<Vec<_>>());
        Record::PartitionChange {
            topic_id: orders().topic_id,
            partition: orders().partition,
            isr: ids(isr),
            elr: None,
            last_known_elr: None,
            leader: None,
            leader_recovery_state: None,
            replicas: ids(replicas),
            adding_replicas: ids(adding),
            removing_replicas: ids(removing),
        }
    }

    fn story(end: Record) -> Result<(), String> {
        let story = Story::new(ReassignmentEndsInSync).cluster();
        story.record(change(&[4, 2, 1, 3], &[4], &[1, 3], &[1, 2, 3])).record(end).verdict
    }

    #[test]
    fn a_move_that_ends_before_all_are_in_sync_is_found() {
        assert!(story(change(&[4, 2], &[], &[], &[4, 2])).is_ok());
        assert!(story(change(&[4, 2], &[], &[], &[4])).is_err());
    }

    #[test]
    fn a_move_that_ends_elsewhere_than_where_it_went_or_came_from_is_found() {
        assert!(story(change(&[2, 1, 3], &[], &[], &[1, 2, 3])).is_ok());
        assert!(story(change(&[4, 1], &[], &[], &[1])).is_err());
    }
}
