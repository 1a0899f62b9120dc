//! Pure. No. 17: no replica that may be elected cuts its log below what was committed (KIP-101).
//!
//! A replica outside the in-sync and eligible-leader sets may hold a divergent suffix and must cut it, wherever it begins;
//! what it may never cut is a batch that equals the committed one. But for one case: what nobody had committed when a leader
//! without it was elected, and what the next leader has after all and commits. Whoever is not in sync and still follows the one
//! in between cuts it, and copies it again.

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct NoTruncationOfCommitted {
    /// From which offset on a leader epoch has committed what is committed.
    committed_in: BTreeMap<TopicPartition, BTreeMap<Offset, LeaderEpoch>>,
    /// In which leader epoch a replica follows.
    follows_in: BTreeMap<(BrokerId, TopicPartition), LeaderEpoch>,
}

impl NoTruncationOfCommitted {
    /// Whether a replica has not heard yet of the leader epoch in which an offset was committed, and is not counted on in it.
    fn is_late(&self, ledger: &Ledger, broker: BrokerId, partition: TopicPartition, offset: Offset) -> bool {
        let begun = self.committed_in.get(&partition).and_then(|begun| begun.range(..=offset).next_back());
        let follows_in = self.follows_in.get(&(broker, partition));
        let has_not_heard =
            begun.zip(follows_in).is_some_and(|((_, committed_in), follows_in)| follows_in < committed_in);
        let is_elsewhere = |state: &metadata::image::PartitionImage| {
            !state.isr.contains(&broker) && !state.elr.contains(&broker) && !state.last_known_elr.contains(&broker)
        };
        has_not_heard && ledger.image.partition(partition).is_some_and(is_elsewhere)
    }
}

impl Invariant for NoTruncationOfCommitted {
    fn name(&self) -> &'static str {
        "no_truncation_of_committed"
    }

    fn claim(&self) -> &'static str {
        "17: no replica cuts a committed batch from its log"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Log(LogEvent::Truncated { partition, to, .. }) = observed.fact else { return Ok(()) };
        let (Some(committed), Some(replica)) =
            (ledger.committed.get(partition), ledger.replica(observed.broker, *partition))
        else {
            return Ok(());
        };
        for batch in replica.log.between(*to, Offset(i64::MAX)) {
            let kept = committed.log.at(batch.base_offset);
            if kept.is_some_and(|kept| kept.crc == batch.crc && kept.leader_epoch == batch.leader_epoch)
                && !self.is_late(ledger, observed.broker, *partition, batch.base_offset)
            {
                return Err(format!(
                    "{partition}: broker {} cuts its log at {to}, and offset {} is committed",
                    observed.broker, batch.base_offset
                ));
            }
        }
        Ok(())
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Replica(ReplicaEvent::HighWatermark { partition, leader_epoch, leading: true, .. }) => {
                if let Some((_, first)) = ledger.newly_committed.first() {
                    let begun = self.committed_in.entry(*partition).or_default();
                    if begun.last_key_value().is_none_or(|(_, last)| last < leader_epoch) {
                        begun.insert(first.base_offset, *leader_epoch);
                    }
                }
            }
            Fact::Replica(ReplicaEvent::BecameFollower { partition, leader_epoch, .. }) => {
                self.follows_in.insert((observed.broker, *partition), *leader_epoch);
            }
            Fact::Replica(ReplicaEvent::BecameLeader { partition, .. }) => {
                self.follows_in.remove(&(observed.broker, *partition));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, in_sync, orders},
        *,
    };
    use storage::event::Origin;

    #[test]
    fn cutting_a_committed_batch_is_found() {
        let story = |crc| {
            Story::new(NoTruncationOfCommitted::default())
                .append(1, 0, 0, 9, Origin::Leader)
                .append(2, 0, 0, crc, Origin::Follower)
                .high_watermark(1, 0, 1, &[1, 2], &[1, 2])
                .truncate(2, 1, 0)
        };
        assert!(story(8).verdict.is_ok());
        assert!(story(9).verdict.is_err());
    }

    /// 1 had led in epoch 1 and given 2 a record that was not committed; 3, who led in epoch 2, did not have it; 2 leads in
    /// epoch 3 and commits it. 1 still follows 3.
    fn late(isr: &[i32], follows_in: i32, committed_in: i32) -> Result<(), String> {
        let story = Story::new(NoTruncationOfCommitted::default()).cluster();
        let story = story.append(1, 0, 1, 9, Origin::Leader).append(2, 0, 1, 9, Origin::Follower);
        let follows = ReplicaEvent::BecameFollower {
            partition: orders(),
            leader_epoch: LeaderEpoch(follows_in),
            leader: Some(BrokerId(3)),
            log_end_offset: Offset(1),
            high_watermark: Offset(0),
        };
        let story = story.replica(1, follows).record(in_sync(isr));
        story.high_watermark(2, committed_in, 1, &[2], &[2]).truncate(1, 1, 0).verdict
    }

    #[test]
    fn who_has_not_heard_of_the_epoch_that_committed_it_may_cut_it_unless_it_is_counted_on() {
        assert!(late(&[2], 2, 3).is_ok());
        assert!(late(&[1, 2], 2, 3).is_err());
        assert!(late(&[2], 3, 3).is_err());
        assert!(late(&[2], 3, 2).is_err());
    }
}
