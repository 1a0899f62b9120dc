//! OffsetFetch (9): how far groups have come (KIP-709 for many groups at once).

use super::{
    Services,
    context::{Outcome, RequestContext},
    coordination::{committed, shard_of},
    view::text,
};
use groups::{
    ids::{MemberEpoch, MemberId},
    offsets::GroupOffsets,
    record::CommittedOffset,
};
use protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, PartitionIndex},
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse, StrBytes, TopicName,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        topic_name,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// The first version that asks for many groups.
const GROUPS_SINCE: i16 = 8;
/// The first version in which a group as a whole can have an error.
const GROUP_ERROR_SINCE: i16 = 2;

/// The partitions that are asked about, by topic; all that there are, if none are named.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;

/// What a group has committed, as it is told: by topic and partition.
type Told = Vec<(TopicName, Vec<(i32, Result<Option<CommittedOffset>, ErrorCode>)>)>;

/// Answers once everything that it says is committed. What a group has not committed has offset -1 and no error. Without
/// transactions no offset is undecided, and `require_stable` asks for nothing more.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: OffsetFetchRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let response = OffsetFetchResponse::default().with_throttle_time_ms(context.throttle_time_ms());
        if context.api_version >= GROUPS_SINCE {
            let mut groups = Vec::with_capacity(request.groups.len());
            for group in request.groups {
                let topics = group.topics.map(|topics| {
                    topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
                });
                let member = group.member_id.as_ref().map(|member| MemberId::from(member.as_str()));
                let who = (member, MemberEpoch(group.member_epoch));
                let told = fetch(&services, &group.group_id, &topics, who).await;
                groups.push(group_answer(group.group_id, told));
            }
            return context.answer(&response.with_groups(groups));
        }
        let topics = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>());
        let (told, error) = match fetch(&services, &request.group_id, &topics, (None, MemberEpoch(-1))).await {
            Ok(told) => (told, ErrorCode::None),
            // Before a group could have an error, each of its partitions has it.
            Err(error) if context.api_version < GROUP_ERROR_SINCE => (refused(&topics, error), ErrorCode::None),
            Err(error) => (refused(&topics, error), error),
        };
        let topics = told.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, told)| single(index, told)).collect();
            OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
        });
        context.answer(&response.with_error_code(error.code()).with_topics(topics.collect()))
    }))
}

async fn fetch(
    services: &Services,
    group: &GroupId,
    wanted: &Wanted,
    (member, epoch): (Option<MemberId>, MemberEpoch),
) -> Result<Told, ErrorCode> {
    let shard = shard_of(services, group.as_str())?;
    let decided = shard.decide(|groups, _| {
        let checked = groups.check_fetch(group.as_str(), member.as_ref(), epoch);
        (checked.map(|()| tell(groups.offsets_of(group.as_str()), wanted)), Default::default())
    });
    committed(services, decided).await?
}

fn tell(offsets: Option<&GroupOffsets>, wanted: &Wanted) -> Told {
    let nothing = BTreeMap::new();
    let of_topic = |name: &str| offsets.and_then(|topics| topics.get(name)).unwrap_or(&nothing);
    match wanted {
        Some(topics) => {
            let topic = |(name, partitions): &(TopicName, Vec<i32>)| {
                let committed = of_topic(name.as_str());
                let told = |index: &i32| (*index, Ok(committed.get(&PartitionIndex(*index)).cloned()));
                (name.clone(), partitions.iter().map(told).collect())
            };
            topics.iter().map(topic).collect()
        }
        None => {
            let topics = offsets.into_iter().flatten();
            topics
                .map(|(name, committed)| {
                    let told = committed.iter().map(|(index, value)| (index.0, Ok(Some(value.clone()))));
                    (topic_name(name), told.collect())
                })
                .collect()
        }
    }
}

fn refused(wanted: &Wanted, error: ErrorCode) -> Told {
    let topic = |(name, partitions): &(TopicName, Vec<i32>)| {
        (name.clone(), partitions.iter().map(|index| (*index, Err(error))).collect())
    };
    wanted.iter().flatten().map(topic).collect()
}

/// Offset, leader epoch, text and error, as the wire has them.
fn shown(told: Result<Option<CommittedOffset>, ErrorCode>) -> (i64, i32, StrBytes, i16) {
    let error = told.as_ref().err().map_or(ErrorCode::None, |error| *error);
    match told.ok().flatten() {
        Some(committed) => (
            committed.offset.0,
            committed.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0,
            text(&committed.metadata),
            error.code(),
        ),
        None => (Offset::UNKNOWN.0, LeaderEpoch::UNKNOWN.0, StrBytes::default(), error.code()),
    }
}

fn single(index: i32, told: Result<Option<CommittedOffset>, ErrorCode>) -> OffsetFetchResponsePartition {
    let (offset, leader_epoch, metadata, error) = shown(told);
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch)
        .with_metadata(Some(metadata))
        .with_error_code(error)
}

fn group_answer(group: GroupId, told: Result<Told, ErrorCode>) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(group);
    let told = match told {
        Ok(told) => told,
        Err(error) => return answer.with_error_code(error.code()),
    };
    let topics = told.into_iter().map(|(name, partitions)| {
        let partition = |(index, told)| {
            let (offset, leader_epoch, metadata, error) = shown(told);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(leader_epoch)
                .with_metadata(Some(metadata))
                .with_error_code(error)
        };
        let partitions = partitions.into_iter().map(partition).collect();
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions)
    });
    answer.with_topics(topics.collect())
}
