//! ConsumerGroupDescribe (69): what consumer groups are doing, and who reads what (KIP-848).

use super::{
    Services,
    context::{Outcome, RequestContext},
    coordination::{GROUP_OPERATIONS, committed, shard_of_named},
    view::{OPERATIONS_UNKNOWN, text},
};
use groups::consumer::{Described, DescribedMember, DescribedPartitions};
use protocol::{
    error_code::ErrorCode,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId,
        consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
        topic_name,
    },
};
use std::sync::Arc;

/// Describes each group by itself; one that is not there, or is no consumer group: `GROUP_ID_NOT_FOUND`.
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut groups = Vec::with_capacity(request.group_ids.len());
        for group in request.group_ids {
            let described = describe(&services, &group).await;
            let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_UNKNOWN };
            groups.push(answer(group, described).with_authorized_operations(operations));
        }
        let response = ConsumerGroupDescribeResponse::default().with_throttle_time_ms(context.throttle_time_ms());
        context.answer(&response.with_groups(groups))
    }))
}

async fn describe(services: &Services, group: &GroupId) -> Result<Option<Described>, ErrorCode> {
    let shard = shard_of_named(services, group.as_str())?;
    let topics = shard.topics();
    let decided = shard.decide(|groups, _| (groups.describe_consumer(group.as_str(), &topics), Default::default()));
    committed(services, decided).await
}

fn answer(group: GroupId, described: Result<Option<Described>, ErrorCode>) -> DescribedGroup {
    let answer = DescribedGroup::default().with_group_id(group.clone());
    match described {
        Ok(Some(described)) => answer
            .with_group_state(text(described.state.name()))
            .with_group_epoch(described.group_epoch.0)
            .with_assignment_epoch(described.target_epoch.0)
            .with_assignor_name(text(described.assignor.name()))
            .with_members(described.members.iter().map(member).collect()),
        Ok(None) => {
            let message = format!("Group {} is not a consumer group.", group.as_str());
            answer.with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(text(&message)))
        }
        Err(error) => answer.with_error_code(error.code()).with_error_message(Some(text(error.message()))),
    }
}

fn member(member: &DescribedMember) -> Member {
    let value = &member.value;
    Member::default()
        .with_member_id(text(&member.member))
        .with_instance_id(value.instance.as_deref().map(text))
        .with_rack_id(value.rack.as_deref().map(text))
        .with_member_epoch(member.member_epoch.0)
        .with_client_id(text(&value.client_id))
        .with_client_host(text(&value.client_host))
        .with_subscribed_topic_names(value.topics.iter().map(|topic| topic_name(topic)).collect())
        .with_subscribed_topic_regex(value.regex.as_deref().map(text))
        .with_assignment(assignment(&member.assignment))
        .with_target_assignment(assignment(&member.target))
        .with_member_type(member.member_type as i8)
}

fn assignment(topics: &[DescribedPartitions]) -> Assignment {
    let topic = |topic: &DescribedPartitions| {
        TopicPartitions::default()
            .with_topic_id(topic.topic_id.0)
            .with_topic_name(topic_name(&topic.topic))
            .with_partitions(topic.partitions.iter().map(|partition| partition.0).collect())
    };
    Assignment::default().with_topic_partitions(topics.iter().map(topic).collect())
}
