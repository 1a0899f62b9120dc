//! Copies every partition that one leader leads and this broker follows, in one fetch at a time.
//!
//! It never decides where a log is cut ([`super::truncation`]) nor what may be appended: the partition checks again, under
//! its lock, that it still follows in the same leader epoch from the same offset. Driven by [`super::fetchers`].
//!
//! ```text
//!  positions -> Fetch, long poll -> append or cut -> next Fetch at once
//!                      |
//!                      a partition is new here and the leader has nothing to say: the poll is dropped, and begun anew
//! ```

use super::session::{FetchSession, SessionRequest};
use super::truncation;
use crate::partition::Partition;
use crate::partition::context::{ReplicaContext, monotonic_now};
use crate::partition::copying::{Copied, FromLeader};
use crate::partition::isr::Brokers;
use crate::partition::state::{Cut, EpochEnd, FollowerPosition};
use crate::throttle::Throttle;
use client::{ClientError, Connection, ConnectionOptions, PendingResponse};
use futures_util::future::join_all;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, StrBytes,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    topic_name,
};
use protocol::record_batch::BatchHeader;
use runtime::sync::{Lock, Notify};
use runtime::time::{self, Instant};
use runtime::{buggify, rand, reachable, sometimes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The rank of a fetcher's list: a partition's lock may be taken under it.
const RANK: u8 = 8;

/// The first pause after an error; each further one doubles it, up to `replica.fetch.backoff.ms`.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// How long a throttled partition is left out before the throttle is looked at again.
const THROTTLE_PAUSE: Duration = Duration::from_millis(100);

/// How long a poll that is under way is given before it is dropped for a partition that is not in it.
const POLL_GRACE: Duration = Duration::from_millis(5);

/// Polls are dropped no more often than this.
const POLL_DROP_INTERVAL: Duration = Duration::from_millis(50);

/// How a broker fetches from leaders.
#[derive(Clone, Debug)]
pub struct FetcherConfig {
    /// The listener by which brokers reach each other.
    pub listener: String,
    /// `broker.rack`, empty if there is none.
    pub rack: String,
    /// `replica.fetch.wait.max.ms`
    pub wait_max: Duration,
    /// `replica.fetch.min.bytes`
    pub bytes_min: i32,
    /// `replica.fetch.max.bytes`, of each partition.
    pub partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`
    pub response_bytes_max: i32,
    /// `replica.fetch.backoff.ms`, the longest pause after an error.
    pub pause_max: Duration,
    /// `replica.socket.timeout.ms`
    pub socket_timeout: Duration,
}

/// The partitions of one fetcher.
pub struct Followed {
    partitions: Lock<BTreeMap<TopicPartition, Following>>,
    changed: Notify,
}

#[derive(Clone)]
struct Following {
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    /// Errors in a row.
    failures: u32,
    not_before: Option<Instant>,
    /// Whether the last answer left nothing of what is committed to be copied.
    caught_up: bool,
}

impl Default for Followed {
    fn default() -> Self {
        Self { partitions: Lock::new(RANK, BTreeMap::new()), changed: Notify::new() }
    }
}

impl Followed {
    /// Copies a partition from now on, in this leader epoch.
    pub fn add(&self, partition: Arc<Partition>, leader_epoch: LeaderEpoch) {
        let following = Following { partition, leader_epoch, failures: 0, not_before: None, caught_up: false };
        self.partitions.lock().insert(following.partition.id(), following);
        self.changed.notify_one();
    }

    /// Copies a partition no more.
    pub fn remove(&self, partition: &TopicPartition) {
        self.partitions.lock().remove(partition);
    }

    /// Whether there is nothing to copy.
    pub fn is_empty(&self) -> bool {
        self.partitions.lock().is_empty()
    }

    /// Where every partition goes on that is not pausing, and when the next one that is may go on.
    ///
    /// While the throttle is used up, a throttled replica that has not caught up is left out
    /// (`ReplicaFetcherThread.shouldFollowerThrottle`).
    fn positions(&self, throttle: &Throttle) -> (BTreeMap<TopicPartition, FollowerPosition>, Option<Instant>) {
        let now = time::now();
        let mut next = None;
        let mut positions = BTreeMap::new();
        let exceeded = throttle.is_exceeded(monotonic_now());
        for (of, following) in self.partitions.lock().iter_mut() {
            if exceeded && !following.caught_up && following.partition.is_throttled_follower() {
                reachable!("a follower throttles itself");
                following.not_before = Some(now + THROTTLE_PAUSE);
            }
            match following.not_before.filter(|not_before| *not_before > now) {
                Some(not_before) => next = Some(next.map_or(not_before, |next: Instant| next.min(not_before))),
                None => {
                    if let Some(position) = following.partition.follower_position(following.leader_epoch) {
                        positions.insert(*of, position);
                    }
                }
            }
        }
        (positions, next)
    }

    /// Whether a partition should be in the poll that is under way and is not.
    fn has_newcomer(&self, session: &FetchSession) -> bool {
        self.partitions.lock().iter().any(|(of, following)| {
            let asked = session.asked(of).map(|asked| asked.leader_epoch);
            let is_new = following.not_before.is_none() && asked != Some(following.leader_epoch);
            is_new && following.partition.follower_position(following.leader_epoch).is_some()
        })
    }

    /// The partition, while it is followed in this leader epoch.
    fn current(&self, of: &TopicPartition, leader_epoch: LeaderEpoch) -> Option<Arc<Partition>> {
        let partitions = self.partitions.lock();
        let following = partitions.get(of).filter(|following| following.leader_epoch == leader_epoch)?;
        Some(following.partition.clone())
    }

    fn change(&self, of: &TopicPartition, leader_epoch: LeaderEpoch, change: impl FnOnce(&mut Following)) {
        let mut partitions = self.partitions.lock();
        if let Some(following) = partitions.get_mut(of).filter(|following| following.leader_epoch == leader_epoch) {
            change(following);
        }
    }
}

/// Copies from one leader.
pub struct Fetcher {
    leader: BrokerId,
    context: Arc<ReplicaContext>,
    config: Arc<FetcherConfig>,
    followed: Arc<Followed>,
    connection: Option<Connection>,
    session: FetchSession,
    /// Errors of the connection in a row.
    failures: u32,
    poll_dropped_at: Option<Instant>,
}

/// How a fetch ended.
enum Polled {
    Answered(FetchResponse),
    /// It was dropped, for there is something to ask that is not in it.
    Dropped,
}

/// Why a fetch has no answer.
#[derive(Debug, thiserror::Error)]
enum FetchFailure {
    #[error("the metadata has no address of broker {0}")]
    NoAddress(BrokerId),
    #[error(transparent)]
    Call(#[from] ClientError),
}

/// What one partition's answer came to.
enum Taken {
    Done(Copied),
    /// The leader does not have the offset: it must be asked what it has.
    OutOfRange,
    /// The log is empty, and begins inside the batch that begins here.
    Inside(Offset),
    /// It is asked again after a pause.
    Retry(ErrorCode),
}

impl Fetcher {
    /// A fetcher from this leader.
    pub fn new(
        leader: BrokerId,
        context: Arc<ReplicaContext>,
        config: Arc<FetcherConfig>,
        followed: Arc<Followed>,
    ) -> Self {
        let session = FetchSession::default();
        Self { leader, context, config, followed, connection: None, session, failures: 0, poll_dropped_at: None }
    }

    /// Copies until it is aborted.
    pub async fn run(mut self) {
        loop {
            let (positions, next) = self.followed.positions(&self.context.throttles.followers);
            if positions.is_empty() {
                self.rest_until(next).await;
                continue;
            }
            if buggify!("a follower takes its time before it fetches") {
                time::sleep(Duration::from_millis(rand::range(1..200))).await;
            }
            let wait = next.map_or(self.config.wait_max, |next| (next - time::now()).min(self.config.wait_max));
            match self.poll(positions, wait).await {
                Ok(Polled::Answered(response)) => {
                    self.failures = 0;
                    self.take(response).await;
                }
                Ok(Polled::Dropped) => reachable!("a long poll was dropped for a partition that is new"),
                Err(error) => {
                    tracing::debug!(leader = self.leader.0, %error, "a fetch failed");
                    self.connection = None;
                    self.session.forget();
                    let pause = pause(self.failures, self.config.pause_max);
                    self.failures = self.failures.saturating_add(1);
                    self.rest_until(Some(time::now() + pause)).await;
                }
            }
        }
    }

    /// Waits until the partitions change, or an instant has come.
    async fn rest_until(&self, instant: Option<Instant>) {
        match instant {
            None => self.followed.changed.notified().await,
            Some(instant) => {
                let _ = time::timeout_at(instant, self.followed.changed.notified()).await;
            }
        }
    }

    async fn poll(
        &mut self,
        positions: BTreeMap<TopicPartition, FollowerPosition>,
        wait: Duration,
    ) -> Result<Polled, FetchFailure> {
        let connection = self.connection().await?;
        let session = self.session.request(positions);
        let request = self.request(&session, wait);
        let version = connection.version_of::<FetchRequest>()?;
        let answer = connection.submit(version, &request, wait + self.config.socket_timeout)?;
        self.answer_or_drop(answer).await
    }

    async fn answer_or_drop(&mut self, answer: PendingResponse<FetchRequest>) -> Result<Polled, FetchFailure> {
        let polled = runtime::select! {
            answer = answer.wait() => Polled::Answered(answer?),
            () = self.newcomer() => Polled::Dropped,
        };
        if matches!(polled, Polled::Dropped) {
            // A connection answers in order: what is asked on it next would wait behind the poll.
            self.connection = None;
            self.session.forget();
            self.poll_dropped_at = Some(time::now());
        }
        Ok(polled)
    }

    /// Waits for a partition that should be in the poll and is not.
    async fn newcomer(&self) {
        while !self.followed.has_newcomer(&self.session) {
            self.followed.changed.notified().await;
        }
        let again = self.poll_dropped_at.map_or(Instant::from_nanos(0), |at| at + POLL_DROP_INTERVAL);
        time::sleep_until(again.max(time::now() + POLL_GRACE)).await;
    }

    async fn connection(&mut self) -> Result<Connection, FetchFailure> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        self.session.forget();
        let image = self.context.image.get();
        let endpoint = image.broker(self.leader).and_then(|broker| broker.listener(&self.config.listener));
        let endpoint = endpoint.ok_or(FetchFailure::NoAddress(self.leader))?;
        let options = ConnectionOptions {
            client_id: format!("broker-{}-fetcher-{}", self.context.local, self.leader),
            connect_timeout: self.config.pause_max.max(Duration::from_secs(1)),
            request_timeout: self.config.socket_timeout,
            frame_bytes_max: usize::try_from(i32::MAX).expect("a usize holds 31 bits"),
            ..ConnectionOptions::default()
        };
        let connection = Connection::connect(&format!("{}:{}", endpoint.host, endpoint.port), options).await?;
        Ok(self.connection.insert(connection).clone())
    }

    fn request(&self, session: &SessionRequest, wait: Duration) -> FetchRequest {
        let broker_epoch = self.context.image.broker_epoch(self.context.local).unwrap_or(BrokerEpoch::UNKNOWN);
        let replica =
            ReplicaState::default().with_replica_id(self.context.local.into()).with_replica_epoch(broker_epoch.0);
        FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.config.bytes_min)
            .with_max_bytes(self.config.response_bytes_max)
            .with_session_id(session.place.session_id)
            .with_session_epoch(session.place.session_epoch)
            .with_topics(topics(&session.named, self.config.partition_bytes_max))
            .with_forgotten_topics_data(forgotten(&session.forgotten))
            .with_rack_id(StrBytes::from_string(self.config.rack.clone()))
    }

    /// Carries out an answer, partition by partition, and waits for what must be on the device before the next fetch.
    async fn take(&mut self, response: FetchResponse) {
        let error = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if !self.session.on_answer(error, response.session_id) {
            tracing::debug!(leader = self.leader.0, %error, "the leader refuses a fetch");
            sometimes!(error == ErrorCode::FetchSessionIdNotFound, "a leader has lost a follower's fetch session");
            let _ = time::timeout(PAUSE_MIN, self.followed.changed.notified()).await;
            return;
        }
        let (mut flushes, mut settled) = (Vec::new(), Vec::new());
        let (mut out_of_range, mut inside) = (Vec::new(), Vec::new());
        for topic in &response.responses {
            for data in &topic.partitions {
                let of = TopicPartition {
                    topic_id: TopicId(topic.topic_id),
                    partition: PartitionIndex(data.partition_index),
                };
                let Some(asked) = self.session.asked(&of).copied() else { continue };
                let Some(partition) = self.followed.current(&of, asked.leader_epoch) else { continue };
                match take_partition(&partition, &asked, data) {
                    Taken::Done(copied) => {
                        let end = partition.standing().log_end_offset;
                        self.followed.change(&of, asked.leader_epoch, |following| {
                            following.failures = 0;
                            following.caught_up = Offset(data.high_watermark) <= end;
                        });
                        self.count(&partition, data);
                        flushes.extend(copied.flush.map(|flush| (partition, flush)));
                        settled.extend(copied.settled);
                    }
                    Taken::OutOfRange => out_of_range.push((of, asked, partition)),
                    Taken::Inside(base_offset) => inside.push((of, asked, partition, base_offset, data)),
                    Taken::Retry(error) => self.pause(&of, asked.leader_epoch, error),
                }
            }
        }
        for (of, asked, partition, base_offset, data) in inside {
            match begin_inside(&partition, &asked, base_offset, data).await {
                Ok(copied) => flushes.extend(copied.flush.map(|flush| (partition, flush))),
                Err(error) => self.pause(&of, asked.leader_epoch, error),
            }
        }
        for (of, asked, partition) in out_of_range {
            settled.extend(self.reset(&of, &asked, &partition).await);
        }
        join_all(settled).await;
        let flushed = join_all(flushes.into_iter().map(|(partition, flush)| async { (partition, flush.await) })).await;
        for (partition, flushed) in flushed {
            if let Err(error) = flushed {
                partition.on_failure(&error);
            }
        }
    }

    /// What was copied of a throttled replica uses up the throttle.
    fn count(&self, partition: &Partition, data: &PartitionData) {
        let bytes = data.records.as_ref().map_or(0, |records| records.len() as u64);
        if bytes > 0 && partition.is_throttled_follower() {
            self.context.throttles.followers.record(bytes, monotonic_now());
        }
    }

    /// The leader does not have the offset that was asked for: asks what it has, and goes there.
    async fn reset(
        &mut self,
        of: &TopicPartition,
        asked: &FollowerPosition,
        partition: &Arc<Partition>,
    ) -> Option<runtime::task::JoinHandle<()>> {
        let ends = match self.list(partition, asked.leader_epoch, -2).await {
            Ok(start) => self.list(partition, asked.leader_epoch, -1).await.map(|end| (start, end)),
            Err(error) => Err(error),
        };
        let reset = match ends {
            Ok((start, end)) => {
                tracing::info!(partition = %of, offset = asked.fetch_offset.0, leader_start = start.0, leader_end = end.0, "out of range");
                let mut stays = false;
                let copied = partition.truncate(asked, |view| {
                    let cut = truncation::on_out_of_range(view.log_end_offset, start, end);
                    stays = cut == Cut::Nowhere;
                    cut
                });
                if stays {
                    partition.check_last_epoch(asked);
                    Err(ErrorCode::OffsetOutOfRange)
                } else {
                    copied.map_err(|error| error.error_code())
                }
            }
            Err(error) => Err(error),
        };
        match reset {
            Ok(copied) => copied.settled,
            Err(error) => {
                self.pause(of, asked.leader_epoch, error);
                None
            }
        }
    }

    /// Asks the leader for its first (-2) or last (-1) offset.
    async fn list(
        &mut self,
        partition: &Partition,
        leader_epoch: LeaderEpoch,
        timestamp: i64,
    ) -> Result<Offset, ErrorCode> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition.id().partition.0)
            .with_current_leader_epoch(leader_epoch.0)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(topic_name(partition.topic())).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_replica_id(self.context.local.into()).with_topics(vec![topic]);
        let connection = self.connection().await.map_err(|_| ErrorCode::NetworkException)?;
        let response = connection.call(&request).await.map_err(|_| ErrorCode::NetworkException)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.ok_or(ErrorCode::UnknownServerError)?;
        match ErrorCode::from_code(found.error_code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Ok(Offset(found.offset)),
            error => Err(error),
        }
    }

    /// Leaves a partition out of the next fetches, the longer the more often in a row.
    fn pause(&self, of: &TopicPartition, leader_epoch: LeaderEpoch, error: ErrorCode) {
        tracing::debug!(partition = %of, leader = self.leader.0, %error, "a partition's fetch is refused");
        sometimes!(error == ErrorCode::FencedLeaderEpoch, "a follower was fenced by its leader");
        sometimes!(error == ErrorCode::UnknownLeaderEpoch, "a follower knew a leader epoch before its leader did");
        self.followed.change(of, leader_epoch, |following| {
            following.not_before = Some(time::now() + pause(following.failures, self.config.pause_max));
            following.failures = following.failures.saturating_add(1);
        });
    }
}

/// The batch in which an empty log begins, if it begins inside one: records before its start were deleted on the leader.
fn begins_inside(partition: &Partition, asked: &FollowerPosition, records: &[u8]) -> Option<Offset> {
    let first = BatchHeader::parse(records).ok()?;
    let last_offset = first.base_offset.plus(i64::from(first.last_offset_delta));
    let is_inside = first.base_offset < asked.fetch_offset && asked.fetch_offset <= last_offset;
    let standing = is_inside.then(|| partition.standing())?;
    (standing.log_start_offset == asked.fetch_offset && standing.log_end_offset == asked.fetch_offset)
        .then_some(first.base_offset)
}

/// Begins an empty log anew with the batch that its start lies in, and appends that batch at once: the leader would not
/// give it again (`Partition.appendRecordsToFollowerOrFutureReplica`, KAFKA-5634).
async fn begin_inside(
    partition: &Arc<Partition>,
    asked: &FollowerPosition,
    base_offset: Offset,
    data: &PartitionData,
) -> Result<Copied, ErrorCode> {
    reachable!("an empty log begins anew with the batch that its leader's log begins in");
    let restarted = partition.truncate(asked, |_| Cut::RestartAt(base_offset)).map_err(|error| error.error_code())?;
    if let Some(settled) = restarted.settled {
        // One that fails takes the replica offline, and what follows is refused.
        let _ = settled.await;
    }
    let asked = FollowerPosition { fetch_offset: base_offset, ..*asked };
    partition.append_as_follower(&asked, &sent(data)).map_err(|error| error.error_code())
}

fn sent(data: &PartitionData) -> FromLeader<'_> {
    FromLeader {
        records: data.records.as_deref().unwrap_or_default(),
        high_watermark: Offset(data.high_watermark),
        log_start_offset: Offset(data.log_start_offset),
    }
}

/// Carries out one partition's answer.
fn take_partition(partition: &Arc<Partition>, asked: &FollowerPosition, data: &PartitionData) -> Taken {
    match ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange => return Taken::OutOfRange,
        error => return Taken::Retry(error),
    }
    let done = if data.diverging_epoch.end_offset >= 0 {
        let leader = EpochEnd {
            leader_epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end_offset: Offset(data.diverging_epoch.end_offset),
        };
        let copied = partition.truncate(asked, |view| {
            Cut::To(truncation::truncate_to(leader, view.end_of(leader.leader_epoch), view.log_end_offset))
        });
        copied.map_err(|error| error.error_code())
    } else {
        let sent = sent(data);
        if let Some(base_offset) = begins_inside(partition, asked, sent.records) {
            return Taken::Inside(base_offset);
        }
        partition.append_as_follower(asked, &sent).map_err(|error| {
            tracing::warn!(partition = %partition.id(), %error, "what the leader sent cannot be appended");
            error.error_code()
        })
    };
    done.map_or_else(Taken::Retry, Taken::Done)
}

/// How long to pause after this many errors before.
fn pause(failures: u32, max: Duration) -> Duration {
    (PAUSE_MIN * 2u32.saturating_pow(failures.min(16))).min(max)
}

fn topics(named: &[(TopicPartition, FollowerPosition)], partition_bytes_max: i32) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (of, position) in named {
        let partition = FetchPartition::default()
            .with_partition(of.partition.0)
            .with_current_leader_epoch(position.leader_epoch.0)
            .with_fetch_offset(position.fetch_offset.0)
            .with_last_fetched_epoch(position.last_fetched_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0)
            .with_log_start_offset(position.log_start_offset.0)
            .with_partition_max_bytes(partition_bytes_max)
            .with_high_watermark(position.high_watermark.0);
        match topics.last_mut().filter(|topic| topic.topic_id == of.topic_id.0) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic::default().with_topic_id(of.topic_id.0).with_partitions(vec![partition])),
        }
    }
    topics
}

fn forgotten(forgotten: &[TopicPartition]) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for of in forgotten {
        match topics.last_mut().filter(|topic| topic.topic_id == of.topic_id.0) {
            Some(topic) => topic.partitions.push(of.partition.0),
            None => topics
                .push(ForgottenTopic::default().with_topic_id(of.topic_id.0).with_partitions(vec![of.partition.0])),
        }
    }
    topics
}
