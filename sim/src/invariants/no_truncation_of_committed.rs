//! Pure. No. 17: no replica that may be elected cuts its log below what was committed (KIP-101).
//!
//! A replica outside the in-sync and eligible-leader sets may hold a divergent suffix and must cut it, wherever it begins;
//! what it may never cut is a batch that equals the committed one.

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;
use storage::event::LogEvent;

/// See the module.
pub struct NoTruncationOfCommitted;

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
            if kept.is_some_and(|kept| kept.crc == batch.crc && kept.leader_epoch == batch.leader_epoch) {
                return Err(format!(
                    "{partition}: broker {} cuts its log at {to}, and offset {} is committed",
                    observed.broker, batch.base_offset
                ));
            }
        }
        Ok(())
    }

    fn check(&mut self, _ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    #[test]
    fn cutting_a_committed_batch_is_found() {
        let story = |crc| {
            Story::new(NoTruncationOfCommitted)
                .append(1, 0, 0, 9, Origin::Leader)
                .append(2, 0, 0, crc, Origin::Follower)
                .high_watermark(1, 0, 1, &[1, 2], &[1, 2])
                .truncate(2, 1, 0)
        };
        assert!(story(8).verdict.is_ok());
        assert!(story(9).verdict.is_err());
    }
}
