//! Making a log, and opening one: from files that were left cleanly, or from whatever a crash left.
//!
//! After a crash everything from the recovery point's segment on is read again. A batch counts if it is whole, its CRC is
//! right, it begins where the one before it ended, and its leader epoch is not lower; the first that does not, and all that
//! follows, is cut off. But a bad batch below the recovery point, in a segment that was closed, is no torn write: it was on
//! the device. Such a log is not opened, and not cut, for another replica has the data. Indexes, leader epochs and producers are derived from what remains. Nothing here depends on how far
//! an earlier attempt came.

mod epochs;
mod leftovers;
mod soundness;

pub(crate) use leftovers::mark_gaps;

use crate::{
    batch_reader::BatchReader,
    config::LogConfig,
    directory,
    durability::{Durability, EPOCHS_FILE},
    error::LogError,
    event::LogEvent,
    leader_epochs::LeaderEpochs,
    log::{Log, Recovery},
    producer_state::{CoordinatorEpoch, EndTransactionMarker, ProducerState},
    segment::{Boundary, Segment, stem},
};
use epochs::{adopt, adopt_in_gap};
use protocol::{
    ids::{Offset, PartitionIndex, TopicId, TopicPartition, WallMillis},
    record_batch::{BatchHeader, records},
};
use runtime::disk::{Disk, File, Open};
use soundness::{sound, within};
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, atomic::AtomicU64},
};

const PARTITION_METADATA: &str = "partition.metadata";
/// How much a recovery reads at once.
const SCAN_BYTES: usize = 1 << 20;
/// What a control batch may need to be decoded: it has one small record.
const MARKER_BYTES_MAX: usize = 64 << 10;

/// See [`Log::create`].
pub(crate) async fn create(
    disk: &Disk,
    directory: &str,
    partition: TopicPartition,
    config: LogConfig,
    now: WallMillis,
) -> Result<Log, LogError> {
    let io = |action| move |error| LogError::io(action, directory, error);
    disk.create_directory(directory).map_err(io("create"))?;
    // What a crash left of an earlier attempt has no records: they come only after the metadata.
    let entries = disk.list(directory).map_err(io("list"))?;
    if entries.iter().any(|entry| entry.name == PARTITION_METADATA) {
        // Z12 of the bug zoo is the rule before KAFKA-14616.
        if !runtime::mutant!("Z12") {
            return Err(LogError::AlreadyExists { directory: directory.to_owned() });
        }
        runtime::mutant_diverged!("Z12");
        write_partition(disk, directory, partition).await?;
        let unclean = Recovery::Unclean { recovery_point: Offset::ZERO };
        return open(disk, directory, config, (unclean, Offset::ZERO), now).await;
    }
    let segment = Segment::open(disk, directory, Offset::ZERO, Open::Create, now)?;
    if segment.size > 0 {
        return Err(LogError::Malformed {
            path: directory.to_owned(),
            what: "records without partition.metadata".to_owned(),
        });
    }
    write_partition(disk, directory, partition).await?;
    disk.sync_directory("").await.map_err(|error| LogError::io("sync", disk.root(), error))?;
    let epochs = LeaderEpochs::default();
    let durability = Durability::new(disk, directory, partition, Offset::ZERO, Offset::ZERO, &epochs);
    let log = Log {
        disk: disk.clone(),
        directory: directory.to_owned(),
        partition,
        config,
        segments: vec![segment],
        log_start_offset: Offset::ZERO,
        epochs,
        producers: ProducerState::new(Offset::ZERO),
        snapshots: BTreeSet::new(),
        durability,
        gaps: false,
        first_dirty_offset: Offset::ZERO,
        cuts: Arc::new(AtomicU64::new(0)),
    };
    emit_opened(&log, 0);
    Ok(log)
}

/// See [`Log::open`].
pub(crate) async fn open(
    disk: &Disk,
    directory: &str,
    config: LogConfig,
    (recovery, log_start_offset): (Recovery, Offset),
    now: WallMillis,
) -> Result<Log, LogError> {
    let loading = Loading {
        partition: read_partition(disk, directory)?,
        disk: disk.clone(),
        directory: directory.to_owned(),
        gaps: config.compacts,
        config,
        now,
        segments: Vec::new(),
        epochs: LeaderEpochs::default(),
        snapshots: BTreeSet::new(),
        unsynced: Vec::new(),
        names_changed: false,
        cut: None,
        cut_bytes: 0,
        recovery_point: match recovery {
            Recovery::Clean => Offset::ZERO,
            Recovery::Unclean { recovery_point } => recovery_point,
        },
    };
    // It reads a lot: not on the threads that serve.
    let loaded = runtime::task::blocking(move || loading.load(recovery, log_start_offset)).await;
    let Loaded { log, names_changed, cut, cut_bytes } =
        loaded.map_err(|error| LogError::io("open", directory, error))??;
    // The file is cut when what followed it is durably gone: a crash between leaves what recovery has seen already.
    if names_changed {
        disk.sync_directory(directory).await.map_err(|error| LogError::io("sync", directory, error))?;
    }
    if let Some((file, length)) = cut {
        file.truncate(length).map_err(|error| LogError::io("truncate", directory, error))?;
        file.sync().await.map_err(|error| LogError::io("sync", directory, error))?;
    }
    runtime::sometimes!(cut_bytes > 0, "recovery cut a torn tail");
    emit_opened(&log, cut_bytes);
    Ok(log)
}

fn emit_recovered(partition: TopicPartition, header: &BatchHeader) {
    runtime::observe::emit(|| LogEvent::Recovered {
        partition,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.leader_epoch,
        crc: header.crc,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
}

fn emit_opened(log: &Log, cut_bytes: u64) {
    runtime::observe::emit(|| LogEvent::Opened {
        partition: log.partition,
        log_start_offset: log.log_start_offset,
        log_end_offset: log.log_end_offset(),
        cut_bytes,
    });
    log.emit_epochs();
}

/// A log on its way.
struct Loading {
    partition: TopicPartition,
    disk: Disk,
    directory: String,
    /// Whether offsets may be missing between batches.
    gaps: bool,
    config: LogConfig,
    now: WallMillis,
    segments: Vec<Segment>,
    epochs: LeaderEpochs,
    snapshots: BTreeSet<Offset>,
    unsynced: Vec<(Offset, File)>,
    names_changed: bool,
    /// The file that is to be cut, and its new length.
    cut: Option<(File, u64)>,
    cut_bytes: u64,
    /// What the checkpoint file says; zero after a clean stop.
    recovery_point: Offset,
}

/// A log, but for what must become durable.
struct Loaded {
    log: Log,
    names_changed: bool,
    cut: Option<(File, u64)>,
    cut_bytes: u64,
}

impl Loading {
    fn load(mut self, recovery: Recovery, log_start_offset: Offset) -> Result<Loaded, LogError> {
        let mut bases = self.take_stock()?;
        self.drop_deleted(&mut bases, log_start_offset)?;
        let stored_epochs = self.read_epochs()?;
        let scan_from = match recovery {
            Recovery::Clean => bases.len().saturating_sub(1),
            Recovery::Unclean { recovery_point } => {
                bases.partition_point(|base| *base <= recovery_point).saturating_sub(1)
            }
        };
        self.open_closed(&bases, scan_from)?;
        match &stored_epochs {
            Some(stored) => self.epochs = stored.clone(),
            None => self.epochs_from_headers()?,
        }
        if recovery != Recovery::Clean || !self.open_last_cleanly(bases.get(scan_from).copied())? {
            self.scan(&bases[scan_from..], stored_epochs.as_ref())?;
        } else if stored_epochs.is_none() {
            self.epochs_from_headers()?;
        }
        if self.segments.is_empty() {
            self.segments.push(Segment::open(&self.disk, &self.directory, Offset::ZERO, Open::CreateNew, self.now)?);
            self.names_changed = true;
        }
        let log_end_offset = self.segments.last().map_or(Offset::ZERO, |active| active.end_offset);
        if let Some(first) = self.segments.first() {
            self.epochs.truncate_from_start(first.base_offset);
        }
        self.epochs.truncate_from_end(log_end_offset);
        let recovery_point = match recovery {
            Recovery::Clean => log_end_offset,
            Recovery::Unclean { recovery_point } => recovery_point,
        };
        self.into_log(recovery_point, stored_epochs)
    }

    fn into_log(self, recovery_point: Offset, stored_epochs: Option<LeaderEpochs>) -> Result<Loaded, LogError> {
        let Self { partition, disk, directory, config, now, segments, epochs, snapshots, unsynced, cut, gaps, .. } =
            self;
        let (log_start_offset, log_end_offset) = (segments[0].base_offset, segments[segments.len() - 1].end_offset);
        let stored = stored_epochs.unwrap_or_default();
        let durability = Durability::new(&disk, &directory, partition, recovery_point, log_end_offset, &stored);
        if epochs != stored {
            durability.set_epochs(&epochs);
        }
        let producers = ProducerState::new(log_start_offset);
        let mut log = Log {
            disk,
            directory,
            partition,
            config,
            segments,
            log_start_offset,
            epochs,
            producers,
            snapshots,
            durability,
            gaps,
            first_dirty_offset: log_start_offset,
            cuts: Arc::new(AtomicU64::new(0)),
        };
        unsynced.into_iter().for_each(|(useful_from, file)| log.durability.to_sync(useful_from, file));
        let names_changed = log.restore_producers(now)? || self.names_changed;
        Ok(Loaded { log, names_changed, cut, cut_bytes: self.cut_bytes })
    }

    /// Removes the segments that lie wholly below the log's first offset.
    fn drop_deleted(&mut self, bases: &mut Vec<Offset>, log_start_offset: Offset) -> Result<(), LogError> {
        let count = bases.windows(2).take_while(|pair| pair[1] <= log_start_offset).count();
        for base in bases.drain(..count) {
            self.remove_files(base)?;
        }
        Ok(())
    }

    fn read_epochs(&self) -> Result<Option<LeaderEpochs>, LogError> {
        let path = format!("{}/{EPOCHS_FILE}", self.directory);
        let bytes = match self.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("read", path, error)),
        };
        match LeaderEpochs::parse(&String::from_utf8_lossy(&bytes)) {
            // A file that lost its contents says as much as none: a log without epochs shows none either.
            Ok(epochs) if epochs.entries().is_empty() => Ok(None),
            Ok(epochs) => Ok(Some(epochs)),
            Err(what) => {
                tracing::warn!(path, what, "the leader epochs are read from the log");
                Ok(None)
            }
        }
    }

    /// Opens the segments that need no scan.
    fn open_closed(&mut self, bases: &[Offset], count: usize) -> Result<(), LogError> {
        for (at, base) in bases[..count].iter().enumerate() {
            let end_offset = bases[at + 1];
            let mut segment = Segment::open(&self.disk, &self.directory, *base, Open::Existing, self.now)?;
            let gaps = self.gaps;
            if !segment.open_indexes(&self.disk, end_offset, gaps)? {
                runtime::reachable!("an index of a closed segment was built again");
                tracing::warn!(path = segment.path("index"), "an index is missing or wrong, and built again");
                segment.size =
                    segment.file.len().map_err(|error| LogError::io("measure", segment.path("log"), error))?;
                segment.index_by_headers(self.config.index_interval_bytes)?;
                if segment.end_offset != end_offset && !(gaps && segment.end_offset < end_offset) {
                    let what = format!(
                        "it ends at offset {}, and the next segment begins at {end_offset}",
                        segment.end_offset
                    );
                    return Err(LogError::Corrupt { path: segment.path("log"), position: segment.size, what });
                }
                self.close_segment(&mut segment, end_offset)?;
            }
            self.segments.push(segment);
        }
        Ok(())
    }

    /// The next segment begins at `end_offset`: this one's indexes go to their files.
    fn close_segment(&mut self, segment: &mut Segment, end_offset: Offset) -> Result<(), LogError> {
        let files = segment.close(&self.disk)?;
        self.unsynced.extend(files.map(|file| (end_offset, file)));
        self.names_changed = true;
        segment.end_offset = end_offset;
        Ok(())
    }

    /// Opens the active segment as a clean stop left it. Answers no where it was not left so.
    fn open_last_cleanly(&mut self, base: Option<Offset>) -> Result<bool, LogError> {
        let Some(base) = base else { return Ok(true) };
        let mut segment = Segment::open(&self.disk, &self.directory, base, Open::Existing, self.now)?;
        let opened = segment.load_indexes(&self.disk)?;
        if opened {
            self.segments.push(segment);
        } else {
            tracing::warn!(
                path = segment.path("log"),
                "a segment was not left as a clean stop leaves it, and is checked"
            );
        }
        Ok(opened)
    }

    /// Finds the epochs of the segments that are open already, batch by batch.
    fn epochs_from_headers(&mut self) -> Result<(), LogError> {
        for segment in &self.segments {
            let mut headers = segment.headers(0, segment.size);
            while let Some((header, _)) = headers.next()? {
                adopt(&mut self.epochs, &header);
            }
        }
        Ok(())
    }

    /// Checks the segments from here on batch by batch, and cuts at the first bad one.
    fn scan(&mut self, bases: &[Offset], stored: Option<&LeaderEpochs>) -> Result<(), LogError> {
        let Some(first) = bases.first() else { return Ok(()) };
        // What is read again says which epochs there are. Of a log that is read from its beginning the file says nothing:
        // it may be that of a log which was emptied.
        let stored = stored.filter(|_| !self.segments.is_empty());
        if self.segments.is_empty() {
            self.epochs.clear();
        } else {
            self.epochs.truncate_from_end(*first);
        }
        let (mut expected, mut before) = (*first, *first);
        let mut torn = false;
        for (at, base) in bases.iter().enumerate() {
            torn |= *base != expected && !self.may_be_cleaned(expected, *base);
            if torn {
                self.drop_segment(*base)?;
                continue;
            }
            if let Some(mut closed) = self.segments.pop_if(|closed| closed.base_offset >= *first) {
                self.close_segment(&mut closed, *base)?;
                self.segments.push(closed);
            }
            let mut segment = Segment::open(&self.disk, &self.directory, *base, Open::Existing, self.now)?;
            let cut_bytes = self.scan_segment(&mut segment, bases.get(at + 1).copied(), stored, &mut before)?;
            let is_closed = bases.last() != Some(base);
            if cut_bytes > 0 && is_closed && segment.end_offset < self.recovery_point {
                let what = format!("offset {} was on the device, and is not sound", segment.end_offset);
                return Err(LogError::Corrupt { path: segment.path("log"), position: segment.size, what });
            }
            expected = segment.end_offset;
            torn = cut_bytes > 0;
            self.cut_bytes += cut_bytes;
            self.segments.push(segment);
        }
        Ok(())
    }

    /// Whether what is missing between a segment that ends at `expected` and the next may be gone for good reason: Kafka's
    /// cleaner leaves such gaps, and a cut within a gap may. Above the recovery point it counts as never having been on the
    /// device: ours leaves each segment its last batch.
    fn may_be_cleaned(&self, expected: Offset, base: Offset) -> bool {
        if !self.gaps || base < expected {
            return false;
        }
        if base > self.recovery_point && runtime::mutant!("S29") {
            runtime::mutant_diverged!("S29");
            return true;
        }
        base <= self.recovery_point
    }

    /// Removes a segment that does not continue the log.
    fn drop_segment(&mut self, base: Offset) -> Result<(), LogError> {
        let stem = stem(&self.directory, base);
        let path = format!("{stem}.log");
        let file = self.disk.open(&path, Open::Existing).map_err(|error| LogError::io("open", &path, error))?;
        let size = file.len().map_err(|error| LogError::io("measure", &path, error))?;
        tracing::warn!(path, size, "a segment after the end of the log is removed");
        self.cut_bytes += size;
        self.remove_files(base)
    }

    fn remove_files(&mut self, base: Offset) -> Result<(), LogError> {
        let stem = stem(&self.directory, base);
        for suffix in ["log", "index", "timeindex", "txnindex", "snapshot"] {
            remove_if_present(&self.disk, &format!("{stem}.{suffix}"))?;
        }
        self.snapshots.remove(&base);
        self.names_changed = true;
        Ok(())
    }

    /// Reads a segment's batches from its beginning, indexes them, and cuts what is no sound continuation of what ends
    /// `before`, or reaches past where the `next` segment begins: the offset of a batch is not under its CRC, and where offsets
    /// may be missing nothing else tells that it rotted. Answers how many bytes that was.
    fn scan_segment(
        &mut self,
        segment: &mut Segment,
        next: Option<Offset>,
        stored: Option<&LeaderEpochs>,
        before: &mut Offset,
    ) -> Result<u64, LogError> {
        let size = segment.size;
        segment.reset();
        let mut reader = BatchReader::new(segment.file.clone(), size, SCAN_BYTES);
        let mut last_epoch = self.epochs.latest().map(|entry| entry.leader_epoch);
        while segment.size < size {
            let read = reader.batch(segment.size).map_err(|error| LogError::io("read", segment.path("log"), error))?;
            let read = read.and_then(|(header, batch)| sound(&header, batch, segment, last_epoch, self.gaps));
            let header = match read.and_then(|header| within(header, next)) {
                Ok(header) => header,
                Err(what) => {
                    let position = segment.size;
                    tracing::warn!(path = segment.path("log"), position, what, "the log is cut at its first bad batch");
                    segment.forget_from(Boundary { position, offset: segment.end_offset })?;
                    self.cut = Some((segment.file.clone(), position));
                    return Ok(size - position);
                }
            };
            last_epoch = Some(header.leader_epoch);
            adopt_in_gap(&mut self.epochs, stored, *before, &header);
            *before = header.next_offset();
            adopt(&mut self.epochs, &header);
            segment.note(&header, self.config.index_interval_bytes);
            emit_recovered(self.partition, &header);
        }
        Ok(0)
    }
}

/// Writes the directory's `partition.metadata`, durably.
async fn write_partition(disk: &Disk, directory: &str, partition: TopicPartition) -> Result<(), LogError> {
    let contents = format!("version: 0\ntopic_id: {}", partition.topic_id);
    let path = format!("{directory}/{PARTITION_METADATA}");
    disk.write_atomically(&path, contents.as_bytes()).await.map_err(|error| LogError::io("write", path, error))
}

/// What the directory's `partition.metadata` and name say.
fn read_partition(disk: &Disk, directory: &str) -> Result<TopicPartition, LogError> {
    let path = format!("{directory}/{PARTITION_METADATA}");
    let bytes = disk.read(&path).map_err(|error| LogError::io("read", &path, error))?;
    let text = String::from_utf8_lossy(&bytes);
    let malformed = |what: &str| LogError::Malformed { path: path.clone(), what: what.to_owned() };
    let mut lines = text.lines().map(|line| line.split_once(": "));
    if lines.next() != Some(Some(("version", "0"))) {
        return Err(malformed("it does not begin with version: 0"));
    }
    let Some(Some(("topic_id", topic_id))) = lines.next() else { return Err(malformed("topic_id is missing")) };
    let topic_id = TopicId::parse(topic_id).ok_or_else(|| malformed("topic_id is not an id"))?;
    let (_, partition) =
        directory::parse_name(directory).ok_or_else(|| malformed("the directory is not a partition's"))?;
    Ok(TopicPartition { topic_id, partition: PartitionIndex(partition.0) })
}

/// The offset in a file's name: 20 digits.
fn parse_offset(name: &str) -> Option<Offset> {
    let is_number = name.len() == 20 && name.bytes().all(|symbol| symbol.is_ascii_digit());
    name.parse().ok().filter(|_| is_number).map(Offset)
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_present(disk: &Disk, path: &str) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io("remove", path, error)),
    }
}

/// What a control batch says, if it ends a transaction. An empty one (all compacted away) says nothing.
pub(crate) fn end_transaction_marker(batch: &[u8]) -> Option<EndTransactionMarker> {
    let size = BatchHeader::parse(batch).ok()?.size();
    let records = records(batch.get(..size)?, MARKER_BYTES_MAX).ok()?;
    let record = records.first()?;
    // The key is a version and a type (0 abort, 1 commit), the value a version and the coordinator's epoch.
    let [_, _, 0, kind @ (0 | 1), ..] = record.key.as_deref()? else { return None };
    let value: [u8; 6] = record.value.as_deref()?.get(..6)?.try_into().ok()?;
    let [_, _, epoch @ ..] = value;
    Some(EndTransactionMarker { committed: *kind == 1, coordinator_epoch: CoordinatorEpoch(i32::from_be_bytes(epoch)) })
}

/// The newest producer snapshot not above the log's end that can be read.
pub(crate) fn newest_snapshot(log: &Log, now: WallMillis) -> Result<Option<ProducerState>, LogError> {
    for offset in log.snapshots.range(..=log.log_end_offset()).rev() {
        let path = format!("{}.snapshot", stem(&log.directory, *offset));
        let bytes = match log.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LogError::io("read", path, error)),
        };
        match ProducerState::decode_snapshot(&bytes, *offset, now, log.config.producer_id_expiration_ms) {
            Ok(state) => return Ok(Some(state)),
            Err(error) => {
                runtime::reachable!("a producer snapshot could not be read");
                tracing::warn!(path, %error, "a producer snapshot is not used");
            }
        }
    }
    Ok(None)
}

/// The producers as of the log's end: the newest snapshot, and what the batches after it say.
pub(crate) fn load_producers(log: &Log, now: WallMillis) -> Result<ProducerState, LogError> {
    let snapshot = newest_snapshot(log, now)?;
    let mut producers = snapshot.clone().unwrap_or_else(|| ProducerState::new(log.log_start_offset));
    for segment in &log.segments {
        let from = producers.end_offset().max(segment.base_offset);
        let Some(start) = segment.find(from)? else { continue };
        let mut headers = segment.headers(start.position, segment.size);
        while let Some((header, position)) = headers.next()? {
            if header.base_offset < from {
                continue;
            }
            let marker = if header.is_control() {
                end_transaction_marker(&segment.read(&crate::segment::Span::of(&header, position))?)
            } else {
                None
            };
            producers.apply(&header, marker);
        }
    }
    producers.advance_to(log.log_end_offset());
    if runtime::mutant!("Z13") {
        let mut forgetful = snapshot.unwrap_or_else(|| ProducerState::new(log.log_start_offset));
        forgetful.advance_to(log.log_end_offset());
        if forgetful != producers {
            runtime::mutant_diverged!("Z13");
        }
        return Ok(forgetful);
    }
    Ok(producers)
}

impl Log {
    /// Loads the producers of a log that was just opened, and removes the snapshots that are of no use any more: those above
    /// the end, and those that are neither at a segment's beginning nor the newest. Answers whether files were removed.
    fn restore_producers(&mut self, now: WallMillis) -> Result<bool, LogError> {
        let end = self.log_end_offset();
        let mut removed = self.remove_snapshots(|offset| offset > end)?;
        self.producers = load_producers(self, now)?;
        let newest = self.snapshots.last().copied();
        let bases: BTreeSet<Offset> = self.segments.iter().map(|segment| segment.base_offset).collect();
        removed |= self.remove_snapshots(|offset| !bases.contains(&offset) && Some(offset) != newest)?;
        Ok(removed)
    }
}
