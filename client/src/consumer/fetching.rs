//! Carries out what the machine of a consumer plans: asks leaders for offsets, epochs and records, and hands in the answers.
//!
//! Driven by `consumer`, within a poll; each request has a task of its own.

use super::fetched::Fetched;
use super::group::committed;
use super::offsets::{self, Answers, EARLIEST, LATEST, code_of};
use super::positions::{Errand, Position, Question, ResetTo, Ticket};
use super::{Arrival, IsolationLevel, Shared, now};
use crate::PartitionName;
use crate::cluster::{BrokerAddress, Lane, Leader};
use crate::error::ClientError;
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, MonotonicMillis, Offset, TopicId, WallMillis};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse, WireBrokerId, topic_name};
use runtime::{task, time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first version of Fetch that names topics by id alone.
const TOPIC_IDS_FROM: i16 = 13;
/// "A consumer" where the wire has the id of a replica.
const CONSUMER: WireBrokerId = WireBrokerId(-1);
/// Asks for a full answer outside any fetch session (KIP-227).
const NO_SESSION: i32 = -1;

/// The errands to one leader, by what they ask.
#[derive(Default)]
struct Errands {
    offsets: Vec<(Errand, WallMillis)>,
    epoch_ends: Vec<(Errand, LeaderEpoch)>,
    records: Vec<(Errand, Position)>,
}

/// Asks the leaders, and the group's coordinator, what can be asked now. Returns when to look again.
pub(super) fn ask(shared: &Arc<Shared>) -> Option<MonotonicMillis> {
    let (awaiting, look_at) = shared.state.lock().positions.plan_committed(now());
    if !awaiting.is_empty() {
        task::spawn(committed::ask_committed(shared.clone(), awaiting));
    }
    let plan = shared.state.lock().positions.plan(now(), |partition| shared.cluster.leader(partition));
    if plan.wants_leader {
        shared.cluster.request_refresh();
    }
    let mut by_leader: BTreeMap<BrokerId, Errands> = BTreeMap::new();
    for errand in plan.errands {
        let errands = by_leader.entry(errand.leader.broker).or_default();
        match errand.question {
            Question::Offset(ResetTo::Earliest) => errands.offsets.push((errand, EARLIEST)),
            Question::Offset(ResetTo::Latest) => errands.offsets.push((errand, LATEST)),
            Question::Offset(ResetTo::ByDuration(age)) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                errands.offsets.push((errand, WallMillis(time::wall_now().saturating_sub(age).max(0))));
            }
            Question::EpochEnd(leader_epoch) => errands.epoch_ends.push((errand, leader_epoch)),
            Question::Records(position) => errands.records.push((errand, position)),
        }
    }
    for (broker, errands) in by_leader {
        if !errands.offsets.is_empty() {
            task::spawn(ask_offsets(shared.clone(), broker, errands.offsets));
        }
        if !errands.epoch_ends.is_empty() {
            task::spawn(ask_epoch_ends(shared.clone(), broker, errands.epoch_ends));
        }
        if !errands.records.is_empty() {
            task::spawn(ask_records(shared.clone(), broker, errands.records));
        }
    }
    plan.wake_at.into_iter().chain(look_at).min()
}

async fn ask_offsets(shared: Arc<Shared>, broker: BrokerId, errands: Vec<(Errand, WallMillis)>) {
    let wanted: Vec<_> =
        errands.iter().map(|(errand, timestamp)| (errand.partition.clone(), errand.leader, *timestamp)).collect();
    let is_committed_only = shared.options.isolation_level == IsolationLevel::ReadCommitted;
    let timeout = shared.options.request_timeout;
    let answers = offsets::list_offsets(&shared.cluster, &wanted, is_committed_only, timeout).await;
    let errands = errands.into_iter().map(|(errand, _)| errand);
    hand_in(&shared, broker, errands, answers, |positions, errand, listed| match listed.offset {
        Some(offset) => {
            positions.offset_told(&errand.partition, errand.ticket, offset);
            true
        }
        None if matches!(errand.question, Question::Offset(ResetTo::ByDuration(_))) => {
            positions.nothing_so_late(&errand.partition, errand.ticket);
            true
        }
        None => false,
    });
}

async fn ask_epoch_ends(shared: Arc<Shared>, broker: BrokerId, errands: Vec<(Errand, LeaderEpoch)>) {
    let wanted: Vec<_> =
        errands.iter().map(|(errand, leader_epoch)| (errand.partition.clone(), errand.leader, *leader_epoch)).collect();
    let answers = offsets::epoch_ends(&shared.cluster, &wanted, shared.options.request_timeout).await;
    let errands = errands.into_iter().map(|(errand, _)| errand);
    hand_in(&shared, broker, errands, answers, |positions, errand, end| {
        positions.epoch_end_told(&errand.partition, errand.ticket, end);
        true
    });
}

/// Hands in one answer for each errand. `told` says whether the answer was one.
fn hand_in<T>(
    shared: &Shared,
    broker: BrokerId,
    errands: impl Iterator<Item = Errand>,
    answers: Result<Answers<T>, ClientError>,
    told: impl Fn(&mut super::Positions, &Errand, T) -> bool,
) {
    let mut answers = answers.unwrap_or_else(|error| {
        tracing::debug!(%broker, %error, "no answer from a leader");
        BTreeMap::new()
    });
    let mut is_stale = false;
    {
        let mut guard = shared.state.lock();
        let state = &mut *guard;
        for errand in errands {
            let code = match answers.remove(&errand.partition) {
                Some(Ok(answer)) => {
                    if told(&mut state.positions, &errand, answer) {
                        shared.wait_ms(state, broker, false);
                        continue;
                    }
                    None
                }
                Some(Err(code)) => Some(code),
                None => None,
            };
            let wait_ms = shared.wait_ms(state, broker, true);
            is_stale |= state.positions.failed(&errand.partition, errand.ticket, code, now(), wait_ms);
        }
    }
    if is_stale {
        shared.cluster.request_refresh();
    }
    shared.arrived.notify_one();
}

async fn ask_records(shared: Arc<Shared>, broker: BrokerId, errands: Vec<(Errand, Position)>) {
    let answer = fetch(&shared, broker, &errands).await;
    let mut is_stale = false;
    {
        let mut guard = shared.state.lock();
        let state = &mut *guard;
        state.positions.fetch_ended(broker);
        let mut answers = answer.unwrap_or_else(|error| {
            tracing::debug!(%broker, %error, "no records from a leader");
            BTreeMap::new()
        });
        for (errand, position) in errands {
            let data = answers.remove(&errand.partition);
            let outcome = data.map(|data| read_partition(&shared, &errand, position, data));
            let code = match outcome {
                Some(Outcome::Arrived(arrival)) => {
                    if state.positions.is_current(&errand.partition, errand.ticket) {
                        state.arrivals.push_back(*arrival);
                    }
                    shared.wait_ms(state, broker, false);
                    continue;
                }
                Some(Outcome::Empty) => {
                    state.positions.nothing_new(&errand.partition, errand.ticket);
                    shared.wait_ms(state, broker, false);
                    continue;
                }
                Some(Outcome::Diverged(leader_epoch, offset)) => {
                    state.positions.diverged(&errand.partition, errand.ticket, (leader_epoch, offset));
                    continue;
                }
                Some(Outcome::Failed(code)) => Some(code),
                None => None,
            };
            let wait_ms = shared.wait_ms(state, broker, true);
            is_stale |= state.positions.failed(&errand.partition, errand.ticket, code, now(), wait_ms);
        }
    }
    if is_stale {
        shared.cluster.request_refresh();
    }
    shared.arrived.notify_one();
}

/// What a leader answered for one partition.
enum Outcome {
    Arrived(Box<Arrival>),
    Empty,
    Diverged(LeaderEpoch, Offset),
    Failed(ErrorCode),
}

/// One fetch request, and the data of each partition in its answer.
async fn fetch(
    shared: &Shared,
    broker: BrokerId,
    errands: &[(Errand, Position)],
) -> Result<BTreeMap<PartitionName, PartitionData>, ClientError> {
    let options = &shared.options;
    let mut topics: BTreeMap<Arc<str>, FetchTopic> = BTreeMap::new();
    let mut names: BTreeMap<TopicId, Arc<str>> = BTreeMap::new();
    for (errand, position) in errands {
        let name = &errand.partition.topic;
        let topic = topics.entry(name.clone()).or_insert_with(|| {
            let topic_id = shared.cluster.known_topic(name).map_or(TopicId::ZERO, |topic| topic.topic_id);
            names.insert(topic_id, name.clone());
            FetchTopic::default().with_topic(topic_name(name)).with_topic_id(topic_id.0)
        });
        topic.partitions.push(
            FetchPartition::default()
                .with_partition(errand.partition.partition.0)
                .with_current_leader_epoch(errand.leader.leader_epoch.0)
                .with_fetch_offset(position.offset.0)
                .with_partition_max_bytes(options.partition_bytes_max),
        );
    }
    let request = FetchRequest::default()
        .with_replica_id(CONSUMER)
        .with_max_wait_ms(i32::try_from(options.wait_max.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(options.bytes_min)
        .with_max_bytes(options.bytes_max)
        .with_isolation_level(i8::from(options.isolation_level == IsolationLevel::ReadCommitted))
        .with_session_epoch(NO_SESSION)
        .with_topics(topics.into_values().collect());
    let connection = shared.cluster.connection(broker, Lane::Fetch, options.request_timeout).await?;
    let highest = connection.version_of::<FetchRequest>()?;
    let version = if names.contains_key(&TopicId::ZERO) { highest.min(TOPIC_IDS_FROM - 1) } else { highest };
    let pending = connection.submit(version, &request, options.wait_max + options.request_timeout)?;
    let response = pending.wait().await.inspect_err(|error| error.close(&connection))?;
    if let Some(error) = ClientError::from_code(response.error_code, None) {
        return Err(error);
    }
    Ok(by_partition(shared, response, &names))
}

/// The answer's partitions by name, after taking in the leaders that it names (KIP-951).
fn by_partition(
    shared: &Shared,
    response: FetchResponse,
    names: &BTreeMap<TopicId, Arc<str>>,
) -> BTreeMap<PartitionName, PartitionData> {
    let address = |endpoint: &NodeEndpoint| {
        let rack = endpoint.rack.as_ref().map(ToString::to_string);
        let port = u16::try_from(endpoint.port).ok()?;
        Some((BrokerId::from(endpoint.node_id), BrokerAddress { host: endpoint.host.to_string(), port, rack }))
    };
    let addresses: BTreeMap<BrokerId, BrokerAddress> = response.node_endpoints.iter().filter_map(address).collect();
    let mut answers = BTreeMap::new();
    for topic in response.responses {
        let by_id = || names.get(&TopicId(topic.topic_id)).cloned();
        let name = if topic.topic.is_empty() { by_id() } else { Some(Arc::from(topic.topic.as_str())) };
        let Some(name) = name else { continue };
        for data in topic.partitions {
            let partition = PartitionName { topic: name.clone(), partition: data.partition_index.into() };
            if data.current_leader.leader_id.0 >= 0 {
                let broker = BrokerId::from(data.current_leader.leader_id);
                let leader_epoch = LeaderEpoch(data.current_leader.leader_epoch);
                let leader = Leader { broker, leader_epoch };
                shared.cluster.learn_leader(&partition, leader, addresses.get(&broker).cloned());
            }
            answers.insert(partition, data);
        }
    }
    answers
}

fn read_partition(shared: &Shared, errand: &Errand, position: Position, data: PartitionData) -> Outcome {
    if let Some(code) = code_of(data.error_code) {
        return Outcome::Failed(code);
    }
    if data.diverging_epoch.epoch >= 0 || data.diverging_epoch.end_offset >= 0 {
        return Outcome::Diverged(LeaderEpoch(data.diverging_epoch.epoch), Offset(data.diverging_epoch.end_offset));
    }
    let bytes: Bytes = data.records.unwrap_or_default();
    if bytes.is_empty() {
        return Outcome::Empty;
    }
    let aborted = data.aborted_transactions.unwrap_or_default();
    let aborted = aborted.iter().map(|aborted| (aborted.producer_id.into(), Offset(aborted.first_offset))).collect();
    let fetched = Fetched::new(bytes, position, aborted, shared.rules());
    let ticket: Ticket = errand.ticket;
    Outcome::Arrived(Box::new(Arrival { partition: errand.partition.clone(), ticket, fetched }))
}
