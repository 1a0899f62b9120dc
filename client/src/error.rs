//! What can go wrong between a client and a cluster, one enum for all of this crate's calls but `produce` and `poll`.

use protocol::error_code::ErrorCode;
use std::io;
use std::time::Duration;

/// Why a call to a peer has no answer, or a bad one.
///
/// It can be cloned, because one closed connection fails many waiting calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The connection could not be opened: refused, unreachable, an address that no name server knows.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Whom we tried, `host:port`.
        address: String,
        /// What the operating system said, by kind.
        kind: io::ErrorKind,
        /// What the operating system said, in its words.
        cause: String,
    },
    /// The connection was not opened, or its versions not negotiated, in time.
    #[error("cannot connect to {address}: no answer within {after:?}")]
    ConnectTimedOut {
        /// Whom we tried, `host:port`.
        address: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection closed before the answer came.
    #[error("the connection to {address} closed: {cause}")]
    Closed {
        /// The peer, `host:port`.
        address: String,
        /// Why it closed.
        cause: CloseCause,
        /// Whether any byte of this request may have left. False: the peer has certainly not seen it.
        sent: bool,
    },
    /// The answer did not come in time. The connection stays; a late answer is dropped.
    #[error("no answer from {address} to {api} within {after:?}")]
    Timeout {
        /// The peer, `host:port`.
        address: String,
        /// The API asked, by name.
        api: &'static str,
        /// How long we waited.
        after: Duration,
        /// Whether any byte of this request may have left. False: the peer has certainly not seen it.
        sent: bool,
    },
    /// The peer sent bytes that are not an answer to what we asked.
    #[error("{address} broke the protocol: {cause}")]
    Protocol {
        /// The peer, `host:port`.
        address: String,
        /// Which rule it broke.
        cause: String,
    },
    /// We cannot put this request into bytes: a caller's mistake, such as a field that the version does not have.
    #[error("cannot encode {api} at version {version}: {cause}")]
    Encode {
        /// The API asked, by name.
        api: &'static str,
        /// The version it was to be encoded in.
        version: i16,
        /// What the codec said.
        cause: String,
    },
    /// We and the peer share no version of this API.
    #[error("{address} does not serve {api} in versions {min} to {max}")]
    UnsupportedVersion {
        /// The peer, `host:port`.
        address: String,
        /// The API asked, by name.
        api: &'static str,
        /// Our lowest version.
        min: i16,
        /// Our highest version.
        max: i16,
    },
    /// The peer answered with an error of Kafka's closed set.
    #[error("{code}: {}", message.as_deref().unwrap_or(code.message()))]
    Broker {
        /// The error.
        code: ErrorCode,
        /// What the broker added to it.
        message: Option<String>,
    },
    /// The metadata does not say who leads this partition, or it has no such topic, and the time for finding out is over.
    #[error("no leader known for {topic}-{partition}")]
    NoLeader {
        /// The topic, by name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// The metadata has no such topic.
    #[error("no topic named {topic}")]
    UnknownTopic {
        /// The topic, by name.
        topic: String,
    },
    /// No broker of the bootstrap list and none known since answers.
    #[error("no broker answers; the last error: {last}")]
    NoBroker {
        /// What the last one tried gave, in words.
        last: String,
    },
    /// Whatever was to carry out the call has been shut down.
    #[error("the client is closed")]
    Stopped,
}

/// Why a connection closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseCause {
    /// The peer closed its side.
    #[error("the peer closed it")]
    Peer,
    /// We closed it, by `Connection::close` or by dropping its last handle.
    #[error("this side closed it")]
    Local,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(String),
    /// A request was not answered in its time, nor in the time of any: the peer may be gone without a word.
    #[error("the peer is silent")]
    Silent,
    /// The peer broke the protocol, so nothing more that it says can be trusted.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

impl ClientError {
    /// An error that a broker answered with, `None` for `NONE`; a code outside Kafka's set counts as `UNKNOWN_SERVER_ERROR`.
    pub fn from_code(code: i16, message: Option<String>) -> Option<Self> {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        (code != ErrorCode::None).then_some(Self::Broker { code, message })
    }

    /// Whether the same call may succeed later or elsewhere. Says nothing about whether it has had an effect already.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. }
            | Self::NoLeader { .. }
            | Self::UnknownTopic { .. }
            | Self::NoBroker { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Encode { .. } | Self::UnsupportedVersion { .. } | Self::Stopped => false,
        }
    }

    /// Whether the peer has certainly not seen the request: nothing of it left this side.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Encode { .. }
            | Self::UnsupportedVersion { .. }
            | Self::NoLeader { .. }
            | Self::UnknownTopic { .. }
            | Self::NoBroker { .. }
            | Self::Stopped => true,
            Self::Closed { sent, .. } | Self::Timeout { sent, .. } => !sent,
            Self::Protocol { .. } | Self::Broker { .. } => false,
        }
    }

    /// Closes `connection` if this is a timeout on it: a broker answers each connection in order, so nothing asked behind this
    /// would be answered either, and a peer that is gone is noticed no other way.
    pub fn close(&self, connection: &crate::Connection) {
        if matches!(self, Self::Timeout { .. }) {
            connection.close();
        }
    }

    /// The broker's error code, when the broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }
}
