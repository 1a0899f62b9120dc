//! Pure. No. 36, error honesty: a record that was refused for certain is in nobody's log, so nobody ever reads it
//! (`Errors` that are not retriable, or were told before the append: correct clients give such a record up).

use super::Invariant;
use crate::{
    event::{ClientEvent, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use std::collections::BTreeSet;

/// See the module.
#[derive(Default)]
pub struct RefusedIsNeverSeen {
    refused: BTreeSet<Tag>,
    seen: BTreeSet<Tag>,
}

impl Invariant for RefusedIsNeverSeen {
    fn name(&self) -> &'static str {
        "refused_is_never_seen"
    }

    fn claim(&self) -> &'static str {
        "36: a record that was refused is never read"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (tag, place) = match observed.fact {
            Fact::Client(ClientEvent::SendRefused { to, tag, .. }) => {
                self.refused.insert(*tag);
                (tag, to)
            }
            Fact::Client(ClientEvent::Polled { from, tag, .. }) => {
                self.seen.insert(*tag);
                (tag, from)
            }
            _ => return Ok(()),
        };
        if self.refused.contains(tag) && self.seen.contains(tag) {
            return Err(format!("record {tag} was refused, and was read from {place}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, named, tag},
        *,
    };

    #[test]
    fn a_refused_record_that_is_read_is_found() {
        let refused = || ClientEvent::SendRefused { to: named(), tag: tag(1), error: "too large".into() };
        assert!(Story::new(RefusedIsNeverSeen::default()).client(refused()).polled(2, 5, 0).verdict.is_ok());
        assert!(Story::new(RefusedIsNeverSeen::default()).client(refused()).polled(1, 5, 0).verdict.is_err());
        assert!(Story::new(RefusedIsNeverSeen::default()).polled(1, 5, 0).client(refused()).verdict.is_err());
    }
}
