//! SyncGroup (14): a member asks for its assignment; the leader brings everybody's.

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{owned, shard_of_named},
};
use bytes::Bytes;
use groups::{
    classic::SyncAnswer,
    ids::{Generation, GroupId},
    shard::{self, SyncRequest},
};
use protocol::{
    error_code::ErrorCode,
    messages::{StrBytes, SyncGroupRequest, SyncGroupResponse},
};
use std::sync::Arc;

/// The first version in which a client says which protocol it expects (KIP-559).
const PROTOCOL_SINCE: i16 = 5;

/// The answer comes once the leader's assignment is committed, whenever that is.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: SyncGroupRequest) -> Outcome {
    if context.api_version >= PROTOCOL_SINCE && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Outcome::Done(answer(context, SyncAnswer::refused(ErrorCode::InconsistentGroupProtocol)));
    }
    let shard = match shard_of_named(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(answer(context, SyncAnswer::refused(sync_error(error)))),
    };
    let (context, commit_within) = (context.clone(), services.settings.offsets_commit_timeout);
    let group = GroupId::from(request.group_id.as_str());
    let assignments = request.assignments.iter();
    let asked = SyncRequest {
        member: request.member_id.as_str().into(),
        instance: owned(request.group_instance_id.as_ref()),
        generation: Generation(request.generation_id),
        protocol_type: owned(request.protocol_type.as_ref()),
        protocol: owned(request.protocol_name.as_ref()),
        assignments: assignments
            .map(|given| (given.member_id.as_str().into(), Bytes::copy_from_slice(&given.assignment)))
            .collect(),
    };
    let topics = shard.topics();
    Outcome::Waiting(Box::pin(async move {
        let synced = shard
            .decide_and_wait(commit_within, |groups, ticket, clock| groups.sync(&group, asked, ticket, &topics, clock));
        let synced = match synced.await {
            Ok(shard::Answer::Sync(synced)) => synced,
            Ok(shard::Answer::Join(_)) => SyncAnswer::refused(ErrorCode::UnknownServerError),
            Err(error) => SyncAnswer::refused(sync_error(error)),
        };
        answer(&context, synced)
    }))
}

/// A coordinator that is still loading knows of no rebalance: the member is to join again (`GroupCoordinatorService.syncGroup`).
fn sync_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::CoordinatorLoadInProgress => ErrorCode::RebalanceInProgress,
        error => error,
    }
}

fn answer(context: &RequestContext, synced: SyncAnswer) -> Answer {
    let response = SyncGroupResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_error_code(synced.error.code())
        .with_protocol_type(synced.protocol_type.map(StrBytes::from_string))
        .with_protocol_name(synced.protocol.map(StrBytes::from_string))
        .with_assignment(synced.assignment);
    context.answer(&response)
}
