//! Pure. No. 74: a follower that differs from its leader finds where in a few rounds: each answer names an older epoch, so four
//! are plenty for a replica in one leader epoch (`AbstractFetcherThread.truncateOnFetchResponse`). A move of replicas that does
//! not end is `settles`' to find.

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, LeaderEpoch, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::LogEvent;

/// Rounds of one replica in one leader epoch.
const ROUNDS_MAX: u32 = 4;

/// See the module.
#[derive(Default)]
pub struct TruncationEnds {
    rounds: BTreeMap<(BrokerId, TopicPartition), (LeaderEpoch, u32)>,
    /// Whose log has just begun anew where its leader's begins: that is no search for where they part, and may happen again
    /// and again while records are deleted faster than they are copied.
    anew: BTreeSet<(BrokerId, TopicPartition)>,
}

impl Invariant for TruncationEnds {
    fn name(&self) -> &'static str {
        "truncation_ends"
    }

    fn claim(&self) -> &'static str {
        "74: a follower finds in four rounds where its log parts from its leader's"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            // What is found again after a restart is another finding: un-synced truncations come undone.
            Fact::World(WorldEvent::Started { broker }) => {
                self.rounds.retain(|(of, _), _| *of != BrokerId(*broker));
                Ok(())
            }
            Fact::Log(LogEvent::Restarted { partition, .. }) => {
                self.anew.insert((observed.broker, *partition));
                Ok(())
            }
            Fact::Replica(ReplicaEvent::Diverged { partition, .. })
                if self.anew.remove(&(observed.broker, *partition)) =>
            {
                Ok(())
            }
            Fact::Replica(ReplicaEvent::Diverged { partition, leader_epoch, truncated_to }) => {
                let rounds = self.rounds.entry((observed.broker, *partition)).or_insert((*leader_epoch, 0));
                if rounds.0 != *leader_epoch {
                    *rounds = (*leader_epoch, 0);
                }
                rounds.1 += 1;
                if rounds.1 > ROUNDS_MAX {
                    let (broker, count) = (observed.broker, rounds.1);
                    return Err(format!(
                        "{partition}: broker {broker} cut its log {count} times in leader epoch {leader_epoch}, at {truncated_to} last"
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
    use protocol::ids::Offset;

    #[test]
    fn a_follower_that_goes_on_cutting_is_found() {
        let cut = |leader_epoch, to| ReplicaEvent::Diverged {
            partition: orders(),
            leader_epoch: LeaderEpoch(leader_epoch),
            truncated_to: Offset(to),
        };
        let story = || {
            let story = Story::new(TruncationEnds::default());
            (0..4).fold(story, |story, round| story.replica(2, cut(3, 9 - round)))
        };
        assert!(story().replica(2, cut(4, 5)).replica(3, cut(3, 5)).verdict.is_ok());
        let anew = LogEvent::Restarted { partition: orders(), at: Offset(5) };
        assert!(story().log(2, anew.clone()).replica(2, cut(3, 5)).verdict.is_ok());
        assert!(story().log(3, anew).replica(2, cut(3, 5)).verdict.is_err());
        assert!(story().replica(2, cut(3, 5)).verdict.is_err());
    }
}
