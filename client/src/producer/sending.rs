//! Carries out what the machine of a producer plans: sends requests, waits for answers, asks for a producer id.
//!
//! Driven by `producer`, as one task that plans and one for each request under way.

use super::batch::Batch;
use super::batches::{Request, Route};
use super::outcome::{Attempt, ProduceError, ProduceErrorKind, judge_code, judge_error};
use super::sequence::ProducerIdentity;
use super::{Acks, Shared, Waiter, millis, now};
use crate::PartitionName;
use crate::cluster::{BrokerAddress, Lane, Leader};
use crate::connection::{Connection, PendingResponse};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, MonotonicMillis, Offset, PartitionIndex, TopicId, WallMillis};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse, WireProducerId, topic_name};
use runtime::{rand, task, time};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The first version of Produce that names topics by id alone.
const TOPIC_IDS_FROM: i16 = 13;
/// How long one broker may take over InitProducerId, and over opening the connection for it.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(5);

/// Plans and sends until the producer is closed.
pub(super) async fn send_for_ever(shared: Arc<Shared>) {
    let closed = shared.clone();
    let mut closing = pin!(closed.closing.notified());
    closing.as_mut().enable();
    let mut changes = shared.cluster.changes();
    let mut sleep = pin!(time::sleep(Duration::ZERO));
    loop {
        changes.borrow_and_update();
        let wake_at = plan_and_send(&shared);
        if shared.buffer.is_closed() {
            return;
        }
        if let Some(at) = wake_at {
            sleep.as_mut().reset(time::now() + Duration::from_millis(at.since(now())));
        }
        runtime::select! {
            () = closing.as_mut() => return,
            () = shared.wake.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep.as_mut(), if wake_at.is_some() => {}
        }
    }
}

/// Sends what can be sent now. Returns when to look again.
fn plan_and_send(shared: &Arc<Shared>) -> Option<MonotonicMillis> {
    let mut connections: BTreeMap<BrokerId, Option<Connection>> = BTreeMap::new();
    let mut has_leaderless = false;
    let plan = {
        let mut state = shared.state.lock();
        let mut plan = state.batches.plan(now(), |partition| {
            let Some(leader) = shared.cluster.leader(partition) else {
                has_leaderless = true;
                return Route::Closed;
            };
            let open = || shared.cluster.open_connection(leader.broker, Lane::Produce);
            match connections.entry(leader.broker).or_insert_with(open) {
                Some(_) => Route::Open(leader),
                None => Route::Closed,
            }
        });
        plan.wants_identity &= !state.acquiring;
        state.acquiring |= plan.wants_identity;
        plan
    };
    tracing::trace!(
        requests = plan.requests.len(),
        finished = plan.finished.len(),
        wake_at = ?plan.wake_at,
        wants_identity = plan.wants_identity,
        wants_route = plan.wants_route,
        has_leaderless,
        "plans"
    );
    if has_leaderless {
        shared.cluster.request_refresh();
    }
    if plan.wants_identity {
        task::spawn(acquire_identity(shared.clone()));
    }
    shared.tell(plan.finished);
    for request in plan.requests {
        let connection = connections.get(&request.broker).cloned().flatten();
        send(shared, connection.expect("a route is open by its connection"), request);
    }
    plan.wake_at
}

/// Submits one request, in the order of the plan, and leaves its answer to a task.
fn send(shared: &Arc<Shared>, connection: Connection, mut request: Request<Waiter>) {
    let submitted = submit(shared, &connection, &mut request);
    let shared = shared.clone();
    match submitted {
        Ok(Some(pending)) => {
            task::spawn(async move {
                let answer = wait(&shared, pending, &mut request.batches).await;
                if let Err(error) = &answer {
                    error.close(&connection);
                }
                finish(&shared, request, answer);
            });
        }
        Ok(None) => {
            task::spawn(async move {
                connection.has_room().await;
                let attempt = Attempt::Appended { base_offset: None, log_append_time: None };
                let attempts = request.batches.into_iter().map(|batch| (batch, attempt.clone())).collect();
                answered(&shared, request.broker, attempts);
            });
        }
        Err(error) => finish(&shared, request, Err(error)),
    }
}

/// Queues the request on the connection. Nothing to wait for with `acks=0`.
fn submit(
    shared: &Shared,
    connection: &Connection,
    request: &mut Request<Waiter>,
) -> Result<Option<PendingResponse<ProduceRequest>>, ClientError> {
    let highest = connection.version_of::<ProduceRequest>()?;
    let mut topics: BTreeMap<Arc<str>, TopicProduceData> = BTreeMap::new();
    let mut has_ids = true;
    for batch in &mut request.batches {
        let partition = batch.partition().clone();
        let topic = topics.entry(partition.topic.clone()).or_insert_with(|| {
            let topic_id = shared.cluster.known_topic(&partition.topic).map_or(TopicId::ZERO, |topic| topic.topic_id);
            has_ids &= topic_id != TopicId::ZERO;
            TopicProduceData::default().with_name(topic_name(&partition.topic)).with_topic_id(topic_id.0)
        });
        let data = PartitionProduceData::default().with_index(partition.partition.0).with_records(Some(batch.encode()));
        topic.partition_data.push(data);
    }
    let version = if has_ids { highest } else { highest.min(TOPIC_IDS_FROM - 1) };
    let timeout = shared.options.request_timeout;
    // The broker gives up a little earlier than we do, so that its answer still comes.
    let broker_timeout_ms = i32::try_from(millis(timeout - timeout / 10)).unwrap_or(i32::MAX);
    let message = ProduceRequest::default()
        .with_acks(shared.options.acks.code())
        .with_timeout_ms(broker_timeout_ms)
        .with_topic_data(topics.into_values().collect());
    if shared.options.acks == Acks::None {
        connection.submit_unanswered(version, &message)?;
        return Ok(None);
    }
    connection.submit(version, &message, timeout).map(Some)
}

/// Waits for the answer, and tells those whose delivery timeout passes meanwhile that their records' fate is unknown.
async fn wait(
    shared: &Shared,
    pending: PendingResponse<ProduceRequest>,
    batches: &mut [Batch<Waiter>],
) -> Result<ProduceResponse, ClientError> {
    let delivery_timeout_ms = millis(shared.options.delivery_timeout);
    let mut answer = pin!(pending.wait());
    loop {
        let unexpired = batches.iter().map(|batch| batch.expires(delivery_timeout_ms)).filter(|at| *at > now());
        let Some(at) = unexpired.min() else { return answer.await };
        let until = time::now() + Duration::from_millis(at.since(now()));
        if let Ok(answer) = time::timeout_at(until, answer.as_mut()).await {
            return answer;
        }
        for batch in batches.iter_mut().filter(|batch| batch.expires(delivery_timeout_ms) <= now()) {
            let after = shared.options.delivery_timeout;
            let cause =
                ClientError::Timeout { address: batch.partition().to_string(), api: "delivery", after, sent: true };
            let error = ProduceError { kind: ProduceErrorKind::Unknown, cause };
            for waiter in batch.take_records() {
                let _ = waiter.answered.send(Err(error.clone()));
            }
        }
    }
}

/// Reads what the answer says of each batch.
fn finish(shared: &Shared, request: Request<Waiter>, answer: Result<ProduceResponse, ClientError>) {
    let broker = request.broker;
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            let attempt = judge_error(error);
            answered(shared, broker, request.batches.into_iter().map(|batch| (batch, attempt.clone())).collect());
            shared.cluster.request_refresh();
            return;
        }
    };
    let addresses: BTreeMap<BrokerId, BrokerAddress> = (response.node_endpoints.iter())
        .filter_map(|endpoint| {
            let rack = endpoint.rack.as_ref().map(ToString::to_string);
            let port = u16::try_from(endpoint.port).ok()?;
            Some((endpoint.node_id.into(), BrokerAddress { host: endpoint.host.to_string(), port, rack }))
        })
        .collect();
    let mut said: BTreeMap<PartitionName, &PartitionProduceResponse> = BTreeMap::new();
    for topic in &response.responses {
        let by_id = || shared.cluster.name_of(TopicId(topic.topic_id));
        let name = if topic.name.is_empty() { by_id() } else { Some(Arc::from(topic.name.as_str())) };
        let Some(name) = name else { continue };
        for partition in &topic.partition_responses {
            said.insert(PartitionName { topic: name.clone(), partition: PartitionIndex(partition.index) }, partition);
        }
    }
    let mut is_stale = false;
    let judged = request.batches.into_iter().map(|batch| {
        let attempt = match said.get(batch.partition()) {
            Some(partition) => {
                if partition.current_leader.leader_id.0 >= 0 {
                    let broker = partition.current_leader.leader_id.into();
                    let leader_epoch = LeaderEpoch(partition.current_leader.leader_epoch);
                    let address = addresses.get(&broker).cloned();
                    shared.cluster.learn_leader(batch.partition(), Leader { broker, leader_epoch }, address);
                }
                judge_partition(partition)
            }
            None => {
                let cause = format!("the answer to Produce leaves {} out", batch.partition());
                judge_error(ClientError::Protocol { address: format!("broker {broker}"), cause })
            }
        };
        is_stale |= matches!(&attempt, Attempt::Failed(failure) if failure.cause.is_retriable());
        (batch, attempt)
    });
    let judged = judged.collect();
    answered(shared, broker, judged);
    if is_stale {
        shared.cluster.request_refresh();
    }
}

fn judge_partition(partition: &PartitionProduceResponse) -> Attempt {
    let message = partition.error_message.as_ref().map(ToString::to_string);
    match ClientError::from_code(partition.error_code, message) {
        None => Attempt::Appended {
            base_offset: Some(Offset(partition.base_offset)),
            log_append_time: (partition.log_append_time_ms >= 0).then_some(WallMillis(partition.log_append_time_ms)),
        },
        Some(cause) => judge_code(cause.code().unwrap_or(ErrorCode::UnknownServerError), cause),
    }
}

fn answered(shared: &Shared, broker: BrokerId, attempts: Vec<(Batch<Waiter>, Attempt)>) {
    let backoff_ms = |attempts| millis(shared.options.retry_backoff.after(attempts, rand::next()));
    let finished = {
        let mut state = shared.state.lock();
        let mut finished = state.batches.answered(broker, attempts, now(), backoff_ms);
        if shared.buffer.is_closed() {
            finished.extend(state.batches.fail_waiting(&ClientError::Stopped));
        }
        finished
    };
    shared.tell(finished);
    shared.wake.notify_one();
}

/// Asks brokers for a producer id until one gives it, or says that there will never be one.
async fn acquire_identity(shared: Arc<Shared>) {
    let mut failures = 0u32;
    while !shared.buffer.is_closed() {
        match ask_identity(&shared).await {
            Ok(identity) => {
                tracing::debug!(producer_id = %identity.producer_id, "got a producer id");
                let mut state = shared.state.lock();
                state.batches.identity_given(identity);
                state.acquiring = false;
                break;
            }
            Err(error) if is_fatal(&error) => {
                let finished = {
                    let mut state = shared.state.lock();
                    state.stopped.get_or_insert(error.clone());
                    state.batches.fail_waiting(&error)
                };
                shared.tell(finished);
                break;
            }
            Err(error) => {
                tracing::debug!(%error, "no producer id yet");
                failures = failures.saturating_add(1);
                time::sleep(shared.options.retry_backoff.after(failures, rand::next())).await;
            }
        }
    }
    shared.wake.notify_one();
}

async fn ask_identity(shared: &Shared) -> Result<ProducerIdentity, ClientError> {
    let connection = shared.cluster.any_connection(IDENTITY_TIMEOUT).await?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1);
    let answer = connection.call_with_timeout(&request, IDENTITY_TIMEOUT).await;
    let response = answer.inspect_err(|error| error.close(&connection))?;
    match ClientError::from_code(response.error_code, None) {
        Some(error) => Err(error),
        None => Ok(ProducerIdentity {
            producer_id: response.producer_id.into(),
            producer_epoch: protocol::ids::ProducerEpoch(response.producer_epoch),
        }),
    }
}

/// Whether asking for a producer id again is of no use. What a broker cannot do just now is not among it.
fn is_fatal(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Stopped
            | ClientError::UnsupportedVersion { .. }
            | ClientError::Broker {
                code: ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::TransactionalIdAuthorizationFailed
                    | ErrorCode::InvalidRequest
                    | ErrorCode::UnsupportedVersion,
                ..
            }
    )
}
