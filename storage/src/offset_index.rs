//! `<base offset>.index`: where in a segment's file to begin looking for an offset.
//!
//! An entry of 8 bytes names a batch: its last offset less the segment's base offset, and its position, both `u32`. There
//! is one for about every `index.interval.bytes` of batches (`OffsetIndex.java`).

use crate::index::{Entry, Index};
use protocol::ids::Offset;
use runtime::disk::{Disk, File};
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffsetEntry {
    relative_offset: u32,
    position: u32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        let (offset, position) = bytes.split_at(4);
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        Self { relative_offset: word(offset), position: word(position) }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }
}

fn rises(before: &OffsetEntry, after: &OffsetEntry) -> bool {
    before.relative_offset < after.relative_offset && before.position < after.position
}

/// An entry, as a place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetPosition {
    pub offset: Offset,
    pub position: u64,
}

/// The offset index of one segment.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base_offset: Offset,
    entries: Index<OffsetEntry>,
}

impl OffsetIndex {
    /// An empty index in memory.
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Index::new() }
    }

    /// A closed segment's index, to be searched in its file. Nothing if it cannot belong to a segment of so many bytes.
    pub fn open(disk: &Disk, path: String, base_offset: Offset, segment_size: u64) -> io::Result<Option<Self>> {
        let Some(entries) = Index::<OffsetEntry>::stored(disk, path)? else { return Ok(None) };
        let plausible = entries.last()?.is_none_or(|last| last.position > 0 && u64::from(last.position) < segment_size);
        Ok(plausible.then_some(Self { base_offset, entries }))
    }

    /// The index in the file, in memory. Nothing if the file is not a rising list within a segment of so many bytes.
    pub fn load(disk: &Disk, path: &str, base_offset: Offset, segment_size: u64) -> io::Result<Option<Self>> {
        let Some(entries) = Index::load(disk, path, rises)? else { return Ok(None) };
        let plausible = entries.last().is_none_or(|last| u64::from(last.position) < segment_size);
        Ok(plausible.then_some(Self { base_offset, entries: Index::Memory(entries) }))
    }

    /// Entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last entry: a batch's last offset and where it begins.
    pub fn last(&self) -> io::Result<Option<OffsetPosition>> {
        let last = self.entries.last()?;
        Ok(last.map(|entry| OffsetPosition {
            offset: self.base_offset.plus(i64::from(entry.relative_offset)),
            position: u64::from(entry.position),
        }))
    }

    /// Adds a batch: its last offset, and where it begins.
    pub fn append(&mut self, last_offset: Offset, position: u64) {
        let relative_offset = u32::try_from(last_offset.0 - self.base_offset.0).expect("a segment is rolled before");
        let entry =
            OffsetEntry { relative_offset, position: u32::try_from(position).expect("a segment is rolled before") };
        let entries = self.entries.entries_mut();
        assert!(entries.last().is_none_or(|last| rises(last, &entry)), "{:?} rises to {entry:?}", entries.last());
        entries.push(entry);
    }

    /// A position at or before the batch that holds `offset`.
    pub fn lookup(&self, offset: Offset) -> io::Result<u64> {
        let relative = offset.0 - self.base_offset.0;
        let found = self.entries.last_where(|entry| i64::from(entry.relative_offset) <= relative)?;
        Ok(found.map_or(0, |entry| u64::from(entry.position)))
    }

    /// The largest position known to be a batch's beginning that is not above `position`.
    pub fn floor_position(&self, position: u64) -> io::Result<u64> {
        let found = self.entries.last_where(|entry| u64::from(entry.position) <= position)?;
        Ok(found.map_or(0, |entry| u64::from(entry.position)))
    }

    /// Removes the entries of batches that begin at `position` or later. The index must be in memory.
    pub fn truncate(&mut self, position: u64) {
        let entries = self.entries.entries_mut();
        let kept = entries.partition_point(|entry| u64::from(entry.position) < position);
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

    fn index_of(entries: &[(u32, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(Offset(100));
        for (relative, position) in entries {
            index.append(Offset(100 + i64::from(*relative)), u64::from(*position));
        }
        index
    }

    /// Rising pairs.
    fn entries() -> impl Strategy<Value = Vec<(u32, u32)>> {
        proptest::collection::vec((1..50u32, 1..5000u32), 0..60).prop_map(|steps| {
            let mut at = (0, 0);
            let rise = |(offset, position): (u32, u32)| {
                at = (at.0 + offset, at.1 + position);
                at
            };
            steps.into_iter().map(rise).collect()
        })
    }

    #[test]
    fn entries_are_kafkas_eight_bytes() {
        // t1-0/00000000000000000024.index of a Kafka 4.1.0 data directory.
        let bytes = [0, 0, 0, 1, 0, 1, 0x86, 0xeb, 0, 0, 0, 3, 0, 3, 0x0e, 0x24];
        let decoded: Vec<OffsetEntry> = bytes.chunks(8).map(OffsetEntry::decode).collect();
        assert_eq!(decoded[1], OffsetEntry { relative_offset: 3, position: 200_228 });
        let mut encoded = Vec::new();
        decoded.iter().for_each(|entry| entry.encode(&mut encoded));
        assert_eq!(encoded, bytes);
    }

    proptest! {
        #[test]
        fn a_lookup_finds_the_last_entry_not_above(entries in entries(), asked in 0..4000u32, position in 0..300_000u64) {
            let index = index_of(&entries);
            let by_offset = entries.iter().rev().find(|entry| entry.0 <= asked).map_or(0, |entry| entry.1);
            prop_assert_eq!(index.lookup(Offset(100 + i64::from(asked))).expect("in memory"), u64::from(by_offset));
            let by_position = entries.iter().rev().find(|entry| u64::from(entry.1) <= position).map_or(0, |entry| entry.1);
            prop_assert_eq!(index.floor_position(position).expect("in memory"), u64::from(by_position));
        }

        #[test]
        fn truncation_keeps_what_begins_before(entries in entries(), cut in 0..300_000u64) {
            let mut index = index_of(&entries);
            index.truncate(cut);
            prop_assert_eq!(index.len(), entries.iter().filter(|entry| u64::from(entry.1) < cut).count());
        }
    }
}
