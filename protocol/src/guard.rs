//! Pure. Walks over a message's bytes before anything decodes them.
//!
//! `kafka-protocol` reserves room by the counts that a message announces. This walk proves first that every announced element
//! is really there, that strings are UTF-8, that tagged fields are as long as they say, and that no array is longer than
//! allowed, so that decoding afterwards allocates in proportion to bytes that arrived. It allocates nothing itself.

pub mod schema;

use crate::record_batch::varint;
use schema::{Field, Kind, Schema};

/// How much one message may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Elements of one array.
    pub array_elements_max: usize,
    /// Elements of all arrays together, topic-partitions above all; unknown tagged fields count as elements.
    pub total_elements_max: usize,
    /// Tagged fields of one struct.
    pub tagged_fields_max: usize,
}

impl Caps {
    /// For what clients and peers ask.
    pub const REQUEST: Self =
        Self { array_elements_max: 10_000, total_elements_max: 100_000, tagged_fields_max: 1_000 };
    /// For what a server answers: bounded by the bytes that arrived.
    pub const RESPONSE: Self =
        Self { array_elements_max: usize::MAX, total_elements_max: usize::MAX, tagged_fields_max: 1_000 };
}

/// Why a message is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The bytes end inside a field.
    #[error("the message ends inside {field}")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// A length or a count that cannot be.
    #[error("{field} has a length that cannot be")]
    BadLength {
        /// Which field.
        field: &'static str,
    },
    /// Null where a value must stand.
    #[error("{field} must not be null")]
    Null {
        /// Which field.
        field: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// Which field.
        field: &'static str,
    },
    /// More elements than allowed.
    #[error("{field} announces {count} elements, which is too many")]
    TooMany {
        /// Which array.
        field: &'static str,
        /// As announced.
        count: usize,
    },
    /// More tagged fields than allowed.
    #[error("{count} tagged fields are too many")]
    TooManyTags {
        /// As announced.
        count: usize,
    },
    /// A tagged field that is not as long as it says.
    #[error("the tagged field {field} is not as long as it says")]
    BadTag {
        /// Which field.
        field: &'static str,
    },
    /// The message is over and bytes follow.
    #[error("{count} bytes follow the message")]
    LeftOver {
        /// How many.
        count: usize,
    },
}

/// Walks over the message of this version that `bytes` begins with, and says how many bytes it takes.
///
/// # Errors
/// The first thing that is not as the schema and the caps say.
pub fn check(schema: &Schema, version: i16, bytes: &[u8], caps: &Caps) -> Result<usize, GuardError> {
    let mut walk = Walk {
        rest: bytes,
        version,
        flexible: version >= schema.flexible_since,
        elements_left: caps.total_elements_max,
        caps: *caps,
    };
    walk.fields(schema.fields)?;
    Ok(bytes.len() - walk.rest.len())
}

/// Takes the tagged fields of a header off the front of `bytes`; none of them is known.
///
/// # Errors
/// As [`check`].
pub fn skip_tagged_fields(bytes: &mut &[u8], caps: &Caps) -> Result<(), GuardError> {
    let mut walk =
        Walk { rest: bytes, version: 0, flexible: true, elements_left: caps.total_elements_max, caps: *caps };
    walk.tagged_fields(&[])?;
    *bytes = walk.rest;
    Ok(())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
    caps: Caps,
}

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], GuardError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(GuardError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), GuardError> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.version) {
                self.value(&field.kind, field.name, self.version >= field.nullable_since)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn tagged_fields(&mut self, fields: &[Field]) -> Result<(), GuardError> {
        let count = self.unsigned("the tagged fields")?;
        if count > self.caps.tagged_fields_max {
            return Err(GuardError::TooManyTags { count });
        }
        self.spend(count, "the tagged fields")?;
        for _ in 0..count {
            let tag = self.unsigned("a tag")?;
            let length = self.unsigned("a tagged field")?;
            let bytes = self.take(length, "a tagged field")?;
            let known =
                |field: &&Field| field.is_in(self.version) && field.tag.is_some_and(|known| known as usize == tag);
            if let Some(field) = fields.iter().find(known) {
                self.tagged(field, bytes)?;
            }
        }
        Ok(())
    }

    /// A known tagged field: its value fills exactly the bytes that are its own.
    fn tagged(&mut self, field: &Field, bytes: &'a [u8]) -> Result<(), GuardError> {
        let after = std::mem::replace(&mut self.rest, bytes);
        let walked = self.value(&field.kind, field.name, self.version >= field.nullable_since);
        let left = std::mem::replace(&mut self.rest, after);
        if walked.is_ok() && !left.is_empty() {
            return Err(GuardError::BadTag { field: field.name });
        }
        walked
    }

    fn value(&mut self, kind: &Kind, field: &'static str, nullable: bool) -> Result<(), GuardError> {
        match kind {
            Kind::Bool | Kind::Int8 => self.take(1, field).map(|_| ()),
            Kind::Int16 | Kind::Uint16 => self.take(2, field).map(|_| ()),
            Kind::Int32 => self.take(4, field).map(|_| ()),
            Kind::Int64 => self.take(8, field).map(|_| ()),
            Kind::Uuid => self.take(16, field).map(|_| ()),
            Kind::String => {
                let Some(length) = self.length(2, field, nullable)? else { return Ok(()) };
                let text = self.take(length, field)?;
                std::str::from_utf8(text).map(|_| ()).map_err(|_| GuardError::NotUtf8 { field })
            }
            Kind::Bytes => {
                let Some(length) = self.length(4, field, nullable)? else { return Ok(()) };
                self.take(length, field).map(|_| ())
            }
            Kind::Array(element) => {
                let Some(count) = self.count(field, nullable)? else { return Ok(()) };
                (0..count).try_for_each(|_| self.value(element, field, false))
            }
            Kind::Structs(fields) => {
                let Some(count) = self.count(field, nullable)? else { return Ok(()) };
                (0..count).try_for_each(|_| self.fields(fields))
            }
            Kind::Struct(fields) => {
                if nullable {
                    match self.take(1, field)?[0] as i8 {
                        1 => {}
                        -1 => return Ok(()),
                        _ => return Err(GuardError::BadLength { field }),
                    }
                }
                self.fields(fields)
            }
        }
    }

    /// A length or a count, in four bytes or two, or compact; nothing for null.
    fn length(&mut self, width: usize, field: &'static str, nullable: bool) -> Result<Option<usize>, GuardError> {
        let length = if self.flexible {
            // Zero is null, and everything else is one more than it means.
            self.unsigned(field)?.checked_sub(1)
        } else {
            let bytes = self.take(width, field)?;
            let number = match *bytes {
                [a, b] => i32::from(i16::from_be_bytes([a, b])),
                [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
                _ => return Err(GuardError::BadLength { field }),
            };
            match number {
                -1 => None,
                number => Some(usize::try_from(number).map_err(|_| GuardError::BadLength { field })?),
            }
        };
        match length {
            None if !nullable => Err(GuardError::Null { field }),
            Some(length) if length > self.rest.len() => Err(GuardError::Truncated { field }),
            length => Ok(length),
        }
    }

    /// The count of an array. Every element takes a byte at least, so [`Walk::length`] bounds it by what remains.
    fn count(&mut self, field: &'static str, nullable: bool) -> Result<Option<usize>, GuardError> {
        let count = self.length(4, field, nullable)?;
        if let Some(count) = count {
            if count > self.caps.array_elements_max {
                return Err(GuardError::TooMany { field, count });
            }
            self.spend(count, field)?;
        }
        Ok(count)
    }

    fn spend(&mut self, count: usize, field: &'static str) -> Result<(), GuardError> {
        self.elements_left = self.elements_left.checked_sub(count).ok_or(GuardError::TooMany { field, count })?;
        Ok(())
    }

    fn unsigned(&mut self, field: &'static str) -> Result<usize, GuardError> {
        let mut rest = self.rest;
        let number = varint::take_unsigned(&mut rest).ok_or(GuardError::Truncated { field })?;
        self.rest = rest;
        Ok(number as usize)
    }
}

#[cfg(test)]
mod tests;
