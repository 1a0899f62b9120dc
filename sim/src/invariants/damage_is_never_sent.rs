//! Pure. No. 68: what rots on a disk is noticed by whoever reads it there, and goes neither to a client nor to a follower.
//!
//! Kafka leaves it to whoever gets it (`check.crcs`, `UnifiedLog.append`). TigerBeetle's storage faults model the same:
//! a replica never hands on what it could have found broken.

use super::Invariant;
use crate::{
    event::ClientEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::TopicPartition;

/// See the module.
pub struct DamageIsNeverSent;

impl DamageIsNeverSent {
    /// A leader that was overtaken in the middle of an answer may send what is half one thing and half another: only where
    /// the leader's disk was damaged is it what this is about.
    fn has_rot(ledger: &Ledger, partition: TopicPartition) -> bool {
        let leader = ledger.image.partition(partition).and_then(|state| state.leader);
        leader.is_some_and(|leader| ledger.rot_at(leader, partition).is_some())
    }
}

impl Invariant for DamageIsNeverSent {
    fn name(&self) -> &'static str {
        "damage_is_never_sent"
    }

    fn claim(&self) -> &'static str {
        "68: what rots on a disk is noticed there, and sent to nobody"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let (partition, whom) = match observed.fact {
            Fact::Replica(ReplicaEvent::BrokenBatch { partition }) => {
                (*partition, format!("broker {}", observed.broker))
            }
            Fact::Client(ClientEvent::GotDamaged { from, offset }) => match ledger.named(from) {
                Some(partition) => (partition, format!("a reader at offset {offset}")),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        if Self::has_rot(ledger, partition) {
            return Err(format!("{partition}: {whom} was sent a batch that is not what was written"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, named, orders},
        *,
    };
    use crate::event::WorldEvent;
    use protocol::ids::Offset;

    fn rotted() -> Story<DamageIsNeverSent> {
        let story = Story::new(DamageIsNeverSent).cluster();
        story.world(WorldEvent::Rotted { broker: 1, partition: orders(), offset: Offset(4) })
    }

    #[test]
    fn a_follower_that_got_damage_is_found() {
        let event = || ReplicaEvent::BrokenBatch { partition: orders() };
        assert!(rotted().replica(2, event()).verdict.is_err());
        assert!(Story::new(DamageIsNeverSent).cluster().replica(2, event()).verdict.is_ok());
    }

    #[test]
    fn a_reader_that_got_damage_is_found() {
        let event = || ClientEvent::GotDamaged { from: named(), offset: Offset(4) };
        assert!(rotted().client(event()).verdict.is_err());
        assert!(Story::new(DamageIsNeverSent).cluster().client(event()).verdict.is_ok());
    }
}
