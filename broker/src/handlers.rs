//! The table: which handler serves which API; and what holds for every request before it gets there.
//!
//! A handler validates, calls one thing below, and shapes the answer. It runs on the task of its connection and must not
//! block; what has to wait is returned as a future ([`context::Outcome`]).

pub(crate) mod context;

mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alteration;
mod api_versions;
mod auto_creation;
mod broker_probe;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod coordination;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
#[cfg(test)]
mod fixture;
mod forward;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod locate;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod producer_ids;
mod sync_group;
mod topic_configs;
mod unregister_broker;
mod update_features;
mod view;

use crate::{
    config::{BrokerConfig, Settings},
    controller_link::ControllerLink,
    coordinator::{Coordinator, CoordinatorConfig},
    fetch_sessions::FetchSessions,
    lifecycle::Lifecycle,
    metadata_cache::MetadataCache,
    metrics::Metrics,
    partitions::Partitions,
};
use ::metadata::config::effective::{Layers, broker_long};
use auto_creation::AutoCreation;
use context::{Answer, Outcome, RequestContext};
use producer_ids::ProducerIds;
use protocol::{
    frame::{FrameError, RequestHead, decode_body},
    internal::BrokerProbeRequest,
    messages::{
        AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, ApiVersionsRequest,
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest,
        DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
        DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
        IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
        ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest,
        MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, Request, SyncGroupRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
    },
};
use runtime::sync::Lock;
use std::{sync::Arc, time::Duration};
use topic_configs::TopicConfigs;
use tracing::Instrument;

/// The rank of the sessions' lock: nothing else is held with it.
const SESSIONS_RANK: u8 = 90;

/// What handlers work with.
pub struct Services {
    /// What the broker was started with.
    pub config: BrokerConfig,
    /// The settings that are read for each request.
    pub settings: Settings,
    /// The cluster's metadata.
    pub metadata: MetadataCache,
    /// Every replica on this broker.
    pub partitions: Arc<Partitions>,
    /// The groups that this broker coordinates.
    pub coordinator: Arc<Coordinator>,
    /// The way to the active controller.
    pub controllers: Arc<ControllerLink>,
    /// What this broker is to the controller.
    pub lifecycle: Lifecycle,
    /// What it counts.
    pub metrics: Metrics,
    /// The incremental fetch sessions of followers and consumers.
    pub fetch_sessions: Lock<FetchSessions>,
    producer_ids: ProducerIds,
    topic_configs: TopicConfigs,
    auto_creation: AutoCreation,
}

impl Services {
    /// Puts them together; the metadata is still to be learned.
    pub fn new(
        config: BrokerConfig,
        partitions: Arc<Partitions>,
        controllers: Arc<ControllerLink>,
        lifecycle: Lifecycle,
    ) -> Self {
        let settings = Settings::new(&config.properties);
        Self {
            fetch_sessions: Lock::new(SESSIONS_RANK, FetchSessions::new(settings.fetch_session_slots)),
            settings,
            metadata: MetadataCache::new(),
            coordinator: Arc::new(Coordinator::new(
                config.node_id,
                CoordinatorConfig::new(&config.properties),
                partitions.clone(),
            )),
            partitions,
            controllers,
            lifecycle,
            metrics: Metrics::default(),
            producer_ids: ProducerIds::new(config.node_id),
            topic_configs: TopicConfigs::new(config.properties.clone()),
            auto_creation: AutoCreation::new(),
            config,
        }
    }

    /// `max.connections.per.ip`, as it is now: it may change while the broker runs.
    pub(crate) fn connections_per_ip_max(&self) -> usize {
        let (image, config) = (self.metadata.image(), &self.config);
        let layers = Layers::of_broker(&image, &config.properties, Some(config.node_id));
        usize::try_from(broker_long(&layers, "max.connections.per.ip")).unwrap_or(usize::MAX)
    }
}

type Handler = fn(&Arc<Services>, &RequestContext, RequestHead) -> Result<Outcome, FrameError>;

/// Declares which handler serves which request. A new API is one line here.
macro_rules! table {
    ($($request:ty => $module:ident,)*) => {
        fn handler(key: i16) -> Option<Handler> {
            match key {
                $(<$request as Request>::KEY => Some(|services, context, head| {
                    let request = decode_body::<$request>(&head)?;
                    // The request is now the only one that holds its memory.
                    drop(head);
                    Ok($module::handle(services, context, request))
                }),)*
                _ => None,
            }
        }
    };
}

table! {
    ProduceRequest => produce,
    FetchRequest => fetch,
    ListOffsetsRequest => list_offsets,
    MetadataRequest => metadata,
    ApiVersionsRequest => api_versions,
    CreateTopicsRequest => create_topics,
    DeleteTopicsRequest => delete_topics,
    DeleteRecordsRequest => delete_records,
    InitProducerIdRequest => init_producer_id,
    OffsetForLeaderEpochRequest => offset_for_leader_epoch,
    DescribeConfigsRequest => describe_configs,
    AlterConfigsRequest => alter_configs,
    AlterReplicaLogDirsRequest => alter_replica_log_dirs,
    DescribeLogDirsRequest => describe_log_dirs,
    CreatePartitionsRequest => create_partitions,
    ElectLeadersRequest => elect_leaders,
    IncrementalAlterConfigsRequest => incremental_alter_configs,
    AlterPartitionReassignmentsRequest => alter_partition_reassignments,
    ListPartitionReassignmentsRequest => list_partition_reassignments,
    DescribeQuorumRequest => describe_quorum,
    UpdateFeaturesRequest => update_features,
    DescribeClusterRequest => describe_cluster,
    DescribeProducersRequest => describe_producers,
    UnregisterBrokerRequest => unregister_broker,
    ListConfigResourcesRequest => list_config_resources,
    DescribeTopicPartitionsRequest => describe_topic_partitions,
    OffsetCommitRequest => offset_commit,
    OffsetFetchRequest => offset_fetch,
    FindCoordinatorRequest => find_coordinator,
    JoinGroupRequest => join_group,
    HeartbeatRequest => heartbeat,
    LeaveGroupRequest => leave_group,
    SyncGroupRequest => sync_group,
    DescribeGroupsRequest => describe_groups,
    ListGroupsRequest => list_groups,
    DeleteGroupsRequest => delete_groups,
    OffsetDeleteRequest => offset_delete,
    ConsumerGroupHeartbeatRequest => consumer_group_heartbeat,
    ConsumerGroupDescribeRequest => consumer_group_describe,
    BrokerProbeRequest => broker_probe,
}

/// Handles one request to its end, or until it has to wait.
///
/// # Errors
/// The bytes are not the request that their header announces: the connection closes.
pub(crate) fn handle(
    services: &Arc<Services>,
    mut context: RequestContext,
    head: RequestHead,
) -> Result<Outcome, FrameError> {
    let handler = handler(head.api_key.0).ok_or(FrameError::UnknownApi(head.api_key))?;
    if !authorize(&context) {
        return Ok(Outcome::Done(Answer::Close("its principal may not use this listener")));
    }
    services.metrics.request(context.api);
    context.throttle = throttle(&context);
    let span = tracing::debug_span!("request", api = context.api.name, correlation_id = context.correlation_id);
    let outcome = span.in_scope(|| handler(services, &context, head))?;
    if span.is_disabled() {
        return Ok(outcome);
    }
    Ok(match outcome {
        Outcome::Done(answer) => Outcome::Done(answer),
        Outcome::Parked(answer) => Outcome::Parked(Box::pin(answer.instrument(span))),
        Outcome::Waiting(answer) => Outcome::Waiting(Box::pin(answer.instrument(span))),
    })
}

/// Whether this principal may ask this at all. Without an authorizer (`authorizer.class.name` is empty) everybody may do
/// everything that its listener serves, as in Kafka.
fn authorize(context: &RequestContext) -> bool {
    context.api.is_on(context.connection.plane)
}

/// For how long this client is to send nothing. Without quotas, not at all.
fn throttle(_context: &RequestContext) -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api::{API_TABLE, Plane};

    #[test]
    fn every_api_of_the_brokers_listeners_has_a_handler_and_no_other_has() {
        for api in API_TABLE {
            let ours = api.is_on(Plane::Client) || api.is_on(Plane::InterBroker);
            assert_eq!(handler(api.key.0).is_some(), ours, "{}", api.name);
        }
    }
}
