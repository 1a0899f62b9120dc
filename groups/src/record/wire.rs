//! Pure. Kafka's primitive types in the records of `__consumer_offsets`, read from bytes that may be anything.

use super::{RecordError, TopicPartitions};
use bytes::{BufMut, Bytes, BytesMut};
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Reads what was written by a version that has compact types or that has not.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Strings and arrays have their length as a varint plus one, and structures end in tagged fields (KIP-482).
    pub flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, flexible: false }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(RecordError::TooShort)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    pub fn i8(&mut self) -> Result<i8, RecordError> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<usize, RecordError> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            value |= bits.checked_shl(shift).filter(|moved| moved >> shift == bits).ok_or(RecordError::Malformed)?;
            if byte & 0x80 == 0 {
                return Ok(value as usize);
            }
        }
        Err(RecordError::Malformed)
    }

    /// A length; nothing stands for null.
    fn length(&mut self, short: bool) -> Result<Option<usize>, RecordError> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        let length = if short { i32::from(self.i16()?) } else { self.i32()? };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| RecordError::Malformed),
        }
    }

    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        str::from_utf8(self.take(length)?).map(Some).map_err(|_| RecordError::Malformed)
    }

    pub fn string(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Malformed)
    }

    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, RecordError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(self.take(length)?)))
    }

    pub fn bytes(&mut self) -> Result<Bytes, RecordError> {
        self.nullable_bytes()?.ok_or(RecordError::Malformed)
    }

    fn uuid(&mut self) -> Result<Uuid, RecordError> {
        self.array().map(Uuid::from_bytes)
    }

    /// The elements of an array, of which each takes a byte at least.
    pub fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let length = self.length(false)?.ok_or(RecordError::Malformed)?;
        if length > self.rest.len() {
            return Err(RecordError::TooShort);
        }
        (0..length).map(|_| element(self)).collect()
    }

    /// The tagged fields at the end of a structure; unknown ones are skipped.
    pub fn tagged(
        &mut self,
        mut field: impl FnMut(usize, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let (tag, length) = (self.varint()?, self.varint()?);
            let bytes = self.take(length)?;
            field(tag, &mut Reader { rest: bytes, flexible: true })?;
        }
        Ok(())
    }

    pub fn skip_tagged(&mut self) -> Result<(), RecordError> {
        self.tagged(|_, _| Ok(()))
    }

    pub fn topic_partitions(&mut self) -> Result<TopicPartitions, RecordError> {
        let topics = self.list(|reader| {
            let topic = TopicId(reader.uuid()?);
            let partitions = reader.list(|reader| reader.i32().map(PartitionIndex))?;
            reader.skip_tagged()?;
            Ok((topic, partitions.into_iter().collect::<BTreeSet<_>>()))
        })?;
        Ok(topics.into_iter().collect())
    }
}

/// Writes one value, in the types of its version.
pub(crate) struct Writer {
    pub bytes: BytesMut,
    flexible: bool,
}

impl Writer {
    /// Begins with the version.
    pub fn new(version: i16, flexible: bool) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_i16(version);
        Self { bytes, flexible }
    }

    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    fn varint(&mut self, value: usize) {
        let mut value = u32::try_from(value).expect("lengths of what fits into a record");
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    fn length(&mut self, length: usize, short: bool) {
        match (self.flexible, short) {
            (true, _) => self.varint(length + 1),
            (false, true) => self.bytes.put_i16(i16::try_from(length).expect("names are capped at the door")),
            (false, false) => self.bytes.put_i32(i32::try_from(length).expect("what fits into a record")),
        }
    }

    pub fn string(&mut self, text: &str) {
        self.length(text.len(), true);
        self.bytes.put_slice(text.as_bytes());
    }

    pub fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.varint(0),
            None => self.bytes.put_i16(-1),
        }
    }

    pub fn byte_string(&mut self, bytes: &[u8]) {
        self.length(bytes.len(), false);
        self.bytes.put_slice(bytes);
    }

    pub fn list<T>(&mut self, elements: impl ExactSizeIterator<Item = T>, mut element: impl FnMut(&mut Self, T)) {
        self.length(elements.len(), false);
        elements.for_each(|each| element(self, each));
    }

    pub fn no_tagged(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// The only tagged field of a structure.
    pub fn tagged(&mut self, tag: usize, field: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: BytesMut::new(), flexible: true };
        field(&mut inner);
        self.varint(1);
        self.varint(tag);
        self.varint(inner.bytes.len());
        self.bytes.put_slice(&inner.bytes);
    }

    pub fn topic_partitions(&mut self, topics: &TopicPartitions) {
        self.list(topics.iter(), |writer, (topic, partitions)| {
            writer.bytes.put_slice(topic.0.as_bytes());
            writer.list(partitions.iter(), |writer, partition| writer.bytes.put_i32(partition.0));
            writer.no_tagged();
        });
    }
}
