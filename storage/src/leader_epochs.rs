//! Pure. Which leader epoch begins at which offset of a partition's log.
//!
//! The rules are those of Kafka's `LeaderEpochFileCache`: entries rise strictly in both columns. The file is
//! `leader-epoch-checkpoint`: a version, a count, and a line `<epoch> <start offset>` for each entry.

use protocol::ids::{LeaderEpoch, Offset};
use std::fmt::Write;

/// One leader's reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochEntry {
    /// Which epoch.
    pub leader_epoch: LeaderEpoch,
    /// The first offset written in it.
    pub start_offset: Offset,
}

/// Where an epoch ended, as `OffsetsForLeaderEpoch` and diverging fetches tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The asked epoch, or the largest smaller one that is known.
    pub leader_epoch: LeaderEpoch,
    /// One past the last offset written in it.
    pub end_offset: Offset,
}

/// The epochs of one log, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The oldest entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Notes that `leader_epoch` begins at `start_offset`, after removing every entry that the new one contradicts: those
    /// of the same or a later epoch, and those that begin there or later. Nothing happens when the newest entry is of this
    /// epoch and does not begin later (`LeaderEpochFileCache.assign`). Answers whether something changed.
    ///
    /// # Panics
    /// If either is negative.
    pub fn assign(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(leader_epoch.0 >= 0, "leader epoch {leader_epoch} >= 0");
        assert!(start_offset.0 >= 0, "start offset {start_offset} >= 0");
        if self.latest().is_some_and(|last| last.leader_epoch == leader_epoch && last.start_offset <= start_offset) {
            return false;
        }
        let contradicts = |entry: &EpochEntry| entry.leader_epoch >= leader_epoch || entry.start_offset >= start_offset;
        while self.entries.last().is_some_and(contradicts) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { leader_epoch, start_offset });
        true
    }

    /// Where `leader_epoch` ended in a log that ends at `log_end_offset`, or nothing when that cannot be said
    /// (`LeaderEpochFileCache.endOffsetFor`):
    ///
    /// - the newest epoch ends at the log's end;
    /// - a later epoch than any known has no answer, nor has "no epoch";
    /// - an epoch before the first known one ends where that one begins;
    /// - any other: the largest known epoch not above it, which ends where the next one begins.
    pub fn end_offset_for(&self, leader_epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEndOffset> {
        if leader_epoch.0 < 0 {
            return None;
        }
        if self.latest().is_some_and(|last| last.leader_epoch == leader_epoch) {
            return Some(EpochEndOffset { leader_epoch, end_offset: log_end_offset });
        }
        let higher = self.entries.partition_point(|entry| entry.leader_epoch <= leader_epoch);
        let end_offset = self.entries.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).map_or(leader_epoch, |floor| self.entries[floor].leader_epoch);
        Some(EpochEndOffset { leader_epoch: floor, end_offset })
    }

    /// The epoch in which `offset` was written, if an entry begins at or before it.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries[after.checked_sub(1)?].leader_epoch)
    }

    /// Removes the entries that begin at `end_offset` or later. Answers whether there were any.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Removes what lies wholly before `start_offset`: of the entries that begin at or before it only the newest is kept,
    /// and begins there. Answers whether something changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let begun = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(newest) = begun.checked_sub(1) else { return false };
        let changed = newest > 0 || self.entries[newest].start_offset != start_offset;
        self.entries.drain(..newest);
        self.entries[0].start_offset = start_offset;
        changed
    }

    /// Forgets every epoch.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The contents of `leader-epoch-checkpoint`.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for EpochEntry { leader_epoch, start_offset } in &self.entries {
            writeln!(text, "{leader_epoch} {start_offset}").expect("a string takes every line");
        }
        text
    }

    /// Reads the contents of `leader-epoch-checkpoint`; entries that contradict later ones are dropped as
    /// [`Self::assign`] drops them. An empty file holds no entries.
    ///
    /// # Errors
    /// Says what is wrong: another version, a line that is not two numbers, fewer or more lines than announced.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut epochs = Self::default();
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(epochs) };
        if version != "0" {
            return Err(format!("version {version:?} is not 0"));
        }
        let Some(count) = lines.next() else { return Ok(epochs) };
        let count: usize = count.parse().map_err(|_| format!("{count:?} is not a count"))?;
        let mut read = 0;
        for line in lines {
            let numbers =
                line.split_once(' ').and_then(|(epoch, start)| Some((epoch.parse().ok()?, start.parse().ok()?)));
            match numbers {
                Some((epoch @ 0.., start @ 0..)) => epochs.assign(LeaderEpoch(epoch), Offset(start)),
                Some(_) | None => return Err(format!("{line:?} is not an epoch and an offset")),
            };
            read += 1;
        }
        if read == count { Ok(epochs) } else { Err(format!("{read} entries where {count} were announced")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            assert!(epochs.assign(LeaderEpoch(*epoch), Offset(*start)));
        }
        epochs
    }

    fn end_for(entries: &[(i32, i64)], asked: i32) -> Option<(i32, i64)> {
        let found = epochs(entries).end_offset_for(LeaderEpoch(asked), Offset(100));
        found.map(|end| (end.leader_epoch.0, end.end_offset.0))
    }

    fn list(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.leader_epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn the_end_of_an_epoch_follows_kafkas_four_cases() {
        let known = [(2, 10), (4, 20), (7, 50)];
        assert_eq!(end_for(&known, 7), Some((7, 100)), "the newest ends at the log's end");
        assert_eq!(end_for(&known, 8), None, "a later one is not known");
        assert_eq!(end_for(&known, -1), None, "no epoch has no end");
        assert_eq!(end_for(&known, 1), Some((1, 10)), "an older one ends where the first begins");
        assert_eq!(end_for(&known, 2), Some((2, 20)));
        assert_eq!(end_for(&known, 3), Some((2, 20)), "a gap answers with the epoch below");
        assert_eq!(end_for(&known, 6), Some((4, 50)));
        assert_eq!(end_for(&[], 0), None);
    }

    #[test]
    fn a_new_entry_removes_what_it_contradicts() {
        let mut known = epochs(&[(2, 10), (4, 20), (7, 50)]);
        assert!(known.assign(LeaderEpoch(8), Offset(20)));
        assert_eq!(list(&known), [(2, 10), (8, 20)]);
        assert!(known.assign(LeaderEpoch(5), Offset(60)));
        assert_eq!(list(&known), [(2, 10), (5, 60)]);
        assert!(!known.assign(LeaderEpoch(5), Offset(70)), "the same epoch further on is nothing new");
        assert!(known.assign(LeaderEpoch(5), Offset(55)), "the same epoch earlier is");
        assert_eq!(list(&known), [(2, 10), (5, 55)]);
    }

    #[test]
    fn truncation_from_the_end_takes_the_entry_that_begins_there() {
        let mut known = epochs(&[(2, 10), (4, 20), (7, 50)]);
        assert!(!known.truncate_from_end(Offset(51)));
        assert!(known.truncate_from_end(Offset(50)));
        assert_eq!(list(&known), [(2, 10), (4, 20)]);
        assert!(known.truncate_from_end(Offset(0)));
        assert_eq!(list(&known), []);
    }

    #[test]
    fn truncation_from_the_start_rebases_the_first_entry() {
        let mut known = epochs(&[(2, 10), (4, 20), (7, 50)]);
        assert!(!known.truncate_from_start(Offset(5)));
        assert!(known.truncate_from_start(Offset(30)));
        assert_eq!(list(&known), [(4, 30), (7, 50)]);
        assert!(!known.truncate_from_start(Offset(30)));
        assert!(known.truncate_from_start(Offset(80)));
        assert_eq!(list(&known), [(7, 80)]);
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!(epochs(&[(0, 0), (3, 28)]).encode(), "0\n2\n0 0\n3 28\n");
        assert_eq!(LeaderEpochs::parse("0\n1\n0 0\n"), Ok(epochs(&[(0, 0)])));
        assert_eq!(LeaderEpochs::parse(""), Ok(LeaderEpochs::default()));
        assert!(LeaderEpochs::parse("1\n0\n").is_err());
        assert!(LeaderEpochs::parse("0\n2\n0 0\n").is_err());
        assert!(LeaderEpochs::parse("0\n1\n0 zero\n").is_err());
    }

    /// What a log of batches says by itself: epoch for each offset.
    fn model_end(history: &BTreeMap<i64, i32>, asked: i32, end: i64) -> Option<(i32, i64)> {
        let newest = history.values().max()?;
        if asked == *newest {
            return Some((asked, end));
        }
        let next = history.iter().find(|(_, epoch)| **epoch > asked).map(|(offset, _)| *offset)?;
        let floor = history.values().filter(|epoch| **epoch <= asked).max().copied().unwrap_or(asked);
        Some((floor, next))
    }

    proptest! {
        #[test]
        fn entries_are_those_of_the_log(steps in proptest::collection::vec((0..4i32, 1..5i64, 0..8u8), 1..40), asked in 0..60i32) {
            let (mut epochs, mut history, mut epoch, mut end) = (LeaderEpochs::default(), BTreeMap::new(), 0, 0i64);
            for (rise, count, cut) in steps {
                if cut == 0 {
                    end -= end.min(count);
                    history.split_off(&end);
                    epochs.truncate_from_end(Offset(end));
                }
                epoch += rise;
                epochs.assign(LeaderEpoch(epoch), Offset(end));
                history.extend((end..end + count).map(|offset| (offset, epoch)));
                end += count;
            }
            let found = epochs.end_offset_for(LeaderEpoch(asked), Offset(end)).map(|e| (e.leader_epoch.0, e.end_offset.0));
            prop_assert_eq!(found, model_end(&history, asked, end));
            for (offset, epoch) in &history {
                prop_assert_eq!(epochs.epoch_for(Offset(*offset)), Some(LeaderEpoch(*epoch)));
            }
            prop_assert!(epochs.entries().is_sorted_by(|a, b| a.leader_epoch < b.leader_epoch && a.start_offset < b.start_offset));
            prop_assert_eq!(LeaderEpochs::parse(&epochs.encode()), Ok(epochs));
        }
    }
}
