//! What an administrator asks of the one group of a test's cluster. The group is there once somebody is in it, or has committed.

use super::{FakeCluster, Fault};
use bytes::BytesMut;
use protocol::api;
use protocol::error_code::ErrorCode;
use protocol::frame::RequestHead;
use protocol::ids::BrokerId;
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, StrBytes, consumer_group_describe_response,
};

/// The name that the group is listed by.
pub(crate) const GROUP: &str = "billing";

/// The answer to an administrator's request about groups; nothing for any other.
pub(super) fn answer(
    cluster: &FakeCluster,
    broker: BrokerId,
    head: &RequestHead,
    fault: Option<Fault>,
) -> Option<BytesMut> {
    let refusal = match fault {
        Some(Fault::Refuse(code) | Fault::DoAndRefuse(code)) => Some(code),
        _ => None,
    };
    let is_here = cluster.group(|group| group.coordinator) == broker;
    let elsewhere = refusal.or((!is_here).then_some(ErrorCode::NotCoordinator));
    use super::answers::{body, encode};
    Some(match head.api_key {
        api::LIST_GROUPS => {
            let request: ListGroupsRequest = body(head);
            let listed = is_here.then(|| list(cluster, &request)).flatten();
            let response = ListGroupsResponse::default().with_groups(listed.into_iter().collect());
            encode(head, &response.with_error_code(refusal.map_or(0, ErrorCode::code)))
        }
        api::DESCRIBE_GROUPS => encode(head, &describe(cluster, body(head), elsewhere)),
        api::CONSUMER_GROUP_DESCRIBE => encode(head, &describe_consumer(body(head), elsewhere)),
        api::DELETE_GROUPS => encode(head, &delete(cluster, body(head), elsewhere)),
        api::OFFSET_DELETE => encode(head, &forget(cluster, body(head), elsewhere)),
        _ => return None,
    })
}

/// What the group is doing; nothing where it is not there.
fn state(cluster: &FakeCluster) -> Option<&'static str> {
    cluster.group(|group| match (group.members().is_empty(), group.committed.is_empty()) {
        (true, true) => None,
        (true, false) => Some("Empty"),
        (false, _) if group.settled().is_some() => Some("Stable"),
        (false, _) => Some("PreparingRebalance"),
    })
}

fn list(cluster: &FakeCluster, request: &ListGroupsRequest) -> Option<ListedGroup> {
    let state = state(cluster)?;
    let lets_through = |filter: &[StrBytes], name: &str| filter.is_empty() || filter.iter().any(|one| **one == *name);
    let is_wanted = lets_through(&request.states_filter, state) && lets_through(&request.types_filter, "Classic");
    is_wanted.then(|| {
        ListedGroup::default()
            .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_group_state(StrBytes::from_static_str(state))
            .with_group_type(StrBytes::from_static_str("Classic"))
    })
}

fn describe(
    cluster: &FakeCluster,
    request: DescribeGroupsRequest,
    refusal: Option<ErrorCode>,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|group| {
        let described = DescribedGroup::default().with_group_id(group);
        match (refusal, state(cluster)) {
            (Some(code), _) => described.with_error_code(code.code()),
            (None, None) => described.with_error_code(ErrorCode::GroupIdNotFound.code()),
            (None, Some(state)) => {
                let members = cluster.group(|group| group.assignments());
                let members = members.into_iter().map(|(member, assignment)| {
                    DescribedGroupMember::default()
                        .with_member_id(StrBytes::from_string(member))
                        .with_client_host(StrBytes::from_static_str("/127.0.0.1"))
                        .with_member_assignment(assignment)
                });
                described
                    .with_group_state(StrBytes::from_static_str(state))
                    .with_protocol_type(StrBytes::from_static_str("consumer"))
                    .with_protocol_data(StrBytes::from_static_str("range"))
                    .with_members(members.collect())
            }
        }
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// The group is a classic one.
fn describe_consumer(
    request: ConsumerGroupDescribeRequest,
    refusal: Option<ErrorCode>,
) -> ConsumerGroupDescribeResponse {
    let code = refusal.unwrap_or(ErrorCode::GroupIdNotFound).code();
    let described =
        |group| consumer_group_describe_response::DescribedGroup::default().with_group_id(group).with_error_code(code);
    ConsumerGroupDescribeResponse::default().with_groups(request.group_ids.into_iter().map(described).collect())
}

fn delete(cluster: &FakeCluster, request: DeleteGroupsRequest, refusal: Option<ErrorCode>) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|group| {
        let code = refusal.unwrap_or_else(|| match state(cluster) {
            None => ErrorCode::GroupIdNotFound,
            Some("Empty") => {
                cluster.group(|group| group.committed.clear());
                ErrorCode::None
            }
            Some(_) => ErrorCode::NonEmptyGroup,
        });
        DeletableGroupResult::default().with_group_id(group).with_error_code(code.code())
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

fn forget(cluster: &FakeCluster, request: OffsetDeleteRequest, refusal: Option<ErrorCode>) -> OffsetDeleteResponse {
    if let Some(code) = refusal.or_else(|| state(cluster).is_none().then_some(ErrorCode::GroupIdNotFound)) {
        return OffsetDeleteResponse::default().with_error_code(code.code());
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let place = (topic.name.to_string(), one.partition_index);
            let code = match cluster.group(|group| group.committed.remove(&place)) {
                Some(_) => ErrorCode::None,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
