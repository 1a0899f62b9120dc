//! A quorum of three controllers, on real sockets and files and in the simulated world: what was answered is kept.

mod real;
mod simulated;
mod support;
