//! Pure. How a line becomes a record (`org.apache.kafka.tools.LineMessageReader`).

use bytes::Bytes;
use client::producer::ProducerRecord;
use protocol::record_batch::Header;

/// What is cut from a line, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            parse_key: false,
            parse_headers: false,
            ignore_error: false,
            key_separator: "\t".into(),
            headers_delimiter: "\t".into(),
            headers_separator: ",".into(),
            headers_key_separator: ":".into(),
            null_marker: None,
        }
    }
}

/// Why a line is no record, or a property none of a reader's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// What should part two pieces is not there.
    #[error("No {what} found on line number {number}: '{line}'")]
    NoSeparator {
        /// What is missing.
        what: &'static str,
        /// The line's number, from 1.
        number: u64,
        /// The line.
        line: String,
    },
    /// A header without a value.
    #[error("No header key separator found in pair '{pair}' on line number {number}")]
    NoHeaderValue {
        /// The header.
        pair: String,
        /// The line's number, from 1.
        number: u64,
    },
    /// A header without a name.
    #[error("Header keys should not be equal to the null marker '{marker}' as they can't be null")]
    NullHeaderKey {
        /// The marker.
        marker: String,
    },
    /// A property that no reader has, or an empty separator.
    #[error("'{0}' is no property of the line reader, or is empty")]
    NoProperty(String),
}

impl Lines {
    /// Sets a property of the reader.
    ///
    /// # Errors
    /// There is no such property, or a separator is empty.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), LineError> {
        let is_true = value.trim().eq_ignore_ascii_case("true");
        let (is_empty, text) = (value.is_empty(), value.to_owned());
        match key {
            "parse.key" => self.parse_key = is_true,
            "parse.headers" => self.parse_headers = is_true,
            "ignore.error" => self.ignore_error = is_true,
            "null.marker" => self.null_marker = Some(text),
            "key.separator" if !is_empty => self.key_separator = text,
            "headers.delimiter" if !is_empty => self.headers_delimiter = text,
            "headers.separator" if !is_empty => self.headers_separator = text,
            "headers.key.separator" if !is_empty => self.headers_key_separator = text,
            _ => return Err(LineError::NoProperty(key.to_owned())),
        }
        Ok(())
    }

    /// The record that a line stands for: `headers<delimiter>key<separator>value`, as far as they are asked for.
    ///
    /// # Errors
    /// A separator that is missing, unless `ignore.error` is set.
    pub fn record(&self, line: &[u8], number: u64) -> Result<ProducerRecord, LineError> {
        let cut = |asked: bool, rest: &mut &[u8], separator: &str, what: &'static str| {
            if !asked {
                return Ok(None);
            }
            match find(rest, separator.as_bytes()) {
                Some(at) => {
                    let piece = rest[..at].to_vec();
                    *rest = &rest[at + separator.len()..];
                    Ok(Some(piece))
                }
                None if self.ignore_error => Ok(None),
                None => Err(LineError::NoSeparator { what, number, line: String::from_utf8_lossy(line).into_owned() }),
            }
        };
        let mut rest = line;
        let headers = cut(self.parse_headers, &mut rest, &self.headers_delimiter, "headers delimiter")?;
        let key = cut(self.parse_key, &mut rest, &self.key_separator, "key separator")?;
        let mut record = ProducerRecord { value: self.unless_null(rest), ..ProducerRecord::default() };
        record.key = key.and_then(|key| self.unless_null(&key));
        if let Some(headers) = headers.filter(|headers| !self.is_null(headers)) {
            record.headers = self.headers(&String::from_utf8_lossy(&headers), number)?;
        }
        Ok(record)
    }

    fn headers(&self, text: &str, number: u64) -> Result<Vec<Header>, LineError> {
        let header = |pair: &str| match pair.split_once(&self.headers_key_separator) {
            Some((key, _)) if self.is_null(key.as_bytes()) => Err(LineError::NullHeaderKey { marker: key.to_owned() }),
            Some((key, value)) => Ok(Header { key: key.into(), value: self.unless_null(value.as_bytes()) }),
            None if self.ignore_error => Ok(Header { key: pair.into(), value: None }),
            None => Err(LineError::NoHeaderValue { pair: pair.to_owned(), number }),
        };
        text.split(&self.headers_separator).map(header).collect()
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == text)
    }

    fn unless_null(&self, text: &[u8]) -> Option<Bytes> {
        (!self.is_null(text)).then(|| Bytes::copy_from_slice(text))
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(properties: &[(&str, &str)]) -> Lines {
        let mut lines = Lines::default();
        properties.iter().for_each(|(key, value)| lines.set(key, value).expect("a property"));
        lines
    }

    fn text(record: &ProducerRecord) -> String {
        let show = |bytes: &Option<Bytes>| {
            bytes.as_ref().map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let headers: Vec<String> =
            record.headers.iter().map(|header| format!("{}={}", header.key, show(&header.value))).collect();
        format!("[{}] {} {}", headers.join(" "), show(&record.key), show(&record.value))
    }

    #[test]
    fn a_line_is_cut_as_it_is_asked() {
        let all = [("parse.key", "true"), ("parse.headers", "true"), ("key.separator", "::"), ("null.marker", "NULL")];
        let read = |properties: &[(&str, &str)], line: &str| {
            text(&lines(properties).record(line.as_bytes(), 1).expect("a record"))
        };
        assert_eq!(read(&[], "k\tv"), "[] null k\tv");
        assert_eq!(read(&[("parse.key", "true")], "k\tv\tw"), "[] k v\tw");
        assert_eq!(read(&all, "a:1,b:NULL\tk::v"), "[a=1 b=null] k v");
        assert_eq!(read(&all, "NULL\tNULL::NULL"), "[] null null");
        assert_eq!(read(&[("parse.key", "true"), ("ignore.error", "true")], "v"), "[] null v");
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let keyed = lines(&[("parse.key", "true")]);
        let said = keyed.record(b"abc", 4).expect_err("no key").to_string();
        assert_eq!(said, "No key separator found on line number 4: 'abc'");
        let headed = lines(&[("parse.headers", "true")]);
        let said = headed.record(b"a\tv", 2).expect_err("no value").to_string();
        assert_eq!(said, "No header key separator found in pair 'a' on line number 2");
        assert!(Lines::default().set("parse.keys", "true").is_err());
    }
}
