//! Kafka's checkpoint files at the root of a log directory: an offset for each partition, replaced atomically.
//!
//! A version, a count, and a line `<topic> <partition> <offset>` for each partition (`OffsetCheckpointFile.java`).

use crate::error::LogError;
use protocol::ids::{Offset, PartitionIndex};
use runtime::disk::Disk;
use std::{collections::BTreeMap, fmt::Write, io};

/// Up to where each log is known to be on the device.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// Each partition's high watermark.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Each log's first offset, where it is not the first segment's.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// Up to where each compacted log is clean (`LogCleanerManager`).
pub const CLEANER: &str = "cleaner-offset-checkpoint";

/// The offsets in one checkpoint file, by topic name and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    offsets: BTreeMap<(String, PartitionIndex), Offset>,
}

impl Checkpoint {
    /// The offset of a partition, if it has one.
    pub fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.offsets.get(&(topic.to_owned(), partition)).copied()
    }

    /// Notes a partition's offset.
    pub fn set(&mut self, topic: &str, partition: PartitionIndex, offset: Offset) {
        self.offsets.insert((topic.to_owned(), partition), offset);
    }

    /// Every partition with its offset, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, Offset)> {
        self.offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset))
    }

    /// The file's contents.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.offsets.len());
        for (topic, partition, offset) in self.iter() {
            writeln!(text, "{topic} {partition} {offset}").expect("a string takes every line");
        }
        text
    }

    /// Reads a file's contents. An empty file holds nothing.
    ///
    /// # Errors
    /// Says what is wrong: another version, a line that is not a partition's, fewer or more lines than announced.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut checkpoint = Self::default();
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(checkpoint) };
        if version != "0" {
            return Err(format!("version {version:?} is not 0"));
        }
        let Some(count) = lines.next() else { return Ok(checkpoint) };
        let count: usize = count.parse().map_err(|_| format!("{count:?} is not a count"))?;
        for line in lines {
            let mut words = line.split(' ');
            let (topic, partition, offset) = (words.next(), words.next(), words.next());
            let numbers = partition.and_then(|word| word.parse().ok()).zip(offset.and_then(|word| word.parse().ok()));
            let (Some(topic), Some((partition, offset)), None) = (topic, numbers, words.next()) else {
                return Err(format!("{line:?} is not a topic, a partition and an offset"));
            };
            checkpoint.set(topic, PartitionIndex(partition), Offset(offset));
        }
        let read = checkpoint.offsets.len();
        if read == count { Ok(checkpoint) } else { Err(format!("{read} entries where {count} were announced")) }
    }

    /// Reads one of the files at the disk's root; one that does not exist holds nothing.
    ///
    /// # Errors
    /// When it cannot be read, or is malformed. The caller decides: an offset that is not known is always the safe side
    /// (recover everything, know no high watermark).
    pub fn read(disk: &Disk, name: &str) -> Result<Self, LogError> {
        match disk.read(name) {
            Ok(bytes) => Self::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|what| LogError::Malformed { path: name.to_owned(), what }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(LogError::io("read", name, error)),
        }
    }

    /// Replaces one of the files at the disk's root, durably: a crash leaves the old contents or these.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn write(&self, disk: &Disk, name: &str) -> Result<(), LogError> {
        let written = disk.write_atomically(name, self.encode().as_bytes()).await;
        written.map_err(|error| LogError::io("write", name, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_file_is_kafkas() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.set("t1", PartitionIndex(1), Offset(2));
        checkpoint.set("__consumer_offsets", PartitionIndex(0), Offset(5));
        assert_eq!(checkpoint.encode(), "0\n2\n__consumer_offsets 0 5\nt1 1 2\n");
        assert_eq!(Checkpoint::parse("0\n4\nb 0 5\nt1 1 2\nc 0 43\nt1 0 28\n").map(|read| read.iter().count()), Ok(4));
        assert_eq!(Checkpoint::parse("0\n0\n"), Ok(Checkpoint::default()));
        assert_eq!(Checkpoint::parse(""), Ok(Checkpoint::default()));
    }

    #[test]
    fn a_torn_file_is_refused() {
        for text in ["1\n0\n", "0\n2\nt1 1 2\n", "0\n1\nt1 1\n", "0\n1\nt1 1 2 3\n", "0\nx\n"] {
            assert!(Checkpoint::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in proptest::collection::btree_map(("[a-z._-]{1,9}", 0..20i32), any::<i64>(), 0..20)) {
            let mut checkpoint = Checkpoint::default();
            for ((topic, partition), offset) in &entries {
                checkpoint.set(topic, PartitionIndex(*partition), Offset(*offset));
            }
            prop_assert_eq!(Checkpoint::parse(&checkpoint.encode()), Ok(checkpoint));
        }
    }
}
