//! Pure. Which settings of a broker may change while it runs, and whether given ones may hold.
//!
//! What Kafka can change and gregor reads only at its start (listeners, their certificates) is not here: to take such a
//! setting would be to promise what does not happen.

use super::keys::{self, Key, Scope};
use super::values::{ConfigError, known};
use std::collections::BTreeMap;

/// Beside the keys that topics fall back on, those that Kafka changes in a running broker and that either take effect
/// here at once or have none to take (`DynamicBrokerConfig.AllDynamicConfigs`).
const BEYOND_TOPICS: &[&str] = &[
    "background.threads",
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "metric.reporters",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "producer.id.expiration.ms",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    "transaction.partition.verification.enable",
];

/// Whether a change of this broker key takes effect without a restart. Of several keys that stand in for one of a topic
/// only the first may change, as in Kafka: `log.retention.ms`, and not `log.retention.hours`.
pub fn is_dynamic(key: &Key) -> bool {
    let first = |topic_key| keys::synonyms(topic_key).first().is_some_and(|synonym| synonym.name == key.name);
    keys::stands_in_for(key.name).any(first) || BEYOND_TOPICS.contains(&key.name)
}

/// Judges the dynamic settings that a broker, or all brokers, are to have (`DynamicBrokerConfig.validateConfigs`).
///
/// # Errors
/// A key that only a restart can change, an unknown key (which Kafka takes, and which could only be a mistake here), a
/// value that its key does not take.
pub fn validate(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let fixed = |name: &&String| keys::find(Scope::Broker, name).is_some_and(|key| !is_dynamic(key));
    let read_only: Vec<String> = settings.keys().filter(fixed).cloned().collect();
    if !read_only.is_empty() {
        return Err(ConfigError::ReadOnly { keys: read_only });
    }
    settings.iter().try_for_each(|(name, value)| known(Scope::Broker, name)?.check(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> String {
        let settings = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        validate(&settings).err().map_or_else(|| "taken".to_owned(), |error| error.to_string())
    }

    #[test]
    fn only_what_a_running_broker_can_change_is_taken() {
        let refusals = [
            refusal("log.retention.ms", "1000"),
            refusal("log.retention.hours", "1"),
            refusal("message.max.bytes", "many"),
            refusal("node.id", "7"),
            refusal("log.retenton.ms", "7"),
            refusal("num.io.threads", "16"),
            refusal("leader.replication.throttled.rate", "-1"),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @"
        taken
        Cannot update these configs dynamically: Set(log.retention.hours)
        Invalid value many for configuration message.max.bytes: Not a number of type INT
        Cannot update these configs dynamically: Set(node.id)
        Unknown broker config name: log.retenton.ms (did you mean log.retention.ms?)
        taken
        Invalid value -1 for configuration leader.replication.throttled.rate: Value must be at least 0
        ");
    }

    #[test]
    fn every_dynamic_key_is_a_broker_key() {
        for name in BEYOND_TOPICS {
            assert!(keys::find(Scope::Broker, name).is_some(), "{name}");
        }
    }
}
