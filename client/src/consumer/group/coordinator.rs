//! Finds the broker that coordinates a group, and says goodbye to it.
//!
//! It never retries, but for what the cluster's connections do. Driven by `driving`, `committing` and `committed`.

use crate::cluster::{Cluster, Lane};
use crate::consumer::membership::Goodbye;
use crate::consumer::{Shared, now};
use crate::error::ClientError;
use protocol::ids::BrokerId;
use protocol::messages::{FindCoordinatorRequest, LeaveGroupRequest, Request, StrBytes};
use std::time::Duration;

/// The first version of FindCoordinator that asks for several at once (KIP-699).
const BATCHES_FROM: i16 = 4;
/// The first version of LeaveGroup that names several members (KIP-345).
const MEMBERS_FROM: i16 = 3;

/// Who coordinates the consumer's group: who is known to, or who a broker says does.
pub(super) async fn known_or_found(shared: &Shared) -> Result<BrokerId, ClientError> {
    let (known, group_id) = {
        let mut state = shared.state.lock();
        let contact = state.group().membership.contact();
        (contact.coordinator(), contact.options().group_id.clone())
    };
    if let Some(known) = known {
        return Ok(known);
    }
    let found = find(&shared.cluster, &group_id, shared.options.request_timeout).await?;
    shared.state.lock().group().membership.contact_mut().found(found, now());
    Ok(found)
}

/// Asks any broker who coordinates a group.
pub(super) async fn find(cluster: &Cluster, group_id: &str, timeout: Duration) -> Result<BrokerId, ClientError> {
    let connection = cluster.any_connection(timeout).await?;
    let version = connection.version_of::<FindCoordinatorRequest>()?;
    let key = StrBytes::from_string(group_id.to_owned());
    let request = if version < BATCHES_FROM {
        FindCoordinatorRequest::default().with_key(key)
    } else {
        FindCoordinatorRequest::default().with_coordinator_keys(vec![key])
    };
    let answer = connection.submit(version, &request, timeout)?.wait().await;
    let response = answer.inspect_err(|error| error.close(&connection))?;
    let (code, message, broker) = match response.coordinators.first() {
        Some(found) => (found.error_code, found.error_message.clone(), found.node_id),
        None => (response.error_code, response.error_message.clone(), response.node_id),
    };
    if let Some(error) = ClientError::from_code(code, message.map(|message| message.to_string())) {
        return Err(error);
    }
    let broker = BrokerId::from(broker);
    if !cluster.view().brokers().contains_key(&broker) {
        cluster.refresh().await?;
    }
    Ok(broker)
}

/// Sends a request to the coordinator on the connection that waits for nobody else's.
pub(super) async fn ask<R: Request>(
    cluster: &Cluster,
    broker: BrokerId,
    version_max: i16,
    request: &R,
    timeout: Duration,
) -> Result<R::Response, ClientError> {
    let connection = cluster.connection(broker, Lane::Ask, timeout).await?;
    let version = connection.version_of::<R>()?.min(version_max);
    connection.submit(version, request, timeout)?.wait().await.inspect_err(|error| error.close(&connection))
}

/// The member where the version has it: alone, or in a list.
fn leave_request(request: &LeaveGroupRequest, version: i16) -> LeaveGroupRequest {
    let request = request.clone();
    if version < MEMBERS_FROM { request.with_members(Vec::new()) } else { request.with_member_id(StrBytes::default()) }
}

/// Tells the coordinator that the member leaves. What it answers changes nothing: a session that is not ended ends by itself.
pub(super) async fn leave(cluster: &Cluster, broker: BrokerId, goodbye: &Goodbye, timeout: Duration) {
    let sent = async {
        match goodbye {
            Goodbye::Classic(request) => {
                let connection = cluster.connection(broker, Lane::Ask, timeout).await?;
                let version = connection.version_of::<LeaveGroupRequest>()?;
                let answer = connection.submit(version, &leave_request(request, version), timeout)?.wait().await;
                answer.map(|response| response.error_code)
            }
            // Behind the heartbeat that may be under way: one that joins is not to arrive after it.
            Goodbye::Consumer(request) => {
                let connection = cluster.connection(broker, Lane::Group, timeout).await?;
                let answer = connection.call_with_timeout(&**request, timeout).await;
                answer.map(|response| response.error_code)
            }
        }
    };
    match sent.await {
        Ok(0) => {}
        Ok(code) => tracing::debug!(%broker, code, "the coordinator did not let the member leave"),
        Err(error) => tracing::debug!(%broker, %error, "the coordinator does not know that the member has left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::encode_request;
    use protocol::messages::Message;
    use protocol::messages::leave_group_request::MemberIdentity;

    #[test]
    fn a_goodbye_fits_every_version() {
        let id = StrBytes::from_static_str("m");
        let member = MemberIdentity::default().with_member_id(id.clone()).with_reason(Some(id.clone()));
        let request = LeaveGroupRequest::default().with_member_id(id).with_members(vec![member]);
        for version in LeaveGroupRequest::VERSIONS.min..=LeaveGroupRequest::VERSIONS.max {
            let request = leave_request(&request, version);
            encode_request(0, None, version, &request).unwrap_or_else(|error| panic!("version {version}: {error}"));
        }
    }
}
