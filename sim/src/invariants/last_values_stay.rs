//! Pure. No. 63 and 65: of a key whose records are kept by their keys, the last one stays, and so does one that deletes the key
//! until `delete.retention.ms` is over; a value that was deleted does not come back; nothing that is not committed counts as a
//! key's last record (Kafka's `Cleaner`, KAFKA-4529, KIP-534).

use super::{End, Invariant};
use crate::{
    event::{ClientEvent, Keyed, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use metadata::record::ConfigResource;
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::{CleanedBatch, LogEvent};

/// A record of which it is known where it lies.
#[derive(Clone, Copy)]
struct Known {
    keyed: Keyed,
    /// When that was heard first, in nanoseconds.
    at: u64,
    /// The final drain has read it.
    is_read: bool,
}

/// What clients know of one partition.
#[derive(Default)]
struct Partition {
    records: BTreeMap<Offset, Known>,
    /// The records of which nobody knows whether or where they were written.
    lost: BTreeMap<Tag, Keyed>,
}

impl Partition {
    /// Whether a record of this key may lie anywhere.
    fn has_lost(&self, key: u32) -> bool {
        self.lost.values().any(|keyed| keyed.key == key)
    }

    fn has_later(&self, key: u32, offset: Offset) -> bool {
        self.records.range(offset.plus(1)..).any(|(_, known)| known.keyed.key == key)
    }
}

/// See the module.
#[derive(Default)]
pub struct LastValuesStay {
    keys: BTreeMap<Tag, Keyed>,
    partitions: BTreeMap<NamedPartition, Partition>,
    /// Clocks were changed: nobody can say how long a broker takes some milliseconds for.
    clocks_differ: bool,
}

impl Invariant for LastValuesStay {
    fn name(&self) -> &'static str {
        "last_values_stay"
    }

    fn claim(&self) -> &'static str {
        "63, 65: a key's last record stays, one that deletes it for a while, and a deleted value does not come back"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Client(event) => self.heard(event, observed.at),
            Fact::Log(LogEvent::Cleaned { partition, to, batches, .. }) => {
                self.clocks_differ |= ledger.faults.keys().any(|kind| kind.starts_with("clock-"));
                return self.cleaned(ledger, (observed.broker, *partition), *to, batches);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, ledger: &mut Ledger, end: &End) -> Result<(), String> {
        if !end.drained {
            return Ok(());
        }
        self.partitions.iter().try_for_each(|(name, partition)| whole(ledger, name, partition))
    }
}

impl LastValuesStay {
    fn heard(&mut self, event: &ClientEvent, at: u64) {
        match event {
            ClientEvent::SendInvoked { to, tag, keyed: Some(keyed), .. } => {
                self.keys.insert(*tag, *keyed);
                self.partitions.entry(to.clone()).or_default().lost.insert(*tag, *keyed);
            }
            ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), safe: true } => {
                self.lies(to, *tag, *offset, (at, false));
            }
            ClientEvent::Polled { from, tag, offset, reader } => {
                self.lies(from, *tag, *offset, (at, *reader == ClientEvent::DRAIN));
            }
            ClientEvent::SendRefused { to, tag, .. } => {
                self.partitions.entry(to.clone()).or_default().lost.remove(tag);
            }
            _ => {}
        }
    }

    fn lies(&mut self, name: &NamedPartition, tag: Tag, offset: Offset, (at, is_read): (u64, bool)) {
        let Some(keyed) = self.keys.get(&tag).copied() else { return };
        let partition = self.partitions.entry(name.clone()).or_default();
        partition.lost.remove(&tag);
        partition.records.entry(offset).or_insert(Known { keyed, at, is_read }).is_read |= is_read;
    }

    /// Judges what one replica takes out of its log, as far as is known by now.
    fn cleaned(
        &self,
        ledger: &Ledger,
        (broker, of): (BrokerId, TopicPartition),
        to: Offset,
        batches: &[CleanedBatch],
    ) -> Result<(), String> {
        let committed = ledger.committed.get(&of).map_or(Offset::ZERO, |committed| committed.true_high_watermark);
        if to > committed {
            return Err(format!("{of}: broker {broker} cleans up to {to}, and {committed} is committed"));
        }
        let Some(topic) = ledger.image.topic(of.topic_id) else { return Ok(()) };
        let name = NamedPartition { topic: topic.name.to_string(), partition: of.partition };
        let Some(partition) = self.partitions.get(&name) else { return Ok(()) };
        for offset in batches.iter().flat_map(|batch| &batch.removed) {
            let Some(known) = partition.records.get(offset).filter(|_| *offset >= ledger.deleted_by_name(&name)) else {
                continue;
            };
            let Keyed { key, deletes } = known.keyed;
            if partition.has_later(key, *offset) || partition.has_lost(key) {
                continue;
            }
            let age_ms = ledger.now.saturating_sub(known.at) / 1_000_000;
            if !deletes {
                return Err(format!("{name}: broker {broker} took out {offset}, the last value of key {key}"));
            }
            if !self.clocks_differ && age_ms < delete_retention_ms(ledger, &name.topic) {
                return Err(format!(
                    "{name}: broker {broker} took out {offset}, which deleted key {key} {age_ms} ms ago"
                ));
            }
        }
        Ok(())
    }
}

fn delete_retention_ms(ledger: &Ledger, topic: &str) -> u64 {
    let told = ledger.image.configs.get(&ConfigResource::Topic(topic.into()), "delete.retention.ms");
    told.and_then(|told| told.parse().ok()).unwrap_or(86_400_000)
}

/// Judges what the final drain has read of a partition.
fn whole(ledger: &Ledger, name: &NamedPartition, partition: &Partition) -> Result<(), String> {
    let deleted = ledger.deleted_by_name(name);
    let mut keys: BTreeMap<u32, Vec<(Offset, Known)>> = BTreeMap::new();
    for (offset, known) in partition.records.range(deleted..) {
        keys.entry(known.keyed.key).or_default().push((*offset, *known));
    }
    let certain: BTreeSet<u32> = keys.keys().copied().filter(|key| !partition.has_lost(*key)).collect();
    for (key, records) in keys.into_iter().filter(|(key, _)| certain.contains(key)) {
        let Some(((last, known), earlier)) = records.split_last() else { continue };
        if known.is_read {
            continue;
        }
        if !known.keyed.deletes {
            return Err(format!("{name}: {last}, the last value of key {key}, is gone"));
        }
        if let Some((back, _)) = earlier.iter().find(|(_, known)| known.is_read && !known.keyed.deletes) {
            return Err(format!("{name}: key {key} was deleted at {last}, and {back} is there again"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, named, orders, tag},
        *,
    };
    use metadata::record::Record;

    /// Records of one key: which operation, and whether it deletes the key. Each is acknowledged at its place in the list.
    fn story(operations: &[(u64, bool)]) -> Story<LastValuesStay> {
        let config = |name: &str, value: &str| Record::Config {
            resource: ConfigResource::Topic("orders".into()),
            name: name.into(),
            value: Some(value.into()),
        };
        let story = Story::new(LastValuesStay::default()).cluster().record(config("delete.retention.ms", "20000"));
        let story = (0..6).fold(story, |story, at| story.append(1, at, 1, 9, storage::event::Origin::Leader));
        let story = story.high_watermark(1, 1, 5, &[1, 2, 3], &[1, 2, 3]);
        operations.iter().enumerate().fold(story, |story, (at, (operation, deletes))| {
            let keyed = Some(Keyed { key: 7, deletes: *deletes });
            let sent = ClientEvent::SendInvoked { to: named(), tag: tag(*operation), safe: true, keyed };
            story.client(sent).acknowledged(*operation, at as i64)
        })
    }

    fn takes_out(story: Story<LastValuesStay>, to: i64, removed: &[i64]) -> Result<(), String> {
        let removed = removed.iter().copied().map(Offset).collect();
        let batch = CleanedBatch { base_offset: Offset(0), last_offset: Offset(0), crc: None, removed };
        let batches = vec![batch];
        story.log(1, LogEvent::Cleaned { partition: orders(), from: Offset(0), to: Offset(to), batches }).verdict
    }

    #[test]
    fn a_last_value_that_is_taken_out_is_found() {
        let values = || story(&[(1, false), (2, false)]);
        assert!(takes_out(values(), 5, &[0]).is_ok());
        assert!(takes_out(values(), 5, &[1]).is_err());
        // One whose fate nobody knows may be later.
        let keyed = Some(Keyed { key: 7, deletes: false });
        let lost = ClientEvent::SendInvoked { to: named(), tag: tag(3), safe: true, keyed };
        assert!(takes_out(values().client(lost), 5, &[1]).is_ok());
    }

    #[test]
    fn what_is_not_committed_is_not_cleaned() {
        assert!(takes_out(story(&[(1, false), (2, false)]), 6, &[0]).is_err());
    }

    #[test]
    fn a_deletion_that_is_forgotten_too_early_is_found() {
        let deleted = || story(&[(1, false), (2, true)]);
        assert!(takes_out(deleted().wait(21), 5, &[0, 1]).is_ok());
        assert!(takes_out(deleted().wait(19), 5, &[0, 1]).is_err());
    }

    #[test]
    fn in_the_end_a_keys_last_value_is_there_and_no_deleted_one() {
        let drained = End { drained: true, ..End::default() };
        let read = |operations: &[(u64, bool)], read: &[i64]| {
            let read_at = |story: Story<_>, at: &i64| story.polled(operations[*at as usize].0, *at, ClientEvent::DRAIN);
            read.iter().fold(story(operations), read_at).end(&drained)
        };
        let values = [(1, false), (2, false)];
        assert!(read(&values, &[1]).is_ok() && read(&values, &[0, 1]).is_ok());
        assert!(read(&values, &[0]).is_err());
        let deleted = [(1, false), (2, true)];
        assert!(read(&deleted, &[0, 1]).is_ok() && read(&deleted, &[]).is_ok());
        assert!(read(&deleted, &[0]).is_err());
    }
}
