//! The trace: every event of the run in one rolling hash, with checkpoints, and the world's subscribers.

use super::world::{Subscriber, World, here, world};
use crate::observe::{Digest, Envelope, Event, NodeId};
use bytes::Bytes;
use std::{fmt, ops::Range};

/// A checkpoint of the hash is kept after each so many events.
pub(super) const CHECKPOINT_EVENTS: u64 = 1_024;

pub(super) struct Trace {
    digest: Digest,
    pub(super) events: u64,
    pub(super) checkpoints: Vec<u128>,
    keep: Range<u64>,
    pub(super) lines: Vec<String>,
}

impl Trace {
    pub(super) fn new(keep: Range<u64>) -> Self {
        Self { digest: Digest::new(), events: 0, checkpoints: Vec::new(), keep, lines: Vec::new() }
    }

    pub(super) fn hash(&self) -> u128 {
        self.digest.value()
    }

    /// Enters one event into the hash, and returns its number.
    fn record(&mut self, at: u64, node: NodeId, life: u32, event: &dyn Event, name: impl FnOnce() -> String) -> u64 {
        let ordinal = self.events;
        self.digest.u64(at);
        self.digest.u64(u64::from(node.0) << 32 | u64::from(life));
        self.digest.str(event.kind());
        event.digest(&mut self.digest);
        self.events += 1;
        if self.events.is_multiple_of(CHECKPOINT_EVENTS) {
            self.checkpoints.push(self.digest.value());
        }
        if self.keep.contains(&ordinal) {
            let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
            self.lines.push(format!("{ordinal} {seconds}.{nanos:09} {} {event:?}", name()));
        }
        ordinal
    }
}

impl World {
    /// Records an event of a node, without telling the subscribers.
    fn record(&self, node: NodeId, life: u32, event: &dyn Event) -> Option<Envelope> {
        if self.ended.get() {
            return None;
        }
        let at = self.now.get();
        let name = || self.nodes.borrow()[node.0 as usize].name.clone();
        let ordinal = self.trace.borrow_mut().record(at, node, life, event, name);
        Some(Envelope { at, node, life, ordinal })
    }

    /// An event of the network, whose subscribers are asked for by an option of the run.
    pub(super) fn record_network(&self, node: NodeId, event: &NetworkEvent) {
        let envelope = self.record(node, 0, event);
        if let Some(envelope) = envelope.filter(|_| self.observe_network) {
            self.tell(&envelope, event);
        }
    }

    /// Tells the subscribers. What one of them emits meanwhile enters the trace but reaches none of them.
    fn tell(&self, envelope: &Envelope, event: &dyn Event) {
        let mut telling = std::mem::take(&mut *self.subscribers.borrow_mut());
        telling.iter_mut().for_each(|subscriber| subscriber(envelope, event));
        let mut subscribers = self.subscribers.borrow_mut();
        let added = std::mem::replace(&mut *subscribers, telling);
        subscribers.extend(added);
    }
}

/// Enters a program's event into the trace, and tells the subscribers.
pub(crate) fn emit(event: &dyn Event) {
    let Some(here) = here() else { return };
    world(|world| {
        if let Some(envelope) = world.record(here.node, here.life, event) {
            world.tell(&envelope, event);
        }
    });
}

/// Adds a listener to every event of this run from now on. It runs on behalf of whoever emits, before the emitting code
/// goes on: it may crash, pause or cut, but it must not block, and what it emits itself reaches no listener.
///
/// # Panics
/// Outside a simulation.
pub fn subscribe(subscriber: Subscriber) {
    world(|world| world.subscribers.borrow_mut().push(subscriber));
}

/// What happened to a message, or to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkKind {
    /// A connection was asked for.
    Connecting,
    /// A connection was made.
    Connected,
    /// Nobody listens there.
    Refused,
    /// Bytes left.
    Sent,
    /// Bytes arrived.
    Delivered,
    /// Bytes were lost for good.
    Dropped,
    /// The sender ended its direction.
    Finished,
    /// The connection was broken off.
    Reset,
    /// The sender's kernel gave up sending again.
    GaveUp,
}

/// Something that happened on the simulated network. It belongs to the node where it happened.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkEvent {
    /// What.
    pub kind: NetworkKind,
    /// The sending node.
    pub from: NodeId,
    /// The receiving node.
    pub to: NodeId,
    /// The connection, numbered over the whole run.
    pub connection: u64,
    /// How many bytes.
    pub bytes: u64,
    /// A hash of the bytes that left; zero for everything else.
    pub digest: u64,
    /// The bytes that left, where a run's options ask for network events; never part of the trace.
    pub payload: Vec<Bytes>,
}

impl fmt::Debug for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, from, to, connection, bytes, digest, payload: _ } = self;
        write!(f, "{kind:?} {from}->{to} connection {connection} bytes {bytes} digest {digest:016x}")
    }
}

impl Event for NetworkEvent {
    fn kind(&self) -> &'static str {
        match self.kind {
            NetworkKind::Connecting => "net-connecting",
            NetworkKind::Connected => "net-connected",
            NetworkKind::Refused => "net-refused",
            NetworkKind::Sent => "net-sent",
            NetworkKind::Delivered => "net-delivered",
            NetworkKind::Dropped => "net-dropped",
            NetworkKind::Finished => "net-finished",
            NetworkKind::Reset => "net-reset",
            NetworkKind::GaveUp => "net-gave-up",
        }
    }

    fn digest(&self, into: &mut Digest) {
        into.u64(u64::from(self.from.0) << 32 | u64::from(self.to.0));
        into.u64(self.connection);
        into.u64(self.bytes);
        into.u64(self.digest);
    }
}
