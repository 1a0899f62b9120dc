//! The simulated world: machines, their clocks, network and disks, all run on one thread from one seed.
//!
//! One world lives on one operating system thread. Its executor, clock and network are ours; madsim stands underneath
//! for what third-party code asks of the C library (the time, entropy, threads), so that those answers are the seed's
//! too. A thread-local says which node (and which life of it) the code being run belongs to; the rest of this crate asks
//! [`here`] and acts on the world or on the machine.
//!
//! **Everything that happens by chance is keyed.** There is no generator that all share: a delay, a fault, a wake-up's
//! latency, a program's random number is a pseudo-random function of the seed, the purpose, whom it concerns, and how
//! many of that kind came before. So one draw more, one task more, one message more in one place moves nothing anywhere
//! else but by what it causes.
//!
//! A scenario drives the world from the [`HARNESS`] node, which never crashes: it adds nodes, starts programs in them,
//! and breaks things. Nothing here knows what the programs do.

pub mod canaries;
mod chance;
mod clock;
pub mod disk;
mod executor;
mod hold;
pub mod net;
mod nodes;
mod run;
mod trace;
mod world;

pub use crate::observe::{Envelope, Event, NodeId};
pub use chance::{between, buggify, chance, count_fault, draw, end_buggify, prf, with_mutant};
pub(crate) use chance::{count_diverged, count_reached, mutant_is, program_draw};
pub use clock::{Timer, now_ns, set_clock, sleep_until_ns};
pub(crate) use clock::{local_now, local_wall};
pub(crate) use executor::{JoinHandle, spawn};
pub(crate) use hold::held;
pub use hold::hold;
pub use nodes::{
    Crash, add_node, crash, is_alive, is_client, is_paused, is_running, leaves_at, life_of, mark_client, name_of,
    nodes, pause, resume, set_slowness, stall, start,
};
pub use run::{Failure, Options, Outcome, run};
pub(crate) use trace::emit;
pub use trace::subscribe;
pub use world::{Here, check_alive, here, seed};

/// The scenario's own node: it never crashes, its clock is right, and its life is number zero.
pub const HARNESS: NodeId = NodeId(0);
