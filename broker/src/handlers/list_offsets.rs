//! ListOffsets (2): the first offset, the last, the one with the largest timestamp, or the first from a timestamp on.

use super::{
    Services,
    context::{Outcome, RequestContext},
    locate::{self, Named},
};
use crate::partition::{
    fetching::{Asker, ListedOffset, OffsetSpec},
    state::Isolation,
};
use metadata::image::Image;
use protocol::{
    api::Plane,
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, PartitionIndex, WallMillis},
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// The first version that says which leader epoch an offset belongs to.
const LEADER_EPOCH_SINCE: i16 = 4;
/// "No timestamp" on the wire.
const NO_TIMESTAMP: i64 = -1;

/// What is wanted, from the timestamp of the request (`ListOffsetsRequest.java`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Look(OffsetSpec),
    /// The last offset in tiered storage, of which there is none.
    Tiered,
    /// A special timestamp that this version does not know.
    Unsupported,
}

/// Answers at once. A partition that is named twice gets `INVALID_REQUEST`. Only a follower, on the brokers' listener, sees
/// past the high watermark.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: ListOffsetsRequest) -> Outcome {
    let image = services.metadata.image();
    let follower = context.connection.plane == Plane::InterBroker && request.replica_id.0 >= 0;
    let asker = match request.isolation_level {
        _ if follower => Asker::Replica,
        1 => Asker::Client(Isolation::ReadCommitted),
        _ => Asker::Client(Isolation::ReadUncommitted),
    };
    let named = how_often(&request);
    let topic = |topic: &ListOffsetsTopic| {
        let partition = |partition: &ListOffsetsPartition| {
            let twice = named[&(topic.name.as_str(), partition.partition_index)] > 1;
            let found = if twice {
                Err(ErrorCode::InvalidRequest)
            } else {
                look(services, &image, topic.name.as_str(), partition, asker, context.api_version)
            };
            answer(partition, found, context.api_version)
        };
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    let response = ListOffsetsResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_topics(request.topics.iter().map(topic).collect());
    context.done(&response)
}

fn how_often(request: &ListOffsetsRequest) -> BTreeMap<(&str, i32), usize> {
    let mut named = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *named.entry((topic.name.as_str(), partition.partition_index)).or_default() += 1;
        }
    }
    named
}

fn wanted(timestamp: i64, version: i16) -> Wanted {
    match timestamp {
        0.. => Wanted::Look(OffsetSpec::AtTimestamp(WallMillis(timestamp))),
        -1 => Wanted::Look(OffsetSpec::Latest),
        -2 => Wanted::Look(OffsetSpec::Earliest),
        -3 if version >= 7 => Wanted::Look(OffsetSpec::MaxTimestamp),
        // The first offset on this broker's own disk: nothing is tiered, so the first of all (KIP-405).
        -4 if version >= 8 => Wanted::Look(OffsetSpec::Earliest),
        -5 if version >= 9 => Wanted::Tiered,
        _ => Wanted::Unsupported,
    }
}

fn look(
    services: &Services,
    image: &Image,
    topic: &str,
    asked: &ListOffsetsPartition,
    asker: Asker,
    version: i16,
) -> Result<Option<ListedOffset>, ErrorCode> {
    let topic = Named::Name(topic).find(image)?;
    let replica = locate::replica(services, topic, PartitionIndex(asked.partition_index))?;
    let current_leader_epoch = (asked.current_leader_epoch >= 0).then_some(LeaderEpoch(asked.current_leader_epoch));
    match wanted(asked.timestamp, version) {
        Wanted::Look(spec) => {
            replica.list_offset(current_leader_epoch, spec, asker).map_err(|error| error.error_code())
        }
        Wanted::Tiered => Ok(None),
        Wanted::Unsupported => Err(ErrorCode::UnsupportedVersion),
    }
}

fn answer(
    asked: &ListOffsetsPartition,
    found: Result<Option<ListedOffset>, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_offset(Offset::UNKNOWN.0)
        .with_timestamp(NO_TIMESTAMP)
        .with_leader_epoch(LeaderEpoch::UNKNOWN.0);
    match found {
        Ok(Some(found)) => {
            let leader_epoch = found.leader_epoch.filter(|_| version >= LEADER_EPOCH_SINCE);
            response
                .with_offset(found.offset.0)
                .with_timestamp(found.timestamp.map_or(NO_TIMESTAMP, |timestamp| timestamp.0))
                .with_leader_epoch(leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0)
        }
        Ok(None) => response,
        // Clients of before version 5 do not know OFFSET_NOT_AVAILABLE (KIP-207).
        Err(ErrorCode::OffsetNotAvailable) if version < 5 => {
            response.with_error_code(ErrorCode::LeaderNotAvailable.code())
        }
        Err(error) => response.with_error_code(error.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_are_known_from_the_version_that_brought_them() {
        assert_eq!(wanted(-1, 1), Wanted::Look(OffsetSpec::Latest));
        assert_eq!(wanted(-2, 1), Wanted::Look(OffsetSpec::Earliest));
        assert_eq!((wanted(-3, 6), wanted(-3, 7)), (Wanted::Unsupported, Wanted::Look(OffsetSpec::MaxTimestamp)));
        assert_eq!((wanted(-4, 7), wanted(-4, 8)), (Wanted::Unsupported, Wanted::Look(OffsetSpec::Earliest)));
        assert_eq!((wanted(-5, 8), wanted(-5, 9)), (Wanted::Unsupported, Wanted::Tiered));
        assert_eq!(wanted(-6, 10), Wanted::Unsupported);
        assert_eq!(wanted(0, 1), Wanted::Look(OffsetSpec::AtTimestamp(WallMillis(0))));
    }

    #[test]
    fn old_versions_are_told_what_they_can_read() {
        let asked = ListOffsetsPartition::default();
        let found = ListedOffset { offset: Offset(7), timestamp: None, leader_epoch: Some(LeaderEpoch(3)) };
        assert_eq!(answer(&asked, Ok(Some(found)), 3).leader_epoch, -1);
        assert_eq!(answer(&asked, Ok(Some(found)), 4).leader_epoch, 3);
        let not_available = |version| answer(&asked, Err(ErrorCode::OffsetNotAvailable), version).error_code;
        assert_eq!(not_available(4), ErrorCode::LeaderNotAvailable.code());
        assert_eq!(not_available(5), ErrorCode::OffsetNotAvailable.code());
    }
}
