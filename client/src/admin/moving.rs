//! Who leads partitions, and on which brokers they are kept: elections, and moves of replicas.

use super::{Admin, Outcomes};
use crate::PartitionName;
use crate::error::ClientError;
use protocol::ids::BrokerId;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::{AlterPartitionReassignmentsRequest, ElectLeadersRequest, topic_name};
use runtime::time;
use std::collections::BTreeMap;

/// Which leaders are elected (`ElectionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica of each, if it is in sync.
    Preferred,
    /// Any live replica, where nobody leads: committed records may be lost.
    Unclean,
}

impl Admin {
    /// Has leaders elected (ElectLeaders, KIP-460). A partition that has the leader it should have is an outcome with the
    /// error `ELECTION_NOT_NEEDED`.
    ///
    /// # Errors
    /// When nobody answers. What the controller says against one partition is that partition's outcome, by
    /// `topic-partition`.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: &[PartitionName],
    ) -> Result<Outcomes<()>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for name in partitions {
            topics.entry(&name.topic).or_default().push(name.partition.0);
        }
        let topic = |(name, partitions): (&str, Vec<i32>)| {
            TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions)
        };
        let election_type = match election {
            ElectionType::Preferred => 0,
            ElectionType::Unclean => 1,
        };
        let request = ElectLeadersRequest::default()
            .with_election_type(election_type)
            .with_topic_partitions(Some(topics.into_iter().map(topic).collect()))
            .with_timeout_ms(self.attempt_ms());
        let response = self.call(&request, deadline).await?;
        if let Some(error) = ClientError::from_code(response.error_code, None) {
            return Err(error);
        }
        let mut outcomes = Outcomes::new();
        for topic in &response.replica_election_results {
            for result in &topic.partition_result {
                let message = result.error_message.as_ref().map(ToString::to_string);
                let outcome = ClientError::from_code(result.error_code, message).map_or(Ok(()), Err);
                outcomes.insert(format!("{}-{}", topic.topic.as_str(), result.partition_id), outcome);
            }
        }
        Ok(outcomes)
    }

    /// Moves partitions to these brokers, the preferred leader first; without brokers, takes back the move that is under way
    /// (AlterPartitionReassignments, KIP-455).
    ///
    /// An answer that is lost leaves the move begun; the repeated question begins it again, which changes nothing more.
    ///
    /// # Errors
    /// When nobody answers. What the controller says against one partition is that partition's outcome, by
    /// `topic-partition`.
    pub async fn reassign_partitions(
        &self,
        targets: &BTreeMap<PartitionName, Option<Vec<BrokerId>>>,
    ) -> Result<Outcomes<()>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (name, replicas) in targets {
            let replicas = replicas.as_ref().map(|replicas| replicas.iter().map(|id| (*id).into()).collect());
            let partition =
                ReassignablePartition::default().with_partition_index(name.partition.0).with_replicas(replicas);
            topics.entry(&name.topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, Vec<ReassignablePartition>)| {
            ReassignableTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let request = AlterPartitionReassignmentsRequest::default()
            .with_topics(topics.into_iter().map(topic).collect())
            .with_timeout_ms(self.attempt_ms());
        let response = self.call(&request, deadline).await?;
        if let Some(error) = ClientError::from_code(response.error_code, None) {
            return Err(error);
        }
        let mut outcomes = Outcomes::new();
        for topic in &response.responses {
            for result in &topic.partitions {
                let message = result.error_message.as_ref().map(ToString::to_string);
                let outcome = ClientError::from_code(result.error_code, message).map_or(Ok(()), Err);
                outcomes.insert(format!("{}-{}", topic.name.as_str(), result.partition_index), outcome);
            }
        }
        Ok(outcomes)
    }
}
