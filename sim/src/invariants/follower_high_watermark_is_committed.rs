//! Pure. No. 23: a follower's high watermark is within what some leader committed, and within what the follower shares with
//! it: it learns of commitment, and never decides it.

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::Offset;

/// See the module.
pub struct FollowerHighWatermarkIsCommitted;

impl Invariant for FollowerHighWatermarkIsCommitted {
    fn name(&self) -> &'static str {
        "follower_high_watermark_is_committed"
    }

    fn claim(&self) -> &'static str {
        "23: a follower's high watermark is within what was committed and what it shares with it"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (Fact::Replica(ReplicaEvent::HighWatermark { partition, high_watermark, leading: false, .. })
        | Fact::Replica(ReplicaEvent::BecameFollower { partition, high_watermark, .. })) = observed.fact
        else {
            return Ok(());
        };
        let broker = observed.broker;
        let committed = ledger.committed.get(partition).map_or(Offset::ZERO, |committed| committed.true_high_watermark);
        // A log that begins anew begins at its leader's start, which is committed without a high watermark to say so.
        let start = ledger.replica(broker, *partition).map_or(Offset::ZERO, |replica| replica.log_start_offset);
        if *high_watermark > committed.max(start) {
            return Err(format!(
                "{partition}: follower {broker} has high watermark {high_watermark}, and {committed} was ever committed"
            ));
        }
        ledger.agrees(broker, *partition, *high_watermark).map_err(|difference| {
            format!("{partition}: follower {broker} with high watermark {high_watermark} holds {difference}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    fn story(crc: u32) -> Story<FollowerHighWatermarkIsCommitted> {
        Story::new(FollowerHighWatermarkIsCommitted)
            .append(1, 0, 0, 9, Origin::Leader)
            .append(2, 0, 0, crc, Origin::Follower)
            .high_watermark(1, 0, 1, &[1, 2], &[1, 2])
    }

    #[test]
    fn a_follower_ahead_of_what_was_committed_is_found() {
        assert!(story(9).follower_high_watermark(2, 0, 1).verdict.is_ok());
        assert!(story(9).append(2, 1, 0, 9, Origin::Follower).follower_high_watermark(2, 0, 2).verdict.is_err());
    }

    #[test]
    fn a_follower_with_other_records_than_were_committed_is_found() {
        assert!(story(8).follower_high_watermark(2, 0, 1).verdict.is_err());
    }
}
