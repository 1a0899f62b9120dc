//! Broken bytes: every golden frame and some batches, cut and mutated, through everything that reads what others sent. Nothing
//! may panic, and nothing may allocate by what is announced instead of by what arrived.
//!
//! A fixed number of cases from a fixed seed: a failure prints its case and comes back on every run. `fuzz/` at the root holds
//! the open-ended version of the same.
#![allow(clippy::disallowed_methods, reason = "reads fixtures from the disk, outside any simulation")]

#[path = "fuzz/allocation.rs"]
mod allocation;
#[path = "golden/dispatch.rs"]
mod dispatch;
#[path = "golden/files.rs"]
mod files;
#[path = "fuzz/mutation.rs"]
mod mutation;

use allocation::allocated_by;
use bytes::BytesMut;
use dispatch::{request_again, response_again};
use files::{Direction, Golden, all};
use mutation::Mutator;
use protocol::api::Plane;
use protocol::compression::{Compression, decompress};
use protocol::frame::{FrameReader, parse_request_head};
use protocol::ids::{Offset, ProducerEpoch, ProducerId, Sequence, WallMillis};
use protocol::record_batch::{
    BatchBuilder, Header, ProduceLimits, TimestampRule, batches, records, validate_produced, validate_replicated,
};

const SEED: u64 = 0x6772_6567_6f72;
const MUTATIONS_OF_EACH_FRAME: usize = 60;
const MUTATIONS_OF_EACH_BATCH: usize = 3_000;

/// What decoding may allocate for each byte that arrived: structs are larger in memory than on the wire.
const GROWTH_MAX: usize = 128;
/// What it may allocate besides: errors, tables, codecs' windows.
const OVERHEAD: usize = 64 << 10;

fn decode(golden: &Golden, bytes: &[u8]) {
    let frame = bytes::Bytes::copy_from_slice(bytes);
    match golden.direction {
        Direction::Request => {
            for plane in [golden.plane(), Plane::Controller] {
                if let Ok(head) = parse_request_head(frame.clone(), plane) {
                    let _ = request_again(&head);
                }
            }
        }
        Direction::Response => {
            let version = if golden.is_unsupported_api_versions() { 0 } else { golden.version };
            let _ = response_again(golden.key, version, frame);
        }
    }
}

fn decode_within_bounds(golden: &Golden, bytes: &[u8], what: &str) {
    let allocated = allocated_by(|| decode(golden, bytes));
    let bound = GROWTH_MAX * bytes.len() + OVERHEAD;
    assert!(allocated <= bound, "{} {what}: {allocated} bytes for {} that arrived", golden.path, bytes.len());
}

/// Large frames are large by their records, which are not looked into here.
fn small_frames() -> Vec<Golden> {
    all().into_iter().filter(|golden| golden.bytes.len() < 10_000).collect()
}

#[test]
fn a_frame_cut_anywhere_is_refused_without_a_panic() {
    for golden in small_frames() {
        let step = golden.bytes.len() / 300 + 1;
        for length in (0..golden.bytes.len()).step_by(step) {
            decode_within_bounds(&golden, &golden.bytes[..length], "cut");
        }
    }
}

#[test]
fn a_mutated_frame_neither_panics_nor_allocates_what_it_announces() {
    let mut mutator = Mutator::new(SEED);
    for golden in small_frames() {
        for case in 0..MUTATIONS_OF_EACH_FRAME {
            let bytes = mutator.mutated(&golden.bytes);
            decode_within_bounds(&golden, &bytes, &format!("case {case}"));
        }
    }
}

#[test]
fn junk_behind_any_header_is_refused_without_a_panic() {
    let mut mutator = Mutator::new(SEED + 1);
    for golden in small_frames().iter().filter(|golden| golden.direction == Direction::Request) {
        for _ in 0..20 {
            let mut bytes = golden.bytes[..8].to_vec();
            bytes.extend_from_slice(&[255, 255, 0]);
            bytes.extend(mutator.junk(200));
            decode_within_bounds(golden, &bytes, "junk");
        }
    }
}

#[test]
fn a_stream_of_junk_yields_frames_or_an_error() {
    let mut mutator = Mutator::new(SEED + 2);
    let reader = FrameReader::new(1 << 20);
    for _ in 0..2_000 {
        let mut buffer = BytesMut::new();
        for _ in 0..4 {
            buffer.extend_from_slice(&mutator.junk(40));
            let before = buffer.len();
            let allocated = allocated_by(|| while let Ok(Some(_)) = reader.next(&mut buffer) {});
            assert!(allocated <= before + 1_024, "{allocated} for {before}");
        }
    }
}

fn good_batches() -> Vec<Vec<u8>> {
    let header = Header { key: "trace".to_owned(), value: Some(b"id".as_slice().into()) };
    Compression::ALL
        .into_iter()
        .map(|codec| {
            let mut builder = BatchBuilder::new(codec);
            for at in 0..20i64 {
                let key = (at % 3 != 0).then_some(b"key".as_slice());
                builder.push(WallMillis(at), key, Some(&[b'v'; 30]), std::slice::from_ref(&header));
            }
            builder.finish(ProducerId(1), ProducerEpoch(0), Sequence(0)).to_vec()
        })
        .collect()
}

#[test]
fn a_mutated_batch_neither_panics_nor_allocates_what_it_announces() {
    const BUDGET: usize = 1 << 20;
    let limits = ProduceLimits {
        max_message_bytes: 10_000,
        produce_version: 9,
        keys_required: true,
        timestamps: TimestampRule::CreateTime { now: WallMillis(0), before_ms_max: i64::MAX, after_ms_max: 1_000 },
    };
    let mut mutator = Mutator::new(SEED + 3);
    for batch in good_batches() {
        for case in 0..MUTATIONS_OF_EACH_BATCH {
            let mutated = mutator.mutated(&batch);
            let allocated = allocated_by(|| {
                let _ = validate_produced(&mutated, &limits);
                let _ = validate_replicated(&mutated, Offset(0));
                let _ = records(&mutated, BUDGET);
                let _ = batches(&mutated).count();
            });
            // Growing by doubling, three readers, and the window of a codec.
            assert!(allocated <= 16 * BUDGET, "case {case}: {allocated}");
        }
    }
}

#[test]
fn a_batch_whose_records_are_mutated_under_a_right_checksum_is_refused_or_decoded() {
    let mut mutator = Mutator::new(SEED + 4);
    for batch in good_batches() {
        for _ in 0..MUTATIONS_OF_EACH_BATCH {
            let mut mutated = batch[..61].to_vec();
            mutated.extend(mutator.mutated(&batch[61..]));
            let batch_length = mutated.len() as i32 - 12;
            mutated[8..12].copy_from_slice(&batch_length.to_be_bytes());
            let crc = protocol::record_batch::crc32c(&mutated[21..]);
            mutated[17..21].copy_from_slice(&crc.to_be_bytes());
            if let Ok(decoded) = records(&mutated, 1 << 20) {
                assert_eq!(decoded.len(), 20);
                assert!(decoded.is_sorted_by(|one, other| one.offset < other.offset));
            }
        }
    }
}

#[test]
fn mutated_streams_of_every_codec_stay_within_the_budget() {
    const BUDGET: usize = 100_000;
    let mut mutator = Mutator::new(SEED + 5);
    let text = b"what is compressed ".repeat(200);
    for codec in Compression::ALL {
        let packed = protocol::compression::compress(codec, &text);
        for _ in 0..MUTATIONS_OF_EACH_BATCH {
            if let Ok(out) = decompress(codec, &mutator.mutated(&packed), BUDGET) {
                assert!(out.len() <= BUDGET);
            }
        }
    }
}
