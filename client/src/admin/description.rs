//! Pure. What an administrator asks for and is told: topics, brokers, configuration, without the wire's shapes.
//!
//! Driven by `admin`.

use crate::error::ClientError;
use protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResult;
use protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{DescribeClusterResponse, StrBytes, WireBrokerId, topic_name};
use std::collections::BTreeMap;

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; nothing leaves it to the cluster (`num.partitions`).
    pub partitions: Option<i32>,
    /// How many replicas of each; nothing leaves it to the cluster (`default.replication.factor`).
    pub replication_factor: Option<i16>,
    /// The replicas of each partition, the preferred leader first. When given, the two counts above are not.
    pub assignments: BTreeMap<PartitionIndex, Vec<BrokerId>>,
    /// Its configuration, where it differs from the cluster's.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic of so many partitions with so many replicas each.
    pub fn new(name: &str, partitions: i32, replication_factor: i16) -> Self {
        Self {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(replication_factor),
            ..Self::default()
        }
    }

    /// The same topic with one more key of configuration.
    #[must_use]
    pub fn with_config(mut self, key: &str, value: &str) -> Self {
        self.configs.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn to_wire(&self) -> CreatableTopic {
        let assignment = |(partition, brokers): (&PartitionIndex, &Vec<BrokerId>)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(partition.0)
                .with_broker_ids(brokers.iter().map(|broker| WireBrokerId(broker.0)).collect())
        };
        let config = |(key, value): (&String, &String)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(key.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        };
        CreatableTopic::default()
            .with_name(topic_name(&self.name))
            .with_num_partitions(self.partitions.unwrap_or(-1))
            .with_replication_factor(self.replication_factor.unwrap_or(-1))
            .with_assignments(self.assignments.iter().map(assignment).collect())
            .with_configs(self.configs.iter().map(config).collect())
    }
}

/// A topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its identity; all zeroes from controllers that do not say (CreateTopics before version 7).
    pub topic_id: TopicId,
    /// How many partitions it has, if the controller says.
    pub partitions: Option<i32>,
    /// How many replicas each has, if the controller says.
    pub replication_factor: Option<i16>,
}

impl CreatedTopic {
    pub(super) fn from_wire(topic: &CreatableTopicResult) -> Self {
        Self {
            topic_id: TopicId(topic.topic_id),
            partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
            replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
        }
    }
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub topic_id: TopicId,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// How many partitions it has.
    pub partitions: usize,
}

impl TopicListing {
    pub(super) fn from_wire(topic: &MetadataResponseTopic) -> Option<Self> {
        Some(Self {
            name: topic.name.as_ref()?.to_string(),
            topic_id: TopicId(topic.topic_id),
            is_internal: topic.is_internal,
            partitions: topic.partitions.len(),
        })
    }
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its identity.
    pub topic_id: TopicId,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// Its partitions, from zero on.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: PartitionIndex,
    /// Who leads it, or nobody.
    pub leader: Option<BrokerId>,
    /// In which leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who should hold it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub isr: Vec<BrokerId>,
    /// Who may be elected when nobody in the ISR can be (KIP-966); nothing when the broker does not say.
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// Who was eligible last (KIP-966); nothing when the broker does not say.
    pub last_known_eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// Which replicas are not there.
    pub offline_replicas: Vec<BrokerId>,
}

fn ids(brokers: &[WireBrokerId]) -> Vec<BrokerId> {
    brokers.iter().map(|broker| BrokerId(broker.0)).collect()
}

impl TopicDescription {
    pub(super) fn from_metadata(topic: &MetadataResponseTopic) -> Option<(String, Result<Self, ClientError>)> {
        let name = topic.name.as_ref()?.to_string();
        if let Some(error) = ClientError::from_code(topic.error_code, None) {
            return Some((name, Err(error)));
        }
        let partition = topic.partitions.iter().map(|partition| PartitionDescription {
            partition: PartitionIndex(partition.partition_index),
            leader: BrokerId::from_wire(partition.leader_id.0),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
            eligible_leader_replicas: None,
            last_known_eligible_leader_replicas: None,
            offline_replicas: ids(&partition.offline_replicas),
        });
        let mut partitions: Vec<PartitionDescription> = partition.collect();
        partitions.sort_by_key(|partition| partition.partition);
        let described = Self { topic_id: TopicId(topic.topic_id), is_internal: topic.is_internal, partitions };
        Some((name, Ok(described)))
    }

    pub(super) fn from_page(
        topic: &DescribeTopicPartitionsResponseTopic,
    ) -> Option<(String, Result<Self, ClientError>)> {
        let name = topic.name.as_ref()?.to_string();
        if let Some(error) = ClientError::from_code(topic.error_code, None) {
            return Some((name, Err(error)));
        }
        let partitions = topic.partitions.iter().map(|partition| PartitionDescription {
            partition: PartitionIndex(partition.partition_index),
            leader: BrokerId::from_wire(partition.leader_id.0),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
            eligible_leader_replicas: partition.eligible_leader_replicas.as_deref().map(ids),
            last_known_eligible_leader_replicas: partition.last_known_elr.as_deref().map(ids),
            offline_replicas: ids(&partition.offline_replicas),
        });
        let partitions = partitions.collect();
        let described = Self { topic_id: TopicId(topic.topic_id), is_internal: topic.is_internal, partitions };
        Some((name, Ok(described)))
    }
}

/// The cluster as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker to send a controller's requests to.
    pub controller: Option<BrokerId>,
    /// Its brokers, by id.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its id.
    pub broker_id: BrokerId,
    /// The name or address that it advertises.
    pub host: String,
    /// The port that it advertises.
    pub port: i32,
    /// The rack that it stands in, if it says.
    pub rack: Option<String>,
    /// Whether it is fenced.
    pub is_fenced: bool,
}

impl ClusterDescription {
    pub(super) fn from_wire(response: &DescribeClusterResponse) -> Self {
        let brokers = response.brokers.iter().map(|broker| BrokerDescription {
            broker_id: broker.broker_id.into(),
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(ToString::to_string),
            is_fenced: broker.is_fenced,
        });
        let mut brokers: Vec<BrokerDescription> = brokers.collect();
        brokers.sort_by_key(|broker| broker.broker_id);
        Self {
            cluster_id: response.cluster_id.to_string(),
            controller: BrokerId::from_wire(response.controller_id.0),
            brokers,
        }
    }
}

/// What has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, or with nothing the defaults of all brokers.
    Broker(Option<BrokerId>),
}

/// Resource types on the wire (`ConfigResource.Type`).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl ConfigResource {
    /// The broker to ask about it, if it has to be a certain one.
    pub(super) fn broker(&self) -> Option<BrokerId> {
        match self {
            Self::Topic(_) => None,
            Self::Broker(broker) => *broker,
        }
    }

    /// Its type and its name on the wire.
    fn named(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (TOPIC, name.clone()),
            Self::Broker(broker) => (BROKER, broker.map(|broker| broker.to_string()).unwrap_or_default()),
        }
    }

    pub(super) fn to_alter(&self, changes: &ConfigChanges) -> AlterConfigsResource {
        let (resource_type, name) = self.named();
        let change = |(key, change): (&String, &ConfigChange)| {
            let (operation, value) = change.to_wire();
            AlterableConfig::default()
                .with_name(StrBytes::from_string(key.clone()))
                .with_config_operation(operation)
                .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
        };
        AlterConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(StrBytes::from_string(name))
            .with_configs(changes.iter().map(change).collect())
    }

    pub(super) fn to_wire(&self) -> DescribeConfigsResource {
        let (resource_type, name) = self.named();
        DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(StrBytes::from_string(name))
            .with_configuration_keys(None)
    }

    pub(super) fn from_wire(resource_type: i8, name: &str) -> Option<Self> {
        match resource_type {
            TOPIC => Some(Self::Topic(name.to_owned())),
            BROKER if name.is_empty() => Some(Self::Broker(None)),
            BROKER => Some(Self::Broker(Some(BrokerId(name.parse().ok()?)))),
            _ => None,
        }
    }
}

/// What to do with one key of a configuration (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Give it this value.
    Set(String),
    /// Take its value back, so that the next source holds.
    Delete,
    /// Add these to its list, separated by commas.
    Append(String),
    /// Take these from its list, separated by commas.
    Subtract(String),
}

impl ConfigChange {
    /// The operation's number on the wire (`AlterConfigOp.OpType`), and the value that goes with it.
    fn to_wire(&self) -> (i8, Option<&str>) {
        match self {
            Self::Set(value) => (0, Some(value)),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value)),
            Self::Subtract(value) => (3, Some(value)),
        }
    }
}

/// What is to change in a resource's configuration, by key.
pub type ConfigChanges = BTreeMap<String, ConfigChange>;

/// The configuration of a resource, or why it is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDescription {
    /// Whose it is.
    pub resource: ConfigResource,
    /// Its entries, by key.
    pub entries: Result<BTreeMap<String, ConfigEntry>, ClientError>,
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its value; nothing when it is sensitive.
    pub value: Option<String>,
    /// Where the value comes from, as on the wire: 1 topic, 2 broker, 3 brokers' default, 4 static, 5 default.
    pub source: i8,
    /// Whether it can be changed.
    pub is_read_only: bool,
    /// Whether its value is withheld.
    pub is_sensitive: bool,
    /// Where else a value stands, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// A place where a key has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key there.
    pub name: String,
    /// The value there.
    pub value: Option<String>,
    /// Which place, as in [`ConfigEntry::source`].
    pub source: i8,
}

impl ConfigDescription {
    pub(super) fn from_wire(result: &DescribeConfigsResult) -> Option<Self> {
        let resource = ConfigResource::from_wire(result.resource_type, &result.resource_name)?;
        let message = result.error_message.as_ref().map(ToString::to_string);
        if let Some(error) = ClientError::from_code(result.error_code, message) {
            return Some(Self { resource, entries: Err(error) });
        }
        let text = |value: &Option<StrBytes>| value.as_ref().map(ToString::to_string);
        let entries = result.configs.iter().map(|config| {
            let synonyms = config.synonyms.iter().map(|synonym| ConfigSynonym {
                name: synonym.name.to_string(),
                value: text(&synonym.value),
                source: synonym.source,
            });
            let entry = ConfigEntry {
                value: text(&config.value),
                source: config.config_source,
                is_read_only: config.read_only,
                is_sensitive: config.is_sensitive,
                synonyms: synonyms.collect(),
            };
            (config.name.to_string(), entry)
        });
        Some(Self { resource, entries: Ok(entries.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_leaves_its_counts_to_the_cluster_says_minus_one() {
        let topic = NewTopic { name: "orders".to_owned(), ..NewTopic::default() }.to_wire();
        assert_eq!((topic.num_partitions, topic.replication_factor), (-1, -1));
    }

    #[test]
    fn a_resource_survives_the_wire() {
        let resources = [
            ConfigResource::Topic("orders".to_owned()),
            ConfigResource::Broker(None),
            ConfigResource::Broker(Some(BrokerId(3))),
        ];
        for resource in resources {
            let wire = resource.to_wire();
            assert_eq!(ConfigResource::from_wire(wire.resource_type, &wire.resource_name), Some(resource));
        }
    }
}
