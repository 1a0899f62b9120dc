//! Every replica on this broker, and what the metadata makes of each.
//!
//! It never decides who leads or what is committed: it brings the metadata's changes to the partitions ([`crate::partition`])
//! and says what is to be copied from whom. It takes no part until the metadata holds this very start of the broker: what
//! came before is history, and acting on it would undo what the logs know better. Driven by the metadata cache, which
//! gives it every image in order.

mod checkpoints;
mod cleaning;
mod creation;
mod deletion;
mod loading;
pub mod moving;

pub use cleaning::{Cleaned, CleanerStanding};
pub use loading::{LoadError, Loaded, Outgoing, PartitionsConfig};

use crate::partition::context::ReplicaContext;
use crate::partition::state::PartitionUpdate;
use crate::partition::{
    Partition, Updated,
    settings::{Settings, Throttled},
};
use metadata::config::effective::{Layers, broker_long};
use metadata::config::{Properties, TimestampType as TopicTimestampType, TopicConfig};
use metadata::delta::Changes;
use metadata::image::{Image, PartitionImage};
use metadata::record::ConfigResource;
use protocol::ids::{BrokerId, DirectoryId, IncarnationId, LeaderEpoch, PartitionIndex, TopicPartition};
use protocol::record_batch::TimestampType;
use runtime::disk::{DirectoryLock, Disk};
use runtime::sync::{AsyncMutex, Lock, Notify, Semaphore, mpsc};
use runtime::{mutant, mutant_diverged, observe, reachable, sometimes, task};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::event::LogEvent;
use storage::{Checkpoint, LogConfig};

/// How many logs are created, and epochs made durable, at once: each of them waits for the device, on a thread.
const AT_ONCE: usize = 64;

/// The rank of the list of replicas: a partition's lock may be taken under it.
const RANK: u8 = 5;

/// Something that fetchers must do.
#[derive(Clone, Debug)]
pub enum FetchChange {
    /// Copy this partition from this leader, in this leader epoch.
    Follow {
        /// What to copy.
        partition: Arc<Partition>,
        /// From whom.
        leader: BrokerId,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
    },
    /// Copy this partition no more.
    Stop {
        /// What was copied.
        partition: TopicPartition,
    },
}

/// One log directory.
struct Directory {
    disk: Disk,
    id: DirectoryId,
    failed: AtomicBool,
    /// What the checkpoint files hold, and the right to replace them.
    checkpoints: AsyncMutex<Checkpoints>,
    _lock: DirectoryLock,
}

/// A log directory, for whoever describes it.
#[derive(Clone, Debug)]
pub struct DirectoryDescription {
    /// Where it is.
    pub disk: Disk,
    /// Whether its disk failed.
    pub failed: bool,
}

#[derive(Default)]
struct Checkpoints {
    high_watermarks: Checkpoint,
    recovery_points: Checkpoint,
    log_starts: Checkpoint,
    cleaned: Checkpoint,
}

/// A replica that the metadata assigns to this broker, or did when the broker stopped.
#[derive(Clone)]
enum Hosted {
    /// Its log is open. It may be offline.
    Here(Arc<Partition>),
    /// Its log is being created.
    Creating,
}

#[derive(Default)]
struct Replicas {
    hosted: BTreeMap<TopicPartition, Hosted>,
    /// The directory names for which a log is being created.
    creating: BTreeSet<String>,
    /// Logs that were found at the start and that no metadata has spoken of yet.
    found: BTreeMap<TopicPartition, Arc<Partition>>,
    /// Whether the metadata holds this start of the broker.
    takes_part: bool,
    stopped: bool,
}

/// Replicas that move between directories.
#[derive(Default)]
struct Moves {
    underway: BTreeMap<TopicPartition, moving::Move>,
    /// Where replicas are to be created that are not here yet.
    preferred: BTreeMap<TopicPartition, usize>,
    /// What was moving when the broker stopped: topic, partition, and where to.
    interrupted: Vec<(String, PartitionIndex, usize)>,
}

/// Every replica on this broker.
pub struct Partitions {
    context: Arc<ReplicaContext>,
    properties: Arc<Properties>,
    incarnation_id: IncarnationId,
    directories: Vec<Directory>,
    /// Log directories that could not be used at the start.
    refused: Vec<Disk>,
    replicas: Lock<Replicas>,
    fetching: mpsc::UnboundedSender<FetchChange>,
    moves: Lock<Moves>,
    failures: Lock<Option<mpsc::UnboundedReceiver<usize>>>,
    /// Woken when a log directory fails.
    failed: Notify,
    /// The right to wait for the device.
    device: Arc<Semaphore>,
    cleaner: Lock<CleanerStanding>,
}

impl Partitions {
    /// What all replicas share.
    pub fn context(&self) -> &Arc<ReplicaContext> {
        &self.context
    }

    /// The log directories that have not failed, for the broker's registration and its heartbeats.
    pub fn online_directories(&self) -> Vec<DirectoryId> {
        self.directories.iter().filter(|directory| !directory.has_failed()).map(|directory| directory.id).collect()
    }

    /// The log directories whose disks failed.
    pub fn failed_directories(&self) -> Vec<DirectoryId> {
        self.directories.iter().filter(|directory| directory.has_failed()).map(|directory| directory.id).collect()
    }

    /// Every log directory, in the order of their numbers; after those the ones that could not be used at the start.
    pub fn describe_directories(&self) -> Vec<DirectoryDescription> {
        let describe = |directory: &Directory| DirectoryDescription {
            disk: directory.disk.clone(),
            failed: directory.has_failed(),
        };
        let refused = self.refused.iter().map(|disk| DirectoryDescription { disk: disk.clone(), failed: true });
        self.directories.iter().map(describe).chain(refused).collect()
    }

    /// Waits until every log directory has failed: then the broker can do nothing but stop (`LogManager`, KIP-112).
    pub async fn all_directories_failed(&self) {
        loop {
            let failed = self.failed.notified();
            if self.online_directories().is_empty() {
                return;
            }
            failed.await;
        }
    }

    /// The replica of a partition, if this broker has one whose log is open.
    pub fn get(&self, of: TopicPartition) -> Option<Arc<Partition>> {
        match self.replicas.lock().hosted.get(&of) {
            Some(Hosted::Here(partition)) => Some(partition.clone()),
            Some(Hosted::Creating) | None => None,
        }
    }

    /// Every replica whose log is open.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.replicas.lock().here().collect()
    }

    /// Time passed: leaders look for followers that lag.
    pub fn tick(&self) {
        self.all().iter().for_each(|partition| partition.tick());
    }

    /// Takes the next image and what changed in it. Never waits: what must (creating a log, making an epoch durable) goes
    /// on by itself, and is overtaken by newer metadata where that comes first.
    pub fn apply(self: &Arc<Self>, image: &Image, changes: &Changes) {
        let image = Arc::new(image.clone());
        self.context.image.set(image.clone());
        let takes_part = {
            let replicas = self.replicas.lock();
            if replicas.stopped {
                return;
            }
            replicas.takes_part
        };
        if !takes_part {
            let registered = image.broker(self.context.local).map(|broker| broker.incarnation_id);
            if registered == Some(self.incarnation_id) {
                self.take_part(&image);
            }
            return;
        }
        for topic in changes.topics_removed.values() {
            for (partition, _) in topic.partitions() {
                self.remove(TopicPartition { topic_id: topic.id, partition });
            }
        }
        let reconfigured = Reconfigured::new(&changes.configs, self.context.local);
        if reconfigured.all_topics {
            self.configure_throttles(&image);
        }
        if mutant!("S33") && !changes.partitions.is_empty() && !reconfigured.is_empty() {
            mutant_diverged!("S33");
            self.reconfigure(&image, &reconfigured, &BTreeSet::new());
        }
        for of in &changes.partitions {
            self.place(&image, *of, &reconfigured);
        }
        if !reconfigured.is_empty() {
            // Those whose place changed too had both at once.
            self.reconfigure(&image, &reconfigured, &changes.partitions);
        }
        if !changes.brokers.is_empty() {
            self.all().iter().for_each(|partition| partition.on_brokers_changed());
        }
    }

    /// The metadata holds this start of the broker: from here on it says what this broker keeps. Logs that it does not
    /// assign to this broker are set aside, and never used again (KAFKA-14616).
    fn take_part(self: &Arc<Self>, image: &Arc<Image>) {
        self.replicas.lock().takes_part = true;
        self.configure_throttles(image);
        for (of, partition) in image.partitions() {
            if partition.replicas.contains(&self.context.local) {
                self.place(image, of, &Reconfigured::default());
            }
        }
        self.resume_moves(image);
        let stray = std::mem::take(&mut self.replicas.lock().found);
        sometimes!(!stray.is_empty(), "a log was found that the metadata does not assign to this broker");
        for partition in stray.into_values() {
            tracing::warn!(partition = %partition.id(), topic = %partition.topic(), "a stray log is set aside");
            partition.stop();
            if !mutant!("Z12") {
                self.set_aside(partition.directory(), &partition.directory_name());
                observe::emit(|| LogEvent::Deleted { partition: partition.id() });
            }
        }
    }

    /// Gives a partition the place that the metadata gives it: here, in some role, or not here.
    fn place(self: &Arc<Self>, image: &Image, of: TopicPartition, reconfigured: &Reconfigured) {
        let state = image.partition(of).filter(|state| state.replicas.contains(&self.context.local));
        let (Some(state), Some(topic)) = (state, image.topic(of.topic_id)) else {
            self.remove(of);
            return;
        };
        let lost = is_replaceable(state, self.context.local);
        let (partition, damaged) = {
            let mut replicas = self.replicas.lock();
            match replicas.hosted.get(&of).cloned() {
                Some(Hosted::Here(damaged)) if lost && damaged.is_damaged() => {
                    replicas.hosted.insert(of, Hosted::Creating);
                    (None, Some(damaged))
                }
                Some(Hosted::Here(partition)) => {
                    if lost {
                        self.correct_assignment(image, &partition);
                    }
                    (Some(partition), None)
                }
                // Whoever creates it looks at the newest metadata afterwards.
                Some(Hosted::Creating) => return,
                None => {
                    let (found, damaged) = match replicas.found.remove(&of) {
                        damaged if lost => (None, damaged),
                        found => (found, None),
                    };
                    let hosted = found.clone().map_or(Hosted::Creating, Hosted::Here);
                    replicas.hosted.insert(of, hosted);
                    if let Some(found) = &found {
                        found.set_config(self.settings(image, found));
                        self.correct_assignment(image, found);
                    }
                    (found, damaged)
                }
            }
        };
        if let Some(damaged) = damaged {
            self.discard_damaged(&damaged);
        }
        match partition {
            Some(partition) => {
                let settings = reconfigured.concerns(&partition).then(|| self.settings(image, &partition));
                self.update(&partition, state, settings);
            }
            None => {
                let (partitions, topic) = (self.clone(), topic.name.clone());
                task::spawn(async move { partitions.create(of, topic).await });
            }
        }
    }

    /// Others have all that is committed of this replica's partition, and it is of no use: it is set aside, to be copied
    /// anew.
    fn discard_damaged(&self, damaged: &Partition) {
        reachable!("a damaged replica is copied anew");
        tracing::warn!(partition = %damaged.id(), topic = %damaged.topic(), "a damaged log is set aside");
        self.moves.lock().underway.remove(&damaged.id());
        self.change_fetching(FetchChange::Stop { partition: damaged.id() });
        damaged.stop();
        self.set_aside(damaged.directory(), &damaged.directory_name());
        observe::emit(|| LogEvent::Deleted { partition: damaged.id() });
    }

    /// Brings the metadata of a partition, and settings that changed with it, to its replica, and what that makes of it to the
    /// fetchers.
    fn update(self: &Arc<Self>, partition: &Arc<Partition>, state: &PartitionImage, settings: Option<Settings>) {
        let update = PartitionUpdate {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            replicas: &state.replicas,
            isr: &state.isr,
        };
        match partition.update(&update, settings) {
            Updated::Ignored | Updated::Leads | Updated::Follows { new_epoch: false, .. } => {}
            Updated::Elected(election) => {
                self.change_fetching(FetchChange::Stop { partition: partition.id() });
                let device = self.device.clone();
                task::spawn(async move {
                    let _turn = device.acquire().await;
                    election.finish().await;
                });
            }
            Updated::Follows { new_epoch: true, leader: None, .. } => {
                self.change_fetching(FetchChange::Stop { partition: partition.id() });
            }
            Updated::Follows { new_epoch: true, leader: Some(leader), leader_epoch } => {
                self.change_fetching(FetchChange::Follow { partition: partition.clone(), leader, leader_epoch });
            }
        }
    }

    /// The metadata does not assign the partition to this broker any more: its directory is renamed at once, so that
    /// another one may have its name, and removed later.
    fn remove(self: &Arc<Self>, of: TopicPartition) {
        let removed = self.replicas.lock().hosted.remove(&of);
        let Some(Hosted::Here(partition)) = removed else { return };
        tracing::info!(partition = %of, topic = %partition.topic(), "a replica is removed");
        self.moves.lock().underway.remove(&of);
        self.change_fetching(FetchChange::Stop { partition: of });
        self.delete(&partition);
    }

    fn change_fetching(&self, change: FetchChange) {
        // A receiver that is gone has stopped already.
        let _ = self.fetching.send(change);
    }

    /// Brings changed settings to the replicas that they concern, but for some.
    fn reconfigure(&self, image: &Image, reconfigured: &Reconfigured, except: &BTreeSet<TopicPartition>) {
        let concerned =
            |partition: &Arc<Partition>| reconfigured.concerns(partition) && !except.contains(&partition.id());
        for partition in self.all().into_iter().filter(concerned) {
            reachable!("the settings of a replica changed");
            partition.set_config(self.settings(image, &partition));
        }
    }

    fn configure_throttles(&self, image: &Image) {
        let layers = Layers::of_broker(image, &self.properties, Some(self.context.local));
        let rate = |name| broker_long(&layers, name).unsigned_abs();
        self.context.throttles.leaders.set_rate(rate("leader.replication.throttled.rate"));
        self.context.throttles.followers.set_rate(rate("follower.replication.throttled.rate"));
        self.context.throttles.moves.set_rate(rate("replica.alter.log.dirs.io.max.bytes.per.second"));
    }

    fn settings(&self, image: &Image, partition: &Partition) -> Settings {
        let config = TopicConfig::resolve(image, &self.properties, partition.topic());
        let (index, local) = (partition.id().partition, self.context.local);
        let throttled = Throttled {
            leader: config.leader_throttled_replicas.contains(index, local),
            follower: config.follower_throttled_replicas.contains(index, local),
        };
        Settings { log: log_config(&config), min_insync_replicas: config.min_insync_replicas, throttled }
    }

    /// The disk of a log directory failed: every log on it goes offline (KIP-112).
    fn fail_directory(&self, failed: usize) {
        let directory = &self.directories[failed];
        if directory.failed.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(directory = %directory.disk.root(), "a log directory failed");
        reachable!("a log directory failed");
        for partition in self.all().iter().filter(|partition| partition.directory() == failed) {
            partition.go_offline();
        }
        self.failed.notify_waiters();
    }
}

/// Of which replicas the settings changed.
#[derive(Default)]
struct Reconfigured {
    all_topics: bool,
    topics: BTreeSet<String>,
}

impl Reconfigured {
    fn new(changed: &BTreeSet<ConfigResource>, local: BrokerId) -> Self {
        let mut reconfigured = Self::default();
        for resource in changed {
            match resource {
                ConfigResource::Broker(broker_id) => {
                    reconfigured.all_topics |= broker_id.is_none_or(|broker_id| broker_id == local);
                }
                ConfigResource::Topic(topic) => drop(reconfigured.topics.insert(topic.clone())),
            }
        }
        reconfigured
    }

    fn is_empty(&self) -> bool {
        !self.all_topics && self.topics.is_empty()
    }

    fn concerns(&self, partition: &Partition) -> bool {
        self.all_topics || self.topics.contains(&**partition.topic())
    }
}

impl Replicas {
    fn here(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.hosted.values().filter_map(|hosted| match hosted {
            Hosted::Here(partition) => Some(partition.clone()),
            Hosted::Creating => None,
        })
    }
}

impl Directory {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Whether the controller counts on a broker's replica no more (KIP-858).
fn is_lost(state: &PartitionImage, local: BrokerId) -> bool {
    creation::assigned_directory(state, local) == Some(DirectoryId::LOST)
}

/// Whether it does not, and somebody else leads who has all that is committed.
fn is_replaceable(state: &PartitionImage, local: BrokerId) -> bool {
    let elsewhere = state.leader.is_some_and(|leader| leader != local);
    is_lost(state, local) && elsewhere && !state.isr.contains(&local)
}

/// The settings of a topic, as its logs need them.
pub fn log_config(config: &TopicConfig) -> LogConfig {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: signed(config.segment_ms),
        segment_index_bytes: config.segment_index_bytes,
        index_interval_bytes: config.index_interval_bytes,
        max_message_bytes: usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX),
        message_timestamp_type: match config.message_timestamp_type {
            TopicTimestampType::CreateTime => TimestampType::CreateTime,
            TopicTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        flush_messages: config.flush_messages,
        flush_ms: config.flush_ms,
        producer_id_expiration_ms: signed(config.producer_id_expiration_ms),
        retention_ms: config.retention_ms.map_or(-1, signed),
        retention_bytes: config.retention_bytes.map_or(-1, signed),
        deletes: config.cleanup_policy.delete,
        compacts: config.cleanup_policy.compact,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: signed(config.min_compaction_lag_ms),
        max_compaction_lag_ms: signed(config.max_compaction_lag_ms),
        delete_retention_ms: signed(config.delete_retention_ms),
        file_delete_delay_ms: config.file_delete_delay_ms,
    }
}

#[cfg(test)]
#[cfg(madsim)]
mod tests;
