//! One direction of the way between two machines.

use super::{MILLI, SECOND};
use crate::{
    observe::{NodeId, name_hash},
    simulation::{
        chance::{between, chance, prf},
        clock::nanos,
        leaves_at,
        world::World,
    },
};
use std::time::Duration;

/// How long a packet is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Always the same.
    Constant(Duration),
    /// Any time between these two, each as likely.
    Uniform(Duration, Duration),
    /// Mostly short, sometimes long, with this mean.
    Exponential(Duration),
    /// One of two, the second one so many times in a thousand.
    Bimodal(Duration, Duration, u32),
}

/// How one direction of a link behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// The way's own length.
    pub delay: Delay,
    /// Added to it: any time up to this, for each packet.
    pub jitter: Duration,
    /// How many packets of a thousand are lost. A loss is a delay, for the kernel sends again after 200 ms, 400 ms and
    /// so on; a packet that is lost fifteen times is given up, and with it the connection.
    pub loss: u32,
    /// Bytes a second, shared by all connections on it; unlimited if absent.
    pub bandwidth: Option<u64>,
}

impl Default for LinkSettings {
    /// A quiet local network: 0.2 to 1 ms, no loss, no limit.
    fn default() -> Self {
        let delay = Delay::Uniform(Duration::from_micros(200), Duration::from_millis(1));
        Self { delay, jitter: Duration::ZERO, loss: 0, bandwidth: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Cut,
    Clogged,
}

pub(super) struct Link {
    pub(super) settings: LinkSettings,
    pub(super) state: State,
    /// When the last byte of what was sent before has left, where the bandwidth is limited.
    free_at: u64,
}

/// The links between all pairs of nodes, by sender and receiver.
#[derive(Default)]
pub(super) struct Links(Vec<Vec<Link>>);

const RETRANSMISSION: u64 = 200 * MILLI;
const RETRANSMISSION_MAX: u64 = 120 * SECOND;
const RETRANSMISSIONS: u64 = 15;

impl Links {
    pub(super) fn add_node(&mut self) {
        let new = || Link { settings: LinkSettings::default(), state: State::Open, free_at: 0 };
        self.0.iter_mut().for_each(|row| row.push(new()));
        let count = self.0.len() + 1;
        self.0.push((0..count).map(|_| new()).collect());
    }

    pub(super) fn get(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        &mut self.0[from.0 as usize][to.0 as usize]
    }

    /// Whether packets arrive; a machine always reaches itself.
    pub(super) fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        from == to || self.0[from.0 as usize][to.0 as usize].state == State::Open
    }

    pub(super) fn not_open(&self) -> Vec<(NodeId, NodeId)> {
        let rows = self.0.iter().zip(0..);
        rows.flat_map(|(row, from)| row.iter().zip(0..).map(move |(link, to)| (link, NodeId(from), NodeId(to))))
            .filter(|(link, ..)| link.state != State::Open)
            .map(|(_, from, to)| (from, to))
            .collect()
    }

    /// When a packet that leaves now arrives; nothing when it does not. `key` is the packet's own.
    pub(super) fn arrival(&mut self, world: &World, from: NodeId, to: NodeId, bytes: u64, key: u64) -> Option<u64> {
        const LOSS: u64 = name_hash("net.loss");
        const DELAY: u64 = name_hash("net.delay");
        const JITTER: u64 = name_hash("net.jitter");
        let mut at = leaves_at(from);
        if from == to {
            return Some(at + between(prf(world.seed, &[DELAY, key]), 20_000, 60_000));
        }
        let link = self.get(from, to);
        if link.state != State::Open {
            return None;
        }
        let LinkSettings { delay, jitter, loss, bandwidth } = link.settings;
        let lost = |attempt: &u64| loss > 0 && chance(prf(world.seed, &[LOSS, key, *attempt]), u64::from(loss));
        let losses = (0..RETRANSMISSIONS).take_while(lost).count() as u64;
        if losses == RETRANSMISSIONS {
            return None;
        }
        at += (0..losses).map(|attempt| (RETRANSMISSION << attempt).min(RETRANSMISSION_MAX)).sum::<u64>();
        if let Some(bandwidth) = bandwidth {
            let transmission = u128::from(bytes) * u128::from(SECOND) / u128::from(bandwidth.max(1));
            at = at.max(link.free_at) + u64::try_from(transmission).unwrap_or(SECOND * 1_000_000);
            link.free_at = at;
        }
        if jitter > Duration::ZERO {
            at += between(prf(world.seed, &[JITTER, key]), 0, nanos(jitter));
        }
        Some(at + delay.draw(prf(world.seed, &[DELAY, key])))
    }
}

impl Delay {
    fn draw(self, draw: u64) -> u64 {
        match self {
            Self::Constant(delay) => nanos(delay),
            Self::Uniform(low, high) => between(draw, nanos(low), nanos(high).max(nanos(low))),
            Self::Exponential(mean) => {
                // The inverse of the distribution at a point in (0, 1], cut off at twenty means.
                let point = ((draw >> 11) + 1) as f64 / (1u64 << 53) as f64;
                (nanos(mean) as f64 * (-point.ln()).min(20.0)) as u64
            }
            Self::Bimodal(usual, slow, slow_per_thousand) => {
                nanos(if chance(draw, u64::from(slow_per_thousand)) { slow } else { usual })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(delay: Delay) -> f64 {
        let draws = (0..10_000).map(|ordinal| delay.draw(prf(1, &[ordinal])) as f64 / 1e6);
        draws.sum::<f64>() / 10_000.0
    }

    #[test]
    fn delays_have_the_means_of_their_distributions() {
        let ms = Duration::from_millis;
        assert_eq!(mean_ms(Delay::Constant(ms(7))), 7.0);
        assert!((mean_ms(Delay::Uniform(ms(2), ms(4))) - 3.0).abs() < 0.1);
        assert!((mean_ms(Delay::Exponential(ms(5))) - 5.0).abs() < 0.3);
        assert!((mean_ms(Delay::Bimodal(ms(1), ms(101), 100)) - 11.0).abs() < 1.5);
    }
}
