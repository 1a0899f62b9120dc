//! Broken requests for a node that runs: some are broken in a batch, some around one, some are captured frames with a few
//! bytes changed. Included beside `mutation.rs` and `golden/files.rs` by whoever sends them.

use super::{files, mutation::Mutator};
use bytes::Bytes;
use protocol::{
    api::{CREATE_PARTITIONS, CREATE_TOPICS, DELETE_RECORDS, DELETE_TOPICS, Plane},
    compression::Compression,
    frame::encode_request,
    ids::{ProducerEpoch, ProducerId, Sequence, WallMillis},
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
        topic_name,
    },
    record_batch::BatchBuilder,
};

const PRODUCE_VERSION: i16 = 9;

/// What could be a rightful wish for something large, or take away what others write to.
const LEFT_OUT: &[protocol::api::ApiKey] = &[CREATE_TOPICS, CREATE_PARTITIONS, DELETE_TOPICS, DELETE_RECORDS];

/// Broken requests without end, the same for the same seed.
pub struct Enemy {
    mutator: Mutator,
    captured: Vec<Bytes>,
    batch: Vec<u8>,
    case: usize,
}

impl Enemy {
    pub fn new(seed: u64) -> Self {
        let captured = files::all()
            .into_iter()
            .filter(|golden| golden.direction == files::Direction::Request)
            .filter(|golden| LEFT_OUT.iter().all(|api| api.0 != golden.key))
            .filter(|golden| golden.plane() == Plane::Client && golden.bytes.len() < 10_000)
            .map(|golden| golden.bytes)
            .collect();
        Self { mutator: Mutator::new(seed), captured, batch: batch(), case: 0 }
    }

    /// The next one, as a frame.
    pub fn next(&mut self) -> Vec<u8> {
        self.case += 1;
        let request = match self.case % 3 {
            0 => produce(&self.mutator.mutated(&self.batch)),
            1 => self.mutator.mutated(&produce(&self.batch)),
            _ => self.mutator.mutated(&self.captured[self.case % self.captured.len()]),
        };
        framed(&request)
    }
}

/// A request behind its length.
pub fn framed(request: &[u8]) -> Vec<u8> {
    let length = i32::try_from(request.len()).expect("a small request").to_be_bytes();
    [&length[..], request].concat()
}

/// Twenty records, sound.
pub fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::Gzip);
    for at in 0..20 {
        builder.push(WallMillis(at), Some(b"key"), Some(&[b'v'; 30]), &[]);
    }
    builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec()
}

/// A Produce request for the topic `orders`, without its length.
pub fn produce(batch: &[u8]) -> Vec<u8> {
    let data = PartitionProduceData::default().with_records(Some(Bytes::copy_from_slice(batch)));
    let topic = TopicProduceData::default().with_name(topic_name("orders")).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic]);
    let frame = encode_request(7, Some("enemy"), PRODUCE_VERSION, &request).expect("a request");
    frame[4..].to_vec()
}
