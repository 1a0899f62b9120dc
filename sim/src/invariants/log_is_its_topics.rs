//! Pure. No. 24: a log that is opened for a topic holds what was written to that topic under its id, and nothing of another
//! topic that had its name (KAFKA-14616).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeSet;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct LogIsItsTopics {
    /// Every batch that was ever written to a partition, wherever.
    written: BTreeSet<(TopicPartition, Offset, LeaderEpoch, u32)>,
    /// The replicas that were ever opened or written to.
    known: BTreeSet<(BrokerId, TopicPartition)>,
}

impl LogIsItsTopics {
    fn is_written(&self, ledger: &Ledger, (of, at, epoch, crc): (TopicPartition, Offset, LeaderEpoch, u32)) -> bool {
        self.written.contains(&(of, at, epoch, ledger.written_crc(of, at, crc)))
    }
}

impl Invariant for LogIsItsTopics {
    fn name(&self) -> &'static str {
        "log_is_its_topics"
    }

    fn claim(&self) -> &'static str {
        "24: a log holds what was written to its topic, and nothing of another one of that name"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Log(LogEvent::Appended { partition, base_offset, leader_epoch, crc, .. }) => {
                self.known.insert((broker, *partition));
                let crc = ledger.written_crc(*partition, *base_offset, *crc);
                self.written.insert((*partition, *base_offset, *leader_epoch, crc));
                Ok(())
            }
            Fact::Log(LogEvent::Recovered { partition, base_offset, leader_epoch, crc, .. })
                // The leader epoch is not under the CRC: one that rotted shows by what follows it, and may be the last one left.
                if ledger.rot_at(broker, *partition) != Some(*base_offset)
                    && !self.is_written(ledger, (*partition, *base_offset, *leader_epoch, *crc)) =>
            {
                Err(format!(
                    "{partition}: broker {broker} found batch {crc:08x} of leader epoch {leader_epoch} at offset \
                     {base_offset} in its log, which nobody wrote to this topic"
                ))
            }
            Fact::Log(LogEvent::Opened { partition, log_start_offset, log_end_offset, .. }) => {
                if self.known.insert((broker, *partition)) && log_end_offset > log_start_offset {
                    return Err(format!(
                        "{partition}: broker {broker} never had this topic, and opened a log of it from \
                         {log_start_offset} to {log_end_offset}"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use protocol::ids::{ProducerEpoch, ProducerId, Sequence};
    use storage::event::Origin;

    fn opened(end: i64) -> LogEvent {
        LogEvent::Opened { partition: orders(), log_start_offset: Offset(0), log_end_offset: Offset(end), cut_bytes: 0 }
    }

    #[test]
    fn a_new_replica_with_somebody_elses_records_is_found() {
        let story = || Story::new(LogIsItsTopics::default()).append(2, 0, 0, 9, Origin::Leader);
        assert!(story().log(1, opened(0)).verdict.is_ok());
        assert!(story().log(1, opened(1)).verdict.is_err());
    }

    #[test]
    fn a_recovered_batch_that_nobody_wrote_is_found() {
        let recovered = |crc| LogEvent::Recovered {
            partition: orders(),
            base_offset: Offset(0),
            last_offset: Offset(0),
            leader_epoch: LeaderEpoch(0),
            crc,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
        };
        let story = || Story::new(LogIsItsTopics::default()).append(1, 0, 0, 9, Origin::Leader);
        assert!(story().log(1, recovered(9)).verdict.is_ok());
        assert!(story().log(1, recovered(8)).verdict.is_err());
    }
}
