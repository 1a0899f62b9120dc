//! Pure. No. 19: the leader epochs that a log knows are those of its batches, each from the first offset that it has of it; at
//! most one more begins at the log's end, for a leader that has written nothing yet, and none once the log was cut there
//! (`LeaderEpochFileCache`).

use super::Invariant;
use crate::{
    ledger::{Cleaned, Ledger, Replica},
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct EpochsAreTheLogs {
    /// Where a log was cut whose epochs have not been told since.
    cut: BTreeMap<(BrokerId, TopicPartition), Offset>,
}

/// The epochs of a replica's batches from an offset on.
fn recomputed(replica: &Replica, start: Offset) -> Vec<(LeaderEpoch, Offset)> {
    let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
    for batch in replica.log.all().iter().filter(|batch| batch.end() > start) {
        if epochs.last().is_none_or(|(last, _)| *last != batch.leader_epoch) {
            epochs.push((batch.leader_epoch, batch.base_offset.max(start)));
        }
    }
    epochs
}

/// What a log that was copied after a cleaning knows: nothing of epochs of which all batches are gone, and others from the first
/// batch that is not.
fn as_cleaned(
    expected: &mut Vec<(LeaderEpoch, Offset)>,
    known: &[(LeaderEpoch, Offset)],
    replica: &Replica,
    cleaned: &Cleaned,
) {
    let start_of = |epoch| known.iter().find(|(known, _)| *known == epoch).map(|(_, start)| *start);
    let are_gone = |from: Offset, to: Offset, epoch| {
        let mut batches = replica.log.between(from, to).iter().filter(|batch| batch.leader_epoch == epoch);
        batches.all(|batch| cleaned.is_gone(batch.base_offset))
    };
    expected.retain_mut(|(epoch, start)| match start_of(*epoch) {
        Some(later) => {
            if later > *start && are_gone(*start, later, *epoch) {
                *start = later;
            }
            true
        }
        None => !are_gone(*start, replica.log_end_offset, *epoch),
    });
    // What lay between two parts of one epoch is gone.
    expected.dedup_by_key(|(epoch, _)| *epoch);
}

impl Invariant for EpochsAreTheLogs {
    fn name(&self) -> &'static str {
        "epochs_are_the_logs"
    }

    fn claim(&self) -> &'static str {
        "19: the leader epochs that a log knows are those of its batches"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (partition, entries) = match observed.fact {
            Fact::Log(LogEvent::Truncated { partition, to, .. }) => {
                self.cut.insert((observed.broker, *partition), *to);
                return Ok(());
            }
            Fact::Log(LogEvent::Epochs { partition, entries }) => (partition, entries),
            _ => return Ok(()),
        };
        let cut = self.cut.remove(&(observed.broker, *partition));
        let Some(replica) = ledger.replica(observed.broker, *partition) else { return Ok(()) };
        let known: Vec<_> = entries.iter().map(|entry| (entry.leader_epoch, entry.start_offset)).collect();
        // A log that was just opened begins with its first segment, until its log start is read; the epochs know better.
        let deleted = ledger.deleted.get(partition).copied().unwrap_or(Offset::ZERO);
        let begins = known.first().map_or(replica.log_end_offset, |(_, start)| *start);
        let first = Some(begins).filter(|start| *start <= deleted);
        let start = replica.log_start_offset.max(first.unwrap_or(Offset::ZERO));
        let (mut expected, end) = (recomputed(replica, start), replica.log_end_offset);
        if let Some(cleaned) = ledger.cleaned(*partition) {
            as_cleaned(&mut expected, &known, replica, cleaned);
        }
        let rising = known.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let same = known.strip_prefix(&*expected).is_some_and(|more| match more {
            [] => true,
            [(_, start)] => *start == end && cut.is_none_or(|cut| *start < cut),
            _ => false,
        });
        if rising && same {
            return Ok(());
        }
        Err(format!(
            "{partition}: broker {} knows epochs {known:?} of a log that has {expected:?} and ends at {end}",
            observed.broker
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use storage::{EpochEntry, event::Origin};

    fn verdict(known: &[(i32, i64)]) -> Result<(), String> {
        let story = Story::new(EpochsAreTheLogs::default()).append(1, 0, 2, 9, Origin::Leader).append(
            1,
            1,
            2,
            9,
            Origin::Leader,
        );
        let story = story.append(1, 2, 5, 9, Origin::Leader);
        tell(story, known)
    }

    fn tell(story: Story<EpochsAreTheLogs>, known: &[(i32, i64)]) -> Result<(), String> {
        told(story, known).verdict
    }

    fn told(story: Story<EpochsAreTheLogs>, known: &[(i32, i64)]) -> Story<EpochsAreTheLogs> {
        let entry = |(epoch, start): &(i32, i64)| EpochEntry {
            leader_epoch: LeaderEpoch(*epoch),
            start_offset: Offset(*start),
        };
        let entries = known.iter().map(entry).collect();
        story.log(1, LogEvent::Epochs { partition: orders(), entries })
    }

    #[test]
    fn of_an_epoch_whose_first_batches_are_gone_less_is_known_and_of_no_other() {
        let cleaned = |gone: &[i64]| {
            let story = Story::new(EpochsAreTheLogs::default()).append(1, 0, 2, 9, Origin::Leader);
            let story = story.append(1, 1, 2, 9, Origin::Leader).append(1, 2, 5, 9, Origin::Leader);
            let batch = |at: &i64| storage::event::CleanedBatch {
                base_offset: Offset(*at),
                last_offset: Offset(*at),
                crc: None,
                removed: vec![],
            };
            let batches = gone.iter().map(batch).collect();
            story.log(1, LogEvent::Cleaned { partition: orders(), from: Offset(0), to: Offset(2), batches })
        };
        assert!(tell(cleaned(&[0]), &[(2, 0), (5, 2)]).is_ok());
        assert!(tell(cleaned(&[0]), &[(2, 1), (5, 2)]).is_ok());
        assert!(tell(cleaned(&[0]), &[(5, 2)]).is_err());
        assert!(tell(cleaned(&[0, 1]), &[(5, 2)]).is_ok());
        assert!(tell(cleaned(&[1]), &[(2, 1), (5, 2)]).is_err());
    }

    #[test]
    fn an_epoch_of_what_was_cut_off_is_found() {
        let cut = || {
            let story = Story::new(EpochsAreTheLogs::default()).append(1, 0, 2, 9, Origin::Leader);
            let story = story.append(1, 1, 5, 9, Origin::Leader);
            story.log(1, LogEvent::Truncated { partition: orders(), to: Offset(1), from: Offset(2) })
        };
        assert!(tell(cut(), &[(2, 0)]).is_ok());
        assert!(tell(cut(), &[(2, 0), (5, 1)]).is_err());
    }

    #[test]
    fn a_log_that_is_opened_after_all_of_it_was_deleted_knows_no_epoch() {
        let opened = LogEvent::Opened {
            partition: orders(),
            log_start_offset: Offset(0),
            log_end_offset: Offset(1),
            cut_bytes: 0,
        };
        let story = |to| {
            let story = Story::new(EpochsAreTheLogs::default()).append(1, 0, 2, 9, Origin::Leader);
            let story = story.log(1, LogEvent::StartAdvanced { partition: orders(), to: Offset(to) });
            tell(story.log(1, opened.clone()), &[])
        };
        assert!(story(1).is_ok());
        assert!(story(0).is_err());
    }

    #[test]
    fn a_log_that_is_cut_before_its_start_begins_where_it_was_cut() {
        let cut = || {
            let story = Story::new(EpochsAreTheLogs::default()).append(1, 0, 2, 9, Origin::Leader);
            let story = story.append(1, 1, 2, 9, Origin::Leader);
            let story = story.log(1, LogEvent::StartAdvanced { partition: orders(), to: Offset(1) });
            let story = story.log(1, LogEvent::Truncated { partition: orders(), to: Offset(0), from: Offset(2) });
            told(story, &[]).append(1, 0, 6, 9, Origin::Follower)
        };
        assert!(tell(cut(), &[(6, 0)]).is_ok());
        assert!(tell(cut(), &[(5, 0)]).is_err());
    }

    #[test]
    fn an_epoch_that_the_log_does_not_have_is_found() {
        assert!(verdict(&[(2, 0), (5, 2)]).is_ok());
        assert!(verdict(&[(2, 0), (5, 2), (7, 3)]).is_ok(), "a leader that has written nothing yet");
        assert!(verdict(&[(2, 0), (5, 2), (7, 4)]).is_err());
        assert!(verdict(&[(2, 0), (5, 2), (7, 3), (8, 3)]).is_err());
        assert!(verdict(&[(2, 0), (5, 1)]).is_err());
        assert!(verdict(&[(2, 0)]).is_err());
    }
}
