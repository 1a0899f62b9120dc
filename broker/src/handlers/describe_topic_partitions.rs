//! DescribeTopicPartitions (75): partitions in pages, in the order of topic names (KIP-966).
//!
//! A page holds as many partitions as the client asks for and this broker allows; where it ends inside or between topics,
//! a cursor says where the next one begins. The rules are `DescribeTopicPartitionsRequestHandler.java` and
//! `KRaftMetadataCache.describeTopicResponse`.

use super::{
    Services,
    context::{Outcome, RequestContext},
    view::{TOPIC_OPERATIONS, View, is_internal, wire_ids},
};
use metadata::image::{PartitionImage, TopicImage};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, PartitionIndex},
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
        topic_name,
    },
    topic_name,
};
use std::{collections::BTreeSet, sync::Arc};

/// Answers from the metadata at hand. A cursor with a negative partition cannot be answered (Kafka throws
/// `InvalidRequestException`, and the response has no error field): each topic asked for gets `INVALID_REQUEST`.
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Outcome {
    let image = services.metadata.image();
    let view = View { image: &image, listener: &context.connection.listener, node_id: services.config.node_id };
    let page_max = services.settings.described_partitions_max;
    let response = describe(view, &request, page_max).with_throttle_time_ms(context.throttle_time_ms());
    context.done(&response)
}

/// One page, of at most `page_max` partitions and at least one.
fn describe(
    view: View<'_>,
    request: &DescribeTopicPartitionsRequest,
    page_max: i32,
) -> DescribeTopicPartitionsResponse {
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), PartitionIndex(cursor.partition_index)),
        None => ("", PartitionIndex(0)),
    };
    let names: BTreeSet<&str> = match request.topics.is_empty() {
        true => view.image.topic_names_from(from_topic).collect(),
        false => request.topics.iter().map(|topic| topic.name.as_str()).filter(|name| *name >= from_topic).collect(),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    if from_partition.0 < 0 {
        response.topics.extend(names.into_iter().map(|name| refused(name, ErrorCode::InvalidRequest)));
        return response;
    }
    let mut left = usize::try_from(request.response_partition_limit.min(page_max)).unwrap_or(0).max(1);
    for name in names {
        let first = if name == from_topic { from_partition } else { PartitionIndex(0) };
        if left == 0 {
            response.next_cursor = Some(cursor(name, PartitionIndex(0)));
            break;
        }
        let Some(topic) = view.image.topic_by_name(name) else {
            let error = match topic_name::validate(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            response.topics.push(refused(name, error));
            continue;
        };
        let mut rest = topic.partitions().skip_while(|(index, _)| *index < first);
        let partitions: Vec<_> = rest.by_ref().take(left).map(|(index, state)| partition(view, index, state)).collect();
        left -= partitions.len();
        response.topics.push(described(topic, partitions));
        if let Some((next, _)) = rest.next() {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn cursor(topic: &str, partition: PartitionIndex) -> Cursor {
    Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition.0)
}

fn refused(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(topic_name(name)))
        .with_is_internal(is_internal(name))
}

fn described(
    topic: &TopicImage,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(is_internal(&topic.name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
        .with_partitions(partitions)
}

fn partition(
    view: View<'_>,
    index: PartitionIndex,
    state: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index.0)
        .with_leader_id(view.leader(state).unwrap_or(BrokerId::NONE).into())
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(wire_ids(&state.replicas))
        .with_isr_nodes(wire_ids(&state.isr))
        .with_eligible_leader_replicas(Some(wire_ids(&state.elr)))
        .with_last_known_elr(Some(wire_ids(&state.last_known_elr)))
        .with_offline_replicas(view.offline(state))
}

#[cfg(test)]
mod tests;
