//! UnregisterBroker (64): the controller decides.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use std::sync::Arc;

/// Passes the request on to the active controller. A broker that lives registers again only when it starts again.
///
/// Without an answer from the controller: `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: UnregisterBrokerRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline;
        let version = context.api_version;
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => UnregisterBrokerResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(text(error.message()))),
        };
        context.answer(&response.with_throttle_time_ms(context.throttle_time_ms()))
    }))
}
