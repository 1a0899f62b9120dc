//! A sorted list of fixed-size entries: in memory while its segment is written, in a file once the segment is closed.
//!
//! A closed segment's index is searched where it lies, a few small reads a search, so that old segments cost no memory.
//! Nothing here is trusted: whoever looks something up checks it against the log, and can do without.

use runtime::disk::{Disk, File, Open};
use std::{io, sync::OnceLock};

/// One entry of an index file.
pub(crate) trait Entry: Copy {
    /// Its bytes in the file.
    const BYTES: usize;
    /// Reads it from exactly that many bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// Writes it.
    fn encode(self, into: &mut Vec<u8>);
}

/// The entries of one segment.
#[derive(Debug)]
pub(crate) enum Index<E> {
    /// Of the active segment.
    Memory(Vec<E>),
    /// Of a closed one. Its file is opened when it is first searched.
    Stored { disk: Disk, path: String, count: usize, file: OnceLock<File> },
}

impl<E: Entry> Index<E> {
    pub fn new() -> Self {
        Self::Memory(Vec::new())
    }

    /// The file's entries, to be searched where they lie; nothing if its length is not a whole number of entries.
    pub fn stored(disk: &Disk, path: String) -> io::Result<Option<Self>> {
        let length = disk.open(&path, Open::Existing)?.len()?;
        let count = length / E::BYTES as u64;
        let whole = length.is_multiple_of(E::BYTES as u64);
        let stored = Self::Stored { disk: disk.clone(), path, count: count as usize, file: OnceLock::new() };
        Ok(whole.then_some(stored))
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Memory(entries) => entries.len(),
            Self::Stored { count, .. } => *count,
        }
    }

    /// The entries, to be read one by one.
    fn open(&self) -> io::Result<Reader<'_, E>> {
        Ok(match self {
            Self::Memory(entries) => Reader::Memory(entries),
            Self::Stored { disk, path, file, .. } => Reader::Stored(match file.get() {
                Some(file) => file,
                None => {
                    let opened = disk.open(path, Open::Existing)?;
                    file.get_or_init(|| opened)
                }
            }),
        })
    }

    pub fn last(&self) -> io::Result<Option<E>> {
        match self.len() {
            0 => Ok(None),
            count => self.open()?.get(count - 1).map(Some),
        }
    }

    /// The last entry for which `holds` is true, in an index where it is true for a first part and false for the rest.
    pub fn last_where(&self, holds: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        let (mut low, mut high) = (0, self.len());
        if high == 0 {
            return Ok(None);
        }
        let mut reader = self.open()?;
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = reader.get(middle)?;
            if holds(&entry) {
                (found, low) = (Some(entry), middle + 1);
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    /// The entries of an index that is in memory.
    pub fn entries_mut(&mut self) -> &mut Vec<E> {
        match self {
            Self::Memory(entries) => entries,
            Self::Stored { path, .. } => unreachable!("{path} belongs to a closed segment"),
        }
    }

    /// Every entry of a stored index, if each follows the one before as `rises` says.
    pub fn load(disk: &Disk, path: &str, rises: impl Fn(&E, &E) -> bool) -> io::Result<Option<Vec<E>>> {
        let bytes = disk.read(path)?;
        if !bytes.len().is_multiple_of(E::BYTES) {
            return Ok(None);
        }
        let entries: Vec<E> = bytes.chunks_exact(E::BYTES).map(E::decode).collect();
        Ok(entries.is_sorted_by(rises).then_some(entries))
    }

    /// Writes an index that is in memory to its file, and goes on searching it there. Returns the file, to be synced.
    pub fn store(&mut self, disk: &Disk, path: String) -> io::Result<File> {
        let file = self.write(disk, &path)?;
        *self = Self::Stored { disk: disk.clone(), path, count: self.len(), file: OnceLock::new() };
        Ok(file)
    }

    /// The file of a stored index has another name now.
    pub fn moved_to(&mut self, to: String) {
        if let Self::Stored { path, .. } = self {
            *path = to;
        }
    }

    /// Writes an index that is in memory to its file, and keeps it in memory.
    pub fn write(&mut self, disk: &Disk, path: &str) -> io::Result<File> {
        let entries = self.entries_mut();
        let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let file = disk.open(path, Open::Create)?;
        file.truncate(0)?;
        file.append(&bytes)?;
        Ok(file)
    }
}

enum Reader<'a, E> {
    Memory(&'a [E]),
    Stored(&'a File),
}

impl<E: Entry> Reader<'_, E> {
    fn get(&mut self, at: usize) -> io::Result<E> {
        match self {
            Self::Memory(entries) => Ok(entries[at]),
            Self::Stored(file) => {
                let mut bytes = [0; 16];
                let bytes = &mut bytes[..E::BYTES];
                file.read_exact_at(bytes, (at * E::BYTES) as u64)?;
                Ok(E::decode(bytes))
            }
        }
    }
}
