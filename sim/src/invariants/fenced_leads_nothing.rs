//! Pure. No. 8: for the controllers, a broker that is fenced or shutting down is in no in-sync set and leads nothing
//! (KIP-841). Records of one decision are applied together, so it is asked at the next event of another instant.

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use metadata::record::Record;
use protocol::ids::BrokerId;
use std::collections::BTreeSet;

/// See the module.
#[derive(Default)]
pub struct FencedLeadsNothing {
    changed_at: Option<u64>,
}

impl Invariant for FencedLeadsNothing {
    fn name(&self) -> &'static str {
        "fenced_leads_nothing"
    }

    fn claim(&self) -> &'static str {
        "8: a fenced broker, or one that is shutting down, is in no in-sync set and leads nothing"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if self.changed_at.is_none_or(|at| at == observed.at) {
            return Ok(());
        }
        self.changed_at = None;
        let out: BTreeSet<BrokerId> = ledger
            .image
            .brokers()
            .filter(|(_, broker)| broker.fenced || broker.controlled_shutdown)
            .map(|(id, _)| id)
            .collect();
        if out.is_empty() {
            return Ok(());
        }
        for topic in ledger.image.topics() {
            for (partition, state) in topic.partitions() {
                if let Some(broker) = state.isr.iter().chain(&state.leader).find(|broker| out.contains(broker)) {
                    return Err(format!(
                        "broker {broker} is fenced or shutting down, and {}-{partition} has leader {:?} and in-sync replicas {:?}",
                        topic.name, state.leader, state.isr
                    ));
                }
            }
        }
        Ok(())
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let matters = |record: &Record| {
            matches!(
                record,
                Record::RegisterBroker { .. }
                    | Record::FenceBroker { .. }
                    | Record::BrokerControlledShutdown { .. }
                    | Record::Partition { .. }
                    | Record::PartitionChange { .. }
            )
        };
        if ledger.new_record.as_ref().is_some_and(|(_, record, _)| matters(record)) {
            self.changed_at = Some(observed.at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use protocol::ids::BrokerEpoch;

    #[test]
    fn a_fenced_broker_in_an_in_sync_set_is_found() {
        let story = || Story::new(FencedLeadsNothing::default()).cluster();
        let fence = Record::FenceBroker { broker_id: BrokerId(3), broker_epoch: BrokerEpoch(2) };
        assert!(story().record(Record::NoOp).record(Record::NoOp).verdict.is_ok());
        assert!(story().record(fence).record(Record::NoOp).verdict.is_err());
    }
}
