//! Pure. No. 7: a broker epoch names one registration in the whole cluster, and a broker's next registration has a larger
//! one (KIP-631, KIP-903).

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use metadata::record::Record;
use protocol::ids::{BrokerEpoch, BrokerId, IncarnationId};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct OneBrokerEpoch {
    registrations: BTreeMap<BrokerEpoch, (BrokerId, IncarnationId)>,
}

impl Invariant for OneBrokerEpoch {
    fn name(&self) -> &'static str {
        "one_broker_epoch"
    }

    fn claim(&self) -> &'static str {
        "7: a broker epoch names one life of one broker"
    }

    fn check(&mut self, ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        let Some((offset, Record::RegisterBroker { broker_id, incarnation_id, .. }, before)) = &ledger.new_record else {
            return Ok(());
        };
        let Some(after) = ledger.image.broker(*broker_id) else {
            return Err(format!("the registration of broker {broker_id} at metadata offset {offset} left no trace"));
        };
        if let Some(before) = before.broker(*broker_id)
            && before.epoch >= after.epoch
        {
            return Err(format!("broker {broker_id} went from broker epoch {} to {}", before.epoch, after.epoch));
        }
        match self.registrations.insert(after.epoch, (*broker_id, *incarnation_id)) {
            Some((other, incarnation)) if (other, incarnation) != (*broker_id, *incarnation_id) => {
                Err(format!("broker epoch {} was given to broker {other} and to broker {broker_id}", after.epoch))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, register},
        *,
    };

    #[test]
    fn a_broker_epoch_given_twice_is_found() {
        let story = || Story::new(OneBrokerEpoch::default()).record(register(1, BrokerEpoch(0), true));
        assert!(story().record(register(2, BrokerEpoch(1), true)).verdict.is_ok());
        assert!(story().record(register(2, BrokerEpoch(0), true)).verdict.is_err());
        assert!(story().record(register(1, BrokerEpoch(0), true)).verdict.is_err());
    }
}
