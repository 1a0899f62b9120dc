//! The first exchange on a connection: which APIs the peer serves, and in which versions (KIP-35, KIP-511).
//!
//! Runs before the connection has a reader of its own, so it reads and writes directly. Driven by `connection`.

use super::ConnectionOptions;
use bytes::{Bytes, BytesMut};
use protocol::error_code::ErrorCode;
use protocol::frame::{FrameReader, decode_response, encode_request, response_correlation_id};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, Request, StrBytes, VersionRange};
use runtime::net::{ReadHalf, WriteHalf};
use std::collections::BTreeMap;

/// The newest ApiVersions that we speak; `kafka-protocol` knows no newer one.
const NEWEST: i16 = 4;

/// What the peer serves: an API's key, and the versions.
pub(super) type PeerVersions = BTreeMap<i16, VersionRange>;

/// Why the peer's versions are not known.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// Reading or writing failed, or the peer closed.
    Io(String),
    /// The peer's answer is not one.
    Protocol(String),
}

/// The two halves of a new connection, and what was read past the last frame.
pub(super) struct Wire {
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
    pub(super) buffer: BytesMut,
    pub(super) frames: FrameReader,
}

/// Asks for the peer's versions at our newest, and once more as the peer says when it is older (error 35, version 0 layout).
pub(super) async fn negotiate(wire: &mut Wire, options: &ConnectionOptions) -> Result<PeerVersions, HandshakeError> {
    let mut version = NEWEST;
    for correlation_id in [0, 1] {
        let response = ask(wire, options, correlation_id, version).await?;
        let code = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if code == ErrorCode::None {
            let range = |min, max| VersionRange { min, max };
            return Ok(response
                .api_keys
                .iter()
                .map(|api| (api.api_key, range(api.min_version, api.max_version)))
                .collect());
        }
        if code != ErrorCode::UnsupportedVersion || version == 0 {
            return Err(HandshakeError::Protocol(format!("answers ApiVersions with {code}")));
        }
        let served = response.api_keys.iter().find(|api| api.api_key == ApiVersionsRequest::KEY);
        version = served.map_or(0, |api| api.max_version.clamp(0, NEWEST - 1));
    }
    Err(HandshakeError::Protocol("refuses the version of ApiVersions that it offered".to_owned()))
}

async fn ask(
    wire: &mut Wire,
    options: &ConnectionOptions,
    correlation_id: i32,
    version: i16,
) -> Result<ApiVersionsResponse, HandshakeError> {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = StrBytes::from_static_str("gregor");
        request.client_software_version = StrBytes::from_static_str(env!("CARGO_PKG_VERSION"));
    }
    let protocol = |cause: &dyn std::fmt::Display| HandshakeError::Protocol(cause.to_string());
    let frame = encode_request(correlation_id, Some(&options.client_id), version, &request)
        .map_err(|cause| protocol(&cause))?;
    wire.write.send(&frame, &[]).await.map_err(|cause| HandshakeError::Io(cause.to_string()))?;
    let frame = next_frame(wire).await?;
    let answered = response_correlation_id(&frame).map_err(|cause| protocol(&cause))?;
    if answered != correlation_id {
        return Err(HandshakeError::Protocol(format!("answers request {answered}, which nobody asked")));
    }
    decode_response::<ApiVersionsRequest>(version, frame).map_err(|cause| protocol(&cause))
}

async fn next_frame(wire: &mut Wire) -> Result<Bytes, HandshakeError> {
    loop {
        let next = wire.frames.next(&mut wire.buffer);
        if let Some(frame) = next.map_err(|cause| HandshakeError::Protocol(cause.to_string()))? {
            return Ok(frame);
        }
        match wire.read.read(&mut wire.buffer).await {
            Ok(0) => return Err(HandshakeError::Io("the peer closed it".to_owned())),
            Ok(_) => {}
            Err(cause) => return Err(HandshakeError::Io(cause.to_string())),
        }
    }
}
