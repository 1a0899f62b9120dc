//! Pure. What the settings mean: Kafka's keys, the values they take, and which of several values holds.
//!
//! Kafka's table of keys is data ([`keys`]); a node's static settings are [`Properties`]; the dynamic ones are in the
//! image. Strongest first, a topic's setting is its own, the broker's own dynamic one, the dynamic one of all brokers,
//! the static one, the default ([`effective`]).

pub mod describe;
pub mod dynamic;
pub mod effective;
pub mod keys;
mod properties;
pub mod topic;
pub mod values;

pub use effective::ConfigSource;
pub use properties::{Origin, Properties, Property, UnknownKey};
pub use topic::{CleanupPolicy, CompressionType, ElectionConfig, TimestampType, TopicConfig};
pub use values::ConfigError;
