//! What an interrupted change left in a log's directory: removed, or carried through.
//!
//! A file named `.cleaned` was not whole; one named `.deleted` waited to be removed. A segment named `.swap` was whole, and
//! about to take the place of those whose batches it holds (`LogLoader.removeTempFilesAndCollectSwapFiles`): they go, and it
//! gets its name. Its batches are renamed last, so that this can be interrupted and done again.

use super::{Loading, parse_offset, remove_if_present};
use crate::{
    cleaner::SWAP_SUFFIX,
    error::LogError,
    segment::{Headers, stem},
};
use protocol::ids::Offset;
use runtime::disk::{Disk, File, Open};

/// The file that says that offsets may be missing between batches, whatever its topic's settings say: recovery must know
/// before they are known.
const GAPS: &str = "compacted";

/// Creates the file that says that offsets may be missing, and returns it, to be synced.
pub(crate) fn mark_gaps(disk: &Disk, directory: &str) -> Result<File, LogError> {
    let path = format!("{directory}/{GAPS}");
    disk.open(&path, Open::Create).map_err(|error| LogError::io("create", path, error))
}

#[derive(Default)]
struct Stock {
    bases: Vec<Offset>,
    indexes: Vec<(Offset, String)>,
    /// Segments that are about to take others' place.
    swaps: Vec<Offset>,
}

impl Loading {
    /// Finds the segments and snapshots.
    pub(super) fn take_stock(&mut self) -> Result<Vec<Offset>, LogError> {
        let mut stock = self.look()?;
        if !stock.swaps.is_empty() {
            for base in &stock.swaps {
                self.complete_swap(*base, &stock.bases)?;
            }
            stock = self.look()?;
        }
        let Stock { bases, indexes, .. } = stock;
        for (_, path) in indexes.into_iter().filter(|(base, _)| bases.binary_search(base).is_err()) {
            remove_if_present(&self.disk, &path)?;
            self.names_changed = true;
        }
        Ok(bases)
    }

    fn look(&mut self) -> Result<Stock, LogError> {
        let entries = self.disk.list(&self.directory).map_err(|error| LogError::io("list", &self.directory, error))?;
        let mut stock = Stock::default();
        let of_swap = |name: &str| name.strip_suffix(".log.swap").and_then(parse_offset);
        stock.swaps = entries.iter().filter_map(|entry| of_swap(&entry.name)).collect();
        self.snapshots.clear();
        for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
            let path = format!("{}/{}", self.directory, entry.name);
            let (name, suffix) = entry.name.rsplit_once('.').unwrap_or((&entry.name, ""));
            match (suffix, parse_offset(name)) {
                ("log", Some(base)) => stock.bases.push(base),
                ("snapshot", Some(offset)) => {
                    self.snapshots.insert(offset);
                }
                ("index" | "timeindex" | "txnindex", Some(base)) => stock.indexes.push((base, path)),
                ("swap", _)
                    if name.get(..20).and_then(parse_offset).is_some_and(|base| stock.swaps.contains(&base)) => {}
                ("deleted" | "cleaned" | "swap" | "tmp", _) => {
                    remove_if_present(&self.disk, &path)?;
                    self.names_changed = true;
                }
                ("", _) if entry.name == GAPS => self.gaps = true,
                _ => {}
            }
        }
        stock.bases.sort_unstable();
        Ok(stock)
    }

    /// Removes the segments whose place another takes, and gives that its name.
    fn complete_swap(&mut self, base: Offset, bases: &[Offset]) -> Result<(), LogError> {
        let stem = stem(&self.directory, base);
        let swapped = format!("{stem}.log{SWAP_SUFFIX}");
        tracing::info!(path = swapped, "a cleaned segment takes its place");
        let end = self.end_of(&swapped)?.max(base.plus(1));
        for replaced in bases.iter().filter(|replaced| base <= **replaced && **replaced < end) {
            let is_first = *replaced == base;
            let stem = super::stem(&self.directory, *replaced);
            let suffixes = ["log", "index", "timeindex", "txnindex"].into_iter();
            for suffix in suffixes.chain((!is_first).then_some("snapshot")) {
                remove_if_present(&self.disk, &format!("{stem}.{suffix}"))?;
            }
        }
        // The old indexes must not be taken for the new segment's, where the new ones did not come through.
        for suffix in ["index", "timeindex", "log"] {
            let to = format!("{stem}.{suffix}");
            let from = format!("{to}{SWAP_SUFFIX}");
            if self.disk.exists(&from) {
                self.disk.rename(&from, &to).map_err(|error| LogError::io("rename", from, error))?;
            } else {
                remove_if_present(&self.disk, &to)?;
            }
        }
        self.names_changed = true;
        Ok(())
    }

    /// One past the last offset in a segment's file.
    fn end_of(&self, path: &str) -> Result<Offset, LogError> {
        let file = self.disk.open(path, Open::Existing).map_err(|error| LogError::io("open", path, error))?;
        let size = file.len().map_err(|error| LogError::io("measure", path, error))?;
        let mut headers = Headers::new(file, path.strip_suffix(".log.swap").unwrap_or(path).into(), 0, size);
        let mut end = Offset::ZERO;
        while let Some((header, _)) = headers.next()? {
            end = header.next_offset();
        }
        Ok(end)
    }
}
