//! CreatePartitions (37): the controller decides; the answer waits until this broker knows the partitions.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::{
    error_code::ErrorCode,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_response::CreatePartitionsTopicResult,
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// Passes the request on to the active controller, and waits, within the request's own timeout, until this broker's metadata
/// holds what was added.
///
/// Without an answer from the controller every topic gets `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: CreatePartitionsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline_within(request.timeout_ms);
        let version = context.api_version;
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => refused(&request, error),
        };
        if !request.validate_only {
            let done = |result: &&CreatePartitionsTopicResult| result.error_code == ErrorCode::None.code();
            let grown: BTreeSet<&str> =
                response.results.iter().filter(done).map(|result| result.name.as_str()).collect();
            let known = services.metadata.wait_until(deadline, |image| {
                let mut grown = request.topics.iter().filter(|topic| grown.contains(topic.name.as_str()));
                grown.all(|asked| {
                    let count = usize::try_from(asked.count).unwrap_or(0);
                    // A topic that was deleted meanwhile will never have them.
                    image.topic_by_name(asked.name.as_str()).is_none_or(|topic| topic.partition_count() >= count)
                })
            });
            known.await;
        }
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}

/// The same error for every topic, each once.
fn refused(request: &CreatePartitionsRequest, error: ErrorCode) -> CreatePartitionsResponse {
    let mut names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    names.sort();
    names.dedup();
    let result = |name| {
        CreatePartitionsTopicResult::default()
            .with_name(name)
            .with_error_code(error.code())
            .with_error_message(Some(text(error.message())))
    };
    CreatePartitionsResponse::default().with_results(names.into_iter().map(result).collect())
}
