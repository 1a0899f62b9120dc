//! Asks the leaders of partitions where logs begin and end, and where leader epochs do (ListOffsets, OffsetForLeaderEpoch).
//!
//! One request to each leader, about all its partitions. It never retries. Driven by `consumer`.

use crate::PartitionName;
use crate::cluster::{Cluster, Lane, Leader};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, Offset, WallMillis};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest, WireBrokerId, topic_name};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Asks for the first offset that the log still has (`ListOffsetsRequest.EARLIEST_TIMESTAMP`).
pub(super) const EARLIEST: WallMillis = WallMillis(-2);
/// Asks for the offset behind the last record (`ListOffsetsRequest.LATEST_TIMESTAMP`).
pub(super) const LATEST: WallMillis = WallMillis(-1);

/// "A consumer" where the wire has the id of a replica.
const CONSUMER: WireBrokerId = WireBrokerId(-1);

/// An offset that a leader named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Nothing when no record is that late.
    pub(super) offset: Option<Offset>,
    /// The timestamp of the record there, when it was asked by timestamp.
    pub(super) timestamp: WallMillis,
    /// The leader epoch of the record there, if the leader says.
    pub(super) leader_epoch: Option<LeaderEpoch>,
}

/// Answers about partitions; a partition that the leader left out is missing.
pub(super) type Answers<T> = BTreeMap<PartitionName, Result<T, ErrorCode>>;

/// Asks one leader for the offsets at `timestamps` ([`EARLIEST`] and [`LATEST`] among them).
pub(super) async fn list_offsets(
    cluster: &Cluster,
    partitions: &[(PartitionName, Leader, WallMillis)],
    is_committed_only: bool,
    timeout: Duration,
) -> Result<Answers<Listed>, ClientError> {
    let Some((_, leader, _)) = partitions.first() else { return Ok(BTreeMap::new()) };
    let mut topics: BTreeMap<Arc<str>, ListOffsetsTopic> = BTreeMap::new();
    for (partition, leader, timestamp) in partitions {
        let topic = topics.entry(partition.topic.clone());
        let topic = topic.or_insert_with(|| ListOffsetsTopic::default().with_name(topic_name(&partition.topic)));
        topic.partitions.push(
            ListOffsetsPartition::default()
                .with_partition_index(partition.partition.0)
                .with_current_leader_epoch(leader.leader_epoch.0)
                .with_timestamp(timestamp.0),
        );
    }
    let request = ListOffsetsRequest::default()
        .with_replica_id(CONSUMER)
        .with_isolation_level(i8::from(is_committed_only))
        .with_topics(topics.into_values().collect());
    let connection = cluster.connection(leader.broker, Lane::Ask, timeout).await?;
    let response =
        connection.call_with_timeout(&request, timeout).await.inspect_err(|error| error.close(&connection))?;
    let mut answers = BTreeMap::new();
    for topic in &response.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        for partition in &topic.partitions {
            let listed = Listed {
                offset: (partition.offset >= 0).then_some(Offset(partition.offset)),
                timestamp: WallMillis(partition.timestamp),
                leader_epoch: (partition.leader_epoch >= 0).then_some(LeaderEpoch(partition.leader_epoch)),
            };
            let answer = code_of(partition.error_code).map_or(Ok(listed), Err);
            answers.insert(PartitionName { topic: name.clone(), partition: partition.partition_index.into() }, answer);
        }
    }
    Ok(answers)
}

/// Asks one leader where leader epochs end: for each partition the largest epoch up to the one asked, and its end offset.
pub(super) async fn epoch_ends(
    cluster: &Cluster,
    partitions: &[(PartitionName, Leader, LeaderEpoch)],
    timeout: Duration,
) -> Result<Answers<Option<(LeaderEpoch, Offset)>>, ClientError> {
    let Some((_, leader, _)) = partitions.first() else { return Ok(BTreeMap::new()) };
    let mut topics: BTreeMap<Arc<str>, OffsetForLeaderTopic> = BTreeMap::new();
    for (partition, leader, leader_epoch) in partitions {
        let topic = topics.entry(partition.topic.clone());
        let topic = topic.or_insert_with(|| OffsetForLeaderTopic::default().with_topic(topic_name(&partition.topic)));
        topic.partitions.push(
            OffsetForLeaderPartition::default()
                .with_partition(partition.partition.0)
                .with_current_leader_epoch(leader.leader_epoch.0)
                .with_leader_epoch(leader_epoch.0),
        );
    }
    let request =
        OffsetForLeaderEpochRequest::default().with_replica_id(CONSUMER).with_topics(topics.into_values().collect());
    let connection = cluster.connection(leader.broker, Lane::Ask, timeout).await?;
    let response =
        connection.call_with_timeout(&request, timeout).await.inspect_err(|error| error.close(&connection))?;
    let mut answers = BTreeMap::new();
    for topic in &response.topics {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        for partition in &topic.partitions {
            let is_known = partition.leader_epoch >= 0 && partition.end_offset >= 0;
            let end = is_known.then_some((LeaderEpoch(partition.leader_epoch), Offset(partition.end_offset)));
            let answer = code_of(partition.error_code).map_or(Ok(end), Err);
            answers.insert(PartitionName { topic: name.clone(), partition: partition.partition.into() }, answer);
        }
    }
    Ok(answers)
}

/// The error that a code stands for, `None` for `NONE`.
pub(super) fn code_of(code: i16) -> Option<ErrorCode> {
    ClientError::from_code(code, None).and_then(|error| error.code())
}
