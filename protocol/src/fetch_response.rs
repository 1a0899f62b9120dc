//! Pure. Writes the Fetch response around records that are not copied: bytes, then a slice, then bytes, and so on.
//!
//! A slice is whatever the caller sends without looking inside: bytes in memory, or a part of a file. Its length is all that
//! is asked of it. Versions 4 to 18, byte for byte what Kafka writes.

use crate::error_code::ErrorCode;
use crate::frame::LENGTH_BYTES;
use crate::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId};
use crate::record_batch::varint;
use bytes::{BufMut, Bytes, BytesMut};

/// First version whose lengths are compact and whose structs end in tagged fields.
const FLEXIBLE_SINCE: i16 = 12;

/// A part of an encoded response, to be sent in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk<S> {
    /// Fields.
    Bytes(Bytes),
    /// Records.
    Slice(S),
}

/// What a Fetch response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer<S> {
    /// How long the client was or should be throttled.
    pub throttle_time_ms: i32,
    /// Of the whole request (version 7 on).
    pub error_code: ErrorCode,
    /// The fetch session, or 0 for none (KIP-227, version 7 on).
    pub session_id: i32,
    /// By topic, in the order of the request.
    pub topics: Vec<FetchedTopic<S>>,
    /// Where the leaders named in `current_leader` are found (KIP-951, version 16 on).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic of a [`FetchAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic<S> {
    /// Its name, written up to version 12.
    pub name: String,
    /// Its identity, written from version 13 on.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition<S>>,
}

/// One partition of a [`FetchAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition<S> {
    /// Which.
    pub partition: PartitionIndex,
    /// Of this partition.
    pub error_code: ErrorCode,
    /// Up to where every in-sync replica has it, or [`Offset::UNKNOWN`].
    pub high_watermark: Offset,
    /// Up to where all transactions are decided, or [`Offset::UNKNOWN`].
    pub last_stable_offset: Offset,
    /// First offset kept, or [`Offset::UNKNOWN`] (version 5 on).
    pub log_start_offset: Offset,
    /// Where the follower's log and the leader's part (KIP-595, version 12 on).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// Who leads now, for a client that asked another (version 12 on).
    pub current_leader: Option<(BrokerId, LeaderEpoch)>,
    /// Transactions that end aborted in these records: producer and first offset. `None` unless read committed.
    pub aborted_transactions: Option<Vec<(ProducerId, Offset)>>,
    /// Where the client should read instead, or [`BrokerId::NONE`] (KIP-392, version 11 on).
    pub preferred_read_replica: BrokerId,
    /// The records, in order; slices of no length are allowed.
    pub records: Vec<S>,
}

/// The end of an epoch in a leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch in the leader's log that is not above the follower's.
    pub leader_epoch: LeaderEpoch,
    /// One past that epoch's last record.
    pub end_offset: Offset,
}

/// Where a broker is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// Which broker.
    pub node_id: BrokerId,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
}

impl<S> FetchedPartition<S> {
    /// A partition of which nothing is told but an error.
    pub fn error(partition: PartitionIndex, error_code: ErrorCode) -> Self {
        Self {
            partition,
            error_code,
            high_watermark: Offset::UNKNOWN,
            last_stable_offset: Offset::UNKNOWN,
            log_start_offset: Offset::UNKNOWN,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: BrokerId::NONE,
            records: Vec::new(),
        }
    }
}

/// Writes Fetch responses.
#[derive(Clone, Copy, Debug)]
pub struct FetchResponseEncoder;

impl FetchResponseEncoder {
    /// The whole frame, its length and header included, in as many chunks as it takes: slices of no length are left out, and
    /// no two [`Chunk::Bytes`] follow one another. `len` is a slice's length in bytes.
    ///
    /// # Panics
    /// If the version is not 4 to 18, or the frame would be longer than 2 GiB: fetches are bounded far below.
    pub fn encode<S>(
        correlation_id: i32,
        version: i16,
        answer: FetchAnswer<S>,
        len: impl Fn(&S) -> usize,
    ) -> Vec<Chunk<S>> {
        assert!((4..=18).contains(&version), "Fetch version {version} is not served");
        let mut writer = Writer::new(version);
        writer.out.put_i32(0);
        writer.out.put_i32(correlation_id);
        writer.end_of_struct();
        writer.answer(answer, &len);
        writer.finish(&len)
    }
}

struct Writer<S> {
    version: i16,
    flexible: bool,
    out: BytesMut,
    /// Slices, each with the position in `out` that it stands at.
    slices: Vec<(usize, S)>,
}

impl<S> Writer<S> {
    fn new(version: i16) -> Self {
        let out = BytesMut::with_capacity(256);
        Self { version, flexible: version >= FLEXIBLE_SINCE, out, slices: Vec::new() }
    }

    fn finish(mut self, len: &impl Fn(&S) -> usize) -> Vec<Chunk<S>> {
        let records: usize = self.slices.iter().map(|(_, slice)| len(slice)).sum();
        let length =
            i32::try_from(self.out.len() - LENGTH_BYTES + records).expect("a fetch is bounded far below 2 GiB");
        self.out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        let mut rest = self.out.freeze();
        let mut chunks = Vec::with_capacity(2 * self.slices.len() + 1);
        let mut written = 0;
        for (at, slice) in self.slices {
            if at > written {
                chunks.push(Chunk::Bytes(rest.split_to(at - written)));
                written = at;
            }
            chunks.push(Chunk::Slice(slice));
        }
        if !rest.is_empty() {
            chunks.push(Chunk::Bytes(rest));
        }
        chunks
    }

    fn answer(&mut self, answer: FetchAnswer<S>, len: &impl Fn(&S) -> usize) {
        self.out.put_i32(answer.throttle_time_ms);
        if self.version >= 7 {
            self.out.put_i16(answer.error_code.code());
            self.out.put_i32(answer.session_id);
        }
        self.count(answer.topics.len());
        for topic in answer.topics {
            if self.version >= 13 {
                self.out.put_slice(topic.topic_id.0.as_bytes());
            } else {
                self.string(&topic.name);
            }
            self.count(topic.partitions.len());
            for partition in topic.partitions {
                self.partition(partition, len);
            }
            self.end_of_struct();
        }
        if self.version >= 16 && !answer.node_endpoints.is_empty() {
            varint::put_unsigned(&mut self.out, 1);
            let endpoints = answer.node_endpoints;
            self.tagged(0, |writer| {
                writer.count(endpoints.len());
                for endpoint in &endpoints {
                    writer.endpoint(endpoint);
                }
            });
        } else {
            self.end_of_struct();
        }
    }

    fn endpoint(&mut self, endpoint: &NodeEndpoint) {
        self.out.put_i32(endpoint.node_id.0);
        self.string(&endpoint.host);
        self.out.put_i32(endpoint.port);
        match &endpoint.rack {
            None => self.out.put_u8(0),
            Some(rack) => self.string(rack),
        }
        self.end_of_struct();
    }

    fn partition(&mut self, partition: FetchedPartition<S>, len: &impl Fn(&S) -> usize) {
        self.out.put_i32(partition.partition.0);
        self.out.put_i16(partition.error_code.code());
        self.out.put_i64(partition.high_watermark.0);
        self.out.put_i64(partition.last_stable_offset.0);
        if self.version >= 5 {
            self.out.put_i64(partition.log_start_offset.0);
        }
        self.aborted(partition.aborted_transactions.as_deref());
        if self.version >= 11 {
            self.out.put_i32(partition.preferred_read_replica.0);
        }
        self.length(partition.records.iter().map(len).sum());
        for slice in partition.records {
            if len(&slice) > 0 {
                self.slices.push((self.out.len(), slice));
            }
        }
        if self.flexible {
            self.partition_tags(partition.diverging_epoch, partition.current_leader);
        }
    }

    fn aborted(&mut self, aborted: Option<&[(ProducerId, Offset)]>) {
        match aborted {
            None if self.flexible => self.out.put_u8(0),
            None => self.out.put_i32(-1),
            Some(aborted) => {
                self.count(aborted.len());
                for (producer_id, first_offset) in aborted {
                    self.out.put_i64(producer_id.0);
                    self.out.put_i64(first_offset.0);
                    self.end_of_struct();
                }
            }
        }
    }

    fn partition_tags(&mut self, diverging: Option<EpochEndOffset>, leader: Option<(BrokerId, LeaderEpoch)>) {
        varint::put_unsigned(&mut self.out, u32::from(diverging.is_some()) + u32::from(leader.is_some()));
        if let Some(diverging) = diverging {
            self.tagged(0, |writer| {
                writer.out.put_i32(diverging.leader_epoch.0);
                writer.out.put_i64(diverging.end_offset.0);
                writer.end_of_struct();
            });
        }
        if let Some((leader_id, leader_epoch)) = leader {
            self.tagged(1, |writer| {
                writer.out.put_i32(leader_id.0);
                writer.out.put_i32(leader_epoch.0);
                writer.end_of_struct();
            });
        }
    }

    /// A tagged field: its tag, its length, and what `write` writes. Never around records.
    fn tagged(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        varint::put_unsigned(&mut self.out, tag);
        let before = self.out.split();
        write(self);
        let field = std::mem::replace(&mut self.out, before);
        varint::put_unsigned(&mut self.out, field.len() as u32);
        self.out.put_slice(&field);
    }

    /// The count of an array.
    fn count(&mut self, count: usize) {
        self.length(count);
    }

    /// The length of bytes, or the count of an array: compact, or four bytes.
    fn length(&mut self, length: usize) {
        if self.flexible {
            varint::put_unsigned(&mut self.out, length as u32 + 1);
        } else {
            self.out.put_i32(length as i32);
        }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            varint::put_unsigned(&mut self.out, text.len() as u32 + 1);
        } else {
            self.out.put_i16(text.len() as i16);
        }
        self.out.put_slice(text.as_bytes());
    }

    /// No tagged fields, where the version has them.
    fn end_of_struct(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(partitions: Vec<Vec<usize>>) -> FetchAnswer<usize> {
        let partition =
            |records| FetchedPartition { records, ..FetchedPartition::error(PartitionIndex(0), ErrorCode::None) };
        FetchAnswer {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            session_id: 0,
            topics: vec![FetchedTopic {
                name: "orders".to_owned(),
                topic_id: TopicId::ZERO,
                partitions: partitions.into_iter().map(partition).collect(),
            }],
            node_endpoints: Vec::new(),
        }
    }

    #[test]
    fn records_stand_between_the_fields_around_them() {
        // A slice here is its own length: the encoder asks for nothing else.
        let chunks = FetchResponseEncoder::encode(1, 11, answer(vec![vec![5, 0, 7], vec![], vec![3]]), |slice| *slice);
        let shape: Vec<_> = chunks
            .iter()
            .map(|chunk| match chunk {
                Chunk::Bytes(_) => 0,
                Chunk::Slice(length) => *length,
            })
            .collect();
        assert_eq!(shape, [0, 5, 7, 0, 3], "an empty slice is left out, two slices may follow one another");
    }

    #[test]
    fn a_long_tagged_field_says_its_length() {
        let mut told = answer(Vec::new());
        told.node_endpoints = (0..40)
            .map(|id| NodeEndpoint { node_id: BrokerId(id), host: "a.host.name".to_owned(), port: 9092, rack: None })
            .collect();
        let chunks = FetchResponseEncoder::encode::<usize>(1, 16, told, |slice| *slice);
        let [Chunk::Bytes(frame)] = &chunks[..] else { panic!("{chunks:?}") };
        let frame = frame.slice(LENGTH_BYTES..);
        let decoded = crate::frame::decode_response::<crate::messages::FetchRequest>(16, frame).unwrap();
        assert_eq!(decoded.node_endpoints.len(), 40);
        assert_eq!(decoded.node_endpoints[39].host.as_str(), "a.host.name");
    }

    proptest! {
        #[test]
        fn the_announced_length_is_that_of_all_chunks(
            version in 4i16..=18,
            partitions in proptest::collection::vec(proptest::collection::vec(0usize..100_000, 0..4), 0..5),
        ) {
            let chunks = FetchResponseEncoder::encode(1, version, answer(partitions), |slice| *slice);
            let mut total = 0;
            let mut after_bytes = false;
            for chunk in &chunks {
                let is_bytes = matches!(chunk, Chunk::Bytes(_));
                prop_assert!(!(is_bytes && after_bytes), "two pieces of fields follow one another");
                after_bytes = is_bytes;
                total += match chunk {
                    Chunk::Bytes(bytes) => bytes.len(),
                    Chunk::Slice(length) => *length,
                };
            }
            let Some(Chunk::Bytes(first)) = chunks.first() else { panic!("a frame begins with its length") };
            prop_assert_eq!(&first[..4], (total as i32 - 4).to_be_bytes());
        }
    }
}
