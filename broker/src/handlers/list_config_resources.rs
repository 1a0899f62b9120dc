//! ListConfigResources (74): what may have settings (KIP-1142; version 0 was ListClientMetricsResources).

use super::{
    Services,
    context::{Outcome, RequestContext},
    view::{View, text},
};
use protocol::{
    error_code::ErrorCode,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources_response::ConfigResource,
    },
};
use std::sync::Arc;

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// The kinds that each version knows (`ListConfigResourcesRequest.supportedResourceTypes`).
fn known_types(version: i16) -> &'static [i8] {
    if version == 0 { &[CLIENT_METRICS] } else { &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP] }
}

/// Answers at once (`KafkaApis.handleListConfigResources`): topics, brokers and their loggers, whether they have settings
/// of their own or not. No client metrics and no group has any here. A kind that the version does not know is
/// `UNSUPPORTED_VERSION`.
pub(super) fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> Outcome {
    let image = services.metadata.image();
    let listener = &context.connection.listener;
    let view = View { image: &image, listener, node_id: services.config.node_id };
    let response = answer(view, context.api_version, &request.resource_types);
    context.done(&response.with_throttle_time_ms(context.throttle_time_ms()))
}

fn answer(view: View<'_>, version: i16, asked: &[i8]) -> ListConfigResourcesResponse {
    let known = known_types(version);
    if asked.iter().any(|kind| !known.contains(kind)) {
        return ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    }
    let wanted = |kind: i8| known.contains(&kind) && (asked.is_empty() || asked.contains(&kind));
    let resource =
        |kind: i8, name: &str| ConfigResource::default().with_resource_type(kind).with_resource_name(text(name));
    let mut resources = Vec::new();
    for kind in [BROKER_LOGGER, BROKER] {
        if wanted(kind) {
            resources.extend(view.brokers().map(|(id, ..)| resource(kind, &id.to_string())));
        }
    }
    if wanted(TOPIC) {
        resources.extend(view.image.topics_by_name().map(|topic| resource(TOPIC, &topic.name)));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Cluster, LISTENER};
    use super::*;
    use protocol::ids::BrokerId;

    fn listed(version: i16, asked: &[i8]) -> String {
        let cluster = Cluster::of(2).topic(1, "orders", 1).fenced(2);
        let view = View { image: cluster.image(), listener: LISTENER, node_id: BrokerId(1) };
        let response = answer(view, version, asked);
        let named =
            response.config_resources.iter().map(|one| format!("{}:{}", one.resource_type, one.resource_name.as_str()));
        let code = ErrorCode::from_code(response.error_code).expect("a code of Kafka's");
        format!("{code} {}", named.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_asked_for_is_listed_and_everything_if_nothing_is() {
        assert_eq!(listed(1, &[]), "NONE 8:1 8:2 4:1 4:2 2:orders");
        assert_eq!(listed(1, &[TOPIC, CLIENT_METRICS, GROUP]), "NONE 2:orders");
        assert_eq!(listed(1, &[TOPIC, 7]), "UNSUPPORTED_VERSION ");
    }

    #[test]
    fn before_version_1_there_are_only_client_metrics_and_here_there_are_none() {
        assert_eq!(listed(0, &[]), "NONE ");
    }
}
