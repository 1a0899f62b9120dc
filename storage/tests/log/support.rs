//! Batches, disks and the simplest model of a log.

use protocol::{
    compression::Compression,
    ids::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, WallMillis},
    record_batch::{BatchBuilder, BatchHeader, batches, validate_replicated},
};
use runtime::{
    disk::Disk,
    simulation::{self, Options},
};
use std::future::Future;
use storage::{Log, LogConfig, LogError, Recovery, leader_epochs::LeaderEpochs, producer_state::ProducerState};

pub const DIRECTORY: &str = "orders-3";
pub const NOW: WallMillis = WallMillis(1_000_000);

pub fn topic_id() -> TopicId {
    TopicId(uuid::Uuid::from_u128(42))
}

/// Small segments, and an index entry for nearly every batch.
pub fn tiny() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 100,
        // The timestamps of these tests lie in 1970.
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// Runs a scenario as the harness of a simulated world, on a fresh disk.
pub fn simulated<T, F>(seed: u64, scenario: impl FnOnce(Disk, simulation::disk::Disk) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    run_with(seed, Options::default(), scenario).result.expect("the scenario holds")
}

pub fn run_with<T, F>(
    seed: u64,
    options: Options,
    scenario: impl FnOnce(Disk, simulation::disk::Disk) -> F + Send + 'static,
) -> simulation::Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    simulation::run(seed, options, || {
        let platter = simulation::disk::Disk::new(1);
        scenario(Disk::simulated(platter.clone()), platter)
    })
}

pub async fn create(disk: &Disk, config: LogConfig) -> Log {
    Log::create(disk, DIRECTORY, topic_id(), PartitionIndex(3), config, NOW).await.expect("an empty disk takes a log")
}

pub async fn open(disk: &Disk, config: LogConfig, recovery: Recovery) -> Result<Log, LogError> {
    Log::open(disk, DIRECTORY, config, recovery, NOW).await
}

/// A batch as a producer sends it: records of about 20 bytes, stamped from `timestamp` on.
pub fn produced(producer: (i64, i16, i32), records: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None);
    for at in 0..records {
        builder.push(WallMillis(timestamp + at as i64), None, Some(&[at as u8; 12]), &[]);
    }
    builder.finish(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(producer.2)).to_vec()
}

/// A batch of nobody.
pub fn anonymous(records: usize, timestamp: i64) -> Vec<u8> {
    produced((-1, -1, -1), records, timestamp)
}

pub fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::parse(batch).expect("a batch")
}

/// Appends one produced batch as the leader.
pub fn lead(log: &mut Log, mut batch: Vec<u8>, leader_epoch: i32) -> Result<storage::Appended, storage::AppendError> {
    let header = header(&batch);
    log.append_as_leader(&mut batch, &[header], LeaderEpoch(leader_epoch), NOW)
}

/// What retention does, but for writing the log start offset down. Answers how many segments went.
pub fn delete_old_segments(log: &mut Log, now: WallMillis, high_watermark: Offset) -> usize {
    let before = log.segment_count();
    log.retire_old_segments(now, high_watermark).expect("a healthy disk");
    let rolled = log.segment_count() - before;
    log.delete_segments_below(log.log_start_offset()).expect("a healthy disk");
    before + rolled - log.segment_count()
}

/// A log as a list of batches, each with its final bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub batches: Vec<(BatchHeader, Vec<u8>)>,
    pub begins_at: Offset,
}

impl Model {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(self.begins_at, |(header, _)| header.next_offset())
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.batches.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Adds a batch with the log's next offset and an epoch.
    pub fn append(&mut self, batch: &[u8], leader_epoch: i32) -> Vec<u8> {
        let mut bytes = batch.to_vec();
        protocol::record_batch::patch(&mut bytes, self.end(), LeaderEpoch(leader_epoch));
        self.batches.push((header(&bytes), bytes.clone()));
        bytes
    }

    pub fn truncate(&mut self, offset: Offset) {
        self.batches.retain(|(header, _)| header.last_offset() < offset);
    }

    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.begins_at == other.begins_at && other.batches.starts_with(&self.batches)
    }

    /// The epochs that the batches themselves show.
    pub fn epochs(&self) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (header, _) in &self.batches {
            epochs.assign(header.leader_epoch, header.base_offset);
        }
        epochs
    }

    /// The producers that the batches themselves show.
    pub fn producers(&self) -> ProducerState {
        let mut producers = ProducerState::new(self.begins_at);
        self.batches.iter().for_each(|(header, _)| producers.apply(header, None));
        producers
    }

    /// What the log holds: read from its start to its end, every CRC checked, without a gap.
    pub fn of(log: &Log) -> Self {
        let mut model = Self { batches: Vec::new(), begins_at: log.log_start_offset() };
        let mut at = log.log_start_offset();
        while at < log.log_end_offset() {
            let read = log.read(at, log.log_end_offset(), 300, true).expect("it is there");
            let bytes = read.slice.read().expect("it can be read");
            assert!(!bytes.is_empty(), "a read at {at} of {} gives something", log.log_end_offset());
            let headers = validate_replicated(&bytes, read.base_offset).expect("whole, sound and without a gap");
            assert_eq!(headers.last().map(BatchHeader::next_offset), Some(read.next_offset));
            assert_eq!(headers.iter().map(BatchHeader::size).sum::<usize>(), bytes.len(), "no batch is cut");
            for batch in batches(&bytes) {
                let (header, batch) = batch.expect("just checked");
                model.batches.push((header, batch.to_vec()));
            }
            at = read.next_offset;
        }
        model.begins_at = model.batches.first().map_or(log.log_start_offset(), |(header, _)| header.base_offset);
        model
    }
}

/// Asserts that the log is the model, in every way in which it can be looked at.
pub fn assert_same(log: &Log, model: &Model) {
    assert_eq!(log.log_end_offset(), model.end());
    assert_eq!(log.size(), model.bytes().len() as u64);
    assert_eq!(Model::of(log).batches, model.batches);
    assert_eq!(log.producers(), &model.producers());
    let mut epochs = LeaderEpochs::default();
    for entry in log.epochs().iter().filter(|entry| entry.start_offset < log.log_end_offset()) {
        epochs.assign(entry.leader_epoch, entry.start_offset);
    }
    assert_eq!(epochs, model.epochs(), "the epochs are those of the batches");
}
