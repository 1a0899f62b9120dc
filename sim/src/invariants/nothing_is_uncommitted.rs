//! Pure. No. 4: nobody acts on metadata that is not committed: what a broker applies a controller has applied before, and what a
//! controller's answer lets it do (be registered, lead with other replicas in sync) stands in what was applied (KIP-631).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use protocol::ids::MetadataOffset;

/// See the module.
#[derive(Default)]
pub struct NothingIsUncommitted {
    /// One past the last record that any controller has applied.
    applied: MetadataOffset,
}

impl Invariant for NothingIsUncommitted {
    fn name(&self) -> &'static str {
        "nothing_is_uncommitted"
    }

    fn claim(&self) -> &'static str {
        "4: nothing is answered or published from metadata that is not committed and applied"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Controller(ControllerEvent::Applied { offset, .. }) => {
                self.applied = self.applied.max(MetadataOffset(offset.0 + 1));
                Ok(())
            }
            Fact::Controller(ControllerEvent::SnapshotInstalled { next, .. }) => {
                self.applied = self.applied.max(*next);
                Ok(())
            }
            Fact::Replica(ReplicaEvent::MetadataApplied { offset, .. }) if *offset >= self.applied => Err(format!(
                "broker {broker} applied metadata offset {offset}, and controllers have applied those below {}",
                self.applied
            )),
            Fact::Replica(ReplicaEvent::Registered { broker_epoch }) if broker_epoch.0 >= self.applied.0 => {
                Err(format!(
                    "broker {broker} was registered under epoch {broker_epoch}, and controllers have applied offsets below {}",
                    self.applied
                ))
            }
            Fact::Replica(ReplicaEvent::IsrCommitted { partition, partition_epoch, isr, .. }) => {
                match ledger.image.partition(*partition) {
                    Some(state) if state.partition_epoch < *partition_epoch => Err(format!(
                        "{partition}: leader {broker} has {isr:?} in sync at partition epoch {partition_epoch}, and {} is the \
                         last that is committed",
                        state.partition_epoch
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders, set},
        *,
    };
    use metadata::record::Record;
    use protocol::ids::{BrokerEpoch, LeaderEpoch, PartitionEpoch};
    use std::sync::Arc;

    #[test]
    fn a_record_that_no_controller_has_applied_is_found() {
        let applied =
            |offset| ReplicaEvent::MetadataApplied { offset: MetadataOffset(offset), record: Arc::new(Record::NoOp) };
        let story = || Story::new(NothingIsUncommitted::default()).record(Record::NoOp);
        assert!(story().replica(2, applied(0)).verdict.is_ok());
        assert!(story().replica(2, applied(1)).verdict.is_err());
    }

    #[test]
    fn an_answer_before_the_commit_is_found() {
        let committed = |epoch| ReplicaEvent::IsrCommitted {
            partition: orders(),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(epoch),
            isr: set(&[1, 2]),
        };
        let story = || Story::new(NothingIsUncommitted::default()).cluster();
        assert!(story().replica(1, committed(0)).verdict.is_ok());
        assert!(story().replica(1, committed(1)).verdict.is_err());
        assert!(story().replica(3, ReplicaEvent::Registered { broker_epoch: BrokerEpoch(5) }).verdict.is_err());
    }
}
