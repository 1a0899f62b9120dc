//! Pure. No. 66: after a crash a log holds everything that had reached the device, and nothing that was not in it before.

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::BTreeSet;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct RecoveryKeepsSynced {
    /// The replicas whose machine lost power since they were last opened. Of the others nothing at all may be missing, for
    /// only their process ended. A crash of the process during the recovery does not bring back what the machine lost.
    lost_power: BTreeSet<(BrokerId, TopicPartition)>,
}

impl Invariant for RecoveryKeepsSynced {
    fn name(&self) -> &'static str {
        "recovery_keeps_synced"
    }

    fn claim(&self) -> &'static str {
        "66: recovery keeps everything that was synced, and invents nothing"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Log(LogEvent::Opened { partition, log_end_offset, .. }) = observed.fact else { return Ok(()) };
        let Some(replica) = ledger.replica(observed.broker, *partition) else { return Ok(()) };
        let broker = observed.broker;
        let lost_power = self.lost_power.contains(&(broker, *partition));
        let floor = if lost_power { replica.synced } else { replica.log_end_offset };
        // What rotted where the log was yet to be checked looks like a write that was cut short.
        // What was to begin anew, at its leader's start, may have been emptied when the disk refused the rest.
        let floor = if replica.emptying { Offset::ZERO } else { floor };
        let floor = ledger.rot_at(broker, *partition).map_or(floor, |rot| floor.min(rot));
        // A log that is cut there ends with the last batch that no cleaner took out.
        let floor = ledger.cleaned(*partition).map_or(floor, |of| of.begin_of_gone(floor));
        if *log_end_offset < floor {
            return Err(format!(
                "{partition}: broker {broker} had {floor} on its device and recovered {log_end_offset}"
            ));
        }
        // A truncation that was not synced comes undone, and a write that failed half-way may have left whole batches.
        let uncut = replica.cut_from.map_or(Offset::ZERO, |(_, from)| from);
        let before = replica.log_end_offset.max(uncut).max(replica.writing);
        if *log_end_offset > before {
            return Err(format!("{partition}: broker {broker} had written {before} and recovered {log_end_offset}"));
        }
        Ok(())
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Crashed { broker, power: true }) => {
                let broker = BrokerId(*broker);
                let replicas = ledger.nodes.get(&broker).into_iter().flat_map(|node| node.replicas.keys());
                self.lost_power.extend(replicas.map(|partition| (broker, *partition)));
            }
            Fact::Log(LogEvent::Opened { partition, .. }) => {
                self.lost_power.remove(&(observed.broker, *partition));
            }
            _ => {}
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
    use storage::event::Origin;

    fn verdict(crashes: &[bool], recovered: i64) -> Result<(), String> {
        let story = Story::new(RecoveryKeepsSynced::default()).append(1, 0, 0, 9, Origin::Leader);
        let story = story.log(1, LogEvent::Synced { partition: orders(), up_to: Offset(1) });
        let story = story.append(1, 1, 0, 9, Origin::Leader);
        let crash = |story: Story<_>, power: &bool| story.world(WorldEvent::Crashed { broker: 1, power: *power });
        let story = crashes.iter().fold(story, crash);
        let opened = LogEvent::Opened {
            partition: orders(),
            log_start_offset: Offset(0),
            log_end_offset: Offset(recovered),
            cut_bytes: 0,
        };
        story.log(1, opened).verdict
    }

    #[test]
    fn a_loss_of_synced_records_is_found() {
        assert!(verdict(&[true], 1).is_ok());
        assert!(verdict(&[true], 0).is_err());
    }

    #[test]
    fn a_sync_that_ends_after_the_log_was_deleted_keeps_nothing() {
        let story = Story::new(RecoveryKeepsSynced::default()).append(1, 0, 0, 9, Origin::Leader);
        let story = story.log(1, LogEvent::Deleted { partition: orders() });
        let story = story.log(1, LogEvent::Synced { partition: orders(), up_to: Offset(1) });
        let opened = LogEvent::Opened {
            partition: orders(),
            log_start_offset: Offset(0),
            log_end_offset: Offset(0),
            cut_bytes: 0,
        };
        assert!(story.world(WorldEvent::Crashed { broker: 1, power: true }).log(1, opened).verdict.is_ok());
    }

    #[test]
    fn a_log_that_was_to_begin_anew_may_be_empty_after_it() {
        let story = || Story::new(RecoveryKeepsSynced::default()).append(1, 0, 0, 9, Origin::Leader);
        let opened = || LogEvent::Opened {
            partition: orders(),
            log_start_offset: Offset(0),
            log_end_offset: Offset(0),
            cut_bytes: 0,
        };
        let emptying = LogEvent::Emptying { partition: orders(), at: Offset(7) };
        let emptied = || story().log(1, emptying.clone()).log(1, opened());
        assert!(emptied().verdict.is_ok());
        assert!(story().log(1, opened()).verdict.is_err());
        let again = emptied().append(1, 0, 1, 9, Origin::Follower);
        assert!(again.log(1, opened()).verdict.is_err());
    }

    #[test]
    fn no_more_than_a_failed_write_was_to_write_appears_after_it() {
        let recovered = |end: i64| {
            let story = Story::new(RecoveryKeepsSynced::default()).append(1, 0, 0, 9, Origin::Leader);
            let story = story.log(1, LogEvent::Failed { partition: orders(), writing: Offset(3) });
            let story = story.world(WorldEvent::Crashed { broker: 1, power: false });
            let (start, end) = (Offset(0), Offset(end));
            let opened =
                LogEvent::Opened { partition: orders(), log_start_offset: start, log_end_offset: end, cut_bytes: 0 };
            story.log(1, opened).verdict
        };
        assert!(recovered(3).is_ok());
        assert!(recovered(4).is_err());
    }

    #[test]
    fn a_process_that_ends_during_the_recovery_from_a_power_loss_gives_nothing_back() {
        assert!(verdict(&[true, false], 1).is_ok());
        assert!(verdict(&[true, false], 0).is_err());
    }

    #[test]
    fn a_killed_process_loses_nothing_and_nothing_appears() {
        assert!(verdict(&[false], 2).is_ok());
        assert!(verdict(&[false], 1).is_err());
        assert!(verdict(&[false], 3).is_err());
    }
}
