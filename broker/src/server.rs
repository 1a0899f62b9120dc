//! Listeners: accept connections, keep them within their limits, end them when the broker stops.
//!
//! It never looks into a request. Clients and brokers have listeners of their own, so that what belongs to one plane does
//! not exist on the other. Driven by the assembly in `lib.rs`.

mod answers;
mod budget;
mod connection;

use crate::{
    config::ListenerConfig,
    handlers::{
        Services,
        context::{ConnectionInfo, Principal},
    },
};
use budget::RequestBudget;
use connection::{Connection, Limits};
use metadata::record::{Endpoint, SecurityProtocol};
use protocol::api::Plane;
use runtime::{
    net::{Listener, Stream},
    sync::{Lock, Notify, OwnedSemaphorePermit, Semaphore, Shutdown, ShutdownTrigger, shutdown},
    task::{self, JoinHandle},
    time,
};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

/// The rank of the list of connections: taken under no other lock, and no other under it.
const RANK: u8 = 50;
/// The wait after a connection could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener that is bound and not yet served.
pub(crate) struct BoundListener {
    listener: Listener,
    plane: Plane,
    endpoint: Endpoint,
}

/// The listeners of a broker and their connections.
pub(crate) struct Server {
    shared: Arc<Shared>,
    stop: ShutdownTrigger,
    accepting: Lock<Vec<JoinHandle<()>>>,
}

struct Shared {
    services: Arc<Services>,
    limits: Limits,
    /// One permit for each connection that clients may have.
    slots: Arc<Semaphore>,
    open: Lock<Open>,
    /// Woken when a connection ends.
    ended: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
    by_ip: BTreeMap<IpAddr, usize>,
}

/// A connection's place among the open ones; left when it is dropped.
struct Place {
    shared: Arc<Shared>,
    id: u64,
    ip: IpAddr,
    stop: Arc<Notify>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl BoundListener {
    /// Binds a listener.
    ///
    /// # Errors
    /// What the system says: the address is taken, or not this machine's.
    pub(crate) async fn bind(config: &ListenerConfig, plane: Plane) -> io::Result<Self> {
        let listener = Listener::bind(&config.bind).await?;
        let port = match config.advertised_port {
            0 => listener.local_address().port(),
            advertised => advertised,
        };
        let endpoint = Endpoint {
            name: config.name.clone(),
            host: config.advertised_host.clone(),
            port,
            security_protocol: SecurityProtocol::Plaintext,
        };
        Ok(Self { listener, plane, endpoint })
    }

    /// Where others are told to connect.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it listens.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.listener.local_address()
    }
}

impl Server {
    /// A server of nothing yet.
    pub(crate) fn new(services: Arc<Services>) -> Self {
        let settings = services.settings.clone();
        let shared = Arc::new(Shared {
            services,
            limits: Limits {
                request_bytes_max: settings.request_bytes_max,
                queued_requests_max: settings.queued_requests_max,
                idle_max: settings.connections_idle_max,
                budget: RequestBudget::new(settings.queued_bytes_max),
            },
            slots: Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS))),
            open: Lock::new(RANK, Open::default()),
            ended: Notify::new(),
        });
        Self { shared, stop: shutdown().0, accepting: Lock::new(RANK, Vec::new()) }
    }

    /// Serves this listener, too.
    pub(crate) fn serve(&self, listener: BoundListener) {
        let accepting = task::spawn(accept(self.shared.clone(), listener, self.stop.listener()));
        self.accepting.lock().push(accepting);
    }

    /// Accepts no more, ends every connection, and waits until they have ended.
    pub(crate) async fn stop(&self) {
        self.stop.request();
        let accepting = std::mem::take(&mut *self.accepting.lock());
        for accepting in accepting {
            // One that panicked has said so, and accepts no more.
            let _ = accepting.await;
        }
        self.shared.open.lock().connections.values().for_each(|connection| connection.notify_one());
        loop {
            let mut ended = pin!(self.shared.ended.notified());
            ended.as_mut().enable();
            if self.shared.open.lock().connections.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

/// Accepts connections until the stop is requested.
async fn accept(shared: Arc<Shared>, bound: BoundListener, stop: Shutdown) {
    let name: Arc<str> = bound.endpoint.name.as_str().into();
    loop {
        let accepted = runtime::select! {
            () = stop.requested() => return,
            accepted = next(&shared, &bound) => accepted,
        };
        match accepted {
            Ok((slot, stream, peer)) => {
                let Some(place) = Place::take(&shared, peer.ip(), slot) else {
                    tracing::debug!(%peer, listener = &*name, "too many connections from one address");
                    continue;
                };
                let info = ConnectionInfo {
                    listener: name.clone(),
                    plane: bound.plane,
                    principal: Principal::anonymous(),
                    peer,
                };
                task::spawn(serve(place, stream, info));
            }
            Err(error) => {
                tracing::warn!(listener = &*name, %error, "cannot accept a connection");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// The next connection of a listener. Clients' wait for a place among `max.connections`; brokers' do not, so that clients
/// cannot keep brokers apart (`ConnectionQuotas`, the protected listener).
async fn next(
    shared: &Shared,
    bound: &BoundListener,
) -> io::Result<(Option<OwnedSemaphorePermit>, Stream, SocketAddr)> {
    let slot = match bound.plane {
        Plane::Client => {
            let slot = shared.slots.clone().acquire_owned().await;
            Some(slot.expect("the semaphore of connections is never closed"))
        }
        Plane::InterBroker | Plane::Controller => None,
    };
    let (stream, peer) = bound.listener.accept().await?;
    Ok((slot, stream, peer))
}

async fn serve(place: Place, stream: Stream, info: ConnectionInfo) {
    let (peer, listener) = (info.peer, info.listener.clone());
    let connection = Connection::new(stream, info, place.shared.services.clone(), &place.shared.limits);
    let closed = connection.serve(place.stop.clone()).await;
    tracing::debug!(%peer, listener = &*listener, why = %closed, "connection closed");
}

impl Place {
    /// A place for a connection from this address, unless it has as many as it may.
    fn take(shared: &Arc<Shared>, ip: IpAddr, slot: Option<OwnedSemaphorePermit>) -> Option<Self> {
        let per_ip_max = shared.services.connections_per_ip_max();
        let mut open = shared.open.lock();
        if open.by_ip.get(&ip).is_some_and(|from_ip| *from_ip >= per_ip_max) {
            return None;
        }
        *open.by_ip.entry(ip).or_default() += 1;
        let id = open.next;
        open.next += 1;
        let stop = Arc::new(Notify::new());
        open.connections.insert(id, stop.clone());
        shared.services.metrics.connections.add(1);
        Some(Self { shared: shared.clone(), id, ip, stop, _slot: slot })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut open = self.shared.open.lock();
            open.connections.remove(&self.id);
            let from_ip = open.by_ip.get_mut(&self.ip).expect("it was counted when the place was taken");
            *from_ip -= 1;
            if *from_ip == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
        self.shared.services.metrics.connections_ended.add(1);
        self.shared.ended.notify_waiters();
    }
}
