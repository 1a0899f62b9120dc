//! Batches that Kafka's own Java classes wrote (kafka-clients 4.3.1), one of each codec, hold the records that were put in,
//! and our own builder puts the same records into the same bytes where no codec is between.
#![allow(clippy::disallowed_methods, reason = "reads fixtures from the disk, outside any simulation")]

use protocol::compression::Compression;
use protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, WallMillis};
use protocol::record_batch::{
    BatchBuilder, BatchHeader, Header, ProduceLimits, TimestampRule, patch, records, validate_produced,
};
use std::fs;
use std::path::Path;

const BUDGET: usize = 16 << 20;

/// One record of the thousand that were put in.
struct Put {
    timestamp: WallMillis,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<Header>,
}

fn put(at: usize) -> Put {
    let header = |key: String, value: Option<String>| Header { key, value: value.map(Into::into) };
    let headers = if at.is_multiple_of(5) {
        let odd = (!at.is_multiple_of(2)).then(|| format!("x{at}"));
        vec![header(format!("h{at}"), odd), header("trace".to_owned(), Some("t".to_owned()))]
    } else {
        Vec::new()
    };
    Put {
        timestamp: WallMillis(1_700_000_000_000 + 3 * at as i64),
        key: (!at.is_multiple_of(7)).then(|| format!("key-{at}")),
        value: (!at.is_multiple_of(11)).then(|| format!("value-{at}{}", "-".repeat(at % 90))),
        headers,
    }
}

fn written_by_java(codec: Compression) -> Vec<u8> {
    let name = format!("tests/batches/{}.batch.bin", codec.name());
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a batch of each codec")
}

fn written_by_us(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in (0..1_000).map(put) {
        let value = record.value.as_deref().map(str::as_bytes);
        builder.push(record.timestamp, record.key.as_deref().map(str::as_bytes), value, &record.headers);
    }
    let mut batch = builder.finish(ProducerId(9_000), ProducerEpoch(3), Sequence(17)).to_vec();
    patch(&mut batch, Offset(0), LeaderEpoch(5));
    batch
}

#[test]
fn records_that_java_wrote_are_read_with_every_codec() {
    for codec in Compression::ALL {
        let batch = written_by_java(codec);
        let limits = ProduceLimits {
            max_message_bytes: batch.len(),
            produce_version: 13,
            keys_required: false,
            timestamps: TimestampRule::LogAppendTime,
        };
        let header = validate_produced(&batch, &limits).unwrap_or_else(|error| panic!("{codec:?}: {error}"));
        assert_eq!(header.compression(), Some(codec));
        assert_eq!((header.producer_id, header.last_sequence()), (ProducerId(9_000), Sequence(1_016)));
        let read = records(&batch, BUDGET).unwrap_or_else(|error| panic!("{codec:?}: {error}"));
        assert_eq!(read.len(), 1_000);
        for (at, record) in read.iter().enumerate() {
            let put = put(at);
            assert_eq!(record.offset, Offset(at as i64));
            assert_eq!(record.timestamp, put.timestamp);
            assert_eq!(record.key.as_deref(), put.key.as_deref().map(str::as_bytes));
            assert_eq!(record.value.as_deref(), put.value.as_deref().map(str::as_bytes));
            assert_eq!(record.headers, put.headers);
        }
    }
}

#[test]
fn our_builder_writes_what_java_writes() {
    assert!(written_by_us(Compression::None) == written_by_java(Compression::None), "byte for byte");
    for codec in Compression::ALL {
        let (ours, theirs) = (written_by_us(codec), written_by_java(codec));
        let header = |batch: &[u8]| {
            let parsed = BatchHeader::parse(batch).expect("a header");
            // Codecs compress as well as they can, and differ in it.
            BatchHeader { crc: 0, batch_length: 0, ..parsed }
        };
        assert_eq!(header(&ours), header(&theirs), "{codec:?}");
        assert_eq!(records(&ours, BUDGET), records(&theirs, BUDGET), "{codec:?}");
    }
}
