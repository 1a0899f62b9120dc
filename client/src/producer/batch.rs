//! Pure. One batch of records on its way to one partition, from its first record to the answer.
//!
//! Whoever holds it may encode it: the machine gives it away to be sent and gets it back with what became of it. `T` is what
//! stands for a record's sender. Driven by `batches` and `producer`.

use super::outcome::ProduceErrorKind;
use super::sequence::Stamp;
use crate::PartitionName;
use bytes::{Bytes, BytesMut};
use protocol::compression::Compression;
use protocol::ids::{LeaderEpoch, MonotonicMillis, WallMillis};
use protocol::record_batch::{BatchBuilder, BatchHeader, Header, crc32c};

/// Where the bytes that the checksum covers begin.
const CHECKSUMMED_FROM: usize = 21;

/// A record as it is put into a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    /// When it happened, by its sender.
    pub timestamp: WallMillis,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; nothing deletes the key on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header],
}

impl RecordParts<'_> {
    /// The most bytes that it takes in a batch.
    pub fn bytes_max(&self) -> usize {
        BatchBuilder::record_bytes_max(self.key, self.value, self.headers)
    }
}

#[derive(Debug)]
enum Content {
    Open(BatchBuilder),
    Encoded {
        bytes: Bytes,
        stamp: Stamp,
    },
    /// Between the two, within one call.
    Taken,
}

/// A batch, and all that is known of its way so far.
#[derive(Debug)]
pub struct Batch<T> {
    /// Rises in the order of creation, over all partitions of a producer.
    pub(super) id: u64,
    pub(super) partition: PartitionName,
    content: Content,
    /// Who waits for its records, in their order; nobody any more once they have been told.
    pub(super) records: Vec<T>,
    record_count: i32,
    /// Encoded bytes of its records and header, before compression.
    pub(super) bytes: usize,
    pub(super) created: MonotonicMillis,
    /// Takes no further record.
    pub(super) sealed: bool,
    /// The sequences that it was sent under, and must be sent under again.
    pub(super) stamp: Option<Stamp>,
    /// How often it has been sent.
    pub(super) attempts: u32,
    /// An attempt was sent, and whether it was appended is not known.
    pub(super) may_be_appended: bool,
    /// An earlier batch of the partition was under way when this one was sent last.
    pub(super) sent_behind: bool,
    /// Not to be sent again before, unless to a newer leader.
    pub(super) retry_at: MonotonicMillis,
    /// The leader epoch that it was sent to last.
    pub(super) sent_to: LeaderEpoch,
}

impl<T> Batch<T> {
    pub(super) fn new(id: u64, partition: PartitionName, compression: Compression, now: MonotonicMillis) -> Self {
        let builder = BatchBuilder::new(compression);
        Self {
            id,
            partition,
            bytes: builder.size_estimate(),
            content: Content::Open(builder),
            records: Vec::new(),
            record_count: 0,
            created: now,
            sealed: false,
            stamp: None,
            attempts: 0,
            may_be_appended: false,
            sent_behind: false,
            retry_at: now,
            sent_to: LeaderEpoch::UNKNOWN,
        }
    }

    pub(super) fn push(&mut self, record: RecordParts<'_>, sender: T) {
        assert!(!self.sealed, "a sealed batch takes no record");
        let Content::Open(builder) = &mut self.content else { unreachable!("a batch is encoded only once sealed") };
        builder.push(record.timestamp, record.key, record.value, record.headers);
        self.bytes = builder.size_estimate();
        self.records.push(sender);
        self.record_count += 1;
    }

    /// The partition it goes to.
    pub fn partition(&self) -> &PartitionName {
        &self.partition
    }

    /// How many records it has, as sequences count them.
    pub(super) fn record_count(&self) -> i32 {
        self.record_count
    }

    /// What is known of its records if it is given up now.
    pub(super) fn fate(&self) -> ProduceErrorKind {
        if self.may_be_appended { ProduceErrorKind::Unknown } else { ProduceErrorKind::Refused }
    }

    /// Those who wait for its records, to be told early; the batch goes on without them.
    pub fn take_records(&mut self) -> Vec<T> {
        std::mem::take(&mut self.records)
    }

    /// When it is given up.
    pub fn expires(&self, delivery_timeout_ms: u64) -> MonotonicMillis {
        self.created.plus(delivery_timeout_ms)
    }

    /// Its bytes as they are sent: compressed, stamped, summed. The same bytes each time, while the stamp stays.
    pub fn encode(&mut self) -> Bytes {
        let stamp = self.stamp.unwrap_or(Stamp::NONE);
        let bytes = match std::mem::replace(&mut self.content, Content::Taken) {
            Content::Open(builder) => {
                builder.finish(stamp.identity.producer_id, stamp.identity.producer_epoch, stamp.base_sequence)
            }
            Content::Encoded { bytes, stamp: before } if before == stamp => bytes,
            Content::Encoded { bytes, .. } => restamp(&bytes, stamp),
            Content::Taken => unreachable!("content is taken only within this call"),
        };
        self.content = Content::Encoded { bytes: bytes.clone(), stamp };
        bytes
    }
}

/// The same batch under another stamp.
fn restamp(bytes: &Bytes, stamp: Stamp) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    let mut header = BatchHeader::parse(&bytes).expect("this side encoded it");
    header.producer_id = stamp.identity.producer_id;
    header.producer_epoch = stamp.identity.producer_epoch;
    header.base_sequence = stamp.base_sequence;
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[CHECKSUMMED_FROM..]);
    header.write(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::sequence::ProducerIdentity;
    use protocol::ids::{PartitionIndex, ProducerEpoch, ProducerId, Sequence};
    use protocol::record_batch::records;

    fn stamp(producer_epoch: i16, base_sequence: i32) -> Stamp {
        let identity = ProducerIdentity { producer_id: ProducerId(7), producer_epoch: ProducerEpoch(producer_epoch) };
        Stamp { identity, base_sequence: Sequence(base_sequence), ordinal: 0 }
    }

    #[test]
    fn a_batch_is_the_same_bytes_until_its_stamp_changes() {
        let partition = PartitionName::new("orders", PartitionIndex(0));
        let mut batch = Batch::new(1, partition, Compression::Gzip, MonotonicMillis(0));
        let record = RecordParts { timestamp: WallMillis(5), key: None, value: Some(b"paid"), headers: &[] };
        batch.push(record, ());
        batch.push(record, ());
        batch.sealed = true;
        batch.stamp = Some(stamp(0, 10));
        let first = batch.encode();
        assert_eq!(batch.encode(), first);
        batch.stamp = Some(stamp(1, 0));
        let second = batch.encode();
        let header = BatchHeader::parse(&second).expect("a whole batch");
        assert_eq!((header.producer_epoch, header.base_sequence), (ProducerEpoch(1), Sequence(0)));
        assert_eq!(header.crc, crc32c(&second[CHECKSUMMED_FROM..]));
        assert_eq!(records(&second, 1 << 20).expect("readable"), records(&first, 1 << 20).expect("readable"));
    }
}
