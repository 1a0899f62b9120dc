//! Pure. Variable-length integers: seven bits a byte, the lowest first; signed ones zigzag (Kafka's `ByteUtils.java`).
//!
//! A reader takes at most five bytes for 32 bits and ten for 64, and refuses bits past the width.

use bytes::BufMut;

/// Takes an unsigned 32-bit number off the front of `bytes`; nothing if they end too early or hold more than 32 bits.
pub fn take_unsigned(bytes: &mut &[u8]) -> Option<u32> {
    let value = take(bytes, 5)?;
    u32::try_from(value).ok()
}

/// Takes a signed 32-bit number off the front of `bytes`; nothing if they end too early or hold more than 32 bits.
pub fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let zigzag = take_unsigned(bytes)?;
    Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
}

/// Takes a signed 64-bit number off the front of `bytes`; nothing if they end too early or hold more than 64 bits.
pub fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let zigzag = take(bytes, 10)?;
    Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

fn take(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..bytes_max {
        let byte = *bytes.get(at)?;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * at as u32;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends an unsigned 32-bit number.
pub fn put_unsigned(out: &mut impl BufMut, value: u32) {
    put(out, u64::from(value));
}

/// Appends a signed 32-bit number.
pub fn put_i32(out: &mut impl BufMut, value: i32) {
    put(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a signed 64-bit number.
pub fn put_i64(out: &mut impl BufMut, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes [`put_unsigned`] appends.
pub fn unsigned_len(value: u32) -> usize {
    (38 - value.leading_zeros().min(31)) as usize / 7
}

/// How many bytes [`put_i32`] appends.
pub fn i32_len(value: i32) -> usize {
    unsigned_len(((value << 1) ^ (value >> 31)) as u32)
}

/// How many bytes [`put_i64`] appends.
pub fn i64_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (70 - zigzag.leading_zeros().min(63)) as usize / 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_past_their_width_are_refused() {
        assert_eq!(take_unsigned(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Some(u32::MAX));
        assert_eq!(take_unsigned(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        assert_eq!(take_unsigned(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), None);
        assert_eq!(take_i64(&mut &[0xff; 10][..]), None);
        assert_eq!(take_i32(&mut &[0x80][..]), None);
        assert_eq!(take_i32(&mut &[][..]), None);
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_and_its_length_is_known(narrow: i32, wide: i64, unsigned: u32) {
            let mut out = Vec::new();
            put_i32(&mut out, narrow);
            prop_assert_eq!(out.len(), i32_len(narrow));
            put_i64(&mut out, wide);
            prop_assert_eq!(out.len(), i32_len(narrow) + i64_len(wide));
            put_unsigned(&mut out, unsigned);
            prop_assert_eq!(out.len(), i32_len(narrow) + i64_len(wide) + unsigned_len(unsigned));
            let mut rest = &out[..];
            prop_assert_eq!(take_i32(&mut rest), Some(narrow));
            prop_assert_eq!(take_i64(&mut rest), Some(wide));
            prop_assert_eq!(take_unsigned(&mut rest), Some(unsigned));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn small_numbers_have_the_right_length(unsigned in 0u32..70_000, wide in -70_000i64..70_000) {
            let mut out = Vec::new();
            put_unsigned(&mut out, unsigned);
            prop_assert_eq!(out.len(), unsigned_len(unsigned));
            out.clear();
            put_i64(&mut out, wide);
            prop_assert_eq!(out.len(), i64_len(wide));
        }
    }
}
