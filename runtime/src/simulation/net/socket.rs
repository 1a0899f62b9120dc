//! What a simulated program holds: listeners, and the halves of its connections.

use super::{
    Listening, Network,
    connection::{Connection, Effects, Half},
    drop_half, with_net,
};
use crate::{
    disk::FileSlice,
    net::Slice,
    observe::NodeId,
    simulation::{
        chance::{draw, prf},
        executor::Action,
        sleep_until_ns,
        trace::{NetworkEvent, NetworkKind},
        world::{Here, World, check_alive, try_world, world},
    },
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    task::Poll,
};

/// Connections made and not yet accepted, for each listener; a kernel ignores further ones.
const BACKLOG: usize = 128;
/// After which times a kernel repeats an unanswered connect, in seconds; after the last it gives up (Linux,
/// `tcp_syn_retries` = 6).
const CONNECT_RETRIES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Ports that the system chooses, for connecting and for binding to port zero.
const EPHEMERAL: u16 = 32_768;

// ---------------------------------------------------------------- addresses

/// Finds an address: `host:port`, where the host is an IP address, a node's name, or this node's own by any of the
/// usual words.
fn resolve(world: &World, here: Here, address: &str) -> io::Result<SocketAddr> {
    let unknown = || io::Error::new(ErrorKind::NotFound, format!("no node has the address {address}"));
    let (host, port) = address.rsplit_once(':').ok_or_else(unknown)?;
    let port: u16 = port.parse().map_err(|_| unknown())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let nodes = world.nodes.borrow();
    let own = nodes[here.node.0 as usize].ip;
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => own,
        Ok(ip) => ip,
        Err(_) if host == "localhost" => own,
        Err(_) => nodes.iter().find(|node| node.name == host).map(|node| node.ip).ok_or_else(unknown)?,
    };
    Ok(SocketAddr::new(ip, port))
}

impl Network {
    fn ephemeral_port(&mut self, node: NodeId) -> u16 {
        let port = &mut self.ports[node.0 as usize];
        *port = (*port + 1) % (u16::MAX - EPHEMERAL);
        EPHEMERAL + *port
    }
}

// ---------------------------------------------------------------- connecting

enum Asked {
    /// No answer comes.
    Lost,
    Refused {
        back_at: u64,
    },
    Connected {
        back_at: u64,
        id: u64,
    },
}

/// Connects to `host:port`.
///
/// # Errors
/// `ConnectionRefused` after a round trip when nobody listens there, `HostUnreachable` when no node has the address,
/// `TimedOut` after two minutes without an answer.
pub async fn connect(here: Here, address: &str) -> io::Result<(ReadHalf, WriteHalf)> {
    check_alive()?;
    let (to, target) = world(|world| {
        let to = resolve(world, here, address)?;
        let target = world.nodes.borrow().iter().position(|node| node.ip == to.ip());
        let target = target.ok_or(ErrorKind::HostUnreachable)?;
        Ok::<_, io::Error>((to, NodeId(target as u32)))
    })?;
    // Which connect of this task to this target it is: the key of everything that it leads to.
    let number = draw("net.connect", world(|world| world.current.get().task), u64::from(target.0));
    world(|world| {
        let (from, kind) = (here.node, NetworkKind::Connecting);
        let event = NetworkEvent { kind, from, to: target, connection: 0, bytes: 0, digest: 0, payload: Vec::new() };
        world.record_network(here.node, &event);
    });
    for (attempt, retry) in (0..).zip(CONNECT_RETRIES) {
        let next_try = super::super::now_ns() + retry * super::SECOND;
        let key = prf(number, &[attempt]);
        let arrives = world(|world| world.net.borrow_mut().links.arrival(world, here.node, target, 0, prf(key, &[1])));
        if let Some(at) = arrives {
            sleep_until_ns(at).await;
            check_alive()?;
            let asked = world(|world| with_net(world, |net, effects| net.ask(world, here, target, to, key, effects)));
            match asked {
                Asked::Lost => {}
                Asked::Refused { back_at } => {
                    sleep_until_ns(back_at).await;
                    return Err(ErrorKind::ConnectionRefused.into());
                }
                Asked::Connected { back_at, id } => {
                    // The halves exist from here on: a connect that is cancelled closes what the server has accepted.
                    let halves = (ReadHalf { here, id, end: 0 }, WriteHalf { here, id, end: 0 });
                    sleep_until_ns(back_at).await;
                    return Ok(halves);
                }
            }
        }
        sleep_until_ns(next_try).await;
    }
    Err(ErrorKind::TimedOut.into())
}

impl Network {
    /// A request to connect arrives at its target.
    fn ask(
        &mut self,
        world: &World,
        here: Here,
        target: NodeId,
        to: SocketAddr,
        key: u64,
        effects: &mut Effects,
    ) -> Asked {
        let (powered, from_ip) = {
            let nodes = world.nodes.borrow();
            (nodes[target.0 as usize].powered, nodes[here.node.0 as usize].ip)
        };
        let back = self.links.arrival(world, target, here.node, 0, prf(key, &[2])).filter(|_| powered);
        let Some(back_at) = back else { return Asked::Lost };
        let event = |kind, connection| NetworkEvent {
            kind,
            from: here.node,
            to: target,
            connection,
            bytes: 0,
            digest: 0,
            payload: Vec::new(),
        };
        let Some(listening) = self.listening.get(&to) else {
            effects.events.push((target, event(NetworkKind::Refused, 0)));
            return Asked::Refused { back_at };
        };
        // The client's last step travels to the server once more.
        let established = self.links.arrival(world, here.node, target, 0, prf(key, &[3]));
        let Some(established) = established.filter(|_| listening.waiting.len() < BACKLOG) else { return Asked::Lost };
        let established = established + (back_at - world.now.get());
        let server = (listening.here, to);
        let client = (here, SocketAddr::new(from_ip, self.ephemeral_port(here.node)));
        let id = self.connections.len() as u64;
        self.connections.push(Some(Box::new(Connection::new(prf(key, &[4]), client, server))));
        self.by_node[here.node.0 as usize].insert(id);
        self.by_node[target.0 as usize].insert(id);
        effects.events.push((target, event(NetworkKind::Connected, id)));
        world.executor.borrow_mut().push(established, key, Action::Establish { connection: id });
        Asked::Connected { back_at, id }
    }
}

// ---------------------------------------------------------------- accepting

/// A simulated listening socket.
pub struct Listener {
    here: Here,
    address: SocketAddr,
}

impl Listener {
    /// Listens at one of this node's ports.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, `AddrNotAvailable` when the address is another node's.
    pub fn bind(here: Here, address: &str) -> io::Result<Self> {
        check_alive()?;
        world(|world| {
            let mut address = resolve(world, here, address)?;
            if address.ip() != world.nodes.borrow()[here.node.0 as usize].ip {
                return Err(ErrorKind::AddrNotAvailable.into());
            }
            let mut net = world.net.borrow_mut();
            while address.port() == 0 {
                let port = net.ephemeral_port(here.node);
                if !net.listening.contains_key(&SocketAddr::new(address.ip(), port)) {
                    address.set_port(port);
                }
            }
            if net.listening.contains_key(&address) {
                return Err(ErrorKind::AddrInUse.into());
            }
            net.listening.insert(address, Listening { here, waiting: VecDeque::new(), waker: None });
            Ok(Self { here, address })
        })
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf, SocketAddr)> {
        poll_fn(|context| {
            check_alive()?;
            world(|world| {
                let mut net = world.net.borrow_mut();
                let listening = net.listening.get_mut(&self.address).expect("bound while its node lives");
                let Some(id) = listening.waiting.pop_front() else {
                    listening.waker = Some(context.waker().clone());
                    return Poll::Pending;
                };
                let from = net.connection(id).expect("held by its end here").address(0);
                let here = self.here;
                Poll::Ready(Ok((ReadHalf { here, id, end: 1 }, WriteHalf { here, id, end: 1 }, from)))
            })
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !super::super::is_alive(self.here) {
            return;
        }
        try_world(|world| {
            with_net(world, |net, effects| {
                let Some(listening) = net.listening.remove(&self.address) else { return };
                for id in listening.waiting {
                    if let Some((connection, mut act)) = net.act(world, id, effects) {
                        connection.refuse(&mut act);
                        net.remove_if_unheld(id);
                    }
                }
            });
        });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.address).finish()
    }
}

// ---------------------------------------------------------------- reading and writing

/// The receiving direction of a simulated connection.
pub struct ReadHalf {
    here: Here,
    id: u64,
    end: usize,
}

/// The sending direction of a simulated connection.
pub struct WriteHalf {
    here: Here,
    id: u64,
    end: usize,
}

fn address_of(id: u64, end: usize) -> io::Result<SocketAddr> {
    let address = try_world(|world| world.net.borrow_mut().connection(id).map(|connection| connection.address(end)));
    address.flatten().ok_or_else(|| ErrorKind::NotConnected.into())
}

impl ReadHalf {
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| {
            check_alive()?;
            world(|world| {
                with_net(world, |net, effects| match net.act(world, self.id, effects) {
                    Some((connection, mut act)) => connection.read(&mut act, self.end, buffer, context.waker()),
                    None => Poll::Ready(Err(gone())),
                })
            })
        })
        .await
    }

    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        address_of(self.id, 1 - self.end)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        address_of(self.id, self.end)
    }
}

impl WriteHalf {
    pub(crate) async fn send(&mut self, header: &[u8], body: &[Slice]) -> io::Result<()> {
        let mut pieces = VecDeque::with_capacity(body.len() + 1);
        pieces.push_back(Bytes::copy_from_slice(header));
        for slice in body {
            match slice {
                Slice::Bytes(bytes) => pieces.push_back(bytes.clone()),
                Slice::File(slice) => match read_file(slice) {
                    Ok(bytes) => pieces.push_back(bytes),
                    Err(error) => {
                        // What comes before the file has left by the time that the file is asked for.
                        self.write_all(&mut pieces).await?;
                        return Err(error);
                    }
                },
            }
        }
        self.write_all(&mut pieces).await
    }

    async fn write_all(&mut self, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
        poll_fn(|context| {
            check_alive()?;
            world(|world| {
                with_net(world, |net, effects| match net.act(world, self.id, effects) {
                    Some((connection, mut act)) => connection.write(&mut act, self.end, pieces, context.waker()),
                    None => Poll::Ready(Err(gone())),
                })
            })
        })
        .await
    }

    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        check_alive()?;
        world(|world| {
            with_net(world, |net, effects| {
                let (connection, mut act) = net.act(world, self.id, effects).ok_or_else(gone)?;
                connection.finish(&mut act, self.end);
                Ok(())
            })
        })
    }

    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        address_of(self.id, 1 - self.end)
    }
}

/// The life that held this half is over, and its kernel has closed the connection.
fn gone() -> io::Error {
    ErrorKind::NotConnected.into()
}

fn read_file(slice: &FileSlice) -> io::Result<Bytes> {
    slice.read().map(Bytes::from)
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        drop_half(self.here, self.id, self.end, Half::Read);
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        drop_half(self.here, self.id, self.end, Half::Write);
    }
}
