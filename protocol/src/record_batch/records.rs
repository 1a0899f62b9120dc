//! Pure. The records inside one batch: for consumers, the command line, and rules that are about records.
//!
//! Nothing is reserved by an announced count, every length is checked against the bytes that remain, and what a batch may
//! grow to in memory is bounded by the caller's budget. Source: Kafka's `DefaultRecord.java`.

use super::varint::{take_i32, take_i64};
use super::{BatchError, BatchHeader, HEADER_BYTES, RECORD_BYTES_MIN, TimestampType};
use crate::compression::{self, Compression, CompressionError};
use crate::ids::{Offset, WallMillis};
use bytes::Bytes;
use std::borrow::Cow;
use std::mem::size_of;

/// A header of a record: a name that may come twice, and a value that may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name. Bytes that are not UTF-8 are replaced, as Java does.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// A record, as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: Offset,
    /// The producer's time, or that of the append; see [`BatchHeader::timestamp_type`].
    pub timestamp: WallMillis,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in the producer's order.
    pub headers: Vec<Header>,
}

/// A record whose bytes still lie in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    header_count: usize,
    header_bytes: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Its headers: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.header_bytes;
        (0..self.header_count).map_while(move |_| take_header(&mut rest).ok())
    }

    /// How many headers it has, and their bytes as they are in the batch.
    pub(super) fn raw_headers(&self) -> (i32, &'a [u8]) {
        (self.header_count as i32, self.header_bytes)
    }
}

/// The records of a batch, one after another. After the first error nothing more comes.
#[derive(Clone, Debug)]
pub struct RecordViews<'a> {
    rest: &'a [u8],
    next_index: i32,
    record_count: i32,
    offset_delta_min: i32,
    last_offset_delta: i32,
    done: bool,
}

impl<'a> RecordViews<'a> {
    /// Over the decompressed `payload` of the batch with this header.
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        Self {
            rest: payload,
            next_index: 0,
            record_count: header.record_count,
            offset_delta_min: 0,
            last_offset_delta: header.last_offset_delta,
            done: false,
        }
    }

    fn take(&mut self) -> Result<RecordView<'a>, &'static str> {
        let length = take_i32(&mut self.rest).ok_or("its length is cut off")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let Some((mut body, rest)) = self.rest.split_at_checked(length) else { return Err("it is cut off") };
        self.rest = rest;
        let record = take_body(&mut body)?;
        if !body.is_empty() {
            return Err("bytes follow its headers");
        }
        if record.offset_delta < self.offset_delta_min || record.offset_delta > self.last_offset_delta {
            return Err("its offset is out of order");
        }
        self.offset_delta_min = record.offset_delta.saturating_add(1);
        Ok(record)
    }
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let index = self.next_index;
        if index >= self.record_count {
            self.done = true;
            let what = "bytes follow the last record";
            return (!self.rest.is_empty()).then_some(Err(BatchError::BadRecord { index, what }));
        }
        self.next_index += 1;
        let record = self.take().map_err(|what| BatchError::BadRecord { index, what });
        self.done = record.is_err();
        Some(record)
    }
}

fn take_body<'a>(body: &mut &'a [u8]) -> Result<RecordView<'a>, &'static str> {
    // The attributes of a record are not used.
    *body = body.get(1..).ok_or("its attributes are cut off")?;
    let timestamp_delta = take_i64(body).ok_or("its timestamp is cut off")?;
    let offset_delta = take_i32(body).ok_or("its offset is cut off")?;
    let key = take_nullable(body, "its key is cut off")?;
    let value = take_nullable(body, "its value is cut off")?;
    let count = take_i32(body).ok_or("the count of its headers is cut off")?;
    let header_count = usize::try_from(count).map_err(|_| "the count of its headers is negative")?;
    let header_bytes = *body;
    for _ in 0..header_count {
        take_header(body)?;
    }
    Ok(RecordView { offset_delta, timestamp_delta, key, value, header_count, header_bytes })
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let key = take_nullable(bytes, "a header is cut off")?.ok_or("a header has no name")?;
    let value = take_nullable(bytes, "a header is cut off")?;
    Ok((key, value))
}

fn take_nullable<'a>(bytes: &mut &'a [u8], cut: &'static str) -> Result<Option<&'a [u8]>, &'static str> {
    match take_i32(bytes).ok_or(cut)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| "a length is negative")?;
            let (taken, rest) = bytes.split_at_checked(length).ok_or(cut)?;
            *bytes = rest;
            Ok(Some(taken))
        }
    }
}

/// The decompressed bytes after the header of one whole batch, at most `budget` of them.
pub(super) fn payload<'a>(header: &BatchHeader, batch: &'a [u8], budget: usize) -> Result<Cow<'a, [u8]>, BatchError> {
    let Some(stored) = batch.get(HEADER_BYTES..header.size()) else {
        return Err(BatchError::Truncated { have: batch.len(), need: header.size() });
    };
    let Some(codec) = header.compression() else {
        return Err(BatchError::UnsupportedCompression { code: (header.attributes & 7) as u8 });
    };
    // A batch whose records were all compacted away is its header alone, whatever its codec.
    if codec == Compression::None || stored.is_empty() {
        return if stored.len() <= budget { Ok(Cow::Borrowed(stored)) } else { Err(BatchError::OverBudget { budget }) };
    }
    match compression::decompress(codec, stored, budget) {
        Ok(bytes) => Ok(Cow::Owned(bytes)),
        Err(CompressionError::Corrupt) => Err(BatchError::CorruptCompression),
        Err(CompressionError::OverBudget) => Err(BatchError::OverBudget { budget }),
    }
}

/// Decodes the records of the one whole batch in `batch`, decompressing where needed. The CRC is not checked: see
/// [`super::check_crc`].
///
/// `budget` is in bytes and bounds what is held: the decompressed bytes, and the space of records and headers.
///
/// # Errors
/// What is wrong with the batch or with a record; `OverBudget` if it would need more than `budget`.
pub fn records(batch: &[u8], budget: usize) -> Result<Vec<Record>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let bytes = match payload(&header, batch, budget)? {
        Cow::Borrowed(stored) => Bytes::copy_from_slice(stored),
        Cow::Owned(decompressed) => Bytes::from(decompressed),
    };
    let mut held = bytes.len();
    let room = bytes.len() / RECORD_BYTES_MIN;
    if usize::try_from(header.record_count).is_ok_and(|count| count > room) || header.record_count < 0 {
        return Err(BatchError::BadCount {
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    let mut records = Vec::new();
    for view in RecordViews::new(&header, &bytes) {
        let view = view?;
        held = held.saturating_add(size_of::<Record>() + view.header_count.saturating_mul(size_of::<Header>()));
        if held > budget {
            return Err(BatchError::OverBudget { budget });
        }
        records.push(owned(&header, &bytes, &view));
    }
    Ok(records)
}

fn owned(header: &BatchHeader, bytes: &Bytes, view: &RecordView<'_>) -> Record {
    let timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => WallMillis(header.base_timestamp.0.wrapping_add(view.timestamp_delta)),
    };
    Record {
        offset: Offset(header.base_offset.0.saturating_add(i64::from(view.offset_delta))),
        timestamp,
        key: view.key.map(|key| bytes.slice_ref(key)),
        value: view.value.map(|value| bytes.slice_ref(value)),
        headers: view
            .headers()
            .map(|(key, value)| Header {
                key: String::from_utf8_lossy(key).into_owned(),
                value: value.map(|value| bytes.slice_ref(value)),
            })
            .collect(),
    }
}
