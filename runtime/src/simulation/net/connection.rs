//! One TCP connection: two ends, and the bytes on their way to each.

use super::{GIVE_UP_NS, LATE_BYTES_NS, SECOND, link::Links};
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
pub(super) struct Effects {
    pub(super) wake: Vec<Waker>,
    pub(super) events: Vec<(NodeId, NetworkEvent)>,
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

    fn event(&self, kind: NetworkKind, to: usize, connection: u64, bytes: usize, digest: u64) -> NetworkEvent {
        NetworkEvent { kind, from: self.node(1 - to), to: self.node(to), connection, bytes: bytes as u64, digest }
    }

    // ------------------------------------------------------------ sending

    /// Sends as much of `pieces` as the window has room for; ready when all of it is sent.
    pub(super) fn write(
        &mut self,
        world: &World,
        links: &mut Links,
        id: u64,
        from: usize,
        pieces: &mut VecDeque<Bytes>,
        waker: &Waker,
        effects: &mut Effects,
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
            self.send_packet(world, links, id, to, pieces, room, effects);
        }
    }

    fn send_packet(
        &mut self,
        world: &World,
        links: &mut Links,
        id: u64,
        to: usize,
        pieces: &mut VecDeque<Bytes>,
        room: usize,
        effects: &mut Effects,
    ) {
        const SPLIT: u64 = name_hash("net.split");
        let key = self.next_packet_key(to);
        let all = pieces.iter().map(Bytes::len).sum::<usize>();
        let mut size = all.min(room).min(PACKET);
        // Now and then a packet ends anywhere: a reader may not count on frames arriving whole.
        let split = prf(world.seed, &[SPLIT, key]);
        if split.is_multiple_of(16) {
            size = between(split, 1, size as u64) as usize;
        }
        let at = self.arrival(world, links, to, size, key);
        let (mut left, mut digest) = (size, 0);
        while left > 0 {
            let piece = pieces.front_mut().expect("the packet is no larger than the pieces");
            let part = if piece.len() <= left {
                pieces.pop_front().expect("there is a front")
            } else {
                piece.split_to(left)
            };
            left -= part.len();
            digest = hash_of(digest, &part);
            if !part.is_empty() {
                self.flows[to].segments.push_back(Segment { at, what: What::Bytes(part) });
            }
        }
        self.flows[to].under_way += size;
        effects.events.push((self.node(1 - to), self.event(NetworkKind::Sent, to, id, size, digest)));
        self.under_way(world, id, to, at, effects);
    }

    fn next_packet_key(&mut self, to: usize) -> u64 {
        let flow = &mut self.flows[to];
        flow.packets += 1;
        prf(self.key, &[to as u64, flow.packets])
    }

    /// When a packet sent now arrives: never before an earlier one.
    fn arrival(&mut self, world: &World, links: &mut Links, to: usize, bytes: usize, key: u64) -> u64 {
        let at = links.arrival(world, self.node(1 - to), self.node(to), bytes as u64, key).unwrap_or(HELD);
        let flow = &mut self.flows[to];
        flow.last_at = flow.last_at.max(at);
        flow.last_at
    }

    /// Sees to the delivery of what was just put on its way, or begins to wait for acknowledgements in vain.
    fn under_way(&mut self, world: &World, id: u64, to: usize, at: u64, effects: &mut Effects) {
        if self.ends[to].vanished {
            self.lose_undelivered(id, to, effects);
            self.stuck(world, id, to);
        } else if at == HELD {
            self.stuck(world, id, to);
        } else {
            let action = Action::Deliver { connection: id, end: to as u8 };
            world.executor.borrow_mut().push(at, self.key ^ to as u64, action);
        }
    }

    /// Bytes that will never arrive; the sender goes on counting them.
    fn lose_undelivered(&mut self, id: u64, to: usize, effects: &mut Effects) {
        let flow = &mut self.flows[to];
        flow.segments.truncate(flow.delivered);
        let lost = std::mem::take(&mut flow.under_way);
        flow.unacknowledged += lost;
        if lost > 0 {
            effects.events.push((self.node(to), self.event(NetworkKind::Dropped, to, id, lost, 0)));
        }
    }

    fn stuck(&mut self, world: &World, id: u64, to: usize) {
        let now = world.now.get();
        if self.flows[to].stuck_since.is_none() {
            self.flows[to].stuck_since = Some(now);
            let action = Action::GiveUp { connection: id, end: (1 - to) as u8 };
            world.executor.borrow_mut().push(now + GIVE_UP_NS, self.key, action);
        }
    }

    /// The kernel at `from` has sent in vain for too long, unless something was acknowledged meanwhile.
    pub(super) fn give_up(&mut self, world: &World, id: u64, from: usize, effects: &mut Effects) {
        let to = 1 - from;
        if self.flows[to].stuck_since.is_none_or(|since| world.now.get() < since + GIVE_UP_NS) {
            return;
        }
        self.lose_undelivered(id, to, effects);
        self.flows[to].stuck_since = None;
        effects.events.push((self.node(from), self.event(NetworkKind::GaveUp, to, id, 0, 0)));
        self.break_off(from, ErrorKind::TimedOut, effects);
    }

    /// Puts a segment without bytes on its way: an end or a reset.
    fn send_control(&mut self, world: &World, links: &mut Links, id: u64, to: usize, what: What, effects: &mut Effects) {
        let key = self.next_packet_key(to);
        let at = self.arrival(world, links, to, 0, key);
        self.flows[to].finished = true;
        self.flows[to].segments.push_back(Segment { at, what });
        self.under_way(world, id, to, at, effects);
    }

    /// Answers a packet for a connection that `to`'s peer does not have (any more).
    fn send_reset(&mut self, world: &World, links: &mut Links, id: u64, to: usize, effects: &mut Effects) {
        if !self.flows[to].reset_sent && self.ends[to].broken.is_none() {
            self.flows[to].reset_sent = true;
            self.send_control(world, links, id, to, What::Reset, effects);
        }
    }

    // ------------------------------------------------------------ arriving

    /// Delivers to an end everything whose time has come.
    pub(super) fn deliver(&mut self, world: &World, links: &mut Links, id: u64, to: usize, effects: &mut Effects) {
        let now = world.now.get();
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
                effects.events.push((self.node(to), self.event(NetworkKind::Dropped, to, id, bytes, 0)));
                self.send_reset(world, links, id, 1 - to, effects);
            }
            return;
        }
        self.flows[to].unread += bytes;
        if bytes > 0 {
            effects.events.push((self.node(to), self.event(NetworkKind::Delivered, to, id, bytes, 0)));
        }
        if finished {
            effects.events.push((self.node(to), self.event(NetworkKind::Finished, to, id, 0, 0)));
        }
        if reset {
            effects.events.push((self.node(to), self.event(NetworkKind::Reset, to, id, 0, 0)));
            // What arrived before the reset may be read or lost: systems differ.
            if draw("net.reset-loses-unread", self.key, to as u64).is_multiple_of(2) {
                self.discard(to);
            }
            self.break_off(to, ErrorKind::ConnectionReset, effects);
        }
        effects.wake.extend(self.ends[to].reader.take());
    }

    /// Throws away what has arrived and is unread.
    fn discard(&mut self, to: usize) {
        let flow = &mut self.flows[to];
        flow.segments.drain(..flow.delivered);
        (flow.delivered, flow.unread) = (0, 0);
    }

    fn break_off(&mut self, end: usize, kind: ErrorKind, effects: &mut Effects) {
        let end = &mut self.ends[end];
        end.broken.get_or_insert(kind);
        effects.wake.extend(end.reader.take());
        effects.wake.extend(end.writer.take());
    }

    /// Breaks an end off at this instant, from outside.
    pub(super) fn reset_now(&mut self, id: u64, end: usize, effects: &mut Effects) {
        if self.is_open(end) {
            effects.events.push((self.node(end), self.event(NetworkKind::Reset, end, id, 0, 0)));
            self.break_off(end, ErrorKind::ConnectionReset, effects);
        }
    }

    /// Appends what has arrived to the buffer, up to one read's worth.
    pub(super) fn read(
        &mut self,
        world: &World,
        links: &mut Links,
        id: u64,
        end: usize,
        buffer: &mut BytesMut,
        waker: &Waker,
        effects: &mut Effects,
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
            self.acknowledge(world, links, id, end, count, effects);
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
    fn acknowledge(&mut self, world: &World, links: &mut Links, id: u64, end: usize, count: usize, effects: &mut Effects) {
        let peer = 1 - end;
        if links.is_open(self.node(end), self.node(peer)) {
            effects.wake.extend(self.ends[peer].writer.take());
        } else {
            self.flows[end].unacknowledged += count;
            self.stuck(world, id, end);
        }
    }

    // ------------------------------------------------------------ closing

    /// The process lets go of one direction.
    pub(super) fn drop_half(
        &mut self,
        world: &World,
        links: &mut Links,
        id: u64,
        end: usize,
        half: Half,
        effects: &mut Effects,
    ) {
        match half {
            Half::Read => self.ends[end].reads = false,
            Half::Write => self.ends[end].writes = false,
        }
        if !self.ends[end].held() {
            self.close(world, links, id, end, effects);
        } else if half == Half::Write {
            self.finish(world, links, id, end, effects);
        }
    }

    /// Ends the direction from `end` in order.
    pub(super) fn finish(&mut self, world: &World, links: &mut Links, id: u64, end: usize, effects: &mut Effects) {
        let to = 1 - end;
        if !self.flows[to].finished && self.ends[end].broken.is_none() {
            self.send_control(world, links, id, to, What::Fin, effects);
        }
    }

    /// The kernel closes an end that no process holds any more: a reset if bytes were left unread, an orderly end if
    /// not. What was sent before may arrive late.
    pub(super) fn close(&mut self, world: &World, links: &mut Links, id: u64, end: usize, effects: &mut Effects) {
        let (to, unread) = (1 - end, self.flows[end].unread > 0);
        let side = &mut self.ends[end];
        (side.reads, side.writes, side.reader, side.writer) = (false, false, None, None);
        self.discard(end);
        if !self.ends[to].held() {
            return; // nobody is left to notice
        }
        self.delay_late_bytes(world, id, to);
        if unread && self.ends[end].broken.is_none() {
            self.send_reset(world, links, id, to, effects);
        } else {
            self.finish(world, links, id, end, effects);
        }
    }

    /// The server's process will never accept it: its kernel breaks it off.
    pub(super) fn refuse(&mut self, world: &World, links: &mut Links, id: u64, effects: &mut Effects) {
        self.send_reset(world, links, id, 0, effects);
        self.close(world, links, id, 1, effects);
    }

    /// What was sent before a close or a crash may arrive long after it, now and then.
    fn delay_late_bytes(&mut self, world: &World, id: u64, to: usize) {
        let now = world.now.get();
        let (chance, extra) = (draw("net.late", self.key, to as u64), draw("net.late", self.key, to as u64));
        let flow = &mut self.flows[to];
        if !chance.is_multiple_of(5) || flow.under_way == 0 || flow.last_at == HELD {
            return;
        }
        let extra = extra % LATE_BYTES_NS;
        let mut executor = world.executor.borrow_mut();
        for segment in flow.segments.iter_mut().skip(flow.delivered).filter(|segment| segment.at > now) {
            segment.at = (segment.at + extra).min(now + LATE_BYTES_NS);
            flow.last_at = segment.at;
            executor.push(segment.at, self.key ^ to as u64, Action::Deliver { connection: id, end: to as u8 });
        }
    }

    /// The machine under an end loses its power: it says nothing, and what its kernel was to send again is gone.
    pub(super) fn vanish(&mut self, world: &World, id: u64, end: usize, effects: &mut Effects) {
        let to = 1 - end;
        let side = &mut self.ends[end];
        (side.reads, side.writes, side.reader, side.writer, side.vanished) = (false, false, None, None, true);
        self.discard(end);
        self.lose_undelivered(id, end, effects);
        if self.flows[end].unacknowledged > 0 {
            self.stuck(world, id, end);
        }
        // Of what it sent, the held part is lost with it.
        let flow = &mut self.flows[to];
        if flow.last_at == HELD {
            let held = |segment: &Segment| segment.at == HELD;
            let lost: usize = flow.segments.iter().filter(|s| held(s)).map(Segment::size).sum();
            flow.segments.retain(|segment| !held(segment));
            flow.under_way -= lost;
            flow.last_at = flow.segments.back().map_or(0, |segment| segment.at);
            effects.events.push((self.node(end), self.event(NetworkKind::Dropped, to, id, lost, 0)));
        }
        self.delay_late_bytes(world, id, to);
    }

    /// A machine that is back knows nothing of this connection: it answers with a reset what its peer sends again.
    pub(super) fn boot(&mut self, world: &World, links: &mut Links, id: u64, end: usize, effects: &mut Effects) {
        if !std::mem::take(&mut self.ends[end].vanished) || self.flows[end].stuck_since.take().is_none() {
            return;
        }
        let wait = draw("net.boot", self.key, end as u64) % SECOND;
        let to = 1 - end;
        self.flows[to].last_at = self.flows[to].last_at.max(world.now.get() + wait);
        self.send_reset(world, links, id, to, effects);
    }

    // ------------------------------------------------------------ cut and healed

    /// Loses what is under way from `end`; the kernel will send it again.
    pub(super) fn hold_undelivered(&mut self, world: &World, id: u64, end: usize) {
        let to = 1 - end;
        let flow = &mut self.flows[to];
        let mut any = false;
        for segment in flow.segments.iter_mut().skip(flow.delivered) {
            segment.at = HELD;
            any = true;
        }
        if any {
            flow.last_at = HELD;
            self.stuck(world, id, to);
        }
    }

    /// The way from `end` to its peer is open again: what was held leaves after `wait`, and acknowledgements arrive.
    pub(super) fn release(
        &mut self,
        world: &World,
        links: &mut Links,
        id: u64,
        end: usize,
        wait: u64,
        effects: &mut Effects,
    ) {
        let to = 1 - end;
        if self.flows[to].last_at == HELD && !self.ends[to].vanished {
            self.flows[to].last_at = 0;
            let key = self.next_packet_key(to);
            let at = self.arrival(world, links, to, self.flows[to].under_way, key);
            if at != HELD {
                let at = at + wait;
                let flow = &mut self.flows[to];
                (flow.last_at, flow.stuck_since) = (at, None);
                flow.segments.iter_mut().filter(|segment| segment.at == HELD).for_each(|segment| segment.at = at);
                self.under_way(world, id, to, at, effects);
            }
        }
        if !self.ends[end].vanished {
            // Acknowledgements travel the same way as what `end` sends.
            let flow = &mut self.flows[end];
            if std::mem::take(&mut flow.unacknowledged) > 0 {
                if flow.last_at != HELD {
                    flow.stuck_since = None;
                }
                effects.wake.extend(self.ends[to].writer.take());
            }
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

/// Continues a 64-bit hash of what is sent.
fn hash_of(state: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let (pairs, rest) = bytes.as_chunks::<16>();
    let mut state = state ^ bytes.len() as u64;
    for pair in pairs {
        let (low, high) = pair.split_at(8);
        state = fold(state ^ word(low) ^ 0x8ebc_6af0_9c88_c6e3, word(high) ^ 0x5899_65cc_7537_4cc3) ^ state.rotate_left(29);
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(state ^ word(low) ^ 0x1d8e_4e27_c47d_124f, word(high) ^ 0xe703_7ed1_a0b4_28db)
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
