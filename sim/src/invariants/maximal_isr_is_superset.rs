//! Pure. No. 14, quorum superset: the in-sync replicas that a leader waits for include everyone whom the controllers could
//! elect (KIP-497, KIP-966).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::BrokerId;
use std::collections::BTreeSet;

/// See the module.
pub struct MaximalIsrIsSuperset;

impl Invariant for MaximalIsrIsSuperset {
    fn name(&self) -> &'static str {
        "maximal_isr_is_superset"
    }

    fn claim(&self) -> &'static str {
        "14: a leader waits for everyone who could be elected"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::HighWatermark {
            partition,
            leader_epoch,
            leading: true,
            isr,
            maximal_isr,
            effective_min_isr,
            high_watermark,
            ..
        }) = observed.fact
        else {
            return Ok(());
        };
        let Some(state) = ledger.image.partition(*partition) else { return Ok(()) };
        let stale = state.leader_epoch != *leader_epoch || state.leader != Some(observed.broker);
        if stale || isr.len() < *effective_min_isr {
            return Ok(());
        }
        let electable: BTreeSet<BrokerId> = state.isr.iter().chain(&state.elr).copied().collect();
        match electable.difference(maximal_isr).next() {
            Some(missed) => Err(format!(
                "{partition}: broker {missed} could be elected, and the leader moved its high watermark to {high_watermark} \
                 waiting for {maximal_isr:?} only"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn a_leader_that_does_not_wait_for_an_electable_replica_is_found() {
        let story = || Story::new(MaximalIsrIsSuperset).cluster();
        assert!(story().high_watermark(1, 0, 1, &[1, 2], &[1, 2, 3]).verdict.is_ok());
        assert!(story().high_watermark(1, 0, 1, &[1, 2], &[1, 2]).verdict.is_err());
    }
}
