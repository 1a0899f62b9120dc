//! What the handlers of the group APIs have in common.

use super::{Services, context::RequestContext};
use crate::coordinator::{Decided, Shard};
use protocol::{error_code::ErrorCode, messages::StrBytes};
use runtime::time;
use std::sync::Arc;

/// What everybody may do with a group where nobody is authorized: read, delete and describe it, describe and alter its settings
/// (`AclEntry.supportedOperations(GROUP)`).
pub(super) const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// The shard of a group that must have a name.
///
/// # Errors
/// `INVALID_GROUP_ID` where it has none, and as [`crate::coordinator::Coordinator::of_group`].
pub(super) fn shard_of_named(services: &Services, group: &str) -> Result<Arc<Shard>, ErrorCode> {
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    shard_of(services, group)
}

/// The shard of a group. Old clients commit in a group without a name, and so the name may be empty (KIP-289).
///
/// # Errors
/// As [`crate::coordinator::Coordinator::of_group`].
pub(super) fn shard_of(services: &Services, group: &str) -> Result<Arc<Shard>, ErrorCode> {
    services.coordinator.of_group(&services.metadata.image(), group)
}

/// What was decided, once it is committed.
///
/// # Errors
/// As the decision, and as [`crate::coordinator::Seen::committed`].
pub(super) async fn committed<T>(services: &Services, decided: Decided<T>) -> Result<T, ErrorCode> {
    let (told, seen) = decided?;
    seen.committed(time::now() + services.settings.offsets_commit_timeout).await?;
    Ok(told)
}

/// From where a client came, as Kafka shows it: `/10.0.0.7`.
pub(super) fn client_host(context: &RequestContext) -> String {
    format!("/{}", context.connection.peer.ip())
}

/// What a client calls itself.
pub(super) fn client_id(context: &RequestContext) -> String {
    context.client_id.as_deref().unwrap_or_default().to_owned()
}

/// A text that is there or not, without the request's own memory.
pub(super) fn owned<T: for<'a> From<&'a str>>(text: Option<&StrBytes>) -> Option<T> {
    text.map(|text| T::from(text.as_str()))
}
