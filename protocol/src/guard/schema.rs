//! Pure. What a message looks like on the wire, field by field and version by version: enough to walk over it.
//!
//! The tables beside this file say it for every message that is served. Nothing here decodes; [`super::check`] walks.

mod admin;
mod cluster;
mod control;
mod groups;
mod internal;
mod logs;
mod partitions;
mod quorum;
mod records;

pub use admin::*;
pub use cluster::*;
pub use control::*;
pub use groups::*;
pub use internal::*;
pub use logs::*;
pub use partitions::*;
pub use quorum::*;
pub use records::*;

/// A version that no message reaches.
pub const NEVER: i16 = i16::MAX;

/// A message: its fields in wire order, and the version from which lengths are compact and structs end in tagged fields.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// KIP-482: the first flexible version, or [`NEVER`].
    pub flexible_since: i16,
    /// In the order of the wire.
    pub fields: &'static [Field],
}

/// One field of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Kafka's name of it, for errors.
    pub name: &'static str,
    /// What stands there.
    pub kind: Kind,
    /// First version that has it.
    pub since: i16,
    /// Last version that has it.
    pub until: i16,
    /// First version in which it may be null, or [`NEVER`].
    pub nullable_since: i16,
    /// Its tag, if it stands among the tagged fields at the end of its struct.
    pub tag: Option<u32>,
}

/// What stands on the wire for a field or an element.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    Int8,
    /// Two bytes.
    Int16,
    /// Two bytes.
    Uint16,
    /// Four bytes.
    Int32,
    /// Eight bytes.
    Int64,
    /// Sixteen bytes.
    Uuid,
    /// A length and UTF-8.
    String,
    /// A length and bytes.
    Bytes,
    /// A count and elements of something simple.
    Array(&'static Kind),
    /// A count and structs.
    Structs(&'static [Field]),
    /// Fields one after another. As a nullable field, a byte before it says whether it is there.
    Struct(&'static [Field]),
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, since: 0, until: NEVER, nullable_since: NEVER, tag: None }
    }

    /// The same, from this version on.
    pub const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// The same, up to this version.
    pub const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// The same, null allowed.
    pub const fn nullable(self) -> Self {
        self.nullable_since(0)
    }

    /// The same, null allowed from this version on.
    pub const fn nullable_since(mut self, version: i16) -> Self {
        self.nullable_since = version;
        self
    }

    /// The same, among the tagged fields.
    pub const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Whether this version has it.
    pub const fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// Declares the constructor of a field for each kind that needs nothing more.
macro_rules! constructors {
    ($($name:ident $kind:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub const fn $name(name: &'static str) -> Field {
                Field::new(name, Kind::$kind)
            }
        )*
    };
}

constructors! {
    bool Bool "A boolean field.";
    int8 Int8 "A field of one byte.";
    int16 Int16 "A field of two bytes.";
    uint16 Uint16 "An unsigned field of two bytes.";
    int32 Int32 "A field of four bytes.";
    int64 Int64 "A field of eight bytes.";
    uuid Uuid "A field of sixteen bytes.";
    string String "A string field.";
    bytes Bytes "A field of bytes.";
    records Bytes "A field of record batches: bytes, as far as the walk goes.";
}

/// A field that is an array of something simple.
pub const fn array(name: &'static str, element: &'static Kind) -> Field {
    Field::new(name, Kind::Array(element))
}

/// A field that is an array of structs.
pub const fn structs(name: &'static str, element: &'static [Field]) -> Field {
    Field::new(name, Kind::Structs(element))
}

/// A field that is one struct.
pub const fn one(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Struct(fields))
}
