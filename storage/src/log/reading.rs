//! Reading: slices of the files, and lookups by timestamp.

use super::Log;
use crate::{
    batch_reader::BatchReader,
    error::{LogError, ReadError},
    leader_epochs::EpochEntry,
    segment::{Boundary, Segment, Span, corrupt},
};
use protocol::{
    ids::{LeaderEpoch, Offset, WallMillis},
    record_batch::{BatchHeader, HEADER_BYTES, Record, check_crc, records},
};
use runtime::disk::{File, FileSlice};
use std::{io, ops::Range, sync::Arc};

/// The most that one batch may grow to when it is decompressed to look for a timestamp.
const DECOMPRESSED_BYTES_MAX: usize = 100 << 20;

/// How much is read at once to be checked: it should stay in a core's own cache until it is summed.
const CHECK_BYTES: usize = 256 << 10;

/// Whole batches of a log, not copied.
#[derive(Clone, Debug)]
pub struct LogSlice {
    /// Their bytes; none when nothing was there to read.
    pub slice: FileSlice,
    /// First offset of the first batch, which may lie before the asked offset; the asked offset when there is none.
    pub base_offset: Offset,
    /// One past the last batch: where to read on.
    pub next_offset: Offset,
    /// What its batches must be; nothing for what this process wrote a moment ago.
    expected: Option<Box<Expected>>,
}

/// What is known of batches before they are read.
#[derive(Clone, Debug)]
struct Expected {
    /// The path of the segment's files, less the suffix.
    stem: Arc<str>,
    /// Where the segment's file ends, and at which offset.
    end: Boundary,
    /// In which leader epochs the batches were written.
    epochs: Vec<EpochEntry>,
    /// The batch before, where offsets between it and the first one seem to be missing.
    before: Option<Before>,
}

/// See [`Expected::before`].
#[derive(Clone, Debug)]
struct Before {
    stem: Arc<str>,
    file: File,
    span: Span,
}

impl Before {
    /// Whether it ends where it says. If not, it may hold the offset that was asked for.
    fn check(&self) -> Result<(), LogError> {
        let Self { stem, file, span } = self;
        let mut reader = BatchReader::new(file.clone(), span.end, HEADER_BYTES);
        let (header, bytes) = read(reader.batch(span.position), stem, span.position)?
            .map_err(|what| corrupt(stem, span.position, what))?;
        check_crc(&header, bytes).map_err(|error| corrupt(stem, span.position, error))
    }
}

impl LogSlice {
    /// Reads the batches and checks that they are those which were written: their CRCs, and what those leave out. What this
    /// process wrote a moment ago is not read: the system still holds it in memory.
    ///
    /// Takes its time where the device must be asked. Of a log that was cut since the slice was taken it says nothing.
    ///
    /// # Errors
    /// `Corrupt` where it is something else; otherwise when the disk refuses.
    pub fn check(&self) -> Result<(), LogError> {
        self.expected.as_ref().map_or(Ok(()), |expected| self.check_against(expected))
    }

    fn check_against(&self, expected: &Expected) -> Result<(), LogError> {
        expected.before.as_ref().map_or(Ok(()), Before::check)?;
        let corrupt = |position, what: String| corrupt(&expected.stem, position, what);
        let (mut at, end) = (self.slice.position, self.slice.position + self.slice.length);
        let mut reader = BatchReader::new(self.slice.file.clone(), end, CHECK_BYTES);
        let mut offset = self.base_offset;
        while at < end {
            let batch = read(reader.batch(at), &expected.stem, at)?;
            let (header, bytes) = batch.map_err(|what| corrupt(at, what))?;
            check_crc(&header, bytes).map_err(|error| corrupt(at, error.to_string()))?;
            if header.base_offset < offset || header.last_offset_delta < 0 {
                return Err(corrupt(at, format!("offset {} where {offset} was expected", header.base_offset)));
            }
            let epoch = expected.epochs.iter().rev().find(|entry| entry.start_offset <= header.base_offset);
            if let Some(epoch) = epoch.filter(|epoch| epoch.leader_epoch != header.leader_epoch) {
                return Err(corrupt(
                    at,
                    format!("leader epoch {} instead of {}", header.leader_epoch, epoch.leader_epoch),
                ));
            }
            (at, offset) = (at + header.size() as u64, header.next_offset());
        }
        let next = if at < expected.end.position {
            let mut following = BatchReader::new(self.slice.file.clone(), expected.end.position, HEADER_BYTES);
            let header = read(following.header(at), &expected.stem, at)?;
            header.map_err(|what| corrupt(at, what))?.base_offset
        } else {
            expected.end.offset
        };
        if offset > next {
            return Err(corrupt(at, format!("offset {next} follows {offset}")));
        }
        Ok(())
    }
}

/// A file that ends too early is damaged; any other error is the disk's.
pub(crate) fn read<T>(result: io::Result<T>, stem: &str, at: u64) -> Result<T, LogError> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(stem, at, "the file ends here"),
        _ => LogError::io("read", format!("{stem}.log"), error),
    })
}

/// A record that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: WallMillis,
    /// The leader epoch stamped on its batch.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// Reads whole batches from the one that holds `from` on, out of one segment: those that end below `bound`, up to
    /// `max_bytes`. With `at_least_one` the first batch comes whatever its size, so that a reader is never stuck.
    ///
    /// # Errors
    /// `OutOfRange` when `from` is below the log's start or above its end; otherwise when the disk refuses.
    pub fn read(
        &self,
        from: Offset,
        bound: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, ReadError> {
        let log_end_offset = self.log_end_offset();
        if from < self.log_start_offset || from > log_end_offset {
            return Err(ReadError::OutOfRange {
                offset: from,
                log_start_offset: self.log_start_offset,
                log_end_offset,
            });
        }
        let segment = self.segment_for(from);
        if from >= bound || from == log_end_offset {
            return Ok(empty(segment, from));
        }
        let Some((segment, start, before)) = self.first_batch(from)? else { return Ok(empty(segment, from)) };
        let (stop, stop_offset) = if bound >= segment.end_offset {
            (segment.size, segment.end_offset)
        } else {
            segment
                .find(bound)?
                .map_or((segment.size, segment.end_offset), |span| (span.position, span.base_offset.min(bound)))
        };
        if stop <= start.position {
            return Ok(empty(segment, from)); // the bound lies within the first batch
        }
        let max_bytes = max_bytes as u64;
        let (end, next_offset) = if stop - start.position <= max_bytes {
            (stop, stop_offset)
        } else if start.end - start.position > max_bytes {
            if !at_least_one {
                return Ok(empty(segment, from));
            }
            (start.end, start.next_offset)
        } else {
            let boundary = segment.boundary_below(&start, start.position + max_bytes)?;
            (boundary.position, boundary.offset)
        };
        let slice = FileSlice { file: segment.file.clone(), position: start.position, length: end - start.position };
        let base_offset = start.base_offset;
        let known = before.is_none() && segment.is_fresh(start.position);
        let expected = (!known).then(|| self.expected(segment, base_offset..next_offset, before));
        Ok(LogSlice { slice, base_offset, next_offset, expected })
    }

    fn expected(&self, segment: &Segment, offsets: Range<Offset>, before: Option<Before>) -> Box<Expected> {
        let entries = self.epochs.entries();
        let first = entries.partition_point(|entry| entry.start_offset <= offsets.start).saturating_sub(1);
        let after = entries.partition_point(|entry| entry.start_offset < offsets.end);
        let epochs = entries[first.min(after)..after].to_vec();
        let end = Boundary { position: segment.size, offset: segment.end_offset };
        Box::new(Expected { stem: segment.stem().clone(), end, epochs, before })
    }

    /// The segment whose range holds an offset; the first one for offsets before.
    fn segment_for(&self, offset: Offset) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        &self.segments[after.saturating_sub(1)]
    }

    /// The batch that holds `offset`, or the next one where compaction left a gap, and then the one before that. Nothing
    /// where the log ends in a gap.
    #[expect(clippy::type_complexity, reason = "read once, where it is taken apart")]
    fn first_batch(&self, offset: Offset) -> Result<Option<(&Segment, Span, Option<Before>)>, LogError> {
        let at = self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        let mut before = None;
        for segment in &self.segments[at..] {
            let found = segment.look_up(offset.max(segment.base_offset))?;
            let of_segment = |span| Before { stem: segment.stem().clone(), file: segment.file.clone(), span };
            before = found.before.map(of_segment).or(before);
            if let Some(span) = found.span {
                return Ok(Some((segment, span, before.filter(|_| span.base_offset > offset))));
            }
        }
        if self.gaps {
            return Ok(None);
        }
        let path = self.segments[at].path("log");
        Err(LogError::Corrupt { path, position: 0, what: format!("offset {offset} is not in it") })
    }

    /// The first record below `bound` whose timestamp is `timestamp` or later (`UnifiedLog.fetchOffsetByTimestamp`).
    ///
    /// # Errors
    /// When the disk refuses, or a batch that must be decoded is broken.
    pub fn offset_for_timestamp(&self, timestamp: WallMillis, bound: Offset) -> Result<Option<FoundOffset>, LogError> {
        for segment in &self.segments {
            if segment.largest.timestamp < timestamp || segment.end_offset <= self.log_start_offset {
                continue;
            }
            let position = segment.position_for_timestamp(timestamp, self.log_start_offset);
            let mut headers = segment.headers(position, segment.size);
            while let Some((header, position)) = headers.next()? {
                if header.base_offset >= bound {
                    return Ok(None);
                }
                if header.max_timestamp < timestamp || header.last_offset() < self.log_start_offset {
                    continue;
                }
                let matches = |record: &Record| record.timestamp >= timestamp && record.offset >= self.log_start_offset;
                if let Some(found) = find_record(segment, &header, position, matches)? {
                    return Ok((found.offset < bound).then_some(found));
                }
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log, if it lies below `bound` (KIP-734).
    ///
    /// # Errors
    /// As [`Self::offset_for_timestamp`].
    pub fn offset_of_max_timestamp(&self, bound: Offset) -> Result<Option<FoundOffset>, LogError> {
        let live =
            self.segments.iter().filter(|segment| segment.end_offset > self.log_start_offset && segment.size > 0);
        // Of segments with equal timestamps the first has the first record.
        let Some(segment) = live.rev().max_by_key(|segment| segment.largest.timestamp) else { return Ok(None) };
        let largest = segment.largest;
        if largest.timestamp.0 < 0 {
            return Ok(None);
        }
        let Some(span) = segment.find(largest.offset)? else { return Ok(None) };
        let bytes = segment.read(&span)?;
        let header = BatchHeader::parse(&bytes).map_err(|error| broken(segment, span.position, error))?;
        let found = find_record(segment, &header, span.position, |record| record.timestamp >= largest.timestamp)?;
        Ok(found.filter(|found| found.offset < bound))
    }
}

fn empty(segment: &Segment, from: Offset) -> LogSlice {
    let slice = FileSlice { file: segment.file.clone(), position: segment.size, length: 0 };
    LogSlice { slice, base_offset: from, next_offset: from, expected: None }
}

fn broken(segment: &Segment, position: u64, error: protocol::record_batch::BatchError) -> LogError {
    LogError::Corrupt { path: segment.path("log"), position, what: error.to_string() }
}

/// The first record of a batch that matches.
fn find_record(
    segment: &Segment,
    header: &BatchHeader,
    position: u64,
    matches: impl Fn(&Record) -> bool,
) -> Result<Option<FoundOffset>, LogError> {
    let bytes = segment.read(&Span::of(header, position))?;
    check_crc(header, &bytes).map_err(|error| broken(segment, position, error))?;
    let records = records(&bytes, DECOMPRESSED_BYTES_MAX).map_err(|error| broken(segment, position, error))?;
    let found = records.iter().find(|record| matches(record));
    Ok(found.map(|record| FoundOffset {
        offset: record.offset,
        timestamp: record.timestamp,
        leader_epoch: header.leader_epoch,
    }))
}
