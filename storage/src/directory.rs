//! A log directory: the files at its root, and the partitions' directories in it.
//!
//! `meta.properties` says whose it is; `.lock` keeps a second process out; `.kafka_cleanshutdown` says that it was left
//! cleanly. A partition's directory is `<topic>-<partition>`, and gets a suffix when it is deleted or does not belong here.

use crate::error::LogError;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, PartitionIndex};
use runtime::disk::{DirectoryLock, Disk};
use std::io;
use uuid::Uuid;

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const DELETED_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
const FUTURE_SUFFIX: &str = "-future";
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// What `meta.properties` says: whose directory this is (version 1, KIP-631 and KIP-858).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `directory.id`; a directory that was formatted before KIP-858 has none.
    pub directory_id: Option<DirectoryId>,
}

impl MetaProperties {
    /// The file's contents.
    pub fn encode(&self) -> String {
        let Self { cluster_id, node_id, directory_id } = self;
        let mut text = format!("#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\n");
        if let Some(directory_id) = directory_id {
            text.push_str(&format!("directory.id={directory_id}\n"));
        }
        text
    }

    /// Reads the file's contents.
    ///
    /// # Errors
    /// Says which property is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.starts_with(['#', '!']));
        let properties: Vec<(&str, String)> = lines
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().replace('\\', "")))
            .collect();
        let get = |wanted: &str| properties.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
        match get("version") {
            Some("1") => {}
            other => return Err(format!("version is {other:?}, not 1")),
        }
        let cluster_id = get("cluster.id").ok_or("cluster.id is missing")?.to_owned();
        let node_id = get("node.id").ok_or("node.id is missing")?;
        let node_id = node_id.parse().map_err(|_| format!("node.id {node_id:?} is not a number"))?;
        let directory_id = match get("directory.id") {
            Some(id) => Some(DirectoryId::parse(id).ok_or_else(|| format!("directory.id {id:?} is not an id"))?),
            None => None,
        };
        Ok(Self { cluster_id, node_id: BrokerId(node_id), directory_id })
    }

    /// Reads the file; nothing if the directory was never formatted.
    ///
    /// # Errors
    /// When it cannot be read or is malformed.
    pub fn read(disk: &Disk) -> Result<Option<Self>, LogError> {
        match disk.read(META_PROPERTIES) {
            Ok(bytes) => Self::parse(&String::from_utf8_lossy(&bytes))
                .map(Some)
                .map_err(|what| LogError::Malformed { path: META_PROPERTIES.to_owned(), what }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", META_PROPERTIES, error)),
        }
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn write(&self, disk: &Disk) -> Result<(), LogError> {
        let written = disk.write_atomically(META_PROPERTIES, self.encode().as_bytes()).await;
        written.map_err(|error| LogError::io("write", META_PROPERTIES, error))
    }
}

/// Claims the directory for this process, until the lock is dropped or the process dies.
///
/// # Errors
/// When another process holds it, or the disk refuses.
pub fn lock(disk: &Disk) -> Result<DirectoryLock, LogError> {
    disk.lock(LOCK).map_err(|error| LogError::io("lock", LOCK, error))
}

/// That a directory was left by a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// In which registration the broker stopped, if the file says so (KIP-966): proof for the controller.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// Reads the mark of a clean stop and removes it, durably: the first act of a start, before any log is opened. A crash from
/// here on is no clean stop. Nothing if there is no mark.
///
/// # Errors
/// When the disk refuses: the directory must then not be used.
pub async fn take_clean_shutdown(disk: &Disk) -> Result<Option<CleanShutdown>, LogError> {
    let found = read_clean_shutdown(disk)?;
    if found.is_some() {
        remove_clean_shutdown(disk).await?;
    }
    Ok(found)
}

/// Reads the mark of a clean stop, and leaves it.
///
/// # Errors
/// When the disk refuses.
pub fn read_clean_shutdown(disk: &Disk) -> Result<Option<CleanShutdown>, LogError> {
    match disk.read(CLEAN_SHUTDOWN) {
        Ok(bytes) => Ok(Some(CleanShutdown { broker_epoch: broker_epoch(&String::from_utf8_lossy(&bytes)) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", CLEAN_SHUTDOWN, error)),
    }
}

/// Removes the mark of a clean stop, durably.
///
/// # Errors
/// When the disk refuses.
pub async fn remove_clean_shutdown(disk: &Disk) -> Result<(), LogError> {
    match disk.remove_file(CLEAN_SHUTDOWN) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(LogError::io("remove", CLEAN_SHUTDOWN, error)),
    }
    disk.sync_directory("").await.map_err(|error| LogError::io("sync", disk.root(), error))
}

/// Marks a clean stop: the last act, after every log was closed and every checkpoint written.
///
/// # Errors
/// When the disk refuses; the next start is then not clean.
pub async fn write_clean_shutdown(disk: &Disk, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
    let contents = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    let written = disk.write_atomically(CLEAN_SHUTDOWN, contents.as_bytes()).await;
    written.map_err(|error| LogError::io("write", CLEAN_SHUTDOWN, error))
}

/// The number behind `"brokerEpoch":`. The file is one flat JSON object; an unreadable one proves nothing.
fn broker_epoch(json: &str) -> Option<BrokerEpoch> {
    let (_, rest) = json.split_once("\"brokerEpoch\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let digits = rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok().map(BrokerEpoch)
}

/// What a directory at the root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A partition's log.
    Log {
        /// The topic's name.
        topic: String,
        /// Which of its partitions.
        partition: PartitionIndex,
    },
    /// A deleted partition's log, to be removed.
    Deleted,
    /// A log that did not belong here when it was found, set aside.
    Stray,
    /// What was copied of a log that was moving here from another directory (KIP-113).
    Future {
        /// The topic's name.
        topic: String,
        /// Which of its partitions.
        partition: PartitionIndex,
    },
    /// Something else.
    Other,
}

/// The partition that a directory is named for.
pub fn parse_name(name: &str) -> Option<(&str, PartitionIndex)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|symbol| symbol.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| is_number && !topic.is_empty())?;
    Some((topic, PartitionIndex(partition)))
}

/// The directories at the root with what they are, sorted by name.
///
/// # Errors
/// When the disk refuses.
pub fn list(disk: &Disk) -> Result<Vec<(String, Kind)>, LogError> {
    let entries = disk.list("").map_err(|error| LogError::io("list", disk.root(), error))?;
    let kind = |name: &str| {
        if name.ends_with(DELETED_SUFFIX) {
            Kind::Deleted
        } else if name.ends_with(STRAY_SUFFIX) {
            Kind::Stray
        } else if let Some((topic, partition)) = parse_future_name(name) {
            Kind::Future { topic: topic.to_owned(), partition }
        } else if let Some((topic, partition)) = parse_name(name) {
            Kind::Log { topic: topic.to_owned(), partition }
        } else {
            Kind::Other
        }
    };
    let directories = entries.into_iter().filter(|entry| entry.is_directory);
    Ok(directories.map(|entry| (entry.name.clone(), kind(&entry.name))).collect())
}

/// The name of a deleted partition's directory: `<topic>-<partition>.<32 hex digits>-delete`, the topic cut where a file
/// system would not take the whole.
pub fn deleted_name(directory: &str, unique: Uuid) -> String {
    renamed(directory, unique, DELETED_SUFFIX)
}

/// The name under which a log is copied that moves here from another directory.
pub fn future_name(directory: &str, unique: Uuid) -> String {
    renamed(directory, unique, FUTURE_SUFFIX)
}

/// The partition that a directory is named for that is not all there yet.
fn parse_future_name(name: &str) -> Option<(&str, PartitionIndex)> {
    let (directory, _unique) = name.strip_suffix(FUTURE_SUFFIX)?.rsplit_once('.')?;
    parse_name(directory)
}

/// The name under which a log is set aside that does not belong here.
pub fn stray_name(directory: &str, unique: Uuid) -> String {
    renamed(directory, unique, STRAY_SUFFIX)
}

fn renamed(directory: &str, unique: Uuid, suffix: &str) -> String {
    let (topic, partition) = directory.rsplit_once('-').unwrap_or((directory, "0"));
    let tail = format!("-{partition}.{}{suffix}", unique.simple());
    let topic = &topic[..topic.len().min(NAME_BYTES_MAX - tail.len())];
    format!("{topic}{tail}")
}

/// Sets a directory aside that does not belong here, durably, and returns its new name. Nothing of it is ever reused.
///
/// # Errors
/// When the disk refuses.
pub async fn set_aside(disk: &Disk, directory: &str) -> Result<String, LogError> {
    let to = stray_name(directory, runtime::rand::uuid());
    disk.rename(directory, &to).map_err(|error| LogError::io("rename", directory, error))?;
    disk.sync_directory("").await.map_err(|error| LogError::io("sync", disk.root(), error))?;
    Ok(to)
}

/// Removes a directory with everything in it, as after a deletion's delay.
///
/// # Errors
/// When the disk refuses; one that is gone already is no error.
pub fn remove(disk: &Disk, directory: &str) -> Result<(), LogError> {
    match disk.remove_directory(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io("remove", directory, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_own_meta_properties_are_read() {
        let text = "#\n#Sat Nov 21 09:05:57 UTC 2026\nnode.id=1\ndirectory.id=fZRmnnrR51vqY1EW4Ta7nA\nversion=1\n\
                    cluster.id=HLdS4WhQSxKJZoeqei4mHQ\n";
        let read = MetaProperties::parse(text).expect("it is Kafka's");
        assert_eq!((read.node_id, read.cluster_id.as_str()), (BrokerId(1), "HLdS4WhQSxKJZoeqei4mHQ"));
        assert_eq!(read.directory_id.map(|id| id.to_string()).as_deref(), Some("fZRmnnrR51vqY1EW4Ta7nA"));
        assert_eq!(MetaProperties::parse(&read.encode()), Ok(read));
    }

    #[test]
    fn meta_properties_of_nobody_are_refused() {
        for text in [
            "",
            "version=0\ncluster.id=a\nnode.id=1\n",
            "version=1\nnode.id=1\n",
            "version=1\ncluster.id=a\nnode.id=x\n",
        ] {
            assert!(MetaProperties::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_broker_epoch_of_a_clean_stop_is_read() {
        assert_eq!(broker_epoch(r#"{"version":0,"brokerEpoch":9}"#), Some(BrokerEpoch(9)));
        assert_eq!(broker_epoch(r#"{ "brokerEpoch" : 17 , "version":0}"#), Some(BrokerEpoch(17)));
        assert_eq!(broker_epoch(""), None);
    }

    #[test]
    fn a_directory_is_named_for_its_partition() {
        assert_eq!(parse_name("my-topic-12"), Some(("my-topic", PartitionIndex(12))));
        assert_eq!(parse_name("t1-"), None);
        assert_eq!(parse_name("-1"), None);
        assert_eq!(parse_name("t1-+1"), None);
        assert_eq!(parse_name("snapshots"), None);
    }

    #[test]
    fn a_deleted_directory_keeps_its_partition_and_fits_the_file_system() {
        let unique = Uuid::from_u128(0xabc);
        assert_eq!(deleted_name("t1-0", unique), "t1-0.00000000000000000000000000000abc-delete");
        let long = format!("{}-17", "x".repeat(249));
        let name = deleted_name(&long, unique);
        assert_eq!((name.len(), name.ends_with("-17.00000000000000000000000000000abc-delete")), (255, true));
    }
}
