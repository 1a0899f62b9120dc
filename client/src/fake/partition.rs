//! Pure. One partition of the cluster in a test: its leader, its log, and what it remembers of producers (correctness rule A15).

use bytes::{Bytes, BytesMut};
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, ProducerId};
use protocol::record_batch::{BatchHeader, batches, patch, records};
use std::collections::BTreeMap;

/// How many batches of a producer are remembered.
const REMEMBERED: usize = 5;

/// A batch that is remembered: first and last sequence, base offset.
type Remembered = (i32, i32, Offset);

/// A partition.
#[derive(Clone, Debug)]
pub(crate) struct FakePartition {
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    log: Vec<u8>,
    start: Offset,
    end: Offset,
    /// Where each leader epoch begins.
    epochs: BTreeMap<LeaderEpoch, Offset>,
    producers: BTreeMap<ProducerId, (i16, Vec<Remembered>)>,
}

impl FakePartition {
    pub(crate) fn new(leader: BrokerId) -> Self {
        let leader_epoch = LeaderEpoch(0);
        Self {
            leader: Some(leader),
            leader_epoch,
            log: Vec::new(),
            start: Offset(0),
            end: Offset(0),
            epochs: BTreeMap::from([(leader_epoch, Offset(0))]),
            producers: BTreeMap::new(),
        }
    }

    pub(crate) fn elect(&mut self, leader: Option<BrokerId>) {
        self.leader = leader;
        self.leader_epoch = self.leader_epoch.next();
        self.epochs.insert(self.leader_epoch, self.end);
    }

    /// Appends a batch, unless it is a duplicate, whose first offset it tells instead.
    pub(crate) fn append(&mut self, batch: &Bytes) -> Result<Offset, ErrorCode> {
        let header = BatchHeader::parse(batch).expect("a producer encodes batches");
        let base = self.end;
        if header.has_producer_id() {
            if let Some(original) = self.check_sequence(&header)? {
                return Ok(original);
            }
            self.remember(&header, base);
        }
        let mut bytes = BytesMut::from(&batch[..]);
        patch(&mut bytes, base, self.leader_epoch);
        self.log.extend_from_slice(&bytes);
        self.end = BatchHeader::parse(&bytes).expect("it was patched").next_offset();
        Ok(base)
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<Option<Offset>, ErrorCode> {
        let Some((epoch, known)) = self.producers.get(&header.producer_id) else { return Ok(None) };
        let (first, last) = (header.base_sequence.0, header.last_sequence().0);
        if header.producer_epoch.0 < *epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch.0 > *epoch {
            return if first == 0 { Ok(None) } else { Err(ErrorCode::OutOfOrderSequenceNumber) };
        }
        if let Some((_, _, offset)) = known.iter().find(|batch| (batch.0, batch.1) == (first, last)) {
            return Ok(Some(*offset));
        }
        let expected = known.last().map_or(0, |batch| batch.1 + 1);
        if first == expected { Ok(None) } else { Err(ErrorCode::OutOfOrderSequenceNumber) }
    }

    fn remember(&mut self, header: &BatchHeader, base: Offset) {
        let (epoch, known) = self.producers.entry(header.producer_id).or_default();
        if *epoch != header.producer_epoch.0 {
            *epoch = header.producer_epoch.0;
            known.clear();
        }
        known.push((header.base_sequence.0, header.last_sequence().0, base));
        if known.len() > REMEMBERED {
            known.remove(0);
        }
    }

    /// Cuts the log at `end`, and elects a leader who knows nothing of what was cut.
    pub(crate) fn truncate(&mut self, end: Offset, leader: BrokerId) {
        let kept = batches(&self.log).map_while(Result::ok).take_while(|(header, _)| header.next_offset() <= end);
        let bytes: usize = kept.map(|(header, _)| header.size()).sum();
        self.log.truncate(bytes);
        self.end = end;
        self.epochs.retain(|_, start| *start < end);
        self.elect(Some(leader));
    }

    /// Raises the log start, as retention does. Only whole batches go.
    pub(crate) fn delete_to(&mut self, start: Offset) {
        let gone = batches(&self.log).map_while(Result::ok).take_while(|(header, _)| header.next_offset() <= start);
        let bytes: usize = gone.map(|(header, _)| header.size()).sum();
        self.log.drain(..bytes);
        self.start = start;
    }

    /// Damages the last byte of the log.
    pub(crate) fn damage(&mut self) {
        *self.log.last_mut().expect("there is a batch") ^= 1;
    }

    pub(crate) fn start(&self) -> Offset {
        self.start
    }

    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// The batches from `offset` on, the first one whole.
    pub(crate) fn read(&self, offset: Offset, bytes_max: usize) -> Result<Bytes, ErrorCode> {
        if offset < self.start || offset > self.end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let mut read = BytesMut::new();
        for (header, batch) in batches(&self.log).map_while(Result::ok) {
            if header.next_offset() > offset && (read.is_empty() || read.len() + batch.len() <= bytes_max) {
                read.extend_from_slice(batch);
            }
        }
        Ok(read.freeze())
    }

    /// The largest leader epoch up to this one, and where it ends.
    pub(crate) fn epoch_end(&self, leader_epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let (found, _) = self.epochs.range(..=leader_epoch).next_back()?;
        let next = self.epochs.range(leader_epoch.next()..).next();
        Some((*found, next.map_or(self.end, |(_, start)| *start)))
    }

    /// Every record's value, in the order of offsets.
    pub(crate) fn values(&self) -> Vec<Bytes> {
        let all = batches(&self.log).map_while(Result::ok);
        let all = all.flat_map(|(_, batch)| records(batch, 1 << 20).expect("a producer encodes records"));
        all.map(|record| record.value.unwrap_or_default()).collect()
    }

    /// What is answered for a request in `asked` at `broker`, if it is refused.
    pub(crate) fn refusal(&self, broker: BrokerId, asked: LeaderEpoch) -> Option<ErrorCode> {
        if self.leader != Some(broker) {
            Some(ErrorCode::NotLeaderOrFollower)
        } else if asked == LeaderEpoch::UNKNOWN || asked == self.leader_epoch {
            None
        } else if asked < self.leader_epoch {
            Some(ErrorCode::FencedLeaderEpoch)
        } else {
            Some(ErrorCode::UnknownLeaderEpoch)
        }
    }
}
