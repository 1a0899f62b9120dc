//! Pure. How a record is printed (`org.apache.kafka.tools.consumer.DefaultMessageFormatter`).

use client::consumer::ConsumerRecord;
use protocol::record_batch::{Header, TimestampType};
use std::io::{self, Write};

/// What bytes stand for (`org.apache.kafka.common.serialization`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
}

/// What is printed of a record, in which order and with what between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_decoder: Decoder,
    value_decoder: Decoder,
}

impl Default for Formatter {
    fn default() -> Self {
        Self {
            timestamp: false,
            partition: false,
            offset: false,
            epoch: false,
            headers: false,
            key: false,
            value: true,
            key_separator: b"\t".to_vec(),
            line_separator: b"\n".to_vec(),
            headers_separator: b",".to_vec(),
            null_literal: b"null".to_vec(),
            key_decoder: Decoder::Text,
            value_decoder: Decoder::Text,
        }
    }
}

/// A property that no formatter has, or a value that it does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No such property.
    #[error("{0} is no property of the formatter")]
    NoProperty(String),
    /// A class that is not here.
    #[error(
        "there is no deserializer {0}: write StringDeserializer, ByteArrayDeserializer, or one of Short, Integer, Long, Float, Double"
    )]
    NoDeserializer(String),
}

impl Formatter {
    /// Sets a property.
    ///
    /// # Errors
    /// There is no such property or class.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), FormatError> {
        let is_true = value.trim().eq_ignore_ascii_case("true");
        let bytes = value.as_bytes().to_vec();
        match key {
            "print.timestamp" => self.timestamp = is_true,
            "print.partition" => self.partition = is_true,
            "print.offset" => self.offset = is_true,
            "print.epoch" => self.epoch = is_true,
            "print.headers" => self.headers = is_true,
            "print.key" => self.key = is_true,
            "print.value" => self.value = is_true,
            "key.separator" => self.key_separator = bytes,
            "line.separator" => self.line_separator = bytes,
            "headers.separator" => self.headers_separator = bytes,
            "null.literal" => self.null_literal = bytes,
            "key.deserializer" => self.key_decoder = decoder(value)?,
            "value.deserializer" => self.value_decoder = decoder(value)?,
            other => return Err(FormatError::NoProperty(other.to_owned())),
        }
        Ok(())
    }

    /// Prints a record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = match record.timestamp_type {
                _ if record.timestamp.0 < 0 => None,
                TimestampType::CreateTime => Some("CreateTime"),
                TimestampType::LogAppendTime => Some("LogAppendTime"),
            };
            let text = kind.map_or("NO_TIMESTAMP".to_owned(), |kind| format!("{kind}:{}", record.timestamp));
            parts.push(text.into_bytes());
        }
        let numbers = [
            (self.partition, format!("Partition:{}", record.partition)),
            (self.offset, format!("Offset:{}", record.offset)),
            (self.epoch, format!("Epoch:{}", record.leader_epoch)),
        ];
        parts.extend(numbers.into_iter().filter(|(asked, _)| *asked).map(|(_, text)| text.into_bytes()));
        if self.headers {
            parts.push(self.headers(&record.headers));
        }
        for (asked, bytes, decoder) in [
            (self.key, record.key.as_deref(), self.key_decoder),
            (self.value, record.value.as_deref(), self.value_decoder),
        ] {
            if asked {
                parts.push(self.decode(bytes, decoder));
            }
        }
        out.write_all(&parts.join(&self.key_separator[..]))?;
        out.write_all(&self.line_separator)
    }

    fn headers(&self, headers: &[Header]) -> Vec<u8> {
        if headers.is_empty() {
            return b"NO_HEADERS".to_vec();
        }
        let header = |header: &Header| {
            let value = header.value.as_deref().unwrap_or(&self.null_literal);
            [header.key.as_bytes(), b":", value].concat()
        };
        headers.iter().map(header).collect::<Vec<_>>().join(&self.headers_separator[..])
    }

    /// Bytes of another length than their kind has are printed as they are.
    fn decode(&self, bytes: Option<&[u8]>, decoder: Decoder) -> Vec<u8> {
        let Some(bytes) = bytes else { return self.null_literal.clone() };
        let number = match decoder {
            Decoder::Text => None,
            Decoder::Short => bytes.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
            Decoder::Integer => bytes.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
            Decoder::Long => bytes.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
            Decoder::Float => bytes.try_into().ok().map(|bytes| format!("{:?}", f32::from_be_bytes(bytes))),
            Decoder::Double => bytes.try_into().ok().map(|bytes| format!("{:?}", f64::from_be_bytes(bytes))),
        };
        number.map_or_else(|| bytes.to_vec(), String::into_bytes)
    }
}

fn decoder(class: &str) -> Result<Decoder, FormatError> {
    let name = class.trim().strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(class.trim());
    match name {
        "StringDeserializer" | "ByteArrayDeserializer" => Ok(Decoder::Text),
        "ShortDeserializer" => Ok(Decoder::Short),
        "IntegerDeserializer" => Ok(Decoder::Integer),
        "LongDeserializer" => Ok(Decoder::Long),
        "FloatDeserializer" => Ok(Decoder::Float),
        "DoubleDeserializer" => Ok(Decoder::Double),
        _ => Err(FormatError::NoDeserializer(class.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{LeaderEpoch, Offset, PartitionIndex, WallMillis};

    fn printed(properties: &[(&str, &str)], key: Option<&[u8]>, headers: Vec<Header>) -> String {
        let mut formatter = Formatter::default();
        properties.iter().for_each(|(key, value)| formatter.set(key, value).expect("a property"));
        let record = ConsumerRecord {
            topic: "orders".into(),
            partition: PartitionIndex(1),
            offset: Offset(5),
            leader_epoch: LeaderEpoch(2),
            timestamp: WallMillis(123),
            timestamp_type: TimestampType::CreateTime,
            key: key.map(bytes::Bytes::copy_from_slice),
            value: Some("c".into()),
            headers,
        };
        let mut out = Vec::new();
        formatter.write(&record, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_record_is_printed_as_kafkas_formatter_prints_it() {
        let asked = ["timestamp", "partition", "offset", "epoch", "headers", "key"];
        let keys: Vec<String> = asked.iter().map(|what| format!("print.{what}")).collect();
        let all: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "true")).collect();
        assert_eq!(printed(&[], None, Vec::new()), "c\n");
        assert_eq!(
            printed(&all, Some(b"k3"), Vec::new()),
            "CreateTime:123\tPartition:1\tOffset:5\tEpoch:2\tNO_HEADERS\tk3\tc\n"
        );
        let headers =
            vec![Header { key: "a".into(), value: Some("1".into()) }, Header { key: "b".into(), value: None }];
        let some = [("print.headers", "true"), ("print.key", "true"), ("null.literal", "-"), ("key.separator", "|")];
        assert_eq!(printed(&some, None, headers), "a:1,b:-|-|c\n");
    }

    #[test]
    fn numbers_are_decoded_if_they_are_some() {
        let long =
            [("print.key", "true"), ("key.deserializer", "org.apache.kafka.common.serialization.LongDeserializer")];
        assert_eq!(printed(&long, Some(&7i64.to_be_bytes()), Vec::new()), "7\tc\n");
        assert_eq!(printed(&long, Some(b"k"), Vec::new()), "k\tc\n");
        assert!(Formatter::default().set("key.deserializer", "AvroDeserializer").is_err());
    }
}
