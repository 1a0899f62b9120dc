//! Pure. No. 67: a log whose process ended without a clean stop is gone through again before it is used, however often that
//! is interrupted; nothing makes an unclean end look clean (KAFKA-10471). What the going through must come to is No. 66.

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::BTreeMap;
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct UncleanIsRecovered {
    /// Logs that a crash left open, and how far a recovery in this life has gone through each without a gap.
    unclean: BTreeMap<(BrokerId, TopicPartition), Option<(Offset, Offset)>>,
}

impl Invariant for UncleanIsRecovered {
    fn name(&self) -> &'static str {
        "unclean_is_recovered"
    }

    fn claim(&self) -> &'static str {
        "67: after an unclean end, what was not on the device for certain is gone through again"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Log(LogEvent::Opened { partition, log_start_offset, log_end_offset, .. }) = observed.fact else {
            return Ok(());
        };
        let broker = observed.broker;
        let Some(recovered) = self.unclean.remove(&(broker, *partition)) else { return Ok(()) };
        let Some(replica) = ledger.replica(broker, *partition) else { return Ok(()) };
        let unknown = replica.synced.max(*log_start_offset).min(*log_end_offset);
        // What a cleaner took out is not there to go through.
        let end = ledger.cleaned(*partition).map_or(*log_end_offset, |of| of.begin_of_gone(*log_end_offset));
        if unknown >= end || recovered.is_some_and(|(from, to)| from <= unknown && to >= end) {
            return Ok(());
        }
        Err(format!(
            "{partition}: broker {broker} crashed with its log on the device up to {unknown}, and opened it up to \
             {log_end_offset} after going through {recovered:?}"
        ))
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Crashed { broker, .. }) => {
                let broker = BrokerId(*broker);
                let replicas = ledger.nodes.get(&broker).into_iter().flat_map(|node| node.replicas.keys());
                self.unclean.extend(replicas.map(|partition| ((broker, *partition), None)));
            }
            Fact::Log(LogEvent::Recovered { partition, base_offset, last_offset, .. }) => {
                if let Some(recovered) = self.unclean.get_mut(&(observed.broker, *partition)) {
                    let begin = ledger.cleaned(*partition).map_or(*base_offset, |of| of.begin_of_gone(*base_offset));
                    let from = recovered.filter(|(_, to)| *to >= begin).map_or(begin, |(from, _)| from);
                    *recovered = Some((from, last_offset.plus(1)));
                }
            }
            _ => {}
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
    use protocol::ids::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
    use storage::event::Origin;

    fn recovered(offset: i64) -> LogEvent {
        LogEvent::Recovered {
            partition: orders(),
            base_offset: Offset(offset),
            last_offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            crc: 9,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
        }
    }

    /// Three records of which the first is synced, a crash, a recovery of these offsets, and the log open.
    fn verdict(offsets: &[i64]) -> Result<(), String> {
        let story = Story::new(UncleanIsRecovered::default());
        let story = (0..3).fold(story, |story, offset| story.append(1, offset, 0, 9, Origin::Leader));
        let story = story.log(1, LogEvent::Synced { partition: orders(), up_to: Offset(1) });
        let story = story.world(WorldEvent::Crashed { broker: 1, power: false });
        let story = offsets.iter().fold(story, |story, offset| story.log(1, recovered(*offset)));
        let (partition, log_start_offset, log_end_offset) = (orders(), Offset(0), Offset(3));
        story.log(1, LogEvent::Opened { partition, log_start_offset, log_end_offset, cut_bytes: 0 }).verdict
    }

    #[test]
    fn a_log_that_is_taken_for_clean_after_a_crash_is_found() {
        assert!(verdict(&[1, 2]).is_ok());
        assert!(verdict(&[0, 1, 2]).is_ok());
        assert!(verdict(&[]).is_err());
        assert!(verdict(&[2]).is_err());
    }
}
