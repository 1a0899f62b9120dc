//! The world of one thread: what it is made of, and how code finds it.

use super::{
    executor::Executor,
    net::{Effects, Network},
    nodes::Node,
    trace::Trace,
};
use crate::observe::{Envelope, Event, NodeId};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    ops::Range,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

/// Whose code is running, and in which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Here {
    /// The node.
    pub node: NodeId,
    /// Its life, counted from one; the harness lives in life zero.
    pub life: u32,
}

/// What a listener of the world is.
pub(super) type Subscriber = Box<dyn FnMut(&Envelope, &dyn Event)>;

/// Progress of the run, watched from another thread.
#[derive(Default)]
pub(super) struct Pulse {
    /// Events of the executor until now.
    pub(super) steps: AtomicU64,
    /// The node whose code runs.
    pub(super) node: AtomicU64,
}

/// The key of the task that is being polled, and how many numbers it has drawn.
#[derive(Clone, Copy, Default)]
pub(super) struct Current {
    pub(super) task: u64,
    pub(super) draws: u64,
}

/// How often something was reached, by name.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) reached: BTreeMap<&'static str, u64>,
    pub(super) diverged: BTreeMap<&'static str, u64>,
    pub(super) faults: BTreeMap<&'static str, u64>,
}

pub(super) struct World {
    pub(super) seed: u64,
    /// Tells the wakers of this run from those of another.
    pub(super) number: u64,
    /// Virtual nanoseconds since the run began.
    pub(super) now: Cell<u64>,
    /// What `now` may not pass.
    pub(super) time_limit: u64,
    /// What the C library's clock was last set to, in the same nanoseconds.
    pub(super) system_now: Cell<u64>,
    pub(super) system_clock: madsim::time::TimeHandle,
    /// The wall clock of a node without offset, in milliseconds, when the run began.
    pub(super) wall_base: i64,
    pub(super) current: Cell<Current>,
    pub(super) nodes: RefCell<Vec<Node>>,
    pub(super) executor: RefCell<Executor>,
    pub(super) net: RefCell<Network>,
    /// Room for what an action on the network entails.
    pub(super) effects: Cell<Effects>,
    pub(super) ordinals: RefCell<BTreeMap<(u64, u64, u64), u64>>,
    pub(super) trace: RefCell<Trace>,
    pub(super) subscribers: RefCell<Vec<Subscriber>>,
    pub(super) observe_network: bool,
    pub(super) counts: RefCell<Counts>,
    pub(super) buggify: Cell<bool>,
    /// How long messages of a kind wait on a node.
    pub(super) holds: RefCell<BTreeMap<(super::NodeId, crate::hold::Held, i16), std::time::Duration>>,
    /// The run is over: what is still dropped must leave no trace.
    pub(super) ended: Cell<bool>,
    pub(super) pulse: Arc<Pulse>,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    static HERE: Cell<Option<Here>> = const { Cell::new(None) };
}

impl World {
    pub(super) fn new(seed: u64, number: u64, options: &super::Options, pulse: Arc<Pulse>) -> Self {
        let keep = options.keep_lines.clone().unwrap_or(Range { start: 0, end: 0 });
        Self {
            seed,
            number,
            now: Cell::new(0),
            time_limit: options.time_limit.map_or(u64::MAX, super::clock::nanos),
            system_now: Cell::new(0),
            system_clock: madsim::time::TimeHandle::current(),
            // Outside of any node, and inside madsim's context: the seed's own date.
            wall_base: crate::time::wall_now(),
            current: Cell::default(),
            nodes: RefCell::default(),
            executor: RefCell::default(),
            net: RefCell::default(),
            effects: Cell::default(),
            ordinals: RefCell::default(),
            trace: RefCell::new(Trace::new(keep)),
            subscribers: RefCell::default(),
            observe_network: options.observe_network,
            counts: RefCell::default(),
            buggify: Cell::new(options.buggify),
            holds: RefCell::default(),
            ended: Cell::new(false),
            pulse,
        }
    }
}

/// Sets this thread's world, or takes it away.
pub(super) fn set_world(world: Option<Rc<World>>) {
    WORLD.set(world);
}

/// The world of this thread.
///
/// # Panics
/// Outside a simulation.
#[inline]
pub(super) fn world<T>(f: impl FnOnce(&World) -> T) -> T {
    WORLD.with_borrow(|world| f(world.as_ref().expect("called inside a simulation")))
}

/// The world of this thread, if there is one: for destructors and wakers, which may outlive it.
#[inline]
pub(super) fn try_world<T>(f: impl FnOnce(&World) -> T) -> Option<T> {
    WORLD
        .try_with(|world| world.try_borrow().ok().and_then(|world| world.as_ref().map(|world| f(world))))
        .ok()
        .flatten()
}

/// Whose code is running. `None` is the real world.
#[inline]
pub fn here() -> Option<Here> {
    HERE.get()
}

/// Sets who is running until the returned value is dropped.
pub(super) fn enter(here: Here) -> Entered {
    Entered(HERE.replace(Some(here)))
}

/// Restores the former answer to [`here`] when it goes out of scope.
pub(super) struct Entered(Option<Here>);

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// Who is running, if that life still lasts: the first line of every operation of a simulated node.
///
/// # Errors
/// When the node has crashed (what its destructors try must not happen), and outside a simulation.
pub fn check_alive() -> io::Result<Here> {
    match here() {
        Some(here) if super::is_alive(here) => Ok(here),
        _ => Err(io::Error::other("this node has crashed")),
    }
}

/// The run's seed.
pub fn seed() -> u64 {
    world(|world| world.seed)
}
