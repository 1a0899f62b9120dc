//! One door to the world: time, tasks, network, disk, randomness, and what the program says about itself.
//!
//! Every function decides when it is called whether its caller is a task of a simulated node (a thread-local says so):
//! then it acts on the simulated world, otherwise on the real one through tokio. The types are small enums with a real
//! and a simulated form, so no type parameter spreads through callers, and the same source is the server that users
//! deploy and the cluster that one seed runs. In a build without `--cfg madsim` the simulated forms do not exist.
//!
//! It knows nothing of Kafka, and imports nothing of ours. Everybody else reaches the world only through it.

// This crate is the door: what the others may not name is what it is made of.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

/// `match` on a two-world enum; the second arm is there only in builds that hold the simulator.
macro_rules! either {
    ($value:expr, $kind:ident, $real:pat => $on_real:expr, $simulated:pat => $on_simulated:expr $(,)?) => {
        match $value {
            $kind::Real($real) => $on_real,
            #[cfg(madsim)]
            $kind::Simulated($simulated) => $on_simulated,
        }
    };
}

mod macros;
mod select;

pub mod disk;
pub mod hold;
pub mod net;
pub mod observe;
pub mod raft;
pub mod rand;
pub mod sync;
pub mod task;
pub mod time;

#[cfg(madsim)]
pub mod simulation;

/// What the macros of this crate expand to; not for use by name.
#[doc(hidden)]
pub mod __private {
    pub use crate::select::{Branch, Branches, Either, End, Polled, Select, branch, first_of};
    #[cfg(madsim)]
    pub use linkme;
}
