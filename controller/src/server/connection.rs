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
};
use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc};

/// How many requests of one connection may be on their way at once.
const UNANSWERED_MAX: usize = 64;

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

/// Serves a connection until it ends. Returns whose heartbeats it carried, if the peer ended it.
pub async fn serve(stream: Stream, handlers: Arc<Handlers>, frame_bytes_max: usize, shutdown: Shutdown) -> Carried {
    let (mut read, mut write) = stream.into_split();
    let frames = FrameReader::new(frame_bytes_max);
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
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    break End::Broken;
                }
            },
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
