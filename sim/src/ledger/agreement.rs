//! Pure. Whether a replica holds what was committed.

use super::{Batch, Ledger};
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::fmt;

/// A difference between a replica and what was committed.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Where.
    pub at: Offset,
    /// What was committed there.
    pub committed: Batch,
    /// What the replica holds, if anything.
    pub held: Option<Batch>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { crc, leader_epoch, .. } = self.committed;
        match self.held {
            Some(held) => write!(
                f,
                "batch {:08x} of leader epoch {} at offset {} instead of {crc:08x} of leader epoch {leader_epoch}",
                held.crc, held.leader_epoch, self.at
            ),
            None => {
                write!(f, "nothing at offset {} instead of batch {crc:08x} of leader epoch {leader_epoch}", self.at)
            }
        }
    }
}

impl Ledger {
    /// Compares a replica with what was committed, up to `to`. What agreed once is not compared again.
    ///
    /// From where a replica has rotted on, nothing is claimed of it: the leader epoch of a batch is not under its CRC, and may be
    /// found wrong only by comparing with the leader's.
    ///
    /// # Errors
    /// The first batch that is missing or another.
    pub fn agrees(&mut self, broker: BrokerId, partition: TopicPartition, to: Offset) -> Result<(), Disagreement> {
        let to = self.rot_at(broker, partition).map_or(to, |rot| rot.min(to));
        let Some(committed) = self.committed.get(&partition) else { return Ok(()) };
        let node = self.nodes.entry(broker).or_default();
        let replica = node.replicas.entry(partition).or_default();
        // What was deleted need not agree: whoever is far behind skips it.
        let deleted = self.deleted.get(&partition).copied().unwrap_or(Offset::ZERO);
        let from = replica.agreed.max(replica.log_start_offset).max(deleted);
        for batch in committed.log.between(from, to) {
            let held = replica.log.at(batch.base_offset);
            if held.is_none_or(|held| held.crc != batch.crc || held.leader_epoch != batch.leader_epoch) {
                return Err(Disagreement { at: batch.base_offset, committed: *batch, held: held.copied() });
            }
            replica.agreed = batch.end();
        }
        Ok(())
    }
}
