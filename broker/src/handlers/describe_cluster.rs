//! DescribeCluster (60): brokers, the cluster's id, and whom to send requests for the controller to (KIP-700, KIP-919).

use super::{
    Services,
    context::{Outcome, RequestContext},
    view::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN, View, text},
};
use protocol::{
    error_code::ErrorCode,
    messages::{DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker},
};
use std::sync::Arc;

/// The endpoint type of brokers; a broker does not describe controllers.
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Answers from the metadata at hand. Fenced brokers are listed from version 2, where asked for. Asked for controllers:
/// `MISMATCHED_ENDPOINT_TYPE`; for anything else: `UNSUPPORTED_ENDPOINT_TYPE` (`AuthHelper.computeDescribeClusterResponse`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeClusterRequest) -> Outcome {
    let mut response = DescribeClusterResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN);
    if request.endpoint_type != BROKERS {
        let (error, message) = match request.endpoint_type {
            CONTROLLERS => (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            ),
            _ => (ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type"),
        };
        return context.done(&response.with_error_code(error.code()).with_error_message(Some(text(message))));
    }
    let image = services.metadata.image();
    let view = View { image: &image, listener: &context.connection.listener, node_id: services.config.node_id };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    let listed = view.brokers().filter(|(_, broker, _)| !broker.fenced || request.include_fenced_brokers);
    response.brokers = listed
        .map(|(id, broker, endpoint)| {
            DescribeClusterBroker::default()
                .with_broker_id(id.into())
                .with_host(text(&endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.as_deref().map(text))
                .with_is_fenced(broker.fenced)
        })
        .collect();
    response.cluster_id = text(&services.config.cluster_id);
    response.controller_id = view.controller_id().into();
    context.done(&response)
}
