//! DescribeConfigs (32): every setting of a topic or of this broker, with its source and what it would be otherwise.

use super::{
    Services,
    context::{Outcome, RequestContext},
    view::text,
};
use metadata::{
    config::describe::{self, Described},
    image::Image,
};
use protocol::{
    error_code::ErrorCode,
    ids::BrokerId,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse, StrBytes,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
    },
    topic_name,
};
use std::sync::Arc;

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Answers at once (`ConfigHelper.handleDescribeConfigsRequest`). A broker is described by itself only: asked for another
/// one, or for a kind of resource that has no settings here, it answers `INVALID_REQUEST`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: DescribeConfigsRequest) -> Outcome {
    let image = services.metadata.image();
    let describe = |resource: &DescribeConfigsResource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match settings(services, &image, resource) {
            Ok(settings) => result.with_configs(chosen(settings, resource, &request)),
            Err((error, message)) => {
                result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        }
    };
    let response = DescribeConfigsResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_results(request.resources.iter().map(describe).collect());
    context.done(&response)
}

fn settings(
    services: &Services,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let (properties, name) = (&services.config.properties, resource.resource_name.as_str());
    match resource.resource_type {
        TOPIC => {
            if let Err(error) = topic_name::validate(name) {
                return Err((ErrorCode::InvalidTopicException, error.to_string()));
            }
            if image.topic_by_name(name).is_none() {
                let error = ErrorCode::UnknownTopicOrPartition;
                return Err((error, error.message().to_owned()));
            }
            Ok(describe::topic(image, properties, name))
        }
        BROKER if name.is_empty() => Ok(describe::broker(image, properties, None)),
        BROKER => {
            let node_id = services.config.node_id;
            is_this_broker(node_id, name, " or empty string,")?;
            Ok(describe::broker(image, properties, Some(node_id)))
        }
        BROKER_LOGGER if name.is_empty() => Err((ErrorCode::InvalidRequest, "Broker id must not be empty".to_owned())),
        // What is logged is set at the start: no logger can be altered, so none is told.
        BROKER_LOGGER => is_this_broker(services.config.node_id, name, "").map(|()| Vec::new()),
        other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
    }
}

fn is_this_broker(node_id: BrokerId, name: &str, or: &str) -> Result<(), (ErrorCode, String)> {
    let why = match name.parse::<i32>() {
        Ok(id) if BrokerId(id) == node_id => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {node_id}{or} but received {name}"),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err((ErrorCode::InvalidRequest, why))
}

/// The settings that were asked for, each with as much about it as was asked.
fn chosen(
    settings: Vec<Described>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Vec<DescribeConfigsResourceResult> {
    let keys = resource.configuration_keys.as_deref();
    let wanted = |setting: &Described| {
        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == setting.name))
    };
    let describe = |setting: Described| {
        let synonyms = if request.include_synonyms { setting.synonyms } else { Vec::new() };
        let synonyms = synonyms.into_iter().map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(synonym.name))
                .with_value(synonym.value.map(StrBytes::from_string))
                .with_source(synonym.source.code())
        });
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(setting.value.map(StrBytes::from_string))
            .with_read_only(setting.read_only)
            .with_config_source(setting.source.code())
            .with_is_sensitive(setting.sensitive)
            .with_config_type(setting.kind.code())
            .with_documentation(setting.documentation.filter(|_| request.include_documentation).map(text))
            .with_synonyms(synonyms.collect())
    };
    settings.into_iter().filter(wanted).map(describe).collect()
}
