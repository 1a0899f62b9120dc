//! What the world can do to a cluster: one file a kind, one line in [`all`] each.
//!
//! A fault begins, lasts, and ends; both ends act on the [`World`] and on nothing else. Overlapping faults are the world's
//! business: it counts cuts and remembers who is down.

use crate::{event::Impairs, world::World};
use protocol::api::ApiKey;

mod bridge;
mod client_cut;
mod client_pause;
mod clock_jump;
mod clock_skew;
mod clog;
mod control_delay;
mod crash_loop;
mod data_cut;
mod disk_error;
mod disk_full;
mod disk_offline;
mod disk_replaced;
mod disk_slow;
mod disk_stall;
mod flapping_link;
mod heartbeat_cut;
pub mod hold;
mod isolate;
mod kill;
mod loss;
mod lost_files;
mod narrow_link;
mod one_way_cut;
mod partition;
mod pause;
mod power_loss;
mod reset;
mod restart;
mod rot;
mod slow_cpu;
mod slow_link;
mod sync_fails;

/// Whom a fault hits, and how hard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: i32,
    /// The other node, for a fault between two; a fault that needs one and has none takes the next node.
    pub other: Option<i32>,
    /// A strength in the fault's own unit.
    pub strength: Option<u64>,
    /// The API that it is about, for faults of single messages.
    pub api: Option<ApiKey>,
}

/// What beginning a fault came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It happened, as told.
    Yes(String),
    /// It could not: the node was down already, say.
    No(&'static str),
}

/// What ending a fault came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is over.
    Yes,
    /// It cannot end now: it is asked again a little later.
    NotYet,
}

/// A fault under way.
pub trait Fault {
    /// Makes it happen.
    fn begin(&mut self, world: &mut World) -> Begun;
    /// Makes it stop.
    fn end(&mut self, world: &mut World) -> Ended;
    /// Who cannot be expected to do their part meanwhile.
    fn impairs(&self, world: &World) -> Impairs;
}

/// A kind of fault.
pub struct Kind {
    /// As scenarios name it.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Makes one.
    pub make: fn(Target) -> Box<dyn Fault>,
    /// The strengths that the swarm draws from, smallest and largest; `None` where it has none.
    pub strength: Option<(u64, u64)>,
    /// The longest time for which the swarm lets it last, in milliseconds.
    pub lasts_ms_max: u64,
}

/// Every kind of fault.
pub fn all() -> &'static [Kind] {
    &[
        kill::KIND,
        power_loss::KIND,
        pause::KIND,
        restart::KIND,
        partition::KIND,
        one_way_cut::KIND,
        isolate::KIND,
        client_cut::KIND,
        slow_link::KIND,
        loss::KIND,
        clog::KIND,
        heartbeat_cut::KIND,
        data_cut::KIND,
        control_delay::KIND,
        crash_loop::KIND,
        disk_slow::KIND,
        disk_stall::KIND,
        clock_skew::KIND,
        hold::REQUESTS,
        hold::ANSWERS,
        sync_fails::KIND,
        disk_full::KIND,
        disk_error::KIND,
        rot::BIT_FLIP,
        rot::HEADER_FLIP,
        rot::MISDIRECTED_WRITE,
        lost_files::KIND,
        disk_replaced::KIND,
        disk_offline::KIND,
        clock_jump::KIND,
        slow_cpu::KIND,
        reset::KIND,
        bridge::KIND,
        flapping_link::KIND,
        narrow_link::KIND,
        client_pause::KIND,
    ]
}

/// The kind with this name.
pub fn find(name: &str) -> Option<&'static Kind> {
    all().iter().find(|kind| kind.name == name)
}
