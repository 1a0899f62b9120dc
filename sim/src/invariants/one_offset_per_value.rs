//! Pure. No. 27, duplicate: a record of an idempotent producer stands at one offset (KIP-98; Jepsen, `kafka.clj`).

use super::Invariant;
use crate::{
    event::{ClientEvent, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct OneOffsetPerValue {
    idempotent: BTreeMap<Tag, Option<(NamedPartition, Offset)>>,
}

impl Invariant for OneOffsetPerValue {
    fn name(&self) -> &'static str {
        "one_offset_per_value"
    }

    fn claim(&self) -> &'static str {
        "27: a record of an idempotent producer is written once"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (place, offset, tag) = match observed.fact {
            Fact::Client(ClientEvent::SendInvoked { tag, safe: true, .. }) => {
                self.idempotent.entry(*tag).or_default();
                return Ok(());
            }
            Fact::Client(ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), .. }) => (to, offset, tag),
            Fact::Client(ClientEvent::Polled { from, offset, tag, .. }) => (from, offset, tag),
            _ => return Ok(()),
        };
        let Some(known) = self.idempotent.get_mut(tag) else { return Ok(()) };
        match known {
            Some((partition, first)) if (&*partition, &*first) != (place, offset) => {
                Err(format!("record {tag} stands at {partition} offset {first} and at {place} offset {offset}"))
            }
            Some(_) => Ok(()),
            None => {
                *known = Some((place.clone(), *offset));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn a_record_at_two_offsets_is_found() {
        let story = || Story::new(OneOffsetPerValue::default()).invoked(1).acknowledged(1, 5);
        assert!(story().polled(1, 5, 0).verdict.is_ok());
        assert!(story().polled(1, 6, 0).verdict.is_err());
    }
}
