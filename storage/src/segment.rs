//! One segment of a log: `<base offset>.log` with batches one after another, and its two indexes.
//!
//! Positions are found by index and then by walking batch headers. The indexes are only hints: where one does not agree
//! with the log, the segment is walked from its beginning.

use crate::{
    config::LogConfig,
    error::LogError,
    offset_index::OffsetIndex,
    time_index::{TimeIndex, TimestampOffset},
};
use protocol::{
    ids::{Offset, WallMillis},
    record_batch::{BatchHeader, HEADER_BYTES},
};
use runtime::disk::{Disk, File, Open};
use std::{collections::VecDeque, io, sync::Arc};

/// How many of the newest batches' positions are remembered: readers at the tail need no index and no walk.
const RECENT_MAX: usize = 128;
/// How much a walk over headers reads at once.
const WALK_BYTES: usize = 4096;

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub base_offset: Offset,
    pub next_offset: Offset,
    pub position: u64,
    pub end: u64,
}

/// What a walk over batches came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    /// The batch that was looked for.
    pub span: Option<Span>,
    /// The last one that the walk passed.
    pub before: Option<Span>,
}

/// A boundary between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub position: u64,
    /// Of the batch that begins here, or would.
    pub offset: Offset,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: Offset,
    /// One past its last record.
    pub end_offset: Offset,
    pub file: File,
    pub size: u64,
    pub offset_index: OffsetIndex,
    pub time_index: TimeIndex,
    /// The largest timestamp of all its batches.
    pub largest: TimestampOffset,
    /// The first batch's timestamp: the segment's age is counted from it.
    pub first_timestamp: Option<WallMillis>,
    pub created: WallMillis,
    bytes_since_index: u64,
    /// How large the file was when it was opened: what lies below is of an earlier life.
    found: u64,
    recent: VecDeque<Span>,
    /// The path of its files, less the suffix.
    stem: Arc<str>,
}

pub(crate) fn corrupt(stem: &str, position: u64, what: impl ToString) -> LogError {
    LogError::Corrupt { path: format!("{stem}.log"), position, what: what.to_string() }
}

/// The path of a segment's files, less the suffix.
pub(crate) fn stem(directory: &str, base_offset: Offset) -> String {
    format!("{directory}/{:020}", base_offset.0)
}

impl Segment {
    /// Opens the file; indexes are empty and in memory. The caller fills them.
    pub fn open(
        disk: &Disk,
        directory: &str,
        base_offset: Offset,
        how: Open,
        now: WallMillis,
    ) -> Result<Self, LogError> {
        Self::open_as(disk, (directory, base_offset, ""), how, now)
    }

    /// An empty segment whose file has this suffix to its name, whatever was left under it.
    pub fn create_beside(disk: &Disk, place: (&str, Offset, &str), created: WallMillis) -> Result<Self, LogError> {
        let mut segment = Self::open_as(disk, place, Open::Create, created)?;
        segment.file.truncate(0).map_err(|error| LogError::io("truncate", segment.path("log"), error))?;
        (segment.size, segment.found) = (0, 0);
        Ok(segment)
    }

    fn open_as(
        disk: &Disk,
        (directory, base_offset, suffix): (&str, Offset, &str),
        how: Open,
        now: WallMillis,
    ) -> Result<Self, LogError> {
        let stem = stem(directory, base_offset);
        let path = format!("{stem}.log{suffix}");
        let file = disk.open(&path, how).map_err(|error| LogError::io("open", &path, error))?;
        let size = file.len().map_err(|error| LogError::io("measure", &path, error))?;
        Ok(Self {
            base_offset,
            end_offset: base_offset,
            file,
            size,
            offset_index: OffsetIndex::new(base_offset),
            time_index: TimeIndex::new(base_offset),
            largest: TimestampOffset::NONE,
            first_timestamp: None,
            created: now,
            bytes_since_index: 0,
            found: size,
            recent: VecDeque::new(),
            stem: stem.into(),
        })
    }

    /// The path of one of its files.
    pub fn path(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.stem)
    }

    /// The path of its files, less the suffix.
    pub fn stem(&self) -> &Arc<str> {
        &self.stem
    }

    /// Whether the batch at a position was written by this process a moment ago.
    pub fn is_fresh(&self, position: u64) -> bool {
        position >= self.found && self.recent.front().is_some_and(|oldest| position >= oldest.position)
    }

    fn corrupt(&self, position: u64, what: impl ToString) -> LogError {
        corrupt(&self.stem, position, what)
    }

    /// Notes a batch that lies at the end: indexes it, and moves the end behind it.
    pub fn note(&mut self, header: &BatchHeader, interval_bytes: u64) {
        let (position, size) = (self.size, header.size() as u64);
        let last_offset = header.last_offset();
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.largest.timestamp {
            self.largest = TimestampOffset { timestamp: header.max_timestamp, offset: last_offset };
        }
        if self.bytes_since_index > interval_bytes {
            self.offset_index.append(last_offset, position);
            self.time_index.append(self.largest);
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += size;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Span::of(header, position));
        self.end_offset = header.next_offset();
        self.size = position + size;
    }

    /// Whether so many bytes more, up to this offset, belong into the next segment (`LogSegment.shouldRoll`).
    pub fn is_full(
        &self,
        config: &LogConfig,
        size: u64,
        last_offset: Offset,
        timestamp: WallMillis,
        now: WallMillis,
    ) -> bool {
        let age = match self.first_timestamp {
            Some(first) if first.0 >= 0 => timestamp.0.saturating_sub(first.0),
            Some(_) | None => now.0.saturating_sub(self.created.0),
        };
        self.size + size > config.segment_bytes
            || age > config.segment_ms_max()
            || (self.offset_index.len() as u64 + 1) * 8 > config.segment_index_bytes
            || (self.time_index.len() as u64 + 2) * 12 > config.segment_index_bytes
            || last_offset.0 - self.base_offset.0 > i64::from(i32::MAX)
    }

    /// The batch that holds `offset`, or the next one if compaction removed it. Nothing at the segment's end or past it.
    pub fn find(&self, offset: Offset) -> Result<Option<Span>, LogError> {
        Ok(self.look_up(offset)?.span)
    }

    /// As [`Self::find`], with the batch before: whether offsets are really missing behind that one, its CRC knows.
    pub fn look_up(&self, offset: Offset) -> Result<Walked, LogError> {
        if offset >= self.end_offset {
            return Ok(Walked { span: None, before: None });
        }
        if let Some(span) = self.find_recent(offset) {
            return Ok(Walked { span: Some(span), before: None });
        }
        let hint = self.offset_index.lookup(offset).unwrap_or(0);
        let found = self.find_from(hint, offset);
        let agrees = match &found {
            Ok(Walked { span: Some(span), before }) => before.is_some() || span.base_offset <= offset,
            Ok(Walked { span: None, .. }) | Err(LogError::Corrupt { .. }) => false,
            Err(_) => true,
        };
        if agrees || hint == 0 {
            let found = found?;
            let gap = found.span.is_some_and(|span| span.base_offset > offset);
            return if gap && hint > 0 { self.look_up_after_gap(hint, offset) } else { Ok(found) };
        }
        tracing::warn!(path = self.path("index"), hint, offset = offset.0, "an index does not agree with its log");
        self.find_from(0, offset)
    }

    /// Compaction leaves gaps; so seems to a batch whose offset was damaged, which the batch before it shows.
    fn look_up_after_gap(&self, hint: u64, offset: Offset) -> Result<Walked, LogError> {
        let earlier = self.offset_index.floor_position(hint - 1).unwrap_or(0);
        self.find_from(earlier, offset)
    }

    fn find_recent(&self, offset: Offset) -> Option<Span> {
        let at = self.recent.partition_point(|batch| batch.base_offset <= offset).checked_sub(1)?;
        let holds = self.recent[at].next_offset > offset;
        self.recent.get(if holds { at } else { at + 1 }).copied()
    }

    /// The first batch from `position` on that ends at `offset` or later.
    fn find_from(&self, position: u64, offset: Offset) -> Result<Walked, LogError> {
        let mut headers = self.headers(position, self.size);
        let mut before: Option<Span> = None;
        while let Some((header, position)) = headers.next()? {
            let expected = before.map_or(self.base_offset, |before| before.next_offset);
            if header.base_offset < expected {
                return Err(self.corrupt(position, format!("offset {} follows {expected}", header.base_offset)));
            }
            let span = Span::of(&header, position);
            if header.last_offset() >= offset {
                return Ok(Walked { span: Some(span), before });
            }
            before = Some(span);
        }
        Ok(Walked { span: None, before })
    }

    /// The last boundary between batches that is neither before `start`'s end nor above `limit`.
    pub fn boundary_below(&self, start: &Span, limit: u64) -> Result<Boundary, LogError> {
        let recent = self.recent.partition_point(|batch| batch.position <= limit).checked_sub(1);
        if let Some(found) = recent.map(|at| self.recent[at]).filter(|found| found.position > start.position) {
            return Ok(Boundary { position: found.position, offset: found.base_offset });
        }
        let after_start = Boundary { position: start.end, offset: start.next_offset };
        let hint = self.offset_index.floor_position(limit).unwrap_or(0);
        if hint > start.end {
            match self.walk_to(Boundary { position: hint, offset: start.next_offset }, limit) {
                Ok(found) if found.offset > start.next_offset => return Ok(found),
                Ok(_) | Err(LogError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.walk_to(after_start, limit)
    }

    fn walk_to(&self, from: Boundary, limit: u64) -> Result<Boundary, LogError> {
        let mut found = from;
        let mut headers = self.headers(from.position, self.size);
        while let Some((header, position)) = headers.next()? {
            found = Boundary { position, offset: header.base_offset };
            let end = position + header.size() as u64;
            if end > limit {
                return Ok(found);
            }
            found = Boundary { position: end, offset: header.next_offset() };
        }
        Ok(found)
    }

    /// A walk over the batches between two positions, the first of which must be a boundary.
    pub fn headers(&self, position: u64, end: u64) -> Headers {
        Headers::new(self.file.clone(), self.stem.clone(), position, end)
    }

    /// A position from which to look for a timestamp.
    pub fn position_for_timestamp(&self, timestamp: WallMillis, from: Offset) -> u64 {
        let offset = self.time_index.lookup(timestamp).unwrap_or(self.base_offset).max(from);
        self.offset_index.lookup(offset).unwrap_or(0)
    }

    /// The bytes of one batch.
    pub fn read(&self, span: &Span) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; (span.end - span.position) as usize];
        let read = self.file.read_exact_at(&mut bytes, span.position);
        read.map_err(|error| LogError::io("read", self.path("log"), error))?;
        Ok(bytes)
    }

    /// Forgets the batch that holds `offset` and all that follow, and answers where the file is to be cut; nothing if there
    /// is no such batch. The indexes must be in memory.
    pub fn truncate(&mut self, offset: Offset) -> Result<Option<u64>, LogError> {
        let Some(span) = self.find(offset)? else { return Ok(None) };
        let end = if span.base_offset > offset { self.end_before(span.position)? } else { span.base_offset };
        self.forget_from(Boundary { position: span.position, offset: end })?;
        Ok(Some(span.position))
    }

    /// Where the batch ends that lies before a position.
    fn end_before(&self, position: u64) -> Result<Offset, LogError> {
        let (mut headers, mut end) = (self.headers(0, position), self.base_offset);
        while let Some((header, _)) = headers.next()? {
            end = header.next_offset();
        }
        Ok(end)
    }

    /// Forgets everything from a boundary on; the file itself is left to the caller. The indexes must be in memory.
    pub fn forget_from(&mut self, to: Boundary) -> Result<(), LogError> {
        (self.size, self.end_offset) = (to.position, to.offset);
        self.offset_index.truncate(to.position);
        self.time_index.truncate(to.offset);
        while self.recent.back().is_some_and(|batch| batch.position >= to.position) {
            self.recent.pop_back();
        }
        self.bytes_since_index = 0;
        if to.position == 0 {
            self.first_timestamp = None;
        }
        self.find_largest()
    }

    /// Finds the largest timestamp, from the last entry of the time index on.
    fn find_largest(&mut self) -> Result<(), LogError> {
        let indexed = self.time_index.last().map_err(|error| LogError::io("read", self.path("timeindex"), error))?;
        let mut largest = indexed.unwrap_or(TimestampOffset::NONE);
        let position = indexed.map_or(Ok(0), |last| self.offset_index.lookup(last.offset));
        let mut headers = self.headers(position.unwrap_or(0), self.size);
        while let Some((header, _)) = headers.next()? {
            if header.max_timestamp > largest.timestamp {
                largest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        self.largest = largest;
        Ok(())
    }

    /// The segment is not written any more: its indexes go to their files. Returns those, to be synced.
    pub fn close(&mut self, disk: &Disk) -> Result<[File; 2], LogError> {
        self.close_beside(disk, "")
    }

    /// As [`Self::close`], to files that have this suffix to their names until [`Self::take_place`].
    pub fn close_beside(&mut self, disk: &Disk, suffix: &str) -> Result<[File; 2], LogError> {
        self.time_index.append(self.largest);
        let (index, time_index) = (self.path("index") + suffix, self.path("timeindex") + suffix);
        let stored =
            self.offset_index.store(disk, index.clone()).map_err(|error| LogError::io("write", index, error))?;
        let path = time_index.clone();
        let stored_times =
            self.time_index.store(disk, time_index).map_err(|error| LogError::io("write", path, error))?;
        self.recent = VecDeque::new();
        Ok([stored, stored_times])
    }

    /// Its files have the names of a segment now.
    pub fn take_place(&mut self) {
        self.offset_index.moved_to(self.path("index"));
        self.time_index.moved_to(self.path("timeindex"));
    }

    /// Writes the indexes to their files, for a clean stop, and keeps them in memory.
    pub fn write_indexes(&mut self, disk: &Disk) -> Result<[File; 2], LogError> {
        self.time_index.append(self.largest);
        let (index, time_index) = (self.path("index"), self.path("timeindex"));
        let written = self.offset_index.write(disk, &index).map_err(|error| LogError::io("write", index, error))?;
        let written_times =
            self.time_index.write(disk, &time_index).map_err(|error| LogError::io("write", time_index, error))?;
        Ok([written, written_times])
    }

    /// Forgets what was noted, to walk the segment anew.
    pub fn reset(&mut self) {
        self.offset_index = OffsetIndex::new(self.base_offset);
        self.time_index = TimeIndex::new(self.base_offset);
        (self.largest, self.first_timestamp) = (TimestampOffset::NONE, None);
        (self.bytes_since_index, self.end_offset, self.size) = (0, self.base_offset, 0);
        self.recent.clear();
    }

    /// Notes every batch by its header alone. Fails where the batches do not fill the file.
    pub fn index_by_headers(&mut self, interval_bytes: u64) -> Result<(), LogError> {
        let mut headers = self.headers(0, self.size);
        self.reset();
        while let Some((header, position)) = headers.next()? {
            if header.base_offset < self.end_offset {
                return Err(
                    self.corrupt(position, format!("offset {} follows {}", header.base_offset, self.end_offset))
                );
            }
            self.note(&header, interval_bytes);
        }
        Ok(())
    }

    /// Takes the indexes from their files into memory, as they were written at a clean stop or a roll, and walks the few
    /// batches behind the last entry. Answers no where the files are missing or do not fit the log.
    pub fn load_indexes(&mut self, disk: &Disk) -> Result<bool, LogError> {
        let end = self.size;
        let offsets = if_present(OffsetIndex::load(disk, &self.path("index"), self.base_offset, end));
        let times = if_present(TimeIndex::load(disk, &self.path("timeindex"), self.base_offset));
        let offsets = offsets.map_err(|error| LogError::io("read", self.path("index"), error))?;
        let times = times.map_err(|error| LogError::io("read", self.path("timeindex"), error))?;
        let (Some(offset_index), Some(time_index)) = (offsets, times) else { return Ok(false) };
        (self.offset_index, self.time_index) = (offset_index, time_index);
        let walked = self.walk_tail(end);
        match walked {
            Ok(()) => Ok(true),
            Err(LogError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::load_indexes`], for a segment before the last: the indexes are searched where they lie. Answers no also
    /// where the last batch does not end at `end_offset`, unless offsets may be missing.
    pub fn open_indexes(&mut self, disk: &Disk, end_offset: Offset, gaps: bool) -> Result<bool, LogError> {
        let end = self.size;
        let (index, time_index) = (self.path("index"), self.path("timeindex"));
        let offsets = if_present(OffsetIndex::open(disk, index.clone(), self.base_offset, end));
        let times = if_present(TimeIndex::open(disk, time_index.clone(), self.base_offset, end_offset));
        let offsets = offsets.map_err(|error| LogError::io("read", index, error))?;
        let times = times.map_err(|error| LogError::io("read", time_index, error))?;
        let (Some(offset_index), Some(time_index)) = (offsets, times) else { return Ok(false) };
        (self.offset_index, self.time_index) = (offset_index, time_index);
        let walked = self.walk_tail(end);
        self.recent = VecDeque::new();
        match walked {
            Ok(()) => {
                let fits = self.end_offset == end_offset || (gaps && self.end_offset < end_offset);
                self.end_offset = end_offset;
                Ok(fits)
            }
            Err(LogError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds where the segment ends and its largest timestamp, from the last index entries on.
    pub fn walk_tail(&mut self, end: u64) -> Result<(), LogError> {
        let indexed = self.offset_index.last().map_err(|error| LogError::io("read", self.path("index"), error))?;
        let from = indexed.map_or(0, |last| last.position);
        let mut end_offset = self.base_offset;
        let mut headers = self.headers(from, end);
        let mut tail = VecDeque::new();
        while let Some((header, position)) = headers.next()? {
            let indexed = indexed.is_none_or(|last| position != last.position || header.last_offset() == last.offset);
            if header.base_offset < end_offset || !indexed {
                return Err(self.corrupt(position, format!("offset {} after {end_offset}", header.base_offset)));
            }
            if tail.len() == RECENT_MAX {
                tail.pop_front();
            }
            tail.push_back(Span::of(&header, position));
            end_offset = header.next_offset();
        }
        let first = if end > 0 { self.headers(0, end).next()? } else { None };
        self.first_timestamp = first.map(|(header, _)| header.max_timestamp);
        (self.end_offset, self.size, self.recent) = (end_offset, end, tail);
        self.bytes_since_index = end - from;
        self.find_largest()
    }
}

/// A file that does not exist holds nothing usable.
fn if_present<T>(result: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result,
    }
}

impl Span {
    pub fn of(header: &BatchHeader, position: u64) -> Self {
        let end = position + header.size() as u64;
        Self { base_offset: header.base_offset, next_offset: header.next_offset(), position, end }
    }
}

/// See [`Segment::headers`].
pub(crate) struct Headers {
    file: File,
    stem: Arc<str>,
    position: u64,
    end: u64,
    buffer: [u8; WALK_BYTES],
    buffered_at: u64,
    buffered: usize,
}

impl Headers {
    /// Over the batches of a file between two positions.
    pub fn new(file: File, stem: Arc<str>, position: u64, end: u64) -> Self {
        Self { file, stem, position, end, buffer: [0; WALK_BYTES], buffered_at: 0, buffered: 0 }
    }

    /// The next batch's header and its position; nothing at the end.
    ///
    /// # Errors
    /// `Corrupt` where there is no whole batch.
    pub fn next(&mut self) -> Result<Option<(BatchHeader, u64)>, LogError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let header = BatchHeader::parse(self.bytes_at(position)?);
        let header = header.map_err(|error| corrupt(&self.stem, position, error))?;
        let end = position + header.size() as u64;
        if end > self.end || header.last_offset_delta < 0 {
            return Err(corrupt(&self.stem, position, format!("a batch of {} bytes is cut off", header.size())));
        }
        self.position = end;
        Ok(Some((header, position)))
    }

    /// At least a header's bytes from a position on, unless the end comes first.
    fn bytes_at(&mut self, position: u64) -> Result<&[u8], LogError> {
        let wanted = (self.end - position).min(HEADER_BYTES as u64) as usize;
        let covered =
            position >= self.buffered_at && position + wanted as u64 <= self.buffered_at + self.buffered as u64;
        if !covered {
            let length = (self.end - position).min(WALK_BYTES as u64) as usize;
            let read = self.file.read_at(&mut self.buffer[..length], position);
            let read = read.map_err(|error| LogError::io("read", format!("{}.log", self.stem), error))?;
            (self.buffered_at, self.buffered) = (position, read);
        }
        let from = (position - self.buffered_at) as usize;
        Ok(&self.buffer[from..self.buffered])
    }
}
