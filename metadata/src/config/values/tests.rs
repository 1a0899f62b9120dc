//! Claims about values.

use super::*;

fn topic_key(name: &str) -> &'static Key {
    keys::find(Scope::Topic, name).expect("a topic key")
}

fn refusal(name: &str, value: &str) -> String {
    topic_key(name).check(value).expect_err("not a value for it").to_string()
}

#[test]
fn a_bad_value_is_refused_in_kafkas_words_and_names_its_key() {
    let refusals = [
        refusal("retention.ms", "soon"),
        refusal("retention.ms", "-2"),
        refusal("max.message.bytes", "3000000000"),
        refusal("preallocate", "maybe"),
        refusal("compression.type", "brotli"),
        refusal("cleanup.policy", "delete,burn"),
        refusal("min.cleanable.dirty.ratio", "1.5"),
        refusal("compression.lz4.level", "18"),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @"
    Invalid value soon for configuration retention.ms: Not a number of type LONG
    Invalid value -2 for configuration retention.ms: Value must be at least -1
    Invalid value 3000000000 for configuration max.message.bytes: Not a number of type INT
    Invalid value maybe for configuration preallocate: Expected value to be either true or false
    Invalid value brotli for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer
    Invalid value delete,burn for configuration cleanup.policy: String must be one of: compact, delete
    Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1
    Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17
    ");
}

#[test]
fn values_that_kafka_takes_are_taken() {
    for (name, value) in [
        ("retention.ms", "-1"),
        ("preallocate", "TRUE"),
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", " delete "),
        ("compression.gzip.level", "-1"),
        ("compression.zstd.level", "-131072"),
        ("min.cleanable.dirty.ratio", "0"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("leader.replication.throttled.replicas", ""),
        ("segment.bytes", "16384"),
    ] {
        assert_eq!(topic_key(name).check(value), Ok(()), "{name}={value}");
    }
}

#[test]
fn a_policy_is_one_of_four_in_whichever_case() {
    let key = keys::find(Scope::Broker, "group.consumer.migration.policy").expect("a broker key");
    for value in ["bidirectional", "Upgrade", "DOWNGRADE", "disabled"] {
        assert_eq!(key.check(value), Ok(()), "{value}");
    }
    let error = key.check("both").expect_err("not a policy").to_string();
    assert!(error.ends_with("one of (case insensitive): BIDIRECTIONAL, UPGRADE, DOWNGRADE, DISABLED"), "{error}");
}

#[test]
fn a_password_is_never_repeated() {
    let key = Key { check: Check::OneOf(&["right"]), ..*keys::find(Scope::Broker, "ssl.key.password").expect("a key") };
    let error = key.check("secret").expect_err("not the right one");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn an_unknown_key_is_told_what_was_probably_meant() {
    let error = known(Scope::Topic, "retention.mss").expect_err("no such key");
    insta::assert_snapshot!(error, @"Unknown topic config name: retention.mss (did you mean retention.ms?)");
    let error = known(Scope::Topic, "colour").expect_err("no such key");
    insta::assert_snapshot!(error, @"Unknown topic config name: colour");
}
