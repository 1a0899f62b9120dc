//! DeleteTopics (20): the controller decides; the answer waits until this broker has forgotten the topics.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use metadata::image::Image;
use protocol::{
    error_code::ErrorCode,
    ids::TopicId,
    messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_response::DeletableTopicResult},
};
use std::{collections::BTreeMap, sync::Arc};

/// The first version that can name topics by their ids (KIP-516).
const TOPIC_IDS_SINCE: i16 = 6;

/// Passes the request on to the active controller, and waits, within the request's own timeout, until this broker's metadata
/// no longer holds what was deleted.
///
/// Without an answer from the controller every topic gets `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DeleteTopicsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline_within(request.timeout_ms);
        let version = context.api_version;
        // A topic of the same name may be created at once: what must go is the one that is there now.
        let before = ids_of(&services.metadata.image(), &request);
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => refused(&request, version, error),
        };
        let deleted: Vec<TopicId> = response
            .responses
            .iter()
            .filter(|topic| topic.error_code == ErrorCode::None.code())
            .filter_map(|topic| match topic.topic_id.is_nil() {
                true => before.get(topic.name.as_ref()?).copied(),
                false => Some(TopicId(topic.topic_id)),
            })
            .collect();
        let gone = |image: &Image| deleted.iter().all(|topic_id| image.topic(*topic_id).is_none());
        services.metadata.wait_until(deadline, gone).await;
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}

/// The ids of the topics that are named by name.
fn ids_of(image: &Image, request: &DeleteTopicsRequest) -> BTreeMap<TopicName, TopicId> {
    let names = request.topic_names.iter().chain(request.topics.iter().filter_map(|topic| topic.name.as_ref()));
    names.filter_map(|name| Some((name.clone(), image.topic_by_name(name.as_str())?.id))).collect()
}

/// The same error for every topic.
fn refused(request: &DeleteTopicsRequest, version: i16, error: ErrorCode) -> DeleteTopicsResponse {
    let result = || DeletableTopicResult::default().with_error_code(error.code());
    let by_name = request.topic_names.iter().map(|name| result().with_name(Some(name.clone())));
    let by_state =
        request.topics.iter().map(|topic| result().with_name(topic.name.clone()).with_topic_id(topic.topic_id));
    let results: Vec<_> = if version < TOPIC_IDS_SINCE { by_name.collect() } else { by_state.collect() };
    let message = |result: DeletableTopicResult| match version {
        5.. => result.with_error_message(Some(text(error.message()))),
        _ => result,
    };
    DeleteTopicsResponse::default().with_responses(results.into_iter().map(message).collect())
}
