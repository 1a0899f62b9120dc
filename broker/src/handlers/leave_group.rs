//! LeaveGroup (13): members go, by their ids or by their names over restarts (KIP-345).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{committed, owned, shard_of_named},
    view::text,
};
use groups::{
    ids::GroupId,
    shard::{Left, MemberIdentity},
};
use protocol::{
    error_code::ErrorCode,
    messages::{LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse},
};
use std::sync::Arc;

/// The first version that names many members.
const MANY_SINCE: i16 = 3;

/// Says of each member whether it is gone.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: LeaveGroupRequest) -> Outcome {
    let shard = match shard_of_named(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(answer(context, Err(error))),
    };
    let group = GroupId::from(request.group_id.as_str());
    let leaving = if context.api_version >= MANY_SINCE {
        let identity = |member: &protocol::messages::leave_group_request::MemberIdentity| MemberIdentity {
            member: member.member_id.as_str().into(),
            instance: owned(member.group_instance_id.as_ref()),
        };
        request.members.iter().map(identity).collect()
    } else {
        vec![MemberIdentity { member: request.member_id.as_str().into(), instance: None }]
    };
    let topics = shard.topics();
    let decided = shard.decide(|groups, clock| groups.leave(&group, leaving, &topics, clock));
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let left = committed(&services, decided).await;
        answer(&context, left.and_then(|left| left))
    }))
}

fn answer(context: &RequestContext, left: Result<Vec<Left>, ErrorCode>) -> Answer {
    let response = LeaveGroupResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    let response = match left {
        Err(error) => response.with_error_code(error.code()),
        // Before there could be many, the one member's error is the request's.
        Ok(left) if context.api_version < MANY_SINCE => {
            response.with_error_code(left.first().map_or(ErrorCode::None, |left| left.error).code())
        }
        Ok(left) => response.with_members(left.iter().map(describe).collect()),
    };
    context.answer(&response)
}

fn describe(left: &Left) -> MemberResponse {
    MemberResponse::default()
        .with_member_id(text(&left.identity.member))
        .with_group_instance_id(left.identity.instance.as_deref().map(text))
        .with_error_code(left.error.code())
}
