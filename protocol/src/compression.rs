//! Pure. The codecs of record batches, in Kafka's own framing of each, decompressed within a budget of bytes.
//!
//! What comes out is counted as it comes: no size that the input announces is trusted. Snappy is written and read in the
//! framing of Java's snappy (xerial), and read raw too, which other clients send. Source: Kafka's `CompressionType.java`.

use std::io::{self, Read, Write};

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip, RFC 1952.
    Gzip,
    /// Snappy, in xerial's blocks.
    Snappy,
    /// LZ4, in its frame format.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

/// Why something does not decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The codec cannot read it.
    #[error("the compressed bytes are corrupt")]
    Corrupt,
    /// What comes out is larger than the budget.
    #[error("the decompressed bytes exceed the budget")]
    OverBudget,
}

impl Compression {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of the attribute's three bits, or nothing for 5 to 7 and above.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The attribute's three bits.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of a name in `compression.type`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Compresses `bytes` at the codec's usual level.
pub fn compress(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    compress_at(codec, None, bytes)
}

/// As [`compress`], at a level where gzip and zstd have one: from 1 to 9 of gzip, any of zstd.
pub fn compress_at(codec: Compression, level: Option<i32>, bytes: &[u8]) -> Vec<u8> {
    const MEMORY: &str = "a codec that writes to memory does not fail";
    match codec {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).filter(|level| (1..=9).contains(level));
            let gzip = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut out = flate2::write::GzEncoder::new(Vec::new(), gzip);
            out.write_all(bytes).expect(MEMORY);
            out.finish().expect(MEMORY)
        }
        Compression::Snappy => xerial_compress(bytes),
        Compression::Lz4 => {
            // As Kafka's `Lz4BlockOutputStream`: independent blocks of 64 KiB, no checksums.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            out.write_all(bytes).expect(MEMORY);
            out.finish().expect(MEMORY)
        }
        Compression::Zstd => {
            zstd::stream::encode_all(bytes, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)).expect(MEMORY)
        }
    }
}

/// Decompresses `bytes` into at most `budget` bytes.
///
/// # Errors
/// `Corrupt` if the codec cannot read them, `OverBudget` as soon as more than `budget` bytes come out.
pub fn decompress(codec: Compression, bytes: &[u8], budget: usize) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Compression::None if bytes.len() > budget => Err(CompressionError::OverBudget),
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => read_within(flate2::read::MultiGzDecoder::new(bytes), budget),
        Compression::Snappy if bytes.starts_with(XERIAL_MAGIC) => xerial_decompress(bytes, budget),
        Compression::Snappy => {
            let mut out = Vec::new();
            snappy_block(bytes, &mut out, budget)?;
            Ok(out)
        }
        Compression::Lz4 => read_within(lz4_flex::frame::FrameDecoder::new(bytes), budget),
        Compression::Zstd => {
            let reader = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| CompressionError::Corrupt)?;
            read_within(reader, budget)
        }
    }
}

/// Reads to the end, but never past one byte more than the budget.
fn read_within(reader: impl Read, budget: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    let limit = (budget as u64).saturating_add(1);
    let outcome: io::Result<usize> = reader.take(limit).read_to_end(&mut out);
    if out.len() > budget {
        return Err(CompressionError::OverBudget);
    }
    match outcome {
        Ok(0) => Err(CompressionError::Corrupt),
        Ok(_) => Ok(out),
        Err(_) => Err(CompressionError::Corrupt),
    }
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\x00";
/// The magic, a version, and the oldest version that can read it; both 1.
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
/// What Java's `SnappyOutputStream` compresses at a time.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy block grows more than this: an element of three bytes copies at most 64.
const SNAPPY_GROWTH_MAX: usize = 64;

fn xerial_compress(bytes: &[u8]) -> Vec<u8> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).expect("a block of 32 KiB is not too long for snappy");
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

fn xerial_decompress(bytes: &[u8], budget: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        // Streams may follow one another, each with its header.
        if rest.starts_with(XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or(CompressionError::Corrupt)?;
            continue;
        }
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(CompressionError::Corrupt)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, tail) = tail.split_at_checked(length).ok_or(CompressionError::Corrupt)?;
        snappy_block(block, &mut out, budget)?;
        rest = tail;
    }
    Ok(out)
}

/// Decompresses one raw block onto the end of `out`, which must not grow past `budget`.
fn snappy_block(block: &[u8], out: &mut Vec<u8>, budget: usize) -> Result<(), CompressionError> {
    let announced = snap::raw::decompress_len(block).map_err(|_| CompressionError::Corrupt)?;
    if announced > block.len().saturating_mul(SNAPPY_GROWTH_MAX) {
        return Err(CompressionError::Corrupt);
    }
    let start = out.len();
    if announced > budget.saturating_sub(start) {
        return Err(CompressionError::OverBudget);
    }
    out.resize(start + announced, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]);
    written.map(|length| out.truncate(start + length)).map_err(|_| CompressionError::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn names_and_codes_lead_back() {
        for codec in Compression::ALL {
            assert_eq!(Compression::from_code(codec.code()), Some(codec));
            assert_eq!(Compression::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Compression::from_code(5), None);
        assert_eq!(Compression::from_name("brotli"), None);
    }

    #[test]
    fn a_bomb_stops_at_the_budget() {
        let zeroes = vec![0; 8 << 20];
        for codec in Compression::ALL {
            let packed = compress(codec, &zeroes);
            assert_eq!(decompress(codec, &packed, 1 << 20), Err(CompressionError::OverBudget), "{codec:?}");
            assert_eq!(decompress(codec, &packed, zeroes.len()).map(|out| out.len()), Ok(zeroes.len()), "{codec:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_empty_is_corrupt() {
        let text = b"one record, two records, three records, four".repeat(100);
        for codec in CODECS {
            let packed = compress(codec, &text);
            let cut = &packed[..packed.len() - 5];
            assert_eq!(decompress(codec, cut, 1 << 20), Err(CompressionError::Corrupt), "{codec:?}");
            assert_eq!(decompress(codec, &[], 1 << 20), Err(CompressionError::Corrupt), "{codec:?}");
        }
    }

    #[test]
    fn a_raw_snappy_block_is_read_too() {
        let text = b"librdkafka and kafka-go send these ".repeat(10);
        let packed = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        assert_eq!(decompress(Compression::Snappy, &packed, 1 << 20), Ok(text));
    }

    #[test]
    fn a_snappy_length_alone_allocates_nothing() {
        let four_gigabytes = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let refused = decompress(Compression::Snappy, &four_gigabytes, usize::MAX);
        assert_eq!(refused, Err(CompressionError::Corrupt));
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(bytes in proptest::collection::vec(any::<u8>(), 1..5_000), times in 1usize..30) {
            let bytes = bytes.repeat(times);
            for codec in Compression::ALL {
                let packed = compress(codec, &bytes);
                prop_assert_eq!(decompress(codec, &packed, bytes.len()), Ok(bytes.clone()), "{:?}", codec);
                prop_assert_eq!(decompress(codec, &packed, bytes.len() - 1), Err(CompressionError::OverBudget));
            }
        }

        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for codec in Compression::ALL {
                let _ = decompress(codec, &bytes, 10_000);
            }
        }
    }
}
