//! Passing a client's request on to the active controller, inside an Envelope with the client's principal (KIP-590).
//!
//! It never repeats a request that the controller may have acted on: whoever created a topic twice would be told that it
//! exists already.

use super::context::{Principal, RequestContext};
use crate::controller_link::ControllerLink;
use bytes::Bytes;
use protocol::{
    error_code::ErrorCode,
    frame::{LENGTH_BYTES, decode_response, encode_request},
    messages::{EnvelopeRequest, Request},
};
use runtime::time::Instant;
use std::net::IpAddr;

/// Asks the controller on behalf of a client, in this version of the API.
///
/// # Errors
/// `REQUEST_TIMED_OUT` when there is no answer by the deadline, and then nothing is known of what the controller did, as in
/// Kafka (`ForwardingManagerImpl.onTimeout`); otherwise the error of the envelope itself.
pub(super) async fn to_controller<R: Request>(
    controllers: &ControllerLink,
    context: &RequestContext,
    version: i16,
    request: &R,
    deadline: Instant,
) -> Result<R::Response, ErrorCode> {
    let client_id = context.client_id.as_deref();
    let inner = encode_request(context.correlation_id, client_id, version, request).map_err(|error| {
        tracing::error!(version, %error, "a request cannot be forwarded");
        ErrorCode::UnknownServerError
    })?;
    let envelope = EnvelopeRequest::default()
        .with_request_data(inner.freeze().slice(LENGTH_BYTES..))
        .with_request_principal(Some(serialize(&context.connection.principal)))
        .with_client_host_address(match context.connection.peer.ip() {
            IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
        });
    let answer = controllers.call_once(&envelope, deadline).await.map_err(|error| {
        tracing::info!(%error, "the controller did not answer a forwarded request");
        ErrorCode::RequestTimedOut
    })?;
    match (ErrorCode::from_wire(answer.error_code), answer.response_data) {
        (ErrorCode::None, Some(response)) => decode_response::<R>(version, response).map_err(|error| {
            tracing::error!(%error, "the controller's answer cannot be read");
            ErrorCode::UnknownServerError
        }),
        (ErrorCode::None, None) => Err(ErrorCode::UnknownServerError),
        (error, _) => Err(error),
    }
}

/// A principal as brokers and controllers pass it on: `User:alice`.
fn serialize(principal: &Principal) -> Bytes {
    Bytes::from(principal.to_string())
}
