//! The controller plane: accepts connections of brokers and other controllers, and serves them.
//!
//! What a request means is in `server/handlers.rs`; what is decided, and when it is answered, in `server/decisions.rs`.

mod batch;
mod connection;
mod context;
mod decisions;
mod handlers;
mod probe;

pub(crate) use connection::Limits;
pub(crate) use context::Authorizer;
pub(crate) use decisions::{Decider, Decisions};
pub(crate) use handlers::Handlers;

use runtime::{
    net::Listener,
    sync::Shutdown,
    task,
    time::{self, Instant},
};
use std::{sync::Arc, time::Duration};

/// The pause after a connection could not be accepted: too many files are open, for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections until the shutdown.
pub(crate) async fn serve(
    listener: Listener,
    handlers: Arc<Handlers>,
    decisions: Decisions,
    limits: Limits,
    shutdown: Shutdown,
) {
    loop {
        let accepted = runtime::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (handlers, decisions, shutdown) = (handlers.clone(), decisions.clone(), shutdown.clone());
                task::spawn(async move {
                    let carried = connection::serve(stream, handlers, limits, shutdown).await;
                    for broker_id in carried {
                        decisions.broke(broker_id).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                let until: Instant = time::now() + ACCEPT_PAUSE;
                let _ = time::timeout_at(until, shutdown.requested()).await;
            }
        }
    }
}
