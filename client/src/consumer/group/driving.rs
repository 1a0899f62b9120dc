//! Carries out what a membership wants of its coordinator: one task a consumer, beside its polls, with the heartbeats in it.
//!
//! It has no opinion on an answer, but hands it to the machine. It ends with the consumer. Driven by `group`.

use super::coordinator;
use crate::cluster::Lane;
use crate::consumer::membership::{Life, Step};
use crate::consumer::{Shared, now};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, MonotonicMillis};
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, Request, SyncGroupRequest};
use runtime::{rand, time};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// What the coordinator may take beyond the time that it waits for members (`AbstractCoordinator.JOIN_GROUP_TIMEOUT_LAPSE`).
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// How often to look whether a topic exists by now that is subscribed to.
const MISSING_AGAIN: Duration = Duration::from_secs(1);

/// Does what the membership says, step by step, until the consumer ends.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut changes = shared.cluster.changes();
    loop {
        let mut interrupted = pin!(shared.group_interrupted.notified());
        interrupted.as_mut().enable();
        changes.borrow_and_update();
        let is_missing = look_at_topics(&shared);
        let step = {
            let mut state = shared.state.lock();
            if state.is_closed {
                return;
            }
            state.group().membership.next(now())
        };
        let Step::Wait(until) = step else {
            runtime::select! {
                () = interrupted => {}
                () = Box::pin(carry_out(&shared, step)) => {}
            }
            shared.arrived.notify_one();
            continue;
        };
        let until = until.map_or(time::Instant::from_nanos(u64::MAX), instant);
        let until = if is_missing { until.min(time::now() + MISSING_AGAIN) } else { until };
        let goes_on = runtime::select! {
            () = shared.group_wanted.notified() => true,
            () = interrupted => true,
            changed = changes.changed() => changed.is_ok(),
            () = time::sleep_until(until) => {
                if is_missing {
                    shared.cluster.request_refresh();
                }
                true
            },
        };
        if !goes_on {
            return;
        }
    }
}

fn instant(at: MonotonicMillis) -> time::Instant {
    time::now() + Duration::from_millis(at.since(now()))
}

/// Tells the machine what the cluster's topics are like now. A leader watches the topics of others too. True when one of them
/// does not exist.
fn look_at_topics(shared: &Shared) -> bool {
    let (wanted, watched) = {
        let mut state = shared.state.lock();
        let group = state.group();
        (group.wanted.clone(), group.membership.watched())
    };
    let Some(wanted) = wanted else { return false };
    let matching = shared.topics_of(&wanted);
    let counts = shared.cluster.partition_counts(&watched);
    let mut state = shared.state.lock();
    state.group().membership.look_at(Some(matching), |topic| counts.get(topic).copied());
    let has_duty = state.group().membership.duty().is_some();
    drop(state);
    if has_duty {
        shared.arrived.notify_one();
    }
    counts.len() < watched.len()
}

async fn carry_out(shared: &Shared, step: Step) {
    let timeout = shared.options.request_timeout;
    match step {
        Step::Wait(_) => {}
        Step::Find(life) => find(shared, life).await,
        Step::Join(life, request) => join(shared, life, &request).await,
        Step::Count(life, topics) => count(shared, life, &topics).await,
        Step::Sync(life, request) => sync(shared, life, &request).await,
        Step::Heartbeat(life, request) => heartbeat(shared, life, &request).await,
        Step::Leave(request) => {
            let coordinator = shared.state.lock().group().membership.coordinator();
            if let (Some(broker), Some(request)) = (coordinator, request) {
                coordinator::leave(&shared.cluster, broker, &request, timeout).await;
            }
        }
    }
}

async fn find(shared: &Shared, life: Life) {
    let Err(error) = coordinator::known_or_found(shared).await else { return };
    tracing::debug!(%error, "the group's coordinator is not found");
    let mut state = shared.state.lock();
    let membership = &mut state.group().membership;
    match error.code() {
        Some(code) if !code.is_retriable() => membership.find_refused(life, code),
        Some(_) | None => membership.unanswered(life, now(), rand::next()),
    }
}

/// Sends a request in the group's own lane, for its answer may take as long as a rebalance.
async fn call<R: Request>(shared: &Shared, life: Life, request: &R, timeout: Duration) -> Option<R::Response> {
    let coordinator = shared.state.lock().group().membership.coordinator();
    let answer = match coordinator {
        Some(broker) => ask(shared, broker, request, timeout).await,
        None => Err(ClientError::NoBroker { last: "the coordinator is not known any more".to_owned() }),
    };
    match answer {
        Ok(response) => Some(response),
        Err(error) => {
            tracing::debug!(%error, "no answer from the group's coordinator");
            let mut state = shared.state.lock();
            let membership = &mut state.group().membership;
            match error {
                ClientError::UnsupportedVersion { .. } => membership.find_refused(life, ErrorCode::UnsupportedVersion),
                _ => membership.unanswered(life, now(), rand::next()),
            }
            None
        }
    }
}

async fn ask<R: Request>(
    shared: &Shared,
    broker: BrokerId,
    request: &R,
    timeout: Duration,
) -> Result<R::Response, ClientError> {
    let connection = shared.cluster.connection(broker, Lane::Group, shared.options.request_timeout).await?;
    connection.call_with_timeout(request, timeout).await.inspect_err(|error| error.close(&connection))
}

fn rebalance_timeout(shared: &Shared) -> Duration {
    let poll_interval_max = shared.state.lock().group().membership.settings().poll_interval_max;
    shared.options.request_timeout.max(poll_interval_max + JOIN_LAPSE)
}

async fn join(shared: &Shared, life: Life, request: &JoinGroupRequest) {
    let Some(response) = call(shared, life, request, rebalance_timeout(shared)).await else { return };
    shared.state.lock().group().membership.joined(life, &response, now(), rand::next());
}

/// Finds out about topics that only other members want. What is not known after one more look does not exist.
async fn count(shared: &Shared, life: Life, topics: &BTreeSet<Arc<str>>) {
    for topic in topics {
        shared.cluster.track(topic);
    }
    let mut counts = shared.cluster.partition_counts(topics);
    if counts.len() < topics.len() {
        // Without an answer, what is known has to do: the next change of metadata is looked at again.
        let _ = time::timeout(shared.options.request_timeout, shared.cluster.refresh()).await;
        counts = shared.cluster.partition_counts(topics);
    }
    shared.state.lock().group().membership.counted(life, |topic| counts.get(topic).copied());
}

async fn sync(shared: &Shared, life: Life, request: &SyncGroupRequest) {
    let Some(response) = call(shared, life, request, rebalance_timeout(shared)).await else { return };
    shared.state.lock().group().membership.synced(life, &response, now(), rand::next());
}

async fn heartbeat(shared: &Shared, life: Life, request: &HeartbeatRequest) {
    let session_timeout = shared.state.lock().group().membership.settings().session_timeout;
    let timeout = shared.options.request_timeout.min(session_timeout);
    let Some(response) = call(shared, life, request, timeout).await else { return };
    shared.state.lock().group().membership.heard(life, &response, now(), rand::next());
}
