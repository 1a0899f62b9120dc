//! One connection of a broker or another controller: frames in, answers out, in the order of the requests.
//!
//! Requests are begun in the order in which they came and go on side by side, so that one that waits (for a majority, for
//! news) holds the answers behind it but not their work: a heartbeat of Raft must count although the entries before it are
//! still being synced. It knows no API; `handlers.rs` does.

use super::handlers::{Handled, Handlers};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesOrdered};
use protocol::{
    api::Plane,
    frame::{FrameReader, encode_unsupported_api_versions, parse_request_head},
    ids::BrokerId,
};
use runtime::{
    net::{Stream, WriteHalf},
    sync::Shutdown,
    time,
};
use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

/// How many requests of one connection may be on their way at once.
const UNANSWERED_MAX: usize = 64;

/// How soon at least an idle connection is looked at again while it waits for an answer of ours.
const IDLE_CHECK_MIN: Duration = Duration::from_secs(1);

/// An answer to come; without one the connection closes.
pub type Pending = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// The brokers whose heartbeats came over a connection: when it breaks, that is a first sign that they are gone.
pub type Carried = BTreeSet<BrokerId>;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer is gone, or broke the protocol.
    Broken,
    /// This controller stops.
    Stopping,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest request, in bytes.
    pub frame_bytes_max: usize,
    /// How long it may be silent.
    pub idle_max: Duration,
}

/// Serves a connection until it ends. Returns whose heartbeats it carried, unless this controller ended it.
pub async fn serve(stream: Stream, handlers: Arc<Handlers>, limits: Limits, shutdown: Shutdown) -> Carried {
    let (mut read, mut write) = stream.into_split();
    let frames = FrameReader::new(limits.frame_bytes_max);
    let mut silent_since = time::now();
    let mut idle = time::sleep(limits.idle_max);
    let (mut buffer, mut answers, mut carried) = (BytesMut::new(), FuturesOrdered::new(), Carried::new());
    let stopping = shutdown.requested();
    let mut stopping = std::pin::pin!(stopping);
    let end = loop {
        match begin(&handlers, &frames, &mut buffer, &mut answers, &mut carried) {
            Ok(()) => {}
            Err(error) => {
                tracing::info!(%error, "a connection is closed");
                break End::Broken;
            }
        }
        runtime::select! {
            () = &mut stopping => break End::Stopping,
            Some(answer) = answers.next(), if !answers.is_empty() => {
                let Some(answer) = answer else { break End::Broken };
                if !send(&mut write, answer, &mut stopping).await {
                    break End::Broken;
                }
            }
            taken = read.read(&mut buffer), if answers.len() < UNANSWERED_MAX => match taken {
                Ok(0) => break End::Broken,
                Ok(_) => silent_since = time::now(),
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    break End::Broken;
                }
            },
            () = &mut idle => {
                // Armed once, not at each read: what came meanwhile is looked at when it rings.
                let until = silent_since + limits.idle_max;
                if until <= time::now() && answers.is_empty() {
                    tracing::debug!("an idle connection is closed");
                    break End::Broken;
                }
                idle.reset(until.max(time::now() + IDLE_CHECK_MIN));
            }
        }
    };
    if end == End::Stopping { Carried::new() } else { carried }
}

/// Begins the requests that have arrived, as far as there may be more.
fn begin(
    handlers: &Arc<Handlers>,
    frames: &FrameReader,
    buffer: &mut BytesMut,
    answers: &mut FuturesOrdered<Pending>,
    carried: &mut Carried,
) -> Result<(), protocol::frame::FrameError> {
    while answers.len() < UNANSWERED_MAX {
        let Some(frame) = frames.next(buffer)? else { return Ok(()) };
        let head = parse_request_head(frame, Plane::Controller)?;
        if head.is_unsupported_api_versions() {
            let answer = encode_unsupported_api_versions(head.correlation_id).freeze();
            answers.push_back(Box::pin(std::future::ready(Some(answer))));
            continue;
        }
        let Handled { answer, heartbeat_of } = handlers.clone().handle(&head)?;
        carried.extend(heartbeat_of);
        answers.push_back(answer);
    }
    Ok(())
}

/// Writes an answer; false when that is no longer possible.
async fn send(write: &mut WriteHalf, answer: Bytes, stopping: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    runtime::select! {
        // A peer that reads nothing must not keep this controller from stopping.
        () = stopping => false,
        sent = write.send(&answer, &[]) => sent.is_ok(),
    }
}
