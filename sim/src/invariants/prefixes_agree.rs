//! Pure. No. 13, log matching: below its high watermark a replica holds what was committed, byte for byte (KIP-101, KIP-279).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;

/// See the module.
pub struct PrefixesAgree;

impl Invariant for PrefixesAgree {
    fn name(&self) -> &'static str {
        "prefixes_agree"
    }

    fn claim(&self) -> &'static str {
        "13: below the high watermark all replicas hold the same batches"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::HighWatermark { partition, high_watermark, .. }) = observed.fact else {
            return Ok(());
        };
        ledger.agrees(observed.broker, *partition, *high_watermark).map_err(|difference| {
            format!("{partition}: broker {} with high watermark {high_watermark} holds {difference}", observed.broker)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    #[test]
    fn a_follower_with_other_bytes_below_its_high_watermark_is_found() {
        let story = |crc| {
            Story::new(PrefixesAgree)
                .append(1, 0, 0, 9, Origin::Leader)
                .append(2, 0, 0, crc, Origin::Follower)
                .high_watermark(1, 0, 1, &[1, 2], &[1, 2])
                .follower_high_watermark(2, 0, 1)
        };
        assert!(story(9).verdict.is_ok());
        assert!(story(8).verdict.is_err());
    }
}
