//! Pure. No. 20, ack truth: when acks=all is answered, the batch is in the answering leader's log, below its high watermark
//! in the epoch in which it was appended, and on at least `min.insync.replicas` replicas (Redpanda #3003).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;

/// See the module.
pub struct AcknowledgedIsReplicated;

impl Invariant for AcknowledgedIsReplicated {
    fn name(&self) -> &'static str {
        "acknowledged_is_replicated"
    }

    fn claim(&self) -> &'static str {
        "20: what acks=all acknowledges is below the high watermark and on enough replicas"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::Acknowledged {
            partition,
            leader_epoch,
            base_offset,
            last_offset,
            acks,
            high_watermark,
            ..
        }) = observed.fact
        else {
            return Ok(());
        };
        let leader = observed.broker;
        let told = |why: String| Err(format!("{partition}: leader {leader} acknowledged offset {base_offset}, {why}"));
        let Some(replica) = ledger.replica(leader, *partition) else { return told("and has no log".into()) };
        // A coordinator waits for its last record, which may be anywhere in a batch.
        let Some(batch) = replica.log.holding(*base_offset) else { return told("which is not in its log".into()) };
        if *acks != -1 {
            return Ok(());
        }
        if high_watermark <= last_offset {
            return told(format!("and its high watermark is {high_watermark}"));
        }
        if replica.leading != Some(*leader_epoch) {
            return told(format!("appended in leader epoch {leader_epoch}, and it leads {:?} now", replica.leading));
        }
        // Whoever has heard that the topic is deleted has no copy any more.
        let was_there = ledger.image.offset().0 > 0;
        if was_there && ledger.image.partition(*partition).is_none() {
            return Ok(());
        }
        // A retry may be answered long after: what was deleted meanwhile, whoever has come since does not have.
        if ledger.deleted.get(partition).is_some_and(|deleted| deleted > last_offset) {
            return Ok(());
        }
        // A replica that lost what it held after the leader had counted it is within the fault budget, and counts.
        let holds = |other: &&crate::ledger::Replica| {
            other.damaged || other.log.holding(*base_offset).is_some_and(|held| held.crc == batch.crc)
        };
        let holders = ledger.nodes.values().filter_map(|node| node.replicas.get(partition)).filter(holds).count();
        let needed = ledger.min_isr.get(partition).copied().unwrap_or(1);
        if holders < needed {
            return told(format!("which is on {holders} replicas of the {needed} that it needs"));
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
    use metadata::record::Record;
    use protocol::ids::{BrokerId, LeaderEpoch, Offset};
    use storage::event::Origin;

    fn acknowledge(leader_epoch: i32, high_watermark: i64) -> ReplicaEvent {
        ReplicaEvent::Acknowledged {
            partition: orders(),
            leader_epoch: LeaderEpoch(leader_epoch),
            base_offset: Offset(0),
            last_offset: Offset(0),
            acks: -1,
            high_watermark: Offset(high_watermark),
            duplicate: false,
        }
    }

    fn story() -> Story<AcknowledgedIsReplicated> {
        let story = Story::new(AcknowledgedIsReplicated).cluster().lead(1, 0, 0).append(1, 0, 0, 9, Origin::Leader);
        story.append(2, 0, 0, 9, Origin::Follower).high_watermark(1, 0, 1, &[1, 2], &[1, 2])
    }

    #[test]
    fn an_early_acknowledgement_is_found() {
        assert!(story().replica(1, acknowledge(0, 1)).verdict.is_ok());
        assert!(story().replica(1, acknowledge(0, 0)).verdict.is_err());
    }

    #[test]
    fn an_acknowledgement_after_stepping_down_is_found() {
        assert!(story().lead(1, 2, 1).replica(1, acknowledge(0, 1)).verdict.is_err());
    }

    #[test]
    fn where_a_move_leaves_fewer_replicas_fewer_copies_will_do() {
        let moved = story().truncate(2, 1, 0).record(Record::PartitionChange {
            topic_id: orders().topic_id,
            partition: orders().partition,
            isr: Some(vec![BrokerId(1)]),
            elr: None,
            last_known_elr: None,
            leader: None,
            leader_recovery_state: None,
            replicas: Some(vec![BrokerId(1)]),
            adding_replicas: None,
            removing_replicas: None,
        });
        assert!(moved.replica(1, acknowledge(0, 1)).verdict.is_ok());
    }

    #[test]
    fn an_acknowledgement_of_too_few_copies_is_found() {
        assert!(story().truncate(2, 1, 0).replica(1, acknowledge(0, 1)).verdict.is_err());
    }
}
