use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn limits() -> ProduceLimits {
    ProduceLimits {
        max_message_bytes: 1 << 20,
        produce_version: 9,
        keys_required: false,
        timestamps: TimestampRule::LogAppendTime,
    }
}

fn batch_of(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(WallMillis(1_000), Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.finish(ProducerId(7), ProducerEpoch(1), Sequence(10)).to_vec()
}

/// Changes the header and sums the batch again, so that only the change itself is wrong.
fn changed(mut batch: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&batch).unwrap();
    change(&mut header);
    header.write(&mut batch);
    header.crc = crc32c(&batch[ATTRIBUTES_AT..]);
    header.write(&mut batch);
    batch
}

fn refusal(batch: &[u8], limits: &ProduceLimits) -> ErrorCode {
    validate_produced(batch, limits).unwrap_err().error_code()
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_sound_batch_is_accepted_with_its_fields() {
    let batch = batch_of(&["a", "b", "c"]);
    let header = validate_produced(&batch, &limits()).unwrap();
    assert_eq!(header.size(), batch.len());
    assert_eq!(header.record_count, 3);
    assert_eq!(header.last_offset(), Offset(2));
    assert_eq!(header.last_sequence(), Sequence(12));
    assert_eq!(header.producer_id, ProducerId(7));
    assert!(!header.is_control() && !header.is_transactional());
}

#[test]
fn each_fault_of_a_produced_batch_has_kafkas_error_code() {
    let good = || batch_of(&["a", "b"]);
    let limits = limits();
    let case = |batch: Vec<u8>, code: ErrorCode| assert_eq!(refusal(&batch, &limits), code);

    case(Vec::new(), ErrorCode::InvalidRecord);
    case(good()[..60].to_vec(), ErrorCode::InvalidRecord);
    case(good()[..good().len() - 1].to_vec(), ErrorCode::InvalidRecord);
    case([good(), good()].concat(), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.magic = 1), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.magic = 3), ErrorCode::CorruptMessage);
    case(changed(good(), |header| header.batch_length = 48), ErrorCode::CorruptMessage);
    case(changed(good(), |header| header.batch_length = -1), ErrorCode::CorruptMessage);
    case(changed(good(), |header| header.base_offset = Offset(5)), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.attributes |= CONTROL_BIT), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.attributes |= LOG_APPEND_TIME_BIT), ErrorCode::InvalidTimestamp);
    case(changed(good(), |header| header.attributes |= 5), ErrorCode::UnsupportedCompressionType);
    case(changed(good(), |header| header.record_count = 1), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.last_offset_delta = -1), ErrorCode::InvalidRecord);
    case(changed(good(), |header| header.base_sequence = Sequence(-1)), ErrorCode::InvalidRecord);
    let billions = |header: &mut BatchHeader| {
        header.record_count = i32::MAX;
        header.last_offset_delta = i32::MAX - 1;
    };
    case(changed(good(), billions), ErrorCode::InvalidRecord);

    let mut flipped = good();
    *flipped.last_mut().unwrap() ^= 1;
    case(flipped, ErrorCode::CorruptMessage);
}

#[test]
fn a_batch_above_the_limit_is_too_large() {
    let batch = batch_of(&["a"]);
    let small = ProduceLimits { max_message_bytes: batch.len() - 1, ..limits() };
    assert_eq!(refusal(&batch, &small), ErrorCode::MessageTooLarge);
    let exact = ProduceLimits { max_message_bytes: batch.len(), ..limits() };
    assert!(validate_produced(&batch, &exact).is_ok());
}

#[test]
fn zstd_needs_produce_version_7() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(WallMillis(0), None, Some(b"v"), &[]);
    let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
    let old = ProduceLimits { produce_version: 6, ..limits() };
    assert_eq!(refusal(&batch, &old), ErrorCode::UnsupportedCompressionType);
    let new = ProduceLimits { produce_version: 7, ..limits() };
    assert!(validate_produced(&batch, &new).is_ok());
}

#[test]
fn a_compacted_topic_wants_keys() {
    let compacted = ProduceLimits { keys_required: true, ..limits() };
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        builder.push(WallMillis(0), Some(b"k"), Some(b"v"), &[]);
        let keyed = builder.clone().finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
        assert!(validate_produced(&keyed, &compacted).is_ok(), "{codec:?}");
        builder.push(WallMillis(0), None, Some(b"v"), &[]);
        let keyless = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
        assert_eq!(validate_produced(&keyless, &compacted), Err(BatchError::NoKey { index: 1 }), "{codec:?}");
    }
}

#[test]
fn timestamps_outside_the_topics_bounds_are_refused() {
    let batch = batch_of(&["a"]);
    let at = |now: i64, before_ms_max: i64, after_ms_max: i64| {
        let timestamps = TimestampRule::CreateTime { now: WallMillis(now), before_ms_max, after_ms_max };
        validate_produced(&batch, &ProduceLimits { timestamps, ..limits() }).map_err(|error| error.error_code())
    };
    assert!(at(1_000, 0, 0).is_ok());
    assert!(at(999, 0, 1).is_ok());
    assert_eq!(at(999, 0, 0).unwrap_err(), ErrorCode::InvalidTimestamp);
    assert_eq!(at(1_001, 0, 0).unwrap_err(), ErrorCode::InvalidTimestamp);
    assert!(at(i64::MAX, i64::MAX, 0).is_ok());
    assert!(at(i64::MIN, 0, i64::MAX).is_err());
}

#[test]
fn patching_a_place_in_the_log_keeps_the_checksum() {
    let mut batch = batch_of(&["a", "b"]);
    patch(&mut batch, Offset(40), LeaderEpoch(3));
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.base_offset, header.last_offset()), (Offset(40), Offset(41)));
    assert_eq!(header.leader_epoch, LeaderEpoch(3));
    assert_eq!(check_crc(&header, &batch), Ok(()));
}

#[test]
fn log_append_time_reaches_every_record() {
    let mut batch = batch_of(&["a", "b"]);
    patch_log_append_time(&mut batch, WallMillis(77));
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(check_crc(&header, &batch), Ok(()));
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    let stamps: Vec<_> = records(&batch, 1 << 20).unwrap().iter().map(|record| record.timestamp).collect();
    assert_eq!(stamps, [WallMillis(77), WallMillis(77)]);
}

#[test]
fn a_follower_accepts_batches_without_a_gap() {
    let mut bytes = Vec::new();
    for base in [10, 12, 14] {
        let mut batch = batch_of(&["a", "b"]);
        patch(&mut batch, Offset(base), LeaderEpoch(1));
        bytes.extend(batch);
    }
    let headers = validate_replicated(&bytes, Offset(10)).unwrap();
    assert_eq!(headers.iter().map(|header| header.size()).sum::<usize>(), bytes.len());

    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(validate_replicated(cut, Offset(10)).unwrap().len(), 2);

    let wrong = validate_replicated(&bytes, Offset(9));
    assert_eq!(wrong, Err(BatchError::OutOfOrderOffset { expected: Offset(9), got: Offset(10) }));
    let third = bytes.len() / 3;
    let gap = [&bytes[..third], &bytes[2 * third..]].concat();
    assert_eq!(validate_replicated(&gap, Offset(10)).unwrap_err().error_code(), ErrorCode::CorruptMessage);

    bytes[100] ^= 0x40;
    assert!(validate_replicated(&bytes, Offset(10)).is_err());
}

#[test]
fn iteration_ends_before_a_cut_batch_and_at_a_broken_one() {
    let batch = batch_of(&["a"]);
    let two = [batch.clone(), batch.clone()].concat();
    assert_eq!(batches(&two).filter(Result::is_ok).count(), 2);
    assert_eq!(batches(&two[..two.len() - 3]).count(), 1);
    let mut broken = two;
    broken[batch.len() + MAGIC_AT] = 9;
    let found: Vec<_> = batches(&broken).map(|item| item.map(|_| ())).collect();
    assert_eq!(found, [Ok(()), Err(BatchError::BadMagic { magic: 9 })]);
}

#[test]
fn an_announced_count_reserves_nothing() {
    let billions = changed(batch_of(&["a"]), |header| header.record_count = i32::MAX);
    assert!(matches!(records(&billions, usize::MAX), Err(BatchError::BadCount { .. })));
    let negative = changed(batch_of(&["a"]), |header| header.record_count = -1);
    assert!(matches!(records(&negative, usize::MAX), Err(BatchError::BadCount { .. })));
    let more = changed(batch_of(&["some longer value"]), |header| header.record_count = 2);
    assert!(matches!(records(&more, usize::MAX), Err(BatchError::BadRecord { index: 1, .. })));
}

#[test]
fn the_budget_bounds_what_records_hold() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    for _ in 0..10_000 {
        builder.push(WallMillis(0), None, None, &[]);
    }
    let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
    assert!(batch.len() < 30_000);
    assert_eq!(records(&batch, 100_000), Err(BatchError::OverBudget { budget: 100_000 }));
    assert_eq!(records(&batch, 10 << 20).unwrap().len(), 10_000);
}

#[test]
fn a_batch_compacted_to_its_header_has_no_records() {
    for code in 0..5 {
        let empty = changed(batch_of(&["a"])[..HEADER_BYTES].to_vec(), |header| {
            header.batch_length = (HEADER_BYTES - LOG_OVERHEAD) as i32;
            header.attributes = code;
            header.record_count = 0;
        });
        assert_eq!(records(&empty, 1_000), Ok(Vec::new()));
    }
}

prop_compose! {
    fn any_header()(key in "[a-z]{0,5}", value in proptest::option::of(any::<Vec<u8>>())) -> Header {
        Header { key, value: value.map(Bytes::from) }
    }
}

type Pushed = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>);

fn any_record() -> impl Strategy<Value = Pushed> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    (any::<i64>(), bytes(), bytes(), proptest::collection::vec(any_header(), 0..3))
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(pushed in proptest::collection::vec(any_record(), 1..20), code in 0u8..5) {
        let mut builder = BatchBuilder::new(Compression::from_code(code).unwrap());
        for (timestamp, key, value, headers) in &pushed {
            let before = builder.size_estimate();
            builder.push(WallMillis(*timestamp), key.as_deref(), value.as_deref(), headers);
            let bound = BatchBuilder::record_bytes_max(key.as_deref(), value.as_deref(), headers);
            prop_assert!(builder.size_estimate() - before <= bound);
        }
        let batch = builder.finish(ProducerId(5), ProducerEpoch(0), Sequence(i32::MAX));
        let header = validate_produced(&batch, &limits()).unwrap();
        prop_assert_eq!(header.record_count as usize, pushed.len());
        let read = records(&batch, 10 << 20).unwrap();
        for (at, (record, (timestamp, key, value, headers))) in read.iter().zip(&pushed).enumerate() {
            prop_assert_eq!(record.offset, Offset(at as i64));
            prop_assert_eq!(record.timestamp, WallMillis(*timestamp));
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            prop_assert_eq!(&record.headers, headers);
        }
    }

    #[test]
    fn a_header_is_written_as_it_was_read(bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES)) {
        let mut bytes = bytes;
        bytes[MAGIC_AT] = 2;
        bytes[8..12].copy_from_slice(&100i32.to_be_bytes());
        let header = BatchHeader::parse(&bytes).unwrap();
        let mut written = vec![0; HEADER_BYTES];
        header.write(&mut written);
        prop_assert_eq!(written, bytes);
    }

    #[test]
    fn any_flipped_bit_after_the_checksum_is_noticed(at in 21usize..80, bit in 0u8..8) {
        let mut batch = batch_of(&["some value", "another"]);
        batch[at] ^= 1 << bit;
        prop_assert!(validate_produced(&batch, &limits()).is_err());
    }

    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
        let mut bytes = bytes;
        if good && bytes.len() > MAGIC_AT {
            bytes[MAGIC_AT] = 2;
        }
        let _ = validate_produced(&bytes, &limits());
        let _ = validate_replicated(&bytes, Offset(0));
        let _ = records(&bytes, 100_000);
        let _ = batches(&bytes).count();
    }
}
