//! A replica that follows: where it goes on, and what it does with what its leader sent.
//!
//! Everything is checked again under the lock: the role or the log may have changed while the fetch was on its way. It
//! never decides where to cut a log that differs: it is told by `replication::truncation`. Driven by
//! `replication::fetcher`.

use super::Partition;
use super::fetching::end_of;
use super::state::{Cut, EpochEnd, FollowerPosition, Role};
use crate::event::ReplicaEvent;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, Offset};
use protocol::record_batch::{BatchError, batches};
use runtime::{mutant, mutant_diverged, observe, sometimes, task};
use std::sync::Arc;
use storage::{AppendError, LogError, SyncTask};

/// What the leader sent for one partition.
#[derive(Clone, Copy, Debug)]
pub struct FromLeader<'a> {
    /// Whole batches from the fetch offset on, and perhaps a piece of one more.
    pub records: &'a [u8],
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The first offset that the leader keeps.
    pub log_start_offset: Offset,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Copied {
    /// Whether it was looked at: not when the replica has moved on since it asked.
    pub current: bool,
    /// What must end before the next fetch may say that the records are here (`flush.messages`).
    pub flush: Option<SyncTask>,
    /// What must end before more can be appended: the cut that was made is being made durable.
    pub settled: Option<task::JoinHandle<()>>,
}

/// Why what a leader sent is not appended. Fetching again may mend it, unless the disk failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CopyError {
    /// The first batch is of a later leader epoch than the one in which it was asked for: whoever sent it lost the
    /// leadership while it read its file, and has cut and written that anew since (KAFKA-18723).
    #[error("a batch of leader epoch {got} came in answer to a fetch in epoch {asked}")]
    LaterEpoch {
        /// The epoch of the fetch.
        asked: LeaderEpoch,
        /// The epoch of the batch.
        got: LeaderEpoch,
    },
    /// The log refuses it, or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CopyError {
    /// Kafka's word for it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::LaterEpoch { .. } => ErrorCode::CorruptMessage,
            Self::Append(error) => error.error_code(),
            Self::Log(error) => error.error_code(),
        }
    }
}

/// What a cut is decided on.
pub struct CutView<'a> {
    /// One past the last record.
    pub log_end_offset: Offset,
    log: &'a storage::Log,
}

impl CutView<'_> {
    /// Where an epoch ends in this replica's log, or the largest one below it.
    pub fn end_of(&self, leader_epoch: LeaderEpoch) -> Option<EpochEnd> {
        end_of(self.log, leader_epoch)
    }
}

impl Partition {
    /// Where this replica goes on copying, as long as it follows in this leader epoch.
    pub fn follower_position(&self, leader_epoch: LeaderEpoch) -> Option<FollowerPosition> {
        let replica = self.replica.lock();
        let follows = matches!(replica.state.role(), Role::Follower) && replica.state.leader_epoch() == leader_epoch;
        follows.then(|| FollowerPosition {
            leader_epoch,
            fetch_offset: replica.state.log_end_offset(),
            last_fetched_epoch: replica.log.latest_epoch(),
            log_start_offset: replica.state.log_start_offset(),
            high_watermark: replica.state.high_watermark(),
        })
    }

    /// The leader has the offset that was asked for, and does not know the epoch before it. If that is later than the one in
    /// which the leader has just answered, no leader ever wrote it: the log is damaged.
    pub fn check_last_epoch(&self, asked: &FollowerPosition) {
        if let Some(last) = asked.last_fetched_epoch.filter(|last| *last > asked.leader_epoch)
            && !epochs_are_believed()
        {
            let what = format!("it ends in leader epoch {last}, and {} is led in", asked.leader_epoch);
            self.on_failure(&wrong_epoch(self, what));
        }
    }

    /// Appends what the leader sent in answer to a fetch from `asked` (`ReplicaFetcherThread.processPartitionData`), up to
    /// the first batch of a later leader epoch.
    ///
    /// # Errors
    /// When the batches are not sound or do not follow what is here, which fetching again may mend; or when the disk fails,
    /// which takes the replica offline.
    pub fn append_as_follower(&self, asked: &FollowerPosition, sent: &FromLeader<'_>) -> Result<Copied, CopyError> {
        let mut replica = self.replica.lock();
        if !is_current(&replica, asked) {
            sometimes!(true, "what a leader sent came too late to be used");
            return Ok(Copied::default());
        }
        let records = up_to_epoch(sent.records, asked.leader_epoch)?;
        replica.check_not_held()?;
        if !records.is_empty()
            && let Err(error) = replica.log.append_as_follower(records)
        {
            match &error {
                AppendError::Log(cause) => self.fail(&mut replica, cause),
                AppendError::Invalid(BatchError::BadCrc { .. }) => {
                    observe::emit(|| ReplicaEvent::BrokenBatch { partition: self.id });
                }
                // No leader goes back to an earlier epoch: the last batch here is not what was sent.
                AppendError::LeaderEpochWentBack { .. } if !epochs_are_believed() => {
                    self.fail(&mut replica, &wrong_epoch(self, error.to_string()));
                }
                AppendError::LeaderEpochWentBack { .. } => {}
                AppendError::Producer(_) | AppendError::TooLarge { .. } | AppendError::Invalid(_) => {}
            }
            return Err(error.into());
        }
        self.traffic.replication_bytes_in.add(records.len() as u64);
        let log_end_offset = replica.log.log_end_offset();
        if replica.state.on_follower_append(log_end_offset, sent.high_watermark).is_some() {
            self.high_watermark_rose(&mut replica);
        }
        // The leader's log start is below its high watermark, but ours may be behind both.
        let start = sent.log_start_offset.min(replica.state.log_end_offset());
        if start > replica.state.log_start_offset() {
            replica.log.set_log_start_offset(start).inspect_err(|error| self.fail(&mut replica, error))?;
            replica.state.on_log_start(start);
        }
        Ok(Copied { current: true, flush: replica.flush_if_asked(), settled: None })
    }

    /// Cuts the log where it differs from the leader's, which answered so to a fetch from `asked`
    /// (`AbstractFetcherThread.truncateOnFetchResponse`). High watermark and log start are left alone: the next fetch
    /// brings them.
    ///
    /// # Errors
    /// When the disk fails, which takes the replica offline.
    pub fn truncate(
        self: &Arc<Self>,
        asked: &FollowerPosition,
        decide: impl FnOnce(&CutView<'_>) -> Cut,
    ) -> Result<Copied, LogError> {
        let mut replica = self.replica.lock();
        if !is_current(&replica, asked) {
            return Ok(Copied::default());
        }
        let cut = decide(&CutView { log_end_offset: replica.state.log_end_offset(), log: &replica.log });
        let high_watermark = replica.state.high_watermark();
        if !matches!(cut, Cut::Nowhere) {
            replica.check_not_held()?;
            replica.cuts += 1;
        }
        let done = match cut {
            Cut::Nowhere => return Ok(Copied { current: true, ..Copied::default() }),
            Cut::To(offset) => replica.log.truncate_to(offset),
            Cut::RestartAt(offset) => replica.log.truncate_fully_and_start_at(offset),
        };
        let durable = done.inspect_err(|error| self.fail(&mut replica, error))?;
        let (start, truncated_to) = (replica.log.log_start_offset(), replica.log.log_end_offset());
        match cut {
            Cut::RestartAt(_) => {
                runtime::reachable!("a follower began anew at its leader's log start");
                replica.state.on_restarted_at(truncated_to);
            }
            Cut::To(_) | Cut::Nowhere => replica.state.on_truncated(start, truncated_to),
        }
        if truncated_to < high_watermark {
            tracing::warn!(partition = %self.id, %truncated_to, %high_watermark, "cut below the high watermark");
        }
        observe::emit(|| ReplicaEvent::Diverged { partition: self.id, leader_epoch: asked.leader_epoch, truncated_to });
        replica.wake_all_fetches();
        let settled = (!durable.is_done()).then(|| self.settle(&mut replica, durable));
        Ok(Copied { current: true, flush: None, settled })
    }
}

/// A log in which the leader epoch of a batch is not the one that it was written in. The epoch is not under the batch's CRC
/// (`DefaultRecordBatch`), so one that rots shows only beside a leader's log. Kafka's `LeaderEpochFileCache` takes it for true,
/// and where the leader does not know it, `Partition.readRecords` answers every fetch with `OFFSET_OUT_OF_RANGE`.
fn wrong_epoch(partition: &Partition, what: String) -> LogError {
    LogError::Malformed { path: partition.directory_name(), what }
}

/// S17 of the bug zoo does as Kafka: whatever epoch a log ends in is what it was written in.
fn epochs_are_believed() -> bool {
    let believed = mutant!("S17");
    if believed {
        mutant_diverged!("S17");
    }
    believed
}

/// The batches before the first one of a later leader epoch.
fn up_to_epoch(records: &[u8], asked: LeaderEpoch) -> Result<&[u8], CopyError> {
    let mut size = 0;
    for batch in batches(records) {
        // What cannot be parsed is left to the log, which says what is wrong with it.
        let Ok((header, _)) = batch else { break };
        if header.leader_epoch > asked {
            runtime::reachable!("a leader that had lost its leadership sent what it was writing");
            let got = header.leader_epoch;
            return if size > 0 { Ok(&records[..size]) } else { Err(CopyError::LaterEpoch { asked, got }) };
        }
        size += header.size();
    }
    Ok(records)
}

/// Whether the replica still follows in the leader epoch in which it asked, from the offset from which it asked.
fn is_current(replica: &super::Replica, asked: &FollowerPosition) -> bool {
    let state = &replica.state;
    matches!(state.role(), Role::Follower)
        && state.leader_epoch() == asked.leader_epoch
        && state.log_end_offset() == asked.fetch_offset
}
