//! Deleting records: each partition is asked of its leader.

use super::{ATTEMPT_TIMEOUT, Admin, wait_before};
use crate::PartitionName;
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, Offset, PartitionIndex};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, MetadataRequest, topic_name};
use runtime::time::{self, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// "Before the high watermark" on the wire.
const HIGH_WATERMARK: i64 = -1;

/// What became of each partition: the lowest offset that any live replica keeps.
pub type Deleted = BTreeMap<PartitionName, Result<Offset, ClientError>>;

type Wanted = BTreeMap<PartitionName, Option<Offset>>;

impl Admin {
    /// Deletes the records of partitions before an offset; without one, all that are committed (KIP-107). Leaders that
    /// change are looked for until the timeout.
    ///
    /// # Errors
    /// When nobody answers. What a broker says against one partition is that partition's outcome.
    pub async fn delete_records(&self, partitions: &Wanted) -> Result<Deleted, ClientError> {
        let deadline = time::now() + self.timeout;
        let (mut left, mut outcomes) = (partitions.clone(), Deleted::new());
        let mut failures = 0u32;
        loop {
            let (leaders, refused) = self.leaders_of(&left, deadline).await?;
            outcomes.extend(refused);
            for (leader, wanted) in by_leader(&left, &leaders) {
                let request = request(&wanted, self.attempt_ms());
                let attempt = deadline.min(time::now() + ATTEMPT_TIMEOUT);
                match self.call_broker(leader, &request, attempt).await {
                    Ok(response) => outcomes.extend(outcomes_of(&response)),
                    Err(error) => outcomes.extend(wanted.into_keys().map(|name| (name, Err(error.clone())))),
                }
            }
            left.retain(|name, _| match outcomes.get(name) {
                // An unknown topic is not asked for again, though a fetch of it would be.
                Some(Err(error)) => error.is_retriable() && error.code() != Some(ErrorCode::UnknownTopicOrPartition),
                Some(Ok(_)) => false,
                None => true,
            });
            if left.is_empty() || !wait_before(deadline, &mut failures).await {
                let silent = |name: PartitionName| {
                    let (topic, partition) = (name.topic.to_string(), name.partition.0);
                    (name, Err(ClientError::NoLeader { topic, partition }))
                };
                left.retain(|name, _| !outcomes.contains_key(name));
                outcomes.extend(left.into_keys().map(silent));
                return Ok(outcomes);
            }
        }
    }

    /// Who leads these partitions, and why others cannot be asked.
    async fn leaders_of(
        &self,
        partitions: &Wanted,
        deadline: Instant,
    ) -> Result<(BTreeMap<PartitionName, BrokerId>, Deleted), ClientError> {
        let topics: BTreeSet<&str> = partitions.keys().map(|name| &*name.topic).collect();
        let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.into_iter().map(named).collect()))
            .with_allow_auto_topic_creation(false);
        let response = self.call(&request, deadline).await?;
        let (mut leaders, mut refused) = (BTreeMap::new(), Deleted::new());
        for name in partitions.keys() {
            let topic = response
                .topics
                .iter()
                .find(|topic| topic.name.as_ref().is_some_and(|found| found.as_str() == &*name.topic));
            let unknown = ErrorCode::UnknownTopicOrPartition.code();
            let Some(topic) = topic.filter(|topic| topic.error_code == ErrorCode::None.code()) else {
                let code = topic.map_or(unknown, |topic| topic.error_code);
                refused.extend(ClientError::from_code(code, None).map(|error| (name.clone(), Err(error))));
                continue;
            };
            match topic.partitions.iter().find(|partition| partition.partition_index == name.partition.0) {
                Some(partition) if partition.leader_id.0 >= 0 => {
                    leaders.insert(name.clone(), partition.leader_id.into());
                }
                // Nobody leads it at present.
                Some(_) => {}
                None => refused.extend(ClientError::from_code(unknown, None).map(|error| (name.clone(), Err(error)))),
            }
        }
        Ok((leaders, refused))
    }
}

fn by_leader(wanted: &Wanted, leaders: &BTreeMap<PartitionName, BrokerId>) -> BTreeMap<BrokerId, Wanted> {
    let mut split: BTreeMap<BrokerId, Wanted> = BTreeMap::new();
    for (name, before) in wanted {
        if let Some(leader) = leaders.get(name) {
            split.entry(*leader).or_default().insert(name.clone(), *before);
        }
    }
    split
}

fn request(wanted: &Wanted, timeout_ms: i32) -> DeleteRecordsRequest {
    let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
    for (name, before) in wanted {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(name.partition.0)
            .with_offset(before.map_or(HIGH_WATERMARK, |offset| offset.0));
        topics.entry(&name.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, Vec<DeleteRecordsPartition>)| {
        DeleteRecordsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    };
    DeleteRecordsRequest::default().with_topics(topics.into_iter().map(topic).collect()).with_timeout_ms(timeout_ms)
}

fn outcomes_of(response: &DeleteRecordsResponse) -> Deleted {
    let mut outcomes = Deleted::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let name = PartitionName::new(topic.name.as_str(), PartitionIndex(partition.partition_index));
            let refused = ClientError::from_code(partition.error_code, None);
            outcomes.insert(name, refused.map_or(Ok(Offset(partition.low_watermark)), Err));
        }
    }
    outcomes
}
