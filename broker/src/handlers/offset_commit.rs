//! OffsetCommit (8): how far a group has come.

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{committed, owned, shard_of},
};
use groups::{
    ids::GroupId,
    shard::{Commit, Committer},
};
use metadata::image::Image;
use protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, PartitionIndex},
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestTopic,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use std::sync::Arc;

/// The versions in which a client may say for how long its offsets are kept.
const RETENTION: std::ops::RangeInclusive<i16> = 2..=4;
/// "As the broker says" on the wire.
const RETENTION_DEFAULT: i64 = -1;

/// Commits what may be committed, all in one batch, and says so for each partition once it is on all replicas in sync. A
/// partition that is not there gets `UNKNOWN_TOPIC_OR_PARTITION` by itself; whoever may not commit gets one error for all.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: OffsetCommitRequest) -> Outcome {
    let image = services.metadata.image();
    let shard = match shard_of(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(answer(context, &request, &image, &mut std::iter::repeat(error))),
    };
    let group = GroupId::from(request.group_id.as_str());
    let who = Committer {
        member: request.member_id.as_str().into(),
        instance: owned(request.group_instance_id.as_ref()),
        generation_or_member_epoch: request.generation_id_or_member_epoch,
        api_version: context.api_version,
    };
    let asks = RETENTION.contains(&context.api_version) && request.retention_time_ms != RETENTION_DEFAULT;
    let retention_ms = asks.then_some(request.retention_time_ms);
    let commits = request.topics.iter().flat_map(|topic| commits(&image, topic)).collect();
    let decided = shard.decide_to_write(|groups, clock| groups.commit(&group, &who, commits, retention_ms, clock));
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        match committed(&services, decided).await {
            Ok(Ok(codes)) => answer(&context, &request, &image, &mut codes.into_iter()),
            Ok(Err(refusal)) => answer(&context, &request, &image, &mut std::iter::repeat(refusal)),
            Err(error) => answer(&context, &request, &image, &mut std::iter::repeat(commit_error(error))),
        }
    }))
}

/// What of a topic can be committed: its partitions that are there.
fn commits(image: &Image, topic: &OffsetCommitRequestTopic) -> Vec<Commit> {
    let there = topic.partitions.iter().filter(|partition| is_there(image, topic, partition.partition_index));
    let commit = |partition: &protocol::messages::offset_commit_request::OffsetCommitRequestPartition| Commit {
        topic: topic.name.as_str().into(),
        partition: PartitionIndex(partition.partition_index),
        offset: Offset(partition.committed_offset),
        leader_epoch: (partition.committed_leader_epoch >= 0).then_some(LeaderEpoch(partition.committed_leader_epoch)),
        metadata: owned(partition.committed_metadata.as_ref()).unwrap_or_default(),
    };
    there.map(commit).collect()
}

fn is_there(image: &Image, topic: &OffsetCommitRequestTopic, partition: i32) -> bool {
    let found = image.topic_by_name(topic.name.as_str());
    found.is_some_and(|found| found.partition(PartitionIndex(partition)).is_some())
}

/// A commit is tried again by its client only after errors that the client knows; old ones know this one.
fn commit_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        error => error,
    }
}

/// The answer: `codes` are those of the partitions that are there, in order.
fn answer(
    context: &RequestContext,
    request: &OffsetCommitRequest,
    image: &Image,
    codes: &mut dyn Iterator<Item = ErrorCode>,
) -> Answer {
    let mut response = OffsetCommitResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let code = match is_there(image, topic, partition.partition_index) {
                true => codes.next().expect("one for each partition that is there"),
                false => ErrorCode::UnknownTopicOrPartition,
            };
            let partition = partition.partition_index;
            partitions.push(
                OffsetCommitResponsePartition::default().with_partition_index(partition).with_error_code(code.code()),
            );
        }
        let topic = OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions);
        response.topics.push(topic);
    }
    context.answer(&response)
}
