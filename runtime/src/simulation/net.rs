//! The simulated network: TCP connections over links that delay, lose, hold back, and cut.
//!
//! Bytes travel in packets that carry their arrival time; an event of the executor delivers each. A lost packet is a
//! delay (the kernel sends it again), a cut link holds packets until it heals, and a machine that lost its power says
//! nothing at all until it is back and answers old connections with a reset. Every delay, loss and split is keyed by the
//! connection and the packet's number in it, so that a message more on one connection moves none on another.

mod connection;
mod link;
mod socket;

pub(super) use self::connection::Effects;
use self::{
    connection::{Act, Connection},
    link::Links,
};
use super::{
    Crash,
    chance::{count_fault, draw},
    world::{Here, World, try_world, world},
};
use crate::observe::NodeId;
pub use link::{Delay, LinkSettings};
pub use socket::{Listener, ReadHalf, WriteHalf, connect};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    task::Waker,
};

pub use super::trace::{NetworkEvent, NetworkKind};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// How long a kernel sends again what nobody acknowledges, before it breaks the connection off: what Linux does with
/// `tcp_retries2` = 15.
pub const GIVE_UP_NS: u64 = 924_600 * MILLI;
/// How much later than sent the bytes of a dropped connection may still arrive.
pub const LATE_BYTES_NS: u64 = 10 * SECOND;

#[derive(Default)]
pub(super) struct Network {
    links: Links,
    listening: BTreeMap<SocketAddr, Listening>,
    connections: Vec<Option<Box<Connection>>>,
    /// The connections that have an end at each node.
    by_node: Vec<BTreeSet<u64>>,
    /// The last ephemeral port of each node.
    ports: Vec<u16>,
}

struct Listening {
    here: Here,
    /// Connections made and not yet accepted.
    waiting: VecDeque<u64>,
    waker: Option<Waker>,
}

impl Network {
    pub(super) fn add_node(&mut self) {
        self.links.add_node();
        self.by_node.push(BTreeSet::new());
        self.ports.push(0);
    }

    fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(id as usize)?.as_deref_mut()
    }

    /// A connection, and what is needed to act on it.
    fn act<'a>(
        &'a mut self,
        world: &'a World,
        id: u64,
        effects: &'a mut Effects,
    ) -> Option<(&'a mut Connection, Act<'a>)> {
        let connection = self.connections.get_mut(id as usize)?.as_deref_mut()?;
        Some((connection, Act { world, links: &mut self.links, id, effects }))
    }

    /// The connections that send from one node to another, and the sending end of each.
    fn sending(&self, from: NodeId, to: NodeId) -> Vec<(u64, usize)> {
        let ids = self.by_node[from.0 as usize].iter().copied();
        let ends = ids.flat_map(|id| [(id, 0), (id, 1)]);
        ends.filter(|(id, end)| {
            let connection = self.connections[*id as usize].as_ref().expect("indexed connections exist");
            connection.node(*end) == from && connection.node(1 - *end) == to
        })
        .collect()
    }

    /// The ends of connections that a node has.
    fn ends_of(&self, node: NodeId) -> Vec<(u64, usize)> {
        let ids = self.by_node[node.0 as usize].iter().copied();
        let ends = ids.flat_map(|id| [(id, 0), (id, 1)]);
        ends.filter(|(id, end)| {
            self.connections[*id as usize].as_ref().expect("indexed connections exist").node(*end) == node
        })
        .collect()
    }

    /// Forgets a connection that no process holds any more.
    fn remove_if_unheld(&mut self, id: u64) {
        if self.connection(id).is_some_and(|connection| !connection.is_held()) {
            let connection = self.connections[id as usize].take().expect("found above");
            for end in 0..2 {
                self.by_node[connection.node(end).0 as usize].remove(&id);
            }
        }
    }
}

/// Acts on the network, and afterwards wakes and tells whom the action names.
fn with_net<T>(world: &World, act: impl FnOnce(&mut Network, &mut Effects) -> T) -> T {
    let mut effects = world.effects.take();
    let result = act(&mut world.net.borrow_mut(), &mut effects);
    effects.events.drain(..).for_each(|(node, event)| world.record_network(node, &event));
    effects.wake.drain(..).for_each(Waker::wake);
    // Its room is used again by the next action.
    world.effects.set(effects);
    result
}

/// Acts on a connection, unless it is forgotten already.
fn act_on(world: &World, id: u64, action: impl FnOnce(&mut Connection, &mut Act<'_>)) {
    with_net(world, |net, effects| {
        if let Some((connection, mut act)) = net.act(world, id, effects) {
            action(connection, &mut act);
            net.remove_if_unheld(id);
        }
    });
}

/// Acts on the listed ends of connections, one after another.
fn act_on_all(
    world: &World,
    list: impl FnOnce(&Network) -> Vec<(u64, usize)>,
    mut action: impl FnMut(&mut Connection, &mut Act<'_>, usize),
) {
    let ends = list(&world.net.borrow());
    for (id, end) in ends {
        act_on(world, id, |connection, act| action(connection, act, end));
    }
}

// ---------------------------------------------------------------- what a scenario may do

/// Sets how a link behaves in one direction. What is under way keeps its arrival time.
pub fn set_link(from: NodeId, to: NodeId, settings: LinkSettings) {
    world(|world| {
        world.net.borrow_mut().links.get(from, to).settings = settings;
        release(world, from, to, 3 * SECOND);
    });
}

/// How a link behaves in one direction.
pub fn link(from: NodeId, to: NodeId) -> LinkSettings {
    world(|world| world.net.borrow_mut().links.get(from, to).settings)
}

/// Cuts one direction: nothing that leaves now arrives, and of what is under way a drawn part of the connections loses
/// all. Connections survive, and go on after the heal.
pub fn cut(from: NodeId, to: NodeId) {
    hold(from, to, link::State::Cut);
    count_fault("cut");
}

/// Stops one direction without losing anything: after the heal all of it arrives in one burst.
pub fn clog(from: NodeId, to: NodeId) {
    hold(from, to, link::State::Clogged);
    count_fault("clog");
}

fn hold(from: NodeId, to: NodeId, state: link::State) {
    world(|world| {
        world.net.borrow_mut().links.get(from, to).state = state;
        act_on_all(
            world,
            |net| net.sending(from, to),
            |connection, act, end| {
                if draw("net.cut", connection.key(), end as u64).is_multiple_of(2) {
                    connection.hold_undelivered(act, end);
                }
            },
        );
    });
}

/// Whether one direction of a link is cut or clogged.
pub fn is_cut(from: NodeId, to: NodeId) -> bool {
    world(|world| world.net.borrow_mut().links.get(from, to).state != link::State::Open)
}

/// Opens one direction again. Senders notice at their next retransmission, up to three seconds later; what was clogged
/// arrives at once.
pub fn heal(from: NodeId, to: NodeId) {
    world(|world| {
        let before = std::mem::replace(&mut world.net.borrow_mut().links.get(from, to).state, link::State::Open);
        match before {
            link::State::Open => {}
            link::State::Cut => release(world, from, to, 3 * SECOND),
            link::State::Clogged => release(world, from, to, 0),
        }
    });
}

/// Opens every link. Settings stay.
pub fn heal_all() {
    let cut = world(|world| world.net.borrow().links.not_open());
    cut.into_iter().for_each(|(from, to)| heal(from, to));
}

/// Sends what was held back, and delivers the acknowledgements that were.
fn release(world: &World, from: NodeId, to: NodeId, patience: u64) {
    if world.net.borrow_mut().links.get(from, to).state != link::State::Open {
        return;
    }
    act_on_all(
        world,
        |net| net.sending(from, to),
        |connection, act, end| {
            let wait = if patience == 0 { 0 } else { draw("net.heal", connection.key(), end as u64) % patience };
            connection.release(act, end, wait);
        },
    );
}

/// Breaks off every connection between two nodes, as a middlebox that forgot them does: both ends see a reset.
pub fn reset_connections(a: NodeId, b: NodeId) {
    count_fault("reset-connections");
    world(|world| {
        act_on_all(
            world,
            |net| net.sending(a, b),
            |connection, act, end| {
                connection.reset_now(act, end);
                connection.reset_now(act, 1 - end);
            },
        );
    });
}

/// How many connections have an end at a node.
pub fn connection_count(node: NodeId) -> usize {
    world(|world| world.net.borrow().by_node[node.0 as usize].len())
}

// ---------------------------------------------------------------- what the world does to it

impl World {
    /// A node's process or machine is gone.
    pub(super) fn crash_network(&self, node: NodeId, kind: Crash) {
        self.net.borrow_mut().listening.retain(|_, listening| listening.here.node != node);
        act_on_all(
            self,
            |net| net.ends_of(node),
            |connection, act, end| match kind {
                Crash::Process => connection.close(act, end),
                Crash::Power => connection.vanish(act, end),
            },
        );
    }

    /// A machine that is back resets the connections that it forgot, when their peers send again.
    pub(super) fn boot_network(&self, node: NodeId) {
        act_on_all(self, |net| net.ends_of(node), |connection, act, end| connection.boot(act, end));
    }

    /// Something may have arrived at an end.
    pub(super) fn deliver(&self, id: u64, end: usize) {
        act_on(self, id, |connection, act| connection.deliver(act, end));
    }

    /// The last step of a handshake arrives: the connection waits to be accepted.
    pub(super) fn establish(&self, id: u64) {
        with_net(self, |net, effects| {
            let Some(connection) = net.connection(id) else { return };
            if !connection.is_open(1) {
                return;
            }
            let (address, here) = (connection.address(1), connection.here(1));
            match net.listening.get_mut(&address).filter(|listening| listening.here == here) {
                Some(listening) => {
                    listening.waiting.push_back(id);
                    effects.wake.extend(listening.waker.take());
                }
                None => {
                    let (connection, mut act) = net.act(self, id, effects).expect("found above");
                    connection.refuse(&mut act);
                    net.remove_if_unheld(id);
                }
            }
        });
    }

    /// The kernel at `end` has sent in vain for as long as it does.
    pub(super) fn give_up(&self, id: u64, end: usize) {
        act_on(self, id, |connection, act| connection.give_up(act, end));
    }
}

/// Lets go of one direction of an end; the second one closes it.
fn drop_half(here: Here, id: u64, end: usize, half: connection::Half) {
    if !super::is_alive(here) {
        return; // the kernel closed it already, or never will
    }
    try_world(|world| act_on(world, id, |connection, act| connection.drop_half(act, end, half)));
}
