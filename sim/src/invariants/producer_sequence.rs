//! Pure. No. 38: in committed data, one producer's batches in one partition have contiguous sequences without repeat, and a
//! new epoch begins at zero (KIP-98, KIP-360).

use super::Invariant;
use crate::{ledger::Ledger, observed::Observed};
use protocol::ids::{ProducerEpoch, ProducerId, Sequence, TopicPartition};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct ProducerSequence {
    next: BTreeMap<(TopicPartition, ProducerId), (ProducerEpoch, Sequence)>,
}

impl Invariant for ProducerSequence {
    fn name(&self) -> &'static str {
        "producer_sequence"
    }

    fn claim(&self) -> &'static str {
        "38: a producer's committed batches have every sequence once, in order"
    }

    fn check(&mut self, ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        for (partition, batch) in &ledger.newly_committed {
            if batch.producer_id == ProducerId::NONE {
                continue;
            }
            let records = (batch.last_offset.0 - batch.base_offset.0 + 1) as i32;
            let next = (batch.producer_epoch, batch.base_sequence.plus(records));
            let last = self.next.insert((*partition, batch.producer_id), next);
            let expected = match last {
                Some((epoch, sequence)) if epoch == batch.producer_epoch => Some(sequence),
                Some((epoch, _)) if epoch > batch.producer_epoch => {
                    return Err(format!(
                        "{partition}: producer {} wrote offset {} in epoch {}, after epoch {epoch}",
                        batch.producer_id, batch.base_offset, batch.producer_epoch
                    ));
                }
                Some(_) => Some(Sequence(0)),
                None => None,
            };
            if expected.is_some_and(|expected| expected != batch.base_sequence) {
                return Err(format!(
                    "{partition}: producer {} wrote sequence {} at offset {} where {} was next",
                    batch.producer_id,
                    batch.base_sequence,
                    batch.base_offset,
                    expected.expect("checked above")
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use protocol::ids::{LeaderEpoch, Offset};
    use storage::event::{LogEvent, Origin};

    fn batch(offset: i64, epoch: i16, sequence: i32) -> LogEvent {
        LogEvent::Appended {
            partition: orders(),
            base_offset: Offset(offset),
            last_offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            crc: offset as u32,
            producer_id: ProducerId(3),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(sequence),
            origin: Origin::Leader,
        }
    }

    fn verdict(second: LogEvent) -> Result<(), String> {
        let story = Story::new(ProducerSequence::default()).log(1, batch(0, 0, 0)).log(1, second);
        story.high_watermark(1, 0, 2, &[1, 2], &[1, 2]).verdict
    }

    #[test]
    fn a_repeated_or_missing_sequence_is_found() {
        assert!(verdict(batch(1, 0, 1)).is_ok());
        assert!(verdict(batch(1, 0, 0)).is_err());
        assert!(verdict(batch(1, 0, 2)).is_err());
        assert!(verdict(batch(1, 1, 0)).is_ok());
        assert!(verdict(batch(1, 1, 1)).is_err());
    }
}
