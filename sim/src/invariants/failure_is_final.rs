//! Pure. No. 69: once a write or a sync of a log has failed, nothing is appended to it and nothing of it is called durable
//! before it is opened again. What the device holds is not known any more, and a later success says nothing of it
//! (KIP-112; Rebello and others, 2020: "Can applications recover from fsync failures?").

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, TopicPartition};
use runtime::observe::Event;
use std::collections::BTreeSet;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct FailureIsFinal {
    failed: BTreeSet<(BrokerId, TopicPartition)>,
}

impl Invariant for FailureIsFinal {
    fn name(&self) -> &'static str {
        "failure_is_final"
    }

    fn claim(&self) -> &'static str {
        "69: after a failed write or sync a log takes nothing more before it is opened again"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Log(event) = observed.fact else { return Ok(()) };
        let broker = observed.broker;
        match event {
            LogEvent::Failed { partition, .. } => {
                self.failed.insert((broker, *partition));
            }
            LogEvent::Opened { partition, .. } => {
                self.failed.remove(&(broker, *partition));
            }
            LogEvent::Appended { partition, base_offset: offset, .. }
            | LogEvent::Synced { partition, up_to: offset }
                if self.failed.contains(&(broker, *partition)) =>
            {
                let what = event.kind();
                return Err(format!("{partition}: {what} at {offset} on broker {broker} after a failure"));
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
    use protocol::ids::Offset;
    use storage::event::Origin;

    fn failed() -> Story<FailureIsFinal> {
        let story = Story::new(FailureIsFinal::default()).append(1, 0, 0, 9, Origin::Leader);
        story.log(1, LogEvent::Failed { partition: orders(), writing: Offset(1) })
    }

    #[test]
    fn an_append_after_a_failure_is_found() {
        assert!(failed().verdict.is_ok());
        assert!(failed().append(1, 1, 0, 9, Origin::Leader).verdict.is_err());
        assert!(failed().append(2, 0, 0, 9, Origin::Follower).verdict.is_ok(), "another broker's log is another");
    }

    #[test]
    fn a_sync_that_succeeds_after_one_that_failed_is_found() {
        let synced = LogEvent::Synced { partition: orders(), up_to: Offset(1) };
        assert!(failed().log(1, synced).verdict.is_err());
    }

    #[test]
    fn a_log_that_was_opened_again_goes_on() {
        let (start, end) = (Offset(0), Offset(1));
        let opened =
            LogEvent::Opened { partition: orders(), log_start_offset: start, log_end_offset: end, cut_bytes: 0 };
        assert!(failed().log(1, opened).append(1, 1, 0, 9, Origin::Leader).verdict.is_ok());
    }
}
