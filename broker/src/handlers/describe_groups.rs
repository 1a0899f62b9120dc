//! DescribeGroups (15): what classic groups are doing, and who is in them.

use super::{
    Services,
    context::{Outcome, RequestContext},
    coordination::{GROUP_OPERATIONS, committed, shard_of_named},
    view::{OPERATIONS_UNKNOWN, text},
};
use groups::shard::Description;
use protocol::{
    error_code::ErrorCode,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
};
use std::sync::Arc;

/// The first version in which a group that is not there is an error (KIP-1043); before, it is dead.
const NOT_FOUND_SINCE: i16 = 6;
/// What a group is that is not there.
const DEAD: &str = "Dead";
/// Describes each group by itself.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeGroupsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let described = describe(&services, &group).await;
            let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_UNKNOWN };
            groups.push(answer(group, described, context.api_version).with_authorized_operations(operations));
        }
        let response = DescribeGroupsResponse::default().with_throttle_time_ms(context.throttle_time_ms());
        context.answer(&response.with_groups(groups))
    }))
}

async fn describe(services: &Services, group: &GroupId) -> Result<Option<Description>, ErrorCode> {
    let shard = shard_of_named(services, group.as_str())?;
    committed(services, shard.decide(|groups, _| (groups.describe(group.as_str()), Default::default()))).await
}

fn answer(group: GroupId, described: Result<Option<Description>, ErrorCode>, version: i16) -> DescribedGroup {
    let answer = DescribedGroup::default().with_group_id(group.clone());
    match described {
        Ok(Some(described)) => answer
            .with_group_state(text(described.state.name()))
            .with_protocol_type(text(&described.protocol_type))
            .with_protocol_data(text(&described.protocol))
            .with_members(
                described
                    .members
                    .into_iter()
                    .map(|member| {
                        DescribedGroupMember::default()
                            .with_member_id(text(&member.member))
                            .with_group_instance_id(member.instance.as_deref().map(text))
                            .with_client_id(text(&member.client_id))
                            .with_client_host(text(&member.client_host))
                            .with_member_metadata(member.metadata)
                            .with_member_assignment(member.assignment)
                    })
                    .collect(),
            ),
        Ok(None) if version >= NOT_FOUND_SINCE => answer
            .with_group_state(text(DEAD))
            .with_error_code(ErrorCode::GroupIdNotFound.code())
            .with_error_message(Some(text(&format!("Group {} not found.", group.as_str())))),
        Ok(None) => answer.with_group_state(text(DEAD)),
        Err(error) => answer.with_error_code(error.code()),
    }
}
