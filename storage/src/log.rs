//! One partition's log: append, read, truncate, roll.
//!
//! It never decodes records, never waits for the device (what does is returned as a [`SyncTask`]), and knows nothing of
//! replication beyond what it is told. The broker drives it under the partition's lock.
//!
//! **Failure.** When a write or a sync fails, what the device holds is not known any more: the log goes offline at once, and
//! every later change is refused until it is opened again.
//!
//! **Durability.** Below [`Log::recovery_point`] everything is on the device. After a crash recovery re-reads from the
//! segment that holds the recovery point, as its checkpoint file had it, and takes what lies below it in a closed segment for
//! durable; so a segment is closed only once that is true, which matters after a truncation.

mod cleaning;
mod deletion;
mod reading;
mod truncation;

use crate::{
    config::LogConfig,
    durability::{Durability, Plan, SyncTask},
    error::{AppendError, LogError},
    event::{LogEvent, Origin},
    leader_epochs::{EpochEndOffset, EpochEntry, LeaderEpochs},
    producer_state::{ProducerState, Verdict},
    recovery,
    segment::{Segment, stem},
};
use protocol::{
    ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition, WallMillis},
    record_batch::{BatchHeader, TimestampType, patch, patch_log_append_time},
};
use runtime::disk::{Disk, Open};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

pub use deletion::DeletedFiles;
pub(crate) use reading::read;
pub use reading::{FoundOffset, LogSlice};

/// How the log was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// By a clean stop, with nothing after it: the files are taken as they are.
    Clean,
    /// Perhaps in the middle of something.
    Unclean {
        /// What the checkpoint file says is on the device; zero when it does not say.
        recovery_point: Offset,
    },
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// First offset of the first batch.
    pub base_offset: Offset,
    /// Last offset of the last batch; before `base_offset` when there was no batch.
    pub last_offset: Offset,
    /// The timestamp that the leader gave the records, if the topic is so configured; of a retry, the first time's.
    pub log_append_time: Option<WallMillis>,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// The batch had been appended before: these are its offsets then, and nothing was written.
    pub duplicate: bool,
}

/// One replica's log. See the module's page.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Disk,
    pub(crate) directory: String,
    pub(crate) partition: TopicPartition,
    pub(crate) config: LogConfig,
    /// In order; never empty. The last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start_offset: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    /// The offsets of the producer snapshots in the directory.
    pub(crate) snapshots: BTreeSet<Offset>,
    pub(crate) durability: Arc<Durability>,
    /// Whether offsets may be missing between batches, and the directory says so.
    pub(crate) gaps: bool,
    /// Below it the log was cleaned, as far as is known.
    pub(crate) first_dirty_offset: Offset,
    /// How often something was cut off its end: whoever cleans it meanwhile begins anew.
    pub(crate) cuts: Arc<AtomicU64>,
}

impl Log {
    /// The name of a partition's directory: `<topic>-<partition>`.
    pub fn directory_name(topic: &str, partition: PartitionIndex) -> String {
        format!("{topic}-{partition}")
    }

    /// Makes an empty log. When this returns, the directory and its `partition.metadata` are durable.
    ///
    /// # Errors
    /// `AlreadyExists` when the directory holds a log; otherwise when the disk refuses.
    pub async fn create(
        disk: &Disk,
        directory: &str,
        topic_id: TopicId,
        partition: PartitionIndex,
        config: LogConfig,
        now: WallMillis,
    ) -> Result<Self, LogError> {
        recovery::create(disk, directory, TopicPartition { topic_id, partition }, config, now).await
    }

    /// Opens a log, and recovers it where it was not left cleanly: from the recovery point on every batch is checked, the
    /// first bad one and what follows it is cut off, and indexes, epochs and producers are rebuilt. Done twice, it changes
    /// nothing more. Cuts are durable when this returns.
    ///
    /// # Errors
    /// `Malformed` without a usable `partition.metadata`; `Corrupt` where a closed segment below the recovery point is not
    /// what it should be (never cut away: another replica has the data); otherwise when the disk refuses.
    pub async fn open(
        disk: &Disk,
        directory: &str,
        config: LogConfig,
        recovery: Recovery,
        now: WallMillis,
    ) -> Result<Self, LogError> {
        recovery::open(disk, directory, config, (recovery, Offset::ZERO), now).await
    }

    /// As [`Self::open`], of a log whose first offset was written down. Segments below it are removed before anything else:
    /// a crash while they were being deleted may have left any of them. If the log ends before that offset, it begins anew
    /// there (`LogLoader.deleteSegmentsIfLogStartGreaterThanLogEnd`).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_from(
        disk: &Disk,
        directory: &str,
        config: LogConfig,
        (recovery, log_start_offset): (Recovery, Offset),
        now: WallMillis,
    ) -> Result<Self, LogError> {
        let mut log = recovery::open(disk, directory, config, (recovery, log_start_offset), now).await?;
        log.restore_log_start_offset(log_start_offset)?.await?;
        Ok(log)
    }

    /// The topic's identity, from `partition.metadata`.
    pub fn topic_id(&self) -> TopicId {
        self.partition.topic_id
    }

    /// Which of the topic's partitions.
    pub fn partition(&self) -> PartitionIndex {
        self.partition.partition
    }

    /// The partition, by its topic's identity.
    pub fn topic_partition(&self) -> TopicPartition {
        self.partition
    }

    /// The directory on its disk.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// One past the last record.
    pub fn log_end_offset(&self) -> Offset {
        self.active().end_offset
    }

    /// The newest leader epoch that is known here, whether or not a batch was written in it.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|entry| entry.leader_epoch)
    }

    /// The leader epochs of the log, oldest first.
    pub fn epochs(&self) -> &[EpochEntry] {
        self.epochs.entries()
    }

    /// Where a leader epoch ended: see [`LeaderEpochs::end_offset_for`].
    pub fn end_offset_for(&self, leader_epoch: LeaderEpoch) -> Option<EpochEndOffset> {
        self.epochs.end_offset_for(leader_epoch, self.log_end_offset())
    }

    /// The epoch in which the record at an offset was written.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_for(offset)
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Up to where a read_committed consumer may read: the high watermark, or the first offset of a transaction that is
    /// undecided or was decided above it.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.producers.last_stable_offset(high_watermark)
    }

    /// What is known of producers, as of the log's end.
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: WallMillis) {
        self.producers.expire(now, self.config.producer_id_expiration_ms);
    }

    /// The configuration it obeys.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Obeys another configuration from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// Whether a write or a sync has failed: nothing is written any more.
    pub fn is_offline(&self) -> bool {
        self.durability.is_offline()
    }

    pub(crate) fn check_online(&self) -> Result<(), LogError> {
        self.durability.check_online()
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// Takes the log offline when a change failed.
    pub(crate) fn guarded<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result {
            self.durability.fail(error, self.log_end_offset());
        }
        result
    }

    /// Appends batches that a client sent and that were validated: gives them offsets and the leader's epoch, in place, and
    /// writes them at once. A retry of a batch that is in the log appends nothing.
    ///
    /// `headers` are those of `batches`, in order; without a gap their sizes add up to its length.
    ///
    /// # Errors
    /// `Producer` when an idempotent producer is fenced or out of order; `TooLarge`; `Log` when the disk refuses, after
    /// which the log is offline. In every case nothing of the call is in the log.
    ///
    /// # Panics
    /// If an older leader epoch appends than the newest that is known: it may not lead.
    pub fn append_as_leader(
        &mut self,
        batches: &mut [u8],
        headers: &[BatchHeader],
        leader_epoch: LeaderEpoch,
        now: WallMillis,
    ) -> Result<Appended, AppendError> {
        self.check_writable()?;
        debug_assert_eq!(
            headers.iter().map(BatchHeader::size).sum::<usize>(),
            batches.len(),
            "headers are those of the batches"
        );
        assert!(self.latest_epoch() <= Some(leader_epoch), "{:?} <= {leader_epoch}", self.latest_epoch());
        if let Verdict::Duplicate(known) = self.producers.check(headers)? {
            runtime::reachable!("a retried batch was recognised");
            return Ok(Appended {
                base_offset: known.first_offset(),
                last_offset: known.last_offset,
                log_append_time: self.log_append_time(known.timestamp),
                log_start_offset: self.log_start_offset,
                duplicate: true,
            });
        }
        self.check_fits(batches.len())?;
        let base_offset = self.log_end_offset();
        let log_append_time = self.log_append_time(now);
        let (mut offset, mut rest, mut largest) = (base_offset, &mut *batches, WallMillis(-1));
        for header in headers {
            let (batch, after) = rest.split_at_mut(header.size());
            patch(batch, offset, leader_epoch);
            if let Some(now) = log_append_time {
                patch_log_append_time(batch, now);
            }
            offset = offset.plus(i64::from(header.last_offset_delta) + 1);
            largest = largest.max(log_append_time.unwrap_or(header.max_timestamp));
            rest = after;
        }
        let last_offset = offset.plus(-1);
        self.roll_if_full(batches.len(), last_offset, largest, now)?;
        let adopted = self.adopt_epoch(leader_epoch, base_offset);
        self.write(batches, offset)?;
        let mut at = 0;
        for header in headers {
            let patched = BatchHeader::parse(&batches[at..]).expect("patching keeps a header sound");
            self.note(&patched, &batches[at..], Origin::Leader);
            at += header.size();
        }
        if adopted {
            self.emit_epochs();
        }
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time,
            log_start_offset: self.log_start_offset,
            duplicate: false,
        })
    }

    /// Appends what the leader sent: checks each batch, and adopts its offsets and epoch as they are. A last batch that is
    /// cut off is left out.
    ///
    /// # Errors
    /// `Invalid` when a batch is not sound or does not begin where the log ends, `LeaderEpochWentBack`, `TooLarge`: then
    /// nothing is appended. `Log` when the disk refuses, after which the log is offline.
    pub fn append_as_follower(&mut self, batches: &[u8]) -> Result<Appended, AppendError> {
        self.check_writable()?;
        let now = WallMillis(runtime::time::wall_now());
        let base_offset = self.log_end_offset();
        let headers = self.validate_sent(batches)?;
        let mut last_epoch = self.epochs.epoch_for(base_offset.plus(-1));
        for header in &headers {
            if let Some(last) = last_epoch.filter(|last| header.leader_epoch < *last) {
                return Err(AppendError::LeaderEpochWentBack { last, got: header.leader_epoch });
            }
            last_epoch = Some(header.leader_epoch);
        }
        let (mut at, mut adopted) = (0, false);
        let mut rest = &headers[..];
        while let Some(first) = rest.first() {
            self.roll_if_full(first.size(), first.last_offset(), first.max_timestamp, now)?;
            let room = self.config.segment_bytes.saturating_sub(self.active().size);
            let (count, size) = fitting(rest, room);
            let written = &batches[at..at + size];
            for header in &rest[..count] {
                adopted |= self.adopt_epoch(header.leader_epoch, header.base_offset);
            }
            self.write(written, rest[count - 1].last_offset().plus(1))?;
            let mut within = 0;
            for header in &rest[..count] {
                self.note(header, &written[within..], Origin::Follower);
                within += header.size();
            }
            rest = &rest[count..];
            at += size;
        }
        if adopted {
            self.emit_epochs();
        }
        Ok(Appended {
            base_offset,
            last_offset: self.log_end_offset().plus(-1),
            log_append_time: None,
            log_start_offset: self.log_start_offset,
            duplicate: false,
        })
    }

    fn check_writable(&self) -> Result<(), LogError> {
        self.check_online()?;
        self.durability.check_settled()
    }

    fn check_fits(&self, size: usize) -> Result<(), AppendError> {
        let limit = self.config.segment_bytes;
        if size as u64 > limit { Err(AppendError::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn log_append_time(&self, time: WallMillis) -> Option<WallMillis> {
        match self.config.message_timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(time),
        }
    }

    /// Answers whether the epoch is new: then [`Self::emit_epochs`] once its batches are noted.
    fn adopt_epoch(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let is_new = leader_epoch.0 >= 0 && self.epochs.assign(leader_epoch, start_offset);
        if is_new {
            self.durability.set_epochs(&self.epochs);
        }
        is_new
    }

    pub(crate) fn emit_epochs(&self) {
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Epochs { partition, entries: self.epochs.entries().to_vec() });
    }

    /// Writes batches, which end at `end`, behind the active segment's last one; any failure takes the log offline.
    fn write(&self, bytes: &[u8], end: Offset) -> Result<(), LogError> {
        let active = self.active();
        let position = active.file.append(bytes).map_err(|error| LogError::io("append to", active.path("log"), error));
        let position = position.inspect_err(|error| self.durability.fail(error, end))?;
        assert_eq!(position, active.size, "{} ends where its last batch does", active.path("log"));
        Ok(())
    }

    /// Notes a batch that was written: indexes it, and lets the producers' table know.
    fn note(&mut self, header: &BatchHeader, batch: &[u8], origin: Origin) {
        let interval_bytes = self.config.index_interval_bytes;
        self.active_mut().note(header, interval_bytes);
        let marker = if header.is_control() { recovery::end_transaction_marker(batch) } else { None };
        self.producers.apply(header, marker);
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Appended {
            partition,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            leader_epoch: header.leader_epoch,
            crc: header.crc,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            origin,
        });
    }

    fn roll_if_full(
        &mut self,
        size: usize,
        last_offset: Offset,
        largest: WallMillis,
        now: WallMillis,
    ) -> Result<(), LogError> {
        let full = self.active().is_full(&self.config, size as u64, last_offset, largest, now);
        if full || runtime::buggify!("roll before an append") {
            self.roll(now)?;
        }
        Ok(())
    }

    /// Begins a new segment at the log's end, and keeps a snapshot of the producers with it. Does nothing while the active
    /// segment is empty, or the checkpointed recovery point may say of some of it that it is on the device, and it is not
    /// (after a truncation): recovery would not look there, or take what it finds for damage. Answers whether it did.
    ///
    /// # Errors
    /// When the disk refuses; the log is then offline.
    pub fn roll(&mut self, now: WallMillis) -> Result<bool, LogError> {
        self.check_online()?;
        if self.active().size == 0 || self.is_overstated() {
            return Ok(false);
        }
        let rolled = self.begin_segment(now);
        self.guarded(rolled).map(|()| true)
    }

    /// Whether the checkpoint file may say of something that it is on the device, and it is not.
    fn is_overstated(&self) -> bool {
        self.durability.recovery_point() < self.durability.recovery_point_max().min(self.log_end_offset())
    }

    fn begin_segment(&mut self, now: WallMillis) -> Result<(), LogError> {
        let base_offset = self.log_end_offset();
        let disk = self.disk.clone();
        let indexes = self.active_mut().close(&disk)?;
        indexes.into_iter().for_each(|file| self.durability.to_sync(base_offset, file));
        self.write_snapshot()?;
        let segment = Segment::open(&disk, &self.directory, base_offset, Open::CreateNew, now)?;
        self.segments.push(segment);
        self.durability.names_changed();
        Ok(())
    }

    /// Writes the producers' table as of the log's end, unless it is there already.
    pub(crate) fn write_snapshot(&mut self) -> Result<(), LogError> {
        let end_offset = self.log_end_offset();
        self.producers.advance_to(end_offset);
        if !self.snapshots.insert(end_offset) {
            return Ok(());
        }
        let path = format!("{}.snapshot", stem(&self.directory, end_offset));
        let write = || {
            let file = self.disk.open(&path, Open::Create)?;
            file.truncate(0)?;
            file.append(&self.producers.encode_snapshot())?;
            Ok(file)
        };
        let file = write().map_err(|error| LogError::io("write", &path, error))?;
        self.durability.to_sync(end_offset, file);
        self.durability.names_changed();
        Ok(())
    }

    /// Notes that this replica leads in `leader_epoch` from `start` on, its log's end. The task makes that durable: nothing
    /// may be served before it is done.
    ///
    /// # Panics
    /// If `start` is not the log's end.
    pub fn assign_epoch(&mut self, leader_epoch: LeaderEpoch, start: Offset) -> SyncTask {
        assert_eq!(start, self.log_end_offset(), "an epoch begins at the log's end");
        if self.epochs.assign(leader_epoch, start) {
            self.durability.set_epochs(&self.epochs);
            self.emit_epochs();
        }
        if runtime::mutant!("Z13") {
            self.forget_replayed_producers();
        }
        self.durability.task(Plan { epochs: true, ..Plan::default() })
    }

    /// Below this everything is on the device; for the checkpoint file.
    pub fn recovery_point(&self) -> Offset {
        self.durability.recovery_point().max(Offset::ZERO)
    }

    /// Tells the log what the recovery point's checkpoint file holds of it now.
    pub fn recovery_point_stored(&self, stored: Offset) {
        self.durability.recovery_point_stored(stored);
    }

    /// Whether a flush is due: a segment was closed since the last one, a truncation is to be made good, or the topic's
    /// `flush.messages` or `flush.ms` says so.
    pub fn wants_flush(&self, now: WallMillis) -> bool {
        let unflushed = self.log_end_offset().0 - self.durability.recovery_point().0;
        let early = runtime::buggify!("a log is flushed that need not be");
        unflushed > 0
            && (self.active().base_offset > self.recovery_point()
                || self.is_overstated()
                || early
                || unflushed as u64 >= self.config.flush_messages
                || now.0.saturating_sub(self.durability.flushed_at().0).max(0) as u64 >= self.config.flush_ms)
    }

    /// Brings everything that is in the log now to the device. When the task is done, [`Self::recovery_point`] has risen.
    pub fn flush(&self) -> SyncTask {
        let (end, from) = (self.log_end_offset(), self.durability.recovery_point());
        let segments = self.segments.iter().filter(|segment| segment.end_offset > from);
        let files = segments.map(|segment| segment.file.clone()).collect();
        self.durability.task(Plan { files, others: true, epochs: true, names: true, target: Some(end) })
    }

    /// The last act of a clean stop: keeps the indexes and the producers in their files, and brings everything to the
    /// device. When the task is done, the directory can be opened as [`Recovery::Clean`].
    ///
    /// # Errors
    /// When the disk refuses, or the log is offline: then it was not left cleanly.
    pub fn close(&mut self) -> Result<SyncTask, LogError> {
        self.check_online()?;
        self.durability.check_settled()?;
        let disk = self.disk.clone();
        let written = self.active_mut().write_indexes(&disk);
        let indexes = self.guarded(written)?;
        let snapshot = self.write_snapshot();
        self.guarded(snapshot)?;
        self.durability.names_changed();
        let from = self.durability.recovery_point();
        let segments = self
            .segments
            .iter()
            .filter(|segment| segment.end_offset > from || segment.end_offset == self.log_end_offset());
        let files = segments.map(|segment| &segment.file).chain(&indexes).cloned().collect();
        let target = Some(self.log_end_offset());
        Ok(self.durability.task(Plan { files, others: true, epochs: true, names: true, target }))
    }
}

/// How many of the batches fit, at least one, and their bytes.
fn fitting(headers: &[BatchHeader], room: u64) -> (usize, usize) {
    let (mut count, mut size) = (0, 0);
    for header in headers {
        if count > 0 && (size + header.size()) as u64 > room {
            break;
        }
        (count, size) = (count + 1, size + header.size());
    }
    (count, size)
}
