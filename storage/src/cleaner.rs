//! Cleaning one log: of each key only the newest record stays (`cleanup.policy=compact`).
//!
//! ```text
//!  Log::begin_cleaning          under the log's lock: what lies there now, and what of it may be cleaned
//!  Cleaning::prepare            off the lock: transactions that were aborted, and the newest offset of each dirty key
//!  Cleaning::clean_next         off the lock: some segments into one new file, `.cleaned`
//!  CleanedSegment::sync         off the lock: the new file is durable
//!  Log::swap_in                 under the lock: it takes the place of the old ones
//!  Log::end_cleaning            under the lock, then awaited: the log is clean up to here
//! ```
//!
//! It reads what nobody writes any more, closed segments, and never below the log's lock; appends and reads go on. A log that
//! is cut or closed meanwhile ends its cleaning: whatever was swapped in before stays, and nothing is said to be clean. It
//! decides nothing by itself: the rules are in the pure files below. Driven by the broker, one log at a time (as Kafka's
//! `Cleaner`, with one thread).

pub(crate) mod filter;
pub(crate) mod offset_map;
pub(crate) mod policy;
pub(crate) mod transactions;

use crate::{
    batch_reader::BatchReader,
    config::LogConfig,
    durability::Durability,
    error::LogError,
    event::CleanedBatch,
    leader_epochs::LeaderEpochs,
    log::read,
    producer_state::EndTransactionMarker,
    recovery,
    segment::{Headers, Segment, corrupt, stem},
};
use filter::{Fate, Lying, Rules};
use offset_map::OffsetMap;
use policy::{Cleanable, Stretch};
use protocol::{
    ids::{Offset, WallMillis},
    record_batch::{BatchError, BatchHeader, Unpacked, check_crc},
};
use runtime::disk::{Disk, File};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use transactions::{AbortedTransactions, CleanedTransactions};

/// What a file is called that a cleaning writes (`LogFileUtils.CLEANED_FILE_SUFFIX`).
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
/// What it is called once it is whole, until it has taken the place of the old ones (`LogFileUtils.SWAP_FILE_SUFFIX`).
pub(crate) const SWAP_SUFFIX: &str = ".swap";
/// The most that one batch may grow to when it is decompressed: as much as a leader decompresses to look for keys.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 100 << 20;

/// How much memory cleanings may take (`CleanerConfig`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.dedupe.buffer.size`: for the keys of one cleaning, 24 bytes each.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full that may become.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: how much is read, and written, at once.
    pub io_buffer_bytes: usize,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self { dedupe_buffer_bytes: 128 << 20, load_factor: 0.9, io_buffer_bytes: 512 << 10 }
    }
}

/// Why a cleaning came to no end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CleanError {
    /// The log was cut, closed or moved meanwhile: it is cleaned another time.
    #[error("the log changed while it was cleaned")]
    Changed,
    /// A batch is what was written, and its records cannot be read, or not in the memory that a cleaning may take: they were
    /// never looked into before the topic was compacted. Trying again is of no use.
    #[error("{path} cannot be cleaned: {error}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What is wrong.
        error: BatchError,
    },
    /// The log cannot be read, or a cleaned segment not be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A segment that is read; its file may have another name by now, or none.
pub(crate) struct Source {
    pub base_offset: Offset,
    /// Where the next segment begins.
    pub end_offset: Offset,
    pub size: u64,
    pub created: WallMillis,
    pub file: File,
    pub stem: Arc<str>,
}

/// The cleaning of one log, from its beginning up to a bound.
pub struct Cleaning {
    pub(crate) disk: Disk,
    pub(crate) directory: String,
    pub(crate) config: LogConfig,
    pub(crate) cleaner: CleanerConfig,
    pub(crate) cleanable: Cleanable,
    pub(crate) high_watermark: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) rules: Rules,
    /// All segments, the active one up to where it was written.
    pub(crate) sources: Vec<Source>,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) log: Identity,
    /// Whether the cleaning is to say which records went.
    pub(crate) is_observed: bool,
    pub(crate) prepared: Option<Prepared>,
}

/// Which log it was, and whether it is as it was.
#[derive(Clone)]
pub(crate) struct Identity {
    pub durability: Arc<Durability>,
    pub cuts: Arc<AtomicU64>,
    pub cuts_seen: u64,
}

/// What is known of a log once it was gone through.
pub(crate) struct Prepared {
    map: OffsetMap,
    transactions: CleanedTransactions,
    /// How many of the sources are left of each new segment.
    groups: VecDeque<usize>,
    /// The first source of the next group.
    next: usize,
}

/// A new segment that is to take the place of old ones.
#[derive(Debug)]
pub struct CleanedSegment {
    pub(crate) segment: Segment,
    /// The bases of those whose place it takes.
    pub(crate) replaced: Vec<Offset>,
    /// Bytes of their batches.
    pub(crate) replaced_bytes: u64,
    pub(crate) indexes: [File; 2],
    pub(crate) directory: String,
    pub(crate) disk: Disk,
    pub(crate) log: Identity,
    /// Up to where its records were looked at: what lies above is as it was.
    pub(crate) cleaned_to: Offset,
    pub(crate) batches: Vec<CleanedBatch>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("cuts_seen", &self.cuts_seen).finish_non_exhaustive()
    }
}

impl Identity {
    /// # Errors
    /// `Changed` once the log was cut, closed, or went offline.
    pub fn check(&self) -> Result<(), CleanError> {
        let same = self.cuts.load(Ordering::Acquire) == self.cuts_seen && !self.durability.is_offline();
        if same { Ok(()) } else { Err(CleanError::Changed) }
    }
}

impl Cleaning {
    /// What is cleaned.
    pub fn cleanable(&self) -> &Cleanable {
        &self.cleanable
    }

    /// Goes through the log's headers and through the dirty records. It reads a lot: not on the threads that serve.
    ///
    /// # Errors
    /// `Changed`; `Log` where the log cannot be read, or is not what was written.
    pub fn prepare(&mut self) -> Result<(), CleanError> {
        let prepared = self.go_through().map_err(|error| self.excused(error))?;
        self.prepared = Some(prepared);
        Ok(())
    }

    /// What goes wrong with a log that is cut, renamed or closed meanwhile is nobody's fault.
    fn excused(&self, error: CleanError) -> CleanError {
        self.log.check().err().unwrap_or(error)
    }

    fn go_through(&mut self) -> Result<Prepared, CleanError> {
        let aborted = self.find_aborted()?;
        if let Some(undecided) = aborted.undecided() {
            let bound = self.cleanable.first_uncleanable.min(undecided).max(self.cleanable.first_dirty);
            (self.cleanable.first_uncleanable, self.rules.first_uncleanable) = (bound, bound);
        }
        let map = self.map_keys(&aborted)?;
        let end = map.latest().plus(1);
        let closed = &self.stretches[..self.stretches.len() - 1];
        let count = closed.partition_point(|segment| segment.base_offset < end);
        let groups = policy::groups(&closed[..count], self.cleanable.first_uncleanable, &self.config).into();
        Ok(Prepared { map, transactions: aborted.cleaned_from(Offset::ZERO), groups, next: 0 })
    }

    /// Up to where the log will be clean once every segment has taken its place; below the bound where the keys of the rest
    /// have no room in memory.
    ///
    /// # Panics
    /// Before [`Self::prepare`].
    pub fn end(&self) -> Offset {
        self.prepared.as_ref().expect("it is prepared").map.latest().plus(1)
    }

    /// Which transactions were aborted, up to the high watermark: the marker of one below the bound may lie above.
    fn find_aborted(&self) -> Result<AbortedTransactions, CleanError> {
        let mut aborted = AbortedTransactions::default();
        for source in &self.sources {
            let mut headers = source.headers();
            while let Some((header, position)) = headers.next()? {
                if header.base_offset >= self.high_watermark {
                    return Ok(aborted);
                }
                self.log.check()?;
                let marker = if header.is_control() { source.marker_at(position)? } else { None };
                aborted.note(&header, marker);
            }
        }
        Ok(aborted)
    }

    /// The newest offset of each key from the first dirty offset up to the bound, or as far as there is room.
    fn map_keys(&self, aborted: &AbortedTransactions) -> Result<OffsetMap, CleanError> {
        let Cleanable { first_dirty, first_uncleanable, .. } = self.cleanable;
        let CleanerConfig { dedupe_buffer_bytes, load_factor, .. } = self.cleaner;
        let offsets = first_uncleanable.0.saturating_sub(first_dirty.0).max(0) as u64;
        let mut map = OffsetMap::new(dedupe_buffer_bytes, load_factor, offsets);
        map.reached(first_dirty.plus(-1));
        let from = self.sources.iter().rfind(|source| source.base_offset <= first_dirty);
        let mut transactions = aborted.cleaned_from(from.map_or(Offset::ZERO, |source| source.base_offset));
        for source in &self.sources[..self.sources.len() - 1] {
            if source.end_offset <= first_dirty {
                continue;
            }
            if !self.map_segment(source, &mut map, &mut transactions)? {
                break;
            }
            map.reached(source.end_offset.plus(-1));
        }
        Ok(map)
    }

    /// Answers no where it came to the bound, or to keys for which there was no room.
    fn map_segment(
        &self,
        source: &Source,
        map: &mut OffsetMap,
        transactions: &mut CleanedTransactions,
    ) -> Result<bool, CleanError> {
        let Cleanable { first_dirty, first_uncleanable, .. } = self.cleanable;
        let mut batches = self.batches(source);
        while let Some(Batch { header, bytes, .. }) = batches.next()? {
            if header.next_offset() > first_uncleanable {
                return Ok(false);
            }
            self.log.check()?;
            if header.is_control() {
                transactions.on_control(&header, recovery::end_transaction_marker(bytes));
            } else if !transactions.on_data(&header) && header.last_offset() >= first_dirty {
                let unpacked = Unpacked::of(bytes, DECOMPRESSED_BYTES_MAX).map_err(|error| source.unreadable(error))?;
                for record in unpacked.records() {
                    let record = record.map_err(|error| source.unreadable(error))?;
                    let offset = header.base_offset.plus(i64::from(record.offset_delta));
                    if let Some(key) = record.key.filter(|_| first_dirty <= offset)
                        && !map.put(key, offset)
                    {
                        return Ok(false);
                    }
                }
            }
            map.reached(header.last_offset());
        }
        Ok(true)
    }

    /// Cleans the next segments into one, which is to be synced and then swapped in; nothing after the last. It takes its
    /// time.
    ///
    /// # Errors
    /// `Changed`; `Log` where the log cannot be read, is not what was written, or the disk refuses.
    pub fn clean_next(&mut self) -> Result<Option<CleanedSegment>, CleanError> {
        let mut prepared = self.prepared.take().expect("it is prepared");
        let cleaned = loop {
            let Some(count) = prepared.groups.pop_front() else { break Ok(None) };
            let group = prepared.next..prepared.next + count;
            prepared.next = group.end;
            let sources = &self.sources[group];
            match self.clean_group(sources, &prepared.map, &mut prepared.transactions) {
                Ok(None) => {}
                Ok(cleaned) => break Ok(cleaned),
                Err(error) => {
                    let path = format!("{}.log{CLEANED_SUFFIX}", stem(&self.directory, sources[0].base_offset));
                    recovery::remove_if_present(&self.disk, &path)?;
                    break Err(error);
                }
            }
        };
        self.prepared = Some(prepared);
        cleaned.map_err(|error| self.excused(error))
    }

    /// Nothing where one segment would become what it is.
    fn clean_group(
        &self,
        group: &[Source],
        map: &OffsetMap,
        transactions: &mut CleanedTransactions,
    ) -> Result<Option<CleanedSegment>, CleanError> {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let place = (&*self.directory, first.base_offset, CLEANED_SUFFIX);
        let segment = Segment::create_beside(&self.disk, place, last.created)?;
        let mut output =
            Output { segment, pending: Vec::new(), config: &self.config, limit: self.cleaner.io_buffer_bytes };
        let (mut observed, mut changed) = (Vec::new(), group.len() > 1);
        // Its last batch stays, if without records: its end says after a crash whose place it takes, and that nothing is missing
        // before the next segment. What does lack there was never on the device.
        let ends_in = group.iter().rposition(|source| source.size > 0);
        for (at, source) in group.iter().enumerate() {
            let mut batches = self.batches(source);
            while let Some(Batch { header, bytes, is_last }) = batches.next()? {
                self.log.check()?;
                let marker = if header.is_control() { recovery::end_transaction_marker(bytes) } else { None };
                let lying = Lying { header: &header, bytes, marker, is_last: is_last && ends_in == Some(at) };
                let mut gone = Vec::new();
                let fate = self.rules.judge(&lying, map, transactions, &mut |offset| {
                    if self.is_observed {
                        gone.push(offset);
                    }
                });
                let fate = fate.map_err(|error| source.unreadable(error))?;
                changed |= fate != Fate::Stays;
                let kept = match &fate {
                    Fate::Stays => bytes,
                    Fate::Becomes(kept) => &kept[..],
                    Fate::Goes => &[],
                };
                output.append(kept)?;
                if self.is_observed && fate != Fate::Stays {
                    observed.push(CleanedBatch::of(&header, kept, gone));
                }
            }
        }
        output.write()?;
        let mut segment = output.segment;
        if !changed {
            recovery::remove_if_present(&self.disk, &format!("{}{CLEANED_SUFFIX}", segment.path("log")))?;
            return Ok(None);
        }
        let indexes = segment.close_beside(&self.disk, CLEANED_SUFFIX)?;
        segment.end_offset = last.end_offset;
        Ok(Some(CleanedSegment {
            segment,
            replaced: group.iter().map(|source| source.base_offset).collect(),
            replaced_bytes: group.iter().map(|source| source.size).sum(),
            indexes,
            directory: self.directory.clone(),
            disk: self.disk.clone(),
            log: self.log.clone(),
            cleaned_to: last.end_offset.min(self.rules.first_uncleanable),
            batches: observed,
        }))
    }

    fn batches<'a>(&'a self, source: &'a Source) -> Batches<'a> {
        let reader = BatchReader::new(source.file.clone(), source.size, self.cleaner.io_buffer_bytes);
        Batches { reader, source, epochs: &self.epochs, position: 0, offset: source.base_offset }
    }
}

impl CleanedSegment {
    /// Brings it to the device, under the name that it has until it is swapped in, and with it the mark that offsets may be
    /// missing in this log.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sync(&self) -> Result<(), LogError> {
        let io = |error| LogError::io("sync", &self.directory, error);
        let marked = recovery::mark_gaps(&self.disk, &self.directory)?;
        for file in [&self.segment.file, &marked].into_iter().chain(&self.indexes) {
            file.sync().await.map_err(io)?;
        }
        self.disk.sync_directory(&self.directory).await.map_err(io)
    }

    /// Removes its files: it is not wanted.
    pub(crate) fn discard(&self) -> Result<(), LogError> {
        let files = ["log", "index", "timeindex"].map(|suffix| self.segment.path(suffix) + CLEANED_SUFFIX);
        files.iter().try_for_each(|path| recovery::remove_if_present(&self.disk, path))
    }

    /// Bytes of its batches.
    pub fn size(&self) -> u64 {
        self.segment.size
    }

    /// Bytes of the batches of the segments whose place it takes.
    pub fn replaced_bytes(&self) -> u64 {
        self.replaced_bytes
    }
}

impl Source {
    fn headers(&self) -> Headers {
        Headers::new(self.file.clone(), self.stem.clone(), 0, self.size)
    }

    fn marker_at(&self, position: u64) -> Result<Option<EndTransactionMarker>, LogError> {
        let mut reader = BatchReader::new(self.file.clone(), self.size, 0);
        let batch = read(reader.batch(position), &self.stem, position)?;
        let (_, bytes) = batch.map_err(|what| corrupt(&self.stem, position, what))?;
        Ok(recovery::end_transaction_marker(bytes))
    }

    fn unreadable(&self, error: BatchError) -> CleanError {
        CleanError::Unreadable { path: format!("{}.log", self.stem), error }
    }
}

/// The batches of one segment, each checked: what is written anew gets another CRC, which must not cover up damage.
struct Batches<'a> {
    reader: BatchReader,
    source: &'a Source,
    epochs: &'a LeaderEpochs,
    position: u64,
    /// Where the batch before ended.
    offset: Offset,
}

struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    /// Whether it is the last of its segment.
    is_last: bool,
}

impl Batches<'_> {
    fn next(&mut self) -> Result<Option<Batch<'_>>, LogError> {
        let Self { source, position, offset, .. } = self;
        let (at, stem) = (*position, &source.stem);
        if at >= source.size {
            return Ok(None);
        }
        let batch = read(self.reader.batch(at), stem, at)?;
        let (header, bytes) = batch.map_err(|what| corrupt(stem, at, what))?;
        check_crc(&header, bytes).map_err(|error| corrupt(stem, at, error))?;
        let fits = header.base_offset >= *offset && header.next_offset() <= source.end_offset;
        if !fits || header.last_offset_delta < 0 {
            return Err(corrupt(stem, at, format!("offset {} where {offset} was expected", header.base_offset)));
        }
        let epoch = self.epochs.epoch_for(header.base_offset);
        if let Some(epoch) = epoch.filter(|epoch| *epoch != header.leader_epoch) {
            return Err(corrupt(stem, at, format!("leader epoch {} instead of {epoch}", header.leader_epoch)));
        }
        (*position, *offset) = (at + header.size() as u64, header.next_offset());
        Ok(Some(Batch { header, bytes, is_last: *position == source.size }))
    }
}

/// The new segment, written in large pieces.
struct Output<'a> {
    segment: Segment,
    pending: Vec<u8>,
    config: &'a LogConfig,
    limit: usize,
}

impl Output<'_> {
    /// Appends one batch, or nothing.
    fn append(&mut self, batch: &[u8]) -> Result<(), LogError> {
        if batch.is_empty() {
            return Ok(());
        }
        let header =
            BatchHeader::parse(batch).map_err(|error| corrupt(self.segment.stem(), self.segment.size, error))?;
        self.segment.note(&header, self.config.index_interval_bytes);
        self.pending.extend_from_slice(batch);
        if self.pending.len() >= self.limit { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), LogError> {
        let written = self.segment.file.append(&self.pending);
        written.map_err(|error| LogError::io("append to", self.segment.path("log"), error))?;
        self.pending.clear();
        Ok(())
    }
}
