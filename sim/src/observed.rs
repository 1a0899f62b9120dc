//! Pure. One event with its circumstances, as invariants and the timeline see it.

use crate::event::{ClientEvent, MemberEvent, WorldEvent};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use protocol::ids::BrokerId;
use storage::event::LogEvent;

/// An event of one of the kinds that are judged.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A log said something.
    Log(&'a LogEvent),
    /// A broker said something.
    Replica(&'a ReplicaEvent),
    /// A controller said something.
    Controller(&'a ControllerEvent),
    /// A client asked or was told something.
    Client(&'a ClientEvent),
    /// A member of a group did something, or was told.
    Member(&'a MemberEvent),
    /// The world did something.
    World(&'a WorldEvent),
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Virtual nanoseconds since the start of the run.
    pub at: u64,
    /// The event's number in the run.
    pub ordinal: u64,
    /// The node that emitted it; meaningless for clients and the world.
    pub broker: BrokerId,
    /// What happened.
    pub fact: Fact<'a>,
}
