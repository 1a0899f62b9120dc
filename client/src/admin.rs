//! Creates, alters, deletes and describes topics, describes the cluster and its configuration, and looks after groups.
//!
//! Each call goes to any broker, which passes it on to the controller where it must, or to the one that the question is for; it
//! is asked again, or elsewhere, until the timeout while nobody can answer. It holds no state of its own. Driven by `cli` and `sim`'s workloads.

mod coordinators;
mod deletion;
mod description;
mod groups;
mod moving;
mod unread;

pub use description::{
    BrokerDescription, ClusterDescription, ConfigChange, ConfigChanges, ConfigDescription, ConfigEntry, ConfigResource,
    ConfigSynonym, CreatedTopic, NewTopic, PartitionDescription, TopicDescription, TopicListing,
};
pub use groups::{
    GroupDescription, GroupEpoch, GroupListing, GroupState, GroupType, MemberDescription, MemberEpoch,
    PartitionOutcomes,
};
pub use moving::ElectionType;

use crate::cluster::{Cluster, Lane};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::retry::Backoff;
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerId;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest, MetadataRequest, Request, topic_name,
};
use runtime::{rand, time};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

/// The wait before a call is asked again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// How long one broker may take, within a call's timeout.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Partitions in one answer of DescribeTopicPartitions: what Kafka's own tools ask for.
const PARTITIONS_A_PAGE: i32 = 2000;

/// The first version of DeleteTopics whose entries are structs of a name or an id.
const NAMES_OR_IDS_FROM: i16 = 6;

/// What became of each of several things, by name.
pub type Outcomes<T> = BTreeMap<String, Result<T, ClientError>>;

/// An administrator's view of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    cluster: Cluster,
    timeout: Duration,
}

impl Admin {
    /// Administers a cluster; each call takes `timeout` at most.
    pub fn new(cluster: Cluster, timeout: Duration) -> Self {
        Self { cluster, timeout }
    }

    /// Creates topics. With `validate_only` nothing is created, but the answer is the same.
    ///
    /// An answer that is lost leaves the topic created, and the repeated question refused with `TOPIC_ALREADY_EXISTS`.
    ///
    /// # Errors
    /// When nobody answers. What a controller says against one topic is that topic's outcome.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Outcomes<CreatedTopic>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut outcomes = Outcomes::new();
        let mut left: BTreeMap<&str, &NewTopic> = topics.iter().map(|topic| (topic.name.as_str(), topic)).collect();
        let mut failures = 0u32;
        loop {
            let request = CreateTopicsRequest::default()
                .with_topics(left.values().map(|topic| topic.to_wire()).collect())
                .with_timeout_ms(self.attempt_ms())
                .with_validate_only(validate_only);
            let response = self.call(&request, deadline).await?;
            for topic in &response.topics {
                let message = topic.error_message.as_ref().map(ToString::to_string);
                let outcome = match ClientError::from_code(topic.error_code, message) {
                    None => Ok(CreatedTopic::from_wire(topic)),
                    Some(error) => Err(error),
                };
                outcomes.insert(topic.name.to_string(), outcome);
            }
            left.retain(|name, _| !outcomes.get(*name).is_none_or(is_settled));
            if left.is_empty() || !wait_before(deadline, &mut failures).await {
                return Ok(outcomes);
            }
        }
    }

    /// Gives topics more partitions: by name, how many each is to have. Which brokers keep them is left to the cluster. With
    /// `validate_only` nothing is added, but the answer is the same.
    ///
    /// An answer that is lost leaves the partitions added, and the repeated question refused with `INVALID_PARTITIONS`.
    ///
    /// # Errors
    /// When nobody answers. What a controller says against one topic is that topic's outcome.
    pub async fn create_partitions(
        &self,
        counts: &BTreeMap<String, i32>,
        validate_only: bool,
    ) -> Result<Outcomes<()>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut outcomes = Outcomes::new();
        let mut left = counts.clone();
        let mut failures = 0u32;
        loop {
            let topic = |(name, count): (&String, &i32)| {
                CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(*count).with_assignments(None)
            };
            let request = CreatePartitionsRequest::default()
                .with_topics(left.iter().map(topic).collect())
                .with_timeout_ms(self.attempt_ms())
                .with_validate_only(validate_only);
            let response = self.call(&request, deadline).await?;
            for topic in &response.results {
                let message = topic.error_message.as_ref().map(ToString::to_string);
                let outcome = ClientError::from_code(topic.error_code, message).map_or(Ok(()), Err);
                outcomes.insert(topic.name.to_string(), outcome);
            }
            left.retain(|name, _| !outcomes.get(name).is_none_or(is_settled));
            if left.is_empty() || !wait_before(deadline, &mut failures).await {
                return Ok(outcomes);
            }
        }
    }

    /// Deletes topics by name.
    ///
    /// # Errors
    /// When nobody answers. What a controller says against one topic is that topic's outcome.
    pub async fn delete_topics(&self, topics: &[String]) -> Result<Outcomes<()>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut outcomes = Outcomes::new();
        let mut left: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
        let mut failures = 0u32;
        loop {
            let request = |version| {
                let request = DeleteTopicsRequest::default().with_timeout_ms(self.attempt_ms());
                let names = left.iter().map(|name| topic_name(name));
                if version < NAMES_OR_IDS_FROM {
                    return request.with_topic_names(names.collect());
                }
                request.with_topics(names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect())
            };
            let connect = |left| self.cluster.any_connection(left);
            let response = self.call_by(request, deadline, connect).await?;
            for topic in &response.responses {
                let message = topic.error_message.as_ref().map(ToString::to_string);
                let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
                outcomes.insert(name, ClientError::from_code(topic.error_code, message).map_or(Ok(()), Err));
            }
            left.retain(|name| !outcomes.get(*name).is_none_or(is_settled));
            if left.is_empty() || !wait_before(deadline, &mut failures).await {
                return Ok(outcomes);
            }
        }
    }

    /// Every topic of the cluster, by name.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        let response = self.call(&request, time::now() + self.timeout).await?;
        let mut topics: Vec<TopicListing> = response.topics.iter().filter_map(TopicListing::from_wire).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// Describes topics: by DescribeTopicPartitions where it is served (KIP-966), which tells of eligible leader replicas, else
    /// by Metadata.
    ///
    /// # Errors
    /// When nobody answers. What a broker says against one topic is that topic's outcome.
    pub async fn describe_topics(&self, topics: &[String]) -> Result<Outcomes<TopicDescription>, ClientError> {
        let deadline = time::now() + self.timeout;
        let paged = self.describe_paged(topics, deadline).await;
        match paged {
            Err(ClientError::UnsupportedVersion { .. }) => {}
            paged => return paged,
        }
        let named = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.iter().map(named).collect()))
            .with_allow_auto_topic_creation(false);
        let response = self.call(&request, deadline).await?;
        Ok(response.topics.iter().filter_map(TopicDescription::from_metadata).collect())
    }

    async fn describe_paged(
        &self,
        topics: &[String],
        deadline: time::Instant,
    ) -> Result<Outcomes<TopicDescription>, ClientError> {
        // A page begins where the last one ended, so the topics are asked in order.
        let mut names: Vec<&String> = topics.iter().collect();
        names.sort();
        let mut described: Outcomes<TopicDescription> = Outcomes::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(names.iter().map(|name| TopicRequest::default().with_name(topic_name(name))).collect())
                .with_response_partition_limit(PARTITIONS_A_PAGE)
                .with_cursor(cursor.take());
            let response = self.call(&request, deadline).await?;
            for topic in &response.topics {
                let Some((name, outcome)) = TopicDescription::from_page(topic) else { continue };
                match (described.get_mut(&name), outcome) {
                    (Some(Ok(known)), Ok(more)) => known.partitions.extend(more.partitions),
                    (_, outcome) => drop(described.insert(name, outcome)),
                }
            }
            let Some(next) = response.next_cursor else { return Ok(described) };
            names.retain(|name| name.as_str() >= next.topic_name.as_str());
            let from = Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
            cursor = Some(from);
        }
    }

    /// Describes the cluster: its id, its controller, its brokers, fenced ones where the answer tells (KIP-1073).
    ///
    /// # Errors
    /// When nobody answers, or a broker refuses.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let request = DescribeClusterRequest::default().with_include_fenced_brokers(false);
        let response = self.call(&request, time::now() + self.timeout).await?;
        let message = response.error_message.as_ref().map(ToString::to_string);
        match ClientError::from_code(response.error_code, message) {
            Some(error) => Err(error),
            None => Ok(ClusterDescription::from_wire(&response)),
        }
    }

    /// Describes the configuration of topics and brokers, all keys with their synonyms. A broker's is asked of itself.
    ///
    /// # Errors
    /// When nobody answers. What a broker says against one resource is that resource's outcome.
    pub async fn describe_configs(&self, resources: &[ConfigResource]) -> Result<Vec<ConfigDescription>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut by_broker: BTreeMap<Option<BrokerId>, Vec<&ConfigResource>> = BTreeMap::new();
        for resource in resources {
            by_broker.entry(resource.broker()).or_default().push(resource);
        }
        let mut described = Vec::new();
        for (broker, resources) in by_broker {
            let request = DescribeConfigsRequest::default()
                .with_resources(resources.into_iter().map(ConfigResource::to_wire).collect())
                .with_include_synonyms(true);
            let response = match broker {
                Some(broker) => self.call_broker(broker, &request, deadline).await?,
                None => self.call(&request, deadline).await?,
            };
            described.extend(response.results.iter().filter_map(ConfigDescription::from_wire));
        }
        Ok(described)
    }

    /// Changes single keys of the configuration of topics and brokers (IncrementalAlterConfigs, KIP-339); a resource changes
    /// as a whole or not at all. A broker's is changed through itself. With `validate_only` nothing changes, but the answer
    /// is the same.
    ///
    /// An answer that is lost leaves the change made; the repeated question makes it again, which changes nothing more.
    ///
    /// # Errors
    /// When nobody answers. What is said against one resource is that resource's outcome.
    pub async fn alter_configs(
        &self,
        changes: &BTreeMap<ConfigResource, ConfigChanges>,
        validate_only: bool,
    ) -> Result<BTreeMap<ConfigResource, Result<(), ClientError>>, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut by_broker: BTreeMap<Option<BrokerId>, Vec<_>> = BTreeMap::new();
        for (resource, changes) in changes {
            by_broker.entry(resource.broker()).or_default().push(resource.to_alter(changes));
        }
        let mut outcomes = BTreeMap::new();
        for (broker, resources) in by_broker {
            let request =
                IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(validate_only);
            let response = match broker {
                Some(broker) => self.call_broker(broker, &request, deadline).await?,
                None => self.call(&request, deadline).await?,
            };
            for altered in &response.responses {
                let message = altered.error_message.as_ref().map(ToString::to_string);
                let outcome = ClientError::from_code(altered.error_code, message).map_or(Ok(()), Err);
                if let Some(resource) = ConfigResource::from_wire(altered.resource_type, &altered.resource_name) {
                    outcomes.insert(resource, outcome);
                }
            }
        }
        Ok(outcomes)
    }

    /// One call to any broker, repeated elsewhere until the deadline while nobody can answer.
    async fn call<R: Request + Clone>(&self, request: &R, deadline: time::Instant) -> Result<R::Response, ClientError> {
        self.call_by(|_| request.clone(), deadline, |left| self.cluster.any_connection(left)).await
    }

    /// One call to this broker, repeated until the deadline while it cannot answer.
    async fn call_broker<R: Request + Clone>(
        &self,
        broker: BrokerId,
        request: &R,
        deadline: time::Instant,
    ) -> Result<R::Response, ClientError> {
        self.call_by(|_| request.clone(), deadline, |left| self.connection_to(broker, left)).await
    }

    async fn connection_to(&self, broker: BrokerId, left: Duration) -> Result<Connection, ClientError> {
        // A broker is known by its metadata.
        match self.cluster.connection(broker, Lane::Ask, left).await {
            Err(error @ ClientError::NoBroker { .. }) => {
                self.cluster.refresh().await?;
                Err(error)
            }
            connected => connected,
        }
    }

    /// One call, of the request that `make` makes for the version, on the connection that `connect` finds.
    async fn call_by<R: Request, F>(
        &self,
        make: impl Fn(i16) -> R,
        deadline: time::Instant,
        connect: impl Fn(Duration) -> F,
    ) -> Result<R::Response, ClientError>
    where
        F: Future<Output = Result<Connection, ClientError>>,
    {
        let mut failures = 0u32;
        loop {
            let answer = self.attempt(&make, deadline, &connect).await;
            match answer {
                Err(error) if error.is_retriable() => {
                    tracing::debug!(%error, failures, "asking again");
                    if !wait_before(deadline, &mut failures).await {
                        return Err(error);
                    }
                }
                settled => return settled,
            }
        }
    }

    /// One call, made once.
    async fn attempt<R: Request, F>(
        &self,
        make: &impl Fn(i16) -> R,
        deadline: time::Instant,
        connect: &impl Fn(Duration) -> F,
    ) -> Result<R::Response, ClientError>
    where
        F: Future<Output = Result<Connection, ClientError>>,
    {
        let connection = match time::timeout_at(deadline, connect(deadline - time::now())).await {
            Ok(connected) => connected?,
            Err(_) => return Err(ClientError::NoBroker { last: "no connection in time".to_owned() }),
        };
        let version = connection.version_of::<R>()?;
        let timeout = (deadline - time::now()).min(ATTEMPT_TIMEOUT);
        let answer = connection.submit(version, &make(version), timeout)?.wait().await;
        answer.inspect_err(|error| error.close(&connection))
    }

    fn attempt_ms(&self) -> i32 {
        i32::try_from(self.timeout.min(ATTEMPT_TIMEOUT).as_millis()).unwrap_or(i32::MAX)
    }
}

/// Whether asking again would change nothing. An unknown topic is not asked for again, though a fetch of it would be.
fn is_settled<T>(outcome: &Result<T, ClientError>) -> bool {
    let code = outcome.as_ref().err().and_then(ClientError::code);
    !matches!(code, Some(ErrorCode::NotController | ErrorCode::BrokerNotAvailable | ErrorCode::ThrottlingQuotaExceeded))
}

/// Waits before another attempt. False when there is no time for one.
async fn wait_before(deadline: time::Instant, failures: &mut u32) -> bool {
    *failures = failures.saturating_add(1);
    let until = time::now() + BACKOFF.after(*failures, rand::next());
    if until >= deadline {
        return false;
    }
    time::sleep_until(until).await;
    true
}

#[cfg(test)]
mod tests;
