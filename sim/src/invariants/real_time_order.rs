//! Pure. No. 33, real-time order: a record that was acknowledged before another was sent has the smaller offset.

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
pub struct RealTimeOrder {
    /// The largest acknowledged offset so far.
    acknowledged: BTreeMap<NamedPartition, Offset>,
    /// What that was when a record was sent that is not answered yet.
    at_invocation: BTreeMap<Tag, Offset>,
}

impl Invariant for RealTimeOrder {
    fn name(&self) -> &'static str {
        "real_time_order"
    }

    fn claim(&self) -> &'static str {
        "33: what was acknowledged before another record was sent has the smaller offset"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Client(ClientEvent::SendInvoked { to, tag, safe: true, .. }) => {
                if let Some(offset) = self.acknowledged.get(to) {
                    self.at_invocation.insert(*tag, *offset);
                }
                Ok(())
            }
            Fact::Client(ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), safe: true }) => {
                let before = self.at_invocation.remove(tag);
                let largest = self.acknowledged.entry(to.clone()).or_insert(*offset);
                *largest = (*largest).max(*offset);
                match before {
                    Some(before) if before >= *offset => Err(format!(
                        "{to}: offset {before} was acknowledged before {tag} was sent, yet {tag} stands at offset {offset}"
                    )),
                    _ => Ok(()),
                }
            }
            Fact::Client(ClientEvent::SendRefused { tag, .. } | ClientEvent::SendUnknown { tag, .. }) => {
                self.at_invocation.remove(tag);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn a_later_record_at_a_smaller_offset_is_found() {
        let story = || Story::new(RealTimeOrder::default()).invoked(1).acknowledged(1, 5).invoked(2);
        assert!(story().acknowledged(2, 6).verdict.is_ok());
        assert!(story().acknowledged(2, 4).verdict.is_err());
    }
}
