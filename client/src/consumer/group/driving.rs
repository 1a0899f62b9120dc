//! Carries out what a membership wants of its coordinator: one task a consumer, beside its polls, with the heartbeats in it.
//!
//! It has no opinion on an answer, but hands it to the machine. It ends with the consumer. Driven by `group`.

use super::coordinator;
use crate::cluster::Lane;
use crate::consumer::membership::{Answer, Life, Seen, Step};
use crate::consumer::{Shared, now};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, MonotonicMillis, TopicId};
use protocol::messages::Request;
use runtime::{rand, time};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// What the coordinator may take beyond the time that it waits for members (`AbstractCoordinator.JOIN_GROUP_TIMEOUT_LAPSE`).
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// How often to look whether a topic is known by now that is subscribed to, or is to be read.
const MISSING_AGAIN: Duration = Duration::from_secs(1);

/// Does what the membership says, step by step, until the consumer ends.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut changes = shared.cluster.changes();
    let mut unnamed = BTreeSet::new();
    loop {
        let mut interrupted = pin!(shared.group_interrupted.notified());
        interrupted.as_mut().enable();
        changes.borrow_and_update();
        let is_missing = look_at_topics(&shared, &mut unnamed);
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

/// Tells the machine what the cluster's topics are like now, and asks for those that it has just been told to read and does not
/// know: `unnamed` are those that it did not know before. True when a topic that it wants is not known.
fn look_at_topics(shared: &Shared, unnamed: &mut BTreeSet<TopicId>) -> bool {
    let (wanted, watched, unnamed_before) = {
        let mut state = shared.state.lock();
        let group = state.group();
        (group.wanted.clone(), group.membership.watched(), std::mem::replace(unnamed, group.membership.unnamed()))
    };
    let Some(wanted) = wanted else { return false };
    let name = |topic_id: &TopicId| Some((*topic_id, shared.cluster.name_of(*topic_id)?));
    let names: BTreeMap<TopicId, Arc<str>> = unnamed.iter().filter_map(name).collect();
    unnamed.retain(|topic_id| !names.contains_key(topic_id));
    if !unnamed.is_subset(&unnamed_before) {
        shared.cluster.request_refresh();
    }
    let seen = Seen { wanted: shared.topics_of(&wanted), counts: shared.cluster.partition_counts(&watched), names };
    let mut state = shared.state.lock();
    state.group().membership.look_at(&seen);
    let has_duty = state.group().membership.has_duty();
    drop(state);
    if has_duty {
        shared.arrived.notify_one();
    }
    seen.counts.len() < watched.len() || !unnamed.is_empty()
}

async fn carry_out(shared: &Shared, step: Step) {
    match step {
        Step::Wait(_) => {}
        Step::Find(life) => find(shared, life).await,
        Step::Join(life, request) => {
            let response = call(shared, life, &*request, rebalance_timeout(shared)).await;
            hand_in(shared, life, response.as_ref().map(Answer::Join));
        }
        Step::Count(life, topics) => {
            let counts = count(shared, &topics).await;
            hand_in(shared, life, Some(Answer::Count(&counts)));
        }
        Step::Sync(life, request) => {
            let response = call(shared, life, &*request, rebalance_timeout(shared)).await;
            hand_in(shared, life, response.as_ref().map(Answer::Sync));
        }
        Step::Heartbeat(life, request) => {
            let response = call(shared, life, &*request, heartbeat_timeout(shared)).await;
            hand_in(shared, life, response.as_ref().map(Answer::Heartbeat));
        }
        Step::ConsumerGroupHeartbeat(life, request) => {
            let response = call(shared, life, &*request, heartbeat_timeout(shared)).await;
            hand_in(shared, life, response.as_ref().map(Answer::ConsumerGroupHeartbeat));
        }
        Step::Leave(goodbye) => {
            let coordinator = shared.state.lock().group().membership.contact().coordinator();
            if let (Some(broker), Some(goodbye)) = (coordinator, goodbye) {
                coordinator::leave(&shared.cluster, broker, &goodbye, shared.options.request_timeout).await;
            }
        }
    }
}

fn hand_in(shared: &Shared, life: Life, answer: Option<Answer<'_>>) {
    if let Some(answer) = answer {
        shared.state.lock().group().membership.answered(life, answer, now(), rand::next());
    }
}

async fn find(shared: &Shared, life: Life) {
    let Err(error) = coordinator::known_or_found(shared).await else { return };
    tracing::debug!(%error, "the group's coordinator is not found");
    let mut state = shared.state.lock();
    let membership = &mut state.group().membership;
    match error.code() {
        Some(code) if !code.is_retriable() => membership.refused(life, code, None),
        Some(_) | None => membership.unanswered(life, now(), rand::next()),
    }
}

/// Sends a request in the group's own lane, for its answer may take as long as a rebalance.
async fn call<R: Request>(shared: &Shared, life: Life, request: &R, timeout: Duration) -> Option<R::Response> {
    let coordinator = shared.state.lock().group().membership.contact().coordinator();
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
                // What cannot be encoded takes a version that the coordinator does not serve.
                ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. } => {
                    membership.refused(life, ErrorCode::UnsupportedVersion, Some(error.to_string()));
                }
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
    let poll_interval_max = shared.state.lock().group().membership.contact().options().poll_interval_max;
    shared.options.request_timeout.max(poll_interval_max + JOIN_LAPSE)
}

fn heartbeat_timeout(shared: &Shared) -> Duration {
    shared.options.request_timeout.min(shared.state.lock().group().membership.heartbeat_patience())
}

/// Finds out about topics that only other members want. What is not known after one more look does not exist.
async fn count(shared: &Shared, topics: &BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, i32> {
    for topic in topics {
        shared.cluster.track(topic);
    }
    let counts = shared.cluster.partition_counts(topics);
    if counts.len() == topics.len() {
        return counts;
    }
    // Without an answer, what is known has to do: the next change of metadata is looked at again.
    let _ = time::timeout(shared.options.request_timeout, shared.cluster.refresh()).await;
    shared.cluster.partition_counts(topics)
}
