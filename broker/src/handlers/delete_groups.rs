//! DeleteGroups (42): groups without members are forgotten, with all that they have committed (KIP-229).

use super::{
    Services,
    context::{Outcome, RequestContext},
    coordination::{committed, shard_of_named},
};
use protocol::{
    error_code::ErrorCode,
    messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId, delete_groups_response::DeletableGroupResult},
};
use std::sync::Arc;

/// Deletes each by itself: `NON_EMPTY_GROUP` where there are members, `GROUP_ID_NOT_FOUND` where there is no such group.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DeleteGroupsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for group in request.groups_names {
            let code = delete(&services, &group).await.err().unwrap_or(ErrorCode::None);
            results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(code.code()));
        }
        let response = DeleteGroupsResponse::default().with_throttle_time_ms(context.throttle_time_ms());
        context.answer(&response.with_results(results))
    }))
}

async fn delete(services: &Services, group: &GroupId) -> Result<(), ErrorCode> {
    let shard = shard_of_named(services, group.as_str())?;
    committed(services, shard.decide_to_write(|groups, clock| groups.delete(group.as_str(), clock))).await?
}
