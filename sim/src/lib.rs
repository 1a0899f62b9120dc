//! The seeded world: whole clusters in one process from one seed, with faults, judged by invariants, told as a story.
//!
//! The words of scenarios are Rust, one file each: [`faults`], [`workloads`], [`invariants`]. Everything but [`world`],
//! [`run`] and the workloads is plain code, tested without a world. It is there in builds with the simulator only.

#![cfg_attr(not(madsim), allow(unused))]

pub mod delivery;
#[cfg(madsim)]
pub mod driver;
pub mod event;
#[cfg(madsim)]
pub mod faults;
#[cfg(madsim)]
pub mod guide;
pub mod history;
pub mod invariants;
pub mod ledger;
#[cfg(madsim)]
pub mod logs;
pub mod mutants;
pub mod observed;
pub mod operations;
#[cfg(madsim)]
pub mod reach;
pub mod recording;
pub mod report;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
pub mod scenario;
#[cfg(madsim)]
pub mod service;
#[cfg(madsim)]
pub mod shrink;
pub mod story;
pub mod summary;
#[cfg(madsim)]
pub mod swarm;
pub mod timeline;
#[cfg(madsim)]
pub mod token;
#[cfg(madsim)]
pub mod when;
#[cfg(madsim)]
pub mod workloads;
#[cfg(madsim)]
pub mod world;
