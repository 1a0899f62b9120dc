//! Asks the coordinators of groups, each about its own, until all have answered or the time is over.
//!
//! It has no opinion on what is asked: a [`Question`] says it for a version, and reads the answer. Driven by `groups`.

use super::{ATTEMPT_TIMEOUT, Admin, Outcomes, wait_before};
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerId;
use protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, Request, StrBytes};
use runtime::time::{self, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a coordinator may take to be reached before it is asked anew who coordinates: a broker that died is not waited for.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The first version of FindCoordinator that asks for several groups at once (KIP-699).
const SEVERAL_KEYS_FROM: i16 = 4;

/// What the coordinators of groups are asked.
pub(super) trait Question {
    /// The request.
    type Request: Request;
    /// What is made of the answer about one group.
    type Answer;
    /// The last version that says it as it is meant.
    const VERSION_MAX: i16 = i16::MAX;
    /// The first version in which one request can be about several groups.
    const SEVERAL_FROM: i16 = 0;

    /// The request about these groups.
    fn request(&self, groups: &[&str], version: i16) -> Self::Request;

    /// What `broker` answered, by group.
    fn answers(
        &self,
        broker: BrokerId,
        groups: &[&str],
        response: <Self::Request as Request>::Response,
    ) -> Outcomes<Self::Answer>;
}

/// The groups of each coordinator, and those that have none.
type Found = (BTreeMap<BrokerId, Vec<String>>, Vec<(String, ClientError)>);

impl Admin {
    /// Asks about each of these groups. A coordinator that is gone, or is not ready, is looked for again until the deadline;
    /// every group has an outcome then.
    pub(super) async fn ask_coordinators<Q: Question>(
        &self,
        question: &Q,
        groups: &BTreeSet<String>,
        deadline: Instant,
    ) -> Outcomes<Q::Answer> {
        let mut outcomes = Outcomes::new();
        let mut left = groups.clone();
        let mut failures = 0u32;
        loop {
            let (found, refused) = self.find_coordinators(&left, deadline).await;
            outcomes.extend(refused.into_iter().map(|(group, error)| (group, Err(error))));
            for (broker, groups) in found {
                outcomes.extend(self.ask_coordinator(question, broker, &groups, deadline).await);
            }
            left.retain(|group| outcomes.get(group).is_none_or(is_unsettled));
            if left.is_empty() || !wait_before(deadline, &mut failures).await {
                let silent = ClientError::from_code(ErrorCode::CoordinatorNotAvailable.code(), None);
                left.retain(|group| !outcomes.contains_key(group));
                outcomes.extend(left.into_iter().filter_map(|group| Some((group, Err(silent.clone()?)))));
                return outcomes;
            }
            tracing::debug!(groups = left.len(), failures, "looking for coordinators again");
        }
    }

    /// Asks any broker who coordinates these groups.
    async fn find_coordinators(&self, groups: &BTreeSet<String>, deadline: Instant) -> Found {
        let (mut found, mut refused) = (BTreeMap::new(), Vec::new());
        let mut left = groups.clone();
        while let Some(first) = left.first().cloned() {
            let request = |version| {
                let request = FindCoordinatorRequest::default();
                match version < SEVERAL_KEYS_FROM {
                    true => request.with_key(text(&first)),
                    false => request.with_coordinator_keys(left.iter().map(|group| text(group)).collect()),
                }
            };
            let answer = self.call_by(request, deadline, |left| self.cluster.any_connection(left)).await;
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    refused.extend(left.into_iter().map(|group| (group, error.clone())));
                    break;
                }
            };
            for (group, answer) in coordinators(&response, &first) {
                match answer {
                    Ok(broker) => found.entry(broker).or_insert_with(Vec::new).push(group.clone()),
                    Err(error) => refused.push((group.clone(), error)),
                }
                left.remove(&group);
            }
            // One that the broker says nothing of is asked about again in the next round, if there is time.
            if !response.coordinators.is_empty() {
                break;
            }
        }
        let known = self.cluster.view();
        if found.keys().any(|broker| !known.brokers().contains_key(broker))
            && let Err(error) = self.cluster.refresh().await
        {
            tracing::debug!(%error, "no address of a coordinator");
        }
        (found, refused)
    }

    /// Asks one coordinator, once.
    async fn ask_coordinator<Q: Question>(
        &self,
        question: &Q,
        broker: BrokerId,
        groups: &[String],
        deadline: Instant,
    ) -> Outcomes<Q::Answer> {
        let connected = self.cluster.connection(broker, Lane::Ask, CONNECT_TIMEOUT.min(deadline - time::now())).await;
        let negotiated = connected.and_then(|connection| {
            let version = connection.version_of::<Q::Request>()?.min(Q::VERSION_MAX);
            Ok((connection, version))
        });
        let (connection, version) = match negotiated {
            Ok(negotiated) => negotiated,
            Err(error) => return groups.iter().map(|group| (group.clone(), Err(error.clone()))).collect(),
        };
        let several = if version < Q::SEVERAL_FROM { 1 } else { groups.len().max(1) };
        let mut outcomes = Outcomes::new();
        for some in groups.chunks(several) {
            let named: Vec<&str> = some.iter().map(String::as_str).collect();
            let timeout = ATTEMPT_TIMEOUT.min(deadline - time::now());
            let answer = ask(&connection, version, &question.request(&named, version), timeout).await;
            let mut answers = match answer {
                Ok(response) => question.answers(broker, &named, response),
                Err(error) => named.iter().map(|group| ((*group).to_owned(), Err(error.clone()))).collect(),
            };
            for group in named {
                let silent = || ClientError::Protocol {
                    address: format!("broker {broker}"),
                    cause: format!("it says nothing of group {group}"),
                };
                answers.entry(group.to_owned()).or_insert_with(|| Err(silent()));
            }
            outcomes.append(&mut answers);
        }
        outcomes
    }
}

async fn ask<R: Request>(
    connection: &Connection,
    version: i16,
    request: &R,
    timeout: Duration,
) -> Result<R::Response, ClientError> {
    let answer = connection.submit(version, request, timeout)?.wait().await;
    answer.inspect_err(|error| error.close(connection))
}

/// Whether the same question may be answered later, or elsewhere.
fn is_unsettled<T>(outcome: &Result<T, ClientError>) -> bool {
    outcome.as_ref().is_err_and(|error| match error.code() {
        Some(code) => is_of_coordinator(code),
        None => error.is_retriable(),
    })
}

/// Whether an error says that the broker does not coordinate the group, or not yet.
pub(super) fn is_of_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable
    )
}

/// Who coordinates each group, from an answer about several, or about the one that was `asked` for.
fn coordinators(response: &FindCoordinatorResponse, asked: &str) -> Vec<(String, Result<BrokerId, ClientError>)> {
    let told = |code, message: &Option<StrBytes>, broker| {
        let refused = ClientError::from_code(code, message.as_ref().map(ToString::to_string));
        refused.map_or(Ok(BrokerId::from(broker)), Err)
    };
    if response.coordinators.is_empty() {
        return vec![(asked.to_owned(), told(response.error_code, &response.error_message, response.node_id))];
    }
    let found = response.coordinators.iter();
    found.map(|one| (one.key.to_string(), told(one.error_code, &one.error_message, one.node_id))).collect()
}

pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
