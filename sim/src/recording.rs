//! Everything that happened in one run, in its order: what `timeline.jsonl` holds, and what the story and the report
//! are made from.
//!
//! A run that is recorded is the same run: nothing here draws, waits or emits.

pub mod messages;
pub mod telling;

use crate::{
    event::{Impairs, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, TopicId, TopicPartition};
#[cfg(madsim)]
use runtime::simulation::net;
use runtime::{observe::NodeId, sync::Lock};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The id of whoever is no node of the cluster and no client: faults, operators, the verdict.
pub const WORLD: i32 = 0;
/// Clients have ids from here.
pub const FIRST_CLIENT: i32 = 1001;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Virtual nanoseconds since the run began.
    pub at: u64,
    /// To whom: a node by its id in the cluster, a client from [`FIRST_CLIENT`], or [`WORLD`].
    pub node: i32,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A request or a response left.
    Message {
        /// For whom.
        to: i32,
        /// The name of its API.
        api: String,
        /// The API's version.
        version: i16,
        /// A request; else the response to one.
        request: bool,
        /// How long it is.
        bytes: u64,
        /// When the last byte of it arrived; absent if it never did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arrives: Option<u64>,
    },
    /// A fault began.
    Fault {
        /// Pairs it with its end.
        id: u32,
        /// Its kind.
        fault: String,
        /// What it does to whom.
        what: String,
        /// Whom it hits.
        nodes: Vec<i32>,
    },
    /// A fault ended.
    FaultOver {
        /// As when it began.
        id: u32,
        /// Its kind.
        fault: String,
    },
    /// A process began or ended.
    Process {
        /// How.
        state: ProcessState,
    },
    /// The controllers committed who leads a partition and who is in sync.
    Committed {
        /// Topic and partition.
        partition: String,
        /// Who leads; nobody if absent.
        leader: Option<i32>,
        /// In which epoch.
        leader_epoch: i32,
        /// Who is in sync.
        isr: Vec<i32>,
    },
    /// A replica's high watermark, and where its log ended then.
    HighWatermark {
        /// Topic and partition.
        partition: String,
        /// In which epoch.
        leader_epoch: i32,
        /// By the leader; else by a follower.
        leading: bool,
        /// The high watermark.
        high_watermark: i64,
        /// One past the last offset of the log.
        log_end_offset: i64,
    },
    /// Anything else that somebody said.
    Said {
        /// In one word.
        event: String,
        /// Of which partition, if of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<String>,
        /// In a sentence whose subject is the node.
        what: String,
        /// Whether it belongs into a story of a page.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        notable: bool,
    },
    /// A line that the program logged.
    Log {
        /// `error`, `warn`, `info` or `debug`.
        level: String,
        /// The module.
        target: String,
        /// The message with its fields.
        message: String,
    },
    /// A part of the run begins.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A claim broke.
    Broken {
        /// Which.
        claim: String,
        /// The two facts that contradict each other.
        what: String,
    },
}

/// How a process began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It began.
    Started,
    /// It was killed; the machine lives.
    Killed,
    /// Its machine lost power.
    LostPower,
    /// It found nothing more that it could do.
    EndedItself,
    /// It stopped when asked.
    Stopped,
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The cluster is up, and the timeline begins.
    Story,
    /// All faults are healed.
    Healed,
    /// Every partition is whole.
    Settled,
}

/// A recording under way, which outlives a run that ends in a panic.
pub type Recorder = Arc<Lock<Recording>>;

/// Whoever logs may hold any lock: nothing is locked after it.
const RANK: u8 = u8::MAX;

/// A run's entries, as they come in.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What happened, in order.
    pub entries: Vec<Entry>,
    messages: messages::Messages,
    /// The ids that the cluster and its clients have, of the nodes of the runtime.
    ids: BTreeMap<NodeId, i32>,
    /// The names that topics have or had.
    names: BTreeMap<TopicId, String>,
}

impl Recording {
    /// An empty one, to be shared.
    pub fn recorder() -> Recorder {
        Arc::new(Lock::new(RANK, Self::default()))
    }

    /// Tells which id a node of the runtime has.
    pub fn know(&mut self, node: NodeId, id: i32) {
        self.ids.insert(node, id);
    }

    fn id_of(&self, node: NodeId) -> i32 {
        self.ids.get(&node).copied().unwrap_or(WORLD)
    }

    /// A partition by its topic's name; a topic that was deleted is known by the name that it had.
    fn name(&mut self, partition: TopicPartition, ledger: &Ledger) -> String {
        if let Some(topic) = ledger.image.topic(partition.topic_id) {
            self.names.entry(partition.topic_id).or_insert_with(|| topic.name.to_string());
        }
        match self.names.get(&partition.topic_id) {
            Some(name) => format!("{name}-{}", partition.partition),
            None => format!("{}-{}", partition.topic_id, partition.partition),
        }
    }

    /// Notes a line that a node logged.
    pub fn log(&mut self, at: u64, node: NodeId, line: What) {
        let node = self.id_of(node);
        self.add(at, node, line);
    }

    /// Notes how the run failed, unless that is known.
    pub fn failed(&mut self, at: u64, claim: &str, what: &str) {
        if !self.entries.iter().any(|entry| matches!(entry.what, What::Broken { .. })) {
            self.broken(at, claim, what);
        }
    }

    fn add(&mut self, at: u64, node: i32, what: What) {
        self.entries.push(Entry { at, node, what });
    }

    /// A part of the run begins.
    pub fn phase(&mut self, at: u64, phase: Phase) {
        self.add(at, WORLD, What::Phase { phase });
    }

    /// A claim broke.
    pub fn broken(&mut self, at: u64, claim: &str, what: &str) {
        self.add(at, WORLD, What::Broken { claim: claim.into(), what: what.into() });
    }

    /// Notes an event of a node. `accounted` says whether it is in the ledger.
    pub fn observe(&mut self, node: NodeId, observed: &Observed<'_>, ledger: &Ledger, accounted: bool) {
        let (at, node) = (observed.at, self.id_of(node));
        match observed.fact {
            Fact::World(event) => self.world(at, event, ledger),
            Fact::Replica(ReplicaEvent::HighWatermark {
                partition,
                leader_epoch,
                leading,
                high_watermark,
                log_end_offset,
                ..
            }) => {
                let what = What::HighWatermark {
                    partition: self.name(*partition, ledger),
                    leader_epoch: leader_epoch.0,
                    leading: *leading,
                    high_watermark: high_watermark.0,
                    log_end_offset: log_end_offset.0,
                };
                self.add(at, node, what);
            }
            fact => {
                let told = telling::tell(fact);
                let partition = match (told.partition, fact) {
                    (Some(partition), _) => Some(self.name(partition, ledger)),
                    (None, Fact::Client(event)) => Some(telling::place(event).to_string()),
                    (None, Fact::Member(event)) => event.what.partitions().first().map(ToString::to_string),
                    (None, _) => None,
                };
                let (event, what, notable) = (told.event.to_owned(), told.what, told.notable);
                self.add(at, node, What::Said { event, partition, what, notable });
            }
        }
        if let Some((_, record, _)) = ledger.new_record.as_ref().filter(|_| accounted) {
            self.record(at, record, ledger);
        }
    }

    fn world(&mut self, at: u64, event: &WorldEvent, ledger: &Ledger) {
        match event {
            WorldEvent::Built { .. } => {}
            WorldEvent::FaultBegan { id, kind, what, impairs } => {
                let nodes = match impairs {
                    Impairs::Nodes(nodes) => nodes.clone(),
                    Impairs::Link(one, other) => vec![*one, *other],
                };
                self.add(at, WORLD, What::Fault { id: *id, fault: (*kind).into(), what: what.clone(), nodes });
            }
            WorldEvent::FaultEnded { id, kind } => {
                self.add(at, WORLD, What::FaultOver { id: *id, fault: (*kind).into() });
            }
            WorldEvent::Operated { what } => {
                let what = format!("an operator asks for: {what}");
                self.add(at, WORLD, What::Said { event: "operated".into(), partition: None, what, notable: true });
            }
            WorldEvent::Rotted { broker, partition, offset } => {
                let what = format!("the batch at offset {offset} is damaged on the disk");
                let partition = Some(self.name(*partition, ledger));
                self.add(at, *broker, What::Said { event: "rotted".into(), partition, what, notable: true });
            }
            WorldEvent::Crashed { broker, power } => {
                let state = if *power { ProcessState::LostPower } else { ProcessState::Killed };
                self.add(at, *broker, What::Process { state });
            }
            WorldEvent::DiskReplaced { broker } => {
                let what = "the disk with its partitions is gone; it has an empty one now".to_owned();
                let event = "disk-replaced".to_owned();
                self.add(at, *broker, What::Said { event, partition: None, what, notable: true });
            }
            WorldEvent::TakenAway { broker } => {
                let (event, what) = ("taken-away".to_owned(), "it will never come back".to_owned());
                self.add(at, *broker, What::Said { event, partition: None, what, notable: true });
            }
            WorldEvent::EndedItself { broker } => {
                self.add(at, *broker, What::Process { state: ProcessState::EndedItself });
            }
            WorldEvent::Stopped { broker } => self.add(at, *broker, What::Process { state: ProcessState::Stopped }),
            WorldEvent::Started { broker } => self.add(at, *broker, What::Process { state: ProcessState::Started }),
            WorldEvent::Healed => self.phase(at, Phase::Healed),
            WorldEvent::Settled => self.phase(at, Phase::Settled),
        }
    }

    /// What the controllers have just committed.
    fn record(&mut self, at: u64, record: &Record, ledger: &Ledger) {
        let mut fenced = |broker_id: &BrokerId, event: &str, what: &str| {
            let what = What::Said { event: event.into(), partition: None, what: what.into(), notable: true };
            self.add(at, broker_id.0, what);
        };
        match record {
            Record::FenceBroker { broker_id, .. } => fenced(broker_id, "fenced", "is fenced"),
            Record::UnfenceBroker { broker_id, .. } => fenced(broker_id, "unfenced", "is no longer fenced"),
            Record::Partition { topic_id, partition, .. } | Record::PartitionChange { topic_id, partition, .. } => {
                let partition = TopicPartition { topic_id: *topic_id, partition: *partition };
                let Some(state) = ledger.image.partition(partition) else { return };
                let what = What::Committed {
                    partition: self.name(partition, ledger),
                    leader: state.leader.map(|leader| leader.0),
                    leader_epoch: state.leader_epoch.0,
                    isr: state.isr.iter().map(|id| id.0).collect(),
                };
                self.add(at, WORLD, what);
            }
            _ => {}
        }
    }

    /// Notes what happened on the network.
    #[cfg(madsim)]
    pub fn network(&mut self, at: u64, event: &net::NetworkEvent) {
        let way =
            messages::Way { connection: event.connection, from: self.id_of(event.from), to: self.id_of(event.to) };
        match event.kind {
            net::NetworkKind::Connected => self.messages.connected(way),
            net::NetworkKind::Sent => self.messages.sent(at, way, &event.payload, &mut self.entries),
            net::NetworkKind::Delivered => self.messages.delivered(at, way, event.bytes, &mut self.entries),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_that_is_read_back() {
        let message =
            |arrives| What::Message { to: 2, api: "Fetch".into(), version: 17, request: true, bytes: 90, arrives };
        let said = What::Said { event: "diverged".into(), partition: None, what: "cuts".into(), notable: true };
        for what in [message(Some(7)), message(None), said, What::Process { state: ProcessState::LostPower }] {
            let entry = Entry { at: 5, node: 1, what };
            let line = serde_json::to_string(&entry).expect("it is JSON");
            assert!(!line.contains('\n') && line.contains("\"kind\":"), "{line}");
            assert_eq!(serde_json::from_str::<Entry>(&line).expect("it is read"), entry);
        }
    }

    #[test]
    fn a_failure_is_told_once_and_lines_have_the_ids_of_the_cluster() {
        let mut recording = Recording::default();
        recording.know(NodeId(7), 101);
        let line = What::Log { level: "warn".into(), target: "broker".into(), message: "oh".into() };
        recording.log(15, NodeId(7), line.clone());
        recording.log(16, NodeId(8), line);
        recording.broken(17, "settles", "it does not");
        recording.failed(18, "settles", "it does not");
        assert_eq!(recording.entries.iter().map(|entry| entry.node).collect::<Vec<_>>(), [101, WORLD, WORLD]);
    }
}
