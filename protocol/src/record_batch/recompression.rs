//! Pure. A batch that a topic keeps in another codec than its producer chose (`compression.type`, KIP-390).
//!
//! The records themselves stay as they were encoded: offsets and timestamps in them are relative to the header's, which is
//! kept but for length, codec and CRC. Source: `LogValidator.validateMessagesAndAssignOffsetsCompressed`.

use super::records::{RecordViews, payload};
use super::validation::decompression_budget;
use super::{ATTRIBUTES_AT, BatchError, BatchHeader, COMPRESSION_BITS, HEADER_BYTES, LOG_OVERHEAD, crc32c};
use crate::compression::{Compression, compress_at};
use bytes::{BufMut, BytesMut};

/// The one sound batch in `batch` in another codec, at the codec's usual level unless another is named. Every record is
/// looked at: what a broker unpacks it answers for.
///
/// # Errors
/// `TooLarge` where the result is larger than `max_message_bytes`; else what is wrong with the records.
pub fn recompress(
    batch: &[u8],
    codec: Compression,
    level: Option<i32>,
    max_message_bytes: usize,
) -> Result<BytesMut, BatchError> {
    let mut header = BatchHeader::parse(batch)?;
    let records = payload(&header, batch, decompression_budget(max_message_bytes))?;
    for record in RecordViews::new(&header, &records) {
        record?;
    }
    let packed = compress_at(codec, level, &records);
    let size = HEADER_BYTES + packed.len();
    if size > max_message_bytes {
        return Err(BatchError::TooLarge { size, limit: max_message_bytes });
    }
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_bytes(0, HEADER_BYTES);
    bytes.put_slice(&packed);
    header.batch_length = (size - LOG_OVERHEAD) as i32;
    header.attributes = (header.attributes & !COMPRESSION_BITS) | i16::from(codec.code());
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    header.write(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, ProduceLimits, TimestampRule, check_crc, records, validate_produced};
    use super::*;
    use crate::ids::{ProducerEpoch, ProducerId, Sequence, WallMillis};

    const LARGE: usize = 1 << 20;

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for at in 0..50 {
            builder.push(WallMillis(1_000 + at), Some(b"key"), Some("value ".repeat(20).as_bytes()), &[]);
        }
        builder.finish(ProducerId(7), ProducerEpoch(1), Sequence(3)).to_vec()
    }

    #[test]
    fn a_batch_is_the_same_in_every_codec_and_level() {
        for from in Compression::ALL {
            let original = batch(from);
            for (to, level) in Compression::ALL.into_iter().flat_map(|to| [(to, None), (to, Some(1))]) {
                let kept = recompress(&original, to, level, LARGE).expect("it is sound");
                let header = BatchHeader::parse(&kept).expect("it has a header");
                assert_eq!((header.compression(), header.size()), (Some(to), kept.len()));
                check_crc(&header, &kept).expect("its CRC is right");
                assert_eq!(records(&kept, LARGE), records(&original, LARGE));
                let before = BatchHeader::parse(&original).expect("it has a header");
                let same = BatchHeader { crc: 0, batch_length: 0, attributes: 0, ..header };
                assert_eq!(same, BatchHeader { crc: 0, batch_length: 0, attributes: 0, ..before });
                let timestamps = TimestampRule::LogAppendTime;
                let limits =
                    ProduceLimits { max_message_bytes: LARGE, produce_version: 9, keys_required: true, timestamps };
                assert_eq!(validate_produced(&kept, &limits), Ok(header));
            }
        }
    }

    #[test]
    fn what_does_not_fit_uncompressed_is_refused() {
        let packed = batch(Compression::Zstd);
        let refused = recompress(&packed, Compression::None, None, packed.len() + 100);
        assert!(matches!(refused, Err(BatchError::TooLarge { .. })), "{refused:?}");
        let refused = recompress(&packed, Compression::Gzip, None, 1);
        assert_eq!(refused, Err(BatchError::OverBudget { budget: 64 }));
    }

    #[test]
    fn records_that_are_none_are_refused() {
        let mut broken = batch(Compression::None);
        broken[HEADER_BYTES] ^= 0x55;
        assert!(recompress(&broken, Compression::Lz4, None, LARGE).is_err());
        let mut short = BatchHeader::parse(&batch(Compression::None)).expect("it has a header");
        short.record_count -= 1;
        let mut bytes = batch(Compression::None);
        short.write(&mut bytes);
        assert!(recompress(&bytes, Compression::Lz4, None, LARGE).is_err());
    }
}
