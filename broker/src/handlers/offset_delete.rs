//! OffsetDelete (47): what a group has committed of topics that it does not read is forgotten (KIP-496).

use super::{
    Services,
    context::{Outcome, RequestContext},
    coordination::{committed, shard_of_named},
};
use groups::ids::{GroupId, TopicName};
use protocol::{
    error_code::ErrorCode,
    ids::PartitionIndex,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};
use std::sync::Arc;

/// Says for each partition whether it is forgotten: `GROUP_SUBSCRIBED_TO_TOPIC` where a member reads its topic,
/// `UNKNOWN_TOPIC_OR_PARTITION` where it is not there.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: OffsetDeleteRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut response = OffsetDeleteResponse::default().with_throttle_time_ms(context.throttle_time_ms());
        match delete(&services, &request).await {
            Ok(topics) => response.topics = topics,
            Err(error) => response.error_code = error.code(),
        }
        context.answer(&response)
    }))
}

async fn delete(
    services: &Services,
    request: &OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
    let shard = shard_of_named(services, request.group_id.as_str())?;
    let image = services.metadata.image();
    let is_there = |topic: &str, partition: i32| {
        image.topic_by_name(topic).is_some_and(|topic| topic.partition(PartitionIndex(partition)).is_some())
    };
    let group = GroupId::from(request.group_id.as_str());
    let mut places: Vec<(TopicName, PartitionIndex)> = Vec::new();
    for topic in &request.topics {
        let there = topic.partitions.iter().filter(|one| is_there(topic.name.as_str(), one.partition_index));
        places.extend(there.map(|one| (topic.name.as_str().into(), PartitionIndex(one.partition_index))));
    }
    let decided = shard.decide_to_write(|groups, _| groups.forget(&group, &places));
    let mut codes = committed(services, decided).await??.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let code = match is_there(topic.name.as_str(), one.partition_index) {
                true => codes.next().expect("one for each partition that is there"),
                false => ErrorCode::UnknownTopicOrPartition,
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(code.code())
        });
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    Ok(topics.collect())
}
