//! The controller plane's table: which request goes where, and what its answer looks like.
//!
//! Every request is decoded, put in its context, throttled and authorized here, at one place each. What must be decided is
//! handed to `decisions.rs`; what only reads is answered from what is committed and applied.

mod envelope;
mod reads;

use super::{
    connection::Pending,
    context::{Authorizer, Principal, RequestContext},
    decisions::Decisions,
};
use crate::{
    control::{ControlRequest, ControlResponse},
    raft::{Quorum, Raft},
};
use bytes::Bytes;
use protocol::{
    api,
    error_code::ErrorCode,
    frame::{FrameError, RequestHead, decode_body},
    ids::BrokerId,
    internal::{MetadataFetchRequest, RaftRequest, RaftResponse},
    messages::{
        AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
        ApiVersionsRequest, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
        BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, DescribeClusterRequest,
        EnvelopeRequest,
    },
};
use runtime::time;
use std::{sync::Arc, time::Duration};

/// How long Raft may take to answer another controller, which waits less: a snapshot must reach the device.
const RAFT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the handlers work with.
pub struct Handlers {
    /// The name of the listener, for contexts.
    pub listener: Arc<str>,
    /// Who this controller is, and who else there is.
    pub quorum: Quorum,
    /// The metadata log.
    pub raft: Raft,
    /// The way to the one who decides.
    pub decisions: Decisions,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// How long a request may take that names no time of its own.
    pub request_timeout: Duration,
}

/// A request that was begun.
pub struct Handled {
    /// Its answer.
    pub answer: Pending,
    /// Whose heartbeat it is, if it is one.
    pub heartbeat_of: Option<BrokerId>,
}

/// A decoded request.
enum Call {
    ApiVersions(ApiVersionsRequest),
    DescribeCluster(DescribeClusterRequest),
    MetadataFetch(MetadataFetchRequest),
    Raft(RaftRequest),
    Envelope(EnvelopeRequest),
    RegisterBroker(BrokerRegistrationRequest),
    Heartbeat(BrokerHeartbeatRequest),
    AlterPartition(AlterPartitionRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
}

impl Call {
    fn decode(head: &RequestHead) -> Result<Self, FrameError> {
        Ok(match head.api_key {
            api::API_VERSIONS => Self::ApiVersions(decode_body(head)?),
            api::DESCRIBE_CLUSTER => Self::DescribeCluster(decode_body(head)?),
            api::METADATA_FETCH => Self::MetadataFetch(decode_body(head)?),
            api::RAFT => Self::Raft(decode_body(head)?),
            api::ENVELOPE => Self::Envelope(decode_body(head)?),
            api::BROKER_REGISTRATION => Self::RegisterBroker(decode_body(head)?),
            api::BROKER_HEARTBEAT => Self::Heartbeat(decode_body(head)?),
            api::ALTER_PARTITION => Self::AlterPartition(decode_body(head)?),
            api::ASSIGN_REPLICAS_TO_DIRS => Self::AssignReplicasToDirs(decode_body(head)?),
            api::ALLOCATE_PRODUCER_IDS => Self::AllocateProducerIds(decode_body(head)?),
            other => return Err(FrameError::UnknownApi(other)),
        })
    }

    /// Who asks, where the request itself says so.
    fn principal(&self) -> Principal {
        match self {
            Self::MetadataFetch(request) => Principal::parse(&request.principal),
            Self::Raft(request) => Principal::parse(&request.principal),
            Self::Envelope(request) => envelope::principal(request),
            Self::ApiVersions(_)
            | Self::DescribeCluster(_)
            | Self::RegisterBroker(_)
            | Self::Heartbeat(_)
            | Self::AlterPartition(_)
            | Self::AssignReplicasToDirs(_)
            | Self::AllocateProducerIds(_) => Principal::anonymous(),
        }
    }

    fn heartbeat_of(&self) -> Option<BrokerId> {
        match self {
            Self::Heartbeat(request) => Some(request.broker_id.into()),
            Self::ApiVersions(_)
            | Self::DescribeCluster(_)
            | Self::MetadataFetch(_)
            | Self::Raft(_)
            | Self::Envelope(_)
            | Self::RegisterBroker(_)
            | Self::AlterPartition(_)
            | Self::AssignReplicasToDirs(_)
            | Self::AllocateProducerIds(_) => None,
        }
    }
}

impl Handlers {
    /// Begins a request.
    ///
    /// # Errors
    /// When it cannot be decoded, which closes the connection.
    pub fn handle(self: Arc<Self>, head: &RequestHead) -> Result<Handled, FrameError> {
        let call = Call::decode(head)?;
        let mut context = RequestContext::new(self.listener.clone(), call.principal(), head, self.request_timeout);
        context.throttle = throttle(&context);
        // Whoever connects may learn what is spoken here, before it says who it is.
        let exempt = matches!(call, Call::ApiVersions(_));
        let authorized = if exempt { Ok(()) } else { self.authorizer.authorize(&context) };
        let heartbeat_of = call.heartbeat_of();
        let answer: Pending = Box::pin(async move { self.answer(&context, call, authorized).await });
        Ok(Handled { answer, heartbeat_of })
    }

    async fn answer(&self, context: &RequestContext, call: Call, authorized: Result<(), ErrorCode>) -> Option<Bytes> {
        let throttle_time_ms = context.throttle_time_ms();
        match call {
            Call::ApiVersions(request) => context.answer(&reads::api_versions(self, context, &request)),
            Call::DescribeCluster(request) => {
                context.answer(&reads::describe_cluster(self, context, &request, authorized))
            }
            Call::MetadataFetch(request) => {
                context.answer(&reads::metadata_fetch(self, context, &request, authorized).await)
            }
            Call::Raft(request) => context.answer(&self.raft(request, authorized).await),
            Call::Envelope(request) => context.answer(&envelope::handle(self, context, request, authorized).await),
            Call::RegisterBroker(request) => {
                let decided = self.decide(context, ControlRequest::RegisterBroker(request), authorized).await;
                let response = match decided {
                    Ok(ControlResponse::RegisterBroker(response)) => response,
                    other => BrokerRegistrationResponse::default().with_error_code(refusal(other).code()),
                };
                context.answer(&response.with_throttle_time_ms(throttle_time_ms))
            }
            Call::Heartbeat(request) => {
                let decided = self.decide(context, ControlRequest::Heartbeat(request), authorized).await;
                let response = match decided {
                    Ok(ControlResponse::Heartbeat(response)) => response,
                    other => BrokerHeartbeatResponse::default().with_error_code(refusal(other).code()),
                };
                context.answer(&response.with_throttle_time_ms(throttle_time_ms))
            }
            Call::AlterPartition(request) => {
                let decided = self.decide(context, ControlRequest::AlterPartition(request), authorized).await;
                let response = match decided {
                    Ok(ControlResponse::AlterPartition(response)) => response,
                    other => AlterPartitionResponse::default().with_error_code(refusal(other).code()),
                };
                context.answer(&response.with_throttle_time_ms(throttle_time_ms))
            }
            Call::AssignReplicasToDirs(request) => {
                let decided = self.decide(context, ControlRequest::AssignReplicasToDirs(request), authorized).await;
                let response = match decided {
                    Ok(ControlResponse::AssignReplicasToDirs(response)) => response,
                    other => AssignReplicasToDirsResponse::default().with_error_code(refusal(other).code()),
                };
                context.answer(&response.with_throttle_time_ms(throttle_time_ms))
            }
            Call::AllocateProducerIds(request) => {
                let decided = self.decide(context, ControlRequest::AllocateProducerIds(request), authorized).await;
                let response = match decided {
                    Ok(ControlResponse::AllocateProducerIds(response)) => response,
                    other => AllocateProducerIdsResponse::default().with_error_code(refusal(other).code()),
                };
                context.answer(&response.with_throttle_time_ms(throttle_time_ms))
            }
        }
    }

    async fn decide(
        &self,
        context: &RequestContext,
        request: ControlRequest,
        authorized: Result<(), ErrorCode>,
    ) -> Result<ControlResponse, ErrorCode> {
        authorized?;
        self.decisions.decide(request, context.deadline).await
    }

    /// Whether a message is from this cluster.
    fn same_cluster(&self, cluster_id: &str) -> Result<(), ErrorCode> {
        if cluster_id == self.quorum.cluster_id {
            return Ok(());
        }
        tracing::warn!(theirs = cluster_id, ours = self.quorum.cluster_id, "a node of another cluster calls");
        Err(ErrorCode::InconsistentClusterId)
    }

    async fn raft(&self, request: RaftRequest, authorized: Result<(), ErrorCode>) -> RaftResponse {
        let answer = async {
            authorized?;
            self.same_cluster(&request.cluster_id)?;
            if request.target != self.quorum.node_id {
                tracing::warn!(target = request.target.0, "another controller was meant");
                return Err(ErrorCode::InvalidRequest);
            }
            let handled = self.raft.handle(request.kind, request.body);
            time::timeout(RAFT_TIMEOUT, handled).await.unwrap_or(Err(ErrorCode::RequestTimedOut))
        };
        match answer.await {
            Ok(body) => RaftResponse { error_code: ErrorCode::None.code(), body },
            Err(code) => RaftResponse { error_code: code.code(), body: Bytes::new() },
        }
    }
}

/// How long the sender should wait before it asks again. Requests among nodes are exempt from quotas, as in Kafka
/// (`ClientRequestQuotaManager.maybeRecordExempt`), and forwarded ones were throttled by the broker that took them.
fn throttle(_context: &RequestContext) -> Duration {
    Duration::ZERO
}

/// The error of an answer that did not come, or came to another question.
fn refusal(decided: Result<ControlResponse, ErrorCode>) -> ErrorCode {
    match decided {
        Ok(other) => unreachable!("a decision answers the request that it was made for, not with {other:?}"),
        Err(code) => code,
    }
}
