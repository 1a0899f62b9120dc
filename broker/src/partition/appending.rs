//! Appending to a replica that leads, and waiting until what was appended is committed.
//!
//! The path of an append is: lock, check, append, wake, unlock. A produce with acks=all gets a [`Ticket`] and waits outside
//! the lock. Driven by the handler of Produce, and by coordinators.

use super::context::{monotonic_now, wall_now};
use super::refusal::AppendRefusal;
use super::waiting::{Place, Waiting};
use super::{Partition, Replica};
use crate::event::ReplicaEvent;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, Offset, TopicPartition, WallMillis};
use protocol::record_batch::BatchHeader;
use runtime::sync::Guard;
use runtime::time::{self, Instant};
use runtime::{mutant, mutant_diverged, observe, sometimes};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use storage::SyncTask;

/// When a produce is answered: Kafka's `acks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Never (0).
    None,
    /// Once the leader has it (1).
    Leader,
    /// Once everybody in sync has it (-1).
    All,
}

impl Acks {
    /// From the wire; nothing for a number that Kafka does not define (`INVALID_REQUIRED_ACKS`).
    pub fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// Why nothing was appended. Every variant but `Log` is definite: the records are not in the log, and never will be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// This replica may not.
    #[error(transparent)]
    Refused(#[from] AppendRefusal),
    /// The log refuses, or failed.
    #[error(transparent)]
    Log(#[from] storage::AppendError),
}

impl AppendError {
    /// The code that Kafka answers with.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.error_code(),
            Self::Log(error) => error.error_code(),
        }
    }
}

/// Why a batch that was appended is not acknowledged. It may be committed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The leader epoch in which it was appended is over.
    #[error("the leader stepped down before the batch was committed")]
    NotLeader,
    /// It is committed, and too few replicas are in sync to say so.
    #[error("too few replicas are in sync")]
    NotEnoughReplicasAfterAppend,
    /// Not everybody in sync had it in time.
    #[error("the batch was not committed in time")]
    TimedOut,
    /// The log failed.
    #[error("the log went offline before the batch was committed")]
    Offline,
}

impl AckError {
    /// The code that Kafka answers with (`Partition.checkEnoughReplicasReachOffset`, `DelayedProduce`).
    pub fn error_code(self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// What was appended.
#[derive(Debug)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The leader epoch of the append.
    pub leader_epoch: LeaderEpoch,
    /// The broker's time that was written into the batch, if its topic asks for that.
    pub log_append_time: Option<WallMillis>,
    /// The first offset that the log keeps.
    pub log_start_offset: Offset,
    /// Whether this is a batch that was appended before, and was not appended again.
    pub duplicate: bool,
    /// What must end before the batch counts as written, if the topic asks for a flush (`flush.messages`).
    pub flush: Option<SyncTask>,
    /// With acks=all: what to wait for. Nothing if the batch is acknowledged already.
    pub ticket: Option<Ticket>,
}

/// A produce with acks=all that waits. Dropping it gives up waiting; the batch stays appended.
#[derive(Debug)]
pub struct Ticket {
    partition: Arc<Partition>,
    place: Place,
    told: bool,
    is_awaited: bool,
}

/// What a waiting produce needs in order to be told.
struct Waiter {
    waker: Option<Waker>,
    base_offset: Offset,
    duplicate: bool,
}

/// The produces that wait, and those that were told and have not looked yet.
#[derive(Default)]
pub(super) struct Acknowledgements {
    waiting: Waiting<Waiter>,
    leader_epoch: LeaderEpoch,
    outcomes: BTreeMap<Place, Result<(), AckError>>,
}

impl Acknowledgements {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn park(&mut self, leader_epoch: LeaderEpoch, required: Offset, waiter: Waiter) -> Place {
        self.leader_epoch = leader_epoch;
        self.waiting.park(leader_epoch, required, waiter)
    }

    /// Tells those whose records are below the high watermark, in order: success, if enough replicas are in sync still.
    pub(super) fn tell_reached(&mut self, partition: TopicPartition, high_watermark: Offset, enough_in_sync: bool) {
        while let Some((place, waiter)) = self.waiting.next_reached(high_watermark) {
            if enough_in_sync {
                self.acknowledge(partition, place, waiter, high_watermark);
            } else {
                self.tell(place, waiter, Err(AckError::NotEnoughReplicasAfterAppend));
            }
        }
    }

    /// Tells everybody the same.
    pub(super) fn tell_all(&mut self, outcome: Result<(), AckError>) {
        while let Some((place, waiter)) = self.waiting.take_first() {
            self.tell(place, waiter, outcome);
        }
    }

    /// Tells everybody success, whatever the high watermark: what the bug zoo's Z10 does.
    pub(super) fn tell_all_acknowledged(&mut self, partition: TopicPartition, high_watermark: Offset) {
        while let Some((place, waiter)) = self.waiting.take_first() {
            self.acknowledge(partition, place, waiter, high_watermark);
        }
    }

    fn acknowledge(&mut self, partition: TopicPartition, place: Place, waiter: Waiter, high_watermark: Offset) {
        observe::emit(|| ReplicaEvent::Acknowledged {
            partition,
            leader_epoch: self.leader_epoch,
            base_offset: waiter.base_offset,
            last_offset: place.required.plus(-1),
            acks: -1,
            high_watermark,
            duplicate: waiter.duplicate,
        });
        self.tell(place, waiter, Ok(()));
    }

    fn tell(&mut self, place: Place, waiter: Waiter, outcome: Result<(), AckError>) {
        self.outcomes.insert(place, outcome);
        if let Some(waker) = waiter.waker {
            waker.wake();
        }
    }
}

impl Partition {
    /// Appends batches from a producer, which have been validated, at the end of the log, and stamps them with the leader
    /// epoch (`Partition.appendRecordsToLeader`).
    ///
    /// A batch that this partition has already from its producer is not appended again, and waits for its old offsets
    /// (KIP-98).
    ///
    /// # Errors
    /// See [`AppendError`]. After an error of the disk the replica is offline.
    pub fn append_as_leader(
        self: &Arc<Self>,
        batches: &mut [u8],
        headers: &[BatchHeader],
        acks: Acks,
    ) -> Result<Appended, AppendError> {
        let mut replica = self.replica.lock();
        let (leader_epoch, refused_late) = check_append(&replica, acks)?;
        let acknowledged_early = acks == Acks::All && mutant!("S01");
        if acknowledged_early {
            self.acknowledge_before_append(&replica, headers, leader_epoch);
        }
        replica.check_not_held().map_err(storage::AppendError::from)?;
        let before = replica.state.log_end_offset();
        let appended = match replica.log.append_as_leader(batches, headers, leader_epoch, wall_now()) {
            Ok(appended) => appended,
            Err(error) => {
                if let storage::AppendError::Log(error) = &error {
                    self.fail(&mut replica, error);
                }
                return Err(error.into());
            }
        };
        if !appended.duplicate {
            let records: i64 = headers.iter().map(|header| i64::from(header.record_count)).sum();
            self.traffic.messages_in.add(u64::try_from(records).unwrap_or(0));
            self.traffic.bytes_in.add(batches.len() as u64);
            let log_end_offset = replica.log.log_end_offset();
            let high_watermark = replica.state.on_leader_append(log_end_offset, monotonic_now(), &self.context.image);
            replica.parked.take_followers().for_each(|follower| follower.ring());
            if high_watermark.is_some() {
                self.high_watermark_rose(&mut replica);
            }
        }
        if let Some(refusal) = refused_late {
            return Err(refusal.into());
        }
        sometimes!(
            appended.duplicate && appended.last_offset < before,
            "a producer sent a batch again that was appended"
        );
        let flush = replica.flush_if_asked();
        let ticket = match acks {
            Acks::All if acknowledged_early => None,
            Acks::All => self.wait_for_all(&mut replica, leader_epoch, &appended),
            Acks::Leader => {
                observe::emit(|| ReplicaEvent::Acknowledged {
                    partition: self.id,
                    leader_epoch,
                    base_offset: appended.base_offset,
                    last_offset: appended.last_offset,
                    acks: 1,
                    high_watermark: replica.state.high_watermark(),
                    duplicate: appended.duplicate,
                });
                None
            }
            Acks::None => None,
        };
        Ok(Appended {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            leader_epoch,
            log_append_time: appended.log_append_time,
            log_start_offset: replica.state.log_start_offset(),
            duplicate: appended.duplicate,
            flush,
            ticket,
        })
    }

    /// A place in the queue; one that the high watermark has reached already is told there and then.
    fn wait_for_all(
        self: &Arc<Self>,
        replica: &mut Guard<'_, Replica>,
        leader_epoch: LeaderEpoch,
        appended: &storage::Appended,
    ) -> Option<Ticket> {
        let waiter = Waiter { waker: None, base_offset: appended.base_offset, duplicate: appended.duplicate };
        let required = appended.last_offset.plus(1);
        let (high_watermark, may_acknowledge) = (replica.state.high_watermark(), replica.state.may_acknowledge());
        let place = replica.acknowledgements.park(leader_epoch, required, waiter);
        replica.acknowledgements.tell_reached(self.id, high_watermark, may_acknowledge);
        if replica.acknowledgements.outcomes.get(&place) == Some(&Ok(())) {
            replica.acknowledgements.outcomes.remove(&place);
            return None;
        }
        Some(Ticket { partition: self.clone(), place, told: false, is_awaited: false })
    }

    /// A place in the queue of whoever appended nothing and waits all the same: for what it has seen.
    pub(super) fn wait_for(
        self: &Arc<Self>,
        replica: &mut Guard<'_, Replica>,
        leader_epoch: LeaderEpoch,
        end: Offset,
    ) -> Ticket {
        let waiter = Waiter { waker: None, base_offset: end.plus(-1), duplicate: true };
        let place = replica.acknowledgements.park(leader_epoch, end, waiter);
        Ticket { partition: self.clone(), place, told: false, is_awaited: false }
    }

    /// S01 of the bug zoo: the producer hears of success before anything is in the log.
    fn acknowledge_before_append(&self, replica: &Replica, headers: &[BatchHeader], leader_epoch: LeaderEpoch) {
        mutant_diverged!("S01");
        let base_offset = replica.state.log_end_offset();
        let records: i64 = headers.iter().map(|header| i64::from(header.last_offset_delta) + 1).sum();
        observe::emit(|| ReplicaEvent::Acknowledged {
            partition: self.id,
            leader_epoch,
            base_offset,
            last_offset: base_offset.plus(records - 1),
            acks: -1,
            high_watermark: replica.state.high_watermark(),
            duplicate: false,
        });
    }
}

/// Whether a produce may be appended, and in which leader epoch. S05 of the bug zoo refuses for too few in sync only after
/// the append.
fn check_append(replica: &Replica, acks: Acks) -> Result<(LeaderEpoch, Option<AppendRefusal>), AppendRefusal> {
    match replica.state.check_append(acks == Acks::All) {
        Err(refusal @ AppendRefusal::NotEnoughReplicas { .. }) if mutant!("S05") => {
            mutant_diverged!("S05");
            Ok((replica.state.leader_epoch(), Some(refusal)))
        }
        checked => Ok((checked?, None)),
    }
}

impl Ticket {
    /// Waits until the batch is committed, or the deadline has passed.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn wait_until(mut self, deadline: Instant) -> Result<(), AckError> {
        let (partition, required) = (self.partition.id, self.place.required);
        self.is_awaited = true;
        observe::emit(|| {
            let within_ms = u64::try_from((deadline - time::now()).as_millis()).unwrap_or(u64::MAX);
            ReplicaEvent::ProduceWaits { partition, required, within_ms }
        });
        if mutant!("S12") {
            mutant_diverged!("S12");
            return self.await;
        }
        let outcome = time::timeout_at(deadline, self).await;
        sometimes!(outcome.is_err(), "a produce with acks=all was not committed in time");
        outcome.unwrap_or(Err(AckError::TimedOut))
    }
}

impl Future for Ticket {
    type Output = Result<(), AckError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        let outcome = {
            let mut replica = self.partition.replica.lock();
            let acknowledgements = &mut replica.acknowledgements;
            match acknowledgements.waiting.get_mut(place) {
                Some(waiter) => {
                    match &mut waiter.waker {
                        Some(waker) => waker.clone_from(context.waker()),
                        none => *none = Some(context.waker().clone()),
                    }
                    None
                }
                None => acknowledgements.outcomes.remove(&place),
            }
        };
        let is_waiting = outcome.is_none();
        assert!(!(is_waiting && self.told), "a ticket is awaited once");
        match outcome {
            Some(outcome) => {
                self.told = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_awaited {
            let (partition, required) = (self.partition.id, self.place.required);
            observe::emit(|| ReplicaEvent::ProduceWaited { partition, required });
        }
        if !self.told {
            let mut replica = self.partition.replica.lock();
            replica.acknowledgements.waiting.give_up(self.place);
            replica.acknowledgements.outcomes.remove(&self.place);
        }
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).field("topic", &self.topic).finish_non_exhaustive()
    }
}
