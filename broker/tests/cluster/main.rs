//! Brokers and controllers together, in the simulated world: what clients ask, on the wire, and what they are told.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[cfg(not(madsim))]
compile_error!("these tests run in the simulator: build without RUSTFLAGS in the environment");

mod admin;
mod administration;
mod configs;
mod connections;
mod data;
mod groups;
mod logs;
mod members;
mod restarts;
mod support;
