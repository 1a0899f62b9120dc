//! ConsumerGroupHeartbeat (68): a member joins, lives and leaves, and is told what it may read (KIP-848).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{client_host, client_id, committed, owned, shard_of_named},
    view::text,
};
use groups::{
    consumer::{self, HeartbeatRequest},
    ids::{GroupId, MemberEpoch, TopicName},
    record::TopicPartitions,
};
use protocol::{
    error_code::ErrorCode,
    ids::{PartitionIndex, TopicId},
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_response::{self as wire, Assignment},
    },
};
use runtime::rand;
use std::sync::Arc;

/// "As before" on the wire.
const UNCHANGED: i32 = -1;

/// Answers once what was decided is committed. Where consumer groups are switched off: `UNSUPPORTED_VERSION`
/// (`GroupCoordinatorService.consumerGroupHeartbeat`).
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Outcome {
    if !services.coordinator.config().consumer_groups {
        return Outcome::Done(refused(context, ErrorCode::UnsupportedVersion, None));
    }
    let shard = match shard_of_named(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(refused(context, error, None)),
    };
    let (group, asked) = (GroupId::from(request.group_id.as_str()), asked(context, &request));
    if let Err(error) = asked.validate(&group, &services.coordinator.config().groups.consumer) {
        return Outcome::Done(refused(context, error.code(), Some(error.to_string())));
    }
    let (fresh, topics) = (rand::uuid(), shard.topics());
    let decided =
        shard.decide_to_write(|groups, clock| groups.consumer_heartbeat(&group, &asked, &topics, fresh, clock));
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        match committed(&services, decided).await {
            Ok(Ok(told)) => answer(&context, &told),
            Ok(Err(error)) => refused(&context, error.code(), Some(error.to_string())),
            Err(error) => refused(&context, error, None),
        }
    }))
}

/// The request without its own memory.
fn asked(context: &RequestContext, request: &ConsumerGroupHeartbeatRequest) -> HeartbeatRequest {
    let topics = request.subscribed_topic_names.as_ref();
    let held = request.topic_partitions.as_ref().map(|topics| {
        let topic = |topic: &protocol::messages::consumer_group_heartbeat_request::TopicPartitions| {
            (TopicId(topic.topic_id), topic.partitions.iter().copied().map(PartitionIndex).collect())
        };
        topics.iter().map(topic).collect::<TopicPartitions>()
    });
    let timeout = request.rebalance_timeout_ms;
    HeartbeatRequest {
        api_version: context.api_version,
        member: request.member_id.as_str().into(),
        member_epoch: MemberEpoch(request.member_epoch),
        instance: owned(request.instance_id.as_ref()),
        rack: owned(request.rack_id.as_ref()),
        rebalance_timeout_ms: (timeout != UNCHANGED).then_some(timeout),
        topics: topics.map(|topics| topics.iter().map(|topic| TopicName::from(topic.as_str())).collect()),
        regex: owned(request.subscribed_topic_regex.as_ref()),
        assignor: owned(request.server_assignor.as_ref()),
        owned: held,
        client_id: client_id(context),
        client_host: client_host(context),
    }
}

fn answer(context: &RequestContext, told: &consumer::Answer) -> Answer {
    let topic = |(topic, partitions): (&TopicId, &std::collections::BTreeSet<PartitionIndex>)| {
        wire::TopicPartitions::default()
            .with_topic_id(topic.0)
            .with_partitions(partitions.iter().map(|partition| partition.0).collect())
    };
    let assignment = |partitions: &TopicPartitions| {
        Assignment::default().with_topic_partitions(partitions.iter().map(topic).collect())
    };
    let response = ConsumerGroupHeartbeatResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_member_id(Some(text(&told.member)))
        .with_member_epoch(told.member_epoch.0)
        .with_heartbeat_interval_ms(i32::try_from(told.heartbeat_interval.as_millis()).unwrap_or(i32::MAX))
        .with_assignment(told.assignment.as_ref().map(assignment));
    context.answer(&response)
}

fn refused(context: &RequestContext, error: ErrorCode, message: Option<String>) -> Answer {
    let message = message.as_deref().unwrap_or(error.message());
    let response = ConsumerGroupHeartbeatResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_error_code(error.code())
        .with_error_message(Some(text(message)));
    context.answer(&response)
}
