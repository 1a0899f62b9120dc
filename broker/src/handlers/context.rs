//! One request on its way through the broker, and what it comes to.
//!
//! Nothing here knows what any API means. Made by `server`, read by every handler.

use bytes::Bytes;
use protocol::{
    api::{Api, Plane},
    frame::{RequestHead, encode_response},
    messages::{Encodable, HeaderVersion},
};
use runtime::{net::Slice, time::Instant};
use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

/// Who asks, as Kafka names it: `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// The kind: `User` for everybody who connects.
    pub kind: String,
    /// The name within its kind.
    pub name: String,
}

/// What all requests of one connection have in common.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// Which plane that listener serves.
    pub plane: Plane,
    /// Who connected.
    pub principal: Principal,
    /// From where.
    pub peer: SocketAddr,
}

/// One request: what its header and its connection say.
#[derive(Clone)]
pub struct RequestContext {
    /// The connection that it came over.
    pub connection: Arc<ConnectionInfo>,
    /// The API that it asks for.
    pub api: &'static Api,
    /// In which version.
    pub api_version: i16,
    /// What its answer must repeat.
    pub correlation_id: i32,
    /// How the client calls itself.
    pub client_id: Option<Arc<str>>,
    /// By when it must have its answer; a handler may give it less.
    pub deadline: Instant,
    /// For how long the client is asked to send nothing, in every answer's `throttle_time_ms`.
    pub throttle: Duration,
}

/// An answer, or what is done instead of answering.
#[derive(Debug)]
pub enum Answer {
    /// These bytes, and after them these slices.
    Send {
        /// The first bytes, from the length on.
        head: Bytes,
        /// Records in files or in memory, and the bytes between them.
        body: Vec<Slice>,
    },
    /// No answer at all: produce with `acks=0`.
    Nothing,
    /// The connection closes, for this reason.
    Close(&'static str),
}

/// An answer to come.
pub type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What handling a request came to.
pub enum Outcome {
    /// It has its answer.
    Done(Answer),
    /// It waits, and requests behind it on its connection may begin.
    Parked(PendingAnswer),
    /// It waits, and requests behind it on its connection wait with it.
    Waiting(PendingAnswer),
}

impl Principal {
    /// Whoever connects without authenticating (`KafkaPrincipal.ANONYMOUS`).
    pub fn anonymous() -> Self {
        Self { kind: "User".to_owned(), name: "ANONYMOUS".to_owned() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl RequestContext {
    /// What `head` asks for, over this connection. It keeps nothing of the request's own memory.
    pub fn new(
        connection: Arc<ConnectionInfo>,
        head: &RequestHead,
        client_id: Option<Arc<str>>,
        deadline: Instant,
    ) -> Self {
        Self {
            connection,
            api: head.api,
            api_version: head.api_version,
            correlation_id: head.correlation_id,
            client_id,
            deadline,
            throttle: Duration::ZERO,
        }
    }

    /// The `throttle_time_ms` of the answer.
    pub fn throttle_time_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }

    /// The deadline that the client gave in its request, in milliseconds from now, within the one that holds anyway.
    pub fn deadline_within(&self, timeout_ms: i32) -> Instant {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        (runtime::time::now() + timeout).min(self.deadline)
    }

    /// Puts a response into bytes. One that does not fit its version is a mistake of ours; the client sees its connection close.
    pub fn answer<T: Encodable + HeaderVersion>(&self, response: &T) -> Answer {
        match encode_response(self.correlation_id, self.api_version, response) {
            Ok(bytes) => Answer::Send { head: bytes.freeze(), body: Vec::new() },
            Err(error) => {
                tracing::error!(api = self.api.name, version = self.api_version, %error, "a response cannot be encoded");
                Answer::Close("its response cannot be encoded")
            }
        }
    }

    /// As [`Self::answer`], of a request that is handled to its end.
    pub fn done<T: Encodable + HeaderVersion>(&self, response: &T) -> Outcome {
        Outcome::Done(self.answer(response))
    }
}
