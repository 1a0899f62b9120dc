//! One partition's log on a disk, in Kafka's exact files.
//!
//! A [`log::Log`] appends, reads, truncates, rolls and recovers one partition's records. It never decodes them: a batch is
//! its 61-byte header and bytes. Only where a topic is compacted does [`cleaner`] look into them, off the log's lock. It decides nothing about replication (who leads, what is committed): the broker does, and
//! drives it under the partition's lock. What waits for the device is returned as a future, made under that lock and
//! awaited outside it.

mod batch_reader;
mod durability;
mod index;
mod offset_index;
mod recovery;
mod retention;
mod segment;
mod time_index;

pub mod checkpoint;
pub mod cleaner;
pub mod config;
pub mod directory;
pub mod error;
pub mod event;
pub mod leader_epochs;
pub mod log;
pub mod producer_state;

pub use checkpoint::Checkpoint;
pub use cleaner::{CleanError, CleanedSegment, CleanerConfig, Cleaning, policy::Cleanable};
pub use config::LogConfig;
pub use durability::SyncTask;
pub use error::{AppendError, LogError, ReadError};
pub use leader_epochs::{EpochEndOffset, EpochEntry, LeaderEpochs};
pub use log::{Appended, DeletedFiles, Log, LogSlice, Recovery};
pub use producer_state::ProducerState;
