//! The machine of positions alone.

use super::*;
use proptest::prelude::*;
use protocol::ids::PartitionIndex;

const NOW: MonotonicMillis = MonotonicMillis(1000);

fn partition(index: i32) -> PartitionName {
    PartitionName::new("orders", PartitionIndex(index))
}

fn leader(broker: i32, leader_epoch: i32) -> Leader {
    Leader { broker: BrokerId(broker), leader_epoch: LeaderEpoch(leader_epoch) }
}

fn at(offset: i64, leader_epoch: Option<i32>) -> Position {
    Position { offset: Offset(offset), leader_epoch: leader_epoch.map(LeaderEpoch) }
}

/// Positions of one partition, led by broker 1 in some leader epoch.
struct Bench {
    positions: Positions,
    leader: Leader,
    now: MonotonicMillis,
}

impl Bench {
    fn new(reset: Option<ResetTo>) -> Self {
        let mut positions = Positions::new(reset);
        positions.assign([partition(0)]);
        Self { positions, leader: leader(1, 4), now: NOW }
    }

    /// What is asked now, if anything.
    fn ask(&mut self) -> Option<(Ticket, Question)> {
        let leader = self.leader;
        let mut errands = self.positions.plan(self.now, |_| Some(leader)).errands;
        assert!(errands.len() <= 1, "one question about one partition: {errands:?}");
        errands.pop().map(|errand| (errand.ticket, errand.question))
    }

    /// The ticket of the one question that is expected now.
    fn asked(&mut self, question: Question) -> Ticket {
        let (ticket, asked) = self.ask().expect("something is asked");
        assert_eq!(asked, question);
        ticket
    }

    fn failed(&mut self, ticket: Ticket, code: ErrorCode) -> bool {
        self.positions.fetch_ended(self.leader.broker);
        self.positions.failed(&partition(0), ticket, Some(code), self.now, 100)
    }

    /// Takes the records of a fetch, up to `position`.
    fn took(&mut self, ticket: Ticket, position: Position) -> bool {
        self.positions.fetch_ended(self.leader.broker);
        self.positions.taken(&partition(0), ticket, position, true)
    }

    fn failure(&mut self) -> Option<PositionError> {
        self.positions.next_failure().map(|(_, error)| error)
    }
}

/// A bench that has read up to offset 10, in leader epoch 4.
fn reading() -> Bench {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    let ticket = bench.asked(Question::Offset(ResetTo::Earliest));
    bench.positions.offset_told(&partition(0), ticket, Offset(0));
    let ticket = bench.asked(Question::Records(at(0, None)));
    assert!(bench.took(ticket, at(10, Some(4))));
    bench
}

#[test]
fn a_new_partition_begins_as_the_policy_says() {
    reading();
    let mut bench = Bench::new(Some(ResetTo::Latest));
    bench.asked(Question::Offset(ResetTo::Latest));
    let mut bench = Bench::new(None);
    assert_eq!(bench.ask(), None);
    assert_eq!(bench.failure(), Some(PositionError::NoPosition));
    assert!(bench.positions.seek(&partition(0), at(5, None)));
    bench.asked(Question::Records(at(5, None)));
}

#[test]
fn one_question_at_a_time() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    assert_eq!(bench.ask(), None);
    bench.positions.fetch_ended(BrokerId(1));
    bench.positions.nothing_new(&partition(0), ticket);
    bench.asked(Question::Records(at(10, Some(4))));
}

#[test]
fn a_broker_has_one_fetch_at_a_time() {
    let mut positions = Positions::new(None);
    positions.assign([partition(0), partition(1)]);
    positions.seek(&partition(0), at(0, None));
    assert_eq!(positions.plan(NOW, |_| Some(leader(1, 0))).errands.len(), 1);
    positions.seek(&partition(1), at(0, None));
    assert_eq!(positions.plan(NOW, |_| Some(leader(1, 0))).errands.len(), 0);
    assert_eq!(positions.plan(NOW, |_| Some(leader(2, 0))).errands.len(), 1, "another broker is free");
}

#[test]
fn a_new_leader_validates_the_position_first() {
    let mut bench = reading();
    bench.leader = leader(2, 5);
    let ticket = bench.asked(Question::EpochEnd(LeaderEpoch(4)));
    bench.positions.epoch_end_told(&partition(0), ticket, Some((LeaderEpoch(4), Offset(12))));
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    assert!(bench.took(ticket, at(12, Some(4))));
    bench.asked(Question::Records(at(12, Some(4))));
}

#[test]
fn a_truncation_is_reported_and_never_skipped() {
    for (end, diverges_at) in [
        (Some((LeaderEpoch(4), Offset(7))), Some((LeaderEpoch(4), Offset(7)))),
        (Some((LeaderEpoch(2), Offset(50))), Some((LeaderEpoch(2), Offset(50)))),
        (None, None),
    ] {
        let mut bench = reading();
        bench.leader = leader(2, 5);
        let ticket = bench.asked(Question::EpochEnd(LeaderEpoch(4)));
        bench.positions.epoch_end_told(&partition(0), ticket, end);
        assert_eq!(bench.failure(), Some(PositionError::Truncated { position: at(10, Some(4)), diverges_at }));
        assert_eq!(bench.ask(), None, "it rests");
        assert_eq!(bench.failure(), None, "it is said once");
        assert!(bench.positions.seek(&partition(0), at(7, None)));
        bench.asked(Question::Records(at(7, None)));
    }
}

#[test]
fn a_divergence_in_a_fetch_is_a_truncation() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    bench.positions.fetch_ended(BrokerId(1));
    bench.positions.diverged(&partition(0), ticket, (LeaderEpoch(3), Offset(8)));
    let truncated =
        PositionError::Truncated { position: at(10, Some(4)), diverges_at: Some((LeaderEpoch(3), Offset(8))) };
    assert_eq!(bench.failure(), Some(truncated));
}

#[test]
fn data_that_retention_took_is_what_the_policy_is_for() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    assert!(!bench.failed(ticket, ErrorCode::OffsetOutOfRange));
    let ticket = bench.asked(Question::EpochEnd(LeaderEpoch(4)));
    bench.positions.epoch_end_told(&partition(0), ticket, Some((LeaderEpoch(4), Offset(90))));
    bench.asked(Question::Offset(ResetTo::Earliest));
}

#[test]
fn a_position_out_of_range_through_truncation_is_not_reset() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    bench.failed(ticket, ErrorCode::OffsetOutOfRange);
    let ticket = bench.asked(Question::EpochEnd(LeaderEpoch(4)));
    bench.positions.epoch_end_told(&partition(0), ticket, Some((LeaderEpoch(4), Offset(6))));
    assert!(matches!(bench.failure(), Some(PositionError::Truncated { .. })));
}

#[test]
fn without_a_policy_out_of_range_is_reported() {
    let mut bench = Bench::new(None);
    bench.failure();
    bench.positions.seek(&partition(0), at(99, None));
    let ticket = bench.asked(Question::Records(at(99, None)));
    bench.failed(ticket, ErrorCode::OffsetOutOfRange);
    assert_eq!(bench.failure(), Some(PositionError::OutOfRange { offset: Offset(99) }));
}

#[test]
fn an_error_of_leadership_wants_metadata_and_waits_for_it() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    assert!(bench.failed(ticket, ErrorCode::NotLeaderOrFollower));
    assert_eq!(bench.ask(), None, "the same leader would say the same");
    bench.leader = leader(2, 5);
    assert!(bench.ask().is_some(), "a newer leader is asked at once");
}

#[test]
fn a_record_that_is_not_available_yet_is_asked_for_again() {
    let mut bench = reading();
    let ticket = bench.asked(Question::Records(at(10, Some(4))));
    assert!(!bench.failed(ticket, ErrorCode::OffsetNotAvailable));
    bench.now = bench.now.plus(100);
    bench.asked(Question::Records(at(10, Some(4))));
}

#[test]
fn an_answer_from_before_a_seek_moves_nothing() {
    let mut bench = reading();
    let old = bench.asked(Question::Records(at(10, Some(4))));
    bench.positions.seek(&partition(0), at(3, None));
    assert!(!bench.positions.is_current(&partition(0), old));
    assert!(!bench.took(old, at(11, Some(4))));
    assert!(!bench.failed(old, ErrorCode::OffsetOutOfRange));
    assert_eq!(bench.positions.position(&partition(0)), Some(at(3, None)));
}

#[test]
fn a_partition_that_stays_assigned_keeps_its_position() {
    let mut bench = reading();
    bench.positions.assign([partition(0), partition(1)]);
    assert_eq!(bench.positions.position(&partition(0)), Some(at(10, Some(4))));
    bench.positions.assign([partition(1)]);
    assert_eq!(bench.positions.position(&partition(0)), None);
}

#[test]
fn a_seek_to_a_known_position_is_validated() {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    bench.positions.seek(&partition(0), at(10, Some(2)));
    bench.asked(Question::EpochEnd(LeaderEpoch(2)));
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Answer(u8),
    Fail(ErrorCode),
    NewLeader,
    Later,
}

proptest! {
    /// Whatever leaders answer, a position that was never sought only goes forward, or to the log's beginning.
    #[test]
    fn a_position_never_goes_back_but_by_the_policy(happenings in prop::collection::vec(prop_oneof![
        4 => (1u8..5).prop_map(Happening::Answer),
        1 => Just(Happening::Fail(ErrorCode::OffsetOutOfRange)),
        1 => Just(Happening::Fail(ErrorCode::NotLeaderOrFollower)),
        1 => Just(Happening::Fail(ErrorCode::OffsetNotAvailable)),
        1 => Just(Happening::NewLeader),
        2 => Just(Happening::Later),
    ], 1..60)) {
        let mut bench = reading();
        // The log's beginning, moved past the position by retention when a fetch is out of range.
        let mut log_start = 0i64;
        let mut highest = 10i64;
        for happening in happenings {
            match happening {
                Happening::NewLeader => bench.leader.leader_epoch = bench.leader.leader_epoch.next(),
                Happening::Later => bench.now = bench.now.plus(100),
                Happening::Fail(code) => {
                    if let Some((ticket, question)) = bench.ask() {
                        if let (Question::Records(position), ErrorCode::OffsetOutOfRange) = (question, code) {
                            log_start = position.offset.0 + 1;
                        }
                        bench.failed(ticket, code);
                    }
                }
                Happening::Answer(records) => match bench.ask() {
                    Some((ticket, Question::Records(position))) => {
                        prop_assert!(bench.took(ticket, at(position.offset.0 + i64::from(records), Some(4))));
                    }
                    Some((ticket, Question::EpochEnd(asked))) => {
                        bench.positions.epoch_end_told(&partition(0), ticket, Some((asked, Offset(i64::MAX))));
                    }
                    Some((ticket, Question::Offset(_))) => {
                        bench.positions.offset_told(&partition(0), ticket, Offset(log_start));
                    }
                    None => {}
                },
            }
            prop_assert_eq!(bench.failure(), None);
            if let Some(position) = bench.positions.position(&partition(0)) {
                prop_assert!(position.offset.0 >= highest, "{} is before {highest}", position.offset);
                highest = position.offset.0;
            }
        }
    }
}

#[test]
fn a_leader_is_not_asked_while_its_records_wait_to_be_taken() {
    let mut positions = Positions::new(Some(ResetTo::Earliest));
    positions.assign([partition(0), partition(1)]);
    let of_one_broker = |_: &PartitionName| Some(leader(1, 4));
    for errand in positions.plan(NOW, of_one_broker).errands {
        positions.offset_told(&errand.partition, errand.ticket, Offset(0));
    }
    let fetch = positions.plan(NOW, of_one_broker).errands;
    assert_eq!(fetch.len(), 2);
    // One partition's records came, and nothing of the other.
    positions.fetch_ended(BrokerId(1));
    assert!(positions.taken(&partition(0), fetch[0].ticket, at(5, Some(4)), false));
    positions.nothing_new(&partition(1), fetch[1].ticket);
    assert!(positions.plan(NOW, of_one_broker).errands.is_empty());
    // Once all are taken, both are asked about together.
    assert!(positions.taken(&partition(0), fetch[0].ticket, at(10, Some(4)), true));
    assert_eq!(positions.plan(NOW, of_one_broker).errands.len(), 2);
}

#[test]
fn a_member_begins_where_its_group_has_committed() {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    bench.positions.assign_committed([partition(1)]);
    assert_eq!(bench.ask(), None, "no leader is asked before the coordinator");
    let (asked, _) = bench.positions.plan_committed(NOW);
    let ticket = asked[0].1;
    assert!(bench.positions.plan_committed(NOW).0.is_empty(), "it is asked once at a time");
    bench.positions.failed(&partition(1), ticket, None, NOW, 50);
    assert_eq!(bench.positions.plan_committed(NOW), (Vec::new(), Some(NOW.plus(50))));
    assert_eq!(bench.positions.plan_committed(NOW.plus(50)).0, asked);
    bench.positions.committed_told(&partition(1), ticket, Some(at(7, None)));
    assert_eq!(bench.ask().map(|(_, question)| question), Some(Question::Records(at(7, None))));
}

#[test]
fn a_member_begins_by_the_policy_where_nothing_is_committed() {
    for (reset, question) in [(Some(ResetTo::Latest), Some(Question::Offset(ResetTo::Latest))), (None, None)] {
        let mut bench = Bench::new(reset);
        bench.positions.assign_committed([partition(1)]);
        let (asked, _) = bench.positions.plan_committed(NOW);
        bench.positions.committed_told(&partition(1), asked[0].1, None);
        assert_eq!(bench.ask().map(|(_, question)| question), question);
        let failure = reset.is_none().then(|| (partition(1), PositionError::NoPosition));
        assert_eq!(bench.positions.next_failure(), failure);
    }
}

#[test]
fn a_seek_goes_before_what_is_committed() {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    bench.positions.assign_committed([partition(1)]);
    let (asked, _) = bench.positions.plan_committed(NOW);
    assert!(bench.positions.seek(&partition(1), at(3, None)));
    bench.positions.committed_told(&partition(1), asked[0].1, Some(at(7, None)));
    assert_eq!(bench.positions.position(&partition(1)), Some(at(3, None)));
}

#[test]
fn a_paused_partition_keeps_its_position_and_is_not_read() {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    bench.positions.seek(&partition(0), at(3, None));
    let (ticket, _) = bench.ask().expect("it is read");
    assert!(bench.positions.pause(&partition(0)));
    assert!(!bench.positions.is_current(&partition(0), ticket), "what arrives now is not handed out");
    bench.positions.fetch_ended(BrokerId(1));
    assert_eq!(bench.ask(), None);
    bench.positions.seek(&partition(0), at(5, None));
    assert_eq!(bench.ask(), None, "a seek does not resume");
    assert_eq!(bench.positions.paused().collect::<Vec<_>>(), [&partition(0)]);
    assert!(bench.positions.resume(&partition(0)));
    assert_eq!(bench.ask().map(|(_, question)| question), Some(Question::Records(at(5, None))));
}

#[test]
fn a_duration_longer_than_any_silence_ends_behind_the_last_record() {
    let reset = ResetTo::ByDuration(Duration::from_secs(60));
    let mut bench = Bench::new(Some(reset));
    let (ticket, question) = bench.ask().expect("it begins");
    assert_eq!(question, Question::Offset(reset));
    bench.positions.nothing_so_late(&partition(0), ticket);
    assert_eq!(bench.ask().map(|(_, question)| question), Some(Question::Offset(ResetTo::Latest)));
}

#[test]
fn a_leader_of_an_older_epoch_than_the_position_is_not_asked() {
    let mut bench = Bench::new(Some(ResetTo::Earliest));
    bench.positions.seek(&partition(0), at(9, Some(5)));
    let behind = leader(1, 4);
    let plan = bench.positions.plan(NOW, |_| Some(behind));
    assert!(plan.errands.is_empty() && plan.wants_leader);
    bench.leader = leader(2, 5);
    assert_eq!(bench.ask().map(|(_, question)| question), Some(Question::EpochEnd(LeaderEpoch(5))));
}
