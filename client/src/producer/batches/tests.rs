//! The machine alone, then against a model of a leader behind a network that loses, delays and reorders.

use super::*;
use crate::error::CloseCause;
use crate::fake::FakePartition;
use crate::producer::outcome::{judge_code, judge_error};
use bytes::Bytes;
use proptest::prelude::*;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence};
use std::collections::VecDeque;

const BROKER: BrokerId = BrokerId(1);
const DELIVERY_TIMEOUT_MS: u64 = 10_000;

fn settings() -> BatchSettings {
    BatchSettings {
        batch_bytes: 120,
        request_bytes: 1000,
        linger_ms: 0,
        delivery_timeout_ms: DELIVERY_TIMEOUT_MS,
        retries_max: u32::MAX,
        in_flight_max: 5,
        idempotent: true,
        compression: Compression::None,
    }
}

fn partition(index: i32) -> PartitionName {
    PartitionName::new("orders", PartitionIndex(index))
}

fn leader(leader_epoch: i32) -> Leader {
    Leader { broker: BROKER, leader_epoch: LeaderEpoch(leader_epoch) }
}

fn identity(producer_id: i64) -> ProducerIdentity {
    ProducerIdentity { producer_id: ProducerId(producer_id), producer_epoch: ProducerEpoch(0) }
}

fn appended(base_offset: i64) -> Attempt {
    Attempt::Appended { base_offset: Some(Offset(base_offset)), log_append_time: None }
}

fn refused(code: ErrorCode) -> Attempt {
    judge_code(code, ClientError::Broker { code, message: None })
}

fn disconnected() -> Attempt {
    judge_error(ClientError::Closed { address: "b1".to_owned(), cause: CloseCause::Peer, sent: true })
}

/// A producer of records that are numbers, at a moment.
struct Bench {
    batches: Batches<u32>,
    now: MonotonicMillis,
    leader_epoch: i32,
    finished: Vec<Finished<u32>>,
}

impl Bench {
    fn new(settings: BatchSettings) -> Self {
        let mut batches = Batches::new(settings);
        batches.identity_given(identity(7));
        Self { batches, now: MonotonicMillis(1000), leader_epoch: 1, finished: Vec::new() }
    }

    /// A record so large that each has a batch of its own.
    fn send(&mut self, record: u32) {
        self.send_to(0, record);
    }

    fn send_to(&mut self, index: i32, record: u32) {
        let value = [record.to_be_bytes().to_vec(), vec![0; 60]].concat();
        let parts = RecordParts { timestamp: WallMillis(0), key: None, value: Some(&value), headers: &[] };
        self.batches.append(&partition(index), parts, record, self.now);
    }

    fn plan(&mut self) -> Vec<Batch<u32>> {
        let leader = leader(self.leader_epoch);
        let mut plan = self.batches.plan(self.now, |_| Route::Open(leader));
        self.finished.append(&mut plan.finished);
        plan.requests.into_iter().flat_map(|request| request.batches).collect()
    }

    fn answer(&mut self, batch: Batch<u32>, attempt: Attempt) {
        let mut finished = self.batches.answered(BROKER, vec![(batch, attempt)], self.now, |_| 100);
        self.finished.append(&mut finished);
    }

    fn later(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
    }

    /// Each finished record with what became of it: its offset, "refused" or "unknown".
    fn fates(&mut self) -> Vec<(u32, String)> {
        let fate = |finished: Finished<u32>| {
            let fates = finished.records.iter().zip(0i64..).map(|(record, delta)| {
                let fate = match &finished.result {
                    Ok((offset, _)) => format!("at {}", offset.map_or(-1, |offset| offset.0 + delta)),
                    Err(error) if error.is_refused() => "refused".to_owned(),
                    Err(_) => "unknown".to_owned(),
                };
                (*record, fate)
            });
            fates.collect::<Vec<_>>()
        };
        self.finished.drain(..).flat_map(fate).collect()
    }
}

/// Records and first sequences of batches.
fn sequences(batches: &[Batch<u32>]) -> Vec<(u32, i16, i32)> {
    let stamped = batches.iter().map(|batch| {
        let stamp = batch.stamp.expect("an idempotent producer stamps each batch");
        (batch.records[0], stamp.identity.producer_epoch.0, stamp.base_sequence.0)
    });
    stamped.collect()
}

/// A bench whose leader already remembers the producer: record 0 is at offset 0.
fn remembered() -> Bench {
    let mut bench = Bench::new(settings());
    bench.send(0);
    let batch = bench.plan().pop().expect("one batch");
    bench.answer(batch, appended(0));
    assert_eq!(bench.fates(), [(0, "at 0".to_owned())]);
    bench
}

#[test]
fn a_batch_lingers_until_it_is_full() {
    let mut bench = Bench::new(BatchSettings { linger_ms: 50, batch_bytes: 200, ..settings() });
    bench.send(1);
    assert!(bench.plan().is_empty());
    bench.send(2);
    bench.send(3);
    assert_eq!(bench.plan()[0].records, [1], "the next record did not fit, so the batch is full");
    bench.later(50);
    assert!(bench.plan().is_empty(), "until the first is acknowledged there is no second");
}

#[test]
fn a_flush_ends_all_lingering() {
    let mut bench = Bench::new(BatchSettings { linger_ms: 50, batch_bytes: 10_000, ..settings() });
    bench.send(1);
    let newest = bench.batches.flush_begun().expect("a batch waits");
    let batch = bench.plan().pop().expect("nothing lingers");
    assert!(!bench.batches.is_finished(newest));
    bench.answer(batch, appended(0));
    assert!(bench.batches.is_finished(newest));
}

#[test]
fn nothing_is_sent_before_a_broker_has_given_a_producer_id() {
    let mut batches: Batches<u32> = Batches::new(settings());
    let parts = RecordParts { timestamp: WallMillis(0), key: None, value: Some(b"x"), headers: &[] };
    batches.append(&partition(0), parts, 1, MonotonicMillis(0));
    let plan = batches.plan(MonotonicMillis(0), |_| Route::Open(leader(1)));
    assert!(plan.requests.is_empty() && plan.wants_identity);
    batches.identity_given(identity(7));
    let plan = batches.plan(MonotonicMillis(0), |_| Route::Open(leader(1)));
    assert!(plan.requests.len() == 1 && !plan.wants_identity);
}

#[test]
fn five_batches_of_a_partition_are_under_way_at_most() {
    let mut bench = remembered();
    (1..=8).for_each(|record| bench.send(record));
    let sent = bench.plan();
    assert_eq!(sequences(&sent), [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4), (5, 0, 5)]);
    assert!(bench.plan().is_empty());
}

#[test]
fn a_request_has_one_batch_of_each_partition() {
    let mut bench = Bench::new(settings());
    (0..3).for_each(|index| bench.send_to(index, 10 + index as u32));
    let plan = bench.batches.plan(bench.now, |_| Route::Open(leader(1)));
    assert_eq!(plan.requests.len(), 1);
    assert_eq!(plan.requests[0].batches.len(), 3);
}

#[test]
fn a_batch_is_sent_again_with_the_same_bytes() {
    let mut bench = remembered();
    bench.send(1);
    let mut first = bench.plan().pop().expect("one batch");
    let bytes = first.encode();
    bench.answer(first, disconnected());
    assert!(bench.plan().is_empty(), "it waits");
    bench.later(100);
    let mut again = bench.plan().pop().expect("one batch");
    assert_eq!(again.encode(), bytes);
}

#[test]
fn a_newer_leader_is_asked_at_once() {
    let mut bench = remembered();
    bench.send(1);
    let batch = bench.plan().pop().expect("one batch");
    bench.answer(batch, refused(ErrorCode::NotLeaderOrFollower));
    assert!(bench.plan().is_empty());
    bench.leader_epoch += 1;
    assert_eq!(bench.plan().len(), 1);
}

#[test]
fn behind_a_batch_that_is_sent_again_the_others_wait_their_turn() {
    let mut bench = remembered();
    (1..=3).for_each(|record| bench.send(record));
    let mut sent = bench.plan();
    let third = sent.pop().expect("three");
    let second = sent.pop().expect("three");
    let first = sent.pop().expect("three");
    bench.answer(first, refused(ErrorCode::NotEnoughReplicas));
    bench.answer(second, refused(ErrorCode::OutOfOrderSequenceNumber));
    bench.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber));
    bench.later(100);
    let again = bench.plan();
    assert_eq!(sequences(&again), [(1, 0, 1)]);
    again.into_iter().for_each(|batch| bench.answer(batch, appended(1)));
    assert_eq!(sequences(&bench.plan()), [(2, 0, 2)]);
}

#[test]
fn a_refused_batch_leaves_no_gap_when_it_was_the_last() {
    let mut bench = remembered();
    bench.send(1);
    let batch = bench.plan().pop().expect("one batch");
    bench.answer(batch, refused(ErrorCode::MessageTooLarge));
    bench.send(2);
    assert_eq!(sequences(&bench.plan()), [(2, 0, 1)]);
    assert_eq!(bench.fates(), [(1, "refused".to_owned())]);
}

#[test]
fn those_behind_a_refused_batch_go_on_in_the_next_epoch() {
    let mut bench = remembered();
    (1..=3).for_each(|record| bench.send(record));
    let mut sent = bench.plan();
    let (third, second, first) = (sent.pop().expect("3"), sent.pop().expect("2"), sent.pop().expect("1"));
    bench.answer(first, refused(ErrorCode::InvalidRecord));
    bench.answer(second, refused(ErrorCode::OutOfOrderSequenceNumber));
    assert!(bench.plan().is_empty(), "the third is under way still");
    bench.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(sequences(&bench.plan()), [(2, 1, 0)], "one at a time until the leader remembers the new epoch");
    assert_eq!(bench.fates(), [(1, "refused".to_owned())]);
}

#[test]
fn what_may_be_in_the_log_is_never_sent_in_another_epoch() {
    let mut bench = remembered();
    (1..=3).for_each(|record| bench.send(record));
    let mut sent = bench.plan();
    let (third, second, first) = (sent.pop().expect("3"), sent.pop().expect("2"), sent.pop().expect("1"));
    bench.answer(first, refused(ErrorCode::InvalidRecord));
    bench.answer(second, disconnected());
    bench.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(sequences(&bench.plan()), [(3, 1, 0)]);
    assert_eq!(bench.fates(), [(1, "refused".to_owned()), (2, "unknown".to_owned())]);
}

#[test]
fn a_record_that_was_never_sent_is_refused_when_its_time_is_over() {
    let mut bench = Bench::new(settings());
    bench.send(1);
    bench.later(DELIVERY_TIMEOUT_MS);
    let mut plan = bench.batches.plan(bench.now, |_| Route::Closed);
    bench.finished.append(&mut plan.finished);
    assert_eq!(bench.fates(), [(1, "refused".to_owned())]);
    assert!(bench.batches.is_empty());
}

#[test]
fn a_record_that_was_sent_has_an_unknown_fate_when_its_time_is_over() {
    let mut bench = remembered();
    bench.send(1);
    let batch = bench.plan().pop().expect("one batch");
    bench.later(DELIVERY_TIMEOUT_MS - 50);
    bench.send(2);
    bench.answer(batch, disconnected());
    bench.later(60);
    assert_eq!(sequences(&bench.plan()), [(2, 1, 0)], "the lost sequence is left behind");
    assert_eq!(bench.fates(), [(1, "unknown".to_owned())]);
}

#[test]
fn a_fenced_producer_id_is_replaced_by_another() {
    let mut bench = remembered();
    bench.send(1);
    let batch = bench.plan().pop().expect("one batch");
    bench.answer(batch, refused(ErrorCode::InvalidProducerEpoch));
    bench.later(100);
    let plan = bench.batches.plan(bench.now, |_| Route::Open(leader(1)));
    assert!(plan.requests.is_empty() && plan.wants_identity);
    bench.batches.identity_given(identity(8));
    let sent = bench.plan();
    assert_eq!(sent[0].stamp.map(|stamp| stamp.identity), Some(identity(8)));
}

#[test]
fn without_idempotence_a_refused_batch_holds_nobody_up() {
    let mut bench = Bench::new(BatchSettings { idempotent: false, ..settings() });
    (1..=3).for_each(|record| bench.send(record));
    let mut sent = bench.plan();
    assert_eq!(sent.len(), 3);
    let third = sent.pop().expect("three");
    bench.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(bench.fates(), [(3, "refused".to_owned())], "it means nothing without sequences");
}

/// What may happen next to a request under way, or to the producer. Of connections that are open, `usize` picks one.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Send,
    Plan,
    /// The oldest request reaches the leader, and its answer stays away.
    Append(usize),
    /// The oldest request reaches the leader, if it has not yet, and is answered.
    Answer(usize),
    /// The oldest request reaches the leader, if it has not yet, and is answered with an error that may come after the append.
    AnswerAfterAppend(usize),
    /// The oldest request reaches the leader, which refuses it before the log.
    Refuse(usize, ErrorCode),
    /// A connection breaks: everything on it fails; what was on the wire may still arrive, in order.
    Disconnect(usize),
    /// The oldest bytes of broken connections arrive.
    Late,
    /// The oldest bytes of broken connections are lost, and those behind them on their connection.
    Lose,
    Later(u64),
    /// What was not appended by the old leader will be refused by it; what is sent from now on goes to the new one.
    NewLeader,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => Just(Happening::Send),
        6 => Just(Happening::Plan),
        2 => (0usize..3).prop_map(Happening::Append),
        6 => (0usize..3).prop_map(Happening::Answer),
        1 => (0usize..3).prop_map(Happening::AnswerAfterAppend),
        1 => (0usize..3).prop_map(|at| Happening::Refuse(at, ErrorCode::NotEnoughReplicas)),
        1 => (0usize..3).prop_map(|at| Happening::Refuse(at, ErrorCode::MessageTooLarge)),
        1 => (0usize..3).prop_map(Happening::Disconnect),
        2 => Just(Happening::Late),
        1 => Just(Happening::Lose),
        3 => (1u64..400).prop_map(Happening::Later),
        1 => Just(Happening::Later(DELIVERY_TIMEOUT_MS)),
        1 => Just(Happening::NewLeader),
    ];
    prop::collection::vec(one, 1..150)
}

/// A connection: what is under way on it, each with what the leader did with it.
#[derive(Default)]
struct Wire {
    batches: VecDeque<(Batch<u32>, Option<Attempt>)>,
    leads_to_old_leader: bool,
}

/// A producer, its connections, and the log behind them.
struct World {
    bench: Bench,
    leader: FakePartition,
    /// The last one is to the leader.
    wires: Vec<Wire>,
    late: VecDeque<Vec<Bytes>>,
    next: u32,
    fates: BTreeMap<u32, String>,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(settings()),
            leader: FakePartition::new(BROKER),
            wires: vec![Wire::default()],
            late: VecDeque::new(),
            next: 0,
            fates: BTreeMap::new(),
        }
    }

    /// The leader takes the oldest request of a connection that it has not taken yet.
    fn append(&mut self, at: usize) {
        let at = at % self.wires.len();
        let wire = &mut self.wires[at];
        let Some((batch, attempt)) = wire.batches.iter_mut().find(|(_, attempt)| attempt.is_none()) else { return };
        *attempt = Some(if wire.leads_to_old_leader {
            refused(ErrorCode::NotLeaderOrFollower)
        } else {
            self.leader.append(&batch.encode()).map_or_else(refused, |offset| appended(offset.0))
        });
    }

    /// The oldest request of a connection is answered, as `change` makes it of what the leader did.
    fn answer(&mut self, at: usize, change: impl FnOnce(Attempt) -> Attempt) {
        let at = at % self.wires.len();
        if matches!(self.wires[at].batches.front(), Some((_, None))) {
            self.append(at);
        }
        if let Some((batch, attempt)) = self.wires[at].batches.pop_front() {
            self.bench.answer(batch, change(attempt.expect("the leader took it")));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Send => {
                self.bench.send(self.next);
                self.next += 1;
            }
            Happening::Plan => {
                let sent = self.bench.plan().into_iter().map(|batch| (batch, None));
                self.wires.last_mut().expect("one leads to the leader").batches.extend(sent);
            }
            Happening::Append(at) => self.append(at),
            Happening::Answer(at) => self.answer(at, |attempt| attempt),
            Happening::AnswerAfterAppend(at) => self.answer(at, |attempt| match attempt {
                Attempt::Appended { .. } => refused(ErrorCode::NotEnoughReplicasAfterAppend),
                failed @ Attempt::Failed(_) => failed,
            }),
            Happening::Refuse(at, code) => {
                let at = at % self.wires.len();
                if matches!(self.wires[at].batches.front(), Some((_, None))) {
                    let (batch, _) = self.wires[at].batches.pop_front().expect("it was just there");
                    self.bench.answer(batch, refused(code));
                }
            }
            Happening::Disconnect(at) => {
                let at = at % self.wires.len();
                let broken = std::mem::take(&mut self.wires[at].batches);
                let mut late = Vec::new();
                for (mut batch, attempt) in broken {
                    if attempt.is_none() {
                        late.push(batch.encode());
                    }
                    self.bench.answer(batch, disconnected());
                }
                self.late.push_back(late);
                if at + 1 < self.wires.len() {
                    self.wires.remove(at);
                }
            }
            Happening::Late => {
                if let Some(mut connection) = self.late.pop_front().filter(|connection| !connection.is_empty()) {
                    // Nobody hears the answer.
                    let _ = self.leader.append(&connection.remove(0));
                    self.late.push_back(connection);
                }
            }
            Happening::Lose => drop(self.late.pop_front()),
            Happening::Later(millis) => self.bench.later(millis),
            Happening::NewLeader => {
                self.bench.leader_epoch += 1;
                self.wires.last_mut().expect("one leads to the leader").leads_to_old_leader = true;
                self.wires.push(Wire::default());
            }
        }
        let fates = self.bench.fates();
        for (record, fate) in fates {
            assert!(self.fates.insert(record, fate).is_none(), "record {record} has one fate");
        }
    }

    /// What a checker of histories would say.
    fn check(&self) {
        let number = |value: Bytes| u32::from_be_bytes(*value.first_chunk().expect("a number"));
        let log: Vec<u32> = self.leader.values().into_iter().map(number).collect();
        assert!(log.is_sorted_by(|one, next| one < next), "in order and once each: {log:?}");
        for record in 0..self.next {
            let at = log.iter().position(|known| *known == record);
            match self.fates.get(&record).map(String::as_str) {
                Some("refused") => assert_eq!(at, None, "record {record} was refused"),
                Some("unknown") | None => {}
                Some(offset) => assert_eq!(at.map(|at| format!("at {at}")).as_deref(), Some(offset), "record {record}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_idempotent_producer_is_in_order_once_and_honest(happenings in happenings()) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            world.check();
        }
        // The network heals: everything has a fate soon.
        for _ in 0..400 {
            world.happen(Happening::Plan);
            (0..world.wires.len()).for_each(|at| world.happen(Happening::Answer(at)));
            world.happen(Happening::Later(100));
        }
        while !world.late.is_empty() {
            world.happen(Happening::Late);
        }
        world.check();
        prop_assert_eq!(world.fates.len(), world.next as usize, "each record has a fate");
        prop_assert!(world.bench.batches.is_empty());
    }
}

/// Appended, but told otherwise, again and again: what comes behind must not push it out of the leader's memory.
#[test]
fn a_batch_stays_among_those_that_the_leader_remembers_until_it_is_acknowledged() {
    let mut world = World::new();
    world.happen(Happening::Send);
    world.happen(Happening::Plan);
    world.happen(Happening::Answer(0));
    (0..30).for_each(|_| world.happen(Happening::Send));
    for _ in 0..4 {
        world.happen(Happening::Plan);
        world.happen(Happening::AnswerAfterAppend(0));
        (0..4).for_each(|_| world.happen(Happening::Answer(0)));
        world.happen(Happening::Later(100));
    }
    for _ in 0..60 {
        world.happen(Happening::Plan);
        world.happen(Happening::Answer(0));
    }
    world.check();
    assert!(world.fates.values().all(|fate| fate.starts_with("at ")), "{:?}", world.fates);
}

#[test]
fn the_model_leader_remembers_five_batches() {
    let mut bench = remembered();
    let mut model = FakePartition::new(BROKER);
    bench.send(1);
    let mut batch = bench.plan().pop().expect("one batch");
    batch.stamp.as_mut().expect("stamped").base_sequence = Sequence(0);
    let bytes = batch.encode();
    assert_eq!(model.append(&bytes), Ok(Offset(0)));
    assert_eq!(model.append(&bytes), Ok(Offset(0)), "a duplicate has the offset of the first");
    assert_eq!(model.end(), Offset(1));
}
