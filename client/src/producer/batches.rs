//! Pure. The batches of a producer: filled, sent in order, sent again, given up.
//!
//! It decides what is sent now and to whom, and what each answer means for the batch and for those behind it. It neither
//! encodes nor sends: a request is given away with its batches, and comes back as an [`Attempt`] for each. Driven by `producer`.
//!
//! Source of the rules: Kafka's `RecordAccumulator`, `Sender` and `TransactionManager` of an idempotent producer.

use super::batch::{Batch, RecordParts};
use super::outcome::{Attempt, Failure, Next, ProduceError, ProduceErrorKind};
use super::sequence::{Identities, PartitionSequences, ProducerIdentity, Restart, Stamp};
use crate::PartitionName;
use crate::cluster::Leader;
use crate::error::ClientError;
use protocol::compression::Compression;
use protocol::ids::{BrokerId, MonotonicMillis, Offset, WallMillis};
use std::collections::{BTreeMap, BTreeSet};

/// What a producer was told to do.
#[derive(Clone, Debug)]
pub struct BatchSettings {
    /// A batch this large is sent at once, and takes no more records (`batch.size`). Before compression.
    pub batch_bytes: usize,
    /// The most bytes of batches in one request (`max.request.size`); one batch may be larger.
    pub request_bytes: usize,
    /// How long a batch waits for more records (`linger.ms`).
    pub linger_ms: u64,
    /// How long a record may take from its call to its answer (`delivery.timeout.ms`).
    pub delivery_timeout_ms: u64,
    /// How often a batch may be sent again (`retries`).
    pub retries_max: u32,
    /// Requests to one broker, and batches of one partition, that may be under way (`max.in.flight.requests.per.connection`).
    pub in_flight_max: usize,
    /// Whether batches carry sequences (`enable.idempotence`).
    pub idempotent: bool,
    /// What batches are compressed with.
    pub compression: Compression,
}

/// Whether a partition's batches can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this leader, on a connection that is open.
    Open(Leader),
    /// Nobody is known to lead it, or the connection is not open yet. A change of the cluster will tell.
    Closed,
}

/// Batches for one broker, at most one for each partition.
#[derive(Debug)]
pub struct Request<T> {
    /// Whom to send it to.
    pub broker: BrokerId,
    /// What to send.
    pub batches: Vec<Batch<T>>,
}

/// A batch whose way is over. The senders are in the order of their records.
#[derive(Debug)]
pub struct Finished<T> {
    /// Where it went.
    pub partition: PartitionName,
    /// Who waits for its records.
    pub records: Vec<T>,
    /// What became of them: the offset of the first and the time of the append, or why not.
    pub result: Result<(Option<Offset>, Option<WallMillis>), ProduceError>,
}

/// What to do now.
#[derive(Debug)]
pub struct Plan<T> {
    /// Requests to send, in this order.
    pub requests: Vec<Request<T>>,
    /// Batches that were given up.
    pub finished: Vec<Finished<T>>,
    /// Look again then, if nothing happens before.
    pub wake_at: Option<MonotonicMillis>,
    /// A broker has to be asked for a producer id before anything more can be sent.
    pub wants_identity: bool,
    /// Some batch waits for a leader or a connection.
    pub wants_route: bool,
}

/// Every batch that is not finished.
#[derive(Debug)]
pub struct Batches<T> {
    settings: BatchSettings,
    queues: BTreeMap<PartitionName, Queue<T>>,
    /// The partitions that have a batch.
    active: BTreeSet<PartitionName>,
    identities: Identities,
    requests_in_flight: BTreeMap<BrokerId, usize>,
    batch_next: u64,
    unfinished: BTreeSet<u64>,
    flushing: usize,
}

#[derive(Debug)]
struct Queue<T> {
    /// In the order of their records. What is under way leaves its place.
    slots: BTreeMap<u64, Slot<T>>,
    in_flight: usize,
    sequences: Option<PartitionSequences>,
}

#[derive(Debug)]
enum Slot<T> {
    Waiting(Batch<T>),
    InFlight(Option<Stamp>),
}

/// What stands in the way of a partition's next batch.
enum Obstacle {
    /// Nothing does.
    None,
    /// An answer, a route, or another record: an event will come.
    Event,
    /// A route in particular.
    Route,
    /// A producer id.
    Identity,
    /// Time.
    Until(MonotonicMillis),
}

impl<T> Batches<T> {
    /// No batches yet.
    pub fn new(settings: BatchSettings) -> Self {
        assert!(settings.in_flight_max > 0, "nothing could ever be sent");
        Self {
            settings,
            queues: BTreeMap::new(),
            active: BTreeSet::new(),
            identities: Identities::default(),
            requests_in_flight: BTreeMap::new(),
            batch_next: 0,
            unfinished: BTreeSet::new(),
            flushing: 0,
        }
    }

    /// Puts a record at the end of a partition's last batch, or begins another. True when there is now something to send:
    /// a batch began, or is full.
    pub fn append(
        &mut self,
        partition: &PartitionName,
        record: RecordParts<'_>,
        sender: T,
        now: MonotonicMillis,
    ) -> bool {
        let queue = self.queues.entry(partition.clone()).or_insert_with(Queue::new);
        let bytes = record.bytes_max();
        if let Some(Slot::Waiting(last)) = queue.slots.values_mut().next_back() {
            if !last.sealed && last.bytes + bytes <= self.settings.batch_bytes {
                last.push(record, sender);
                return last.bytes >= self.settings.batch_bytes;
            }
            last.sealed = true;
        }
        self.batch_next += 1;
        let mut batch = Batch::new(self.batch_next, partition.clone(), self.settings.compression, now);
        batch.push(record, sender);
        queue.slots.insert(batch.id, Slot::Waiting(batch));
        self.unfinished.insert(self.batch_next);
        self.active.insert(partition.clone());
        true
    }

    /// What to send and what to give up at `now`, where `route` says who can be reached.
    pub fn plan(&mut self, now: MonotonicMillis, mut route: impl FnMut(&PartitionName) -> Route) -> Plan<T> {
        let mut plan = Plan {
            requests: Vec::new(),
            finished: Vec::new(),
            wake_at: None,
            wants_identity: false,
            wants_route: false,
        };
        for partition in self.active.clone() {
            self.expire(&partition, now, &mut plan.finished);
            self.restart(&partition, &mut plan.finished);
        }
        // One batch of each partition a round, so that a partition with many does not keep the others waiting.
        loop {
            let mut round: BTreeMap<BrokerId, Request<T>> = BTreeMap::new();
            plan.wake_at = None;
            for partition in self.active.clone() {
                self.plan_partition(&partition, now, &mut route, &mut round, &mut plan);
            }
            if round.is_empty() {
                return plan;
            }
            for request in round.into_values() {
                *self.requests_in_flight.entry(request.broker).or_default() += 1;
                plan.requests.push(request);
            }
        }
    }

    fn plan_partition(
        &mut self,
        partition: &PartitionName,
        now: MonotonicMillis,
        route: &mut impl FnMut(&PartitionName) -> Route,
        round: &mut BTreeMap<BrokerId, Request<T>>,
        plan: &mut Plan<T>,
    ) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        let Some(batch) = queue.first_waiting() else { return };
        plan.wake_at = earliest(plan.wake_at, batch.expires(self.settings.delivery_timeout_ms));
        let (leader, obstacle) = match route(partition) {
            Route::Open(leader) => {
                let flushing = self.flushing > 0;
                (Some(leader), queue.obstacle(&self.settings, &self.identities, flushing, leader, now))
            }
            Route::Closed => (None, Obstacle::Route),
        };
        match obstacle {
            Obstacle::None => {}
            Obstacle::Event => return,
            Obstacle::Route => return plan.wants_route = true,
            Obstacle::Identity => return plan.wants_identity = true,
            Obstacle::Until(at) => return plan.wake_at = earliest(plan.wake_at, at),
        }
        let leader = leader.expect("without a leader there is an obstacle");
        if self.requests_in_flight.get(&leader.broker).copied().unwrap_or(0) >= self.settings.in_flight_max {
            return;
        }
        let request =
            round.entry(leader.broker).or_insert_with(|| Request { broker: leader.broker, batches: Vec::new() });
        let bytes: usize = request.batches.iter().map(|batch| batch.bytes).sum();
        if request.batches.is_empty() || bytes + batch_bytes(queue) <= self.settings.request_bytes {
            request.batches.push(queue.take(&self.settings, &self.identities, leader));
        }
    }

    /// Takes a request's batches back, with how each one's attempt ended; `backoff_ms` is the wait before another.
    ///
    /// The broker's place in flight is free again. Returns what is finished by it.
    pub fn answered(
        &mut self,
        broker: BrokerId,
        attempts: Vec<(Batch<T>, Attempt)>,
        now: MonotonicMillis,
        backoff_ms: impl Fn(u32) -> u64,
    ) -> Vec<Finished<T>> {
        let in_flight = self.requests_in_flight.get_mut(&broker).expect("only what was sent is answered");
        *in_flight -= 1;
        if *in_flight == 0 {
            self.requests_in_flight.remove(&broker);
        }
        let mut finished = Vec::new();
        for (batch, attempt) in attempts {
            let wait = backoff_ms(batch.attempts);
            self.attempt_ended(batch, attempt, now, wait, &mut finished);
        }
        finished
    }

    fn attempt_ended(
        &mut self,
        mut batch: Batch<T>,
        attempt: Attempt,
        now: MonotonicMillis,
        wait_ms: u64,
        finished: &mut Vec<Finished<T>>,
    ) {
        let partition = batch.partition.clone();
        let queue = self.queues.get_mut(&partition).expect("a batch under way keeps its queue");
        queue.in_flight -= 1;
        queue.slots.remove(&batch.id);
        let failure = match attempt {
            Attempt::Appended { base_offset, log_append_time } => {
                if let (Some(sequences), Some(stamp)) = (&mut queue.sequences, batch.stamp) {
                    sequences.acknowledged(stamp);
                }
                self.finish(batch, Ok((base_offset, log_append_time)), finished);
                return;
            }
            Attempt::Failed(failure) => failure,
        };
        batch.may_be_appended |= failure.may_be_appended;
        let over =
            now >= batch.expires(self.settings.delivery_timeout_ms) || batch.attempts > self.settings.retries_max;
        match queue.verdict(&batch, &failure) {
            Verdict::SendAgain if !over => {
                batch.retry_at = now.plus(wait_ms);
                queue.slots.insert(batch.id, Slot::Waiting(batch));
            }
            Verdict::SendAfterPredecessors if !over => {
                batch.retry_at = now;
                queue.slots.insert(batch.id, Slot::Waiting(batch));
            }
            Verdict::SendAgain | Verdict::SendAfterPredecessors | Verdict::GiveUp => {
                self.give_up(batch, failure.cause, finished);
            }
        }
    }

    /// Gives up what waits in `partition` past its delivery timeout.
    fn expire(&mut self, partition: &PartitionName, now: MonotonicMillis, finished: &mut Vec<Finished<T>>) {
        let timeout_ms = self.settings.delivery_timeout_ms;
        let late = |batch: &Batch<T>| now >= batch.expires(timeout_ms);
        for batch in self.queue(partition).take_waiting(late) {
            let cause = ClientError::Timeout {
                address: partition.to_string(),
                api: "delivery",
                after: std::time::Duration::from_millis(timeout_ms),
                sent: batch.may_be_appended,
            };
            self.give_up(batch, cause, finished);
        }
    }

    /// Starts the partition's sequences again, if they have to and nothing is under way under the old ones.
    fn restart(&mut self, partition: &PartitionName, finished: &mut Vec<Finished<T>>) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        let Some((sequences, restart)) = queue.wants_restart() else { return };
        let current = sequences.identity();
        let Some(identity) = self.identities.after(current, restart) else { return };
        queue.sequences.as_mut().expect("they want a restart").restarted(identity);
        // What may be in the log under the old sequences cannot be sent under others: it might then be there twice.
        let lost = queue.take_waiting(|batch| batch.stamp.is_some() && batch.may_be_appended);
        for slot in queue.slots.values_mut() {
            if let Slot::Waiting(batch) = slot {
                batch.stamp = None;
            }
        }
        for batch in lost {
            let code = protocol::error_code::ErrorCode::OutOfOrderSequenceNumber;
            let message = Some("sequences were lost after this batch may have been appended".to_owned());
            self.finish_failed(batch, ClientError::Broker { code, message }, finished);
        }
    }

    /// Ends a batch without success, and decides what that means for the sequences behind it.
    fn give_up(&mut self, batch: Batch<T>, cause: ClientError, finished: &mut Vec<Finished<T>>) {
        let queue = self.queues.get_mut(&batch.partition).expect("a batch keeps its queue");
        if let (Some(stamp), Some(sequences)) = (batch.stamp, &mut queue.sequences) {
            let is_newest = queue.slots.range(batch.id..).all(|(_, slot)| match slot {
                Slot::InFlight(_) => false,
                Slot::Waiting(later) => later.stamp.is_none(),
            });
            let is_unused = is_newest && !batch.may_be_appended;
            if !(is_unused && sequences.take_back(stamp, batch.record_count())) {
                sequences.ask_restart(Restart::NextEpoch);
            }
        }
        self.finish_failed(batch, cause, finished);
    }

    fn finish_failed(&mut self, batch: Batch<T>, cause: ClientError, finished: &mut Vec<Finished<T>>) {
        let kind = batch.fate();
        self.finish(batch, Err(ProduceError { kind, cause }), finished);
    }

    fn finish(
        &mut self,
        batch: Batch<T>,
        result: Result<(Option<Offset>, Option<WallMillis>), ProduceError>,
        finished: &mut Vec<Finished<T>>,
    ) {
        self.unfinished.remove(&batch.id);
        if self.queue(&batch.partition).slots.is_empty() {
            self.active.remove(&batch.partition);
        }
        finished.push(Finished { partition: batch.partition, records: batch.records, result });
    }

    fn queue(&mut self, partition: &PartitionName) -> &mut Queue<T> {
        self.queues.get_mut(partition).expect("a partition that had a batch keeps its queue")
    }

    /// Takes the producer id that a broker gave.
    pub fn identity_given(&mut self, identity: ProducerIdentity) {
        self.identities.given(identity);
    }

    /// Gives up everything that is not under way: the producer cannot go on.
    pub fn fail_waiting(&mut self, cause: &ClientError) -> Vec<Finished<T>> {
        let mut finished = Vec::new();
        for partition in self.active.clone() {
            for batch in self.queue(&partition).take_waiting(|_| true) {
                self.give_up(batch, cause.clone(), &mut finished);
            }
        }
        finished
    }

    /// Sends every batch without lingering, from now until [`Batches::flush_ended`]. Returns the newest batch there is.
    pub fn flush_begun(&mut self) -> Option<u64> {
        self.flushing += 1;
        self.unfinished.last().copied()
    }

    /// Ends one [`Batches::flush_begun`].
    pub fn flush_ended(&mut self) {
        assert!(self.flushing > 0, "every end has a beginning");
        self.flushing -= 1;
    }

    /// Whether every batch up to `batch` is finished.
    pub fn is_finished(&self, batch: u64) -> bool {
        self.unfinished.first().is_none_or(|oldest| *oldest > batch)
    }

    /// Whether there is no batch at all.
    pub fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// What becomes of a batch after a failed attempt.
enum Verdict {
    SendAgain,
    SendAfterPredecessors,
    GiveUp,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self { slots: BTreeMap::new(), in_flight: 0, sequences: None }
    }

    fn first_waiting(&self) -> Option<&Batch<T>> {
        self.slots.values().find_map(|slot| match slot {
            Slot::Waiting(batch) => Some(batch),
            Slot::InFlight(_) => None,
        })
    }

    /// The stamp of the oldest batch, if it has one: its fate is not known yet.
    fn oldest_stamp(&self) -> Option<Stamp> {
        self.slots.values().next().and_then(|slot| match slot {
            Slot::Waiting(batch) => batch.stamp,
            Slot::InFlight(stamp) => *stamp,
        })
    }

    /// What keeps the first waiting batch from being sent to `leader`.
    fn obstacle(
        &self,
        settings: &BatchSettings,
        identities: &Identities,
        flushing: bool,
        leader: Leader,
        now: MonotonicMillis,
    ) -> Obstacle {
        let batch = self.first_waiting().expect("only asked of a queue with a waiting batch");
        if self.sequences.as_ref().is_some_and(|sequences| sequences.restart().is_some()) {
            // Under way: their answers come first. None under way: only a producer id can be missing.
            return if self.in_flight > 0 { Obstacle::Event } else { Obstacle::Identity };
        }
        if batch.attempts > 0 {
            let is_newer_leader = leader.leader_epoch > batch.sent_to;
            if now < batch.retry_at && !is_newer_leader {
                return Obstacle::Until(batch.retry_at);
            }
            if batch.stamp.is_some() && self.in_flight > 0 {
                return Obstacle::Event;
            }
        } else {
            let is_full = batch.sealed || batch.bytes >= settings.batch_bytes;
            let lingers_until = batch.created.plus(settings.linger_ms);
            if !is_full && !flushing && now < lingers_until {
                return Obstacle::Until(lingers_until);
            }
        }
        let has_room = match &self.sequences {
            Some(sequences) => {
                batch.stamp.is_some() || sequences.has_room(self.oldest_stamp(), settings.in_flight_max as u64)
            }
            None if settings.idempotent && identities.newest().is_none() => return Obstacle::Identity,
            None => self.in_flight < settings.in_flight_max,
        };
        if has_room { Obstacle::None } else { Obstacle::Event }
    }

    /// Takes the first waiting batch out to be sent to `leader`; its place stays.
    fn take(&mut self, settings: &BatchSettings, identities: &Identities, leader: Leader) -> Batch<T> {
        let id = self.first_waiting().expect("only asked of a queue with a waiting batch").id;
        let Some(Slot::Waiting(mut batch)) = self.slots.remove(&id) else {
            unreachable!("the batch was waiting there")
        };
        if settings.idempotent {
            let identity = identities.newest();
            let sequences = self.sequences.get_or_insert_with(|| {
                PartitionSequences::new(identity.expect("a queue without sequences waits for an identity"))
            });
            if batch.stamp.is_none() {
                batch.stamp = Some(sequences.stamp(batch.record_count()));
            }
        }
        batch.sealed = true;
        batch.attempts += 1;
        batch.sent_behind = self.in_flight > 0;
        batch.sent_to = leader.leader_epoch;
        self.in_flight += 1;
        self.slots.insert(id, Slot::InFlight(batch.stamp));
        batch
    }

    /// What a failed attempt means for the batch. A gap that is really there makes the sequences start again.
    fn verdict(&mut self, batch: &Batch<T>, failure: &Failure) -> Verdict {
        let restart = match failure.next {
            Next::Retry => return Verdict::SendAgain,
            Next::Gap | Next::Fenced if batch.stamp.is_none() => return Verdict::GiveUp,
            Next::GiveUp => return Verdict::GiveUp,
            Next::Gap if batch.sent_behind => return Verdict::SendAfterPredecessors,
            Next::Gap => Restart::NextEpoch,
            Next::Fenced => Restart::OtherId,
        };
        if let Some(sequences) = &mut self.sequences {
            sequences.ask_restart(restart);
        }
        // The restart decides: sent again under other sequences, or given up when it may be in the log.
        Verdict::SendAgain
    }

    fn wants_restart(&self) -> Option<(&PartitionSequences, Restart)> {
        let sequences = self.sequences.as_ref().filter(|_| self.in_flight == 0)?;
        Some((sequences, sequences.restart()?))
    }

    fn take_waiting(&mut self, which: impl Fn(&Batch<T>) -> bool) -> Vec<Batch<T>> {
        let wanted = |slot: &Slot<T>| matches!(slot, Slot::Waiting(batch) if which(batch));
        let ids: Vec<u64> = self.slots.iter().filter(|(_, slot)| wanted(slot)).map(|(id, _)| *id).collect();
        let taken = ids.into_iter().filter_map(|id| self.slots.remove(&id));
        taken
            .filter_map(|slot| match slot {
                Slot::Waiting(batch) => Some(batch),
                Slot::InFlight(_) => None,
            })
            .collect()
    }
}

fn batch_bytes<T>(queue: &Queue<T>) -> usize {
    queue.first_waiting().map_or(0, |batch| batch.bytes)
}

fn earliest(known: Option<MonotonicMillis>, at: MonotonicMillis) -> Option<MonotonicMillis> {
    Some(known.map_or(at, |known| known.min(at)))
}

/// Whether a finished batch's records are certainly in no log.
pub fn is_refused<T>(finished: &Finished<T>) -> bool {
    matches!(&finished.result, Err(error) if error.kind == ProduceErrorKind::Refused)
}

#[cfg(test)]
mod tests;
