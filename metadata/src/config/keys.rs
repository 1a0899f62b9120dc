//! Pure. Every key that Kafka 4.1 knows: its kind, its default, what values it takes, and what gregor makes of it.
//!
//! The tables hold data only; [`Key::check`] judges a value, [`find`] and [`did_you_mean`] look names up.

mod broker;
mod group;
mod ignored;
mod quota;
mod topic;

pub use topic::{Conversion, Synonym, alternatives, stands_in_for, synonyms};

use std::fmt;

/// What kind of thing a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A node: `server.properties`, and dynamic broker settings.
    Broker,
    /// A topic.
    Topic,
    /// A consumer group (KIP-848).
    Group,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Group => "group",
        })
    }
}

/// The kind of a value (`ConfigDef.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    Text,
    /// A 32-bit integer.
    Int,
    /// A 16-bit integer.
    Short,
    /// A 64-bit integer.
    Long,
    /// A floating-point number.
    Double,
    /// Texts, separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The number that stands for it in DescribeConfigs (`DescribeConfigsResponse.ConfigType`).
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Kafka's name for it, as it stands in error messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Text => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// What is asked of a value, beyond its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Nothing.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// As `Between`, or -1 for the codec's own choice.
    Level(i64, i64),
    /// From 0 to 1.
    Ratio,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these, in whichever case (`ConfigDef.CaseInsensitiveValidString`).
    OneOfAnyCase(&'static [&'static str]),
    /// A list of some of these.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker` (`ThrottledReplicaListValidator`).
    Throttled,
}

/// What gregor makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// It does what Kafka says.
    Honoured,
    /// It is taken, and has no effect or another form here; said once.
    Mapped,
    /// It is known to Kafka, taken, and has no effect; warned of once.
    Ignored,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The kind of its values.
    pub kind: Kind,
    /// Its value where nobody gives one; `None` where there is none.
    pub default: Option<&'static str>,
    /// What is asked of its values.
    pub check: Check,
    /// What gregor makes of it.
    pub treatment: Treatment,
    /// Whether Kafka keeps it out of its documentation.
    pub internal: bool,
    /// One sentence. It may be empty for a key without effect.
    pub documentation: &'static str,
}

impl Key {
    /// Whether its values are never shown (`ConfigEntry.isSensitive`).
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Its default in Kafka, where gregor's differs: `None` where it is the same.
    pub fn kafka_default(&self) -> Option<&'static str> {
        OWN_DEFAULTS.iter().find(|(name, _)| *name == self.name).map(|(_, default)| *default)
    }
}

/// Broker keys whose default is gregor's own, with Kafka's: a node that died is to be found sooner.
const OWN_DEFAULTS: &[(&str, &str)] = &[
    ("broker.heartbeat.interval.ms", "2000"),
    ("broker.session.timeout.ms", "9000"),
    ("controller.quorum.election.timeout.ms", "1000"),
];

/// What `compression.type` takes (`BrokerCompressionType`).
const COMPRESSION: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
/// What `message.timestamp.type` takes.
const TIMESTAMP: &[&str] = &["CreateTime", "LogAppendTime"];

/// Declares a table of keys, one row a key, in the order of names: `public|internal honoured|mapped|ignored "name", kind,
/// default, check, "doc"`.
macro_rules! keys {
    ($table:ident $($visibility:ident $treatment:ident $name:literal, $kind:expr, $default:expr, $check:expr, $doc:literal;)*) => {
        /// The rows of this table, in the order of names.
        pub(super) const $table: &[Key] = &[$(Key {
            name: $name,
            kind: $kind,
            default: $default,
            check: $check,
            treatment: keys!(@$treatment),
            internal: keys!(@$visibility),
            documentation: $doc,
        }),*];
    };
    (@honoured) => { Treatment::Honoured };
    (@mapped) => { Treatment::Mapped };
    (@ignored) => { Treatment::Ignored };
    (@public) => { false };
    (@internal) => { true };
}
use keys;

/// The tables of a scope, each in the order of names.
fn tables(scope: Scope) -> [&'static [Key]; 3] {
    match scope {
        Scope::Broker => [broker::KEYS, ignored::KEYS, quota::KEYS],
        Scope::Topic => [topic::KEYS, &[], &[]],
        Scope::Group => [group::KEYS, &[], &[]],
    }
}

/// Every key of a scope.
pub fn all(scope: Scope) -> impl Iterator<Item = &'static Key> {
    tables(scope).into_iter().flatten()
}

/// The key of that name.
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    let find_in = |table: &'static [Key]| table.binary_search_by_key(&name, |key| key.name).ok().map(|at| &table[at]);
    tables(scope).into_iter().find_map(find_in)
}

/// The known name that is nearest to a mistyped one, if one is near: at most a quarter of the letters are wrong, and
/// never more than three.
pub fn did_you_mean(scope: Scope, name: &str) -> Option<&'static str> {
    let allowed = (name.chars().count() / 4).clamp(1, 3);
    all(scope)
        .filter(|key| !key.internal)
        .map(|key| (distance(key.name, name), key.name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour to turn one text into the other
/// (the restricted Damerau-Levenshtein distance).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests;
