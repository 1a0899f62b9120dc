//! Fetch (1): records for consumers and for followers, as slices of files that are never copied here.
//!
//! A fetch that finds too little is parked on every partition that it names, and reads again when one of them rings. What it
//! may see, and what it means for the in-sync replicas, is decided in `partition`; what a request means that goes on with a
//! session, in `fetch_sessions` (KIP-227).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    locate::{self, CurrentLeaders, Named},
    view::View,
};
use crate::{
    fetch_sessions::{Asked, SessionPartition, SessionTopic, Told, Turn},
    partition::{
        Partition,
        context::monotonic_now,
        fetch_wait::FetchWait,
        fetching::{Arrival, FetchLimits, Fetched},
        isr::FollowerFetch,
        state::{FetchPosition, Isolation, Reader},
    },
};
use metadata::image::TopicImage;
use protocol::{
    api::Plane,
    error_code::ErrorCode,
    fetch_response::{
        Chunk, EpochEndOffset, FetchAnswer, FetchResponseEncoder, FetchedPartition, FetchedTopic, NodeEndpoint,
    },
    ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition},
    messages::{FetchRequest, fetch_request::FetchPartition},
};
use runtime::{
    buggify,
    disk::FileSlice,
    mutant, mutant_diverged,
    net::Slice,
    rand, reachable, sometimes,
    time::{self, Instant},
};
use std::sync::Arc;

/// The first version in which consumers may read from followers (KIP-392).
const FOLLOWER_READS_SINCE: i16 = 11;
/// The first version that names topics by their ids (KIP-516).
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version in which a follower says who it is with its broker epoch (KIP-903).
const REPLICA_STATE_SINCE: i16 = 15;

/// A fetch, as long as it goes on.
struct Fetch {
    services: Arc<Services>,
    context: RequestContext,
    turn: Turn,
    follower: Option<(BrokerId, BrokerEpoch)>,
    isolation: Isolation,
    bytes_min: usize,
    bytes_max: usize,
    deadline: Instant,
    topics: Vec<WantedTopic>,
}

struct WantedTopic {
    /// As the request names it.
    named: SessionTopic,
    name: String,
    topic_id: TopicId,
    partitions: Vec<WantedPartition>,
}

struct WantedPartition {
    partition: PartitionIndex,
    asked: Asked,
    position: FetchPosition,
    reader: Reader,
    bytes_max: usize,
    /// This broker's replica, or why there is none.
    replica: Result<Arc<Partition>, ErrorCode>,
}

/// What one reading of all partitions gave, in their order.
struct Reading {
    partitions: Vec<Result<Fetched, ErrorCode>>,
    bytes: usize,
    /// Whether waiting could not add to it: an error, or a log that parts from its follower's.
    is_final: bool,
    /// Whether there is a high watermark that the follower does not know.
    tells_high_watermark: bool,
}

/// Reads, and answers at once if there is enough or nothing to wait for; otherwise when there is, or when the client's
/// patience ends.
///
/// Only brokers' listeners serve followers: elsewhere each partition gets `TOPIC_AUTHORIZATION_FAILED`, as in Kafka without
/// `CLUSTER_ACTION`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: FetchRequest) -> Outcome {
    let (turn, wanted) = match begin(services, context, &request) {
        Ok(begun) => begun,
        Err(error) => {
            sometimes!(error == ErrorCode::InvalidFetchSessionEpoch, "a fetch names an epoch that its session has not");
            return Outcome::Done(encode(context, empty(context, error)));
        }
    };
    let fetch = Fetch::new(services, context, &request, turn, wanted);
    let reading = fetch.read(Arrival::First);
    let satisfied = reading.is_final || reading.bytes >= fetch.bytes_min;
    let impatient = buggify!("a long poll is answered at once");
    if satisfied || impatient || fetch.topics.is_empty() || fetch.deadline <= time::now() {
        return Outcome::Done(fetch.answer(reading));
    }
    Outcome::Waiting(Box::pin(fetch.wait(reading)))
}

/// What a request asks for, with what its session knows.
fn begin(
    services: &Services,
    context: &RequestContext,
    request: &FetchRequest,
) -> Result<(Turn, Vec<(SessionPartition, Asked)>), ErrorCode> {
    let by_id = context.api_version >= TOPIC_IDS_SINCE;
    let topic = |id, name: &str| if by_id { SessionTopic::Id(TopicId(id)) } else { SessionTopic::Name(name.into()) };
    let mut named = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for asked in &request.topics {
        let topic = topic(asked.topic_id, asked.topic.as_str());
        let of = |partition: &FetchPartition| (topic.clone(), PartitionIndex(partition.partition));
        named.extend(asked.partitions.iter().map(|partition| (of(partition), Asked::from(partition))));
    }
    let mut forgotten = Vec::new();
    for gone in &request.forgotten_topics_data {
        let topic = topic(gone.topic_id, gone.topic.as_str());
        forgotten.extend(gone.partitions.iter().map(|partition| (topic.clone(), PartitionIndex(*partition))));
    }
    // S15 of the bug zoo: a session reads on from where each partition was when it was first named.
    if mutant!("S15") && request.session_epoch > 0 && !named.is_empty() {
        mutant_diverged!("S15");
        named.clear();
    }
    // Whoever's session made room for another's begins a new one.
    if request.session_epoch > 0 && buggify!("a fetch session has made room for another") {
        return Err(ErrorCode::FetchSessionIdNotFound);
    }
    // Before version 7 there are no sessions: the epoch is -1 then, which asks for none.
    let place = (request.session_id, request.session_epoch);
    let turn = services.fetch_sessions.lock().begin(place, by_id, &mut named, &forgotten, monotonic_now())?;
    Ok((turn, named))
}

impl From<&FetchPartition> for Asked {
    fn from(asked: &FetchPartition) -> Self {
        Self {
            current_leader_epoch: asked.current_leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start_offset: asked.log_start_offset,
            partition_max_bytes: asked.partition_max_bytes,
            high_watermark: asked.high_watermark,
        }
    }
}

impl WantedPartition {
    /// So many bytes of records leave.
    fn count(&self, bytes: usize) {
        let Ok(replica) = &self.replica else { return };
        match self.reader {
            Reader::Follower(_) => replica.on_sent_to_follower(bytes as u64),
            Reader::Consumer { .. } => replica.traffic().bytes_out.add(bytes as u64),
        }
    }

    fn count_refusal(&self) {
        if let (Ok(replica), Reader::Consumer { .. }) = (&self.replica, &self.reader) {
            replica.traffic().failed_fetches.add(1);
        }
    }
}

impl Fetch {
    fn new(
        services: &Arc<Services>,
        context: &RequestContext,
        request: &FetchRequest,
        turn: Turn,
        wanted: Vec<(SessionPartition, Asked)>,
    ) -> Self {
        let version = context.api_version;
        let image = services.metadata.image();
        let bytes_max = bytes(request.max_bytes).min(services.settings.fetch_bytes_max);
        let mut fetch = Self {
            services: services.clone(),
            context: context.clone(),
            turn,
            follower: follower(request, version),
            isolation: if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
            bytes_min: bytes(request.min_bytes).min(bytes_max),
            bytes_max,
            deadline: context.deadline_within(request.max_wait_ms),
            topics: Vec::new(),
        };
        let mut wanted = wanted.into_iter().peekable();
        while let Some(((named, _), _)) = wanted.peek() {
            let named = named.clone();
            let found = match &named {
                SessionTopic::Id(id) => Named::Id(*id),
                SessionTopic::Name(name) => Named::Name(name),
            };
            let found = found.find(&image);
            let allowed = match found {
                Ok(_) if fetch.is_foreign_follower() => Err(ErrorCode::TopicAuthorizationFailed),
                found => found,
            };
            let mut partitions = Vec::new();
            while let Some(((_, partition), asked)) = wanted.next_if(|((topic, _), _)| *topic == named) {
                partitions.push(fetch.partition(partition, asked, allowed));
            }
            let (name, topic_id) = match (found, &named) {
                (Ok(topic), _) => (topic.name.to_string(), topic.id),
                (Err(_), SessionTopic::Id(id)) => (String::new(), *id),
                (Err(_), SessionTopic::Name(name)) => (name.to_string(), TopicId::ZERO),
            };
            fetch.topics.push(WantedTopic { named, name, topic_id, partitions });
        }
        fetch
    }

    fn partition(
        &self,
        partition: PartitionIndex,
        asked: Asked,
        topic: Result<&TopicImage, ErrorCode>,
    ) -> WantedPartition {
        let epoch = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
        let position = FetchPosition {
            current_leader_epoch: epoch(asked.current_leader_epoch),
            fetch_offset: Offset(asked.fetch_offset),
            last_fetched_epoch: epoch(asked.last_fetched_epoch),
        };
        let reader = match self.follower {
            Some((follower, broker_epoch)) => Reader::Follower(FollowerFetch {
                follower,
                broker_epoch,
                fetch_offset: position.fetch_offset,
                log_start_offset: Offset(asked.log_start_offset),
                // The largest number means that the follower does not say (KIP-1166).
                high_watermark: (asked.high_watermark != i64::MAX).then_some(Offset(asked.high_watermark)),
            }),
            None => Reader::Consumer {
                isolation: self.isolation,
                leader_only: self.context.api_version < FOLLOWER_READS_SINCE,
            },
        };
        let replica = topic.and_then(|topic| locate::replica(&self.services, topic, partition));
        WantedPartition { partition, asked, position, reader, bytes_max: bytes(asked.partition_max_bytes), replica }
    }

    /// Whether it claims to be a follower's, on a listener that serves none.
    fn is_foreign_follower(&self) -> bool {
        self.follower.is_some() && self.context.connection.plane != Plane::InterBroker
    }

    fn wanted(&self) -> impl Iterator<Item = &WantedPartition> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads every partition once. The first that has records may send one batch however large it is, so that a fetch always
    /// makes progress (KIP-74).
    fn read(&self, arrival: Arrival) -> Reading {
        let mut reading = Reading { partitions: Vec::new(), bytes: 0, is_final: false, tells_high_watermark: false };
        for wanted in self.wanted() {
            let limits = FetchLimits {
                bytes_max: wanted.bytes_max.min(self.bytes_max - reading.bytes.min(self.bytes_max)),
                at_least_one: reading.bytes == 0,
            };
            let fetched = wanted.replica.as_ref().map_err(|error| *error).and_then(|replica| {
                let fetched = replica.fetch(&wanted.position, &wanted.reader, limits, arrival);
                fetched.map_err(|error| error.error_code())
            });
            match &fetched {
                Ok(fetched) => {
                    reading.bytes += length(fetched);
                    reading.is_final |= fetched.diverging.is_some();
                    if let Reader::Follower(FollowerFetch { high_watermark: Some(known), .. }) = wanted.reader {
                        reading.tells_high_watermark |= known < fetched.high_watermark;
                    }
                }
                Err(_) => reading.is_final = true,
            }
            reading.partitions.push(fetched);
        }
        reading
    }

    /// Parks until there is enough or the deadline passes, and answers. A follower is also told of a new high watermark, once
    /// it has gone untold for a little.
    async fn wait(self, mut reading: Reading) -> Answer {
        loop {
            let wait = FetchWait::new();
            for (wanted, fetched) in self.wanted().zip(&reading.partitions) {
                if let (Ok(replica), Ok(fetched)) = (&wanted.replica, fetched) {
                    replica.park(&wait, &wanted.position, &wanted.reader, fetched.upto);
                }
            }
            let rung = time::timeout_at(self.deadline, wait.ready()).await.is_ok();
            reading = self.read(Arrival::Again);
            let satisfied = reading.is_final || reading.tells_high_watermark || reading.bytes >= self.bytes_min;
            if !rung || satisfied {
                return self.answer(reading);
            }
        }
    }

    fn answer(self, reading: Reading) -> Answer {
        let Some((session_id, sent)) = self.settle(&reading) else {
            return encode(&self.context, empty(&self.context, ErrorCode::InvalidFetchSessionEpoch));
        };
        let image = self.services.metadata.image();
        let node_id = self.services.config.node_id;
        let view = View { image: &image, listener: &self.context.connection.listener, node_id };
        let mut leaders = CurrentLeaders::new(view);
        let mut answer = empty(&self.context, ErrorCode::None);
        answer.session_id = session_id;
        let mut read = reading.partitions.into_iter().zip(sent);
        for topic in self.topics {
            let mut partitions = Vec::new();
            for (wanted, (fetched, is_sent)) in topic.partitions.iter().zip(read.by_ref()) {
                if !is_sent {
                    continue;
                }
                partitions.push(match fetched {
                    Ok(fetched) => {
                        wanted.count(length(&fetched));
                        // S18 of the bug zoo leaves out what has nothing for a consumer, and forgets that it did.
                        let forgets = mutant!("S18") && self.follower.is_none();
                        if forgets && length(&fetched) == 0 {
                            continue;
                        }
                        let label = if forgets { &topic.partitions[partitions.len()] } else { wanted }.partition;
                        if label != wanted.partition {
                            mutant_diverged!("S18");
                        }
                        partition(label, fetched, self.isolation)
                    }
                    Err(error) => {
                        wanted.count_refusal();
                        let of = TopicPartition { topic_id: topic.topic_id, partition: wanted.partition };
                        let mut refused = FetchedPartition::error(wanted.partition, error);
                        refused.current_leader = leaders.after(error, of);
                        refused
                    }
                });
            }
            if !partitions.is_empty() {
                answer.topics.push(FetchedTopic { name: topic.name, topic_id: topic.topic_id, partitions });
            }
        }
        let endpoint = |(node_id, host, port, rack): (BrokerId, &str, u16, Option<&str>)| NodeEndpoint {
            node_id,
            host: host.to_owned(),
            port: i32::from(port),
            rack: rack.map(str::to_owned),
        };
        answer.node_endpoints = leaders.endpoints().map(endpoint).collect();
        encode(&self.context, answer)
    }
}

impl Fetch {
    /// Brings the session up to what is about to be told: its id, and of each partition whether it is sent. Nothing if the
    /// session went on without this answer, as when the request came twice.
    fn settle(&self, reading: &Reading) -> Option<(i32, Vec<bool>)> {
        let told = self
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |wanted| (topic, wanted)))
            .zip(&reading.partitions)
            .map(|((topic, wanted), fetched)| {
                (
                    (topic.named.clone(), wanted.partition),
                    wanted.asked,
                    fetched.as_ref().map(told).map_err(|error| *error),
                )
            });
        match self.turn {
            Turn::Sessionless => Some((0, vec![true; reading.partitions.len()])),
            Turn::Opening => {
                let by_id = self.context.api_version >= TOPIC_IDS_SINCE;
                let mut sessions = self.services.fetch_sessions.lock();
                let ids = || i32::try_from(rand::range(1..1 << 31)).expect("the range holds 31 bits");
                let id = sessions.open(self.follower.is_some(), by_id, told, monotonic_now(), ids);
                Some((id, vec![true; reading.partitions.len()]))
            }
            Turn::Incremental { session_id, epoch } => {
                let told = told.map(|(of, _, told)| (of, told));
                let sent = self.services.fetch_sessions.lock().select(session_id, epoch, told)?;
                if sent.contains(&false) {
                    reachable!("an answer leaves out a partition of which nothing is new");
                }
                Some((session_id, sent))
            }
        }
    }
}

fn told(fetched: &Fetched) -> Told {
    Told {
        high_watermark: fetched.high_watermark,
        log_start_offset: fetched.log_start_offset,
        has_more: fetched.records.is_some() || fetched.diverging.is_some(),
    }
}

/// Who fetches, if it is a broker (`FetchRequest.replicaId`).
fn follower(request: &FetchRequest, version: i16) -> Option<(BrokerId, BrokerEpoch)> {
    let (replica_id, replica_epoch) = if version >= REPLICA_STATE_SINCE {
        (request.replica_state.replica_id.0, request.replica_state.replica_epoch)
    } else {
        (request.replica_id.0, BrokerEpoch::UNKNOWN.0)
    };
    BrokerId::from_wire(replica_id).map(|follower| (follower, BrokerEpoch(replica_epoch)))
}

/// A number of bytes from the wire; a negative one is none.
fn bytes(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn length(fetched: &Fetched) -> usize {
    fetched.records.as_ref().map_or(0, |records| usize::try_from(records.slice.length).unwrap_or(usize::MAX))
}

fn partition(partition: PartitionIndex, fetched: Fetched, isolation: Isolation) -> FetchedPartition<FileSlice> {
    FetchedPartition {
        partition,
        error_code: ErrorCode::None,
        high_watermark: fetched.high_watermark,
        last_stable_offset: fetched.last_stable_offset,
        log_start_offset: fetched.log_start_offset,
        diverging_epoch: fetched
            .diverging
            .map(|end| EpochEndOffset { leader_epoch: end.leader_epoch, end_offset: end.end_offset }),
        current_leader: None,
        // Nobody can have begun a transaction, so none was aborted.
        aborted_transactions: match isolation {
            Isolation::ReadUncommitted => None,
            Isolation::ReadCommitted => Some(Vec::new()),
        },
        preferred_read_replica: BrokerId::NONE,
        records: fetched.records.into_iter().map(|records| records.slice).collect(),
    }
}

fn empty(context: &RequestContext, error_code: ErrorCode) -> FetchAnswer<FileSlice> {
    FetchAnswer {
        throttle_time_ms: context.throttle_time_ms(),
        error_code,
        session_id: 0,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    }
}

fn encode(context: &RequestContext, answer: FetchAnswer<FileSlice>) -> Answer {
    let length = |slice: &FileSlice| usize::try_from(slice.length).unwrap_or(usize::MAX);
    let chunks = FetchResponseEncoder::encode(context.correlation_id, context.api_version, answer, length);
    let mut chunks = chunks.into_iter();
    let head = match chunks.next() {
        Some(Chunk::Bytes(head)) => head,
        Some(Chunk::Slice(_)) | None => unreachable!("a frame begins with its length"),
    };
    let slice = |chunk| match chunk {
        Chunk::Bytes(bytes) => Slice::Bytes(bytes),
        Chunk::Slice(slice) => Slice::File(slice),
    };
    Answer::Send { head, body: chunks.map(slice).collect() }
}
