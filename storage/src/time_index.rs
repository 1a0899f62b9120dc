//! `<base offset>.timeindex`: from which offset of a segment on to look for a timestamp.
//!
//! An entry of 12 bytes says that no batch up to this offset has a larger timestamp: the timestamp, and the last offset of
//! the first batch that has it, less the segment's base offset. Entries rise in both (`TimeIndex.java`). The last entry of
//! a closed segment is its largest timestamp.

use crate::index::{Entry, Index};
use protocol::ids::{Offset, WallMillis};
use runtime::disk::{Disk, File};
use std::io;

/// A timestamp, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    pub timestamp: WallMillis,
    pub offset: Offset,
}

impl TimestampOffset {
    /// No batch has a timestamp.
    pub const NONE: Self = Self { timestamp: WallMillis(-1), offset: Offset::UNKNOWN };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeEntry {
    timestamp: i64,
    relative_offset: u32,
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        let (timestamp, offset) = bytes.split_at(8);
        Self {
            timestamp: i64::from_be_bytes(timestamp.try_into().expect("eight bytes")),
            relative_offset: u32::from_be_bytes(offset.try_into().expect("four bytes")),
        }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

fn rises(before: &TimeEntry, after: &TimeEntry) -> bool {
    before.timestamp < after.timestamp && before.relative_offset <= after.relative_offset
}

/// The time index of one segment.
#[derive(Debug)]
pub(crate) struct TimeIndex {
    base_offset: Offset,
    entries: Index<TimeEntry>,
}

impl TimeIndex {
    /// An empty index in memory.
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Index::new() }
    }

    /// A closed segment's index, to be searched in its file. Nothing if it cannot belong to a segment whose next one begins
    /// at `end_offset`.
    pub fn open(disk: &Disk, path: String, base_offset: Offset, end_offset: Offset) -> io::Result<Option<Self>> {
        let Some(entries) = Index::<TimeEntry>::stored(disk, path)? else { return Ok(None) };
        let index = Self { base_offset, entries };
        let plausible = index.last()?.is_none_or(|last| last.timestamp.0 >= 0 && last.offset < end_offset);
        Ok(plausible.then_some(index))
    }

    /// The index in the file, in memory. Nothing if the file is not a rising list.
    pub fn load(disk: &Disk, path: &str, base_offset: Offset) -> io::Result<Option<Self>> {
        let Some(entries) = Index::load(disk, path, rises)? else { return Ok(None) };
        let plausible = entries.last().is_none_or(|last| last.timestamp >= 0);
        Ok(plausible.then_some(Self { base_offset, entries: Index::Memory(entries) }))
    }

    /// Entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn decode(&self, entry: TimeEntry) -> TimestampOffset {
        TimestampOffset {
            timestamp: WallMillis(entry.timestamp),
            offset: self.base_offset.plus(i64::from(entry.relative_offset)),
        }
    }

    /// The last entry: in a closed segment, its largest timestamp.
    pub fn last(&self) -> io::Result<Option<TimestampOffset>> {
        Ok(self.entries.last()?.map(|entry| self.decode(entry)))
    }

    /// Adds the largest timestamp so far, unless it is the last entry's already.
    pub fn append(&mut self, largest: TimestampOffset) {
        if largest.timestamp.0 < 0 {
            return;
        }
        let relative_offset = u32::try_from(largest.offset.0 - self.base_offset.0).expect("a segment is rolled before");
        let entry = TimeEntry { timestamp: largest.timestamp.0, relative_offset };
        let entries = self.entries.entries_mut();
        if entries.last().is_none_or(|last| rises(last, &entry)) {
            entries.push(entry);
        }
    }

    /// An offset such that no batch that ends before it has a timestamp of `timestamp` or more.
    pub fn lookup(&self, timestamp: WallMillis) -> io::Result<Offset> {
        // Kafka takes the last entry not above the target; one that equals it names the very batch.
        let found = self.entries.last_where(|entry| entry.timestamp <= timestamp.0)?;
        Ok(found.map_or(self.base_offset, |entry| self.decode(entry).offset))
    }

    /// Removes the entries of batches that end at `end_offset` or later. The index must be in memory.
    pub fn truncate(&mut self, end_offset: Offset) {
        let base_offset = self.base_offset;
        let entries = self.entries.entries_mut();
        let kept = entries.partition_point(|entry| base_offset.plus(i64::from(entry.relative_offset)) < end_offset);
        entries.truncate(kept);
    }

    /// Writes the file, and searches it there from now on.
    pub fn store(&mut self, disk: &Disk, path: String) -> io::Result<File> {
        self.entries.store(disk, path)
    }

    /// The file that is searched has another name now.
    pub fn moved_to(&mut self, path: String) {
        self.entries.moved_to(path);
    }

    /// Writes the file, and stays in memory.
    pub fn write(&mut self, disk: &Disk, path: &str) -> io::Result<File> {
        self.entries.write(disk, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_kafkas_twelve_bytes() {
        // t1-1/00000000000000000000.timeindex of a Kafka 4.1.0 data directory.
        let bytes = [0, 0, 1, 0xa1, 0xfd, 0x5a, 0xfc, 0x80, 0, 0, 0, 1];
        let decoded = TimeEntry::decode(&bytes);
        assert_eq!(decoded, TimeEntry { timestamp: 1_795_251_960_960, relative_offset: 1 });
        let mut encoded = Vec::new();
        decoded.encode(&mut encoded);
        assert_eq!(encoded, bytes);
    }

    proptest! {
        #[test]
        fn nothing_before_a_lookup_is_as_late(batches in proptest::collection::vec((0..200i64, any::<bool>()), 1..60), asked in 0..200i64) {
            let mut index = TimeIndex::new(Offset(10));
            let mut largest = TimestampOffset::NONE;
            for (at, (timestamp, indexed)) in batches.iter().enumerate() {
                if *timestamp > largest.timestamp.0 {
                    largest = TimestampOffset { timestamp: WallMillis(*timestamp), offset: Offset(10 + at as i64) };
                }
                if *indexed {
                    index.append(largest);
                }
            }
            let found = index.lookup(WallMillis(asked)).expect("in memory").0 - 10;
            prop_assert!(batches.iter().take(found as usize).all(|(timestamp, _)| *timestamp < asked));
            index.append(largest);
            prop_assert_eq!(index.last().expect("in memory"), Some(largest));
        }
    }
}
