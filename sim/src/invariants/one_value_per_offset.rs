//! Pure. No. 26, inconsistent offsets: one value per (partition, offset) over all sends and polls (Jepsen, `kafka.clj`).

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
pub struct OneValuePerOffset {
    seen: BTreeMap<NamedPartition, BTreeMap<Offset, Tag>>,
}

impl Invariant for OneValuePerOffset {
    fn name(&self) -> &'static str {
        "one_value_per_offset"
    }

    fn claim(&self) -> &'static str {
        "26: every client sees the same record at one offset"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (place, offset, tag) = match observed.fact {
            Fact::Client(ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), safe: true }) => {
                (to, offset, tag)
            }
            Fact::Client(ClientEvent::Polled { from, offset, tag, .. }) => (from, offset, tag),
            _ => return Ok(()),
        };
        if !self.seen.contains_key(place) {
            self.seen.insert(place.clone(), BTreeMap::new());
        }
        let seen = self.seen.get_mut(place).expect("inserted above");
        match seen.insert(*offset, *tag) {
            Some(other) if other != *tag => Err(format!("{place} offset {offset} was {other}, now it is {tag}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn two_values_at_one_offset_are_found() {
        assert!(Story::new(OneValuePerOffset::default()).acknowledged(1, 5).polled(1, 5, 0).verdict.is_ok());
        assert!(Story::new(OneValuePerOffset::default()).acknowledged(1, 5).polled(2, 5, 0).verdict.is_err());
    }
}
