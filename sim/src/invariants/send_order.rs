//! Pure. No. 31, nonmonotonic send: the records of one idempotent producer to one partition stand in the order in which
//! they were sent, when everything is read at the end (KIP-98; Jepsen, `kafka.clj`).

use super::Invariant;
use crate::{
    event::{ClientEvent, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub struct SendOrder {
    idempotent: BTreeSet<Tag>,
    last: BTreeMap<(NamedPartition, u32), (Tag, Offset)>,
}

impl Invariant for SendOrder {
    fn name(&self) -> &'static str {
        "send_order"
    }

    fn claim(&self) -> &'static str {
        "31: one producer's records stand in the order in which it sent them"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Client(ClientEvent::SendInvoked { tag, safe: true, .. }) => {
                self.idempotent.insert(*tag);
                Ok(())
            }
            Fact::Client(ClientEvent::Polled { from, offset, tag, reader: ClientEvent::DRAIN })
                if self.idempotent.contains(tag) =>
            {
                match self.last.insert((from.clone(), tag.writer), (*tag, *offset)) {
                    Some((earlier, at)) if earlier.operation >= tag.operation => {
                        Err(format!("{from}: record {earlier} at offset {at} stands before {tag} at offset {offset}"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn records_out_of_order_are_found() {
        let story = || Story::new(SendOrder::default()).invoked(1).invoked(2);
        assert!(story().polled(1, 5, ClientEvent::DRAIN).polled(2, 6, ClientEvent::DRAIN).verdict.is_ok());
        assert!(story().polled(2, 5, ClientEvent::DRAIN).polled(1, 6, ClientEvent::DRAIN).verdict.is_err());
    }
}
