//! Pure. What one fetch brought for one partition: batches, checked and decoded one at a time as their records are taken.
//!
//! Control batches, and with `read_committed` the batches of aborted transactions, are skipped but passed over, so that the
//! position goes on behind them. Source: Kafka's `CompletedFetch`. Driven by `consumer`.

use super::positions::Position;
use bytes::Bytes;
use protocol::ids::{LeaderEpoch, Offset, ProducerId};
use protocol::record_batch::{BatchError, BatchHeader, Record, TimestampType, batches, check_crc, records};
use std::collections::{BTreeSet, VecDeque};

/// The type of a control record that ends a transaction without effect (`ControlRecordType.ABORT`).
const ABORT: i16 = 0;

/// How a partition's records are read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRules {
    /// Leave out the records of aborted transactions.
    pub is_committed_only: bool,
    /// Compute each batch's checksum.
    pub check_crc: bool,
    /// The most bytes that one batch may have when it is decompressed.
    pub batch_budget: usize,
}

/// Batches not yet taken.
#[derive(Debug)]
pub struct Fetched {
    bytes: Bytes,
    /// Behind the last batch that was decoded.
    at: usize,
    position: Position,
    /// Decoded, and not yet taken.
    records: VecDeque<Record>,
    /// The leader epoch of those.
    leader_epoch: LeaderEpoch,
    /// Whose time they carry.
    timestamp_type: TimestampType,
    /// Where the position goes when those are taken: a batch may end in offsets that compaction has removed.
    batch_end: Offset,
    /// Aborted transactions that begin further on, the first one first.
    aborted: VecDeque<(ProducerId, Offset)>,
    /// Producers whose transaction in progress is aborted.
    aborting: BTreeSet<ProducerId>,
    rules: ReadRules,
}

impl Fetched {
    /// What a fetch at `position` brought. `aborted` are the aborted transactions that the leader listed, each by its producer
    /// and first offset.
    pub fn new(bytes: Bytes, position: Position, mut aborted: Vec<(ProducerId, Offset)>, rules: ReadRules) -> Self {
        aborted.sort_by_key(|(producer_id, first_offset)| (*first_offset, *producer_id));
        Self {
            bytes,
            at: 0,
            position,
            records: VecDeque::new(),
            leader_epoch: LeaderEpoch::UNKNOWN,
            timestamp_type: TimestampType::default(),
            batch_end: position.offset,
            aborted: aborted.into(),
            aborting: BTreeSet::new(),
            rules,
        }
    }

    /// Where the next record is, or is looked for.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whose time the record carries that was taken last.
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The next record with its leader epoch, or nothing when all are taken.
    ///
    /// # Errors
    /// When the next batch is damaged. The position stays before it.
    pub fn next_record(&mut self) -> Result<Option<(LeaderEpoch, Record)>, BatchError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                let next = if self.records.is_empty() { self.batch_end } else { record.offset.plus(1) };
                self.position = Position { offset: next, leader_epoch: Some(self.leader_epoch) };
                return Ok(Some((self.leader_epoch, record)));
            }
            if !self.next_batch()? {
                return Ok(None);
            }
        }
    }

    /// Decodes the next batch. False when there is none.
    fn next_batch(&mut self) -> Result<bool, BatchError> {
        let bytes = self.bytes.clone();
        let Some(next) = batches(&bytes[self.at..]).next() else { return Ok(false) };
        let (header, batch) = next?;
        if self.rules.check_crc {
            check_crc(&header, batch)?;
        }
        let is_hidden = self.is_hidden(&header, batch)?;
        let mut decoded = VecDeque::new();
        if !is_hidden {
            // The leader sends whole batches: the first may begin before the position.
            let wanted = |record: &Record| record.offset >= self.position.offset;
            decoded = records(batch, self.rules.batch_budget)?.into_iter().filter(wanted).collect();
        }
        self.at += header.size();
        self.leader_epoch = header.leader_epoch;
        self.timestamp_type = header.timestamp_type();
        self.batch_end = header.next_offset().max(self.position.offset);
        self.records = decoded;
        if self.records.is_empty() {
            self.position = Position { offset: self.batch_end, leader_epoch: Some(self.leader_epoch) };
        }
        Ok(true)
    }

    /// Whether the batch's records are not for the reader: control records, and what an aborted transaction wrote.
    fn is_hidden(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<bool, BatchError> {
        if self.rules.is_committed_only && header.has_producer_id() {
            while self.aborted.front().is_some_and(|(_, first)| *first <= header.last_offset()) {
                self.aborting.extend(self.aborted.pop_front().map(|(producer_id, _)| producer_id));
            }
            if header.is_control() {
                if is_abort(batch, self.rules.batch_budget)? {
                    self.aborting.remove(&header.producer_id);
                }
            } else if header.is_transactional() && self.aborting.contains(&header.producer_id) {
                return Ok(true);
            }
        }
        Ok(header.is_control())
    }
}

/// Whether a control batch ends a transaction without effect. Its record's key is a version and a type, 16 bits each.
fn is_abort(batch: &[u8], budget: usize) -> Result<bool, BatchError> {
    let control = records(batch, budget)?;
    let key = control.first().and_then(|record| record.key.as_deref());
    Ok(key.and_then(|key| key.get(2..4)) == Some(&ABORT.to_be_bytes()[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use protocol::compression::Compression;
    use protocol::ids::{ProducerEpoch, Sequence, WallMillis};
    use protocol::record_batch::{BatchBuilder, crc32c, patch};

    const RULES: ReadRules = ReadRules { is_committed_only: true, check_crc: true, batch_budget: 1 << 20 };
    const CONTROL_BIT: u8 = 0x20;

    /// A batch of one-letter records at `base_offset`, in leader epoch 3, of a producer's transaction if there is one.
    fn batch(base_offset: i64, values: &str, transaction: Option<i64>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        if transaction.is_some() {
            builder = builder.transactional();
        }
        for value in values.chars() {
            builder.push(WallMillis(0), None, Some(value.to_string().as_bytes()), &[]);
        }
        let producer_id = transaction.map_or(ProducerId::NONE, ProducerId);
        let mut bytes = BytesMut::from(&builder.finish(producer_id, ProducerEpoch(0), Sequence(0))[..]);
        patch(&mut bytes, Offset(base_offset), LeaderEpoch(3));
        bytes.to_vec()
    }

    /// The marker that ends a transaction: 0 aborts, 1 commits.
    fn marker(offset: i64, producer_id: i64, kind: u8) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None).transactional();
        builder.push(WallMillis(0), Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]);
        let bytes = builder.finish(ProducerId(producer_id), ProducerEpoch(0), Sequence::NONE);
        let mut bytes = BytesMut::from(&bytes[..]);
        bytes[22] |= CONTROL_BIT;
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        patch(&mut bytes, Offset(offset), LeaderEpoch(3));
        bytes.to_vec()
    }

    fn fetched(bytes: Vec<u8>, from: i64, aborted: &[(i64, i64)], rules: ReadRules) -> Fetched {
        let aborted = aborted.iter().map(|(producer_id, first)| (ProducerId(*producer_id), Offset(*first))).collect();
        Fetched::new(Bytes::from(bytes), Position { offset: Offset(from), leader_epoch: None }, aborted, rules)
    }

    /// What is read, as letters with their offsets, and the position behind it.
    fn read(mut fetched: Fetched) -> (String, Position) {
        let mut read = String::new();
        while let Some((_, record)) = fetched.next_record().expect("every batch is sound") {
            let value = record.value.expect("every record has a value");
            read += &format!("{}{} ", std::str::from_utf8(&value).expect("a letter"), record.offset);
        }
        (read.trim_end().to_owned(), fetched.position())
    }

    fn behind(offset: i64) -> Position {
        Position { offset: Offset(offset), leader_epoch: Some(LeaderEpoch(3)) }
    }

    #[test]
    fn a_fetch_that_begins_inside_a_batch_yields_what_is_behind() {
        let bytes = [batch(10, "abc", None), batch(13, "d", None)].concat();
        assert_eq!(read(fetched(bytes, 12, &[], RULES)), ("c12 d13".to_owned(), behind(14)));
    }

    #[test]
    fn an_aborted_transaction_is_left_out_and_the_next_one_of_its_producer_is_not() {
        let bytes = [
            batch(0, "a", Some(7)),
            batch(1, "b", Some(8)),
            marker(2, 7, 0),
            batch(3, "c", Some(7)),
            marker(4, 7, 1),
            marker(5, 8, 1),
        ];
        assert_eq!(read(fetched(bytes.concat(), 0, &[(7, 0)], RULES)), ("b1 c3".to_owned(), behind(6)));
        let uncommitted = ReadRules { is_committed_only: false, ..RULES };
        assert_eq!(read(fetched(bytes.concat(), 0, &[(7, 0)], uncommitted)), ("a0 b1 c3".to_owned(), behind(6)));
    }

    #[test]
    fn a_damaged_batch_stops_the_position_before_it() {
        let mut damaged = batch(1, "b", None);
        *damaged.last_mut().expect("it has bytes") ^= 1;
        let mut fetched = fetched([batch(0, "a", None), damaged].concat(), 0, &[], RULES);
        assert!(fetched.next_record().expect("the first is sound").is_some());
        assert!(matches!(fetched.next_record(), Err(BatchError::BadCrc { .. })));
        assert_eq!(fetched.position(), behind(1));
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let mut bytes = [batch(0, "a", None), batch(1, "b", None)].concat();
        bytes.truncate(bytes.len() - 1);
        assert_eq!(read(fetched(bytes, 0, &[], RULES)), ("a0".to_owned(), behind(1)));
    }

    proptest! {
        #[test]
        fn every_record_from_the_position_on_is_read_once(sizes in prop::collection::vec(1usize..5, 1..6), from in 0i64..30) {
            let mut bytes = Vec::new();
            let mut next = 0i64;
            for size in &sizes {
                bytes.extend(batch(next, &"x".repeat(*size), None));
                next += *size as i64;
            }
            let mut fetched = fetched(bytes, from, &[], RULES);
            let mut read = Vec::new();
            while let Some((_, record)) = fetched.next_record().expect("every batch is sound") {
                read.push(record.offset.0);
            }
            prop_assert_eq!(read, (from.min(next)..next).collect::<Vec<_>>());
            prop_assert_eq!(fetched.position().offset.0, next.max(from));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut fetched = fetched(bytes, 0, &[], RULES);
            while let Ok(Some(_)) = fetched.next_record() {}
        }
    }
}
