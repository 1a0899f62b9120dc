use super::*;
use proptest::prelude::*;
use protocol::{
    ids::LeaderEpoch,
    record_batch::{BatchBuilder, BatchHeader, patch},
};

const DAY_MS: i64 = 86_400_000;

/// The header of a batch of `count` records at `offset`.
fn batch(producer: (i64, i16), sequence: i32, count: i32, offset: i64) -> BatchHeader {
    let mut builder = BatchBuilder::new(protocol::compression::Compression::None);
    for _ in 0..count {
        builder.push(WallMillis(1000), None, Some(b"v"), &[]);
    }
    let mut bytes = builder.finish(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(sequence)).to_vec();
    patch(&mut bytes, Offset(offset), LeaderEpoch(0));
    BatchHeader::parse(&bytes).expect("just built")
}

fn transactional(mut header: BatchHeader) -> BatchHeader {
    header.attributes |= 0x10;
    header
}

fn marker(producer: (i64, i16), offset: i64) -> BatchHeader {
    let mut header = transactional(batch(producer, -1, 1, offset));
    header.attributes |= 0x20;
    header
}

const COMMITTED: Option<EndTransactionMarker> =
    Some(EndTransactionMarker { committed: true, coordinator_epoch: CoordinatorEpoch(3) });

/// A state after these batches of producer 1, epoch 0, two records each.
fn after(batches: i32) -> ProducerState {
    let mut state = ProducerState::new(Offset(0));
    for at in 0..batches {
        let header = batch((1, 0), at * 2, 2, i64::from(at) * 2);
        assert_eq!(state.check(&[header]), Ok(Verdict::Append));
        state.apply(&header, None);
    }
    state
}

#[test]
fn a_retry_of_any_of_the_last_five_is_answered_with_its_offsets() {
    let state = after(7);
    for at in 2..7 {
        let Ok(Verdict::Duplicate(known)) = state.check(&[batch((1, 0), at * 2, 2, 0)]) else { panic!("batch {at}") };
        assert_eq!(
            (known.first_offset(), known.last_offset),
            (Offset(i64::from(at) * 2), Offset(i64::from(at) * 2 + 1))
        );
    }
    let forgotten = state.check(&[batch((1, 0), 2, 2, 0)]);
    assert_eq!(
        forgotten,
        Err(ProducerError::OutOfOrderSequence { producer_id: ProducerId(1), last: Sequence(13), got: Sequence(2) })
    );
}

#[test]
fn a_retry_with_other_bounds_is_no_retry() {
    let state = after(3);
    assert!(state.check(&[batch((1, 0), 4, 1, 0)]).is_err());
    assert!(state.check(&[batch((1, 0), 4, 3, 0)]).is_err());
}

#[test]
fn a_gap_is_refused_and_the_next_sequence_is_taken() {
    let state = after(3);
    assert!(state.check(&[batch((1, 0), 7, 1, 0)]).is_err());
    assert_eq!(state.check(&[batch((1, 0), 6, 1, 0)]), Ok(Verdict::Append));
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    assert_eq!(ProducerState::new(Offset(0)).check(&[batch((1, 4), 77, 1, 0)]), Ok(Verdict::Append));
}

#[test]
fn a_new_epoch_begins_at_zero_and_an_old_one_is_fenced() {
    let mut state = after(3);
    assert!(matches!(state.check(&[batch((1, 1), 6, 1, 0)]), Err(ProducerError::OutOfOrderSequence { .. })));
    let first = batch((1, 1), 0, 1, 6);
    assert_eq!(state.check(&[first]), Ok(Verdict::Append));
    state.apply(&first, None);
    assert_eq!(
        state.check(&[batch((1, 0), 6, 1, 0)]),
        Err(ProducerError::InvalidProducerEpoch {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            current: ProducerEpoch(1)
        })
    );
    // A retry from the old epoch is not recognised either: the window is of the new epoch only.
    assert!(matches!(state.check(&[batch((1, 0), 4, 2, 0)]), Err(ProducerError::InvalidProducerEpoch { .. })));
}

#[test]
fn sequences_wrap_past_the_largest() {
    let mut state = ProducerState::new(Offset(0));
    let last = batch((1, 0), i32::MAX - 1, 2, 0);
    assert_eq!(last.last_sequence(), Sequence(i32::MAX));
    state.apply(&last, None);
    assert_eq!(state.check(&[batch((1, 0), 0, 1, 0)]), Ok(Verdict::Append));
    let across = batch((2, 0), i32::MAX, 3, 2);
    state.apply(&across, None);
    assert_eq!(across.last_sequence(), Sequence(1));
    assert!(matches!(state.check(&[across]), Ok(Verdict::Duplicate(_))), "a batch across the wrap is recognised");
    assert_eq!(state.check(&[batch((2, 0), 2, 1, 0)]), Ok(Verdict::Append));
}

#[test]
fn batches_of_one_append_are_judged_one_after_another() {
    let state = ProducerState::new(Offset(0));
    let known = after(1);
    assert_eq!(known.check(&[batch((1, 0), 2, 2, 0), batch((1, 0), 4, 1, 0)]), Ok(Verdict::Append));
    assert!(known.check(&[batch((1, 0), 2, 2, 0), batch((1, 0), 5, 1, 0)]).is_err());
    assert_eq!(state.check(&[batch((-1, -1), -1, 1, 0), batch((-1, -1), -1, 1, 0)]), Ok(Verdict::Append));
}

#[test]
fn a_transaction_holds_the_last_stable_offset_until_its_marker_is_replicated() {
    let mut state = ProducerState::new(Offset(0));
    state.apply(&batch((-1, -1), -1, 5, 0), None);
    state.apply(&transactional(batch((1, 0), 0, 2, 5)), None);
    state.apply(&batch((-1, -1), -1, 3, 7), None);
    assert_eq!(state.last_stable_offset(Offset(10)), Offset(5));
    assert_eq!(state.last_stable_offset(Offset(3)), Offset(3));
    assert_eq!(
        state.check(&[batch((1, 0), 2, 1, 0)]),
        Err(ProducerError::InvalidTransactionState { producer_id: ProducerId(1) })
    );
    state.apply(&marker((1, 0), 10), COMMITTED);
    assert_eq!(state.last_stable_offset(Offset(10)), Offset(5), "the marker at 10 is not below the high watermark");
    assert_eq!(state.last_stable_offset(Offset(11)), Offset(11));
    state.forget_transactions_below(Offset(11));
    assert_eq!(state.last_stable_offset(Offset(11)), Offset(11));
    assert_eq!(state.get(ProducerId(1)).map(|entry| entry.coordinator_epoch), Some(CoordinatorEpoch(3)));
}

#[test]
fn a_silent_producer_is_forgotten_but_not_in_a_transaction() {
    let mut state = after(1);
    state.apply(&transactional(batch((2, 0), 0, 1, 2)), None);
    state.expire(WallMillis(1000 + DAY_MS - 1), DAY_MS);
    assert_eq!(state.iter().count(), 2);
    state.expire(WallMillis(1000 + DAY_MS), DAY_MS);
    assert_eq!(state.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
}

/// `t1-0/00000000000000000028.snapshot` and `t1-1/00000000000000000002.snapshot` of a Kafka 4.1.0 data directory.
const KAFKAS: [&str; 2] = [
    "000102a5d966000000010000000000000001000effffffffffffffffffffffff00000000000001a1fd5be2a700000000ffffffffffffffff",
    "0001eac07bbc0000000100000000000000000000000000010000000000000001000000010000 01a1fd5afc80ffffffffffffffffffffffff",
];

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn kafkas_own_snapshots_are_read() {
    let state =
        ProducerState::decode_snapshot(&unhex(KAFKAS[0]), Offset(28), WallMillis(0), DAY_MS).expect("it is Kafka's");
    let entry = state.get(ProducerId(1)).expect("producer 1");
    assert_eq!((entry.producer_epoch, entry.coordinator_epoch), (ProducerEpoch(14), CoordinatorEpoch(0)));
    assert_eq!((entry.last_batch(), entry.transaction_first_offset), (None, None));
    let state =
        ProducerState::decode_snapshot(&unhex(KAFKAS[1]), Offset(2), WallMillis(0), DAY_MS).expect("it is Kafka's");
    let entry = state.get(ProducerId(0)).expect("producer 0");
    let last = entry.last_batch().expect("one batch");
    assert_eq!((last.first_sequence(), last.last_sequence), (Sequence(0), Sequence(1)));
    assert_eq!((last.first_offset(), last.last_offset), (Offset(0), Offset(1)));
}

#[test]
fn an_empty_snapshot_has_kafkas_ten_bytes() {
    assert_eq!(ProducerState::new(Offset(5)).encode_snapshot().len(), 10);
}

#[test]
fn a_broken_snapshot_is_refused() {
    let whole = after(3).encode_snapshot();
    for cut in 0..whole.len() {
        assert!(ProducerState::decode_snapshot(&whole[..cut], Offset(6), WallMillis(0), DAY_MS).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        assert!(ProducerState::decode_snapshot(&flipped, Offset(6), WallMillis(0), DAY_MS).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn a_snapshot_holds_everything(steps in proptest::collection::vec((0..4i64, 0..3u8, 1..4i32), 0..60), cut in 0..60usize) {
        let mut state = ProducerState::new(Offset(0));
        let mut sequences: BTreeMap<i64, (i16, i32)> = BTreeMap::new();
        let mut headers = Vec::new();
        let mut offset = 0;
        for (producer, kind, count) in steps {
            let (epoch, sequence) = sequences.entry(producer).or_default();
            if kind == 2 {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            let mut header = batch((producer, *epoch), *sequence, count, offset);
            // A producer that begins a transaction stays in it: only markers end one.
            if producer == 3 {
                header = transactional(header);
            }
            *sequence += count;
            offset += i64::from(count);
            prop_assert_eq!(state.check(&[header]), Ok(Verdict::Append));
            state.apply(&header, None);
            headers.push(header);
        }
        let decoded = ProducerState::decode_snapshot(&state.encode_snapshot(), Offset(offset), WallMillis(0), DAY_MS);
        prop_assert_eq!(decoded, Ok(state.clone()));

        // A snapshot in the middle and a replay of what follows give the same.
        let mut replayed = ProducerState::new(Offset(0));
        let cut = cut.min(headers.len());
        headers[..cut].iter().for_each(|header| replayed.apply(header, None));
        let end = replayed.end_offset();
        let mut replayed =
            ProducerState::decode_snapshot(&replayed.encode_snapshot(), end, WallMillis(0), DAY_MS).expect("just encoded");
        headers[cut..].iter().for_each(|header| replayed.apply(header, None));
        prop_assert_eq!(replayed, state);
    }
}
