//! Pure. The table of served APIs: which keys and versions exist on which listener. ApiVersions and `docs/wire.md` follow it.
//!
//! A key or version that is not here closes the connection, as in Kafka; what controllers and brokers say to each other does
//! not exist for clients. A minimum is never raised: old clients live on it.

use crate::error_code::ErrorCode;
use crate::guard::Caps;
use crate::guard::schema::{self, Schema};
use crate::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, StrBytes};
use std::fmt;

/// The number of an API. Kafka's own are below 20,000, gregor's from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who connects to a listener, and so which APIs exist there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// Clients of the cluster.
    Client,
    /// Brokers that follow, and controllers that probe.
    InterBroker,
    /// Brokers, and other controllers.
    Controller,
}

/// One row of the table.
#[derive(Debug)]
pub struct Api {
    /// Its number.
    pub key: ApiKey,
    /// Kafka's name of it.
    pub name: &'static str,
    /// First version that is served.
    pub min: i16,
    /// Last version that is served.
    pub max: i16,
    /// First version that ApiVersions names. Below [`Api::min`] for Produce alone: librdkafka turns compression off when it is
    /// above 0 (KAFKA-18659).
    pub advertised_min: i16,
    /// Where it exists.
    pub planes: &'static [Plane],
    /// What a request looks like.
    pub request: &'static Schema,
    /// What a response looks like.
    pub response: &'static Schema,
    /// How much a request may hold.
    pub caps: Caps,
}

impl Api {
    /// Whether requests of this version are decoded.
    pub const fn serves(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether it exists on listeners of this kind.
    pub fn is_on(&self, plane: Plane) -> bool {
        self.planes.contains(&plane)
    }

    /// The version of a request's header: 2 ends in tagged fields (KIP-482).
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.request.flexible_since { 2 } else { 1 }
    }

    /// The version of a response's header: 1 ends in tagged fields. ApiVersions stays at 0, for clients that do not know yet
    /// what the broker speaks (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.key.0 != API_VERSIONS.0 && version >= self.response.flexible_since { 1 } else { 0 }
    }
}

/// Declares the key of each row as a constant, and the table in the order of the keys.
macro_rules! api_table {
    ($($constant:ident = $key:literal $name:literal $min:literal..=$max:literal $((advertised $advertised:literal))?
        $planes:ident $request:ident $response:ident;)*) => {
        $(
            #[doc = concat!("The key of ", $name, ".")]
            pub const $constant: ApiKey = ApiKey($key);
        )*

        /// Every API that is served, in the order of the keys.
        pub static API_TABLE: &[Api] = &[$(Api {
            key: $constant,
            name: $name,
            min: $min,
            max: $max,
            advertised_min: api_table!(@first $($advertised)? $min),
            planes: $planes,
            request: &schema::$request,
            response: &schema::$response,
            caps: Caps::REQUEST,
        }),*];
    };
    (@first $advertised:literal $min:literal) => { $advertised };
    (@first $min:literal) => { $min };
}

const CLIENT: &[Plane] = &[Plane::Client];
const BROKERS: &[Plane] = &[Plane::Client, Plane::InterBroker];
const INTER_BROKER: &[Plane] = &[Plane::InterBroker];
const CONTROLLER: &[Plane] = &[Plane::Controller];
const ADMIN: &[Plane] = &[Plane::Client, Plane::Controller];
const EVERYWHERE: &[Plane] = &[Plane::Client, Plane::InterBroker, Plane::Controller];

api_table! {
    PRODUCE = 0 "Produce" 3..=13 (advertised 0) CLIENT PRODUCE_REQUEST PRODUCE_RESPONSE;
    FETCH = 1 "Fetch" 4..=18 BROKERS FETCH_REQUEST FETCH_RESPONSE;
    LIST_OFFSETS = 2 "ListOffsets" 1..=10 BROKERS LIST_OFFSETS_REQUEST LIST_OFFSETS_RESPONSE;
    METADATA = 3 "Metadata" 0..=13 CLIENT METADATA_REQUEST METADATA_RESPONSE;
    OFFSET_COMMIT = 8 "OffsetCommit" 2..=9 CLIENT OFFSET_COMMIT_REQUEST OFFSET_COMMIT_RESPONSE;
    OFFSET_FETCH = 9 "OffsetFetch" 1..=9 CLIENT OFFSET_FETCH_REQUEST OFFSET_FETCH_RESPONSE;
    FIND_COORDINATOR = 10 "FindCoordinator" 0..=6 CLIENT FIND_COORDINATOR_REQUEST FIND_COORDINATOR_RESPONSE;
    JOIN_GROUP = 11 "JoinGroup" 0..=9 CLIENT JOIN_GROUP_REQUEST JOIN_GROUP_RESPONSE;
    HEARTBEAT = 12 "Heartbeat" 0..=4 CLIENT HEARTBEAT_REQUEST HEARTBEAT_RESPONSE;
    LEAVE_GROUP = 13 "LeaveGroup" 0..=5 CLIENT LEAVE_GROUP_REQUEST LEAVE_GROUP_RESPONSE;
    SYNC_GROUP = 14 "SyncGroup" 0..=5 CLIENT SYNC_GROUP_REQUEST SYNC_GROUP_RESPONSE;
    DESCRIBE_GROUPS = 15 "DescribeGroups" 0..=6 CLIENT DESCRIBE_GROUPS_REQUEST DESCRIBE_GROUPS_RESPONSE;
    LIST_GROUPS = 16 "ListGroups" 0..=5 CLIENT LIST_GROUPS_REQUEST LIST_GROUPS_RESPONSE;
    API_VERSIONS = 18 "ApiVersions" 0..=4 EVERYWHERE API_VERSIONS_REQUEST API_VERSIONS_RESPONSE;
    CREATE_TOPICS = 19 "CreateTopics" 2..=7 CLIENT CREATE_TOPICS_REQUEST CREATE_TOPICS_RESPONSE;
    DELETE_TOPICS = 20 "DeleteTopics" 1..=6 CLIENT DELETE_TOPICS_REQUEST DELETE_TOPICS_RESPONSE;
    DELETE_RECORDS = 21 "DeleteRecords" 0..=2 CLIENT DELETE_RECORDS_REQUEST DELETE_RECORDS_RESPONSE;
    INIT_PRODUCER_ID = 22 "InitProducerId" 0..=5 CLIENT INIT_PRODUCER_ID_REQUEST INIT_PRODUCER_ID_RESPONSE;
    OFFSET_FOR_LEADER_EPOCH = 23 "OffsetForLeaderEpoch" 2..=4
        BROKERS OFFSET_FOR_LEADER_EPOCH_REQUEST OFFSET_FOR_LEADER_EPOCH_RESPONSE;
    DESCRIBE_CONFIGS = 32 "DescribeConfigs" 1..=4 CLIENT DESCRIBE_CONFIGS_REQUEST DESCRIBE_CONFIGS_RESPONSE;
    ALTER_CONFIGS = 33 "AlterConfigs" 0..=2 CLIENT ALTER_CONFIGS_REQUEST ALTER_CONFIGS_RESPONSE;
    ALTER_REPLICA_LOG_DIRS = 34 "AlterReplicaLogDirs" 1..=2
        CLIENT ALTER_REPLICA_LOG_DIRS_REQUEST ALTER_REPLICA_LOG_DIRS_RESPONSE;
    DESCRIBE_LOG_DIRS = 35 "DescribeLogDirs" 1..=4 CLIENT DESCRIBE_LOG_DIRS_REQUEST DESCRIBE_LOG_DIRS_RESPONSE;
    CREATE_PARTITIONS = 37 "CreatePartitions" 0..=3 CLIENT CREATE_PARTITIONS_REQUEST CREATE_PARTITIONS_RESPONSE;
    DELETE_GROUPS = 42 "DeleteGroups" 0..=2 CLIENT DELETE_GROUPS_REQUEST DELETE_GROUPS_RESPONSE;
    ELECT_LEADERS = 43 "ElectLeaders" 0..=2 CLIENT ELECT_LEADERS_REQUEST ELECT_LEADERS_RESPONSE;
    INCREMENTAL_ALTER_CONFIGS = 44 "IncrementalAlterConfigs" 0..=1
        CLIENT INCREMENTAL_ALTER_CONFIGS_REQUEST INCREMENTAL_ALTER_CONFIGS_RESPONSE;
    ALTER_PARTITION_REASSIGNMENTS = 45 "AlterPartitionReassignments" 0..=1
        CLIENT ALTER_PARTITION_REASSIGNMENTS_REQUEST ALTER_PARTITION_REASSIGNMENTS_RESPONSE;
    LIST_PARTITION_REASSIGNMENTS = 46 "ListPartitionReassignments" 0..=0
        CLIENT LIST_PARTITION_REASSIGNMENTS_REQUEST LIST_PARTITION_REASSIGNMENTS_RESPONSE;
    OFFSET_DELETE = 47 "OffsetDelete" 0..=0 CLIENT OFFSET_DELETE_REQUEST OFFSET_DELETE_RESPONSE;
    DESCRIBE_QUORUM = 55 "DescribeQuorum" 0..=2 CLIENT DESCRIBE_QUORUM_REQUEST DESCRIBE_QUORUM_RESPONSE;
    ALTER_PARTITION = 56 "AlterPartition" 2..=3 CONTROLLER ALTER_PARTITION_REQUEST ALTER_PARTITION_RESPONSE;
    UPDATE_FEATURES = 57 "UpdateFeatures" 0..=2 CLIENT UPDATE_FEATURES_REQUEST UPDATE_FEATURES_RESPONSE;
    ENVELOPE = 58 "Envelope" 0..=0 CONTROLLER ENVELOPE_REQUEST ENVELOPE_RESPONSE;
    DESCRIBE_CLUSTER = 60 "DescribeCluster" 0..=2 ADMIN DESCRIBE_CLUSTER_REQUEST DESCRIBE_CLUSTER_RESPONSE;
    DESCRIBE_PRODUCERS = 61 "DescribeProducers" 0..=0 CLIENT DESCRIBE_PRODUCERS_REQUEST DESCRIBE_PRODUCERS_RESPONSE;
    BROKER_REGISTRATION = 62 "BrokerRegistration" 0..=4
        CONTROLLER BROKER_REGISTRATION_REQUEST BROKER_REGISTRATION_RESPONSE;
    BROKER_HEARTBEAT = 63 "BrokerHeartbeat" 0..=1 CONTROLLER BROKER_HEARTBEAT_REQUEST BROKER_HEARTBEAT_RESPONSE;
    UNREGISTER_BROKER = 64 "UnregisterBroker" 0..=0 CLIENT UNREGISTER_BROKER_REQUEST UNREGISTER_BROKER_RESPONSE;
    ALLOCATE_PRODUCER_IDS = 67 "AllocateProducerIds" 0..=0
        CONTROLLER ALLOCATE_PRODUCER_IDS_REQUEST ALLOCATE_PRODUCER_IDS_RESPONSE;
    CONSUMER_GROUP_HEARTBEAT = 68 "ConsumerGroupHeartbeat" 0..=1
        CLIENT CONSUMER_GROUP_HEARTBEAT_REQUEST CONSUMER_GROUP_HEARTBEAT_RESPONSE;
    CONSUMER_GROUP_DESCRIBE = 69 "ConsumerGroupDescribe" 0..=1
        CLIENT CONSUMER_GROUP_DESCRIBE_REQUEST CONSUMER_GROUP_DESCRIBE_RESPONSE;
    ASSIGN_REPLICAS_TO_DIRS = 73 "AssignReplicasToDirs" 0..=0
        CONTROLLER ASSIGN_REPLICAS_TO_DIRS_REQUEST ASSIGN_REPLICAS_TO_DIRS_RESPONSE;
    LIST_CONFIG_RESOURCES = 74 "ListConfigResources" 0..=1
        CLIENT LIST_CONFIG_RESOURCES_REQUEST LIST_CONFIG_RESOURCES_RESPONSE;
    DESCRIBE_TOPIC_PARTITIONS = 75 "DescribeTopicPartitions" 0..=0
        CLIENT DESCRIBE_TOPIC_PARTITIONS_REQUEST DESCRIBE_TOPIC_PARTITIONS_RESPONSE;
    RAFT = 20000 "Raft" 0..=0 CONTROLLER RAFT_REQUEST RAFT_RESPONSE;
    METADATA_FETCH = 20001 "MetadataFetch" 0..=0 CONTROLLER METADATA_FETCH_REQUEST METADATA_FETCH_RESPONSE;
    BROKER_PROBE = 20002 "BrokerProbe" 0..=0 INTER_BROKER BROKER_PROBE_REQUEST BROKER_PROBE_RESPONSE;
}

/// The row of a key, if it is served anywhere.
pub fn find(key: ApiKey) -> Option<&'static Api> {
    API_TABLE.binary_search_by_key(&key, |api| api.key).ok().map(|at| &API_TABLE[at])
}

/// A feature that this build understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// As `metadata.version`.
    pub name: &'static str,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// The feature levels that the cluster has agreed on (KIP-584).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalizedFeatures {
    /// Rises with each change; -1 where nothing is known yet. Kafka gives the offset of the metadata log here.
    pub epoch: i64,
    /// Name and level. Level 0 means "not there" and is left out of the answer.
    pub levels: Vec<(String, i16)>,
}

/// Answers ApiVersions, in any version: what exists on listeners of this kind, and the features as given.
///
/// `version` is that of the request: before version 4 a feature whose lowest level is 0 is left out, which older clients
/// cannot read (KAFKA-17492).
pub fn api_versions_response(
    version: i16,
    plane: Plane,
    finalized: &FinalizedFeatures,
    supported: &[SupportedFeature],
) -> ApiVersionsResponse {
    let keys = API_TABLE.iter().filter(|api| api.is_on(plane)).map(advertised).collect();
    let supported = supported
        .iter()
        .filter(|feature| version >= 4 || feature.min > 0)
        .map(|feature| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_version(feature.min)
                .with_max_version(feature.max)
        })
        .collect();
    let levels = finalized
        .levels
        .iter()
        .filter(|(_, level)| *level != 0)
        .map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_min_version_level(*level)
                .with_max_version_level(*level)
        })
        .collect();
    let answer = ApiVersionsResponse::default().with_api_keys(keys);
    if version < 3 {
        return answer;
    }
    answer
        .with_supported_features(supported)
        .with_finalized_features_epoch(finalized.epoch)
        .with_finalized_features(levels)
}

/// The answer to an ApiVersions request of a version that is not served: to be encoded in version 0, whatever was asked, with
/// the range of ApiVersions alone, so that the client tries again (KIP-511).
pub fn unsupported_api_versions_response() -> ApiVersionsResponse {
    let only = API_TABLE.iter().filter(|api| api.key == API_VERSIONS).map(advertised).collect();
    ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()).with_api_keys(only)
}

fn advertised(api: &Api) -> ApiVersion {
    ApiVersion::default().with_api_key(api.key.0).with_min_version(api.advertised_min).with_max_version(api.max)
}

/// Checks how a client names itself, from version 3 on (`ApiVersionsRequest.isValid`, KIP-511).
///
/// # Errors
/// `INVALID_REQUEST` for names besides letters, digits, `-` and `.`, or with `-` or `.` at an end.
pub fn validate_client_software(version: i16, request: &ApiVersionsRequest) -> Result<(), ErrorCode> {
    let names = [&request.client_software_name, &request.client_software_version];
    if version < 3 || names.iter().all(|name| is_software_name(name)) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
}

#[cfg(test)]
mod tests;
