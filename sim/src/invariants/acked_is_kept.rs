//! Pure. No. 25, lost write: a record that was acknowledged with acks=all is read by the final drain, where it was said to
//! be, within the fault budget (Jepsen, `kafka.clj`; KIP-966 for the budget). No. 35, unseen, falls out of the same reading.

use super::{End, Invariant};
use crate::{
    event::{ClientEvent, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct AckedIsKept {
    acknowledged: BTreeMap<Tag, (NamedPartition, Offset)>,
}

impl Invariant for AckedIsKept {
    fn name(&self) -> &'static str {
        "acked_is_kept"
    }

    fn claim(&self) -> &'static str {
        "25: a record that was acknowledged by all in-sync replicas is never lost"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Client(ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), safe: true }) => {
                self.acknowledged.insert(*tag, (to.clone(), *offset));
            }
            Fact::Client(ClientEvent::Polled { tag, reader: ClientEvent::DRAIN, .. }) => {
                self.acknowledged.remove(tag);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, ledger: &mut Ledger, end: &End) -> Result<(), String> {
        // What was deleted, which No. 62 judges, is not lost, nor what a cleaner took out, which No. 63 does.
        self.acknowledged.retain(|_, (partition, offset)| {
            *offset >= ledger.deleted_by_name(partition) && !ledger.is_removed(partition, *offset)
        });
        let lost = self.acknowledged.len();
        match self.acknowledged.first_key_value() {
            Some((tag, (partition, offset))) if end.drained => {
                Err(format!("record {tag} was acknowledged at {partition} offset {offset} and is gone ({lost} in all)"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn an_acknowledged_record_that_the_drain_does_not_read_is_found() {
        let end = End { drained: true, ..End::default() };
        let story = || Story::new(AckedIsKept::default()).acknowledged(1, 5).acknowledged(2, 6);
        assert!(story().polled(1, 5, ClientEvent::DRAIN).polled(2, 6, ClientEvent::DRAIN).end(&end).is_ok());
        assert!(story().polled(1, 5, ClientEvent::DRAIN).polled(2, 6, 0).end(&end).is_err());
    }
}
