//! Indexes and producer snapshots of a segment, as `kafka-dump-log` prints and checks them.

use super::dump::{Findings, Segment, batch_at};
use protocol::{
    ids::{Offset, WallMillis},
    record_batch::{BatchHeader, records},
};
use runtime::disk::File;
use std::io::{self, Write};
use storage::ProducerState;

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;
const ABORTED_ENTRY_BYTES: usize = 34;
/// What the records of one batch may grow to in memory.
const BATCH_BYTES_MAX: usize = 100 << 20;

/// What is printed of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Every entry, and what is wrong.
    Entries,
    /// Only what is wrong with it when it is compared with the segment.
    Findings,
    /// Whether a server would take it at its start.
    Sanity,
}

/// An offset index: each entry must name the last offset of the batch at its position.
pub fn offsets(
    segment: &Segment,
    place: &str,
    shows: Shows,
    out: &mut impl Write,
    findings: &mut Findings,
) -> io::Result<()> {
    let entries = entries(segment, "index", OFFSET_ENTRY_BYTES)?;
    if entries.is_empty() {
        return writeln!(out, "{place} is empty.");
    }
    if shows == Shows::Sanity {
        return writeln!(out, "{place} passed sanity check.");
    }
    let log = segment.open("log")?;
    let length = log.len()?;
    let mut wrong = Findings::new();
    for (number, entry) in entries.iter().enumerate() {
        let offset = Offset(segment.base_offset.0 + i64::from(int(&entry[..4])));
        let position = int(&entry[4..]);
        // A file that was not closed ends in entries of nothing.
        if offset == segment.base_offset && number > 0 {
            break;
        }
        let found = last_offset_at(&log, position as u64, length)?;
        if found != Some(offset) {
            let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            wrong.push(format!("  Index offset: {offset}, log offset: {found}"));
        }
        if shows == Shows::Entries {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    tell(findings, format!("Mismatches in :{place}"), wrong);
    Ok(())
}

/// A time index: each entry must name the largest timestamp up to the last offset of a batch, and they must rise.
pub fn times(
    segment: &Segment,
    place: &str,
    shows: Shows,
    out: &mut impl Write,
    findings: &mut Findings,
) -> io::Result<()> {
    let entries = entries(segment, "timeindex", TIME_ENTRY_BYTES)?;
    if shows == Shows::Sanity {
        return writeln!(out, "{place} passed sanity check.");
    }
    let log = segment.open("log")?;
    let mut cursor = Cursor::new(&log)?;
    let (mut missing, mut mismatched, mut unordered) = (Findings::new(), Findings::new(), Findings::new());
    let mut before = -1;
    for (number, entry) in entries.iter().enumerate() {
        let timestamp = i64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
        let offset = Offset(segment.base_offset.0 + i64::from(int(&entry[8..])));
        if offset == segment.base_offset && number > 0 {
            break;
        }
        match cursor.find(offset)? {
            (found, None) => {
                let found = found.map_or(-1, |found| found.0);
                missing.push(format!("Indexed offset: {offset}, found log offset: {found}"));
            }
            (_, Some(largest)) if largest != timestamp => {
                mismatched.push(format!("  Index timestamp: {timestamp}, log timestamp: {largest}"));
            }
            (_, Some(_)) => {}
        }
        if before >= timestamp {
            unordered.push(format!("  Index timestamp: {timestamp}, Previously indexed timestamp: {before}"));
        }
        if shows == Shows::Entries {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        before = timestamp;
    }
    tell(findings, format!("Found timestamp mismatch in :{place}"), mismatched);
    tell(findings, format!("Found out of order timestamp in :{place}"), unordered);
    tell(findings, "The following indexed offsets are not found in the log.".to_owned(), missing);
    Ok(())
}

/// The aborted transactions of a segment (`AbortedTxn`).
pub fn aborted(segment: &Segment, out: &mut impl Write) -> io::Result<()> {
    for entry in entries(segment, "txnindex", ABORTED_ENTRY_BYTES)? {
        let long = |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
        writeln!(
            out,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            i16::from_be_bytes([entry[0], entry[1]]),
            long(2),
            long(10),
            long(18),
            long(26),
        )?;
    }
    Ok(())
}

/// The producers of a snapshot.
pub fn producers(segment: &Segment, out: &mut impl Write, findings: &mut Findings) -> io::Result<()> {
    let bytes = segment.disk.read(&format!("{}.snapshot", segment.stem))?;
    // None of them is too old to be printed.
    let state = match ProducerState::decode_snapshot(&bytes, segment.base_offset, WallMillis(0), i64::MAX) {
        Ok(state) => state,
        Err(error) => {
            findings.push(error.to_string());
            return Ok(());
        }
    };
    for (producer_id, entry) in state.iter() {
        let open = entry.transaction_first_offset;
        let open = open.map_or_else(|| "OptionalLong.empty".to_owned(), |offset| format!("OptionalLong[{offset}]"));
        write!(
            out,
            "producerId: {producer_id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {open} lastTimestamp: {} ",
            entry.producer_epoch.0, entry.coordinator_epoch.0, entry.last_timestamp.0,
        )?;
        if let Some(batch) = entry.last_batch() {
            write!(
                out,
                "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                batch.first_sequence().0,
                batch.last_sequence.0,
                batch.last_offset,
                batch.offset_delta,
                batch.timestamp.0,
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn tell(findings: &mut Findings, heading: String, wrong: Findings) {
    if !wrong.is_empty() {
        findings.push(heading);
        findings.extend(wrong);
    }
}

/// The entries of an index file. A length that is no multiple of an entry's is what a server refuses at its start.
fn entries(segment: &Segment, suffix: &str, entry_bytes: usize) -> io::Result<Vec<Vec<u8>>> {
    let bytes = segment.disk.read(&format!("{}.{suffix}", segment.stem))?;
    if bytes.len() % entry_bytes != 0 {
        let what = format!("an index of {} bytes is corrupt: an entry has {entry_bytes}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(bytes.chunks_exact(entry_bytes).map(<[u8]>::to_vec).collect())
}

fn int(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn last_offset_at(log: &File, position: u64, length: u64) -> io::Result<Option<Offset>> {
    let batch = batch_at(log, position, length)?;
    Ok(batch.and_then(|batch| BatchHeader::parse(&batch).ok()).map(|header| header.last_offset()))
}

/// Goes through a segment once, for offsets that rise.
struct Cursor<'a> {
    log: &'a File,
    length: u64,
    next: u64,
    batch: Option<(BatchHeader, Vec<u8>)>,
}

impl<'a> Cursor<'a> {
    fn new(log: &'a File) -> io::Result<Self> {
        Ok(Self { log, length: log.len()?, next: 0, batch: None })
    }

    /// The first batch that ends at or behind an offset: its last offset, and its records' largest timestamp if it ends
    /// just there.
    fn find(&mut self, offset: Offset) -> io::Result<(Option<Offset>, Option<i64>)> {
        while self.batch.as_ref().is_none_or(|(header, _)| header.last_offset() < offset) {
            let Some(bytes) = batch_at(self.log, self.next, self.length)? else { return Ok((None, None)) };
            self.next += bytes.len() as u64;
            self.batch = Some((BatchHeader::parse(&bytes).map_err(io::Error::other)?, bytes));
        }
        let Some((header, bytes)) = &self.batch else { return Ok((None, None)) };
        let last_offset = header.last_offset();
        if last_offset != offset {
            return Ok((Some(last_offset), None));
        }
        let decoded = records(bytes, BATCH_BYTES_MAX).unwrap_or_default();
        Ok((Some(last_offset), decoded.iter().map(|record| record.timestamp.0).max()))
    }
}
