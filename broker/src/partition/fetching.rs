//! Reading from a replica: fetches of consumers and followers, and the look-up of offsets.
//!
//! It copies no record: a fetch gets slices of files. A fetch that finds too little parks here and is rung. Driven by the
//! handlers of Fetch, ListOffsets and OffsetForLeaderEpoch.

use super::context::monotonic_now;
use super::fetch_wait::FetchWait;
use super::isr::FollowerFetch;
use super::refusal::FetchRefusal;
use super::state::{EpochEnd, FetchPlan, FetchPosition, Isolation, Reader};
use super::{Partition, Replica};
use crate::event::ReplicaEvent;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, Offset, ProducerId, WallMillis};
use runtime::sync::Guard;
use runtime::{buggify, mutant, mutant_diverged, observe, sometimes};
use storage::log::FoundOffset;
use storage::producer_state::ProducerEntry;
use storage::{LogSlice, ReadError};

/// How much a fetch may take from this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// At most so many bytes, whole batches only.
    pub bytes_max: usize,
    /// Whether one batch may be sent even if it is larger than that (KIP-74).
    pub at_least_one: bool,
}

/// Whether a fetch is seen for the first time. A follower's progress is counted then only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has just arrived.
    First,
    /// It was parked, and looks again.
    Again,
}

/// What a fetch got of one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole batches, if there are any.
    pub records: Option<LogSlice>,
    /// Where the sender's log parts from this one; then there are no records (KIP-595).
    pub diverging: Option<EpochEnd>,
    /// The high watermark, after this fetch was counted.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable_offset: Offset,
    /// The first offset kept.
    pub log_start_offset: Offset,
    /// What could have been read, exclusive: what to park at.
    pub upto: Offset,
}

/// Why a fetch got nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The replica refuses.
    #[error(transparent)]
    Refused(#[from] FetchRefusal),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchError {
    /// The code that Kafka answers with.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.error_code(),
            Self::Read(error) => error.error_code(),
        }
    }
}

/// Which offset is looked up (ListOffsets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one kept (-2, and -4: nothing is tiered).
    Earliest,
    /// One past the last one that the asker may see (-1).
    Latest,
    /// The one with the largest timestamp (-3, KIP-734).
    MaxTimestamp,
    /// The first one whose timestamp is not smaller.
    AtTimestamp(WallMillis),
}

/// Who looks an offset up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Another replica, which sees all.
    Replica,
    /// A client.
    Client(Isolation),
}

/// An offset that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The timestamp of its record, where one was asked about.
    pub timestamp: Option<WallMillis>,
    /// The epoch of its record, or the current one for the end.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Reads for a consumer or a follower, and counts how far a follower has come (`Partition.fetchRecords`). What is
    /// read is what was written, or nothing: Kafka leaves that to whoever gets it.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn fetch(
        &self,
        position: &FetchPosition,
        reader: &Reader,
        limits: FetchLimits,
        arrival: Arrival,
    ) -> Result<Fetched, FetchError> {
        let (fetched, cuts) = self.find(position, reader, limits, arrival)?;
        if let Some(records) = &fetched.records {
            self.check(records, cuts)?;
        }
        Ok(fetched)
    }

    /// Checks what is about to be sent, without the lock.
    fn check(&self, records: &LogSlice, cuts: u64) -> Result<(), FetchError> {
        let Err(error) = records.check() else { return Ok(()) };
        // S16 of the bug zoo is what Kafka does.
        if mutant!("S16") {
            mutant_diverged!("S16");
            return Ok(());
        }
        let mut replica = self.replica.lock();
        // What was cut meanwhile need not be what it was.
        if replica.cuts == cuts {
            self.fail(&mut replica, &error);
        }
        Err(ReadError::Log(error).into())
    }

    /// Finds what a fetch gets, and says how often the log had been cut by then.
    fn find(
        &self,
        position: &FetchPosition,
        reader: &Reader,
        limits: FetchLimits,
        arrival: Arrival,
    ) -> Result<(Fetched, u64), FetchError> {
        let mut replica = self.replica.lock();
        let last_stable_offset = replica.log.last_stable_offset(replica.state.high_watermark());
        let plan = {
            let Replica { state, log, .. } = &*replica;
            let end_of = |asked| end_of(log, asked).map(|end| without_epoch_if_mutant(asked, end));
            state.plan_fetch(position, reader, last_stable_offset, end_of, &self.context.image)
        };
        let plan = plan.inspect_err(|refusal| self.emit_out_of_range(&replica, refusal, reader))?;
        let (upto, diverging) = match plan {
            FetchPlan::Read { upto } => (upto, None),
            FetchPlan::Diverges(end) => (position.fetch_offset, Some(end)),
        };
        sometimes!(diverging.is_some() && matches!(reader, Reader::Follower(_)), "a follower's fetch diverges");
        let records = if position.fetch_offset < upto && !self.is_throttled(&replica, reader) {
            self.read(&mut replica, position.fetch_offset, upto, limits)?
        } else {
            None
        };
        if let (Reader::Follower(fetch), Arrival::First, None) = (reader, arrival, diverging) {
            observe::emit(|| ReplicaEvent::FollowerFetched {
                partition: self.id,
                leader_epoch: replica.state.leader_epoch(),
                follower: fetch.follower,
                broker_epoch: fetch.broker_epoch,
                fetch_offset: fetch.fetch_offset,
            });
            let start = replica.state.in_sync().and_then(|in_sync| in_sync.log_start_offset_of(fetch.follower));
            let effects = replica.state.on_follower_fetch(fetch, monotonic_now(), &self.context.image);
            if start != Some(fetch.log_start_offset) {
                replica.low_watermark_moved.notify_waiters();
            }
            self.carry_out(&mut replica, effects);
        }
        let fetched = Fetched {
            records,
            diverging,
            high_watermark: replica.state.high_watermark(),
            last_stable_offset,
            log_start_offset: replica.state.log_start_offset(),
            upto,
        };
        Ok((fetched, replica.cuts))
    }

    /// Whether a follower is left without records: the topic names this leader, the throttle is used up, and the follower
    /// is not in sync (`ReplicaManager.shouldLeaderThrottle`). One that is in sync stays so.
    fn is_throttled(&self, replica: &Replica, reader: &Reader) -> bool {
        let Reader::Follower(FollowerFetch { follower, .. }) = reader else { return false };
        let in_sync = || replica.state.in_sync().is_some_and(|in_sync| in_sync.isr().contains(follower));
        let throttled =
            replica.throttled.leader && !in_sync() && self.context.throttles.leaders.is_exceeded(monotonic_now());
        sometimes!(throttled, "a leader throttles a follower");
        throttled
    }

    /// So many bytes of records leave for a follower.
    pub fn on_sent_to_follower(&self, bytes: u64) {
        self.traffic.replication_bytes_out.add(bytes);
        if self.replica.lock().throttled.leader {
            self.context.throttles.leaders.record(bytes, monotonic_now());
        }
    }

    /// Whether the topic names this follower as throttled.
    pub fn is_throttled_follower(&self) -> bool {
        self.replica.lock().throttled.follower
    }

    fn emit_out_of_range(&self, replica: &Replica, refusal: &FetchRefusal, reader: &Reader) {
        if let (FetchRefusal::OffsetOutOfRange { offset, .. }, Reader::Consumer { .. }) = (refusal, reader) {
            let (partition, offset, leading) = (self.id, *offset, replica.state.is_leader());
            observe::emit(|| ReplicaEvent::OutOfRange { partition, offset, leading });
        }
    }

    fn read(
        &self,
        replica: &mut Guard<'_, Replica>,
        from: Offset,
        upto: Offset,
        limits: FetchLimits,
    ) -> Result<Option<LogSlice>, FetchError> {
        let bytes_max =
            if buggify!("a fetch gets one batch at most") { limits.bytes_max.min(1) } else { limits.bytes_max };
        match replica.log.read(from, upto, bytes_max, limits.at_least_one) {
            Ok(found) => Ok((!found.slice.is_empty()).then_some(found)),
            Err(error) => {
                if let ReadError::Log(cause) = &error {
                    self.fail(replica, cause);
                }
                Err(error.into())
            }
        }
    }

    /// Lets a fetch wait here until there is more than it could read when it got `upto`. It is rung at once if there is
    /// already, or if it would be refused now.
    pub fn park(&self, wait: &FetchWait, position: &FetchPosition, reader: &Reader, upto: Offset) {
        let ringer = wait.ringer();
        let mut replica = self.replica.lock();
        let high_watermark = replica.state.high_watermark();
        let last_stable_offset = replica.log.last_stable_offset(high_watermark);
        let stands = replica.state.check_position(position, reader).is_ok();
        if !stands || replica.state.upper_bound(reader, last_stable_offset) != upto {
            ringer.ring();
            return;
        }
        match reader {
            Reader::Consumer { .. } => replica.parked.park_consumer(ringer, |earlier| earlier.is_over()),
            Reader::Follower(fetch) => {
                let known = fetch.high_watermark;
                replica.parked.park_follower(ringer, known, |earlier| earlier.is_over());
                replica.parked.followers_behind(high_watermark).for_each(super::Ringer::tell_high_watermark);
            }
        }
    }

    /// Looks an offset up (`Partition.fetchOffsetForTimestamp`).
    ///
    /// A leader that may lag behind what an earlier one committed does not tell a client the newest offset, lest it go back
    /// (KIP-207). Nothing when no record has such a timestamp.
    ///
    /// # Errors
    /// See [`FetchRefusal`], and what the disk says.
    pub fn list_offset(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
        spec: OffsetSpec,
        asker: Asker,
    ) -> Result<Option<ListedOffset>, FetchError> {
        let mut replica = self.replica.lock();
        replica.state.check_epoch(current_leader_epoch, true)?;
        let high_watermark = replica.state.high_watermark();
        let log_end_offset = replica.state.log_end_offset();
        let last_fetchable = match asker {
            Asker::Replica => log_end_offset,
            Asker::Client(Isolation::ReadUncommitted) => high_watermark,
            Asker::Client(Isolation::ReadCommitted) => {
                replica.log.last_stable_offset(high_watermark).min(high_watermark)
            }
        };
        let stale = matches!(asker, Asker::Client(_)) && replica.state.has_stale_high_watermark();
        sometimes!(stale, "a client asked a leader with a stale high watermark for an offset");
        let found = match spec {
            OffsetSpec::Earliest => {
                let offset = replica.log.log_start_offset();
                let leader_epoch = replica.log.epoch_for(offset);
                return Ok(Some(ListedOffset { offset, timestamp: None, leader_epoch }));
            }
            OffsetSpec::Latest if stale => {
                return Err(FetchRefusal::OffsetNotAvailable { offset: log_end_offset, high_watermark }.into());
            }
            OffsetSpec::Latest => {
                let leader_epoch = Some(replica.state.leader_epoch());
                return Ok(Some(ListedOffset { offset: last_fetchable, timestamp: None, leader_epoch }));
            }
            OffsetSpec::MaxTimestamp => replica.log.offset_of_max_timestamp(log_end_offset),
            OffsetSpec::AtTimestamp(timestamp) => replica.log.offset_for_timestamp(timestamp, log_end_offset),
        };
        let found = found.inspect_err(|error| self.fail(&mut replica, error)).map_err(ReadError::from)?;
        let Some(FoundOffset { offset, timestamp, leader_epoch }) = found else { return Ok(None) };
        if offset < last_fetchable {
            return Ok(Some(ListedOffset { offset, timestamp: Some(timestamp), leader_epoch: Some(leader_epoch) }));
        }
        if stale { Err(FetchRefusal::OffsetNotAvailable { offset, high_watermark }.into()) } else { Ok(None) }
    }

    /// What the log knows of its producers, as of its end (`UnifiedLog.activeProducers`). A follower answers too.
    ///
    /// # Errors
    /// When the log failed.
    pub fn producers(&self) -> Result<Vec<(ProducerId, ProducerEntry)>, FetchRefusal> {
        let replica = self.replica.lock();
        replica.state.check_epoch(None, false)?;
        Ok(replica.log.producers().iter().map(|(producer_id, entry)| (producer_id, *entry)).collect())
    }

    /// Where an epoch ends in this leader's log, or the largest one below it (`Partition.lastOffsetForLeaderEpoch`);
    /// nothing when that cannot be said.
    ///
    /// # Errors
    /// See [`FetchRefusal`].
    pub fn end_offset_for_epoch(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
        leader_epoch: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, FetchRefusal> {
        let replica = self.replica.lock();
        replica.state.check_epoch(current_leader_epoch, true)?;
        Ok(end_of(&replica.log, leader_epoch))
    }
}

/// Z02 of the bug zoo: the rule before KIP-279. An end offset is told without the epoch that it belongs to, so that a
/// follower takes the end of a smaller epoch for that of its own.
fn without_epoch_if_mutant(asked: LeaderEpoch, end: EpochEnd) -> EpochEnd {
    if !mutant!("Z02") || end.leader_epoch == asked {
        return end;
    }
    mutant_diverged!("Z02");
    EpochEnd { leader_epoch: asked, ..end }
}

/// Where an epoch ends in a log.
pub(super) fn end_of(log: &storage::Log, leader_epoch: LeaderEpoch) -> Option<EpochEnd> {
    log.end_offset_for(leader_epoch).map(|end| EpochEnd { leader_epoch: end.leader_epoch, end_offset: end.end_offset })
}
