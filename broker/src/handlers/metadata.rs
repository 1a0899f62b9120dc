//! Metadata (3): brokers, topics, and who leads what; creates topics that are asked for where that is configured.

mod shape;

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    view::View,
};
use protocol::messages::MetadataRequest;
use shape::Shaped;
use std::{sync::Arc, time::Duration};

/// How long an answer waits for topics that are being created for it. Kafka does not wait: its clients see
/// `UNKNOWN_TOPIC_OR_PARTITION` and ask again.
const CREATION_MAX: Duration = Duration::from_millis(1_500);

/// Answers at once from the metadata at hand, unless topics are to be created: then once they are there, or with
/// `UNKNOWN_TOPIC_OR_PARTITION` after [`CREATION_MAX`].
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: MetadataRequest) -> Outcome {
    let now = shaped(services, context, &request);
    let create = services.settings.auto_create_topics && request.allow_auto_topic_creation;
    if now.missing.is_empty() || !create {
        return Outcome::Done(answer(context, now));
    }
    let (services, context, missing) = (services.clone(), context.clone(), now.missing);
    Outcome::Waiting(Box::pin(async move {
        let deadline = (runtime::time::now() + CREATION_MAX).min(context.deadline);
        services.auto_creation.create(&services, &context, missing, deadline).await;
        answer(&context, shaped(&services, &context, &request))
    }))
}

fn shaped(services: &Services, context: &RequestContext, request: &MetadataRequest) -> Shaped {
    let image = services.metadata.image();
    let view = View { image: &image, listener: &context.connection.listener, node_id: services.config.node_id };
    shape::shape(view, &services.config.cluster_id, request, context.api_version)
}

fn answer(context: &RequestContext, shaped: Shaped) -> Answer {
    context.answer(&shaped.response.with_throttle_time_ms(context.throttle_time_ms()))
}
