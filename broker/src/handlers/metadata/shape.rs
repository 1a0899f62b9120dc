//! Pure. What a Metadata request is answered with, in each version.
//!
//! The rules are `KafkaApis.handleTopicMetadataRequest` and `KRaftMetadataCache.getTopicMetadata`. Driven by `metadata`,
//! which creates the topics that are missing and may be created.

use crate::handlers::view::{
    CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN, TOPIC_OPERATIONS, View, is_internal, text, wire_ids,
};
use metadata::image::{PartitionImage, TopicImage};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, PartitionIndex, TopicId},
    messages::{
        MetadataRequest, MetadataResponse, WireBrokerId,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        topic_name,
    },
    topic_name,
};

/// The first version that may ask for topics by their ids (KIP-516; 10 and 11 have the field and no meaning for it).
const TOPIC_IDS_SINCE: i16 = 12;

/// The answer, as far as the metadata goes.
pub(super) struct Shaped {
    /// The response.
    pub response: MetadataResponse,
    /// Topics that were asked for by valid names, and do not exist.
    pub missing: Vec<String>,
}

/// Shapes the answer to `request` in `version`.
pub(super) fn shape(view: View<'_>, cluster_id: &str, request: &MetadataRequest, version: i16) -> Shaped {
    let mut missing = Vec::new();
    let mut response = MetadataResponse::default()
        .with_cluster_id(Some(text(cluster_id)))
        .with_controller_id(view.controller_id().into())
        .with_brokers(
            view.alive()
                .map(|(id, broker, endpoint)| {
                    MetadataResponseBroker::default()
                        .with_node_id(id.into())
                        .with_host(text(&endpoint.host))
                        .with_port(i32::from(endpoint.port))
                        .with_rack(broker.rack.as_deref().map(text))
                })
                .collect(),
        );
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    let operations = if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_UNKNOWN };
    let describe = |topic: &TopicImage| existing(view, topic, operations, version);
    response.topics = match &request.topics {
        None => view.image.topics_by_name().map(describe).collect(),
        // Version 0 has no null list: there, the empty one means all.
        Some(topics) if topics.is_empty() && version == 0 => view.image.topics_by_name().map(describe).collect(),
        Some(topics) => topics
            .iter()
            .map(|asked| match find(view, asked, version) {
                Found::Topic(topic) => describe(topic),
                Found::Missing(name) => {
                    missing.push(name.to_owned());
                    failed(Some(name), TopicId::ZERO, ErrorCode::UnknownTopicOrPartition)
                }
                Found::Error(error) => {
                    failed(asked.name.as_ref().map(|name| name.as_str()), TopicId(asked.topic_id), error)
                }
            })
            .collect(),
    };
    Shaped { response, missing }
}

enum Found<'a> {
    Topic(&'a TopicImage),
    Missing(&'a str),
    Error(ErrorCode),
}

fn find<'a>(view: View<'a>, asked: &'a MetadataRequestTopic, version: i16) -> Found<'a> {
    let by_id = !asked.topic_id.is_nil();
    match &asked.name {
        _ if by_id && version < TOPIC_IDS_SINCE => Found::Error(ErrorCode::InvalidRequest),
        _ if by_id => match view.image.topic(TopicId(asked.topic_id)) {
            Some(topic) => Found::Topic(topic),
            None => Found::Error(ErrorCode::UnknownTopicId),
        },
        None => Found::Error(ErrorCode::InvalidRequest),
        Some(name) => match view.image.topic_by_name(name.as_str()) {
            Some(topic) => Found::Topic(topic),
            None if topic_name::validate(name.as_str()).is_err() => Found::Error(ErrorCode::InvalidTopicException),
            None => Found::Missing(name.as_str()),
        },
    }
}

fn failed(name: Option<&str>, topic_id: TopicId, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name.map(topic_name))
        .with_topic_id(topic_id.0)
        .with_is_internal(name.is_some_and(is_internal))
}

fn existing(view: View<'_>, topic: &TopicImage, operations: i32, version: i16) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(is_internal(&topic.name))
        .with_topic_authorized_operations(if version >= 8 { operations } else { OPERATIONS_UNKNOWN })
        .with_partitions(topic.partitions().map(|(index, state)| partition(view, index, state, version)).collect())
}

fn partition(view: View<'_>, index: PartitionIndex, state: &PartitionImage, version: i16) -> MetadataResponsePartition {
    // Version 0 leaves out replicas that cannot be reached, and says so with an error.
    let reachable = |ids: &[BrokerId]| -> Vec<WireBrokerId> {
        match version {
            0 => ids.iter().filter(|id| view.is_alive(**id)).map(|id| (*id).into()).collect(),
            _ => wire_ids(ids),
        }
    };
    let (replicas, isr) = (reachable(&state.replicas), reachable(&state.isr));
    let leader = view.leader(state);
    let error = match leader {
        // Older clients do not know LISTENER_NOT_FOUND.
        None if version >= 6 && leader_lacks_listener(view, state) => ErrorCode::ListenerNotFound,
        None => ErrorCode::LeaderNotAvailable,
        Some(_) if replicas.len() < state.replicas.len() || isr.len() < state.isr.len() => {
            ErrorCode::ReplicaNotAvailable
        }
        Some(_) => ErrorCode::None,
    };
    MetadataResponsePartition::default()
        .with_error_code(error.code())
        .with_partition_index(index.0)
        .with_leader_id(leader.unwrap_or(BrokerId::NONE).into())
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
        .with_offline_replicas(view.offline(state))
}

/// Whether the leader is registered, and only its listener is missing.
fn leader_lacks_listener(view: View<'_>, state: &PartitionImage) -> bool {
    let leader = state.leader.and_then(|leader| view.image.broker(leader));
    leader.is_some_and(|leader| leader.listener(view.listener).is_none())
}

#[cfg(test)]
mod tests;
