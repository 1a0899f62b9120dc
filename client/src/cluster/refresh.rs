//! Keeps the view of a cluster fresh: asks one broker after another for metadata, and takes in what the first one answers.
//!
//! The broker asked moves on each time, because one that is cut off from the others goes on answering with what it last knew.
//! Driven by `cluster`, as one task of its own.

use super::{Refreshed, Shared, connection};
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::error::ClientError;
use protocol::ids::BrokerId;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{MetadataRequest, MetadataResponse, topic_name};
use runtime::sync::mpsc;
use runtime::{rand, task, time};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A refresh this long after the one before begins a new row of them.
const ROW_ENDS_AFTER: Duration = Duration::from_secs(1);

/// Whom to ask.
#[derive(Clone, Debug)]
enum Candidate {
    /// A broker of the view, on the connection that everybody shares.
    Broker(BrokerId),
    /// An address of the bootstrap list, on a connection of its own.
    Bootstrap(String),
}

/// Refreshes whenever somebody wants it, and when the metadata has grown old, until the cluster is closed.
pub(super) async fn follow(shared: Arc<Shared>) {
    let closed = shared.clone();
    let mut closing = pin!(closed.closing.notified());
    closing.as_mut().enable();
    if shared.state.lock().closed {
        return;
    }
    runtime::select! {
        () = closing => {}
        () = refresh_for_ever(shared) => {}
    }
}

async fn refresh_for_ever(shared: Arc<Shared>) {
    let options = &shared.options;
    let mut finished = time::now();
    let (mut in_a_row, mut failures, mut turn) = (0u32, 0u32, 0usize);
    loop {
        // Old metadata needs no haste: only a refresh that somebody wants is waited for.
        let _ = time::timeout(options.metadata_age_max, shared.wanted.notified()).await;
        in_a_row = if finished.elapsed() > ROW_ENDS_AFTER { 0 } else { in_a_row.saturating_add(1) };
        let pause = if failures > 0 {
            options.reconnect_backoff.after(failures, rand::next())
        } else {
            options.refresh_backoff.after(in_a_row, rand::next())
        };
        time::sleep_until(finished + pause).await;
        let number = {
            let mut state = shared.state.lock();
            state.refreshes_started += 1;
            state.refreshes_started
        };
        let request = request(&shared);
        let answer = ask_in_turn(&shared, &request, turn).await;
        turn = turn.wrapping_add(1);
        finished = time::now();
        let error = match answer {
            Ok(response) => {
                let view = &mut shared.state.lock().view;
                match request.topics {
                    Some(_) => view.apply(&response),
                    None => view.apply_listing(&response),
                }
                failures = 0;
                None
            }
            Err(error) => {
                tracing::debug!(%error, failures, "cannot refresh the metadata");
                failures = failures.saturating_add(1);
                shared.wanted.notify_one();
                Some(error)
            }
        };
        shared.refreshes.send_if_modified(|refreshed| {
            let is_open = refreshed.number < number;
            if is_open {
                *refreshed = Refreshed { number, error };
            }
            is_open
        });
        shared.changed();
    }
}

/// The candidates in the order of this turn: the known brokers from another one on each time, those that were not reached
/// last time behind the others, then the bootstrap list.
fn candidates(shared: &Shared, turn: usize) -> VecDeque<Candidate> {
    let state = shared.state.lock();
    let known: Vec<BrokerId> = state.view.brokers().keys().copied().collect();
    let from = turn.checked_rem(known.len()).unwrap_or(0);
    let mut turned: Vec<BrokerId> = known.iter().cycle().skip(from).take(known.len()).copied().collect();
    turned.sort_by_key(|broker| state.pool.is_failing(*broker, Lane::Ask));
    let brokers = turned.into_iter().map(Candidate::Broker);
    let listed = &shared.options.bootstrap;
    let from = turn.checked_rem(listed.len()).unwrap_or(0);
    let bootstrap = listed.iter().cycle().skip(from).take(listed.len()).cloned().map(Candidate::Bootstrap);
    brokers.chain(bootstrap).collect()
}

/// Asks one candidate, and one more each time a while passes or one fails, until one has answered.
async fn ask_in_turn(
    shared: &Arc<Shared>,
    request: &MetadataRequest,
    turn: usize,
) -> Result<MetadataResponse, ClientError> {
    let mut left = candidates(shared, turn);
    let (answered, mut answers) = mpsc::channel(left.len().max(1));
    let mut last = "the bootstrap list is empty".to_owned();
    let mut asked = 0usize;
    loop {
        if let Some(candidate) = left.pop_front() {
            asked += 1;
            let (shared, request, answered) = (shared.clone(), request.clone(), answered.clone());
            task::spawn(async move {
                let answer = ask(&shared, candidate, &request).await;
                // Nobody listens any more when another one was faster.
                let _ = answered.send(answer).await;
            });
        } else if asked == 0 {
            return Err(ClientError::NoBroker { last });
        }
        let patience = if left.is_empty() { shared.options.metadata_timeout } else { shared.options.metadata_hedge };
        match time::timeout(patience, answers.recv()).await {
            Ok(Some(Ok(response))) => return Ok(response),
            Ok(Some(Err(error))) => {
                asked -= 1;
                last = error.to_string();
            }
            Ok(None) => unreachable!("a sender is kept here"),
            Err(_) => {}
        }
    }
}

fn request(shared: &Shared) -> MetadataRequest {
    let state = shared.state.lock();
    let topics = state.tracked.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(topic_name(topic))));
    MetadataRequest::default()
        .with_topics((!state.tracks_all).then(|| topics.collect()))
        .with_allow_auto_topic_creation(shared.options.allow_auto_topic_creation)
}

/// One answer of one candidate. A broker that does not answer in time loses its connection: the next one is a new one.
async fn ask(
    shared: &Arc<Shared>,
    candidate: Candidate,
    request: &MetadataRequest,
) -> Result<MetadataResponse, ClientError> {
    let timeout = shared.options.metadata_timeout;
    let connection = match candidate {
        Candidate::Broker(broker) => connection(shared, broker, Lane::Ask, timeout).await?,
        Candidate::Bootstrap(address) => {
            let mut options = shared.options.connection.clone();
            options.connect_timeout = options.connect_timeout.min(timeout);
            Connection::connect(&address, options).await?
        }
    };
    let answer = connection.call_with_timeout(request, timeout).await;
    let response = answer.inspect_err(|error| error.close(&connection))?;
    match ClientError::from_code(response.error_code, None) {
        Some(error) => Err(error),
        None => Ok(response),
    }
}
