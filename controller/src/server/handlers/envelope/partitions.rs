//! What clients ask about partitions: how many there are, who leads them, who keeps them.

use super::{Handlers, decide, invalid, wrap};
use crate::{
    control::{ControlRequest, ControlResponse},
    server::context::RequestContext,
};
use bytes::Bytes;
use protocol::{
    error_code::ErrorCode,
    frame::{RequestHead, decode_body},
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, CreatePartitionsRequest,
        CreatePartitionsResponse, ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
        ListPartitionReassignmentsResponse, StrBytes,
        create_partitions_response::CreatePartitionsTopicResult,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
};
use runtime::rand;

/// As [`decide`], where it is the cluster that is administered: a client that may not is told so.
pub(super) async fn decide_for_cluster(
    handlers: &Handlers,
    context: &RequestContext,
    authorized: Result<(), ErrorCode>,
    timeout_ms: i32,
    request: ControlRequest,
) -> Result<Result<ControlResponse, ErrorCode>, ErrorCode> {
    match authorized {
        Ok(()) => decide(handlers, context, authorized, timeout_ms, request).await,
        Err(code) => Ok(Err(code)),
    }
}

/// CreatePartitions (37).
pub(super) async fn create(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: CreatePartitionsRequest = decode_body(head).map_err(invalid)?;
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let timeout_ms = request.timeout_ms;
    let request = ControlRequest::CreatePartitions { request, placement_seed: rand::next() };
    let response = match decide(handlers, context, authorized, timeout_ms, request).await? {
        Ok(ControlResponse::CreatePartitions(response)) => response,
        other => {
            let code = super::super::refusal(other).code();
            let refused = |name| CreatePartitionsTopicResult::default().with_name(name).with_error_code(code);
            CreatePartitionsResponse::default().with_results(names.into_iter().map(refused).collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// ElectLeaders (43).
pub(super) async fn elect(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: ElectLeadersRequest = decode_body(head).map_err(invalid)?;
    let asked = request.clone();
    let control = ControlRequest::ElectLeaders { request, version: head.api_version };
    let response = match decide_for_cluster(handlers, context, authorized, asked.timeout_ms, control).await? {
        Ok(ControlResponse::ElectLeaders(response)) => response,
        other => {
            let code = super::super::refusal(other).code();
            let refused =
                |partition: i32| PartitionResult::default().with_partition_id(partition).with_error_code(code);
            let results = asked.topic_partitions.into_iter().flatten().map(|topic| {
                let partitions = topic.partitions.into_iter().map(refused).collect();
                ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(partitions)
            });
            // Before version 1 an answer has no error of its own.
            ElectLeadersResponse::default()
                .with_error_code(if head.api_version >= 1 { code } else { 0 })
                .with_replica_election_results(results.collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// AlterPartitionReassignments (45).
pub(super) async fn reassign(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: AlterPartitionReassignmentsRequest = decode_body(head).map_err(invalid)?;
    let timeout_ms = request.timeout_ms;
    let control = ControlRequest::AlterPartitionReassignments(request);
    let response = match decide_for_cluster(handlers, context, authorized, timeout_ms, control).await? {
        Ok(ControlResponse::AlterPartitionReassignments(response)) => response,
        other => {
            let code = super::super::refusal(other);
            AlterPartitionReassignmentsResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(code.message())))
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

/// ListPartitionReassignments (46).
pub(super) async fn list_reassignments(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: ListPartitionReassignmentsRequest = decode_body(head).map_err(invalid)?;
    let timeout_ms = request.timeout_ms;
    let control = ControlRequest::ListPartitionReassignments(request);
    let response = match decide_for_cluster(handlers, context, authorized, timeout_ms, control).await? {
        Ok(ControlResponse::ListPartitionReassignments(response)) => response,
        other => {
            let code = super::super::refusal(other);
            ListPartitionReassignmentsResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(code.message())))
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}
