//! Claims about which setting holds.

use super::*;
use crate::image::tests::Story;
use crate::record::Record;

fn set(resource: ConfigResource, name: &str, value: &str) -> Record {
    Record::Config { resource, name: name.into(), value: Some(value.into()) }
}

fn node(settings: &[(&str, &str)]) -> Properties {
    let with =
        |properties: Properties, (name, value): &(&str, &str)| properties.with(name, value).expect("a good value");
    settings.iter().fold(Properties::new().with("node.id", "1").expect("an id"), with)
}

/// Every value that a topic key has, a line each, the strongest first.
fn candidates(image: &Image, properties: &Properties, name: &str) -> String {
    let layers = Layers::of_topic(image, properties, "orders");
    let key = keys::find(Scope::Topic, name).expect("a topic key");
    let line = |candidate: Candidate| format!("{:?} {} {}", candidate.source, candidate.name, candidate.value);
    topic_candidates(&layers, key).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_topic_beats_the_broker_beats_all_brokers_beats_the_file_beats_the_default() {
    let image = Story::default()
        .record(set(ConfigResource::Topic("orders".into()), "retention.ms", "1"))
        .record(set(ConfigResource::Broker(Some(BrokerId(1))), "log.retention.ms", "2"))
        .record(set(ConfigResource::Broker(Some(BrokerId(2))), "log.retention.ms", "22"))
        .record(set(ConfigResource::Broker(None), "log.retention.ms", "3"))
        .0;
    insta::assert_snapshot!(candidates(&image, &node(&[("log.retention.ms", "4")]), "retention.ms"), @"
    DynamicTopic retention.ms 1
    DynamicBroker log.retention.ms 2
    DynamicDefaultBroker log.retention.ms 3
    StaticBroker log.retention.ms 4
    Default log.retention.hours 604800000
    ");
}

#[test]
fn hours_and_minutes_stand_in_for_milliseconds() {
    let image = Image::default();
    insta::assert_snapshot!(candidates(&image, &node(&[("log.retention.hours", "2")]), "retention.ms"), @"
    StaticBroker log.retention.hours 7200000
    Default log.retention.hours 604800000
    ");
    let both = node(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
    insta::assert_snapshot!(candidates(&image, &both, "retention.ms"), @"
    StaticBroker log.retention.minutes 180000
    StaticBroker log.retention.hours 7200000
    Default log.retention.hours 604800000
    ");
    let never = node(&[("log.retention.hours", "-1")]);
    insta::assert_snapshot!(candidates(&image, &never, "retention.ms"), @"
    StaticBroker log.retention.hours -1
    Default log.retention.hours 604800000
    ");
}

#[test]
fn the_default_of_a_topic_key_is_that_of_the_keys_that_stand_in_for_it() {
    let (image, properties) = (Image::default(), Properties::new());
    let layers = Layers::of_topic(&image, &properties, "orders");
    for key in keys::all(Scope::Topic) {
        let holds = topic_candidates(&layers, key).into_iter().next().map(|candidate| candidate.value);
        assert_eq!(holds.as_deref(), key.default, "{}", key.name);
    }
}

#[test]
fn a_value_that_no_longer_fits_is_passed_over() {
    let image = Story::default().record(set(ConfigResource::Topic("orders".into()), "retention.ms", "soon")).0;
    let layers_of = Properties::new();
    let layers = Layers::of_topic(&image, &layers_of, "orders");
    assert_eq!(topic_value(&layers, "retention.ms").map(|value| value.value).as_deref(), Some("604800000"));
}
