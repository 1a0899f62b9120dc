//! How a connection ends, in order and otherwise, and how it lives through a cut.

use super::{Act, Connection, HELD, Half, Segment, What};
use crate::{
    observe::name_hash,
    simulation::{
        chance::{draw, prf},
        executor::Action,
        net::{LATE_BYTES_NS, SECOND},
        trace::NetworkKind,
    },
};

impl Connection {
    /// The process lets go of one direction.
    pub(in crate::simulation::net) fn drop_half(&mut self, act: &mut Act<'_>, end: usize, half: Half) {
        let side = &mut self.ends[end];
        match half {
            Half::Read if side.writes => side.reads = false,
            Half::Write if side.reads => {
                side.writes = false;
                self.finish(act, end);
            }
            Half::Read | Half::Write => self.close(act, end),
        }
    }

    /// Ends the direction from `end` in order.
    pub(in crate::simulation::net) fn finish(&mut self, act: &mut Act<'_>, end: usize) {
        let to = 1 - end;
        if !self.flows[to].finished && self.ends[end].broken.is_none() {
            self.send_control(act, to, What::Fin);
        }
    }

    /// The kernel closes an end that no process holds any more: a reset if bytes were left unread, an orderly end if
    /// not. What was sent before may arrive late.
    pub(in crate::simulation::net) fn close(&mut self, act: &mut Act<'_>, end: usize) {
        let (to, unread) = (1 - end, self.flows[end].unread > 0);
        let side = &mut self.ends[end];
        if !side.held() {
            return; // closed before
        }
        (side.reads, side.writes, side.reader, side.writer) = (false, false, None, None);
        self.discard(end);
        if !self.ends[to].held() {
            return; // nobody is left to notice
        }
        self.delay_late_bytes(act, to);
        if unread && self.ends[end].broken.is_none() {
            self.send_reset(act, to);
        } else {
            self.finish(act, end);
        }
    }

    /// The server's process will never accept it: its kernel breaks it off.
    pub(in crate::simulation::net) fn refuse(&mut self, act: &mut Act<'_>) {
        self.send_reset(act, 0);
        self.close(act, 1);
    }

    /// What was sent before a close or a crash may arrive long after it, now and then.
    fn delay_late_bytes(&mut self, act: &mut Act<'_>, to: usize) {
        let now = act.world.now.get();
        let luck = |part| prf(act.world.seed, &[name_hash("net.late"), self.key, to as u64, part]);
        let (chance, extra) = (luck(0), luck(1));
        let flow = &mut self.flows[to];
        if !chance.is_multiple_of(5) || flow.under_way == 0 || flow.last_at == HELD {
            return;
        }
        let extra = extra % LATE_BYTES_NS;
        let mut executor = act.world.executor.borrow_mut();
        for segment in flow.segments.iter_mut().skip(flow.delivered).filter(|segment| segment.at > now) {
            segment.at = (segment.at + extra).min(now + LATE_BYTES_NS);
            flow.last_at = segment.at;
            executor.push(segment.at, self.key ^ to as u64, Action::Deliver { connection: act.id, end: to as u8 });
        }
    }

    /// The machine under an end loses its power: it says nothing, and what its kernel was to send again is gone.
    pub(in crate::simulation::net) fn vanish(&mut self, act: &mut Act<'_>, end: usize) {
        let to = 1 - end;
        let side = &mut self.ends[end];
        if side.vanished {
            return;
        }
        (side.reads, side.writes, side.reader, side.writer, side.vanished) = (false, false, None, None, true);
        self.discard(end);
        self.lose_undelivered(act, end);
        if self.flows[end].unacknowledged > 0 {
            self.stuck(act, end);
        }
        // Of what it sent, the held part is lost with it.
        let flow = &mut self.flows[to];
        if flow.last_at == HELD {
            let held = |segment: &Segment| segment.at == HELD;
            let lost: usize = flow.segments.iter().filter(|s| held(s)).map(Segment::size).sum();
            flow.segments.retain(|segment| !held(segment));
            flow.under_way -= lost;
            flow.last_at = flow.segments.back().map_or(0, |segment| segment.at);
            self.tell(act, end, NetworkKind::Dropped, to, lost);
        }
        self.delay_late_bytes(act, to);
    }

    /// A machine that is back knows nothing of this connection: it answers with a reset what its peer sends again.
    pub(in crate::simulation::net) fn boot(&mut self, act: &mut Act<'_>, end: usize) {
        if !std::mem::take(&mut self.ends[end].vanished) || self.flows[end].stuck_since.take().is_none() {
            return;
        }
        let wait = draw("net.boot", self.key, end as u64) % SECOND;
        let to = 1 - end;
        self.flows[to].last_at = self.flows[to].last_at.max(act.world.now.get() + wait);
        self.send_reset(act, to);
    }

    // ------------------------------------------------------------ cut and healed

    /// Loses what is under way from `end`; the kernel will send it again.
    pub(in crate::simulation::net) fn hold_undelivered(&mut self, act: &mut Act<'_>, end: usize) {
        let to = 1 - end;
        let flow = &mut self.flows[to];
        let mut any = false;
        for segment in flow.segments.iter_mut().skip(flow.delivered) {
            segment.at = HELD;
            any = true;
        }
        if any {
            flow.last_at = HELD;
            self.stuck(act, to);
        }
    }

    /// The way from `end` to its peer is open again: what was held leaves after `wait`, and acknowledgements arrive.
    pub(in crate::simulation::net) fn release(&mut self, act: &mut Act<'_>, end: usize, wait: u64) {
        let to = 1 - end;
        if self.flows[to].last_at == HELD && !self.ends[to].vanished {
            let before = self.flows[to].segments.iter().rev().find(|segment| segment.at != HELD);
            self.flows[to].last_at = before.map_or(0, |segment| segment.at);
            let key = self.next_packet_key(to);
            let at = self.arrival(act, to, self.flows[to].under_way, key);
            if at != HELD {
                let at = at + wait;
                let flow = &mut self.flows[to];
                (flow.last_at, flow.stuck_since) = (at, None);
                flow.segments.iter_mut().filter(|segment| segment.at == HELD).for_each(|segment| segment.at = at);
                self.under_way(act, to, at);
            }
        }
        if !self.ends[end].vanished {
            // Acknowledgements travel the same way as what `end` sends.
            let flow = &mut self.flows[end];
            if std::mem::take(&mut flow.unacknowledged) > 0 {
                if flow.last_at != HELD {
                    flow.stuck_since = None;
                }
                act.effects.wake.extend(self.ends[to].writer.take());
            }
        }
    }
}
