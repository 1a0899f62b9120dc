//! Pure. No. 18: once a follower has cut its log where it differs, and copies again, its whole log is the beginning of its
//! leader's (KIP-101, KIP-279).
//!
//! The whole is compared at the first batch that a follower takes in a leader epoch, and from then on each batch as it
//! comes.

use super::Invariant;
use crate::{
    ledger::{Batch, Ledger},
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;
use storage::event::{LogEvent, Origin};

/// What a follower follows, and from where on its log is not known to be its leader's yet.
struct Following {
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    compared_to: Offset,
}

/// See the module.
#[derive(Default)]
pub struct FollowerCopiesItsLeader {
    following: BTreeMap<(BrokerId, TopicPartition), Following>,
}

impl Invariant for FollowerCopiesItsLeader {
    fn name(&self) -> &'static str {
        "follower_copies_its_leader"
    }

    fn claim(&self) -> &'static str {
        "18: what a follower holds when it copies is the beginning of its leader's log"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let follower = observed.broker;
        match observed.fact {
            Fact::Replica(ReplicaEvent::BecameFollower { partition, leader_epoch, leader, .. }) => {
                let key = (follower, *partition);
                match leader {
                    Some(leader) => {
                        let (leader, leader_epoch) = (*leader, *leader_epoch);
                        self.following.insert(key, Following { leader, leader_epoch, compared_to: Offset::ZERO });
                    }
                    None => drop(self.following.remove(&key)),
                }
                Ok(())
            }
            Fact::Replica(ReplicaEvent::BecameLeader { partition, .. } | ReplicaEvent::Stopped { partition }) => {
                self.following.remove(&(follower, *partition));
                Ok(())
            }
            Fact::Log(LogEvent::Truncated { partition, to: cut, .. })
            | Fact::Log(LogEvent::Restarted { partition, at: cut })
            | Fact::Log(LogEvent::Opened { partition, log_end_offset: cut, .. }) => {
                if let Some(following) = self.following.get_mut(&(follower, *partition)) {
                    following.compared_to = following.compared_to.min(*cut);
                }
                Ok(())
            }
            Fact::Log(LogEvent::Appended { partition, last_offset, origin: Origin::Follower, .. }) => {
                let Some(following) = self.following.get_mut(&(follower, *partition)) else { return Ok(()) };
                let (from, to) = (following.compared_to, last_offset.plus(1));
                // A leader that is none any more may have cut its log since it answered.
                let theirs = ledger.replica(following.leader, *partition);
                let Some(theirs) = theirs.filter(|theirs| theirs.leading == Some(following.leader_epoch)) else {
                    return Ok(());
                };
                let Some(ours) = ledger.replica(follower, *partition) else { return Ok(()) };
                let from = from.max(theirs.log_start_offset).max(ours.log_start_offset);
                for batch in ours.log.between(from, to) {
                    let same = |held: &Batch| held.crc == batch.crc && held.leader_epoch == batch.leader_epoch;
                    if !theirs.log.at(batch.base_offset).is_some_and(same) {
                        return Err(format!(
                            "{partition}: follower {follower} copies up to {to} and holds batch {:08x} of leader epoch {} at \
                             offset {}, which its leader {} does not",
                            batch.crc, batch.leader_epoch, batch.base_offset, following.leader
                        ));
                    }
                }
                following.compared_to = to;
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

    /// Follower 2 has a batch of its own at offset 1, cuts to `cut` perhaps, and copies offset 2 of leader 1.
    fn story(cut: Option<i64>) -> Result<(), String> {
        let follows = ReplicaEvent::BecameFollower {
            partition: orders(),
            leader_epoch: LeaderEpoch(2),
            leader: Some(BrokerId(1)),
            log_end_offset: Offset(2),
            high_watermark: Offset(1),
        };
        let mut story = Story::new(FollowerCopiesItsLeader::default());
        story = story.append(1, 0, 0, 9, Origin::Leader).append(2, 0, 0, 9, Origin::Follower);
        story = story.append(2, 1, 1, 7, Origin::Leader);
        story = story.append(1, 1, 0, 8, Origin::Leader).append(1, 2, 0, 6, Origin::Leader);
        story = story.lead(1, 2, 3).replica(2, follows);
        if let Some(cut) = cut {
            story = story.truncate(2, 2, cut).append(2, 1, 0, 8, Origin::Follower);
        }
        story.append(2, 2, 0, 6, Origin::Follower).verdict
    }

    #[test]
    fn a_follower_that_copies_behind_a_batch_of_its_own_is_found() {
        assert!(story(Some(1)).is_ok());
        assert!(story(None).is_err());
    }
}
