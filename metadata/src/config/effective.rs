//! Pure. Which of several settings holds: the topic's own, the broker's own, all brokers', the static one, the default.

use super::Properties;
use super::keys::{self, Conversion, Key, Scope};
use super::values::parse_long;
use crate::{image::Image, record::ConfigResource};
use protocol::ids::BrokerId;

/// Where a value comes from, the strongest first; the numbers are DescribeConfigs' (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// The topic's own dynamic setting.
    DynamicTopic,
    /// The broker's own dynamic setting.
    DynamicBroker,
    /// The dynamic setting of all brokers.
    DynamicDefaultBroker,
    /// The node's file, environment or command line.
    StaticBroker,
    /// Nobody said anything.
    Default,
}

impl ConfigSource {
    /// The number that stands for it on the wire.
    pub fn code(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// A value that a key has, or would have if nothing stronger stood before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The key that gives it: the key itself, or one that stands in for it.
    pub name: &'static str,
    /// The value, converted to the terms of the key that was asked for.
    pub value: String,
    /// The value as it was given.
    pub given: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// Where settings are looked for.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    image: &'a Image,
    properties: &'a Properties,
    broker: Option<BrokerId>,
    topic: Option<ConfigResource>,
}

impl<'a> Layers<'a> {
    /// The settings of a node, which may be another than the one whose static settings these are.
    pub fn of_broker(image: &'a Image, properties: &'a Properties, broker: Option<BrokerId>) -> Self {
        Self { image, properties, broker, topic: None }
    }

    /// The settings of a topic on the node whose static settings these are.
    pub fn of_topic(image: &'a Image, properties: &'a Properties, topic: &str) -> Self {
        let topic = Some(ConfigResource::Topic(topic.to_owned()));
        Self { image, properties, broker: properties.node_id(), topic }
    }

    fn dynamic(&self, resource: &ConfigResource, name: &str) -> Option<&'a str> {
        self.image.configs.get(resource, name)
    }

    /// What one source says of a broker key.
    fn broker_setting(&self, source: ConfigSource, key: &Key) -> Option<&'a str> {
        match source {
            ConfigSource::DynamicTopic => None,
            ConfigSource::DynamicBroker => self.dynamic(&ConfigResource::Broker(Some(self.broker?)), key.name),
            ConfigSource::DynamicDefaultBroker => self.dynamic(&ConfigResource::Broker(None), key.name),
            ConfigSource::StaticBroker => self.properties.get(key.name).map(|property| property.value.as_str()),
            ConfigSource::Default => key.default,
        }
    }
}

/// The sources of a broker key, the strongest first.
const BROKER_SOURCES: [ConfigSource; 4] = [
    ConfigSource::DynamicBroker,
    ConfigSource::DynamicDefaultBroker,
    ConfigSource::StaticBroker,
    ConfigSource::Default,
];

/// Every value that a broker key has, the strongest first.
pub fn broker_candidates(layers: &Layers<'_>, key: &'static Key) -> Vec<Candidate> {
    BROKER_SOURCES.into_iter().filter_map(|source| broker_candidate(layers, key, source)).collect()
}

/// What a broker key and those that give the same in other units have, source by source, from the key's own strongest
/// value on (`ConfigHelper.configSynonyms`).
pub fn broker_synonyms(layers: &Layers<'_>, key: &'static Key) -> Vec<Candidate> {
    let names = keys::alternatives(key.name);
    let mut found = Vec::new();
    for source in BROKER_SOURCES {
        for name in &names {
            let key = keys::find(Scope::Broker, name).expect("an alternative is a broker key");
            found.extend(broker_candidate(layers, key, source));
        }
    }
    found.into_iter().skip_while(|candidate| candidate.name != key.name).collect()
}

fn broker_candidate(layers: &Layers<'_>, key: &'static Key, source: ConfigSource) -> Option<Candidate> {
    let given = layers.broker_setting(source, key)?;
    key.check(given).is_ok().then(|| Candidate {
        name: key.name,
        value: given.to_owned(),
        given: given.to_owned(),
        source,
    })
}

/// Every value that a topic key has, the strongest first: its own, then what the keys that stand in for it have, source
/// by source (`ConfigHelper.createTopicConfigEntry`). The default of the key itself closes the list where no stand-in has
/// one.
pub fn topic_candidates(layers: &Layers<'_>, key: &'static Key) -> Vec<Candidate> {
    let mut found = Vec::new();
    let own = layers.topic.as_ref().and_then(|topic| layers.dynamic(topic, key.name));
    let fits = |value: &str| key.check(value).is_ok();
    if let Some(value) = own.filter(|value| fits(value)) {
        let value = value.to_owned();
        found.push(Candidate { name: key.name, given: value.clone(), value, source: ConfigSource::DynamicTopic });
    }
    for source in BROKER_SOURCES {
        for synonym in keys::synonyms(key.name) {
            let stand_in = keys::find(Scope::Broker, synonym.name).expect("a stand-in is a broker key");
            let given = layers.broker_setting(source, stand_in);
            let converted = given.and_then(|given| Some((given, convert(given, synonym.conversion)?)));
            if let Some((given, value)) = converted.filter(|(_, value)| fits(value)) {
                found.push(Candidate { name: stand_in.name, value, given: given.to_owned(), source });
            }
        }
    }
    if let (Some(default), false) = (key.default, found.iter().any(|value| value.source == ConfigSource::Default)) {
        let value = default.to_owned();
        found.push(Candidate { name: key.name, given: value.clone(), value, source: ConfigSource::Default });
    }
    found
}

/// The value that a topic key has; `None` where nobody gave one and there is no default.
pub fn topic_value(layers: &Layers<'_>, name: &'static str) -> Option<Candidate> {
    let key = keys::find(Scope::Topic, name).unwrap_or_else(|| panic!("{name} is not a topic key"));
    topic_candidates(layers, key).into_iter().next()
}

/// The value that a broker key has; `None` where nobody gave one and there is no default.
pub fn broker_value(layers: &Layers<'_>, name: &'static str) -> Option<Candidate> {
    let key = keys::find(Scope::Broker, name).unwrap_or_else(|| panic!("{name} is not a broker key"));
    broker_candidates(layers, key).into_iter().next()
}

/// The value of a broker key that is a number and has a default.
pub fn broker_long(layers: &Layers<'_>, name: &'static str) -> i64 {
    let value = broker_value(layers, name).unwrap_or_else(|| panic!("{name} has neither a value nor a default"));
    parse_long(&value.value).unwrap_or_else(|| panic!("{name} is not a number"))
}

/// A stand-in's value in the terms of the key that it stands in for; `None` if it cannot be expressed.
fn convert(given: &str, conversion: Conversion) -> Option<String> {
    let millis_each = match conversion {
        Conversion::Same => return Some(given.to_owned()),
        Conversion::Minutes => 60_000,
        Conversion::Hours => 3_600_000,
    };
    let number = parse_long(given)?;
    let millis = if number < 0 { number } else { number.checked_mul(millis_each)? };
    Some(millis.to_string())
}

#[cfg(test)]
mod tests;
