//! Pure. Cluster metadata: what changed ([`record`]), what is ([`image`]), how the first makes the second ([`delta`]),
//! and what the settings mean ([`config`]).
//!
//! Controllers decide records, and every node applies the same records to the same image. Nothing in this crate knows
//! the time, a disk, or the network.

pub mod config;
pub mod delta;
pub mod image;
pub mod record;
