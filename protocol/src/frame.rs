//! Pure. Frames and headers: what stands around each message on a connection.
//!
//! A frame is a length of four bytes and as many bytes. A request begins with key, version, correlation id and client id, a
//! response with the correlation id. Nothing is reserved by an announced length: a buffer grows with what arrives.

use crate::api::{self, Api, ApiKey, Plane};
use crate::error_code::ErrorCode;
use crate::guard::{self, Caps, GuardError};
use crate::messages::{
    ApiVersionsRequest, ApiVersionsResponse, Decodable, Encodable, HeaderVersion, Request, StrBytes,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// Why a frame, or the message in it, is refused. A server closes the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is negative, or more than the listener accepts.
    #[error("a frame of {announced} bytes is outside 0 to {limit}")]
    BadLength {
        /// As announced.
        announced: i32,
        /// The listener's limit.
        limit: usize,
    },
    /// The frame ends inside its header, or its client id is no text.
    #[error("the header of the frame is malformed")]
    BadHeader,
    /// The key does not exist on this listener.
    #[error("api key {0} does not exist here")]
    UnknownApi(ApiKey),
    /// The key exists, the version does not.
    #[error("{name} version {version} is not served")]
    UnsupportedVersion {
        /// Kafka's name of the API.
        name: &'static str,
        /// As asked.
        version: i16,
    },
    /// The bytes are not what the message's schema says, or more than allowed.
    #[error("{name} version {version}: {cause}")]
    Refused {
        /// Kafka's name of the API.
        name: &'static str,
        /// As asked.
        version: i16,
        /// What is wrong.
        cause: GuardError,
    },
    /// The codec refused what the guard let pass.
    #[error("{name} version {version} does not decode: {cause}")]
    Undecodable {
        /// Kafka's name of the API.
        name: &'static str,
        /// As asked.
        version: i16,
        /// In the codec's words.
        cause: String,
    },
    /// A message of ours does not fit its version.
    #[error("a message does not encode in version {version}: {cause}")]
    Unencodable {
        /// As wanted.
        version: i16,
        /// In the codec's words.
        cause: String,
    },
}

/// Takes frames off a buffer that bytes are appended to as they arrive.
#[derive(Clone, Debug)]
pub struct FrameReader {
    frame_bytes_max: usize,
}

impl FrameReader {
    /// Accepts frames of at most this many bytes (`socket.request.max.bytes`).
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max }
    }

    /// Takes the first frame off `buffer`, without its length, if all of it has arrived. The bytes are not copied.
    ///
    /// # Errors
    /// `BadLength` as soon as the length has arrived.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.announced(buffer)? else { return Ok(None) };
        if buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Ok(Some(buffer.split_to(length).freeze()))
    }

    /// How many bytes are wanted before [`FrameReader::next`] yields; zero if it would now. For a hint how much to read, never
    /// how much to reserve.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub fn missing(&self, buffer: &[u8]) -> Result<usize, FrameError> {
        let wanted = LENGTH_BYTES + self.announced(buffer)?.unwrap_or(0);
        Ok(wanted.saturating_sub(buffer.len()))
    }

    fn announced(&self, buffer: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(bytes) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let announced = i32::from_be_bytes(*bytes);
        match usize::try_from(announced) {
            Ok(length) if length <= self.frame_bytes_max => Ok(Some(length)),
            _ => Err(FrameError::BadLength { announced, limit: self.frame_bytes_max }),
        }
    }
}

/// A request whose header was read, and whose body was not yet.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Its row in the table.
    pub api: &'static Api,
    /// Its key.
    pub api_key: ApiKey,
    /// Its version. Served, unless [`RequestHead::is_unsupported_api_versions`].
    pub api_version: i16,
    /// To be sent back.
    pub correlation_id: i32,
    /// How the client calls itself.
    pub client_id: Option<StrBytes>,
    /// The message.
    pub body: Bytes,
}

impl RequestHead {
    /// Whether this is an ApiVersions request of a version that is not served. It is answered with
    /// [`encode_unsupported_api_versions`], and its body is not looked at.
    pub fn is_unsupported_api_versions(&self) -> bool {
        self.api_key == api::API_VERSIONS && !self.api.serves(self.api_version)
    }
}

/// Reads the header of a request on a listener of this kind.
///
/// # Errors
/// `UnknownApi` and `UnsupportedVersion`, which close the connection as in Kafka (ApiVersions alone gets an answer in any
/// version), and `BadHeader`.
pub fn parse_request_head(frame: Bytes, plane: Plane) -> Result<RequestHead, FrameError> {
    let mut body = frame;
    let api_key = ApiKey(body.try_get_i16().map_err(|_| FrameError::BadHeader)?);
    let api_version = body.try_get_i16().map_err(|_| FrameError::BadHeader)?;
    let correlation_id = body.try_get_i32().map_err(|_| FrameError::BadHeader)?;
    let api = api::find(api_key).filter(|api| api.is_on(plane)).ok_or(FrameError::UnknownApi(api_key))?;
    let served = api.serves(api_version);
    if !served && api_key != api::API_VERSIONS {
        return Err(FrameError::UnsupportedVersion { name: api.name, version: api_version });
    }
    let client_id = take_client_id(&mut body)?;
    if served && api.request_header_version(api_version) >= 2 {
        let mut rest = &body[..];
        let refused = |cause| FrameError::Refused { name: api.name, version: api_version, cause };
        guard::skip_tagged_fields(&mut rest, &api.caps).map_err(refused)?;
        let tagged = body.len() - rest.len();
        body.advance(tagged);
    }
    Ok(RequestHead { api, api_key, api_version, correlation_id, client_id, body })
}

/// A header's client id has a length of two bytes in every version (KIP-482).
fn take_client_id(body: &mut Bytes) -> Result<Option<StrBytes>, FrameError> {
    match body.try_get_i16().map_err(|_| FrameError::BadHeader)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| FrameError::BadHeader)?;
            if length > body.len() {
                return Err(FrameError::BadHeader);
            }
            StrBytes::from_utf8(body.split_to(length)).map(Some).map_err(|_| FrameError::BadHeader)
        }
    }
}

/// Decodes the message of a request, once the guard has walked over it. Strings and bytes are slices of the frame.
///
/// Bytes that follow the message are not read, as in Kafka (`AbstractRequest.parseRequest` reads the fields and looks no
/// further), and clients need that: librdkafka 2.16.0 asks for all topics with three bytes too many in Metadata 9 and up.
///
/// # Errors
/// `Refused` by the guard, `Undecodable` by the codec.
///
/// # Panics
/// If `T` is not the request of the head's key.
pub fn decode_body<T: Request>(head: &RequestHead) -> Result<T, FrameError> {
    assert_eq!(T::KEY, head.api_key.0, "a request is decoded as what its key says");
    let version = head.api_version;
    if !head.api.serves(version) {
        return Err(FrameError::UnsupportedVersion { name: head.api.name, version });
    }
    let refused = |cause| FrameError::Refused { name: head.api.name, version, cause };
    let length = guard::check(head.api.request, version, &head.body, &head.api.caps).map_err(refused)?;
    decode_whole(head.api.name, version, head.body.slice(..length))
}

fn decode_whole<T: Decodable>(name: &'static str, version: i16, mut body: Bytes) -> Result<T, FrameError> {
    let message = T::decode(&mut body, version).map_err(|error| FrameError::Undecodable {
        name,
        version,
        cause: error.to_string(),
    })?;
    if body.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Refused { name, version, cause: GuardError::LeftOver { count: body.len() } })
    }
}

/// Encodes a request as a whole frame, length and header included.
///
/// # Errors
/// `Unencodable` if a field is set that the version does not have, or a string is too long for it.
pub fn encode_request<T: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    request: &T,
) -> Result<BytesMut, FrameError> {
    frame_of(version, request, |frame| {
        frame.put_i16(T::KEY);
        frame.put_i16(version);
        frame.put_i32(correlation_id);
        match client_id {
            None => frame.put_i16(-1),
            Some(client_id) => {
                frame.put_i16(client_id.len().min(i16::MAX as usize) as i16);
                frame.put_slice(&client_id.as_bytes()[..client_id.len().min(i16::MAX as usize)]);
            }
        }
        if T::header_version(version) >= 2 {
            frame.put_u8(0);
        }
    })
}

/// Encodes a response as a whole frame, length and header included.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_response<T: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    response: &T,
) -> Result<BytesMut, FrameError> {
    frame_of(version, response, |frame| {
        frame.put_i32(correlation_id);
        if T::header_version(version) >= 1 {
            frame.put_u8(0);
        }
    })
}

/// The whole frame that answers an ApiVersions request of a version that is not served: error 35 in the layout of version 0.
pub fn encode_unsupported_api_versions(correlation_id: i32) -> BytesMut {
    encode_response(correlation_id, 0, &api::unsupported_api_versions_response())
        .expect("an error code and one range fit version 0")
}

fn frame_of<T: Encodable>(version: i16, message: &T, header: impl Fn(&mut BytesMut)) -> Result<BytesMut, FrameError> {
    let unencodable = |cause: String| FrameError::Unencodable { version, cause };
    let size = message.compute_size(version).map_err(|error| unencodable(error.to_string()))?;
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + 32 + size);
    frame.put_i32(0);
    header(&mut frame);
    message.encode(&mut frame, version).map_err(|error| unencodable(error.to_string()))?;
    let length = i32::try_from(frame.len() - LENGTH_BYTES).map_err(|_| unencodable("it is too long".to_owned()))?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The correlation id of a response: which request it answers.
///
/// # Errors
/// `BadHeader` if the frame is shorter than that.
pub fn response_correlation_id(frame: &[u8]) -> Result<i32, FrameError> {
    frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)).ok_or(FrameError::BadHeader)
}

/// Decodes the response to an `R` that was sent in this version, once the guard has walked over it.
///
/// An ApiVersions response with UNSUPPORTED_VERSION is read in the layout of version 0, whatever was asked.
///
/// # Errors
/// `BadHeader`, `UnknownApi` for a request that is not in the table, `Refused` and `Undecodable` as in [`decode_body`].
pub fn decode_response<R: Request>(version: i16, frame: Bytes) -> Result<R::Response, FrameError> {
    let api = api::find(ApiKey(R::KEY)).ok_or(FrameError::UnknownApi(ApiKey(R::KEY)))?;
    let mut body = frame;
    body.try_get_i32().map_err(|_| FrameError::BadHeader)?;
    let version = if R::KEY == ApiVersionsRequest::KEY && starts_with_unsupported_version(&body) { 0 } else { version };
    let refused = |cause| FrameError::Refused { name: api.name, version, cause };
    if R::Response::header_version(version) >= 1 {
        let mut rest = &body[..];
        guard::skip_tagged_fields(&mut rest, &Caps::RESPONSE).map_err(refused)?;
        let tagged = body.len() - rest.len();
        body.advance(tagged);
    }
    guard::check(api.response, version, &body, &Caps::RESPONSE).map_err(refused)?;
    decode_whole(api.name, version, body)
}

fn starts_with_unsupported_version(body: &[u8]) -> bool {
    body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes())
}

/// The highest version of an API that we serve and the other side does, by its ApiVersions response.
pub fn common_version(api: &Api, theirs: &ApiVersionsResponse) -> Option<i16> {
    let range = theirs.api_keys.iter().find(|range| range.api_key == api.key.0)?;
    let version = api.max.min(range.max_version);
    (version >= api.min && version >= range.min_version).then_some(version)
}

#[cfg(test)]
mod tests;
