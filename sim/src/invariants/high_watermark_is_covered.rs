//! Pure. No. 15: a leader's high watermark is at or below the true log end of everyone it waits for, does not move while
//! too few are in sync, never goes back within one leader epoch, and lies within the log (KIP-966, KAFKA-15583).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct HighWatermarkIsCovered {
    last: BTreeMap<(BrokerId, TopicPartition), (LeaderEpoch, Offset)>,
}

impl Invariant for HighWatermarkIsCovered {
    fn name(&self) -> &'static str {
        "high_watermark_is_covered"
    }

    fn claim(&self) -> &'static str {
        "15: the high watermark is what all in-sync replicas hold, and only moves while enough are in sync"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Replica(ReplicaEvent::BecameLeader { partition, leader_epoch, high_watermark, .. }) => {
                self.last.insert((broker, *partition), (*leader_epoch, *high_watermark));
                within_log(ledger, broker, *partition, *high_watermark)
            }
            Fact::Replica(ReplicaEvent::BecameFollower { partition, high_watermark, .. }) => {
                self.last.remove(&(broker, *partition));
                within_log(ledger, broker, *partition, *high_watermark)
            }
            Fact::Replica(ReplicaEvent::HighWatermark {
                partition,
                leader_epoch,
                leading: true,
                high_watermark,
                log_end_offset,
                isr,
                maximal_isr,
                effective_min_isr,
            }) => {
                if high_watermark > log_end_offset {
                    return Err(format!(
                        "{partition}: high watermark {high_watermark} of leader {broker} is beyond its log end {log_end_offset}"
                    ));
                }
                let last = self.last.insert((broker, *partition), (*leader_epoch, *high_watermark));
                if let Some((epoch, before)) = last
                    && epoch == *leader_epoch
                    && before > *high_watermark
                {
                    return Err(format!(
                        "{partition}: high watermark went back from {before} to {high_watermark} on {broker}"
                    ));
                }
                if isr.len() < *effective_min_isr {
                    return Err(format!(
                        "{partition}: high watermark moved to {high_watermark} with {isr:?} in sync, fewer than {effective_min_isr}"
                    ));
                }
                let others = maximal_isr.iter().filter(|member| **member != broker && ledger.is_current(**member));
                for member in others.filter(|member| !ledger.is_another_life(broker, *partition, **member)) {
                    let Some(replica) = ledger.replica(*member, *partition) else { continue };
                    if replica.log_end_offset < *high_watermark {
                        return Err(format!(
                            "{partition}: high watermark {high_watermark} of leader {broker}, and {member} ends at {}",
                            replica.log_end_offset
                        ));
                    }
                }
                Ok(())
            }
            Fact::Replica(ReplicaEvent::HighWatermark { partition, leading: false, high_watermark, .. }) => {
                within_log(ledger, broker, *partition, *high_watermark)
            }
            _ => Ok(()),
        }
    }
}

fn within_log(
    ledger: &Ledger,
    broker: BrokerId,
    partition: TopicPartition,
    high_watermark: Offset,
) -> Result<(), String> {
    match ledger.replica(broker, partition) {
        Some(replica) if high_watermark > replica.log_end_offset => Err(format!(
            "{partition}: high watermark {high_watermark} on broker {broker}, whose log ends at {}",
            replica.log_end_offset
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use metadata::record::Record;
    use protocol::ids::{BrokerEpoch, PartitionEpoch};
    use storage::event::{LogEvent, Origin};

    fn story() -> Story<HighWatermarkIsCovered> {
        let story = Story::new(HighWatermarkIsCovered::default()).cluster();
        (1..=3).fold(story, |story, broker| story.append(broker, 0, 0, 9, Origin::Follower))
    }

    #[test]
    fn a_high_watermark_beyond_a_follower_is_found() {
        assert!(story().high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]).verdict.is_ok());
        assert!(story().truncate(3, 1, 0).high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]).verdict.is_err());
    }

    #[test]
    fn what_a_follower_lost_after_it_had_fetched_is_not_held_against_the_leader() {
        let fetched = |under: i64| ReplicaEvent::FollowerFetched {
            partition: orders(),
            leader_epoch: LeaderEpoch(0),
            follower: BrokerId(3),
            broker_epoch: BrokerEpoch(under),
            fetch_offset: Offset(1),
        };
        let story = |under| story().replica(1, fetched(under)).truncate(3, 1, 0);
        assert!(story(2).high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]).verdict.is_err());
        assert!(story(1).high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]).verdict.is_ok());
    }

    #[test]
    fn what_a_follower_dropped_when_the_partition_moved_away_is_not_held_against_a_leader_that_is_yet_to_hear_of_it() {
        let lead = ReplicaEvent::BecameLeader {
            partition: orders(),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            isr: [1, 2, 3].map(BrokerId).into(),
            leader_epoch_start_offset: Offset(0),
            high_watermark: Offset(0),
        };
        let moved = |replicas: &[i32]| Record::PartitionChange {
            topic_id: orders().topic_id,
            partition: orders().partition,
            replicas: Some(replicas.iter().copied().map(BrokerId).collect()),
            isr: None,
            elr: None,
            last_known_elr: None,
            leader: None,
            leader_recovery_state: None,
            adding_replicas: None,
            removing_replicas: None,
        };
        let again = |story: Story<_>, replicas: &[i32]| {
            let story = story.record(moved(replicas)).log(3, LogEvent::Deleted { partition: orders() });
            let story = story.record(moved(&[1, 2, 3]));
            story.append(3, 0, 0, 9, Origin::Follower).truncate(3, 1, 0).high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3])
        };
        let story = || story().replica(1, lead.clone());
        assert!(again(story(), &[1, 2]).verdict.is_ok());
        assert!(again(story(), &[1, 2, 3]).verdict.is_err());
    }

    #[test]
    fn a_high_watermark_that_moves_below_min_isr_is_found() {
        assert!(story().high_watermark(1, 0, 1, &[1], &[1]).verdict.is_err());
    }

    #[test]
    fn a_high_watermark_that_goes_back_is_found() {
        let story = story().high_watermark(1, 0, 1, &[1, 2, 3], &[1, 2, 3]);
        assert!(story.high_watermark(1, 0, 0, &[1, 2, 3], &[1, 2, 3]).verdict.is_err());
    }

    #[test]
    fn a_follower_with_a_high_watermark_beyond_its_log_is_found() {
        assert!(story().follower_high_watermark(2, 0, 1).verdict.is_ok());
        assert!(story().follower_high_watermark(2, 0, 2).verdict.is_err());
    }
}
