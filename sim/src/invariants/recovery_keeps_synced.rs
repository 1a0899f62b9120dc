//! Pure. No. 66: after a crash a log holds everything that had reached the device, and nothing that was not in it before.

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, Offset};
use std::collections::BTreeMap;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct RecoveryKeepsSynced {
    /// Whether the last crash of a node took its machine, or only the process: then nothing at all may be missing.
    power: BTreeMap<BrokerId, bool>,
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
        let floor = if self.power.get(&broker) == Some(&true) { replica.synced } else { replica.log_end_offset };
        if *log_end_offset < floor {
            return Err(format!("{partition}: broker {broker} had {floor} on its device and recovered {log_end_offset}"));
        }
        // A truncation that was not synced comes undone.
        let before = replica.log_end_offset.max(replica.cut_from.map_or(Offset::ZERO, |(_, from)| from));
        if *log_end_offset > before {
            return Err(format!("{partition}: broker {broker} had written {before} and recovered {log_end_offset}"));
        }
        Ok(())
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if let Fact::World(WorldEvent::Crashed { broker, power }) = observed.fact {
            self.power.insert(BrokerId(*broker), *power);
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

    fn verdict(power: bool, recovered: i64) -> Result<(), String> {
        let story = Story::new(RecoveryKeepsSynced::default()).append(1, 0, 0, 9, Origin::Leader);
        let story = story.log(1, LogEvent::Synced { partition: orders(), up_to: Offset(1) });
        let story = story.append(1, 1, 0, 9, Origin::Leader).world(WorldEvent::Crashed { broker: 1, power });
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
        assert!(verdict(true, 1).is_ok());
        assert!(verdict(true, 0).is_err());
    }

    #[test]
    fn a_killed_process_loses_nothing_and_nothing_appears() {
        assert!(verdict(false, 2).is_ok());
        assert!(verdict(false, 1).is_err());
        assert!(verdict(false, 3).is_err());
    }
}
