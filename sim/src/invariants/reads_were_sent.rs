//! Pure. No. 68: whatever a reader gets was sent, to the partition that it was read from. It holds however much was lost: old
//! data may be gone, but none is made up.

use super::Invariant;
use crate::{
    event::{ClientEvent, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct ReadsWereSent {
    sent: BTreeMap<Tag, NamedPartition>,
}

impl Invariant for ReadsWereSent {
    fn name(&self) -> &'static str {
        "reads_were_sent"
    }

    fn claim(&self) -> &'static str {
        "68: whatever is read was sent, and to that partition"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Client(ClientEvent::SendInvoked { to, tag, .. }) => {
                self.sent.insert(*tag, to.clone());
                Ok(())
            }
            Fact::Client(ClientEvent::Polled { from, offset, tag, .. }) => match self.sent.get(tag) {
                Some(to) if to == from => Ok(()),
                Some(to) => Err(format!("record {tag} was read from {from} at {offset}, and was sent to {to}")),
                None => Err(format!("record {tag} was read from {from} at {offset}, and nobody sent it")),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, named, tag},
        *,
    };

    #[test]
    fn a_record_that_nobody_sent_is_found() {
        let story = || Story::new(ReadsWereSent::default()).invoked(1);
        assert!(story().polled(1, 5, 0).verdict.is_ok());
        assert!(story().polled(2, 5, 0).verdict.is_err());
    }

    #[test]
    fn a_record_of_another_partition_is_found() {
        let elsewhere = NamedPartition { topic: "elsewhere".into(), ..named() };
        let sent = ClientEvent::SendInvoked { to: elsewhere, tag: tag(1), safe: true, keyed: None };
        assert!(Story::new(ReadsWereSent::default()).client(sent).polled(1, 5, 0).verdict.is_err());
    }
}
