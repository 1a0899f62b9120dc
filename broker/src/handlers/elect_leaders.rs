//! ElectLeaders (43): the controller decides.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::{
    error_code::ErrorCode,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
};
use std::sync::Arc;

/// The first version whose answer has an error of its own (KIP-460).
const OWN_ERROR_SINCE: i16 = 1;

/// Passes the request on to the active controller. The answer does not wait for the new leaders.
///
/// Without an answer from the controller every partition that is named gets `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: ElectLeadersRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline_within(request.timeout_ms);
        let version = context.api_version;
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => refused(&request, version, error),
        };
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}

/// The same error for everything (`ElectLeadersRequest.getErrorResponse`).
fn refused(request: &ElectLeadersRequest, version: i16, error: ErrorCode) -> ElectLeadersResponse {
    let result = |partition: &i32| {
        PartitionResult::default()
            .with_partition_id(*partition)
            .with_error_code(error.code())
            .with_error_message(Some(text(error.message())))
    };
    let results = request.topic_partitions.iter().flatten().map(|topic| {
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(topic.partitions.iter().map(result).collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= OWN_ERROR_SINCE { error.code() } else { 0 })
        .with_replica_election_results(results.collect())
}
