//! Pure. The story of a run: one line a fault, a leader, an in-sync set, a fencing, and the end.
//!
//! Times are whole seconds, so that the story moves when behaviour moves and not otherwise.

use crate::{
    event::WorldEvent,
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, LeaderEpoch, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What the story last said of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    isr: BTreeSet<BrokerId>,
}

/// See the module.
#[derive(Default)]
pub struct Timeline {
    lines: Vec<String>,
    told: BTreeMap<TopicPartition, Told>,
    active: Option<(i32, u64)>,
    began_at: Option<u64>,
}

impl Timeline {
    /// The story begins now: what was before is preparation.
    pub fn begin(&mut self, now: u64, ledger: &Ledger) {
        self.lines.clear();
        self.began_at = Some(now);
        let partitions: Vec<TopicPartition> = self.told.keys().copied().collect();
        self.told.clear();
        partitions.into_iter().for_each(|partition| self.partition(now, partition, ledger));
    }

    /// The lines so far.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The controller that was activated last, by the largest Raft term.
    pub fn active_controller(&self) -> Option<i32> {
        self.active.map(|(id, _)| id)
    }

    /// Adds a line of the run's own.
    pub fn say(&mut self, at: u64, what: &str, how: &str) {
        let seconds = at.saturating_sub(self.began_at.unwrap_or(at)) / 1_000_000_000;
        self.lines.push(format!("{seconds:>4}s  {what:<11} {how}").trim_end().to_string());
    }

    /// Tells what is worth telling of an event, after the ledger has accounted for it.
    pub fn observe(&mut self, observed: &Observed<'_>, ledger: &Ledger) {
        let at = observed.at;
        match observed.fact {
            Fact::World(WorldEvent::FaultBegan { what, .. }) => self.say(at, "FAULT", what),
            Fact::World(WorldEvent::FaultEnded { kind, .. }) => self.say(at, "END", kind),
            Fact::World(WorldEvent::Operated { what }) => self.say(at, "OPERATOR", what),
            Fact::World(WorldEvent::DiskReplaced { broker }) => {
                self.say(at, &format!("broker {broker}"), "has an empty disk now");
            }
            Fact::World(WorldEvent::TakenAway { broker }) => self.say(at, "GONE", &format!("node {broker}, for good")),
            Fact::World(WorldEvent::EndedItself { broker }) => {
                self.say(at, &format!("broker {broker}"), "ended itself")
            }
            Fact::Replica(ReplicaEvent::Damaged { partition }) => {
                let topic = ledger.image.topic(partition.topic_id).map_or("?", |topic| &*topic.name);
                let how = format!("finds its {topic}-{} damaged", partition.partition);
                self.say(at, &format!("broker {}", observed.broker), &how);
            }
            Fact::World(WorldEvent::Healed) => self.say(at, "HEAL", "everything"),
            Fact::Controller(ControllerEvent::Activated { term })
                if self.active.is_none_or(|(_, known)| known < *term) =>
            {
                self.active = Some((observed.broker.0, *term));
                self.say(at, "controller", &format!("{} is active", observed.broker));
            }
            _ => {}
        }
        let Some((_, record, _)) = &ledger.new_record else { return };
        match record {
            Record::FenceBroker { broker_id, .. } => self.say(at, &format!("broker {broker_id}"), "fenced"),
            Record::UnfenceBroker { broker_id, .. } => self.say(at, &format!("broker {broker_id}"), "unfenced"),
            Record::Partition { topic_id, partition, .. } | Record::PartitionChange { topic_id, partition, .. } => {
                self.partition(at, TopicPartition { topic_id: *topic_id, partition: *partition }, ledger);
            }
            _ => {}
        }
    }

    fn partition(&mut self, at: u64, partition: TopicPartition, ledger: &Ledger) {
        let (Some(topic), Some(state)) = (ledger.image.topic(partition.topic_id), ledger.image.partition(partition))
        else {
            return;
        };
        let isr = state.isr.iter().copied().collect();
        let now = Told { leader: state.leader, leader_epoch: state.leader_epoch, isr };
        let before = self.told.insert(partition, now.clone());
        if before.as_ref() == Some(&now) {
            return;
        }
        let name = format!("{}-{}", topic.name, partition.partition);
        let leader = |leader: Option<BrokerId>| leader.map_or("none".into(), |leader| leader.to_string());
        let change = |old: Option<String>, new: String| match old {
            Some(old) if old != new => format!("{old} -> {new}"),
            _ => new,
        };
        let before = before.as_ref();
        let how = format!(
            "leader {}  epoch {}  isr {}",
            change(before.map(|told| leader(told.leader)), leader(now.leader)),
            change(before.map(|told| told.leader_epoch.to_string()), now.leader_epoch.to_string()),
            change(before.map(|told| list(&told.isr)), list(&now.isr)),
        );
        self.say(at, &name, &how);
    }
}

fn list(brokers: &BTreeSet<BrokerId>) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
