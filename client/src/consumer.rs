//! Reads the records of assigned partitions, each from its position on, in order.
//!
//! A poll asks the machine in [`positions`] what to ask the leaders, sends that, and takes records from what has arrived; each
//! request has a task that waits for its answer. Nothing is asked while nobody polls. It has no opinion on what an answer
//! means for a position: the machine does; and none on what a group says: the machine in [`membership`] does. Driven by whoever
//! consumes: `cli`, `sim`'s workloads.

pub mod assignors;
pub mod consumer_protocol;
pub mod fetched;
mod fetching;
pub mod group;
pub mod membership;
mod offsets;
pub mod positions;

pub use assignors::Assignor;
pub use group::{CommitError, OffsetAndMetadata, RebalanceListener};
pub use membership::options::{ClassicProtocol, ConsumerProtocol, GroupOptions, GroupProtocol};
pub use membership::{Generation, GroupError, GroupMetadata, MemberId};
pub use positions::{Position, PositionError, ResetTo};

use crate::PartitionName;
use crate::cluster::{Cluster, Leader};
use crate::error::ClientError;
use crate::retry::Backoff;
use bytes::Bytes;
use fetched::{Fetched, ReadRules};
use group::Group;
use offsets::{EARLIEST, LATEST, Listed};
use positions::{Positions, Ticket};
use protocol::ids::{BrokerId, LeaderEpoch, MonotonicMillis, Offset, PartitionIndex, WallMillis};
use protocol::record_batch::{BatchError, Header, TimestampType};
use runtime::sync::{AsyncMutex, Lock, Notify};
use runtime::{rand, time};
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The rank of a consumer's lock: under it, a cluster's and a connection's are taken.
const RANK: u8 = 70;

/// Which records a consumer may see (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum IsolationLevel {
    /// All that the high watermark has passed.
    #[default]
    ReadUncommitted,
    /// Of transactions, only the records of those that were committed.
    ReadCommitted,
}

/// How to consume. The defaults are those of Kafka's client, but for the reset policy.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Which records may be seen.
    pub isolation_level: IsolationLevel,
    /// Where to begin without a position, and when its data is gone (`auto.offset.reset`); nothing is `none`.
    pub reset: Option<ResetTo>,
    /// How long a leader may wait for records before it answers (`fetch.max.wait.ms`).
    pub wait_max: Duration,
    /// Bytes that a leader waits for (`fetch.min.bytes`).
    pub bytes_min: i32,
    /// Bytes that one answer may have (`fetch.max.bytes`); the first batch comes whole in any case.
    pub bytes_max: i32,
    /// Bytes that one partition may have in it (`max.partition.fetch.bytes`).
    pub partition_bytes_max: i32,
    /// Records that one poll may return (`max.poll.records`).
    pub poll_records_max: usize,
    /// How long one request may take, beyond the wait asked of the leader (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// The wait before a leader is asked again, unless there is a newer one.
    pub retry_backoff: Backoff,
    /// Compute each batch's checksum (`check.crcs`).
    pub check_crc: bool,
    /// The most bytes that one batch may have when it is decompressed.
    pub batch_budget: usize,
    /// The group that the consumer belongs to, or at least commits for.
    pub group: Option<GroupOptions>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            isolation_level: IsolationLevel::ReadUncommitted,
            reset: Some(ResetTo::Earliest),
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            poll_records_max: 500,
            request_timeout: Duration::from_secs(30),
            retry_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            check_crc: true,
            batch_budget: 100 << 20,
            group: None,
        }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic, by name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
    /// When it happened by its producer, or was appended by the leader, as the topic has it.
    pub timestamp: WallMillis,
    /// Which of the two.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// What it carries beside.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    /// What to commit once it is processed, and of which partition: that what follows is read next.
    pub fn processed(&self) -> (PartitionName, OffsetAndMetadata) {
        let committed = OffsetAndMetadata {
            offset: self.offset.plus(1),
            leader_epoch: Some(self.leader_epoch),
            metadata: String::new(),
        };
        (PartitionName { topic: self.topic.clone(), partition: self.partition }, committed)
    }
}

/// Why a poll yields no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumerError {
    /// The partition cannot be read on from its position. Said once; the partition rests until a seek.
    #[error("{partition}: {cause}")]
    Position {
        /// Which partition.
        partition: PartitionName,
        /// Why.
        cause: PositionError,
    },
    /// A batch is damaged. The position stays before it; it is fetched anew by the next poll.
    #[error("{partition}: the batch at offset {offset} is damaged: {cause}")]
    Damaged {
        /// Which partition.
        partition: PartitionName,
        /// The position, which is in the batch or before it.
        offset: Offset,
        /// What is wrong with it.
        cause: BatchError,
    },
    /// The consumer is no member of its group.
    #[error("group: {0}")]
    Group(#[from] GroupError),
    /// It takes a group to subscribe ([`ConsumerOptions::group`]).
    #[error("the consumer has no group")]
    NoGroup,
    /// The pattern is not a regular expression.
    #[error("not a pattern: {0}")]
    BadPattern(String),
    /// Only a coordinator by KIP-848 (`group.protocol=consumer`) knows which topics match a pattern.
    #[error("a coordinator of the classic protocol takes no pattern")]
    PatternOfClassicGroup,
    /// The consumer is closed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The first record at or after a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: WallMillis,
    /// Its leader epoch, if the leader says.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A consumer. Its partitions are assigned by hand, or by the group that it subscribes in ([`group`]).
///
/// One that is dropped without [`Consumer::close`] is as one that died: its group waits for it until its session ends.
pub struct Consumer {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Cluster,
    options: ConsumerOptions,
    state: Lock<State>,
    /// Something has arrived, or the poller has a duty.
    arrived: Notify,
    /// The membership has something to do.
    group_wanted: Notify,
    /// What the membership waits for does not matter any more.
    group_interrupted: Notify,
    /// Held while a commit is under way, so that a later one does not overtake it.
    committing: AsyncMutex<()>,
}

struct State {
    positions: Positions,
    group: Option<Group>,
    is_closed: bool,
    /// What has arrived and is not all taken, the oldest first.
    arrivals: VecDeque<Arrival>,
    /// Failures in a row of requests to each broker.
    failures: BTreeMap<BrokerId, u32>,
}

/// What one fetch brought for one partition.
struct Arrival {
    partition: PartitionName,
    ticket: Ticket,
    fetched: Fetched,
}

impl Consumer {
    /// A consumer on a cluster, with nothing assigned.
    pub fn new(cluster: Cluster, options: ConsumerOptions) -> Self {
        let state = State {
            positions: Positions::new(options.reset),
            group: options.group.as_ref().map(|group| Group::new(group, options.retry_backoff)),
            is_closed: false,
            arrivals: VecDeque::new(),
            failures: BTreeMap::new(),
        };
        let shared = Shared {
            cluster,
            options,
            state: Lock::new(RANK, state),
            arrived: Notify::new(),
            group_wanted: Notify::new(),
            group_interrupted: Notify::new(),
            committing: AsyncMutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the assignment. Partitions that stay keep their position; new ones begin where the group has committed, if
    /// there is a group, and else as the reset policy says.
    ///
    /// # Panics
    /// When the consumer is subscribed: its group assigns.
    pub fn assign(&self, partitions: impl IntoIterator<Item = PartitionName>) {
        let partitions: Vec<PartitionName> = partitions.into_iter().collect();
        for partition in &partitions {
            self.shared.cluster.track(&partition.topic);
        }
        let mut state = self.shared.state.lock();
        match &state.group {
            None => state.positions.assign(partitions),
            Some(group) => {
                assert!(!group.is_subscribed(), "the partitions of a subscribed consumer are its group's to assign");
                state.positions.assign_committed(partitions);
            }
        }
    }

    /// The assigned partitions, in order.
    pub fn assignment(&self) -> Vec<PartitionName> {
        self.shared.state.lock().positions.assignment().cloned().collect()
    }

    /// Goes to an offset. False when the partition is not assigned.
    pub fn seek(&self, partition: &PartitionName, offset: Offset) -> bool {
        self.seek_to_position(partition, Position { offset, leader_epoch: None })
    }

    /// Goes to a position that was known before: with its leader epoch it is validated first, so that a truncation meanwhile
    /// is reported (KIP-320). False when the partition is not assigned.
    pub fn seek_to_position(&self, partition: &PartitionName, position: Position) -> bool {
        self.shared.state.lock().positions.seek(partition, position)
    }

    /// Goes to the first offset that the log still has. False when the partition is not assigned.
    pub fn seek_to_beginning(&self, partition: &PartitionName) -> bool {
        self.shared.state.lock().positions.seek_to(partition, ResetTo::Earliest)
    }

    /// Goes behind the last record. False when the partition is not assigned.
    pub fn seek_to_end(&self, partition: &PartitionName) -> bool {
        self.shared.state.lock().positions.seek_to(partition, ResetTo::Latest)
    }

    /// Reads no records of a partition until it is resumed; it stays assigned. False when it is not assigned.
    pub fn pause(&self, partition: &PartitionName) -> bool {
        self.shared.state.lock().positions.pause(partition)
    }

    /// Reads records of a partition again. False when it is not assigned.
    pub fn resume(&self, partition: &PartitionName) -> bool {
        self.shared.state.lock().positions.resume(partition)
    }

    /// The partitions that are paused, in order.
    pub fn paused(&self) -> Vec<PartitionName> {
        self.shared.state.lock().positions.paused().cloned().collect()
    }

    /// The next offset that will be read, nothing while it is not known: before the leader has said it, or after a failure.
    pub fn position(&self, partition: &PartitionName) -> Option<Position> {
        self.shared.state.lock().positions.position(partition)
    }

    /// The next records, at most `poll_records_max` of them: at once what there is, else whatever comes first until the timeout.
    ///
    /// Records of one partition come in the order of their offsets. A poll that is dropped before its end loses none, but may
    /// call the user of a rebalance again. A member of a group is rebalanced in its polls alone, and has to poll every
    /// `max.poll.interval.ms`; the records of a poll count as done with the next one, for automatic commits.
    ///
    /// # Errors
    /// [`ConsumerError`], about one partition: the others are read on by the next poll. About the group: see [`GroupError`].
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        let shared = &self.shared;
        let deadline = time::now() + timeout;
        let mut changes = shared.cluster.changes();
        let _polling = group::Polling::begin(shared);
        loop {
            let mut arrived = pin!(shared.arrived.notified());
            arrived.as_mut().enable();
            changes.borrow_and_update();
            let commit_at = match &shared.options.group {
                Some(_) => Box::pin(self.attend()).await?,
                None => None,
            };
            let wake_at = fetching::ask(shared).into_iter().chain(commit_at).min();
            let records = self.take()?;
            if !records.is_empty() {
                // What is drained now is fetched while the caller works.
                fetching::ask(shared);
                return Ok(records);
            }
            if time::now() >= deadline {
                return Ok(records);
            }
            let wake_at = wake_at.map(|at| time::now() + Duration::from_millis(at.since(now())));
            let until = wake_at.map_or(deadline, |at| at.min(deadline));
            runtime::select! {
                () = arrived => {}
                changed = changes.changed() => changed.map_err(|_| ClientError::Stopped)?,
                () = time::sleep_until(until) => {}
            }
        }
    }

    /// Takes records from what has arrived. An error that comes after some records waits for the next call.
    fn take(&self) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        let mut guard = self.shared.state.lock();
        let state = &mut *guard;
        let mut records = Vec::new();
        while let Some(arrival) = state.arrivals.front_mut() {
            if !state.positions.is_current(&arrival.partition, arrival.ticket) {
                state.arrivals.pop_front();
                continue;
            }
            let room = self.shared.options.poll_records_max - records.len();
            let ended = arrival.take(room, &mut records);
            let position = arrival.fetched.position();
            let is_drained = !matches!(ended, Ok(false));
            state.positions.taken(&arrival.partition, arrival.ticket, position, is_drained);
            let partition = arrival.partition.clone();
            match ended {
                Ok(false) => break,
                Ok(true) => drop(state.arrivals.pop_front()),
                Err(cause) if records.is_empty() => {
                    state.arrivals.pop_front();
                    return Err(ConsumerError::Damaged { partition, offset: position.offset, cause });
                }
                // Fetched anew, and found damaged again, by the next poll.
                Err(_) => drop(state.arrivals.pop_front()),
            }
        }
        if records.is_empty()
            && let Some((partition, cause)) = state.positions.next_failure()
        {
            return Err(ConsumerError::Position { partition, cause });
        }
        Ok(records)
    }

    /// The first offset that each partition's log still has.
    ///
    /// # Errors
    /// The last error about any of them, when not all have answered by the timeout.
    pub async fn beginning_offsets(
        &self,
        partitions: &[PartitionName],
        timeout: Duration,
    ) -> Result<BTreeMap<PartitionName, Offset>, ClientError> {
        self.offsets_at(partitions, EARLIEST, timeout).await
    }

    /// The offset behind each partition's last record: the high watermark, or with `read_committed` the last stable offset.
    ///
    /// # Errors
    /// As [`Consumer::beginning_offsets`].
    pub async fn end_offsets(
        &self,
        partitions: &[PartitionName],
        timeout: Duration,
    ) -> Result<BTreeMap<PartitionName, Offset>, ClientError> {
        self.offsets_at(partitions, LATEST, timeout).await
    }

    async fn offsets_at(
        &self,
        partitions: &[PartitionName],
        timestamp: WallMillis,
        timeout: Duration,
    ) -> Result<BTreeMap<PartitionName, Offset>, ClientError> {
        let wanted = partitions.iter().map(|partition| (partition.clone(), timestamp)).collect();
        let listed = self.list(wanted, timeout).await?;
        Ok(listed.into_iter().filter_map(|(partition, listed)| Some((partition, listed.offset?))).collect())
    }

    /// For each partition the first record at or after a timestamp; nothing when there is none that late.
    ///
    /// # Errors
    /// As [`Consumer::beginning_offsets`].
    pub async fn offsets_for_times(
        &self,
        timestamps: BTreeMap<PartitionName, WallMillis>,
        timeout: Duration,
    ) -> Result<BTreeMap<PartitionName, Option<OffsetAndTimestamp>>, ClientError> {
        let listed = self.list(timestamps, timeout).await?;
        let found = listed.into_iter().map(|(partition, listed)| {
            let Listed { timestamp, leader_epoch, .. } = listed;
            (partition, listed.offset.map(|offset| OffsetAndTimestamp { offset, timestamp, leader_epoch }))
        });
        Ok(found.collect())
    }

    /// Asks the leaders until every partition has been answered.
    async fn list(
        &self,
        mut wanted: BTreeMap<PartitionName, WallMillis>,
        timeout: Duration,
    ) -> Result<BTreeMap<PartitionName, Listed>, ClientError> {
        let shared = &self.shared;
        let deadline = time::now() + timeout;
        for partition in wanted.keys() {
            shared.cluster.track(&partition.topic);
        }
        let mut listed = BTreeMap::new();
        let mut failures = 0u32;
        loop {
            let round = time::timeout_at(deadline, shared.list_once(&mut wanted, &mut listed)).await;
            let error = match round {
                Ok(None) => return Ok(listed),
                Ok(Some(error)) if !error.is_retriable() || time::now() >= deadline => return Err(error),
                Ok(Some(error)) => error,
                Err(_) => return Err(no_answer(&wanted, timeout)),
            };
            tracing::debug!(%error, "asking for offsets again");
            failures = failures.saturating_add(1);
            shared.cluster.request_refresh();
            time::sleep_until(deadline.min(time::now() + shared.options.retry_backoff.after(failures, rand::next())))
                .await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    /// Ends what goes on beside polls.
    fn end(&self) {
        self.state.lock().is_closed = true;
        self.group_interrupted.notify_waiters();
        self.group_wanted.notify_one();
    }

    /// One request to each leader about what is still wanted. Returns an error when something is left.
    async fn list_once(
        &self,
        wanted: &mut BTreeMap<PartitionName, WallMillis>,
        listed: &mut BTreeMap<PartitionName, Listed>,
    ) -> Option<ClientError> {
        let mut last = None;
        let mut by_leader: BTreeMap<BrokerId, Vec<(PartitionName, Leader, WallMillis)>> = BTreeMap::new();
        for (partition, timestamp) in wanted.iter() {
            match self.cluster.leader(partition) {
                Some(leader) => {
                    by_leader.entry(leader.broker).or_default().push((partition.clone(), leader, *timestamp));
                }
                None => {
                    let topic = partition.topic.to_string();
                    last = Some(ClientError::NoLeader { topic, partition: partition.partition.0 });
                }
            }
        }
        let is_committed_only = self.options.isolation_level == IsolationLevel::ReadCommitted;
        for partitions in by_leader.into_values() {
            let asked =
                offsets::list_offsets(&self.cluster, &partitions, is_committed_only, self.options.request_timeout);
            match asked.await {
                Ok(answers) => {
                    for (partition, answer) in answers {
                        match answer {
                            Ok(found) if wanted.remove(&partition).is_some() => {
                                listed.insert(partition, found);
                            }
                            Ok(_) => {}
                            Err(code) => {
                                last = Some(ClientError::Broker { code, message: Some(partition.to_string()) })
                            }
                        }
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        let left = wanted.keys().next();
        left.map(|partition| {
            let topic = partition.topic.to_string();
            last.unwrap_or(ClientError::NoLeader { topic, partition: partition.partition.0 })
        })
    }

    fn rules(&self) -> ReadRules {
        ReadRules {
            is_committed_only: self.options.isolation_level == IsolationLevel::ReadCommitted,
            check_crc: self.options.check_crc,
            batch_budget: self.options.batch_budget,
        }
    }

    /// The wait before a broker is asked again, after one more failure or, with none, after all's well.
    fn wait_ms(&self, state: &mut State, broker: BrokerId, has_failed: bool) -> u64 {
        let failures = if has_failed { state.failures.get(&broker).copied().unwrap_or(0).saturating_add(1) } else { 0 };
        state.failures.insert(broker, failures);
        u64::try_from(self.options.retry_backoff.after(failures, rand::next()).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Arrival {
    /// Takes up to `room` records. True when there are no more.
    fn take(&mut self, room: usize, records: &mut Vec<ConsumerRecord>) -> Result<bool, BatchError> {
        for _ in 0..room {
            let Some((leader_epoch, record)) = self.fetched.next_record()? else { return Ok(true) };
            records.push(ConsumerRecord {
                topic: self.partition.topic.clone(),
                partition: self.partition.partition,
                offset: record.offset,
                leader_epoch,
                timestamp: record.timestamp,
                timestamp_type: self.fetched.timestamp_type(),
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
        Ok(false)
    }
}

fn no_answer(wanted: &BTreeMap<PartitionName, WallMillis>, after: Duration) -> ClientError {
    let address = wanted.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    ClientError::Timeout { address, api: "ListOffsets", after, sent: true }
}

fn now() -> MonotonicMillis {
    MonotonicMillis(time::now().as_millis())
}

#[cfg(test)]
mod tests;
