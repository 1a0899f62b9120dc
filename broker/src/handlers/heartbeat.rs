//! Heartbeat (12): a member lives, and is told whether its group is rebalancing.

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{committed, owned, shard_of_named},
};
use groups::ids::{Generation, GroupId, InstanceId, MemberId};
use protocol::{
    error_code::ErrorCode,
    messages::{HeartbeatRequest, HeartbeatResponse},
};
use std::sync::Arc;

/// Answers at once, unless what the member would be told is not committed yet. While the coordinator loads nobody is missed,
/// and so the member is told that all is well (`GroupCoordinatorService.heartbeat`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: HeartbeatRequest) -> Outcome {
    let shard = match shard_of_named(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(answer(context, error)),
    };
    let (group, member) = (GroupId::from(request.group_id.as_str()), MemberId::from(request.member_id.as_str()));
    let instance: Option<InstanceId> = owned(request.group_instance_id.as_ref());
    let generation = Generation(request.generation_id);
    let decided = shard.decide(|groups, clock| {
        let told = groups.heartbeat(&group, &member, instance.as_ref(), generation, clock);
        (told, Default::default())
    });
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let error = match committed(&services, decided).await {
            Ok(Ok(())) | Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Ok(Err(error)) | Err(error) => error,
        };
        answer(&context, error)
    }))
}

fn answer(context: &RequestContext, error: ErrorCode) -> Answer {
    let response = HeartbeatResponse::default();
    context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()).with_error_code(error.code()))
}
