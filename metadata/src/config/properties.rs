//! Pure. The static settings of one node: what its file, its environment and its command line say.
//!
//! A value is judged when it is set, so that what is in here can always be read: the typed getters never fail. Whoever
//! starts a node fills this, the lower precedence first.

use super::keys::{self, Key, Kind, Scope, Treatment};
use super::values::{ConfigError, parse_boolean, parse_double, parse_list, parse_long};
use protocol::ids::BrokerId;
use std::{collections::BTreeMap, fmt};

/// Where a static setting comes from; a later one beats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// What development mode chooses.
    DevelopmentMode,
    /// `server.properties`.
    File,
    /// `KAFKA_*` and `GREGOR_*` variables.
    Environment,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DevelopmentMode => "development mode",
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        })
    }
}

/// One static setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The text of its value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A key that nobody knows: taken, because it may belong to a plug-in, and worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key.
    pub name: String,
    /// The key that was probably meant.
    pub suggestion: Option<&'static str>,
}

/// Keys beyond Kafka's `ConfigDef` that are taken as they are.
const OUTSIDE_CONFIG_DEF: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];
/// Beginnings of keys that are taken as they are: settings of one listener.
const OUTSIDE_PREFIXES: &[&str] = &["listener.name."];

/// Keys that Kafka 4 no longer has, by the beginning of their name, and what to do about them.
const REMOVED: &[(&str, &str)] = &[
    ("zookeeper.", "there is no ZooKeeper; delete it, and name the controllers in controller.quorum.voters"),
    ("inter.broker.protocol.version", "delete it; the cluster's metadata.version says what brokers speak"),
    ("log.message.format.version", "delete it; every log is written in record format 2"),
];

/// The static settings of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    values: BTreeMap<String, Property>,
}

impl Properties {
    /// Nothing set: every key has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key, unless a stronger origin has set it. An unknown key is taken: see [`Properties::unknown`].
    ///
    /// # Errors
    /// A value that the key does not take; a key that Kafka 4 no longer has.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        if let Some((_, advice)) = REMOVED.iter().find(|(removed, _)| name.starts_with(removed)) {
            return Err(ConfigError::Removed { key: name.to_owned(), advice });
        }
        if let Some(key) = keys::find(Scope::Broker, name) {
            key.check(value)?;
        }
        if self.values.get(name).is_none_or(|before| before.origin <= origin) {
            self.values.insert(name.to_owned(), Property { value: value.trim().to_owned(), origin });
        }
        Ok(())
    }

    /// As [`Properties::set`] from the command line, for a start in code.
    ///
    /// # Errors
    /// As [`Properties::set`].
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.set(name, value, Origin::CommandLine)?;
        Ok(self)
    }

    /// What was set, default aside.
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.values.get(name)
    }

    /// Every key that was set, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.values.iter().map(|(name, property)| (name.as_str(), property))
    }

    /// The keys that were set and that nobody knows.
    pub fn unknown(&self) -> Vec<UnknownKey> {
        let outside = |name: &str| {
            OUTSIDE_CONFIG_DEF.contains(&name) || OUTSIDE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        let unknown = |name: &&String| keys::find(Scope::Broker, name).is_none() && !outside(name);
        let describe =
            |name: &String| UnknownKey { name: name.clone(), suggestion: keys::did_you_mean(Scope::Broker, name) };
        self.values.keys().filter(unknown).map(describe).collect()
    }

    /// The keys that were set, that Kafka knows, and that are not honoured here.
    pub fn without_effect(&self) -> Vec<&'static Key> {
        let found = self.values.keys().filter_map(|name| keys::find(Scope::Broker, name));
        found.filter(|key| key.treatment != Treatment::Honoured).collect()
    }

    /// The node's id: `node.id`, or else `broker.id`.
    pub fn node_id(&self) -> Option<BrokerId> {
        let given = |name| self.values.get(name).and_then(|property| property.value.parse::<i32>().ok());
        given("node.id").or_else(|| given("broker.id")).and_then(BrokerId::from_wire)
    }

    /// The value of a key, its default where nobody gave one; `None` where there is no default either.
    pub fn text(&self, name: &str) -> Option<&str> {
        let key = self.key(name);
        self.values.get(name).map(|property| property.value.as_str()).or(key.default)
    }

    /// The value of a key of kind int, short or long, if it has one.
    pub fn optional_long(&self, name: &str) -> Option<i64> {
        let kind = self.key(name).kind;
        assert!(matches!(kind, Kind::Int | Kind::Short | Kind::Long), "{name} is of kind {kind:?}");
        self.text(name).map(|text| parse_long(text).expect("a value is judged when it is set"))
    }

    /// The value of a key of kind int, short or long that has a default.
    pub fn long(&self, name: &str) -> i64 {
        self.optional_long(name).unwrap_or_else(|| panic!("{name} has neither a value nor a default"))
    }

    /// The value of a key of kind int or short that has a default.
    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or_else(|_| panic!("{name} is of kind long"))
    }

    /// The value of a number that has a default and a lower bound of zero or more: bytes, milliseconds, counts.
    pub fn unsigned(&self, name: &str) -> u64 {
        u64::try_from(self.long(name)).unwrap_or_else(|_| panic!("{name} may be negative"))
    }

    /// The value of a key of kind boolean that has a default.
    pub fn boolean(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_else(|| panic!("{name} has neither a value nor a default"));
        parse_boolean(text).unwrap_or_else(|| panic!("{name} is not of kind boolean"))
    }

    /// The value of a key of kind double that has a default.
    pub fn double(&self, name: &str) -> f64 {
        let text = self.text(name).unwrap_or_else(|| panic!("{name} has neither a value nor a default"));
        parse_double(text).unwrap_or_else(|| panic!("{name} is not of kind double"))
    }

    /// The value of a key as a list; empty where it has no value.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).map(|text| parse_list(text).collect()).unwrap_or_default()
    }

    /// The key of that name.
    ///
    /// # Panics
    /// When there is none: the names that are asked for stand in gregor's own code.
    fn key(&self, name: &str) -> &'static Key {
        keys::find(Scope::Broker, name).unwrap_or_else(|| panic!("{name} is not a broker key"))
    }
}

#[cfg(test)]
mod tests;
