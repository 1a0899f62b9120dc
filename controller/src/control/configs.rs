//! Pure. The settings that a topic is created with: judged, recorded, and told back with all the others.

use super::draft::Draft;
use metadata::config::{describe, topic};
use metadata::record::{ConfigResource, Record};
use protocol::error_code::ErrorCode;
use protocol::messages::StrBytes;
use protocol::messages::create_topics_request::CreatableTopicConfig;
use protocol::messages::create_topics_response::CreatableTopicConfigs;
use std::collections::BTreeMap;

/// A refusal: the code, and what is said to people.
pub(super) type Refusal = (ErrorCode, String);

/// The settings of a new topic, or INVALID_CONFIG (40): a key without a value, an unknown key, a value that the key does
/// not take (`ReplicationControlManager.computeConfigChanges`, `ControllerConfigurationValidator`).
pub(super) fn read(given: &[CreatableTopicConfig]) -> Result<BTreeMap<String, String>, Refusal> {
    let without_value: Vec<&str> =
        given.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
    if !without_value.is_empty() {
        let names = without_value.join(",");
        return Err((ErrorCode::InvalidConfig, format!("Null value not supported for topic configs: {names}")));
    }
    let pair = |config: &CreatableTopicConfig| Some((config.name.to_string(), config.value.as_ref()?.to_string()));
    let settings: BTreeMap<String, String> = given.iter().filter_map(pair).collect();
    topic::validate(&settings).map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    Ok(settings)
}

/// Records the settings of a topic.
pub(super) fn record(draft: &mut Draft<'_>, topic: &str, settings: BTreeMap<String, String>) {
    for (name, value) in settings {
        draft.push(Record::Config { resource: ConfigResource::Topic(topic.to_owned()), name, value: Some(value) });
    }
}

/// Every setting of a topic as CreateTopics v5 tells it.
pub(super) fn described(draft: &Draft<'_>, topic: &str) -> Vec<CreatableTopicConfigs> {
    let config = |setting: describe::Described| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(setting.value.map(StrBytes::from_string))
            .with_read_only(setting.read_only)
            .with_config_source(setting.source.code())
            .with_is_sensitive(setting.sensitive)
    };
    describe::topic(draft.image(), draft.properties(), topic).into_iter().map(config).collect()
}
