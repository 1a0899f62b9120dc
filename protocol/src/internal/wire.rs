//! Pure. The compact forms of the wire (KIP-482), for messages that are written by hand.

use crate::messages::{ByteBuf, ByteBufMut};
use crate::record_batch::varint;
use anyhow::{Context, bail};
use bytes::Bytes;

pub fn put_count(buf: &mut impl ByteBufMut, count: usize) {
    varint::put_unsigned(buf, count as u32 + 1);
}

pub fn put_bytes(buf: &mut impl ByteBufMut, bytes: &[u8]) {
    put_count(buf, bytes.len());
    buf.put_slice(bytes);
}

pub fn put_string(buf: &mut impl ByteBufMut, text: &str) {
    put_bytes(buf, text.as_bytes());
}

/// No tagged fields.
pub fn end_of_struct(buf: &mut impl ByteBufMut) {
    buf.put_u8(0);
}

pub fn unsigned_size(value: usize) -> usize {
    varint::unsigned_len(value as u32)
}

pub fn string_size(text: &str) -> usize {
    unsigned_size(text.len() + 1) + text.len()
}

fn take_unsigned(buf: &mut impl ByteBuf) -> anyhow::Result<u32> {
    let mut digits = [0; 5];
    for at in 0..digits.len() {
        digits[at] = buf.try_get_u8()?;
        if digits[at] < 0x80 {
            return varint::take_unsigned(&mut &digits[..=at]).context("a number has more than 32 bits");
        }
    }
    bail!("a number has more than 32 bits")
}

pub fn take_count(buf: &mut impl ByteBuf) -> anyhow::Result<usize> {
    let count = take_unsigned(buf)?.checked_sub(1).context("null where a value must stand")?;
    Ok(count as usize)
}

pub fn take_bytes(buf: &mut impl ByteBuf) -> anyhow::Result<Bytes> {
    let length = take_count(buf)?;
    Ok(buf.try_get_bytes(length)?)
}

pub fn take_string(buf: &mut impl ByteBuf) -> anyhow::Result<String> {
    Ok(String::from_utf8(take_bytes(buf)?.to_vec())?)
}

pub fn skip_tagged_fields(buf: &mut impl ByteBuf) -> anyhow::Result<()> {
    for _ in 0..take_unsigned(buf)? {
        take_unsigned(buf)?;
        let length = take_unsigned(buf)?;
        buf.try_get_bytes(length as usize)?;
    }
    Ok(())
}
