//! CreateTopics (19): the controller decides; the answer waits until this broker knows the topics.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::{
    error_code::ErrorCode,
    ids::TopicId,
    messages::{CreateTopicsRequest, CreateTopicsResponse, create_topics_response::CreatableTopicResult},
};
use std::sync::Arc;

/// Passes the request on to the active controller, and waits, within the request's own timeout, until this broker's metadata
/// holds what was created: Kafka does not, and its clients may be told that a topic they just created does not exist.
///
/// Without an answer from the controller every topic gets `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: CreateTopicsRequest) -> Outcome {
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
            let created: Vec<&CreatableTopicResult> =
                response.topics.iter().filter(|topic| topic.error_code == ErrorCode::None.code()).collect();
            let known = services.metadata.wait_until(deadline, |image| {
                created.iter().all(|topic| match topic.topic_id.is_nil() {
                    // Before version 7 the answer names no ids.
                    true => image.topic_by_name(topic.name.as_str()).is_some(),
                    false => image.topic(TopicId(topic.topic_id)).is_some(),
                })
            });
            known.await;
        }
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}

/// The same error for every topic, each once.
fn refused(request: &CreateTopicsRequest, error: ErrorCode) -> CreateTopicsResponse {
    let mut names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    names.sort();
    names.dedup();
    let result = |name| {
        CreatableTopicResult::default()
            .with_name(name)
            .with_error_code(error.code())
            .with_error_message(Some(text(error.message())))
    };
    CreateTopicsResponse::default().with_topics(names.into_iter().map(result).collect())
}
