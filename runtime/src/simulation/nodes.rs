//! The machines of the world: started, crashed, paused, stalled.

use super::{
    HARNESS, Here,
    chance::{count_fault, prf},
    clock::Clocks,
    executor::{Role, TaskFuture, TaskId},
    world::{World, enter, try_world, world},
};
use crate::observe::{NodeId, name_hash};
use std::{any::type_name, cell::RefMut, future::Future, net::IpAddr, time::Duration};

pub(super) struct Node {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    pub(super) life: u32,
    /// Its process runs (perhaps paused).
    pub(super) running: bool,
    /// Its kernel runs: it answers connects and closes sockets.
    pub(super) powered: bool,
    pub(super) clocks: Clocks,
    paused: bool,
    /// Tasks whose turn came while the node was paused.
    waiting: Vec<TaskId>,
    /// No task is polled before this time: the thread is stuck in a system call.
    stalled_until: u64,
    slowness: u64,
    client: bool,
}

/// How a node's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies and the kernel lives: it closes the sockets, and the page cache survives.
    Process,
    /// The machine dies: no packet says so, and un-synced data may be lost (tell the disk, too).
    Power,
}

/// Whether a task of a node may be polled.
pub(super) enum MayRun {
    Now,
    At(u64),
    WhenResumed,
    /// Its life is over.
    Never,
}

fn node(world: &World, id: NodeId) -> RefMut<'_, Node> {
    RefMut::map(world.nodes.borrow_mut(), |nodes| {
        nodes.get_mut(id.0 as usize).unwrap_or_else(|| panic!("there is no node {id}"))
    })
}

/// Adds a machine. It does nothing until [`start`]; its name is also its host name.
///
/// # Panics
/// When another machine has the address or the name, and outside a simulation.
pub fn add_node(name: &str, ip: IpAddr) -> NodeId {
    world(|world| {
        let mut nodes = world.nodes.borrow_mut();
        assert!(nodes.iter().all(|node| node.ip != ip && node.name != name), "{name} or {ip} is taken");
        let id = NodeId(u32::try_from(nodes.len()).expect("fewer nodes than addresses"));
        nodes.push(Node {
            name: name.to_owned(),
            ip,
            life: 0,
            running: false,
            powered: true,
            clocks: Clocks::default(),
            paused: false,
            waiting: Vec::new(),
            stalled_until: 0,
            slowness: 1,
            client: false,
        });
        drop(nodes);
        world.net.borrow_mut().add_node();
        id
    })
}

/// Starts a node's program in a new life, on a machine that it boots if need be. When the program returns, the process
/// ends: what is left of its tasks is dropped, and the kernel closes its sockets.
///
/// # Panics
/// When the node is running, and outside a simulation.
pub fn start<F>(node_id: NodeId, program: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    world(|world| {
        let here = begin_life(world, node_id);
        world.boot_network(node_id);
        let _ = start_in(world, here, Role::Program, type_name::<F>(), Box::pin(program));
    });
}

fn begin_life(world: &World, node_id: NodeId) -> Here {
    let mut node = node(world, node_id);
    assert!(!node.running, "{} is running: crash it or let its program end first", node.name);
    node.life += 1;
    (node.running, node.powered, node.paused, node.stalled_until) = (true, true, false, 0);
    Here { node: node_id, life: node.life }
}

/// Starts a task that has no parent.
pub(super) fn start_in(world: &World, here: Here, role: Role, name: &'static str, future: TaskFuture) -> TaskId {
    const ROOT: u64 = name_hash("node.root");
    let key = prf(world.seed, &[ROOT, u64::from(here.node.0), u64::from(here.life)]);
    world.start_task(here, role, key, name, future)
}

/// The harness lives from the beginning, in life zero.
pub(super) fn add_harness(world: &World) {
    add_node("harness", IpAddr::from([10, 255, 255, 254]));
    node(world, HARNESS).running = true;
}

/// Ends a node's life at this instant. It is marked dead first, so that nothing of it can act any more; then the kernel
/// closes its sockets, or vanishes with them; its tasks are never polled again and never dropped while the run lasts: a
/// crash runs no destructor. A node that is not running can still lose its power.
///
/// # Panics
/// For the harness, and outside a simulation.
pub fn crash(node_id: NodeId, kind: Crash) {
    assert_ne!(node_id, HARNESS, "the harness does not crash");
    count_fault(match kind {
        Crash::Process => "process-crash",
        Crash::Power => "power-loss",
    });
    world(|world| {
        let here = end_life(world, node_id, kind);
        world.crash_network(node_id, kind);
        world.executor.borrow_mut().bury_life(here);
    });
}

fn end_life(world: &World, node_id: NodeId, kind: Crash) -> Here {
    let mut node = node(world, node_id);
    (node.running, node.paused) = (false, false);
    node.powered &= kind == Crash::Process;
    node.waiting.clear();
    Here { node: node_id, life: node.life }
}

/// The program returned: its process ends, with destructors.
pub(super) fn exit(world: &World, here: Here) {
    let left = world.executor.borrow_mut().take_life(here);
    let entered = enter(here);
    drop(left);
    drop(entered);
    if is_alive(here) {
        end_life(world, here.node, Crash::Process);
        world.crash_network(here.node, Crash::Process);
    }
}

/// Stops a node's process, as SIGSTOP does: none of its tasks is polled, but its kernel goes on accepting connections
/// into backlogs and bytes into windows. Does nothing to one that is paused or not running.
///
/// # Panics
/// For the harness, and outside a simulation.
pub fn pause(node_id: NodeId) {
    assert_ne!(node_id, HARNESS, "the harness does not pause");
    count_fault("pause");
    world(|world| {
        let mut node = node(world, node_id);
        node.paused = node.running;
    });
}

/// Lets a paused node go on. Its clocks went on all the while.
///
/// # Panics
/// Outside a simulation.
pub fn resume(node_id: NodeId) {
    world(|world| {
        let waiting = {
            let mut node = node(world, node_id);
            node.paused = false;
            std::mem::take(&mut node.waiting)
        };
        waiting.into_iter().for_each(|id| world.schedule_again(id, world.now.get()));
    });
}

/// Freezes all of a node's tasks for a while, as a system call that blocks the thread does; what its present poll still
/// sends leaves only afterwards.
///
/// # Panics
/// Outside a simulation.
pub fn stall(node_id: NodeId, duration: Duration) {
    count_fault("stall");
    world(|world| {
        let until = world.now.get().saturating_add(super::clock::nanos(duration));
        let mut node = node(world, node_id);
        node.stalled_until = node.stalled_until.max(until);
    });
}

/// Makes every wake-up of a node's tasks take this many times as long as usual (1 is usual): a busy machine.
///
/// # Panics
/// When `factor` is zero, and outside a simulation.
pub fn set_slowness(node_id: NodeId, factor: u64) {
    assert!(factor > 0, "a machine cannot be infinitely fast");
    world(|world| node(world, node_id).slowness = factor);
}

/// When what a node writes now can leave it at the earliest, in virtual nanoseconds.
pub fn leaves_at(node_id: NodeId) -> u64 {
    world(|world| world.now.get().max(node(world, node_id).stalled_until))
}

/// Whether this life of this node still lasts.
pub fn is_alive(here: Here) -> bool {
    let alive = try_world(|world| {
        let nodes = world.nodes.borrow();
        let node = &nodes[here.node.0 as usize];
        node.running && node.life == here.life
    });
    alive.unwrap_or(false)
}

/// Whether a node's process runs, paused or not.
pub fn is_running(node_id: NodeId) -> bool {
    world(|world| node(world, node_id).running)
}

/// Whether a node's process is paused.
pub fn is_paused(node_id: NodeId) -> bool {
    world(|world| node(world, node_id).paused)
}

/// How many lives a node has begun.
pub fn life_of(node_id: NodeId) -> u32 {
    world(|world| node(world, node_id).life)
}

/// Every node but the harness, in the order of adding.
pub fn nodes() -> Vec<NodeId> {
    world(|world| (1..world.nodes.borrow().len()).map(|id| NodeId(id as u32)).collect())
}

/// Says that a node is a client of the cluster, not a part of it: for faults that choose.
pub fn mark_client(node_id: NodeId) {
    world(|world| node(world, node_id).client = true);
}

/// Whether [`mark_client`] was called for a node.
pub fn is_client(node_id: NodeId) -> bool {
    world(|world| node(world, node_id).client)
}

/// A node's name.
pub fn name_of(node_id: NodeId) -> String {
    world(|world| node(world, node_id).name.clone())
}

pub(super) fn slowness(world: &World, node_id: NodeId) -> u64 {
    world.nodes.borrow()[node_id.0 as usize].slowness
}

pub(super) fn may_run(world: &World, here: Here, task: TaskId) -> MayRun {
    let mut node = node(world, here.node);
    if !node.running || node.life != here.life {
        MayRun::Never
    } else if node.paused {
        node.waiting.push(task);
        MayRun::WhenResumed
    } else if node.stalled_until > world.now.get() {
        MayRun::At(node.stalled_until)
    } else {
        MayRun::Now
    }
}
