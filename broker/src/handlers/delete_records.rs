//! DeleteRecords (21): records before an offset go, on every live replica (KIP-107).

use super::{
    Services,
    context::{Outcome, RequestContext},
    locate::{self, Named},
    view::is_internal,
};
use crate::partition::deletion::Deletion;
use futures_util::future::join_all;
use metadata::image::Image;
use protocol::{
    error_code::ErrorCode,
    ids::{Offset, PartitionIndex},
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::DeleteRecordsPartition,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};
use runtime::time::Instant;
use std::{collections::BTreeSet, sync::Arc};

/// "Before the high watermark" on the wire (`DeleteRecordsRequest.HIGH_WATERMARK`).
const HIGH_WATERMARK: i64 = -1;

/// One partition of a request: what was begun, or why not.
struct Begun {
    /// Its place in the response: topic, partition.
    at: (usize, usize),
    deletion: Deletion,
}

/// Deletes on this broker's leaders, and waits, within the request's own timeout, until every live replica has done so too.
/// The leaders' new first offsets are on the device by then.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DeleteRecordsRequest) -> Outcome {
    let image = services.metadata.image();
    let mut begun = Vec::new();
    let mut response = DeleteRecordsResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    for (at, topic) in request.topics.iter().enumerate() {
        let mut results = Vec::with_capacity(topic.partitions.len());
        for (index, partition) in topic.partitions.iter().enumerate() {
            let code = match begin(services, &image, topic.name.as_str(), partition) {
                Ok(deletion) => {
                    begun.push(Begun { at: (at, index), deletion });
                    ErrorCode::None
                }
                Err(code) => code,
            };
            let result = DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
            results.push(result.with_low_watermark(Offset::UNKNOWN.0).with_error_code(code.code()));
        }
        response
            .topics
            .push(DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(results));
    }
    if begun.is_empty() {
        return context.done(&response);
    }
    let (services, context) = (services.clone(), context.clone());
    let deadline = context.deadline_within(request.timeout_ms);
    Outcome::Waiting(Box::pin(async move {
        for ((topic, partition), outcome) in settle(&services, begun, deadline).await {
            let result = &mut response.topics[topic].partitions[partition];
            match outcome {
                Ok(low_watermark) => result.low_watermark = low_watermark.0,
                Err(code) => result.error_code = code.code(),
            }
        }
        context.answer(&response)
    }))
}

fn begin(
    services: &Services,
    image: &Image,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Deletion, ErrorCode> {
    let topic = Named::Name(topic).find(image)?;
    if is_internal(&topic.name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let replica = locate::replica(services, topic, PartitionIndex(asked.partition_index))?;
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    replica.delete_records(before).map_err(|refusal| refusal.error_code())
}

/// Waits for every deletion, and says what became of it.
async fn settle(
    services: &Services,
    begun: Vec<Begun>,
    deadline: Instant,
) -> Vec<((usize, usize), Result<Offset, ErrorCode>)> {
    let directories: BTreeSet<usize> = begun.iter().map(|one| one.deletion.partition().directory()).collect();
    for directory in directories {
        services.partitions.checkpoint_log_starts(directory).await;
    }
    let settle_one = |one: Begun| async move {
        let outcome = one.deletion.everywhere(deadline).await;
        (one.at, outcome.map_err(|refusal| refusal.error_code()))
    };
    join_all(begun.into_iter().map(settle_one)).await
}
