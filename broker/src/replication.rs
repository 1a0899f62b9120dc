//! Keeping replicas the same: followers copy from leaders, and leaders tell the controller who is in sync.
//!
//! It never decides where a log is cut nor who is in sync ([`truncation`], `partition::isr`). Driven by what `partitions`
//! makes of the metadata.

pub mod assignments;
pub mod fetcher;
pub mod fetchers;
pub mod isr_updates;
pub mod session;
pub mod truncation;
