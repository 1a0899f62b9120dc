//! Claims about the table of keys.

use super::*;
use std::collections::BTreeSet;

#[test]
fn every_default_is_a_value_that_its_key_takes() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
        for key in all(scope) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{scope} {}", key.name);
            }
        }
    }
}

#[test]
fn no_key_stands_twice_in_a_scope() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
        let names: BTreeSet<&str> = all(scope).map(|key| key.name).collect();
        assert_eq!(names.len(), all(scope).count(), "{scope}");
    }
}

#[test]
fn every_key_is_found_by_its_name() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
        for key in all(scope) {
            assert_eq!(find(scope, key.name), Some(key), "the table of {scope} keys is in order");
        }
    }
}

#[test]
fn every_honoured_key_has_a_sentence() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
        for key in all(scope).filter(|key| key.treatment == Treatment::Honoured) {
            assert!(key.documentation.ends_with('.'), "{}", key.name);
        }
    }
}

#[test]
fn the_table_is_kafkas() {
    let count = |scope| all(scope).count();
    // Beside the 336 keys of Kafka's ConfigDef stand three that are dynamic only, and two of gregor's own.
    assert_eq!((count(Scope::Broker), count(Scope::Topic), count(Scope::Group)), (336 + 3 + 2, 34, 10));
}

#[test]
fn a_dead_broker_is_found_sooner_than_kafka_finds_it() {
    let default = |name| find(Scope::Broker, name).and_then(|key| key.default);
    assert_eq!(default("broker.heartbeat.interval.ms"), Some("500"));
    assert_eq!(default("broker.session.timeout.ms"), Some("3000"));
    for key in all(Scope::Broker) {
        let own = key.documentation.contains("Kafka's default is");
        assert_eq!(key.kafka_default().is_some(), own, "{} says so, and what it is in Kafka", key.name);
    }
}

#[test]
fn a_mistyped_name_brings_the_right_one_to_mind() {
    assert_eq!(did_you_mean(Scope::Broker, "log.retention.hour"), Some("log.retention.hours"));
    assert_eq!(did_you_mean(Scope::Broker, "num.partition"), Some("num.partitions"));
    assert_eq!(did_you_mean(Scope::Broker, "node.di"), Some("node.id"));
    assert_eq!(did_you_mean(Scope::Topic, "retention.msec"), Some("retention.ms"));
    assert_eq!(did_you_mean(Scope::Topic, "min.insync.replica"), Some("min.insync.replicas"));
    assert_eq!(did_you_mean(Scope::Topic, "colour"), None);
}

#[test]
fn the_distance_counts_letters_and_swaps() {
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("abc", "abc"), 0);
    assert_eq!(distance("abc", "acb"), 1);
    assert_eq!(distance("kitten", "sitting"), 3);
}

#[test]
fn every_stand_in_is_a_broker_key_of_the_same_kind_of_value() {
    for key in all(Scope::Topic) {
        for synonym in synonyms(key.name) {
            let stand_in = find(Scope::Broker, synonym.name).expect("a stand-in is a broker key");
            let numbers = [Kind::Int, Kind::Long];
            let alike = stand_in.kind == key.kind || (numbers.contains(&stand_in.kind) && numbers.contains(&key.kind));
            assert!(alike, "{} for {}", synonym.name, key.name);
            assert!(stands_in_for(synonym.name).any(|name| name == key.name));
        }
    }
}
