//! Forwarded alterations of settings (33, 44). Neither request names a timeout, so the envelope's holds.

use super::{Handlers, RequestContext, RequestHead, decide, invalid, wrap};
use crate::{
    control::{ControlRequest, ControlResponse},
    server::handlers::refusal,
};
use bytes::Bytes;
use protocol::{
    error_code::ErrorCode,
    frame::decode_body,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        StrBytes, alter_configs_response, incremental_alter_configs_response,
    },
};

/// `ConfigResource.Type.TOPIC`
const TOPIC: i8 = 2;

/// What a resource is told when nothing was decided about it.
fn told(code: ErrorCode, resource_type: i8) -> (i16, Option<StrBytes>) {
    let code = match code {
        ErrorCode::TopicAuthorizationFailed if resource_type != TOPIC => ErrorCode::ClusterAuthorizationFailed,
        code => code,
    };
    (code.code(), Some(StrBytes::from_static_str(code.message())))
}

pub(super) async fn alter(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: AlterConfigsRequest = decode_body(head).map_err(invalid)?;
    let named: Vec<_> =
        request.resources.iter().map(|asked| (asked.resource_type, asked.resource_name.clone())).collect();
    let control = ControlRequest::AlterConfigs(request);
    let response = match decide(handlers, context, authorized, i32::MAX, control).await? {
        Ok(ControlResponse::AlterConfigs(response)) => response,
        other => {
            let code = refusal(other);
            let refused = named.into_iter().map(|(resource_type, name)| {
                let (code, message) = told(code, resource_type);
                alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_resource_type(resource_type)
                    .with_resource_name(name)
                    .with_error_code(code)
                    .with_error_message(message)
            });
            AlterConfigsResponse::default().with_responses(refused.collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}

pub(super) async fn alter_incrementally(
    handlers: &Handlers,
    context: &RequestContext,
    head: &RequestHead,
    authorized: Result<(), ErrorCode>,
) -> Result<Bytes, ErrorCode> {
    let request: IncrementalAlterConfigsRequest = decode_body(head).map_err(invalid)?;
    let named: Vec<_> =
        request.resources.iter().map(|asked| (asked.resource_type, asked.resource_name.clone())).collect();
    let control = ControlRequest::IncrementalAlterConfigs(request);
    let response = match decide(handlers, context, authorized, i32::MAX, control).await? {
        Ok(ControlResponse::IncrementalAlterConfigs(response)) => response,
        other => {
            let code = refusal(other);
            let refused = named.into_iter().map(|(resource_type, name)| {
                let (code, message) = told(code, resource_type);
                incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_resource_type(resource_type)
                    .with_resource_name(name)
                    .with_error_code(code)
                    .with_error_message(message)
            });
            IncrementalAlterConfigsResponse::default().with_responses(refused.collect())
        }
    };
    wrap(head, &response.with_throttle_time_ms(context.throttle_time_ms()))
}
