//! Pure. Settings as DescribeConfigs tells them: value, source, and what the value would be otherwise.

use super::Properties;
use super::dynamic::is_dynamic;
use super::effective::{Candidate, ConfigSource, Layers, broker_candidates, broker_synonyms, topic_candidates};
use super::keys::{self, Key, Kind, Scope};
use crate::image::Image;
use protocol::ids::BrokerId;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The key.
    pub name: &'static str,
    /// The value that holds; `None` where there is none, or where it is secret.
    pub value: Option<String>,
    /// Where that value comes from.
    pub source: ConfigSource,
    /// Whether it can only be changed by a restart.
    pub read_only: bool,
    /// Whether it is secret.
    pub sensitive: bool,
    /// The kind of its values.
    pub kind: Kind,
    /// One sentence about it.
    pub documentation: Option<&'static str>,
    /// Every value that was given, the one that holds first.
    pub synonyms: Vec<DescribedSynonym>,
}

/// One value that was given for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The key that gives it.
    pub name: &'static str,
    /// The value as it was given; `None` where it is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// The settings of a topic, on the node whose static settings these are; internal keys only where they were given
/// (`ConfigHelper.describeConfigs`).
pub fn topic(image: &Image, properties: &Properties, name: &str) -> Vec<Described> {
    let layers = Layers::of_topic(image, properties, name);
    let describe_key = |key| {
        let candidates = topic_candidates(&layers, key);
        (!key.internal || !candidates.is_empty()).then(|| describe(key, candidates.first().cloned(), candidates, false))
    };
    keys::all(Scope::Topic).filter_map(describe_key).collect()
}

/// The settings of a broker, which must be the node whose static settings these are; with `None`, the dynamic settings
/// of all brokers, and only those that were given.
pub fn broker(image: &Image, properties: &Properties, broker: Option<BrokerId>) -> Vec<Described> {
    let layers = Layers::of_broker(image, properties, broker);
    let mut described: Vec<Described> = Vec::new();
    for key in keys::all(Scope::Broker) {
        let (mut candidates, mut synonyms) = (broker_candidates(&layers, key), broker_synonyms(&layers, key));
        if broker.is_none() {
            let of_all = |candidate: &Candidate| candidate.source == ConfigSource::DynamicDefaultBroker;
            candidates.retain(of_all);
            synonyms.retain(of_all);
        }
        let given = candidates.iter().any(|candidate| candidate.source != ConfigSource::Default);
        if given || (broker.is_some() && !key.internal) {
            described.push(describe(key, candidates.into_iter().next(), synonyms, !is_dynamic(key)));
        }
    }
    described.sort_by_key(|described| described.name);
    described
}

/// What is said of a key that Kafka knows and that has no sentence of its own.
const WITHOUT_EFFECT: &str = "Known to Kafka; has no effect here.";

fn describe(key: &'static Key, holds: Option<Candidate>, synonyms: Vec<Candidate>, read_only: bool) -> Described {
    let show = |value: String| (!key.is_sensitive()).then_some(value);
    let synonym = |candidate: Candidate| DescribedSynonym {
        name: candidate.name,
        value: show(candidate.given),
        source: candidate.source,
    };
    Described {
        name: key.name,
        source: holds.as_ref().map_or(ConfigSource::Default, |candidate| candidate.source),
        value: holds.and_then(|candidate| show(candidate.value)),
        read_only,
        sensitive: key.is_sensitive(),
        kind: key.kind,
        documentation: Some(if key.documentation.is_empty() { WITHOUT_EFFECT } else { key.documentation }),
        synonyms: synonyms.into_iter().map(synonym).collect(),
    }
}

#[cfg(test)]
mod tests;
