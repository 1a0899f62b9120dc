//! Envelope (58): a client's request that a broker forwards, with whom it asks for (KIP-590).
//!
//! `request_data` is the client's request as it came, header included; `response_data` is the answer likewise, in the
//! client's version and with its correlation id. Both without the length before a frame.

mod cluster;
mod configs;
mod partitions;

use super::Handlers;
use crate::{
    control::{ControlRequest, ControlResponse},
    server::context::{Principal, RequestContext},
};
use bytes::Bytes;
use protocol::{
    api::{self, Plane},
    error_code::ErrorCode,
    frame::{LENGTH_BYTES, RequestHead, decode_body, encode_response, parse_request_head},
    ids::TopicId,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, Encodable,
        EnvelopeRequest, EnvelopeResponse, HeaderVersion, create_topics_response::CreatableTopicResult,
        delete_topics_response::DeletableTopicResult,
    },
};
use runtime::{rand, time};
use std::time::Duration;

/// Whom the broker asks for.
pub(super) fn principal(request: &EnvelopeRequest) -> Principal {
    let text = request.request_principal.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Principal::parse(text.unwrap_or_default())
}

/// Unwraps, decides, wraps. `NOT_CONTROLLER` is the envelope's own error, so that the broker looks for the active controller
/// and the client never sees it.
pub(super) async fn handle(
    handlers: &Handlers,
    context: &RequestContext,
    request: EnvelopeRequest,
    authorized: Result<(), ErrorCode>,
) -> EnvelopeResponse {
    let answer = async {
        let head = parse_request_head(request.request_data, Plane::Client).map_err(invalid)?;
        match head.api_key {
            api::CREATE_TOPICS => create_topics(handlers, context, &head, authorized).await,
            api::DELETE_TOPICS => delete_topics(handlers, context, &head, authorized).await,
            api::CREATE_PARTITIONS => partitions::create(handlers, context, &head, authorized).await,
            api::ELECT_LEADERS => partitions::elect(handlers, context, &head, authorized).await,
            api::DESCRIBE_QUORUM => cluster::describe_quorum(handlers, &head, authorized),
            api::UPDATE_FEATURES => cluster::update_features(handlers, context, &head, authorized).await,
            api::UNREGISTER_BROKER => cluster::unregister_broker(handlers, context, &head, authorized).await,
            api::ALTER_PARTITION_REASSIGNMENTS => partitions::reassign(handlers, context, &head, authorized).await,
            api::LIST_PARTITION_REASSIGNMENTS => {
                partitions::list_reassignments(handlers, context, &head, authorized).await
            }
            api::ALTER_CONFIGS => configs::alter(handlers, context, &head, authorized).await,
            api::INCREMENTAL_ALTER_CONFIGS => configs::alter_incrementally(handlers, context, &head, authorized).await,
            other => {
                tracing::warn!(api = other.0, "a request that is not for controllers was forwarded");
                Err(ErrorCode::InvalidRequest)
            }
        }
    };
    match answer.await {
        Ok(response) => EnvelopeResponse::default().with_response_data(Some(response)),
        Err(code) => EnvelopeResponse::default().with_error_code(code.code()),
    }
}

fn invalid(error: protocol::frame::FrameError) -> ErrorCode {
    tracing::warn!(%error, "a forwarded request cannot be read");
    ErrorCode::InvalidRequest
}

fn wrap<T: Encodable + HeaderVersion>(head: &RequestHead, response: &T) -> Result<Bytes, ErrorCode> {
    let frame = encode_response(head.correlation_id, head.api_version, response).map_err(|error| {
        tracing::error!(api = head.api.name, version = head.api_version, %error, "a response cannot be encoded");
        ErrorCode::UnknownServerError
    })?;
    Ok(frame.freeze().slice(LENGTH_BYTES..))
}

/// Decides within the client's own deadline, past which the client is told that it timed out. The outer error is the
/// envelope's, the inner one the client's.
async fn decide(
    handlers: &Handlers,
    context: &RequestContext,
    authorized: Result<(), ErrorCode>,
    timeout_ms: i32,
    request: ControlRequest,
) -> Result<Result<ControlResponse, ErrorCode>, ErrorCode> {
    if authorized.is_err() {
        return Ok(Err(ErrorCode::TopicAuthorizationFailed));
    }
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let deadline = (time::now() + timeout).min(context.deadline);
    match handlers.decisions.decide(request, deadline).await {
        Err(ErrorCode::NotController) => Err(ErrorCode::NotController),
        decided => Ok(decided),
    }
}

async fn create_topics(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: CreateTopicsRequest = decode_body(head).map_err(invalid)?;
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let timeout_ms = request.timeout_ms;
    let topic_ids = names.iter().map(|_| fresh_topic_id()).collect();
    let request = ControlRequest::CreateTopics { request, topic_ids, placement_seed: rand::next() };
    let response = match decide(handlers, context, authorized, timeout_ms, request).await? {
        Ok(ControlResponse::CreateTopics(response)) => response,
        other => {
            let code = super::refusal(other).code();
            let refused = |name| CreatableTopicResult::default().with_name(name).with_error_code(code);
            CreateTopicsResponse::default().with_topics(names.into_iter().map(refused).collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

async fn delete_topics(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: DeleteTopicsRequest = decode_body(head).map_err(invalid)?;
    let asked = request.clone();
    let control = ControlRequest::DeleteTopics { request, version: head.api_version };
    let response = match decide(handlers, context, authorized, asked.timeout_ms, control).await? {
        Ok(ControlResponse::DeleteTopics(response)) => response,
        other => {
            let code = super::refusal(other).code();
            let refused = DeletableTopicResult::default().with_error_code(code);
            let by_name = asked.topic_names.into_iter().map(|name| refused.clone().with_name(Some(name)));
            let by_either = asked
                .topics
                .into_iter()
                .map(|topic| refused.clone().with_name(topic.name).with_topic_id(topic.topic_id));
            DeleteTopicsResponse::default().with_responses(by_name.chain(by_either).collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// A random identity. Like Kafka's own (`Uuid.randomUuid`), its text never begins with a dash, which command lines would
/// take for an option.
fn fresh_topic_id() -> TopicId {
    loop {
        let id = TopicId(rand::uuid());
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}
