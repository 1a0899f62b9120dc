//! Pure. No. 34: no consumer is given a record at or past what was ever below a leader's high watermark (KIP-392).

use super::Invariant;
use crate::{
    event::ClientEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;

/// See the module.
pub struct ReadsAreCommitted;

impl Invariant for ReadsAreCommitted {
    fn name(&self) -> &'static str {
        "reads_are_committed"
    }

    fn claim(&self) -> &'static str {
        "34: no consumer reads what is not committed"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Client(ClientEvent::Polled { from, offset, tag, .. }) = observed.fact else { return Ok(()) };
        let Some(of) = ledger.named(from) else { return Ok(()) };
        let committed = ledger.committed.get(&of).map_or(Offset::ZERO, |committed| committed.true_high_watermark);
        if *offset < committed {
            return Ok(());
        }
        Err(format!("{from}: record {tag} was read at offset {offset}, and nothing from {committed} on is committed"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use storage::event::Origin;

    #[test]
    fn a_record_past_the_high_watermark_is_found() {
        let story = || {
            let story = Story::new(ReadsAreCommitted).cluster().append(1, 0, 0, 9, Origin::Leader);
            story.append(1, 1, 0, 8, Origin::Leader).high_watermark(1, 0, 1, &[1, 2], &[1, 2])
        };
        assert!(story().polled(1, 0, 0).verdict.is_ok());
        assert!(story().polled(2, 1, 0).verdict.is_err());
    }

    #[test]
    fn a_record_of_a_partition_of_which_nothing_is_committed_is_found() {
        let story = Story::new(ReadsAreCommitted).cluster().append(1, 0, 0, 9, Origin::Leader);
        assert!(story.polled(1, 0, 0).verdict.is_err());
    }
}
