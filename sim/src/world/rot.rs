//! Bits that flip at rest: in closed segments, where nobody looks until somebody reads.

use super::World;
use crate::event::WorldEvent;
use protocol::{
    ids::{BrokerId, Offset, PartitionIndex, TopicPartition},
    record_batch::{batches, check_crc},
};
use runtime::{observe, simulation::disk::Damage};

/// What a disk writes at once.
const SECTOR: u64 = 512;

/// Bytes at the beginning of a batch that its CRC does not cover: base offset, length, leader epoch, magic.
const HEADER_BYTES: u64 = 17;

/// A closed segment of a partition that may be damaged within the fault budget.
struct Closed {
    name: String,
    of: TopicPartition,
    path: String,
}

impl World {
    /// Flips one bit of one closed segment on a machine's disk; which one is a function of `pick`. Answers what was hit.
    ///
    /// # Errors
    /// Where the machine holds no closed segment whose records are in sync elsewhere, within the fault budget.
    pub fn flip_bit(&mut self, id: i32, pick: u64) -> Result<String, &'static str> {
        self.rot(id, pick, "a bit flips", |bytes, at| {
            let (position, bit) = (at / 8 % bytes.len() as u64, (at % 8) as u8);
            Some((position, Damage::FlipBit { position, bit }))
        })
    }

    /// Flips one bit of what no CRC covers, half of the time in the last batch of the segment; else as [`World::flip_bit`].
    ///
    /// # Errors
    /// As [`World::flip_bit`].
    pub fn flip_header_bit(&mut self, id: i32, pick: u64) -> Result<String, &'static str> {
        self.rot(id, pick, "a bit of a batch's header flips", |bytes, at| {
            let (at, bit) = (at / 8, (at % 8) as u8);
            let starts = batch_starts(bytes);
            let batch = if at.is_multiple_of(2) { starts.len() - 1 } else { (at / 2) as usize % starts.len() };
            let position = starts[batch] + at / 2 / starts.len() as u64 % HEADER_BYTES;
            (position < bytes.len() as u64).then_some((position, Damage::FlipBit { position, bit }))
        })
    }

    /// Overwrites a sector of one closed segment with an earlier or later one of the same file; which one is a function of
    /// `pick`. Answers what was hit.
    ///
    /// # Errors
    /// As [`World::flip_bit`], and where the bytes are the same.
    pub fn misdirect_write(&mut self, id: i32, pick: u64) -> Result<String, &'static str> {
        self.rot(id, pick, "a sector is overwritten", |bytes, at| {
            let sectors = (bytes.len() as u64).div_ceil(SECTOR);
            let (from, step) = (at % sectors, at / sectors % sectors.saturating_sub(1).max(1));
            let (from, to) = (from * SECTOR, (from + 1 + step) % sectors * SECTOR);
            let count = SECTOR.min((bytes.len() as u64).saturating_sub(from.max(to))) as usize;
            let (from_at, to_at) = (from as usize, to as usize);
            let pairs = bytes[from_at..from_at + count].iter().zip(&bytes[to_at..to_at + count]);
            let first = pairs.into_iter().position(|(new, old)| new != old)? as u64;
            let mut damaged = bytes.to_vec();
            damaged.copy_within(from_at..from_at + count, to_at);
            is_noticed(bytes, &damaged).then_some((to + first, Damage::Misdirect { from, to }))
        })
    }

    /// Damages one closed segment, chosen by `pick`. `damage` is told the file and a number to choose by, and answers which
    /// byte is the first that changes, and how.
    fn rot(
        &mut self,
        id: i32,
        pick: u64,
        what: &str,
        damage: impl Fn(&[u8], u64) -> Option<(u64, Damage)>,
    ) -> Result<String, &'static str> {
        let machine = self.machines.get(&id).filter(|machine| machine.is_broker).ok_or("it keeps no partitions")?;
        let all = self.closed_segments(id);
        let Closed { name, of, path } =
            all.get(pick as usize % all.len().max(1)).ok_or("nothing there may be damaged within the fault budget")?;
        let bytes = machine.log_disk.written(path).filter(|bytes| !bytes.is_empty()).ok_or("the file is empty")?;
        let at = (pick / all.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let (position, damage) = damage(&bytes, at).ok_or("it would change nothing")?;
        let offset = offset_at(&bytes, position);
        machine.log_disk.damage(path, damage);
        observe::emit(|| WorldEvent::Rotted { broker: id, partition: *of, offset });
        Ok(format!("{what} in {name} on {id}, at offset {offset}"))
    }

    fn closed_segments(&self, id: i32) -> Vec<Closed> {
        let shared = self.shared.borrow();
        let ledger = &shared.judge.ledger;
        let (disk, at_risk) = (&self.machines[&id].log_disk, self.disks.at_risk());
        let files = disk.files();
        let segments: Vec<(&str, &str)> =
            files.iter().filter_map(|path| path.strip_suffix(".log")?.split_once('/')).collect();
        // Sorted by path: the last of each directory is the one that is written to.
        let closed = segments.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0]);
        let found = closed.filter_map(|(directory, segment)| {
            let (topic, partition) = directory.rsplit_once('-')?;
            let topic_id = ledger.image.topic_by_name(topic)?.id;
            let of = TopicPartition { topic_id, partition: PartitionIndex(partition.parse().ok()?) };
            let metadata = disk.written(&format!("{directory}/partition.metadata"))?;
            let is_its = String::from_utf8_lossy(&metadata).contains(&topic_id.to_string());
            let path = format!("{directory}/{segment}.log");
            let allowed = is_its && ledger.may_rot(BrokerId(id), of, &at_risk);
            allowed.then(|| Closed { name: directory.to_owned(), of, path })
        });
        found.collect()
    }
}

/// Whether whoever reads a damaged segment, or recovers it, comes to something broken before it comes to anything that was never
/// written there. The CRC of a batch leaves its offset out, so that the rest of another one of the same length may stand behind it:
/// Kafka and gregor take that for what was written.
fn is_noticed(written: &[u8], damaged: &[u8]) -> bool {
    let sound = sound_bytes(damaged);
    damaged.get(..sound) == written.get(..sound)
}

/// How many bytes at the beginning of a segment are whole batches, one behind the other.
fn sound_bytes(segment: &[u8]) -> usize {
    let (mut bytes, mut end) = (0, Offset::ZERO);
    for (header, batch) in batches(segment).map_while(Result::ok) {
        let is_next = header.base_offset >= end && header.last_offset_delta >= 0;
        if !is_next || check_crc(&header, batch).is_err() {
            break;
        }
        (bytes, end) = (bytes + header.size(), header.next_offset());
    }
    bytes
}

/// Where the batches of a segment begin; at least one does.
fn batch_starts(segment: &[u8]) -> Vec<u64> {
    let mut starts = vec![0];
    for (header, _) in batches(segment).map_while(Result::ok) {
        starts.push(starts.last().expect("it begins somewhere") + header.size() as u64);
    }
    // The last one ends where the segment does.
    starts.truncate((starts.len() - 1).max(1));
    starts
}

/// First offset of the batch that holds this byte of a segment.
fn offset_at(segment: &[u8], position: u64) -> Offset {
    let mut at = 0;
    let mut offset = Offset::ZERO;
    for batch in batches(segment) {
        let Ok((header, _)) = batch else { break };
        offset = header.base_offset;
        at += header.size() as u64;
        if position < at {
            break;
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        compression::Compression,
        ids::{ProducerEpoch, ProducerId, Sequence, WallMillis},
        record_batch::BatchBuilder,
    };

    fn batch(offset: i64, value: u8) -> Vec<u8> {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(WallMillis(0), None, Some(&[value]), &[]);
        let mut bytes = batch.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    #[test]
    fn what_is_not_what_was_written_and_looks_like_it_is_not_noticed() {
        let (one, other) = (batch(0, 1), batch(1, 2));
        let segment = [one.clone(), other.clone()].concat();
        // The rest of the first, with its CRC, behind the offset of the second.
        let header = HEADER_BYTES as usize;
        let misdirected = [&one[..], &other[..header], &one[header..]].concat();
        assert!(misdirected != segment && !is_noticed(&segment, &misdirected));
        // Recovery cuts at what is broken, and keeps what is before.
        let (longer, broken) = ([&segment[..], &one].concat(), [&misdirected[..], &one[1..]].concat());
        assert!(!is_noticed(&longer, &broken));
        let flipped = |at: usize| {
            let mut flipped = segment.clone();
            flipped[at] ^= 1;
            flipped
        };
        assert!(is_noticed(&segment, &flipped(segment.len() - 2)), "a record");
        assert!(is_noticed(&segment, &flipped(one.len() + 7)), "an offset");
        assert!(is_noticed(&segment, &flipped(one.len() + 11)), "a length");
        assert!(is_noticed(&segment, &segment[..segment.len() - 1]));
    }

    #[test]
    fn a_segment_has_as_many_beginnings_as_batches() {
        let (one, other) = (batch(0, 1), batch(1, 2));
        assert_eq!(batch_starts(&[one.clone(), other].concat()), [0, one.len() as u64]);
        assert_eq!(batch_starts(b"nothing"), [0]);
    }
}
