//! What a start of the broker does with its log directories, before anything is served.
//!
//! The first act is to take the mark of a clean stop, of all directories, before any log is opened: a crash in the middle
//! of loading must not look like a clean stop the next time (KAFKA-10471).

use super::{Checkpoints, CleanerStanding, Directory, FetchChange, Moves, Partitions, Replicas, cleaning, log_config};
use crate::partition::Partition;
use crate::partition::context::Assignment;
use crate::partition::context::{CurrentImage, Proposed, ReplicaContext, wall_now};
use crate::throttle::Throttles;
use futures_util::stream::{self, StreamExt};
use metadata::config::{Properties, TopicConfig};
use metadata::image::Image;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, IncarnationId, Offset, PartitionIndex, TopicPartition};
use runtime::disk::Disk;
use runtime::sync::{AsyncMutex, Lock, Notify, Semaphore, mpsc};
use runtime::{mutant, mutant_diverged, reachable, sometimes, task, time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::directory::{CleanShutdown, Kind, MetaProperties};
use storage::{Checkpoint, Log, LogConfig, LogError, Recovery, checkpoint, directory};

/// The rank of the place where the channel of failures waits to be taken.
const FAILURES_RANK: u8 = 6;
/// The rank of the moves' lock: taken under none, and a partition's may be taken under it.
const MOVES_RANK: u8 = 7;

/// The metadata log, which belongs to the controller of a combined node and may lie in a log directory
/// (`Topic.CLUSTER_METADATA_TOPIC_NAME`).
const METADATA_LOG: &str = "__cluster_metadata";

/// How long Z20 of the bug zoo leaves the mark of a clean stop.
const LAST_LOG_LOADS: Duration = Duration::from_secs(10);

/// What [`Partitions::load`] needs to know.
#[derive(Clone, Debug)]
pub struct PartitionsConfig {
    /// This broker.
    pub node_id: BrokerId,
    /// Its cluster.
    pub cluster_id: String,
    /// This start of its process.
    pub incarnation_id: IncarnationId,
    /// The static settings.
    pub properties: Arc<Properties>,
}

/// What replicas say to what stands above them: `replication` takes it.
pub struct Outgoing {
    /// ISR proposals.
    pub proposals: mpsc::UnboundedReceiver<Proposed>,
    /// What is to be copied from whom.
    pub fetching: mpsc::UnboundedReceiver<FetchChange>,
    /// Where replicas are, for the controller.
    pub assignments: mpsc::UnboundedReceiver<Assignment>,
}

/// A broker's replicas, loaded.
pub struct Loaded {
    /// The replicas. Nobody serves them before the metadata has spoken.
    pub partitions: Arc<Partitions>,
    /// Under which registration this broker stopped cleanly, if it did, in every directory: proof for the controller that
    /// nothing was lost (KIP-966).
    pub previous_broker_epoch: Option<BrokerEpoch>,
    /// For `replication`.
    pub outgoing: Outgoing,
}

/// Why the log directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is none.
    #[error("a broker needs at least one log directory")]
    NoDirectory,
    /// It belongs to somebody else.
    #[error("{directory} belongs to node {node_id} of cluster {cluster_id}")]
    Foreign {
        /// Which one.
        directory: String,
        /// Whose it is.
        node_id: BrokerId,
        /// Of which cluster.
        cluster_id: String,
    },
    /// It cannot be read or written.
    #[error("cannot use {directory}")]
    Log {
        /// Which one.
        directory: String,
        /// Why.
        #[source]
        cause: LogError,
    },
}

/// A directory that was opened, and how it had been left.
struct Opened {
    directory: Directory,
    clean: bool,
    broker_epoch: Option<BrokerEpoch>,
}

impl Partitions {
    /// Opens every log in the directories, and recovers those that were not left cleanly.
    ///
    /// A directory whose disk refuses is left out while another works, with all of its replicas.
    ///
    /// A log that cannot be opened is left out: its partition is copied anew from its leader, or stays without a replica
    /// here. The broker then has no proof of a clean stop.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(config: PartitionsConfig, disks: Vec<Disk>) -> Result<Loaded, LoadError> {
        if disks.is_empty() {
            return Err(LoadError::NoDirectory);
        }
        let (opened, refused) = open_directories(&config, disks).await?;
        let (proposals, proposals_taken) = mpsc::unbounded_channel();
        let (fetching, fetching_taken) = mpsc::unbounded_channel();
        let (assignments, assignments_taken) = mpsc::unbounded_channel();
        let (failures, failures_taken) = mpsc::unbounded_channel();
        let context = Arc::new(ReplicaContext {
            local: config.node_id,
            lag_max: Duration::from_millis(config.properties.unsigned("replica.lag.time.max.ms")),
            image: CurrentImage::default(),
            proposals,
            failures,
            assignments,
            throttles: Throttles::new(&config.properties),
        });
        let (mut logs, mut interrupted) = (Vec::new(), Vec::new());
        let mut proof = opened[0].broker_epoch.filter(|_| refused.is_empty());
        for (number, opened) in opened.iter().enumerate() {
            let all_open = match load_logs(&config, &context, number, opened, &mut logs, &mut interrupted).await {
                Ok(all_open) => all_open,
                Err(cause) => {
                    fail_at_start(number, opened, cause, &mut logs);
                    false
                }
            };
            proof = proof.filter(|epoch| opened.clean && all_open && opened.broker_epoch == Some(*epoch));
        }
        let found = only_once(logs, &opened).await?;
        sometimes!(proof.is_some(), "a broker starts with proof of a clean stop");
        let partitions = Self {
            context,
            properties: config.properties,
            incarnation_id: config.incarnation_id,
            directories: opened.into_iter().map(|opened| opened.directory).collect(),
            refused,
            replicas: Lock::new(super::RANK, Replicas { found, ..Replicas::default() }),
            fetching,
            moves: Lock::new(MOVES_RANK, Moves { interrupted, ..Moves::default() }),
            failures: Lock::new(FAILURES_RANK, Some(failures_taken)),
            failed: Notify::new(),
            device: Arc::new(Semaphore::new(super::AT_ONCE)),
            cleaner: Lock::new(cleaning::RANK, CleanerStanding::default()),
        };
        let outgoing =
            Outgoing { proposals: proposals_taken, fetching: fetching_taken, assignments: assignments_taken };
        Ok(Loaded { partitions: Arc::new(partitions), previous_broker_epoch: proof, outgoing })
    }
}

/// Claims every directory. One whose disk refuses is left out, and takes its replicas with it, as long as another works
/// (KIP-112); answers also which those are.
async fn open_directories(config: &PartitionsConfig, disks: Vec<Disk>) -> Result<(Vec<Opened>, Vec<Disk>), LoadError> {
    let (mut opened, mut refused, mut first) = (Vec::with_capacity(disks.len()), Vec::new(), None);
    for disk in disks {
        let root = disk.root();
        match open_directory(config, disk.clone()).await {
            Ok(directory) => opened.push(directory),
            Err(DirectoryError::Log(cause)) if cause.is_disk_failure() => {
                tracing::error!(directory = %root, error = %cause, "a log directory cannot be used");
                refused.push(disk);
                first.get_or_insert(LoadError::Log { directory: root, cause });
            }
            Err(cause) => return Err(cause.in_directory(root)),
        }
    }
    match first {
        Some(error) if opened.is_empty() => Err(error),
        _ => {
            sometimes!(!refused.is_empty(), "a broker starts without one of its log directories");
            Ok((opened, refused))
        }
    }
}

/// The disk of a directory refused while its logs were opened: none of them is here.
fn fail_at_start(number: usize, opened: &Opened, cause: LogError, found: &mut Vec<Arc<Partition>>) {
    tracing::error!(directory = %opened.directory.disk.root(), error = %cause, "a log directory failed");
    opened.directory.failed.store(true, Ordering::Release);
    found.retain(|partition| partition.directory() != number);
}

/// Why one directory cannot be used.
enum DirectoryError {
    Foreign(MetaProperties),
    Log(LogError),
}

impl From<LogError> for DirectoryError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl DirectoryError {
    fn in_directory(self, directory: String) -> LoadError {
        match self {
            Self::Foreign(MetaProperties { cluster_id, node_id, .. }) => {
                LoadError::Foreign { directory, node_id, cluster_id }
            }
            Self::Log(cause) => LoadError::Log { directory, cause },
        }
    }
}

/// Claims a directory, formats it if it is new, and takes the mark of a clean stop.
async fn open_directory(config: &PartitionsConfig, disk: Disk) -> Result<Opened, DirectoryError> {
    let lock = directory::lock(&disk)?;
    let meta = match MetaProperties::read(&disk)? {
        Some(meta) if meta.cluster_id != config.cluster_id || meta.node_id != config.node_id => {
            return Err(DirectoryError::Foreign(meta));
        }
        Some(meta) => meta,
        None => MetaProperties { cluster_id: config.cluster_id.clone(), node_id: config.node_id, directory_id: None },
    };
    let id = match meta.directory_id {
        Some(id) => id,
        None => {
            let id = DirectoryId(runtime::rand::uuid());
            MetaProperties { directory_id: Some(id), ..meta }.write(&disk).await?;
            id
        }
    };
    let mark = take_mark(&disk).await?;
    let read = |name| match Checkpoint::read(&disk, name) {
        Err(error) if !error.is_disk_failure() => {
            tracing::warn!(%error, "a checkpoint file is left out of account");
            Ok(Checkpoint::default())
        }
        read => read,
    };
    let checkpoints = Checkpoints {
        high_watermarks: read(checkpoint::HIGH_WATERMARK)?,
        recovery_points: read(checkpoint::RECOVERY_POINT)?,
        log_starts: read(checkpoint::LOG_START)?,
        cleaned: read(checkpoint::CLEANER)?,
    };
    let directory =
        Directory { disk, id, failed: AtomicBool::new(false), checkpoints: AsyncMutex::new(checkpoints), _lock: lock };
    Ok(Opened { directory, clean: mark.is_some(), broker_epoch: mark.and_then(|mark| mark.broker_epoch) })
}

/// Takes the mark of a clean stop.
///
/// Z20 of the bug zoo is the rule before KAFKA-10471: the mark goes once the last log is loaded, and the first ones are
/// written to before that. Here all are loaded before any is served, so the mark goes a while after.
async fn take_mark(disk: &Disk) -> Result<Option<CleanShutdown>, LogError> {
    if !mutant!("Z20") {
        return directory::take_clean_shutdown(disk).await;
    }
    let mark = directory::read_clean_shutdown(disk)?;
    if mark.is_some() {
        mutant_diverged!("Z20");
        let disk = disk.clone();
        task::spawn(async move {
            time::sleep(LAST_LOG_LOADS).await;
            if let Err(error) = directory::remove_clean_shutdown(&disk).await {
                tracing::warn!(%error, "the mark of a clean stop is left");
            }
        });
    }
    Ok(mark)
}

/// Opens every log of a directory, some at a time, and returns whether all could be. An error is of the whole directory.
async fn load_logs(
    config: &PartitionsConfig,
    context: &Arc<ReplicaContext>,
    number: usize,
    opened: &Opened,
    found: &mut Vec<Arc<Partition>>,
    interrupted: &mut Vec<(String, PartitionIndex, usize)>,
) -> Result<bool, LogError> {
    let disk = &opened.directory.disk;
    let checkpoints = opened.directory.checkpoints.lock().await;
    let mut loading = Vec::new();
    for (name, kind) in directory::list(disk)? {
        match kind {
            Kind::Log { topic, .. } if topic == METADATA_LOG => {}
            Kind::Log { topic, partition } => {
                let recovery_point = checkpoints.recovery_points.get(&topic, partition);
                let recovery = match opened.clean {
                    true => Recovery::Clean,
                    false => Recovery::Unclean { recovery_point: recovery_point.unwrap_or(Offset::ZERO) },
                };
                let start = checkpoints.log_starts.get(&topic, partition);
                let high_watermark = checkpoints.high_watermarks.get(&topic, partition);
                let cleaned = checkpoints.cleaned.get(&topic, partition);
                let (config, context, disk) = (config.clone(), context.clone(), disk.clone());
                loading.push(async move {
                    let place = Place { name, topic, partition, number };
                    // A task of its own, so that several processors recover at once.
                    let opened = task::spawn(async move {
                        let log = open_log(&config, &disk, &place, recovery, (start, cleaned)).await;
                        log.map(|log| place.with(log, high_watermark, context)).map_err(|error| (place.name, error))
                    });
                    opened.await
                });
            }
            Kind::Deleted => directory::remove(disk, &name)?,
            Kind::Future { topic, partition } => {
                directory::remove(disk, &name)?;
                interrupted.push((topic, partition, number));
            }
            Kind::Stray | Kind::Other => {}
        }
    }
    let at_once = usize::try_from(config.properties.int("num.recovery.threads.per.data.dir")).unwrap_or(1).max(1);
    let mut loaded = stream::iter(loading).buffered(at_once);
    let mut all_open = true;
    while let Some(opened) = loaded.next().await {
        match opened.expect("a log's recovery neither panics nor is aborted") {
            Ok(partition) => {
                found.push(partition);
            }
            // Its log may be as good as ever: it is not to be copied anew for that.
            Err((_, error)) if error.is_disk_failure() => return Err(error),
            Err((name, error)) => {
                tracing::error!(directory = name, %error, "a log cannot be opened");
                all_open = false;
            }
        }
    }
    Ok(all_open)
}

/// Every log by its partition. A crash while a replica moved between directories may leave two, which are the same but for
/// what was appended since: the longer one is kept, the other set aside.
async fn only_once(
    logs: Vec<Arc<Partition>>,
    opened: &[Opened],
) -> Result<BTreeMap<TopicPartition, Arc<Partition>>, LoadError> {
    let mut found: BTreeMap<TopicPartition, Arc<Partition>> = BTreeMap::new();
    for log in logs {
        let Some(other) = found.insert(log.id(), log.clone()) else { continue };
        reachable!("a log was found in two directories");
        let longer = log.standing().log_end_offset > other.standing().log_end_offset;
        let (kept, lost) = if longer { (log, other) } else { (other, log) };
        found.insert(kept.id(), kept);
        let directory = &opened[lost.directory()].directory;
        let root = directory.disk.root();
        tracing::warn!(partition = %lost.id(), topic = %lost.topic(), directory = %root, "a second log is set aside");
        let aside = directory::set_aside(&directory.disk, &lost.directory_name()).await;
        aside.map_err(|cause| LoadError::Log { directory: root, cause })?;
    }
    Ok(found)
}

/// Where a log lies.
struct Place {
    name: String,
    topic: String,
    partition: PartitionIndex,
    number: usize,
}

impl Place {
    fn with(&self, log: Log, high_watermark: Option<Offset>, context: Arc<ReplicaContext>) -> Arc<Partition> {
        let of = log.topic_partition();
        Partition::new(of, self.topic.as_str().into(), self.number, log, high_watermark, context)
    }
}

async fn open_log(
    config: &PartitionsConfig,
    disk: &Disk,
    place: &Place,
    recovery: Recovery,
    (start, cleaned): (Option<Offset>, Option<Offset>),
) -> Result<Log, LogError> {
    // The topic's own settings come with the metadata; until then the broker's hold.
    let known = log_config(&TopicConfig::resolve(&Image::default(), &config.properties, &place.topic));
    let begins = (recovery, start.unwrap_or(Offset::ZERO));
    // A log that was cleaned has gaps, also one that Kafka cleaned.
    let opened = LogConfig { compacts: known.compacts || cleaned.is_some(), ..known.clone() };
    let mut log = Log::open_from(disk, &place.name, opened, begins, wall_now()).await?;
    log.set_config(known);
    if let Some(cleaned) = cleaned {
        log.set_first_dirty_offset(cleaned);
    }
    if log.partition() != place.partition {
        let what = format!("it holds partition {}", log.partition());
        return Err(LogError::Malformed { path: place.name.clone(), what });
    }
    Ok(log)
}
