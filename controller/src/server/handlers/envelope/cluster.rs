//! What clients ask about the cluster's nodes: the quorum, brokers that are gone for good, the levels of features.

use super::{Handlers, invalid, partitions::decide_for_cluster, wrap};
use crate::{
    control::{ControlRequest, ControlResponse},
    server::context::RequestContext,
};
use bytes::Bytes;
use protocol::{
    error_code::ErrorCode,
    frame::{RequestHead, decode_body},
    messages::{
        DescribeQuorumRequest, DescribeQuorumResponse, StrBytes, TopicName, UnregisterBrokerRequest,
        UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
        topic_name,
    },
};
use runtime::time;
use std::time::Duration;

/// The topic and the partition that stand for the metadata log (`Topic.CLUSTER_METADATA_TOPIC_PARTITION`).
const METADATA_LOG: (&str, i32) = ("__cluster_metadata", 0);
/// The first version that tells where the voters are (KIP-853).
const NODES_SINCE: i16 = 2;

/// UnregisterBroker (64).
pub(super) async fn unregister_broker(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: UnregisterBrokerRequest = decode_body(head).map_err(invalid)?;
    let control = ControlRequest::UnregisterBroker { broker_id: request.broker_id.into() };
    let code = match decide_for_cluster(handlers, context, authorized, i32::MAX, control).await? {
        Ok(ControlResponse::UnregisterBroker(code)) => code,
        other => super::super::refusal(other),
    };
    let message = (code != ErrorCode::None).then(|| StrBytes::from_static_str(code.message()));
    let response = UnregisterBrokerResponse::default().with_error_code(code.code()).with_error_message(message);
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// UpdateFeatures (57).
pub(super) async fn update_features(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: UpdateFeaturesRequest = decode_body(head).map_err(invalid)?;
    let timeout_ms = request.timeout_ms;
    let control = ControlRequest::UpdateFeatures { request, version: head.api_version };
    let response = match decide_for_cluster(handlers, context, authorized, timeout_ms, control).await? {
        Ok(ControlResponse::UpdateFeatures(response)) => response,
        other => {
            let code = super::super::refusal(other);
            UpdateFeaturesResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(code.message())))
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// DescribeQuorum (55), as `KafkaRaftClient.handleDescribeQuorumRequest`: the leader alone answers. Offsets are those of the
/// Raft log, whose entries are batches of records. Brokers read the log from any controller, so the leader knows of none,
/// and no observers are told.
pub(super) fn describe_quorum(
    handlers: &Handlers,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: DescribeQuorumRequest = decode_body(head).map_err(invalid)?;
    if let Err(code) = authorized {
        return wrap(head, &DescribeQuorumResponse::default().with_error_code(code.code()));
    }
    let asked: Vec<(TopicName, i32)> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| (topic.topic_name.clone(), partition.partition_index))
        })
        .collect();
    if !matches!(&asked[..], [(topic, partition)] if (topic.as_str(), *partition) == METADATA_LOG) {
        return wrap(head, &unknown(&asked));
    }
    let quorum = handlers.raft.describe().ok_or(ErrorCode::NotController)?;
    let now = time::wall_now();
    let last_index = quorum.members.get(&handlers.quorum.node_id).map_or(0, |own| own.log_end);
    let voters = quorum.members.iter().map(|(id, member)| {
        let heard = member.heard.map_or(-1, |ago| now.saturating_sub(millis(ago)));
        ReplicaState::default()
            .with_replica_id((*id).into())
            .with_log_end_offset(member.log_end)
            .with_last_fetch_timestamp(heard)
            .with_last_caught_up_timestamp(if member.log_end >= last_index { heard } else { -1 })
    });
    let partition = PartitionData::default()
        .with_partition_index(METADATA_LOG.1)
        .with_error_message(None)
        .with_leader_id(handlers.quorum.node_id.into())
        .with_leader_epoch(i32::try_from(quorum.term).unwrap_or(i32::MAX))
        .with_high_watermark(quorum.committed_end)
        .with_current_voters(voters.collect());
    let topic = TopicData::default().with_topic_name(topic_name(METADATA_LOG.0)).with_partitions(vec![partition]);
    let nodes = if head.api_version >= NODES_SINCE { nodes(handlers) } else { Vec::new() };
    let response = DescribeQuorumResponse::default().with_error_message(None).with_topics(vec![topic]);
    wrap(head, &response.with_nodes(nodes))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where the voters are.
fn nodes(handlers: &Handlers) -> Vec<Node> {
    let node = |(id, address): (&protocol::ids::BrokerId, &String)| {
        let (host, port) = address.rsplit_once(':')?;
        let listener = Listener::default()
            .with_name(StrBytes::from_string(handlers.listener.to_string()))
            .with_host(StrBytes::from_string(host.trim_matches(['[', ']']).to_owned()))
            .with_port(port.parse().ok()?);
        Some(Node::default().with_node_id((*id).into()).with_listeners(vec![listener]))
    };
    handlers.quorum.voters.iter().filter_map(node).collect()
}

/// Only the metadata log has a quorum.
fn unknown(asked: &[(TopicName, i32)]) -> DescribeQuorumResponse {
    let code = ErrorCode::UnknownTopicOrPartition;
    let topics = asked.iter().map(|(topic, partition)| {
        let partition = PartitionData::default()
            .with_partition_index(*partition)
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(code.message())));
        TopicData::default().with_topic_name(topic.clone()).with_partitions(vec![partition])
    });
    DescribeQuorumResponse::default().with_error_message(None).with_topics(topics.collect())
}
