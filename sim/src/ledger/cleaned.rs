//! Pure. What cleaners took out of logs. The ledger keeps every log as it was written: what a cleaner took out was there, and is
//! put back wherever a log is told of without it. Whether it might be taken out is for claims 63 and 65 to judge.

use super::{Batch, Batches, Ledger};
use crate::event::NamedPartition;
use protocol::ids::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::CleanedBatch;

/// What was taken out of the replicas of one partition.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// The batches that are gone somewhere, as they were written.
    gone: BTreeMap<Offset, Batch>,
    /// The CRC with which a batch was written, by its first offset and the CRC that it has got.
    written: BTreeMap<(Offset, u32), u32>,
    /// The records that are gone somewhere.
    removed: BTreeSet<Offset>,
}

impl Cleaned {
    /// A replica was cleaned from one offset to another. What was gone there of an older log, which an unclean election has ended,
    /// was never in this one.
    pub(super) fn observe(&mut self, log: &Batches, (from, to): (Offset, Offset), batches: &[CleanedBatch]) {
        let is_older = |batch: &Batch| log.at(batch.base_offset) != Some(batch);
        let older: Vec<Offset> = self.gone_between(from, to).filter(is_older).map(|batch| batch.base_offset).collect();
        for base_offset in older {
            self.gone.remove(&base_offset);
        }
        for cleaned in batches {
            self.removed.extend(&cleaned.removed);
            let Some(batch) = log.at(cleaned.base_offset) else { continue };
            match cleaned.crc {
                Some(crc) => drop(self.written.insert((batch.base_offset, crc), batch.crc)),
                None => drop(self.gone.insert(batch.base_offset, *batch)),
            }
        }
    }

    /// A batch as it was written.
    pub(super) fn as_written(&self, batch: Batch) -> Batch {
        let crc = self.written.get(&(batch.base_offset, batch.crc)).copied();
        Batch { crc: crc.unwrap_or(batch.crc), ..batch }
    }

    /// The batches that are gone somewhere, of those that begin in `[from, to)`.
    pub(super) fn gone_between(&self, from: Offset, to: Offset) -> impl Iterator<Item = Batch> {
        let range = if from < to { from..to } else { from..from };
        self.gone.range(range).map(|(_, batch)| *batch)
    }

    /// Where the batches begin that are gone somewhere and lie right before an offset; the offset itself where none does.
    pub fn begin_of_gone(&self, before: Offset) -> Offset {
        let mut begin = before;
        for (base_offset, batch) in self.gone.range(..before).rev() {
            if batch.end() != begin {
                break;
            }
            begin = *base_offset;
        }
        begin
    }

    /// Whether the batch that begins here is gone somewhere.
    pub fn is_gone(&self, base_offset: Offset) -> bool {
        self.gone.contains_key(&base_offset)
    }
}

impl Ledger {
    /// What cleaners took out of a partition.
    pub fn cleaned(&self, partition: TopicPartition) -> Option<&Cleaned> {
        self.cleaned.get(&partition)
    }

    /// The CRC with which the batch at this offset was written that has this one now.
    pub fn written_crc(&self, partition: TopicPartition, base_offset: Offset, crc: u32) -> u32 {
        let cleaned = self.cleaned.get(&partition);
        cleaned.and_then(|cleaned| cleaned.written.get(&(base_offset, crc)).copied()).unwrap_or(crc)
    }

    /// Whether a cleaner took this record out of any replica, by the names that clients know.
    pub fn is_removed(&self, from: &NamedPartition, offset: Offset) -> bool {
        let cleaned = self.named(from).and_then(|of| self.cleaned.get(&of));
        cleaned.is_some_and(|cleaned| cleaned.removed.contains(&offset))
    }
}

#[cfg(test)]
mod tests {
    use crate::invariants::stories::{Nothing, Story, orders};
    use protocol::ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
    use storage::event::{CleanedBatch, LogEvent, Origin};

    /// A leader with four batches, of which a cleaner took out the second and changed the third.
    fn story() -> Story<Nothing> {
        let story = Story::new(Nothing).cluster().lead(1, 1, 0);
        let story = (0..4).fold(story, |story, at| story.append(1, at, 1, at as u32, Origin::Leader));
        let story = story.high_watermark(1, 1, 4, &[1, 2, 3], &[1, 2, 3]);
        let batch = |at, crc| CleanedBatch { base_offset: Offset(at), last_offset: Offset(at), crc, removed: vec![] };
        let batches = vec![batch(1, None), batch(2, Some(77))];
        story.log(1, LogEvent::Cleaned { partition: orders(), from: Offset(0), to: Offset(3), batches })
    }

    fn agrees(mut story: Story<Nothing>, broker: i32) -> bool {
        story.ledger.agrees(BrokerId(broker), orders(), Offset(4)).is_ok()
    }

    #[test]
    fn a_copy_of_a_cleaned_log_is_what_was_written() {
        let copy = |batches: &[(i64, u32)]| {
            let append = |story: Story<_>, (at, crc): &(i64, u32)| story.append(2, *at, 1, *crc, Origin::Follower);
            agrees(batches.iter().fold(story(), append), 2)
        };
        assert!(agrees(story(), 1));
        assert!(copy(&[(0, 0), (1, 1), (2, 2), (3, 3)]));
        assert!(copy(&[(0, 0), (2, 77), (3, 3)]));
        assert!(!copy(&[(0, 0), (2, 78), (3, 3)]));
        assert!(!copy(&[(0, 0), (3, 3)]));
    }

    #[test]
    fn what_is_gone_of_a_log_that_ended_is_not_put_back_into_the_next() {
        let two_records = LogEvent::Appended {
            partition: orders(),
            base_offset: Offset(1),
            last_offset: Offset(2),
            leader_epoch: LeaderEpoch(2),
            crc: 8,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            origin: Origin::Leader,
        };
        let is_gone = |at, last| {
            let (base_offset, last_offset) = (Offset(at), Offset(last));
            let batches = vec![CleanedBatch { base_offset, last_offset, crc: None, removed: vec![] }];
            LogEvent::Cleaned { partition: orders(), from: Offset(0), to: Offset(3), batches }
        };
        let story = (0..4).fold(Story::new(Nothing).cluster(), |story, at| story.append(1, at, 1, 0, Origin::Leader));
        let story =
            story.log(1, is_gone(2, 2)).truncate(1, 4, 1).log(1, two_records).append(1, 3, 2, 9, Origin::Leader);
        let story = story.log(1, is_gone(1, 2));
        let gone = story.ledger.cleaned(orders()).map(|cleaned| cleaned.gone_between(Offset(0), Offset(3)).collect());
        let gone: Vec<_> = gone.expect("something was cleaned");
        assert_eq!(
            gone.iter().map(|batch| (batch.base_offset, batch.leader_epoch.0)).collect::<Vec<_>>(),
            [(Offset(1), 2)]
        );
    }
}
