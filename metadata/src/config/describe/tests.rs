//! Claims about settings as they are told.

use super::*;
use crate::image::tests::Story;
use crate::record::{ConfigResource, Record};

fn set(resource: ConfigResource, name: &str, value: &str) -> Record {
    Record::Config { resource, name: name.into(), value: Some(value.into()) }
}

#[test]
fn every_public_topic_key_is_told_with_its_source() {
    let image = Story::default().record(set(ConfigResource::Topic("orders".into()), "retention.ms", "1000")).0;
    let told = topic(&image, &Properties::new().with("log.segment.bytes", "65536").expect("a good value"), "orders");
    assert_eq!(told.len(), 33, "all but internal.segment.bytes, which nobody gave");
    let lines = told
        .iter()
        .filter(|setting| setting.source != ConfigSource::Default)
        .map(|setting| format!("{} {:?} {:?} {:?}", setting.name, setting.value, setting.source, setting.synonyms));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    retention.ms Some("1000") DynamicTopic [DescribedSynonym { name: "retention.ms", value: Some("1000"), source: DynamicTopic }, DescribedSynonym { name: "log.retention.hours", value: Some("168"), source: Default }]
    segment.bytes Some("65536") StaticBroker [DescribedSynonym { name: "log.segment.bytes", value: Some("65536"), source: StaticBroker }, DescribedSynonym { name: "log.segment.bytes", value: Some("1073741824"), source: Default }]
    "#);
}

#[test]
fn a_broker_tells_all_its_settings_and_keeps_its_secrets() {
    let properties = Properties::new().with("ssl.key.password", "secret").expect("a good value");
    let told = broker(&Image::default(), &properties, Some(BrokerId(1)));
    let find = |name: &str| told.iter().find(|setting| setting.name == name).expect("every public key is told");
    assert_eq!((find("ssl.key.password").sensitive, find("ssl.key.password").value.clone()), (true, None));
    assert_eq!(find("ssl.key.password").source, ConfigSource::StaticBroker);
    assert!(find("log.retention.hours").read_only);
    assert!(!find("log.retention.ms").read_only);
    assert_eq!(find("broker.session.timeout.ms").value.as_deref(), Some("3000"));
}

#[test]
fn all_brokers_tell_only_what_was_set_for_all() {
    let image = Story::default()
        .record(set(ConfigResource::Broker(None), "log.retention.ms", "5"))
        .record(set(ConfigResource::Broker(Some(BrokerId(1))), "log.retention.ms", "6"))
        .0;
    let told = broker(&image, &Properties::new(), None);
    let values: Vec<_> = told.iter().map(|setting| (setting.name, setting.value.as_deref())).collect();
    assert_eq!(values, [("log.retention.ms", Some("5"))]);
}

#[test]
fn a_setting_that_may_be_given_in_hours_tells_both() {
    let properties = Properties::new().with("log.retention.ms", "1000").expect("a good value");
    let told = broker(&Image::default(), &properties, Some(BrokerId(1)));
    let line = |name: &str| {
        let setting = told.iter().find(|setting| setting.name == name).expect("every public key is told");
        let synonyms =
            setting.synonyms.iter().map(|one| format!("{}={}", one.name, one.value.as_deref().unwrap_or("-")));
        let synonyms: Vec<String> = synonyms.collect();
        format!("{name} {:?} {:?} [{}]", setting.value, setting.source, synonyms.join(" "))
    };
    let lines = ["log.retention.ms", "log.retention.minutes", "log.retention.hours", "log.roll.ms"].map(line);
    insta::assert_snapshot!(lines.join("\n"), @r#"
    log.retention.ms Some("1000") StaticBroker [log.retention.ms=1000 log.retention.hours=168]
    log.retention.minutes None Default []
    log.retention.hours Some("168") Default [log.retention.hours=168]
    log.roll.ms None Default []
    "#);
}

#[test]
fn every_setting_says_what_it_is() {
    let told = broker(&Image::default(), &Properties::new(), Some(BrokerId(1)));
    assert!(told.len() > 300 && told.iter().all(|setting| setting.documentation.is_some()));
    assert!(told.iter().all(|setting| !setting.name.ends_with("throttled.rate")), "told only where it was given");
}
