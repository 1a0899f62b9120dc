//! One TCP connection: two ends, and the bytes on their way to each.

mod closing;

use super::{GIVE_UP_NS, link::Links};
use crate::{
    observe::{NodeId, fold, name_hash},
    simulation::{
        chance::{between, draw, prf},
        executor::Action,
        trace::{NetworkEvent, NetworkKind},
        world::{Here, World},
    },
};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
    task::{Poll, Waker},
};

/// Bytes that may be under way or unread in one direction: a full window blocks the writer.
pub(super) const WINDOW: usize = 256 << 10;
/// The most that travels in one packet, and the most that one read takes.
const PACKET: usize = 64 << 10;
/// The arrival time of what is held back.
pub(super) const HELD: u64 = u64::MAX;

/// What an action on the network entails once the network is no longer borrowed.
#[derive(Default)]
pub(in crate::simulation) struct Effects {
    pub(super) wake: Vec<Waker>,
    pub(super) events: Vec<(NodeId, NetworkEvent)>,
}

/// An action on one connection: where it happens, and what it entails.
pub(super) struct Act<'a> {
    pub(super) world: &'a World,
    pub(super) links: &'a mut Links,
    pub(super) id: u64,
    pub(super) effects: &'a mut Effects,
}

/// One of the two directions that a process holds of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Read,
    Write,
}

#[derive(Debug)]
enum What {
    Bytes(Bytes),
    Fin,
    Reset,
}

struct Segment {
    at: u64,
    what: What,
}

/// What travels towards one end.
#[derive(Default)]
struct Flow {
    segments: VecDeque<Segment>,
    /// How many of them, from the front, have arrived and are not yet read.
    delivered: usize,
    /// Bytes under way, and bytes arrived and unread.
    under_way: usize,
    unread: usize,
    /// Bytes that the sender still counts although they were read or lost: no acknowledgement reaches it.
    unacknowledged: usize,
    /// When the last segment arrives.
    last_at: u64,
    packets: u64,
    /// The sender has ended or broken off this direction.
    finished: bool,
    reset_sent: bool,
    /// Since when the sender has waited for acknowledgements in vain.
    stuck_since: Option<u64>,
}

struct End {
    here: Here,
    address: SocketAddr,
    /// Which directions the process holds.
    reads: bool,
    writes: bool,
    /// The machine lost its power with this end on it, and has not booted since.
    vanished: bool,
    /// The connection was broken off, as this end's kernel knows.
    broken: Option<ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn held(&self) -> bool {
        self.reads || self.writes
    }
}

pub(super) struct Connection {
    key: u64,
    ends: [End; 2],
    /// `flows[end]` travels towards `ends[end]`.
    flows: [Flow; 2],
}

impl Connection {
    pub(super) fn new(key: u64, client: (Here, SocketAddr), server: (Here, SocketAddr)) -> Self {
        let end = |(here, address)| End {
            here,
            address,
            reads: true,
            writes: true,
            vanished: false,
            broken: None,
            reader: None,
            writer: None,
        };
        Self { key, ends: [end(client), end(server)], flows: Default::default() }
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn node(&self, end: usize) -> NodeId {
        self.ends[end].here.node
    }

    pub(super) fn here(&self, end: usize) -> Here {
        self.ends[end].here
    }

    pub(super) fn address(&self, end: usize) -> SocketAddr {
        self.ends[end].address
    }

    /// Whether a process holds an end.
    pub(super) fn is_held(&self) -> bool {
        self.ends.iter().any(End::held)
    }

    /// Whether the process holds this end and nothing has broken it off.
    pub(super) fn is_open(&self, end: usize) -> bool {
        self.ends[end].held() && self.ends[end].broken.is_none()
    }

    /// Notes for the trace what happened at an end to bytes that travel towards `to`.
    fn tell(&self, act: &mut Act<'_>, at: usize, kind: NetworkKind, to: usize, bytes: usize) {
        self.tell_of(act, at, kind, to, (bytes, 0, Vec::new()));
    }

    /// As [`Connection::tell`], with how many bytes, their hash and where they are asked for themselves.
    fn tell_of(&self, act: &mut Act<'_>, at: usize, kind: NetworkKind, to: usize, what: (usize, u64, Vec<Bytes>)) {
        let (from, to, connection) = (self.node(1 - to), self.node(to), act.id);
        let (bytes, digest, payload) = what;
        let event = NetworkEvent { kind, from, to, connection, bytes: bytes as u64, digest, payload };
        act.effects.events.push((self.node(at), event));
    }

    // ------------------------------------------------------------ sending

    /// Sends as much of `pieces` as the window has room for; ready when all of it is sent.
    pub(super) fn write(
        &mut self,
        act: &mut Act<'_>,
        from: usize,
        pieces: &mut VecDeque<Bytes>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let to = 1 - from;
        loop {
            if let Some(kind) = self.ends[from].broken {
                // The first call tells why, as the kernel's pending error does, if a read has not told it before.
                let kind = if kind == ErrorKind::TimedOut { kind } else { ErrorKind::BrokenPipe };
                return Poll::Ready(Err(kind.into()));
            }
            if self.flows[to].finished {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            while pieces.front().is_some_and(Bytes::is_empty) {
                pieces.pop_front();
            }
            if pieces.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let flow = &self.flows[to];
            let room = WINDOW.saturating_sub(flow.under_way + flow.unread + flow.unacknowledged);
            if room == 0 {
                self.ends[from].writer = Some(waker.clone());
                return Poll::Pending;
            }
            self.send_packet(act, to, pieces, room);
        }
    }

    fn send_packet(&mut self, act: &mut Act<'_>, to: usize, pieces: &mut VecDeque<Bytes>, room: usize) {
        const SPLIT: u64 = name_hash("net.split");
        let key = self.next_packet_key(to);
        let all = pieces.iter().map(Bytes::len).sum::<usize>();
        let mut size = all.min(room).min(PACKET);
        // Now and then a packet ends anywhere: a reader may not count on frames arriving whole.
        let split = prf(act.world.seed, &[SPLIT, key]);
        if split.is_multiple_of(16) {
            size = between(split, 1, size as u64) as usize;
        }
        let at = self.arrival(act, to, size, key);
        let (mut left, mut digest, mut payload) = (size, 0, Vec::new());
        while left > 0 {
            let piece = pieces.front_mut().expect("the packet is no larger than the pieces");
            let part =
                if piece.len() <= left { pieces.pop_front().expect("there is a front") } else { piece.split_to(left) };
            left -= part.len();
            digest = hash_of(digest, &part);
            if act.world.observe_network {
                payload.push(part.clone());
            }
            if !part.is_empty() {
                self.flows[to].segments.push_back(Segment { at, what: What::Bytes(part) });
            }
        }
        self.flows[to].under_way += size;
        self.tell_of(act, 1 - to, NetworkKind::Sent, to, (size, digest, payload));
        self.under_way(act, to, at);
    }

    fn next_packet_key(&mut self, to: usize) -> u64 {
        let flow = &mut self.flows[to];
        flow.packets += 1;
        prf(self.key, &[to as u64, flow.packets])
    }

    /// When a packet sent now arrives: never before an earlier one.
    fn arrival(&mut self, act: &mut Act<'_>, to: usize, bytes: usize, key: u64) -> u64 {
        let at = act.links.arrival(act.world, self.node(1 - to), self.node(to), bytes as u64, key).unwrap_or(HELD);
        let flow = &mut self.flows[to];
        flow.last_at = flow.last_at.max(at);
        flow.last_at
    }

    /// Sees to the delivery of what was just put on its way, or begins to wait for acknowledgements in vain.
    fn under_way(&mut self, act: &mut Act<'_>, to: usize, at: u64) {
        if self.ends[to].vanished {
            self.lose_undelivered(act, to);
            self.stuck(act, to);
        } else if at == HELD {
            self.stuck(act, to);
        } else {
            let action = Action::Deliver { connection: act.id, end: to as u8 };
            act.world.executor.borrow_mut().push(at, self.key ^ to as u64, action);
        }
    }

    /// Bytes that will never arrive; the sender goes on counting them.
    fn lose_undelivered(&mut self, act: &mut Act<'_>, to: usize) {
        let flow = &mut self.flows[to];
        flow.segments.truncate(flow.delivered);
        let lost = std::mem::take(&mut flow.under_way);
        flow.unacknowledged += lost;
        if lost > 0 {
            self.tell(act, to, NetworkKind::Dropped, to, lost);
        }
    }

    fn stuck(&mut self, act: &mut Act<'_>, to: usize) {
        let now = act.world.now.get();
        if self.flows[to].stuck_since.is_none() {
            self.flows[to].stuck_since = Some(now);
            let action = Action::GiveUp { connection: act.id, end: (1 - to) as u8 };
            act.world.executor.borrow_mut().push(now + GIVE_UP_NS, self.key, action);
        }
    }

    /// The kernel at `from` has sent in vain for too long, unless something was acknowledged meanwhile.
    pub(super) fn give_up(&mut self, act: &mut Act<'_>, from: usize) {
        let to = 1 - from;
        if self.flows[to].stuck_since.is_none_or(|since| act.world.now.get() < since + GIVE_UP_NS) {
            return;
        }
        self.lose_undelivered(act, to);
        self.flows[to].stuck_since = None;
        self.tell(act, from, NetworkKind::GaveUp, to, 0);
        self.break_off(act, from, ErrorKind::TimedOut);
    }

    /// Puts a segment without bytes on its way: an end or a reset.
    fn send_control(&mut self, act: &mut Act<'_>, to: usize, what: What) {
        let key = self.next_packet_key(to);
        let at = self.arrival(act, to, 0, key);
        self.flows[to].finished = true;
        self.flows[to].segments.push_back(Segment { at, what });
        self.under_way(act, to, at);
    }

    /// Answers a packet for a connection that `to`'s peer does not have (any more).
    fn send_reset(&mut self, act: &mut Act<'_>, to: usize) {
        if !self.flows[to].reset_sent && self.ends[to].broken.is_none() {
            self.flows[to].reset_sent = true;
            self.send_control(act, to, What::Reset);
        }
    }

    // ------------------------------------------------------------ arriving

    /// Delivers to an end everything whose time has come.
    pub(super) fn deliver(&mut self, act: &mut Act<'_>, to: usize) {
        let now = act.world.now.get();
        let (mut bytes, mut finished, mut reset) = (0, false, false);
        let flow = &mut self.flows[to];
        while let Some(segment) = flow.segments.get(flow.delivered).filter(|segment| segment.at <= now) {
            match &segment.what {
                What::Bytes(piece) => bytes += piece.len(),
                What::Fin => finished = true,
                What::Reset => reset = true,
            }
            flow.delivered += 1;
        }
        flow.under_way -= bytes;
        if !self.is_open(to) {
            // Nobody is there to read it; a kernel that runs says so.
            self.discard(to);
            if bytes > 0 {
                self.tell(act, to, NetworkKind::Dropped, to, bytes);
                self.send_reset(act, 1 - to);
            }
            return;
        }
        self.flows[to].unread += bytes;
        if bytes > 0 {
            self.tell(act, to, NetworkKind::Delivered, to, bytes);
        }
        if finished {
            self.tell(act, to, NetworkKind::Finished, to, 0);
        }
        if reset {
            self.tell(act, to, NetworkKind::Reset, to, 0);
            // What arrived before the reset may be read or lost: systems differ.
            if draw("net.reset-loses-unread", self.key, to as u64).is_multiple_of(2) {
                self.discard(to);
            }
            self.break_off(act, to, ErrorKind::ConnectionReset);
        }
        act.effects.wake.extend(self.ends[to].reader.take());
    }

    /// Throws away what has arrived and is unread.
    fn discard(&mut self, to: usize) {
        let flow = &mut self.flows[to];
        flow.segments.drain(..flow.delivered);
        (flow.delivered, flow.unread) = (0, 0);
    }

    fn break_off(&mut self, act: &mut Act<'_>, end: usize, kind: ErrorKind) {
        let end = &mut self.ends[end];
        end.broken.get_or_insert(kind);
        act.effects.wake.extend(end.reader.take());
        act.effects.wake.extend(end.writer.take());
    }

    /// Breaks an end off at this instant, from outside.
    pub(super) fn reset_now(&mut self, act: &mut Act<'_>, end: usize) {
        if self.is_open(end) {
            self.tell(act, end, NetworkKind::Reset, end, 0);
            self.break_off(act, end, ErrorKind::ConnectionReset);
        }
    }

    /// Appends what has arrived to the buffer, up to one read's worth.
    pub(super) fn read(
        &mut self,
        act: &mut Act<'_>,
        end: usize,
        buffer: &mut BytesMut,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let flow = &mut self.flows[end];
        let mut count = 0;
        while flow.delivered > 0 && count < PACKET {
            let segment = flow.segments.front_mut().expect("what is delivered is there");
            let What::Bytes(bytes) = &mut segment.what else { break };
            let part = bytes.len().min(PACKET - count);
            buffer.extend_from_slice(&bytes[..part]);
            bytes.advance(part);
            count += part;
            if bytes.is_empty() {
                flow.segments.pop_front();
                flow.delivered -= 1;
            }
        }
        if count > 0 {
            flow.unread -= count;
            self.acknowledge(act, end, count);
            return Poll::Ready(Ok(count));
        }
        if let Some(kind) = self.ends[end].broken {
            return Poll::Ready(Err(kind.into()));
        }
        if self.flows[end].delivered > 0 {
            return Poll::Ready(Ok(0)); // the end stays at the front: every later read ends, too
        }
        self.ends[end].reader = Some(waker.clone());
        Poll::Pending
    }

    /// The window of the peer opens again, unless the way back is cut.
    fn acknowledge(&mut self, act: &mut Act<'_>, end: usize, count: usize) {
        let peer = 1 - end;
        if act.links.is_open(self.node(end), self.node(peer)) {
            act.effects.wake.extend(self.ends[peer].writer.take());
        } else {
            self.flows[end].unacknowledged += count;
            self.stuck(act, end);
        }
    }
}

impl Segment {
    fn size(&self) -> usize {
        match &self.what {
            What::Bytes(bytes) => bytes.len(),
            What::Fin | What::Reset => 0,
        }
    }
}

/// Continues a 64-bit hash of what is sent. Two lanes, for one would wait for its multiplications.
fn hash_of(state: u64, bytes: &[u8]) -> u64 {
    const KEYS: [u64; 3] = [0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3, 0x1d8e_4e27_c47d_124f];
    let (words, rest) = bytes.as_chunks::<8>();
    let (blocks, words) = words.as_chunks::<4>();
    let (mut one, mut other) = (state ^ bytes.len() as u64, KEYS[2]);
    for [a, b, c, d] in blocks {
        one = fold(u64::from_le_bytes(*a) ^ KEYS[0], u64::from_le_bytes(*b) ^ one);
        other = fold(u64::from_le_bytes(*c) ^ KEYS[1], u64::from_le_bytes(*d) ^ other);
    }
    for word in words {
        one = fold(u64::from_le_bytes(*word) ^ KEYS[0], one ^ KEYS[1]);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(u64::from_le_bytes(last) ^ KEYS[2], one ^ other.rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_contents_depends_on_every_byte_and_the_length() {
        let base = hash_of(0, &[7; 40]);
        for index in 0..40 {
            let mut changed = [7; 40];
            changed[index] ^= 1;
            assert_ne!(hash_of(0, &changed), base, "byte {index}");
        }
        assert_ne!(hash_of(0, &[7; 39]), base);
        assert_ne!(hash_of(0, &[0; 8]), hash_of(0, &[0; 9]));
    }
}
