//! ApiVersions (18): what this listener serves, and the cluster's features (KIP-35, KIP-511, KIP-584).

use super::{
    Services,
    context::{Outcome, RequestContext},
};
use crate::config::SUPPORTED_FEATURES;
use protocol::{
    api::{FinalizedFeatures, SupportedFeature, api_versions_response, validate_client_software},
    messages::{ApiVersionsRequest, ApiVersionsResponse},
};
use std::sync::Arc;

/// Answers at once. A client name that is not one gets `INVALID_REQUEST`. The epoch of the finalized features is the offset
/// of the metadata that they were read from, as in Kafka.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: ApiVersionsRequest) -> Outcome {
    if let Err(error) = validate_client_software(context.api_version, &request) {
        return context.done(&ApiVersionsResponse::default().with_error_code(error.code()));
    }
    let image = services.metadata.image();
    let finalized = FinalizedFeatures {
        epoch: image.offset().0 - 1,
        levels: image.features.iter().map(|(name, level)| (name.to_owned(), level)).collect(),
    };
    let supported: Vec<SupportedFeature> = SUPPORTED_FEATURES.to_vec();
    let response = api_versions_response(context.api_version, context.connection.plane, &finalized, &supported);
    let throttle_time_ms = if context.api_version >= 1 { context.throttle_time_ms() } else { 0 };
    context.done(&response.with_throttle_time_ms(throttle_time_ms))
}
