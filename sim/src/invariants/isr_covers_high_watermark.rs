//! Pure. No. 11, leader-candidate completeness: every member of the in-sync or eligible-leader set that the controllers
//! hold, running under the broker epoch that they hold, has everything that was committed (KIP-966; KIP-497, KIP-903).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, TopicPartition};

/// See the module.
pub struct IsrCoversHighWatermark;

impl IsrCoversHighWatermark {
    fn candidates(ledger: &mut Ledger, partition: TopicPartition) -> Result<(), String> {
        let Some(state) = ledger.image.partition(partition) else { return Ok(()) };
        let candidates: Vec<BrokerId> = state.isr.iter().chain(&state.elr).copied().collect();
        let Some(to) = ledger.committed.get(&partition).map(|committed| committed.true_high_watermark) else {
            return Ok(());
        };
        for candidate in candidates.into_iter().filter(|candidate| ledger.is_current(*candidate)).collect::<Vec<_>>() {
            // A replica whose log is not open yet has said nothing that could be judged.
            if ledger.replica(candidate, partition).is_none() {
                continue;
            }
            ledger.agrees(candidate, partition, to).map_err(|difference| {
                format!("{partition}: broker {candidate} may be elected, {to} was committed, and it holds {difference}")
            })?;
        }
        Ok(())
    }
}

impl Invariant for IsrCoversHighWatermark {
    fn name(&self) -> &'static str {
        "isr_covers_high_watermark"
    }

    fn claim(&self) -> &'static str {
        "11: whoever may be elected holds everything that was committed"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if let Fact::Replica(ReplicaEvent::HighWatermark { partition, leading: true, .. }) = observed.fact {
            return Self::candidates(ledger, *partition);
        }
        if let Some((_, Record::PartitionChange { topic_id, partition, .. }, _)) = &ledger.new_record {
            let partition = TopicPartition { topic_id: *topic_id, partition: *partition };
            return Self::candidates(ledger, partition);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    #[test]
    fn an_in_sync_replica_without_a_committed_record_is_found() {
        let story = || {
            Story::new(IsrCoversHighWatermark).cluster().append(1, 0, 0, 9, Origin::Leader).append(
                2,
                0,
                0,
                9,
                Origin::Follower,
            )
        };
        let complete = story().append(3, 0, 0, 9, Origin::Follower).high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]);
        assert!(complete.verdict.is_ok());
        let behind = story().append(3, 0, 0, 9, Origin::Follower).truncate(3, 1, 0);
        assert!(behind.high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]).verdict.is_err());
    }
}
