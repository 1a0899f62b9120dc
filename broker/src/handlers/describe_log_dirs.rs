//! DescribeLogDirs (35): the broker's log directories, and the replicas in each (KIP-113, KIP-827).

use super::{
    Services,
    context::{Outcome, RequestContext},
    view::text,
};
use crate::partition::Partition;
use crate::partitions::{DirectoryDescription, moving::FutureReplica};
use protocol::{
    error_code::ErrorCode,
    ids::PartitionIndex,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
        topic_name,
    },
};
use runtime::{disk::Space, task};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// "How large the file system is, is not known" on the wire (`DescribeLogDirsResponse.UNKNOWN_VOLUME_BYTES`).
const UNKNOWN_BYTES: i64 = -1;

/// The partitions that are asked about; nothing for all of them.
type Asked = Option<BTreeSet<(String, PartitionIndex)>>;

/// Answers once every file system has said how large it is. Without topics in the request every replica is told of.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeLogDirsRequest) -> Outcome {
    let asked: Asked = request.topics.map(|topics| {
        let each = topics.into_iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            topic.partitions.into_iter().map(move |partition| (name.clone(), PartitionIndex(partition)))
        });
        each.collect()
    });
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let mut results = Vec::new();
        for (number, directory) in services.partitions.describe_directories().into_iter().enumerate() {
            let replicas = services.partitions.all().into_iter().filter(|replica| replica.directory() == number);
            let moving_here = services.partitions.future_replicas(number);
            results.push(describe(directory, replicas, moving_here, &asked).await);
        }
        let response =
            DescribeLogDirsResponse::default().with_throttle_time_ms(context.throttle_time_ms()).with_results(results);
        context.answer(&response)
    }))
}

async fn describe(
    directory: DirectoryDescription,
    replicas: impl Iterator<Item = Arc<Partition>>,
    moving_here: Vec<FutureReplica>,
    asked: &Asked,
) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult::default()
        .with_log_dir(text(&directory.disk.root()))
        .with_total_bytes(UNKNOWN_BYTES)
        .with_usable_bytes(UNKNOWN_BYTES);
    if directory.failed {
        return result.with_error_code(ErrorCode::KafkaStorageError.code());
    }
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let is_wanted = |topic: &Arc<str>, partition| {
        asked.as_ref().is_none_or(|asked| asked.contains(&(topic.to_string(), partition)))
    };
    for future in moving_here.iter().filter(|future| is_wanted(&future.topic, future.partition)) {
        topics.entry(future.topic.clone()).or_default().push(describe_future(future));
    }
    for replica in replicas {
        if is_wanted(replica.topic(), replica.id().partition) {
            topics.entry(replica.topic().clone()).or_default().push(describe_replica(&replica));
        }
    }
    let topic = |(name, partitions): (Arc<str>, Vec<DescribeLogDirsPartition>)| {
        DescribeLogDirsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
    };
    let result = result.with_topics(topics.into_iter().map(topic).collect());
    let disk = directory.disk;
    match task::blocking(move || disk.space()).await {
        Ok(Ok(Space { total_bytes, usable_bytes })) => {
            let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            result.with_total_bytes(signed(total_bytes)).with_usable_bytes(signed(usable_bytes))
        }
        Ok(Err(_)) | Err(_) => result,
    }
}

/// What was copied so far of a replica that is moving here.
fn describe_future(future: &FutureReplica) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(future.partition.0)
        .with_partition_size(i64::try_from(future.size).unwrap_or(i64::MAX))
        .with_offset_lag(future.lag)
        .with_is_future_key(true)
}

/// Its size, and how far its log ends before its high watermark (`ReplicaManager.getLogEndOffsetLag`).
fn describe_replica(replica: &Partition) -> DescribeLogDirsPartition {
    let standing = replica.standing();
    DescribeLogDirsPartition::default()
        .with_partition_index(replica.id().partition.0)
        .with_partition_size(i64::try_from(standing.size).unwrap_or(i64::MAX))
        .with_offset_lag((standing.high_watermark.0 - standing.log_end_offset.0).max(0))
        .with_is_future_key(false)
}
