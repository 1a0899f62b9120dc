//! DescribeQuorum (55): the active controller tells, for it leads the quorum.

use super::{
    Services,
    context::{Outcome, RequestContext},
    forward,
    view::text,
};
use protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use std::sync::Arc;

/// Passes the request on to the active controller. No other node knows how far the voters have come.
///
/// Without an answer from the controller: `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeQuorumRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = context.deadline;
        let version = context.api_version;
        let response = match forward::to_controller(&services.controllers, &context, version, &request, deadline).await
        {
            Ok(response) => response,
            Err(error) => DescribeQuorumResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(text(error.message()))),
        };
        context.answer(&response)
    }))
}
