//! ListGroups (16): the groups that this broker coordinates (KIP-518 and KIP-848 for the filters).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::committed,
    view::text,
};
use groups::shard::Listed;
use protocol::{
    error_code::ErrorCode,
    messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
};
use std::sync::Arc;

/// Lists the groups of every partition that is loaded. While one is loading, the whole is `COORDINATOR_LOAD_IN_PROGRESS`; one
/// that has gone to another broker meanwhile is left out (`GroupCoordinatorService.listGroups`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: ListGroupsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut listed = Vec::new();
        for shard in services.coordinator.all() {
            let decided = shard.decide(|groups, _| (groups.list(), Default::default()));
            match committed(&services, decided).await {
                Ok(groups) => listed.extend(groups.into_iter().filter(|group| is_wanted(&request, group))),
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return answer(&context, error, Vec::new()),
            }
        }
        answer(&context, ErrorCode::None, listed)
    }))
}

/// Whether a filter lets it through; names are compared without their case, and one that is unknown lets nothing through.
fn is_wanted(request: &ListGroupsRequest, group: &Listed) -> bool {
    let matches = |filter: &[protocol::messages::StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.as_str().eq_ignore_ascii_case(name))
    };
    matches(&request.states_filter, group.state) && matches(&request.types_filter, group.group_type.name())
}

fn answer(context: &RequestContext, error: ErrorCode, groups: Vec<Listed>) -> Answer {
    let listed = groups.into_iter().map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(text(&group.group)))
            .with_protocol_type(text(&group.protocol_type))
            .with_group_state(text(group.state))
            .with_group_type(text(group.group_type.name()))
    });
    let response = ListGroupsResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_error_code(error.code())
        .with_groups(listed.collect());
    context.answer(&response)
}
