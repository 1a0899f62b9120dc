//! AlterConfigs (33): the controller decides; a resource that only its own broker may alter is refused here.

use super::{
    Services, alteration,
    context::{Outcome, RequestContext},
    forward,
};
use protocol::{
    error_code::ErrorCode,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, StrBytes, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
};
use std::sync::Arc;

/// Passes on to the active controller what this broker has nothing against (`KafkaApis.handleAlterConfigsRequest`). Without
/// an answer from the controller every resource that was passed on gets `REQUEST_TIMED_OUT`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: AlterConfigsRequest) -> Outcome {
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let named: Vec<_> = request.resources.iter().map(name_of).collect();
        let refusals = alteration::refusals(services.config.node_id, &named);
        let mut results: Vec<_> = request.resources.iter().zip(refusals).map(result).collect();
        let passed = request.resources.iter().zip(&results).filter(|(_, result)| result.is_none());
        let passed: Vec<AlterConfigsResource> = passed.map(|(resource, _)| resource.clone()).collect();
        if !passed.is_empty() {
            let version = context.api_version;
            let request =
                AlterConfigsRequest::default().with_resources(passed).with_validate_only(request.validate_only);
            let answer =
                forward::to_controller(&services.controllers, &context, version, &request, context.deadline).await;
            let mut answers = match answer {
                Ok(response) => response.responses,
                Err(error) => {
                    request.resources.iter().map(|resource| refused(resource, error, error.message())).collect()
                }
            }
            .into_iter();
            results.iter_mut().filter(|result| result.is_none()).for_each(|result| *result = answers.next());
        }
        let response = AlterConfigsResponse::default()
            .with_throttle_time_ms(context.throttle_time_ms())
            .with_responses(results.into_iter().flatten().collect());
        context.answer(&response)
    }))
}

fn name_of(resource: &AlterConfigsResource) -> (i8, &str) {
    (resource.resource_type, resource.resource_name.as_str())
}

fn result(
    (resource, refusal): (&AlterConfigsResource, Option<(ErrorCode, String)>),
) -> Option<AlterConfigsResourceResponse> {
    refusal.map(|(error, why)| refused(resource, error, &why))
}

fn refused(resource: &AlterConfigsResource, error: ErrorCode, why: &str) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(why.to_owned())))
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}
