//! OffsetForLeaderEpoch (23): where a leader epoch ends in the leader's log (KIP-101, KIP-320).

use super::{
    Services,
    context::{Outcome, RequestContext},
    locate::{self, Named},
};
use crate::partition::state::EpochEnd;
use metadata::image::Image;
use protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, PartitionIndex},
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};
use std::sync::Arc;

/// Answers at once. An epoch of which the log knows nothing has end offset -1 and no error.
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Outcome {
    let image = services.metadata.image();
    let topic = |topic: &OffsetForLeaderTopic| {
        let partition =
            |asked: &OffsetForLeaderPartition| answer(asked, look(services, &image, topic.topic.as_str(), asked));
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    let response = OffsetForLeaderEpochResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_topics(request.topics.iter().map(topic).collect());
    context.done(&response)
}

fn look(
    services: &Services,
    image: &Image,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, ErrorCode> {
    let topic = Named::Name(topic).find(image)?;
    let replica = locate::replica(services, topic, PartitionIndex(asked.partition))?;
    let current_leader_epoch = (asked.current_leader_epoch >= 0).then_some(LeaderEpoch(asked.current_leader_epoch));
    let end = replica.end_offset_for_epoch(current_leader_epoch, LeaderEpoch(asked.leader_epoch));
    end.map_err(|refusal| refusal.error_code())
}

fn answer(asked: &OffsetForLeaderPartition, end: Result<Option<EpochEnd>, ErrorCode>) -> EpochEndOffset {
    let unknown = EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(LeaderEpoch::UNKNOWN.0)
        .with_end_offset(Offset::UNKNOWN.0);
    match end {
        Ok(Some(end)) => unknown.with_leader_epoch(end.leader_epoch.0).with_end_offset(end.end_offset.0),
        Ok(None) => unknown,
        Err(error) => unknown.with_error_code(error.code()),
    }
}
