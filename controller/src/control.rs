//! Pure. What the active controller decides: a request and the metadata as it is give records, and an answer.
//!
//! A decision changes nothing. The shell (`server.rs`) takes requests one at a time and decides each against the image
//! of what is committed *and what is already proposed*; it proposes the records as one batch, and lets the response go
//! when they are committed and applied. A batch is applied whole, and after each single record of it the image is one
//! that may be: a broker leaves every ISR before it is fenced, and is unfenced before it leads.
//!
//! Beside what is replicated stands one local machine, [`Sessions`]: who was heard from, and when. Driven like this:
//!
//! ```text
//!   became active    control.activate(&image, now)           -> effects: probe every broker
//!   a request        control.handle(&image, request, now)    -> Decision { records, response }
//!   records applied  control.applied(&image, now)
//!   a timer          control.sessions_mut().tick(now)        -> effects: probe, fence
//! ```

mod alteration;
mod brokers;
mod configs;
mod directories;
mod draft;
mod features;
mod partitions;
mod placement;
mod producer_ids;
mod sessions;
mod topics;

pub use partitions::unclean_election;
pub use sessions::{ProbeAnswer, SessionEffect, Sessions};

use draft::Draft;
use metadata::config::Properties;
use metadata::image::{Image, METADATA_VERSION, METADATA_VERSION_LEVEL};
use metadata::record::Record;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, MonotonicMillis, TopicId};
use protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
use std::sync::Arc;

/// What a controller is told once.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// The cluster that brokers must mean, as `meta.properties` has it.
    pub cluster_id: String,
    /// This node's static settings: the defaults of topics, and what an administrator may do.
    pub properties: Arc<Properties>,
    /// How long a broker may be silent before it is fenced, in milliseconds: `broker.session.timeout.ms`.
    pub session_timeout_ms: u64,
}

/// Something to decide.
#[derive(Clone, Debug)]
pub enum ControlRequest {
    /// The first thing that an active controller proposes: what a new cluster needs, and what follows from other static
    /// settings than before. Nothing when all is there.
    Bootstrap,
    /// A broker starts, or makes its registration again (62).
    RegisterBroker(BrokerRegistrationRequest),
    /// A broker lives, and says what it wants (63).
    Heartbeat(BrokerHeartbeatRequest),
    /// A leader asks for other in-sync replicas (56).
    AlterPartition(AlterPartitionRequest),
    /// A broker needs producer ids to give away (67).
    AllocateProducerIds(AllocateProducerIdsRequest),
    /// A broker says in which directories replicas of it are (73).
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    /// A client creates topics (19).
    CreateTopics {
        /// What it asks for.
        request: CreateTopicsRequest,
        /// A fresh identity for each topic of the request, in order: pure code has no randomness.
        topic_ids: Vec<TopicId>,
        /// Any number: where the placement of replicas starts.
        placement_seed: u64,
    },
    /// A client deletes topics (20).
    DeleteTopics {
        /// What it asks for.
        request: DeleteTopicsRequest,
        /// The request's version: an older client is told other things.
        version: i16,
    },
    /// A client wants more partitions (37).
    CreatePartitions {
        /// What it asks for.
        request: CreatePartitionsRequest,
        /// Any number: where the placement of replicas starts.
        placement_seed: u64,
    },
    /// A client wants leaders elected (43).
    ElectLeaders {
        /// What it asks for.
        request: ElectLeadersRequest,
        /// The request's version: before 1 an answer has no error of its own.
        version: i16,
    },
    /// A client wants other replicas, or to have them left as they were (45).
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    /// A client asks what is being moved (46).
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    /// A client wants features finalized (57).
    UpdateFeatures {
        /// What it asks for.
        request: UpdateFeaturesRequest,
        /// The request's version: an older client is told of each feature.
        version: i16,
    },
    /// A client replaces the settings of topics and brokers (33).
    AlterConfigs(AlterConfigsRequest),
    /// A client changes single settings of topics and brokers (44).
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// A broker's session ended ([`SessionEffect::Fence`]).
    FenceBroker {
        /// Whose.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
    },
    /// An operator removes a broker's registration (64).
    UnregisterBroker {
        /// Whose.
        broker_id: BrokerId,
    },
    /// Time to give preferred leaders their partitions back (`auto.leader.rebalance.enable`).
    BalanceLeaders,
}

/// What is answered once the records are committed and applied.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlResponse {
    /// Nobody waits for an answer.
    Done,
    /// To [`ControlRequest::RegisterBroker`].
    RegisterBroker(BrokerRegistrationResponse),
    /// To [`ControlRequest::Heartbeat`].
    Heartbeat(BrokerHeartbeatResponse),
    /// To [`ControlRequest::AlterPartition`].
    AlterPartition(AlterPartitionResponse),
    /// To [`ControlRequest::AssignReplicasToDirs`].
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
    /// To [`ControlRequest::AllocateProducerIds`].
    AllocateProducerIds(AllocateProducerIdsResponse),
    /// To [`ControlRequest::CreateTopics`].
    CreateTopics(CreateTopicsResponse),
    /// To [`ControlRequest::DeleteTopics`].
    DeleteTopics(DeleteTopicsResponse),
    /// To [`ControlRequest::CreatePartitions`].
    CreatePartitions(CreatePartitionsResponse),
    /// To [`ControlRequest::ElectLeaders`].
    ElectLeaders(ElectLeadersResponse),
    /// To [`ControlRequest::AlterPartitionReassignments`].
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    /// To [`ControlRequest::ListPartitionReassignments`].
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    /// To [`ControlRequest::UpdateFeatures`].
    UpdateFeatures(UpdateFeaturesResponse),
    /// To [`ControlRequest::AlterConfigs`].
    AlterConfigs(AlterConfigsResponse),
    /// To [`ControlRequest::IncrementalAlterConfigs`].
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// To [`ControlRequest::UnregisterBroker`].
    UnregisterBroker(ErrorCode),
}

/// What was decided: the records are one batch, all or nothing. Without records, the response may leave once everything
/// that the image held when it was decided is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What changes, in order.
    pub records: Vec<Record>,
    /// What is answered then.
    pub response: ControlResponse,
}

/// See the module.
#[derive(Debug)]
pub struct Control {
    settings: ControlSettings,
    sessions: Sessions,
}

impl Control {
    /// A controller that is not active and knows of no broker.
    pub fn new(settings: ControlSettings) -> Self {
        let sessions = Sessions::new(settings.session_timeout_ms);
        Self { settings, sessions }
    }

    /// Who was heard from.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Who was heard from, to be told of probes and broken connections.
    pub fn sessions_mut(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// This controller became active: every session starts anew, and every broker is to be probed at once.
    pub fn activate(&mut self, image: &Image, now: MonotonicMillis) -> Vec<SessionEffect> {
        self.sessions.activate(image, now)
    }

    /// Records were committed and applied, and this is the image now.
    pub fn applied(&mut self, image: &Image, now: MonotonicMillis) {
        self.sessions.applied(image, now);
    }

    /// Takes note of what a request says about its sender, then decides it.
    pub fn handle(&mut self, image: &Image, request: ControlRequest, now: MonotonicMillis) -> Decision {
        let mut sender = None;
        if let ControlRequest::Heartbeat(heartbeat) = &request {
            self.sessions.heartbeat(image, heartbeat, now);
            sender = Some(BrokerId::from(heartbeat.broker_id));
        }
        let decision = self.decide(image, request, now);
        if let (Some(broker_id), ControlResponse::Heartbeat(response)) = (sender, &decision.response)
            && response.should_shut_down
        {
            self.sessions.let_go(broker_id);
        }
        decision
    }

    /// Decides a request against an image. Changes nothing, and never fails: a refusal is an answer.
    pub fn decide(&self, image: &Image, request: ControlRequest, now: MonotonicMillis) -> Decision {
        let mut draft = Draft::new(image, &self.settings.properties);
        let response = match request {
            ControlRequest::Bootstrap => {
                bootstrap(&mut draft);
                ControlResponse::Done
            }
            ControlRequest::RegisterBroker(request) => self.register(&mut draft, &request, now),
            ControlRequest::Heartbeat(request) => {
                ControlResponse::Heartbeat(brokers::heartbeat(&mut draft, &self.sessions, &request))
            }
            ControlRequest::AlterPartition(request) => {
                ControlResponse::AlterPartition(partitions::alter(&mut draft, &request))
            }
            ControlRequest::AssignReplicasToDirs(request) => {
                ControlResponse::AssignReplicasToDirs(directories::assign(&mut draft, request))
            }
            ControlRequest::AllocateProducerIds(request) => {
                ControlResponse::AllocateProducerIds(producer_ids::allocate(&mut draft, &request))
            }
            ControlRequest::CreateTopics { request, topic_ids, placement_seed } => {
                let response = topics::create(&mut draft, &request, &topic_ids, placement_seed);
                draft.discard_if(request.validate_only);
                ControlResponse::CreateTopics(response)
            }
            ControlRequest::DeleteTopics { request, version } => {
                ControlResponse::DeleteTopics(topics::delete(&mut draft, &request, version))
            }
            ControlRequest::CreatePartitions { request, placement_seed } => {
                ControlResponse::CreatePartitions(topics::expand(&mut draft, &request, placement_seed))
            }
            ControlRequest::ElectLeaders { request, version } => {
                ControlResponse::ElectLeaders(partitions::elect(&mut draft, &request, version))
            }
            ControlRequest::AlterPartitionReassignments(request) => {
                ControlResponse::AlterPartitionReassignments(partitions::reassign(&mut draft, &request))
            }
            ControlRequest::ListPartitionReassignments(request) => {
                ControlResponse::ListPartitionReassignments(partitions::list_reassignments(image, &request))
            }
            ControlRequest::UpdateFeatures { request, version } => {
                ControlResponse::UpdateFeatures(features::update(&mut draft, &request, version))
            }
            ControlRequest::AlterConfigs(request) => {
                let response = alteration::replace(&mut draft, &request);
                draft.discard_if(request.validate_only);
                ControlResponse::AlterConfigs(response)
            }
            ControlRequest::IncrementalAlterConfigs(request) => {
                let response = alteration::change(&mut draft, &request);
                draft.discard_if(request.validate_only);
                ControlResponse::IncrementalAlterConfigs(response)
            }
            ControlRequest::FenceBroker { broker_id, broker_epoch } => {
                brokers::fence_registration(&mut draft, broker_id, broker_epoch);
                ControlResponse::Done
            }
            ControlRequest::UnregisterBroker { broker_id } => {
                ControlResponse::UnregisterBroker(brokers::unregister(&mut draft, broker_id))
            }
            ControlRequest::BalanceLeaders => {
                partitions::balance_leaders(&mut draft);
                ControlResponse::Done
            }
        };
        Decision { records: draft.into_records(), response }
    }

    fn register(
        &self,
        draft: &mut Draft<'_>,
        request: &BrokerRegistrationRequest,
        now: MonotonicMillis,
    ) -> ControlResponse {
        let live = |broker_id, broker_epoch| self.sessions.is_live(broker_id, broker_epoch, now);
        ControlResponse::RegisterBroker(brokers::register(draft, &self.settings.cluster_id, live, request))
    }
}

/// What a new cluster needs: the level of its metadata. Nothing else is finalized, so no client uses what is not served.
/// And what an older one needs whose static settings changed with this controller's start.
fn bootstrap(draft: &mut Draft<'_>) {
    if draft.image().features.is_empty() {
        draft.push(Record::FeatureLevel { name: METADATA_VERSION.to_owned(), level: METADATA_VERSION_LEVEL });
    }
    partitions::settle_eligible(draft);
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
