//! Sends records to the partitions of topics, in order, and tells of each one where it lies or what is known of its fate.
//!
//! One task asks the machine in [`batches`] what to send, and sends it; each request has a task that waits for its answer. It
//! has no opinion on retries and sequences: the machines do. Driven by whoever produces: `cli`, `sim`'s workloads.

pub mod batch;
pub mod batches;
pub mod outcome;
pub mod partitioner;
mod sending;
pub mod sequence;

pub use outcome::{ProduceError, ProduceErrorKind, RecordMetadata};

use crate::PartitionName;
use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::retry::Backoff;
use batch::RecordParts;
use batches::{BatchSettings, Batches, Finished};
use bytes::Bytes;
use partitioner::Sticky;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, PartitionIndex, WallMillis};
use protocol::record_batch::Header;
use runtime::sync::{Lock, Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use runtime::{rand, task, time};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The rank of a producer's lock: under it, a cluster's and a connection's are taken.
const RANK: u8 = 70;

/// Who must have a record before it is acknowledged (`acks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acks {
    /// Nobody: the record is sent and forgotten.
    None,
    /// The leader.
    Leader,
    /// Every in-sync replica.
    #[default]
    All,
}

impl Acks {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How to produce. The defaults are those of Kafka's client.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Who must have a record before it is acknowledged.
    pub acks: Acks,
    /// Whether each record is appended once and in order however often it is sent (KIP-98). Needs [`Acks::All`]: with any
    /// other, it is off.
    pub idempotent: bool,
    /// What batches are compressed with.
    pub compression: Compression,
    /// The size at which a batch is sent without lingering, before compression (`batch.size`).
    pub batch_bytes: usize,
    /// The most bytes in one request, and in one record (`max.request.size`).
    pub request_bytes: usize,
    /// How long a batch waits for more records (`linger.ms`).
    pub linger: Duration,
    /// How long a record may take from its call to its answer (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// How long one request may take (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How often a batch may be sent again, within the delivery timeout (`retries`).
    pub retries_max: u32,
    /// The wait before a batch is sent again, unless a newer leader is known (`retry.backoff.ms`, `retry.backoff.max.ms`).
    pub retry_backoff: Backoff,
    /// Requests to one broker that may be under way; at most 5 with idempotence, which is what a broker remembers.
    pub in_flight_max: usize,
    /// Bytes of records that may be unfinished; more of them wait (`buffer.memory`).
    pub buffer_bytes: usize,
    /// How long a call may wait for metadata, and for room in the buffer (`max.block.ms`).
    pub block_max: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            batch_bytes: 16 << 10,
            request_bytes: 1 << 20,
            linger: Duration::from_millis(5),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            retries_max: u32::MAX,
            retry_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            in_flight_max: 5,
            buffer_bytes: 32 << 20,
            block_max: Duration::from_secs(60),
        }
    }
}

/// The most batches of one producer and partition that a broker remembers (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const REMEMBERED_BATCHES: usize = 5;

impl ProducerOptions {
    fn settings(&self) -> BatchSettings {
        let idempotent = self.idempotent && self.acks == Acks::All;
        let in_flight_max = if idempotent { self.in_flight_max.min(REMEMBERED_BATCHES) } else { self.in_flight_max };
        BatchSettings {
            batch_bytes: self.batch_bytes,
            request_bytes: self.request_bytes,
            linger_ms: millis(self.linger),
            delivery_timeout_ms: millis(self.delivery_timeout),
            retries_max: self.retries_max,
            in_flight_max,
            idempotent,
            compression: self.compression,
        }
    }
}

/// A record to produce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Decides the partition, if the call does not.
    pub key: Option<Bytes>,
    /// What it says; nothing deletes the key on a compacted topic.
    pub value: Option<Bytes>,
    /// What it carries beside.
    pub headers: Vec<Header>,
    /// When it happened; now, if it does not say.
    pub timestamp: Option<WallMillis>,
}

impl ProducerRecord {
    /// A record of this value alone.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same record with a key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// A producer. Cheap to clone; what is not sent when the last handle is dropped is refused: [`Producer::close`] first.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Cluster,
    options: ProducerOptions,
    state: Lock<State>,
    /// Bytes of records that may still come.
    buffer: Arc<Semaphore>,
    /// There may be something to send.
    wake: Notify,
    /// Some batch is finished.
    progress: Notify,
    /// Woken once, at the end.
    closing: Notify,
}

struct State {
    batches: Batches<Waiter>,
    sticky: BTreeMap<Arc<str>, Sticky>,
    /// Somebody is asking a broker for a producer id.
    acquiring: bool,
    /// Why nothing more is taken.
    stopped: Option<ClientError>,
}

/// Who waits for one record, and the room that the record takes meanwhile.
#[derive(Debug)]
struct Waiter {
    answered: oneshot::Sender<Result<RecordMetadata, ProduceError>>,
    _room: OwnedSemaphorePermit,
}

/// What will become of one record. Records enqueued one after another to one partition are appended in that order.
#[derive(Debug)]
pub struct Delivery {
    answer: oneshot::Receiver<Result<RecordMetadata, ProduceError>>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            let unknown = ProduceError { kind: ProduceErrorKind::Unknown, cause: ClientError::Stopped };
            answer.unwrap_or(Err(unknown))
        })
    }
}

impl Producer {
    /// Starts a producer on a cluster.
    pub fn new(cluster: Cluster, options: ProducerOptions) -> Self {
        let room = options.buffer_bytes.min(Semaphore::MAX_PERMITS);
        let batches = Batches::new(options.settings());
        let state = State { batches, sticky: BTreeMap::new(), acquiring: false, stopped: None };
        let shared = Arc::new(Shared {
            cluster,
            options,
            state: Lock::new(RANK, state),
            buffer: Arc::new(Semaphore::new(room)),
            wake: Notify::new(),
            progress: Notify::new(),
            closing: Notify::new(),
        });
        task::spawn(sending::send_for_ever(shared.clone()));
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Produces a record and waits for what becomes of it. Without `partition`, its key decides, or any partition will do.
    ///
    /// # Errors
    /// [`ProduceError`], whose kind says whether the record may be in the log all the same.
    pub async fn send(
        &self,
        topic: &str,
        partition: Option<PartitionIndex>,
        record: ProducerRecord,
    ) -> Result<RecordMetadata, ProduceError> {
        self.enqueue(topic, partition, record).await?.await
    }

    /// Puts a record in line, and returns what will become of it. Waits for metadata and for room in the buffer.
    ///
    /// # Errors
    /// Always of the kind [`ProduceErrorKind::Refused`]: no such topic or partition, too large, no room in time, closed.
    pub async fn enqueue(
        &self,
        topic: &str,
        partition: Option<PartitionIndex>,
        record: ProducerRecord,
    ) -> Result<Delivery, ProduceError> {
        let shared = &self.handle.shared;
        shared.check_open().map_err(ProduceError::refused)?;
        let partition = shared.partition_of(topic, partition, &record).await.map_err(ProduceError::refused)?;
        let bytes = record.parts().bytes_max();
        let room = shared.room(bytes).await.map_err(ProduceError::refused)?;
        let (answered, answer) = oneshot::channel();
        let waiter = Waiter { answered, _room: room };
        let mut state = shared.state.lock();
        if let Some(error) = &state.stopped {
            return Err(ProduceError::refused(error.clone()));
        }
        let is_news = state.batches.append(&partition, record.parts(), waiter, now());
        drop(state);
        if is_news {
            shared.wake.notify_one();
        }
        Ok(Delivery { answer })
    }

    /// Sends what is in line without lingering, and waits until all of it is finished, one way or the other.
    pub async fn flush(&self) {
        let shared = &self.handle.shared;
        let newest = shared.state.lock().batches.flush_begun();
        let _ends = FlushEnds(shared);
        shared.wake.notify_one();
        loop {
            let mut progress = pin!(shared.progress.notified());
            progress.as_mut().enable();
            if newest.is_none_or(|newest| shared.state.lock().batches.is_finished(newest)) {
                return;
            }
            progress.await;
        }
    }

    /// Takes no more records, and finishes those in line until the timeout; what is left then is refused, or its fate unknown.
    pub async fn close(&self, timeout: Duration) {
        self.handle.shared.state.lock().stopped.get_or_insert(ClientError::Stopped);
        let _ = time::timeout(timeout, self.flush()).await;
        self.handle.shared.stop();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// Ends a flush, also one that is given up.
struct FlushEnds<'a>(&'a Shared);

impl Drop for FlushEnds<'_> {
    fn drop(&mut self) {
        self.0.state.lock().batches.flush_ended();
    }
}

impl ProducerRecord {
    fn parts(&self) -> RecordParts<'_> {
        RecordParts {
            timestamp: self.timestamp.unwrap_or_else(|| WallMillis(time::wall_now())),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), ClientError> {
        self.state.lock().stopped.clone().map_or(Ok(()), Err)
    }

    /// The partition that a record goes to, once the topic is known.
    async fn partition_of(
        &self,
        topic: &str,
        partition: Option<PartitionIndex>,
        record: &ProducerRecord,
    ) -> Result<PartitionName, ClientError> {
        let mut known = self.cluster.topic(topic, self.options.block_max).await?;
        if let Some(partition) = partition {
            if !known.partitions.contains_key(&partition) {
                // The topic may have grown.
                self.cluster.refresh().await?;
                known = self.cluster.topic(topic, self.options.block_max).await?;
            }
            if !known.partitions.contains_key(&partition) {
                return Err(ClientError::NoLeader { topic: topic.to_owned(), partition: partition.0 });
            }
            return Ok(PartitionName::new(topic, partition));
        }
        let partitions = i32::try_from(known.partitions.len()).expect("Kafka counts partitions in 31 bits");
        if partitions == 0 {
            return Err(ClientError::UnknownTopic { topic: topic.to_owned() });
        }
        if let Some(key) = &record.key {
            return Ok(PartitionName::new(topic, partitioner::for_key(key, partitions)));
        }
        let led = || {
            let led = known.partitions.iter().filter(|(_, partition)| partition.leader.is_some());
            led.map(|(index, _)| *index).collect()
        };
        let bytes = record.parts().bytes_max();
        let mut state = self.state.lock();
        let name = state.sticky.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| name.clone());
        let sticky = state.sticky.entry(Arc::clone(&name)).or_default();
        let partition = sticky.choose(partitions, led, bytes, self.options.batch_bytes, rand::next());
        Ok(PartitionName { topic: name, partition })
    }

    /// Room for a record in the buffer.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ClientError> {
        let limit = self.options.request_bytes.min(self.options.buffer_bytes);
        if bytes > limit {
            let message = Some(format!("a record of {bytes} bytes is larger than {limit}"));
            return Err(ClientError::Broker { code: ErrorCode::MessageTooLarge, message });
        }
        let permits = u32::try_from(bytes).map_err(|_| ClientError::Stopped)?;
        let room = self.buffer.clone().acquire_many_owned(permits);
        match time::timeout(self.options.block_max, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(ClientError::Stopped),
            Err(_) => Err(ClientError::Timeout {
                address: "the producer's buffer".to_owned(),
                api: "room for a record",
                after: self.options.block_max,
                sent: false,
            }),
        }
    }

    /// Tells the waiters of finished batches.
    fn tell(&self, finished: Vec<Finished<Waiter>>) {
        if finished.is_empty() {
            return;
        }
        for batch in finished {
            if let Err(error) = &batch.result {
                tracing::debug!(partition = %batch.partition, %error, "gave up a batch");
            }
            for (waiter, delta) in batch.records.into_iter().zip(0i64..) {
                let result = batch.result.clone().map(|(base_offset, log_append_time)| RecordMetadata {
                    partition: batch.partition.partition,
                    offset: base_offset.map(|base| base.plus(delta)),
                    log_append_time,
                });
                // Whoever no longer wants to know is nothing to worry about.
                let _ = waiter.answered.send(result);
            }
        }
        self.progress.notify_waiters();
    }

    /// Ends the producer: what waits is given up, what is under way is answered as it comes.
    fn stop(&self) {
        let finished = {
            let mut state = self.state.lock();
            state.stopped.get_or_insert(ClientError::Stopped);
            state.batches.fail_waiting(&ClientError::Stopped)
        };
        self.tell(finished);
        self.closing.notify_waiters();
        self.buffer.close();
    }
}

fn now() -> MonotonicMillis {
    MonotonicMillis(time::now().as_millis())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
