//! Groups that go over from one protocol to the other while they have members: after each step, what is replicated is what the
//! log says.

mod downgrades;
mod harness;
mod members;
mod random;
mod upgrades;
