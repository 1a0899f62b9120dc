//! Pure. Kafka's messages, as the `kafka-protocol` crate has them: the one file that names that crate's messages.
//!
//! What is decoded from a peer has passed [`crate::guard`] first; what is on the data path (batches, the Fetch response) has
//! code of its own. The crate's integers that share a name with a noun of [`crate::ids`] carry the prefix `Wire` here.

use crate::ids;

pub use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ApiVersionsRequest,
    ApiVersionsResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, ElectLeadersRequest, ElectLeadersResponse,
    EnvelopeRequest, EnvelopeResponse, FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListConfigResourcesRequest, ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse,
    ListOffsetsRequest, ListOffsetsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, SyncGroupRequest,
    SyncGroupResponse, UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
pub use kafka_protocol::messages::{
    BrokerId as WireBrokerId, GroupId, ProducerId as WireProducerId, TopicName, TransactionalId,
};
pub use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
pub use kafka_protocol::messages::{
    allocate_producer_ids_request, allocate_producer_ids_response, alter_configs_request, alter_configs_response,
    alter_partition_reassignments_request, alter_partition_reassignments_response, alter_partition_request,
    alter_partition_response, alter_replica_log_dirs_request, alter_replica_log_dirs_response, api_versions_request,
    api_versions_response, assign_replicas_to_dirs_request, assign_replicas_to_dirs_response, broker_heartbeat_request,
    broker_heartbeat_response, broker_registration_request, broker_registration_response,
    consumer_group_describe_request, consumer_group_describe_response, consumer_group_heartbeat_request,
    consumer_group_heartbeat_response, create_partitions_request, create_partitions_response, create_topics_request,
    create_topics_response, delete_groups_request, delete_groups_response, delete_records_request,
    delete_records_response, delete_topics_request, delete_topics_response, describe_cluster_request,
    describe_cluster_response, describe_configs_request, describe_configs_response, describe_groups_request,
    describe_groups_response, describe_log_dirs_request, describe_log_dirs_response, describe_producers_request,
    describe_producers_response, describe_quorum_request, describe_quorum_response, describe_topic_partitions_request,
    describe_topic_partitions_response, elect_leaders_request, elect_leaders_response, envelope_request,
    envelope_response, fetch_request, fetch_response, find_coordinator_request, find_coordinator_response,
    heartbeat_request, heartbeat_response, incremental_alter_configs_request, incremental_alter_configs_response,
    init_producer_id_request, init_producer_id_response, join_group_request, join_group_response, leave_group_request,
    leave_group_response, list_config_resources_request, list_config_resources_response, list_groups_request,
    list_groups_response, list_offsets_request, list_offsets_response, list_partition_reassignments_request,
    list_partition_reassignments_response, metadata_request, metadata_response, offset_commit_request,
    offset_commit_response, offset_delete_request, offset_delete_response, offset_fetch_request, offset_fetch_response,
    offset_for_leader_epoch_request, offset_for_leader_epoch_response, produce_request, produce_response,
    sync_group_request, sync_group_response, unregister_broker_request, unregister_broker_response,
    update_features_request, update_features_response,
};
pub use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
pub use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};

impl From<ids::BrokerId> for WireBrokerId {
    fn from(id: ids::BrokerId) -> Self {
        Self(id.0)
    }
}

impl From<WireBrokerId> for ids::BrokerId {
    fn from(id: WireBrokerId) -> Self {
        Self(id.0)
    }
}

impl From<ids::ProducerId> for WireProducerId {
    fn from(id: ids::ProducerId) -> Self {
        Self(id.0)
    }
}

impl From<WireProducerId> for ids::ProducerId {
    fn from(id: WireProducerId) -> Self {
        Self(id.0)
    }
}

/// The name of a topic as the crate's messages want it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
