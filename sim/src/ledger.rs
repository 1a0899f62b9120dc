//! Pure. What is true of the cluster, learned from events alone: every replica's log, what was ever committed, who runs
//! under which epoch, what the controllers decided. Invariants read it; nothing here asks a broker.
//!
//! One ledger serves all invariants, so that each event is accounted for once.

use crate::event::{Budget, NamedPartition, WorldEvent};
use crate::observed::{Fact, Observed};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use metadata::{
    delta,
    image::Image,
    record::{ConfigResource, Record},
};
use protocol::ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataOffset, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

mod agreement;
mod budget;
mod cleaned;
mod groups;
mod logs;

pub use agreement::Disagreement;
pub use cleaned::Cleaned;
pub use groups::GroupLogs;

/// One batch in a replica's log, by its outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// First offset.
    pub base_offset: Offset,
    /// Last offset.
    pub last_offset: Offset,
    /// The leader epoch stamped into it.
    pub leader_epoch: LeaderEpoch,
    /// Its CRC-32C: stands for its bytes.
    pub crc: u32,
    /// Who produced it.
    pub producer_id: ProducerId,
    /// In which epoch of the producer.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of its first record.
    pub base_sequence: Sequence,
}

impl Batch {
    /// One past the last offset.
    pub fn end(&self) -> Offset {
        self.last_offset.plus(1)
    }
}

/// A run of batches without gaps.
#[derive(Clone, Debug, Default)]
pub struct Batches {
    batches: Vec<Batch>,
}

impl Batches {
    /// The batches, by offset.
    pub fn all(&self) -> &[Batch] {
        &self.batches
    }

    /// One past the last offset; zero when empty.
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, Batch::end)
    }

    /// The batch that begins at this offset.
    pub fn at(&self, base_offset: Offset) -> Option<&Batch> {
        self.position(base_offset).ok().map(|at| &self.batches[at])
    }

    /// The batch that holds this offset.
    pub fn holding(&self, offset: Offset) -> Option<&Batch> {
        let batch = self.batches.get(self.batches.partition_point(|batch| batch.last_offset < offset))?;
        (batch.base_offset <= offset).then_some(batch)
    }

    /// The batches that begin in `[from, to)`.
    pub fn between(&self, from: Offset, to: Offset) -> &[Batch] {
        let (first, end) = (self.batches.partition_point(|batch| batch.base_offset < from), self.count_below(to));
        &self.batches[first.min(end)..end]
    }

    fn count_below(&self, offset: Offset) -> usize {
        self.batches.partition_point(|batch| batch.base_offset < offset)
    }

    fn position(&self, base_offset: Offset) -> Result<usize, usize> {
        self.batches.binary_search_by_key(&base_offset, |batch| batch.base_offset)
    }

    fn push(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn truncate(&mut self, to: Offset) {
        let keep = self.batches.partition_point(|batch| batch.end() <= to);
        self.batches.truncate(keep);
    }
}

/// One replica of one partition, as its own events describe it.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// Its log.
    pub log: Batches,
    /// Where its log begins.
    pub log_start_offset: Offset,
    /// Where its log ends, for a log that was restarted at an offset and is empty.
    pub log_end_offset: Offset,
    /// Everything below this was on the device when last told.
    pub synced: Offset,
    /// Its high watermark, by its last event.
    pub high_watermark: Offset,
    /// The leader epoch it leads in, while it leads.
    pub leading: Option<LeaderEpoch>,
    /// The committed in-sync replicas as it knows them, while it leads.
    pub isr: BTreeSet<BrokerId>,
    /// The maximal in-sync replicas by its last high watermark event.
    pub maximal_isr: BTreeSet<BrokerId>,
    /// While it leads: the broker epochs under which its followers last fetched from it.
    pub fetched_under: BTreeMap<BrokerId, BrokerEpoch>,
    /// A truncation that may not be on the device: to where, and from where.
    pub cut_from: Option<(Offset, Offset)>,
    /// It was to begin anew, and has not yet: what it had is nothing that anybody counts on.
    pub emptying: bool,
    /// One past what a write that failed may have left a part of, since the log was opened.
    pub writing: Offset,
    /// What a recovery under way has gone through.
    recovered: Vec<Batch>,
    /// Its log equals what is committed up to here.
    agreed: Offset,
    /// It ended without a clean stop, and the controllers have not taken its new life into the in-sync replicas since.
    pub unclean: bool,
    /// And it lost bytes that were not on the device.
    pub damaged: bool,
}

/// One node of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its process runs.
    pub running: bool,
    /// The epoch of its current registration, once it has one.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Its replicas.
    pub replicas: BTreeMap<TopicPartition, Replica>,
    /// Those that it had, and deleted.
    deleted: BTreeMap<TopicPartition, Replica>,
}

/// What was ever below a legitimate leader's high watermark.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// The batches, by offset.
    pub log: Batches,
    /// The largest high watermark that a leader ever set.
    pub true_high_watermark: Offset,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    /// How many nodes are controllers.
    pub controllers: usize,
    /// How much may be lost in this run.
    pub budget: Budget,
    /// Virtual time of the last event, in nanoseconds.
    pub now: u64,
    /// The nodes, by id.
    pub nodes: BTreeMap<BrokerId, Node>,
    /// What was committed, by partition.
    pub committed: BTreeMap<TopicPartition, Committed>,
    /// The cluster's metadata, as far as any node has applied it.
    pub image: Image,
    /// The image before each of the last records, by next offset, to compare snapshots with.
    images: BTreeMap<MetadataOffset, Image>,
    /// Faults begun, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Leader changes: to another broker than led last.
    pub leader_changes: u64,
    last_leader: BTreeMap<TopicPartition, BrokerId>,
    /// `min(min.insync.replicas, replicas)` by partition, as its leaders last said.
    pub min_isr: BTreeMap<TopicPartition, usize>,
    /// The smallest of those: what was acknowledged under it is promised no more than it.
    min_isr_least: BTreeMap<TopicPartition, usize>,
    /// Up to where any replica has deleted from the beginning of its log.
    pub deleted: BTreeMap<TopicPartition, Offset>,
    /// The batches that the last event committed, with their partition.
    pub newly_committed: Vec<(TopicPartition, Batch)>,
    /// What coordinators wrote of groups.
    pub groups: GroupLogs,
    /// What cleaners took out of logs.
    cleaned: BTreeMap<TopicPartition, Cleaned>,
    /// What rotted, until it was copied anew.
    rot: BTreeMap<(BrokerId, TopicPartition), budget::Rot>,
    /// The metadata record that the last event brought for the first time, with the image before it.
    pub new_record: Option<(MetadataOffset, Record, Image)>,
}

/// No broker has this epoch.
const NO_LIFE: BrokerEpoch = BrokerEpoch(-1);
/// How many images are kept to compare late snapshots with.
const IMAGES_KEPT: usize = 4096;

impl Ledger {
    /// Accounts for one event.
    pub fn apply(&mut self, observed: &Observed<'_>) {
        self.now = observed.at;
        self.newly_committed.clear();
        self.new_record = None;
        match observed.fact {
            Fact::Log(event) => self.log_event(observed.broker, event),
            Fact::Replica(event) => self.replica_event(observed.broker, event),
            Fact::Controller(event) => self.controller_event(event),
            Fact::World(event) => self.world_event(event),
            Fact::Client(_) | Fact::Member(_) => {}
        }
    }

    /// One replica, if its node ever had it.
    pub fn replica(&self, broker: BrokerId, partition: TopicPartition) -> Option<&Replica> {
        self.nodes.get(&broker)?.replicas.get(&partition)
    }

    /// Whether the broker's process runs under the epoch that the controllers hold: only then is it what they speak of.
    pub fn is_current(&self, broker: BrokerId) -> bool {
        let held = self.image.broker(broker).map(|registration| registration.epoch);
        self.nodes
            .get(&broker)
            .is_some_and(|node| node.running && node.broker_epoch.is_some() && node.broker_epoch == held)
    }

    /// Whether the leader last heard of the follower from another life of it than the one that runs: what it counts on may
    /// be lost, and the controllers do not count on it.
    pub fn is_another_life(&self, leader: BrokerId, partition: TopicPartition, follower: BrokerId) -> bool {
        let heard = self.replica(leader, partition).and_then(|replica| replica.fetched_under.get(&follower));
        let runs = self.nodes.get(&follower).and_then(|node| node.broker_epoch);
        heard.is_some_and(|heard| Some(*heard) != runs)
    }

    /// A partition by the names that clients know, as long as there is such a topic.
    pub fn named(&self, name: &NamedPartition) -> Option<TopicPartition> {
        let topic = self.image.topic_by_name(&name.topic)?;
        Some(TopicPartition { topic_id: topic.id, partition: name.partition })
    }

    /// Up to where records were deleted from a partition by the names that clients know.
    pub fn deleted_by_name(&self, name: &NamedPartition) -> Offset {
        self.named(name).and_then(|of| self.deleted.get(&of).copied()).unwrap_or(Offset::ZERO)
    }

    /// The image whose next offset is this, while it is remembered.
    pub fn image_at(&self, next: MetadataOffset) -> Option<&Image> {
        self.images.get(&next)
    }

    /// A broker to which a partition no longer belongs has dropped its log: a leader that has not heard of it yet does not
    /// speak of the one that it begins when the partition comes back.
    fn left(&mut self, broker: BrokerId, of: TopicPartition) {
        if self.image.partition(of).is_some_and(|state| state.replicas.contains(&broker)) {
            return;
        }
        let copies = self.nodes.values_mut().filter_map(|node| node.replicas.get_mut(&of));
        for leader in copies.filter(|replica| replica.leading.is_some()) {
            leader.fetched_under.insert(broker, NO_LIFE);
        }
    }

    fn replica_event(&mut self, broker: BrokerId, event: &ReplicaEvent) {
        match event {
            ReplicaEvent::Registered { broker_epoch } => {
                self.nodes.entry(broker).or_default().broker_epoch = Some(*broker_epoch);
            }
            ReplicaEvent::GroupsWritten { .. } => self.groups.observe(event),
            ReplicaEvent::MetadataApplied { offset, record } => self.record(*offset, record),
            ReplicaEvent::BecameLeader { partition, leader_epoch, isr, high_watermark, .. } => {
                let replica = self.replica_mut(broker, *partition);
                if replica.leading.replace(*leader_epoch) != Some(*leader_epoch) {
                    replica.fetched_under.clear();
                }
                replica.isr.clone_from(isr);
                replica.maximal_isr.clone_from(isr);
                replica.high_watermark = *high_watermark;
            }
            ReplicaEvent::BecameFollower { partition, high_watermark, .. } => {
                let replica = self.replica_mut(broker, *partition);
                replica.leading = None;
                replica.high_watermark = *high_watermark;
            }
            ReplicaEvent::HighWatermark {
                partition,
                leading,
                high_watermark,
                isr,
                maximal_isr,
                effective_min_isr,
                ..
            } => {
                if *leading {
                    self.min_isr.insert(*partition, *effective_min_isr);
                    let least = self.min_isr_least.entry(*partition).or_insert(*effective_min_isr);
                    *least = (*least).min(*effective_min_isr);
                }
                let replica = self.replica_mut(broker, *partition);
                replica.high_watermark = *high_watermark;
                if *leading {
                    replica.isr.clone_from(isr);
                    replica.maximal_isr.clone_from(maximal_isr);
                    self.commit(broker, *partition, *high_watermark);
                }
            }
            ReplicaEvent::FollowerFetched { partition, follower, broker_epoch, .. } => {
                self.replica_mut(broker, *partition).fetched_under.insert(*follower, *broker_epoch);
            }
            ReplicaEvent::IsrProposed { partition, isr, proposed, .. } => {
                let replica = self.replica_mut(broker, *partition);
                replica.isr.clone_from(isr);
                replica.maximal_isr = isr.union(proposed).copied().collect();
            }
            ReplicaEvent::IsrCommitted { partition, isr, .. } => {
                let replica = self.replica_mut(broker, *partition);
                replica.isr.clone_from(isr);
                replica.maximal_isr.clone_from(isr);
            }
            ReplicaEvent::Stopped { partition } => self.replica_mut(broker, *partition).leading = None,
            ReplicaEvent::MetadataSnapshot { .. }
            | ReplicaEvent::MetadataImage { .. }
            | ReplicaEvent::OutOfRange { .. }
            | ReplicaEvent::ProduceWaits { .. }
            | ReplicaEvent::ProduceWaited { .. }
            | ReplicaEvent::Acknowledged { .. }
            | ReplicaEvent::Damaged { .. }
            | ReplicaEvent::CoordinatorLoaded { .. }
            | ReplicaEvent::BrokenBatch { .. }
            | ReplicaEvent::Diverged { .. } => {}
        }
    }

    fn controller_event(&mut self, event: &ControllerEvent) {
        if let ControllerEvent::Applied { offset, record } = event {
            self.record(*offset, record);
        }
    }

    fn world_event(&mut self, event: &WorldEvent) {
        match event {
            WorldEvent::Built { controllers, budget, .. } => {
                (self.controllers, self.budget) = (*controllers as usize, *budget);
            }
            WorldEvent::FaultBegan { kind, .. } => *self.faults.entry(kind).or_default() += 1,
            WorldEvent::Crashed { broker, power } => {
                let node = self.nodes.entry(BrokerId(*broker)).or_default();
                (node.running, node.broker_epoch) = (false, None);
                for replica in node.replicas.values_mut() {
                    replica.leading = None;
                    // A recovery that did not come to its end begins anew.
                    replica.recovered.clear();
                    replica.unclean = true;
                    replica.damaged |= *power && replica.log_end_offset > replica.synced;
                }
            }
            WorldEvent::DiskReplaced { broker } => {
                let node = self.nodes.entry(BrokerId(*broker)).or_default();
                node.deleted.clear();
                for replica in node.replicas.values_mut() {
                    *replica = Replica { unclean: true, damaged: true, ..Replica::default() };
                }
                self.rot_is_lost(BrokerId(*broker));
            }
            WorldEvent::Stopped { broker } => {
                let node = self.nodes.entry(BrokerId(*broker)).or_default();
                (node.running, node.broker_epoch) = (false, None);
                node.replicas.values_mut().for_each(|replica| replica.leading = None);
            }
            WorldEvent::Started { broker } => self.nodes.entry(BrokerId(*broker)).or_default().running = true,
            WorldEvent::Rotted { broker, partition, offset } => self.rots(BrokerId(*broker), *partition, *offset),
            WorldEvent::FaultEnded { .. }
            | WorldEvent::Operated { .. }
            | WorldEvent::EndedItself { .. }
            | WorldEvent::TakenAway { .. }
            | WorldEvent::Healed
            | WorldEvent::Settled => {}
        }
    }

    fn replica_mut(&mut self, broker: BrokerId, partition: TopicPartition) -> &mut Replica {
        self.nodes.entry(broker).or_default().replicas.entry(partition).or_default()
    }

    /// A leader's high watermark reached `to`: everything of its log below is committed now.
    fn commit(&mut self, leader: BrokerId, partition: TopicPartition, to: Offset) {
        let committed = self.committed.entry(partition).or_default();
        if to <= committed.true_high_watermark {
            return;
        }
        let Some(replica) = self.nodes.get(&leader).and_then(|node| node.replicas.get(&partition)) else { return };
        for batch in replica.log.between(committed.log.end(), to) {
            committed.log.push(*batch);
            self.newly_committed.push((partition, *batch));
        }
        committed.true_high_watermark = to;
    }

    fn record(&mut self, offset: MetadataOffset, record: &Record) {
        if offset < self.image.offset() {
            return;
        }
        let before = self.image.clone();
        delta::apply(&mut self.image, offset, record);
        if let Record::Partition { topic_id, partition, .. } | Record::PartitionChange { topic_id, partition, .. } =
            record
        {
            let of = TopicPartition { topic_id: *topic_id, partition: *partition };
            self.partition_changed(of);
        }
        if let Record::Config { resource: ConfigResource::Topic(topic), name, value } = record
            && name == "min.insync.replicas"
        {
            self.least_min_isr(topic, value.as_deref().and_then(|value| value.parse().ok()).unwrap_or(1));
        }
        self.images.insert(self.image.offset(), self.image.clone());
        if self.images.len() > IMAGES_KEPT {
            self.images.pop_first();
        }
        self.new_record = Some((offset, record.clone(), before));
    }
}

impl Ledger {
    /// While a topic asks for so few in sync, a leader alone may be all that is in sync, and nobody else is eligible
    /// (KIP-966): whether or not it acknowledges anything meanwhile, no more is promised.
    fn least_min_isr(&mut self, topic: &str, asked: usize) {
        let Some(topic) = self.image.topic_by_name(topic) else { return };
        for (partition, state) in topic.partitions() {
            let of = TopicPartition { topic_id: topic.id, partition };
            let effective = asked.min(state.replicas.len());
            let least = self.min_isr_least.entry(of).or_insert(effective);
            *least = (*least).min(effective);
        }
    }

    fn partition_changed(&mut self, of: TopicPartition) {
        let Some(state) = self.image.partition(of) else { return };
        let (leader, isr, replicas) = (state.leader, state.isr.clone(), state.replicas.len());
        // Of fewer replicas no more are asked for, whether or not their leader has said so yet.
        for asked in [self.min_isr.get_mut(&of), self.min_isr_least.get_mut(&of)].into_iter().flatten() {
            *asked = (*asked).min(replicas);
        }
        if let Some(leader) = leader {
            let last = self.last_leader.insert(of, leader);
            self.leader_changes += u64::from(last.is_some_and(|last| last != leader));
        }
        for member in isr.into_iter().filter(|member| self.is_current(*member)).collect::<Vec<_>>() {
            let replica = self.replica_mut(member, of);
            (replica.unclean, replica.damaged) = (false, false);
            self.rot_is_mended(member, of);
        }
    }
}

impl Replica {
    fn cut(&mut self, to: Offset) {
        self.log.truncate(to);
        self.synced = self.synced.min(to);
        self.agreed = self.agreed.min(to);
        self.high_watermark = self.high_watermark.min(to);
    }
}
