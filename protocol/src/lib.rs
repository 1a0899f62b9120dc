//! Kafka's wire, and nothing else: frames, messages, record batches, error codes, nouns.
//!
//! Everything here is a function of its arguments. No clock, no I/O, no task, and nothing of gregor's other crates.

pub mod api;
pub mod compression;
pub mod error_code;
pub mod fetch_response;
pub mod frame;
pub mod guard;
pub mod ids;
pub mod internal;
pub mod messages;
pub mod record_batch;
pub mod topic_name;
