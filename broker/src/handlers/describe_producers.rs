//! DescribeProducers (61): the producers that a partition's log remembers (KIP-664).

use super::{
    Services,
    context::{Outcome, RequestContext},
    locate::{self, Named},
    view::text,
};
use metadata::image::Image;
use protocol::{
    error_code::ErrorCode,
    ids::{Offset, PartitionIndex, ProducerId, Sequence},
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers_request::TopicRequest,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};
use std::sync::Arc;
use storage::producer_state::ProducerEntry;

/// Answers at once, from the replica that is here, whether or not it leads (`Partition.activeProducerState`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeProducersRequest) -> Outcome {
    let image = services.metadata.image();
    let topic = |topic: &TopicRequest| {
        let partition = |partition: &i32| answer(*partition, find(services, &image, topic.name.as_str(), *partition));
        TopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partition_indexes.iter().map(partition).collect())
    };
    let response = DescribeProducersResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_topics(request.topics.iter().map(topic).collect());
    context.done(&response)
}

fn find(
    services: &Services,
    image: &Image,
    topic: &str,
    partition: i32,
) -> Result<Vec<(ProducerId, ProducerEntry)>, ErrorCode> {
    let topic = Named::Name(topic).find(image)?;
    let replica = locate::replica(services, topic, PartitionIndex(partition))?;
    replica.producers().map_err(|refusal| refusal.error_code())
}

fn answer(partition: i32, found: Result<Vec<(ProducerId, ProducerEntry)>, ErrorCode>) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(partition);
    match found {
        Ok(producers) => response.with_active_producers(producers.iter().map(describe).collect()),
        Err(error) => response.with_error_code(error.code()).with_error_message(Some(text(error.message()))),
    }
}

fn describe((producer_id, entry): &(ProducerId, ProducerEntry)) -> ProducerState {
    ProducerState::default()
        .with_producer_id((*producer_id).into())
        .with_producer_epoch(i32::from(entry.producer_epoch.0))
        .with_last_sequence(entry.last_batch().map_or(Sequence::NONE, |batch| batch.last_sequence).0)
        .with_last_timestamp(entry.last_timestamp.0)
        .with_coordinator_epoch(entry.coordinator_epoch.0)
        .with_current_txn_start_offset(entry.transaction_first_offset.unwrap_or(Offset::UNKNOWN).0)
}
