//! A quorum of three controllers, on real sockets and files and in the simulated world: what was answered is kept.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod real;
mod simulated;
mod support;
