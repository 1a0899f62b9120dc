//! Requests that decide nothing: answered from what is committed and applied on this node.

use super::Handlers;
use crate::server::context::RequestContext;
use metadata::image::{METADATA_VERSION, METADATA_VERSION_RANGE};
use protocol::{
    api::{self, FinalizedFeatures, Plane, SupportedFeature},
    error_code::ErrorCode,
    ids::{BrokerId, MetadataOffset},
    internal::{MetadataFetchRequest, MetadataFetchResponse},
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse, StrBytes,
        describe_cluster_response::DescribeClusterBroker,
    },
};
use runtime::time;
use std::time::Duration;

/// The most that one answer carries, unless a single record is larger.
const BYTES_MAX: usize = 16 << 20;

/// The endpoint types of DescribeCluster (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// `cluster_authorized_operations` when they were not asked for.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// ApiVersions (18): what this plane speaks, and the finalized features.
pub(super) fn api_versions(
    handlers: &Handlers,
    context: &RequestContext,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    if let Err(code) = api::validate_client_software(context.api_version, request) {
        return ApiVersionsResponse::default().with_error_code(code.code());
    }
    let image = handlers.raft.applied().image();
    let levels = image.features.iter().map(|(name, level)| (name.to_owned(), level)).collect();
    let finalized = FinalizedFeatures { epoch: image.offset().0 - 1, levels };
    let supported =
        [SupportedFeature { name: METADATA_VERSION, min: METADATA_VERSION_RANGE.min, max: METADATA_VERSION_RANGE.max }];
    api::api_versions_response(context.api_version, Plane::Controller, &finalized, &supported)
        .with_throttle_time_ms(context.throttle_time_ms())
}

/// DescribeCluster (60) about controllers: who they are, and which is active. Any controller answers. Asked for brokers:
/// `MISMATCHED_ENDPOINT_TYPE`; for anything else: `UNSUPPORTED_ENDPOINT_TYPE` (`AuthHelper.computeDescribeClusterResponse`).
pub(super) fn describe_cluster(
    handlers: &Handlers,
    context: &RequestContext,
    request: &DescribeClusterRequest,
    authorized: Result<(), ErrorCode>,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN);
    let refuse = |code: ErrorCode, message: &'static str| {
        let message = StrBytes::from_static_str(message);
        response.clone().with_error_code(code.code()).with_error_message(Some(message))
    };
    if let Err(code) = authorized {
        return refuse(code, code.message());
    }
    match request.endpoint_type {
        CONTROLLERS => {}
        BROKERS => {
            let message =
                "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER";
            return refuse(ErrorCode::MismatchedEndpointType, message);
        }
        _ => return refuse(ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type"),
    }
    let controllers = handlers.quorum.voters.iter().filter_map(|(id, address)| {
        let (host, port) = address.rsplit_once(':')?;
        let host = StrBytes::from_string(host.trim_matches(['[', ']']).to_owned());
        let controller = DescribeClusterBroker::default().with_broker_id((*id).into()).with_host(host);
        Some(controller.with_port(port.parse().ok()?))
    });
    let leader = handlers.raft.leadership().current().leader.unwrap_or(BrokerId::NONE);
    response
        .with_endpoint_type(CONTROLLERS)
        .with_cluster_id(StrBytes::from_string(handlers.quorum.cluster_id.clone()))
        .with_controller_id(leader.into())
        .with_brokers(controllers.collect())
}

/// MetadataFetch (20001): committed records from an offset on, or a snapshot where they are gone. Waits for news: records,
/// or another leader.
pub(super) async fn metadata_fetch(
    handlers: &Handlers,
    context: &RequestContext,
    request: &MetadataFetchRequest,
    authorized: Result<(), ErrorCode>,
) -> MetadataFetchResponse {
    if let Err(code) = authorized.and_then(|()| handlers.same_cluster(&request.cluster_id)) {
        return MetadataFetchResponse {
            error_code: code.code(),
            leader_id: BrokerId::NONE,
            end: MetadataOffset(0),
            snapshot: None,
            first: request.from,
            records: Vec::new(),
        };
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let until = (time::now() + wait).min(context.deadline);
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(BYTES_MAX);
    let from = request.from.max(MetadataOffset(0));
    let applied = handlers.raft.applied();
    let (mut end, mut leadership) = (applied.watch_end(), handlers.raft.leadership());
    let leader = leadership.current().leader;
    let news = async {
        // Both watches were made before the first look, so nothing is missed between looking and waiting.
        while applied.end() <= from && leadership.current().leader == leader {
            runtime::select! {
                told = end.changed() => if told.is_err() { return },
                told = leadership.changed() => if !told { return },
            }
        }
    };
    // No news in time is an answer too.
    let _ = time::timeout_at(until, news).await;
    let part = applied.read(from, bytes_max);
    MetadataFetchResponse {
        error_code: ErrorCode::None.code(),
        leader_id: leadership.current().leader.unwrap_or(BrokerId::NONE),
        end: part.end,
        snapshot: part.snapshot,
        first: part.first,
        records: part.records,
    }
}
