//! Pure. Checksummed frames in a file that is only appended to, and the judgement of how such a file ends.
//!
//! ```text
//! magic "gRft" | length u32 | crc32c u32 | durable u64 | payload        (little endian)
//!                             `-- of ----' `---------'   `-----' length bytes
//! ```
//! `durable` is how many bytes of the same file were known to be on the device when the frame was written. A power loss
//! may leave any part of what was not synced, so a file may end in a broken frame, with whole ones behind it. That is a
//! torn tail, and cutting it loses nothing that was promised. But if a later frame says that the broken place had been
//! on the device, then the device lost it, and nothing may be cut.

use protocol::record_batch::crc32c;

const MAGIC: [u8; 4] = *b"gRft";
const HEADER_BYTES: usize = 20;

/// A file taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan<'a> {
    /// The payloads of the frames before the first broken one.
    pub payloads: Vec<&'a [u8]>,
    /// How many bytes those frames take.
    pub valid_bytes: usize,
    /// What follows them.
    pub end: End,
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole frame.
    Whole,
    /// With bytes that had not been on the device.
    Torn,
    /// With bytes that had been on the device and are not what was written.
    Damaged,
}

/// Appends a frame. `durable_bytes` is how much of the file is known to be on the device.
///
/// # Panics
/// When the payload has 4 GiB or more.
pub fn write(into: &mut Vec<u8>, durable_bytes: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is far smaller than 4 GiB");
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&length.to_le_bytes());
    let crc_at = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&durable_bytes.to_le_bytes());
    into.extend_from_slice(payload);
    let crc = crc32c(&into[crc_at + 4..]);
    into[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Takes a file apart into its frames and judges its end.
pub fn scan(file: &[u8]) -> Scan<'_> {
    let mut payloads = Vec::new();
    let mut at = 0;
    while let Some((_, payload)) = frame(&file[at..]) {
        payloads.push(payload);
        at += HEADER_BYTES + payload.len();
    }
    let end = if at == file.len() {
        End::Whole
    } else if promised(&file[at..]) > at as u64 {
        End::Damaged
    } else {
        End::Torn
    };
    Scan { payloads, valid_bytes: at, end }
}

/// The frame at the beginning of `bytes`: what it says is durable, and its payload.
fn frame(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let payload = rest.get(..word(4) as usize)?;
    if header[..4] != MAGIC || crc32c(&bytes[12..HEADER_BYTES + payload.len()]) != word(8) {
        return None;
    }
    Some((u64::from(word(12)) | u64::from(word(16)) << 32, payload))
}

/// The most that any whole frame behind a broken one says was durable.
fn promised(broken: &[u8]) -> u64 {
    let candidates = broken.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    candidates.filter_map(|(at, _)| frame(&broken[at..])).map(|(durable, _)| durable).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames that were each synced before the next was written, unless `lazy`.
    fn file(payloads: &[Vec<u8>], lazy: bool) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for payload in payloads {
            let durable = if lazy { 0 } else { bytes.len() as u64 };
            starts.push(bytes.len());
            write(&mut bytes, durable, payload);
        }
        (bytes, starts)
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payloads in payloads()) {
            let (bytes, _) = file(&payloads, false);
            let scan = scan(&bytes);
            prop_assert_eq!(scan.payloads, payloads.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!((scan.valid_bytes, scan.end), (bytes.len(), End::Whole));
        }

        #[test]
        fn a_file_cut_anywhere_keeps_its_whole_frames(payloads in payloads(), at: prop::sample::Index) {
            let (bytes, starts) = file(&payloads, false);
            let cut = at.index(bytes.len());
            let scan = scan(&bytes[..cut]);
            let whole = starts.iter().skip(1).chain([&bytes.len()]).filter(|end| **end <= cut).count();
            prop_assert_eq!(scan.payloads.len(), whole);
            prop_assert_eq!(scan.end, if scan.valid_bytes == cut { End::Whole } else { End::Torn });
        }

        #[test]
        fn a_flipped_bit_is_never_read(payloads in payloads(), at: prop::sample::Index, bit in 0..8u8, lazy: bool) {
            let (mut bytes, starts) = file(&payloads, lazy);
            let position = at.index(bytes.len());
            bytes[position] ^= 1 << bit;
            let broken = starts.iter().rposition(|start| *start <= position).unwrap();
            let scan = scan(&bytes);
            prop_assert_eq!(scan.payloads.len(), broken);
            // With nothing behind it, or only what was written before it was synced, it cannot be told from a torn tail.
            let proven = !lazy && broken + 1 < payloads.len();
            prop_assert_eq!(scan.end, if proven { End::Damaged } else { End::Torn });
        }
    }

    #[test]
    fn an_empty_file_is_whole() {
        assert_eq!(scan(&[]), Scan { payloads: vec![], valid_bytes: 0, end: End::Whole });
    }

    #[test]
    fn zeroes_are_a_torn_tail() {
        let (mut bytes, _) = file(&[b"kept".to_vec()], false);
        let valid = bytes.len();
        bytes.extend_from_slice(&[0; 512]);
        assert_eq!(scan(&bytes), Scan { payloads: vec![b"kept"], valid_bytes: valid, end: End::Torn });
    }
}
