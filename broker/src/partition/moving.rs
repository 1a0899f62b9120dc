//! A replica whose log moves to another directory (KIP-113): what there is to copy, and the moment in which the copy takes
//! the log's place.
//!
//! It never copies: `partitions::moving` does, and comes back here. While the last of it is copied, nothing is appended and
//! nothing cut: producers and the fetcher are told to come again.

use super::state::Role;
use super::{Partition, Replica};
use protocol::ids::Offset;
use runtime::sync::Guard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::{EpochEntry, Log, LogConfig, LogError, LogSlice};

/// What is copied, as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct CopyView {
    /// How often the log was cut. A copy that began under another number is worth nothing.
    pub cuts: u64,
    /// The first offset kept.
    pub log_start_offset: Offset,
    /// One past the last record.
    pub log_end_offset: Offset,
    /// Its epochs.
    pub epochs: Vec<EpochEntry>,
    /// Its settings.
    pub config: LogConfig,
    /// Whether offsets may be missing in it.
    pub has_gaps: bool,
}

/// The log stands still until this is dropped.
pub struct Held(Arc<Partition>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.replica.lock().held = false;
    }
}

impl Replica {
    /// Whether the log may change. Refused as while a cut is not durable yet, which all callers know how to meet.
    ///
    /// # Errors
    /// `Unsettled` while it is held.
    pub(super) fn check_not_held(&self) -> Result<(), LogError> {
        if self.held { Err(LogError::Unsettled { directory: self.log.directory().to_owned() }) } else { Ok(()) }
    }
}

impl Partition {
    /// What there is to copy; nothing once the replica is offline.
    pub fn copy_view(&self) -> Option<CopyView> {
        let replica = self.replica.lock();
        is_online(&replica).then(|| CopyView {
            cuts: replica.cuts,
            log_start_offset: replica.log.log_start_offset(),
            log_end_offset: replica.log.log_end_offset(),
            epochs: replica.log.epochs().to_vec(),
            config: replica.log.config().clone(),
            has_gaps: replica.log.has_gaps(),
        })
    }

    /// The next batches from `from` on, empty at the log's end; nothing if a copy must begin anew.
    ///
    /// # Errors
    /// When the log cannot be read there: it may have been deleted meanwhile.
    pub fn read_to_copy(
        &self,
        from: Offset,
        view: &CopyView,
        bytes_max: usize,
    ) -> Result<Option<LogSlice>, storage::ReadError> {
        let replica = self.replica.lock();
        if !is_online(&replica) || replica.cuts != view.cuts {
            return Ok(None);
        }
        let end = replica.log.log_end_offset();
        replica.log.read(from, end, bytes_max, true).map(Some)
    }

    /// Lets the log stand still; nothing if a copy must begin anew.
    pub fn hold(self: &Arc<Self>, view: &CopyView) -> Option<Held> {
        let mut replica = self.replica.lock();
        if !is_online(&replica) || replica.cuts != view.cuts || replica.held {
            return None;
        }
        replica.held = true;
        Some(Held(self.clone()))
    }

    /// Puts the copy in the log's place, and returns the log that was there; or returns the copy, if it is not the same any
    /// more (`ReplicaManager.maybeReplaceCurrentWithFutureReplica`). Only while the log is held.
    ///
    /// # Errors
    /// The copy, when the replica is offline, was elected meanwhile, or begins elsewhere.
    pub fn switch(&self, copy: Log, directory: usize, _held: &Held) -> Result<Log, Box<Log>> {
        let mut replica = self.replica.lock();
        let same = replica.log.log_end_offset() == copy.log_end_offset()
            && replica.log.log_start_offset() == copy.log_start_offset()
            && replica.log.latest_epoch() == copy.latest_epoch();
        if !same || !is_online(&replica) {
            return Err(Box::new(copy));
        }
        let config = replica.log.config().clone();
        let old = std::mem::replace(&mut replica.log, copy);
        replica.log.set_config(config);
        self.directory.store(directory, Ordering::Release);
        Ok(old)
    }
}

fn is_online(replica: &Guard<'_, Replica>) -> bool {
    !matches!(replica.state.role(), Role::Offline)
}
