//! UpdateFeatures (57): the controller decides.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use std::sync::Arc;

/// Passes the request on to the active controller. It asks nothing of this broker, whose registration says what it runs at.
///
/// Without an answer from the controller: `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: UpdateFeaturesRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline_within(request.timeout_ms);
        let version = context.api_version;
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => UpdateFeaturesResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(text(error.message()))),
        };
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}
