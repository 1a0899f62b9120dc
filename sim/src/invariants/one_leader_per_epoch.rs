//! Pure. No. 16: in one leader epoch only one broker appends, and one (offset, leader epoch) holds one batch everywhere
//! (KIP-101, KIP-279).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;
use storage::event::{LogEvent, Origin};

/// See the module.
#[derive(Default)]
pub struct OneLeaderPerEpoch {
    appending: BTreeMap<(TopicPartition, LeaderEpoch), BrokerId>,
    batches: BTreeMap<(TopicPartition, LeaderEpoch, Offset), u32>,
}

impl Invariant for OneLeaderPerEpoch {
    fn name(&self) -> &'static str {
        "one_leader_per_epoch"
    }

    fn claim(&self) -> &'static str {
        "16: in one leader epoch one broker appends, and an offset holds the same bytes everywhere"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Log(LogEvent::Appended { partition, base_offset, leader_epoch, crc, origin, .. }) = observed.fact
        else {
            return Ok(());
        };
        if *origin == Origin::Leader {
            let first = *self.appending.entry((*partition, *leader_epoch)).or_insert(observed.broker);
            if first != observed.broker {
                let second = observed.broker;
                return Err(format!(
                    "{partition}: brokers {first} and {second} both append in leader epoch {leader_epoch}"
                ));
            }
        }
        let crc = ledger.written_crc(*partition, *base_offset, *crc);
        let known = *self.batches.entry((*partition, *leader_epoch, *base_offset)).or_insert(crc);
        // A leader that lost un-synced bytes and leads again in the same epoch would show here too: it must not.
        if known != crc {
            return Err(format!(
                "{partition}: offset {base_offset} of leader epoch {leader_epoch} is {known:08x} and, on broker {}, {crc:08x}",
                observed.broker
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn two_appending_brokers_in_one_epoch_are_found() {
        let story = || Story::new(OneLeaderPerEpoch::default()).append(1, 0, 4, 9, Origin::Leader);
        assert!(story().append(2, 1, 5, 9, Origin::Leader).verdict.is_ok());
        assert!(story().append(2, 1, 4, 9, Origin::Leader).verdict.is_err());
    }

    #[test]
    fn other_bytes_at_one_offset_of_one_epoch_are_found() {
        let story = || Story::new(OneLeaderPerEpoch::default()).append(1, 0, 4, 9, Origin::Leader);
        assert!(story().append(2, 0, 4, 9, Origin::Follower).verdict.is_ok());
        assert!(story().append(2, 0, 4, 8, Origin::Follower).verdict.is_err());
    }
}
