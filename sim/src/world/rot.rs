//! Bits that flip at rest: in closed segments, where nobody looks until somebody reads.

use super::World;
use crate::event::WorldEvent;
use protocol::{
    ids::{BrokerId, Offset, PartitionIndex, TopicPartition},
    record_batch::batches,
};
use runtime::{observe, simulation::disk::Damage};

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
        let machine = self.machines.get(&id).filter(|machine| machine.is_broker).ok_or("it keeps no partitions")?;
        let all = self.closed_segments(id);
        let Closed { name, of, path } =
            all.get(pick as usize % all.len().max(1)).ok_or("nothing there may be damaged within the fault budget")?;
        let bytes = machine.log_disk.written(path).unwrap_or_default();
        let bit = (pick / all.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let (position, bit) = (bit / 8 % bytes.len().max(1) as u64, (bit % 8) as u8);
        let offset = offset_at(&bytes, position);
        machine.log_disk.damage(path, Damage::FlipBit { position, bit });
        observe::emit(|| WorldEvent::Rotted { broker: id, partition: *of, offset });
        Ok(format!("a bit of {name} on {id} flips, at offset {offset}"))
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
