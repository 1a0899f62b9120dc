//! What a coordinator needs of the partition that keeps its records: to read all of it as its leader, and to wait until what
//! it has seen is committed.
//!
//! Driven by [`crate::coordinator`]. A coordinator acts in one leader epoch, and whatever it asks in another is refused.

use super::appending::{AckError, Ticket};
use super::fetching::FetchError;
use super::refusal::{AppendRefusal, FetchRefusal};
use super::{Partition, Replica};
use protocol::ids::{LeaderEpoch, Offset};
use std::sync::Arc;
use storage::{LogSlice, ReadError};

impl Partition {
    /// Where the log ends, if this replica leads in this leader epoch.
    pub fn leads_in(&self, leader_epoch: LeaderEpoch) -> Option<Offset> {
        let replica = self.replica.lock();
        let (high_watermark, log_end_offset) = (replica.state.high_watermark(), replica.state.log_end_offset());
        if high_watermark < log_end_offset && runtime::mutant!("S25") {
            runtime::mutant_diverged!("S25");
            return leads(&replica, leader_epoch).then_some(high_watermark);
        }
        leads(&replica, leader_epoch).then_some(log_end_offset)
    }

    /// Whether something can be appended in this leader epoch that everybody in sync is to have.
    ///
    /// # Errors
    /// See [`AppendRefusal`].
    pub fn check_append_in(&self, leader_epoch: LeaderEpoch) -> Result<(), AppendRefusal> {
        let replica = self.replica.lock();
        match replica.state.check_append(true)? {
            current if current == leader_epoch => Ok(()),
            _ => Err(AppendRefusal::NotLeader),
        }
    }

    /// Reads batches from an offset on, committed or not, as whoever leads in this epoch: at least one, if there is any. The
    /// caller checks them ([`LogSlice::check`]), without a lock.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn read_in(
        &self,
        leader_epoch: LeaderEpoch,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<LogSlice>, FetchError> {
        let mut replica = self.replica.lock();
        if !leads(&replica, leader_epoch) {
            return Err(FetchRefusal::NotLeader.into());
        }
        let from = from.max(replica.state.log_start_offset());
        match replica.log.read(from, replica.state.log_end_offset(), bytes_max, true) {
            Ok(found) => Ok((!found.slice.is_empty()).then_some(found)),
            Err(error) => {
                if let ReadError::Log(cause) = &error {
                    self.fail(&mut replica, cause);
                }
                Err(error.into())
            }
        }
    }

    /// What to wait for until everything below `end` is committed; nothing if it is. In another leader epoch than that in
    /// which it was seen it may never be.
    ///
    /// # Errors
    /// `NotLeader` where this replica does not lead in that epoch.
    pub fn committed(self: &Arc<Self>, leader_epoch: LeaderEpoch, end: Offset) -> Result<Option<Ticket>, AckError> {
        let mut replica = self.replica.lock();
        if !leads(&replica, leader_epoch) {
            return Err(AckError::NotLeader);
        }
        if replica.state.high_watermark() >= end {
            return Ok(None);
        }
        Ok(Some(self.wait_for(&mut replica, leader_epoch, end)))
    }
}

fn leads(replica: &Replica, leader_epoch: LeaderEpoch) -> bool {
    replica.state.is_leader() && replica.state.leader_epoch() == leader_epoch
}
