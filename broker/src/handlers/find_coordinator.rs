//! FindCoordinator (10): which broker coordinates a group (KIP-699 for many at once).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    view::{View, text},
};
use crate::coordinator::{OFFSETS_TOPIC, partition_for};
use metadata::record::Endpoint;
use protocol::{
    error_code::ErrorCode,
    ids::BrokerId,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, find_coordinator_response::Coordinator},
};
use runtime::time;
use std::{sync::Arc, time::Duration};

/// The first version that asks for many.
const MANY_SINCE: i16 = 4;
/// How long the first who asks for a group waits for the topic of the groups.
const CREATED_WITHIN: Duration = Duration::from_secs(5);
/// The key type of groups.
const GROUP: i8 = 0;

/// Answers from the metadata at hand. The first that asks for any group has the topic of the groups created, and waits for it
/// (`KafkaApis.getCoordinator`). While its partition has no leader that this listener's clients can reach:
/// `COORDINATOR_NOT_AVAILABLE`. For transactions and share groups `UNSUPPORTED_VERSION`: there is no coordinator of that kind
/// (see `init_producer_id`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: FindCoordinatorRequest) -> Outcome {
    let is_there = services.metadata.image().topic_by_name(OFFSETS_TOPIC).is_some();
    if is_there || request.key_type != GROUP {
        return Outcome::Done(answer(services, context, &request));
    }
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = (time::now() + CREATED_WITHIN).min(context.deadline);
        services.auto_creation.create(&services, &context, vec![OFFSETS_TOPIC.to_owned()], deadline).await;
        answer(&services, &context, &request)
    }))
}

fn answer(services: &Services, context: &RequestContext, request: &FindCoordinatorRequest) -> Answer {
    let image = services.metadata.image();
    let view = View { image: &image, listener: &context.connection.listener, node_id: services.config.node_id };
    let find = |key: &StrBytes| find(view, request.key_type, key.as_str());
    let response = FindCoordinatorResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    if context.api_version >= MANY_SINCE {
        let found = request.coordinator_keys.iter().map(|key| describe(key, find(key))).collect();
        return context.answer(&response.with_coordinators(found));
    }
    let found = describe(&request.key, find(&request.key));
    let response = response
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    context.answer(&response)
}

fn find<'a>(view: View<'a>, key_type: i8, key: &str) -> Result<(BrokerId, &'a Endpoint), ErrorCode> {
    match key_type {
        GROUP => {}
        1 | 2 => return Err(ErrorCode::UnsupportedVersion),
        _ => return Err(ErrorCode::InvalidRequest),
    }
    let topic = view.image.topic_by_name(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = topic.partition(partition_for(key, topic.partition_count()));
    let leader = partition.and_then(|partition| view.leader(partition)).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let broker = view.image.broker(leader).and_then(|broker| broker.listener(view.listener));
    broker.map(|endpoint| (leader, endpoint)).ok_or(ErrorCode::CoordinatorNotAvailable)
}

fn describe(key: &StrBytes, found: Result<(BrokerId, &Endpoint), ErrorCode>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key.clone());
    match found {
        Ok((id, endpoint)) => coordinator
            .with_node_id(id.into())
            .with_host(text(&endpoint.host))
            .with_port(i32::from(endpoint.port))
            .with_error_message(None),
        Err(error) => coordinator
            .with_node_id(BrokerId::NONE.into())
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(text(error.message()))),
    }
}
