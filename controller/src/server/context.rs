//! Who asks, and how: what every handler is given beside the request itself.

use bytes::Bytes;
use metadata::config::Properties;
use protocol::{
    api::Api,
    error_code::ErrorCode,
    frame::{RequestHead, encode_response},
    messages::{Encodable, HeaderVersion, StrBytes},
};
use runtime::time::{self, Instant};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

/// Who asks, written `User:alice` as Kafka does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal(String);

impl Principal {
    /// Whoever connects without authenticating (`KafkaPrincipal.ANONYMOUS`).
    pub fn anonymous() -> Self {
        Self("User:ANONYMOUS".to_owned())
    }

    /// From its text; anonymous when there is none.
    pub fn parse(text: &str) -> Self {
        if text.is_empty() { Self::anonymous() } else { Self(text.to_owned()) }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One request on its way.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The listener that it came in by.
    pub listener: Arc<str>,
    /// Who asks. A node that forwards names whom it asks for.
    pub principal: Principal,
    /// How the client calls itself.
    pub client_id: Option<StrBytes>,
    /// The API.
    pub api: &'static Api,
    /// Its version.
    pub api_version: i16,
    /// To be sent back.
    pub correlation_id: i32,
    /// When an answer is worth nothing any more.
    pub deadline: Instant,
    /// How long the client should wait before it asks again.
    pub throttle: Duration,
}

impl RequestContext {
    /// The context of a request that came in now and may take `timeout`.
    pub fn new(listener: Arc<str>, principal: Principal, head: &RequestHead, timeout: Duration) -> Self {
        let RequestHead { api, api_version, correlation_id, ref client_id, .. } = *head;
        Self {
            listener,
            principal,
            client_id: client_id.clone(),
            api,
            api_version,
            correlation_id,
            deadline: time::now() + timeout,
            throttle: Duration::ZERO,
        }
    }

    /// The throttle as responses carry it.
    pub fn throttle_time_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }

    /// A response as a whole frame; none when it does not fit its version, which closes the connection.
    pub fn answer<T: Encodable + HeaderVersion>(&self, response: &T) -> Option<Bytes> {
        match encode_response(self.correlation_id, self.api_version, response) {
            Ok(frame) => Some(frame.freeze()),
            Err(error) => {
                tracing::error!(api = self.api.name, version = self.api_version, %error, "a response cannot be encoded");
                None
            }
        }
    }
}

/// Decides who may do what. Without `authorizer.class.name` everybody may do everything, as in Kafka. With it, the cluster
/// holds no ACLs, so only `super.users` may, unless `allow.everyone.if.no.acl.found` (`StandardAuthorizerData`).
#[derive(Clone, Debug)]
pub struct Authorizer {
    everybody: bool,
    super_users: BTreeSet<Principal>,
}

impl Authorizer {
    /// The authorizer that a node's settings ask for.
    pub fn new(properties: &Properties) -> Self {
        let set = |name: &str| properties.get(name).map_or("", |property| property.value.as_str());
        let everybody = set("authorizer.class.name").is_empty()
            || set("allow.everyone.if.no.acl.found").eq_ignore_ascii_case("true");
        let users = set("super.users").split(';').map(str::trim).filter(|user| !user.is_empty());
        Self { everybody, super_users: users.map(Principal::parse).collect() }
    }

    /// Whether the request may be acted on.
    ///
    /// # Errors
    /// `CLUSTER_AUTHORIZATION_FAILED`.
    pub fn authorize(&self, context: &RequestContext) -> Result<(), ErrorCode> {
        if self.everybody || self.super_users.contains(&context.principal) {
            return Ok(());
        }
        let client_id = context.client_id.as_deref().unwrap_or_default();
        tracing::info!(
            principal = %context.principal,
            listener = %context.listener,
            client_id,
            api = context.api.name,
            "denied"
        );
        Err(ErrorCode::ClusterAuthorizationFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api;

    fn authorizer(settings: &[(&str, &str)]) -> Authorizer {
        let properties = settings.iter().fold(Properties::new(), |all, (name, value)| all.with(name, value).unwrap());
        Authorizer::new(&properties)
    }

    fn asked_by(principal: &str) -> RequestContext {
        RequestContext {
            listener: "CONTROLLER".into(),
            principal: Principal::parse(principal),
            client_id: None,
            api: api::find(api::BROKER_HEARTBEAT).unwrap(),
            api_version: 0,
            correlation_id: 1,
            deadline: Instant::from_nanos(0),
            throttle: Duration::ZERO,
        }
    }

    #[test]
    fn without_an_authorizer_everybody_may() {
        assert_eq!(authorizer(&[]).authorize(&asked_by("")), Ok(()));
    }

    #[test]
    fn with_an_authorizer_and_no_acls_super_users_may() {
        let class = ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        let some = authorizer(&[class, ("super.users", "User:a; User:b")]);
        assert_eq!(some.authorize(&asked_by("User:b")), Ok(()));
        assert_eq!(some.authorize(&asked_by("User:c")), Err(ErrorCode::ClusterAuthorizationFailed));
        let all = authorizer(&[class, ("allow.everyone.if.no.acl.found", "true")]);
        assert_eq!(all.authorize(&asked_by("User:c")), Ok(()));
    }
}
