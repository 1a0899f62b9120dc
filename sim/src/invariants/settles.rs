//! Pure. No. 70: after everything is healed there is an active controller, every partition has a leader and all of its
//! replicas in sync, and fresh records are written and read, within the run's deadline.

use super::{End, Invariant};
use crate::{ledger::Ledger, observed::Observed};

/// See the module.
pub struct Settles;

impl Invariant for Settles {
    fn name(&self) -> &'static str {
        "settles"
    }

    fn claim(&self) -> &'static str {
        "70: once healed, the cluster becomes whole again in time"
    }

    fn check(&mut self, _ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        Ok(())
    }

    fn at_end(&mut self, _ledger: &mut Ledger, end: &End) -> Result<(), String> {
        end.unsettled.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn a_cluster_that_does_not_settle_is_found() {
        let end = End { unsettled: Some("orders-0 has no leader".into()), ..End::default() };
        assert!(Story::new(Settles).end(&End::default()).is_ok());
        assert!(Story::new(Settles).end(&end).is_err());
    }
}
