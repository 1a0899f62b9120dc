//! AlterReplicaLogDirs (34): brings replicas of this broker to other log directories (KIP-113).

use super::{
    Services,
    context::{Outcome, RequestContext},
    locate::Named,
};
use protocol::{
    error_code::ErrorCode,
    ids::{PartitionIndex, TopicPartition},
    messages::{
        AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
        alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
        topic_name,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Begins the moves, and answers: DescribeLogDirs tells how far they are.
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> Outcome {
    let mut results: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for directory in &request.dirs {
        for topic in &directory.topics {
            let of_topic = results.entry(topic.name.to_string()).or_default();
            for partition in &topic.partitions {
                let begun = begin(services, &directory.path, &topic.name, PartitionIndex(*partition));
                let code = begun.err().unwrap_or(ErrorCode::None);
                let result = AlterReplicaLogDirPartitionResult::default().with_partition_index(*partition);
                of_topic.push(result.with_error_code(code.code()));
            }
        }
    }
    let result = |(name, partitions): (String, Vec<AlterReplicaLogDirPartitionResult>)| {
        AlterReplicaLogDirTopicResult::default().with_topic_name(topic_name(&name)).with_partitions(partitions)
    };
    let response = AlterReplicaLogDirsResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_results(results.into_iter().map(result).collect());
    Outcome::Done(context.answer(&response))
}

fn begin(services: &Services, path: &str, topic: &str, partition: PartitionIndex) -> Result<(), ErrorCode> {
    let image = services.metadata.image();
    let topic = Named::Name(topic).find(&image)?;
    topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    services.partitions.move_replica(TopicPartition { topic_id: topic.id, partition }, path)
}
