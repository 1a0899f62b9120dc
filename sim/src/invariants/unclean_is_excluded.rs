//! Pure. No. 21, unclean exclusion: a broker that starts again after a crash is in no in-sync or eligible set and leads
//! nothing, partition by partition, until a leader has counted a fetch of its new life from the high watermark and the
//! first offset of the leader epoch on; a declared unclean election aside (KIP-903, KIP-966).

use super::Invariant;
use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use metadata::record::{LeaderRecoveryState, Record};
use protocol::ids::{BrokerEpoch, BrokerId, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct UncleanIsExcluded {
    /// The brokers that crashed and have not registered again since.
    crashed: BTreeSet<BrokerId>,
    /// The brokers whose present life has opened a log.
    opened: BTreeSet<BrokerId>,
    /// The brokers that are closing their logs: the mark of a clean stop may be written when the process ends.
    stopping: BTreeSet<BrokerId>,
    /// Who has yet to catch up with what, and in which life.
    excluded: BTreeMap<(TopicPartition, BrokerId), BrokerEpoch>,
    epoch_starts: BTreeMap<(TopicPartition, BrokerId), Offset>,
    /// When the metadata changed. The records of one batch are judged together, once time has passed.
    changed_at: Option<u64>,
}

impl UncleanIsExcluded {
    /// A new life of a broker: what an earlier one had to catch up with, this one has.
    fn registered(&mut self, ledger: &Ledger, broker: BrokerId) {
        let Some(epoch) = ledger.image.broker(broker).map(|registration| registration.epoch) else { return };
        let lives = self.excluded.iter_mut().filter(|((_, excluded), _)| *excluded == broker);
        lives.for_each(|(_, life)| *life = epoch);
        if !self.crashed.remove(&broker) {
            return;
        }
        for (of, _) in ledger.image.partitions().filter(|(_, state)| state.replicas.contains(&broker)) {
            self.excluded.insert((of, broker), epoch);
        }
    }

    fn fetched(&mut self, ledger: &Ledger, leader: BrokerId, event: &ReplicaEvent) {
        let ReplicaEvent::FollowerFetched { partition, follower, broker_epoch, fetch_offset, .. } = event else {
            return;
        };
        if self.excluded.get(&(*partition, *follower)) != Some(broker_epoch) {
            return;
        }
        let high_watermark = ledger.replica(leader, *partition).map_or(Offset::ZERO, |replica| replica.high_watermark);
        let epoch_start = self.epoch_starts.get(&(*partition, leader)).copied().unwrap_or(Offset::ZERO);
        if *fetch_offset >= high_watermark.max(epoch_start) {
            self.excluded.remove(&(*partition, *follower));
        }
    }
}

impl Invariant for UncleanIsExcluded {
    fn name(&self) -> &'static str {
        "unclean_is_excluded"
    }

    fn claim(&self) -> &'static str {
        "21: whoever starts again after a crash may not be elected before it has caught up"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if self.changed_at.is_none_or(|at| at == observed.at) {
            return Ok(());
        }
        self.changed_at = None;
        for (of, broker) in self.excluded.keys() {
            let Some(state) = ledger.image.partition(*of) else { continue };
            if state.isr.contains(broker) || state.elr.contains(broker) || state.leader == Some(*broker) {
                return Err(format!(
                    "{of}: broker {broker} has not caught up since its crash, and leader is {:?}, in sync {:?}, eligible {:?}",
                    state.leader, state.isr, state.elr
                ));
            }
        }
        Ok(())
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::Started { broker }) => drop(self.stopping.remove(&BrokerId(*broker))),
            // A life that opened no log has touched nothing: what the one before it proved still stands.
            Fact::World(WorldEvent::Crashed { broker, .. })
                if self.opened.remove(&BrokerId(*broker)) && !self.stopping.contains(&BrokerId(*broker)) =>
            {
                self.crashed.insert(BrokerId(*broker));
            }
            Fact::World(WorldEvent::Stopped { broker }) => drop(self.opened.remove(&BrokerId(*broker))),
            Fact::Log(LogEvent::Opened { .. } | LogEvent::Recovered { .. }) => {
                self.opened.insert(observed.broker);
            }
            // A replica of a topic that is gone says nothing of its broker.
            Fact::Replica(ReplicaEvent::Stopped { partition }) if ledger.image.partition(*partition).is_some() => {
                self.stopping.insert(observed.broker);
            }
            Fact::Replica(ReplicaEvent::BecameLeader { partition, leader_epoch_start_offset, .. }) => {
                self.epoch_starts.insert((*partition, observed.broker), *leader_epoch_start_offset);
            }
            Fact::Replica(event) => self.fetched(ledger, observed.broker, event),
            _ => {}
        }
        match &ledger.new_record {
            Some((_, Record::RegisterBroker { broker_id, incarnation_id, .. }, before)) => {
                let known = before.broker(*broker_id).map(|registration| registration.incarnation_id);
                if known != Some(*incarnation_id) {
                    self.registered(ledger, *broker_id);
                }
                self.changed_at = Some(observed.at);
            }
            Some((_, Record::PartitionChange { topic_id, partition, leader: Some(Some(leader)), .. }, _)) => {
                let of = TopicPartition { topic_id: *topic_id, partition: *partition };
                let state = ledger.image.partition(of).map(|state| state.leader_recovery_state);
                if state == Some(LeaderRecoveryState::Recovering) {
                    self.excluded.remove(&(of, *leader));
                }
                self.changed_at = Some(observed.at);
            }
            Some((_, Record::PartitionChange { .. }, _)) => self.changed_at = Some(observed.at),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, in_sync, orders, register},
        *,
    };
    use protocol::ids::{IncarnationId, LeaderEpoch};

    fn fetched(under: i64) -> ReplicaEvent {
        ReplicaEvent::FollowerFetched {
            partition: orders(),
            leader_epoch: LeaderEpoch(0),
            follower: BrokerId(3),
            broker_epoch: BrokerEpoch(under),
            fetch_offset: Offset(5),
        }
    }

    /// A cluster of which broker 3 has opened its log.
    fn cluster() -> Story<UncleanIsExcluded> {
        let (start, end) = (Offset(0), Offset(0));
        let opened =
            LogEvent::Opened { partition: orders(), log_start_offset: start, log_end_offset: end, cut_bytes: 0 };
        Story::new(UncleanIsExcluded::default()).cluster().log(3, opened)
    }

    #[test]
    fn a_life_that_opened_no_log_leaves_what_was_proved() {
        let crashed = |opens: bool| {
            let story = if opens { cluster() } else { Story::new(UncleanIsExcluded::default()).cluster() };
            let story = story.world(WorldEvent::Crashed { broker: 3, power: false }).record(again(3, 99));
            story.record(Record::NoOp).verdict
        };
        assert!(crashed(false).is_ok());
        assert!(crashed(true).is_err());
    }

    /// Broker 3 crashes, starts, stops in good order, starts, and fetches as one of its lives.
    fn two_lives(fetches_under: i64) -> Result<(), String> {
        let story = cluster().lead(1, 0, 0);
        let story = story.world(WorldEvent::Crashed { broker: 3, power: false }).record(in_sync(&[1, 2]));
        let story = story.record(again(3, 99)).world(WorldEvent::Stopped { broker: 3 }).record(again(3, 98));
        let story = story.replica(1, fetched(fetches_under)).record(in_sync(&[1, 2, 3]));
        story.record(Record::NoOp).verdict
    }

    #[test]
    fn a_process_that_is_killed_when_its_logs_are_closed_may_have_stopped_cleanly() {
        let story = |closes: bool| {
            let mut story = cluster();
            if closes {
                story = story.replica(3, ReplicaEvent::Stopped { partition: orders() });
            }
            let story = story.world(WorldEvent::Crashed { broker: 3, power: false }).record(again(3, 99));
            story.record(Record::NoOp).verdict
        };
        assert!(story(true).is_ok());
        assert!(story(false).is_err());
    }

    #[test]
    fn a_later_life_catches_up_for_one_that_crashed() {
        assert!(two_lives(7).is_ok());
        assert!(two_lives(6).is_err());
    }

    fn again(id: i32, incarnation: u128) -> Record {
        let Record::RegisterBroker {
            broker_id,
            listeners,
            rack,
            directories,
            fenced,
            controlled_shutdown,
            features,
            ..
        } = register(id)
        else {
            unreachable!("that is what it makes")
        };
        let incarnation_id = IncarnationId(uuid::Uuid::from_u128(incarnation));
        Record::RegisterBroker {
            broker_id,
            incarnation_id,
            listeners,
            rack,
            directories,
            fenced,
            controlled_shutdown,
            features,
        }
    }

    /// Broker 3 ends, registers anew at metadata offset 6, perhaps fetches from the high watermark on, and is in sync.
    fn story(crashes: bool, leaves: bool, fetches_from: Option<i64>) -> Result<(), String> {
        let ended =
            if crashes { WorldEvent::Crashed { broker: 3, power: false } } else { WorldEvent::Stopped { broker: 3 } };
        let mut story = cluster().lead(1, 0, 0);
        story = story.high_watermark(1, 0, 5, &[1, 2, 3], &[1, 2, 3]).world(ended);
        if leaves {
            story = story.record(in_sync(&[1, 2]));
        }
        let epoch = BrokerEpoch(if leaves { 6 } else { 5 });
        story = story.record(again(3, 99)).record(Record::NoOp);
        if let Some(offset) = fetches_from {
            story = story.replica(
                1,
                ReplicaEvent::FollowerFetched {
                    partition: orders(),
                    leader_epoch: LeaderEpoch(0),
                    follower: BrokerId(3),
                    broker_epoch: epoch,
                    fetch_offset: Offset(offset),
                },
            );
        }
        story.record(in_sync(&[1, 2, 3])).record(Record::NoOp).verdict
    }

    #[test]
    fn a_crashed_broker_that_stays_in_sync_when_it_registers_is_found() {
        assert!(story(false, false, None).is_ok());
        assert!(story(true, false, Some(5)).is_err());
    }

    #[test]
    fn a_crashed_broker_that_joins_before_it_has_caught_up_is_found() {
        assert!(story(true, true, Some(5)).is_ok());
        assert!(story(true, true, Some(4)).is_err());
        assert!(story(true, true, None).is_err());
        assert!(story(false, true, None).is_ok());
    }
}
