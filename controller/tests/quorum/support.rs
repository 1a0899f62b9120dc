//! A broker as far as controllers can see: it registers, sends heartbeats, forwards clients' requests.

use bytes::Bytes;
use client::{Connection, ConnectionOptions};
use protocol::{
    error_code::ErrorCode,
    frame::{LENGTH_BYTES, decode_response, encode_request},
    ids::{BrokerEpoch, BrokerId, IncarnationId, MetadataOffset},
    internal::{MetadataFetchRequest, MetadataFetchResponse},
    messages::{
        BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, CreateTopicsRequest,
        DeleteTopicsRequest, DescribeClusterRequest, EnvelopeRequest, Request, StrBytes,
        broker_registration_request::{Feature, Listener},
        create_topics_request::CreatableTopic,
        delete_topics_request::DeleteTopicState,
        topic_name,
    },
};
use runtime::{
    rand,
    time::{self, Instant},
};
use std::{collections::BTreeMap, time::Duration};

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// What became of something that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused(ErrorCode),
    Unknown(String),
}

/// A broker without partitions.
pub struct FakeBroker {
    pub id: BrokerId,
    pub incarnation_id: IncarnationId,
    pub epoch: BrokerEpoch,
    controllers: BTreeMap<BrokerId, String>,
    port: u16,
    host: String,
    active: Option<(BrokerId, Connection)>,
}

pub async fn connect(address: &str) -> Result<Connection, client::ClientError> {
    let options = ConnectionOptions {
        client_id: "test".to_owned(),
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_millis(1_500),
        ..ConnectionOptions::default()
    };
    Connection::connect(address, options).await
}

/// Whom a controller takes for active.
pub async fn leader_by(address: &str) -> Option<BrokerId> {
    let connection = connect(address).await.ok()?;
    let answer = connection.call(&DescribeClusterRequest::default().with_endpoint_type(2)).await.ok()?;
    assert_eq!((answer.error_code, answer.cluster_id.as_str()), (0, CLUSTER));
    BrokerId::from_wire(answer.controller_id.0)
}

impl FakeBroker {
    pub fn new(id: i32, controllers: &BTreeMap<BrokerId, String>, host: &str, port: u16) -> Self {
        Self {
            id: BrokerId(id),
            incarnation_id: IncarnationId(rand::uuid()),
            epoch: BrokerEpoch::UNKNOWN,
            controllers: controllers.clone(),
            port,
            host: host.to_owned(),
            active: None,
        }
    }

    /// The active controller, and who it is.
    pub fn active(&self) -> Option<BrokerId> {
        self.active.as_ref().map(|(id, _)| *id)
    }

    /// Drops the connection, as a process that dies does.
    pub fn disconnect(&mut self) {
        self.active = None;
    }

    async fn find_active(&mut self) -> Option<Connection> {
        if let Some((_, connection)) = self.active.as_ref().filter(|(_, connection)| !connection.is_closed()) {
            return Some(connection.clone());
        }
        for address in self.controllers.values() {
            let Some(leader) = leader_by(address).await else { continue };
            let Ok(connection) = connect(&self.controllers[&leader]).await else { continue };
            self.active = Some((leader, connection.clone()));
            return Some(connection);
        }
        None
    }

    /// Asks the active controller, and again until it answers with anything but `NOT_CONTROLLER`.
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        error: impl Fn(&R::Response) -> i16,
        deadline: Instant,
    ) -> Result<R::Response, String> {
        let mut last = "no active controller".to_owned();
        while time::now() < deadline {
            if let Some(connection) = self.find_active().await {
                match connection.call(request).await {
                    Ok(response) if error(&response) != ErrorCode::NotController.code() => return Ok(response),
                    Ok(_) => last = "not the controller".to_owned(),
                    // It may have been acted on.
                    Err(error) if !error.is_unsent() => {
                        self.active = None;
                        return Err(error.to_string());
                    }
                    Err(error) => last = error.to_string(),
                }
                self.active = None;
            }
            time::sleep(Duration::from_millis(30)).await;
        }
        Err(last)
    }

    /// Registers, until it is accepted.
    pub async fn register(&mut self, deadline: Instant) -> Result<(), String> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let listener =
            Listener::default().with_name(text("PLAINTEXT")).with_host(text(&self.host)).with_port(self.port);
        let feature = Feature::default()
            .with_name(text("metadata.version"))
            .with_min_supported_version(1)
            .with_max_supported_version(i16::MAX);
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(self.id.into())
            .with_cluster_id(text(CLUSTER))
            .with_incarnation_id(self.incarnation_id.0)
            .with_listeners(vec![listener])
            .with_features(vec![feature])
            .with_log_dirs(vec![uuid::Uuid::from_u128(1 << 100 | self.id.0 as u128)])
            .with_previous_broker_epoch(self.epoch.0);
        let mut last = String::new();
        while time::now() < deadline {
            match self.call(&request, |response| response.error_code, deadline).await {
                Ok(response) if response.error_code == 0 => {
                    self.epoch = BrokerEpoch(response.broker_epoch);
                    return Ok(());
                }
                Ok(response) => last = format!("{:?}", ErrorCode::from_code(response.error_code)),
                Err(error) => last = error,
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        Err(last)
    }

    pub async fn heartbeat(&mut self, deadline: Instant) -> Result<BrokerHeartbeatResponse, String> {
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(self.id.into())
            .with_broker_epoch(self.epoch.0)
            .with_current_metadata_offset(i64::MAX);
        self.call(&request, |response| response.error_code, deadline).await
    }

    /// Registers, and sends heartbeats until it is unfenced.
    pub async fn join(&mut self, deadline: Instant) -> Result<(), String> {
        self.register(deadline).await?;
        loop {
            let response = self.heartbeat(deadline).await?;
            if response.error_code == 0 && !response.is_fenced {
                return Ok(());
            }
            if time::now() >= deadline {
                return Err(format!("still fenced: {response:?}"));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn forward<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, String> {
        let inner = encode_request(7, Some("a client"), version, request).unwrap().freeze().slice(LENGTH_BYTES..);
        let envelope = EnvelopeRequest::default()
            .with_request_data(inner)
            .with_request_principal(Some(Bytes::from_static(b"User:alice")))
            .with_client_host_address(Bytes::from_static(&[127, 0, 0, 1]));
        let response = self.call(&envelope, |response| response.error_code, deadline).await?;
        assert_eq!(response.error_code, 0, "the envelope itself is in order");
        Ok(decode_response::<R>(version, response.response_data.unwrap()).unwrap())
    }

    pub async fn create_topic(&mut self, name: &str, deadline: Instant) -> Outcome {
        let topic =
            CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(2).with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
        match self.forward(7, &request, deadline).await {
            Ok(response) => outcome(response.topics[0].error_code),
            Err(error) => Outcome::Unknown(error),
        }
    }

    pub async fn delete_topic(&mut self, name: &str, deadline: Instant) -> Outcome {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
        match self.forward(6, &request, deadline).await {
            Ok(response) => outcome(response.responses[0].error_code),
            Err(error) => Outcome::Unknown(error),
        }
    }
}

fn outcome(code: i16) -> Outcome {
    match ErrorCode::from_code(code).unwrap() {
        ErrorCode::None => Outcome::Done,
        ErrorCode::RequestTimedOut => Outcome::Unknown("timed out".to_owned()),
        code => Outcome::Refused(code),
    }
}

/// Asks any controller for metadata.
pub async fn fetch_metadata(
    connection: &Connection,
    cluster_id: &str,
    from: i64,
    max_wait_ms: i32,
) -> MetadataFetchResponse {
    let request = MetadataFetchRequest {
        principal: "User:test".to_owned(),
        cluster_id: cluster_id.to_owned(),
        broker_id: BrokerId(101),
        from: MetadataOffset(from),
        max_wait_ms,
        max_bytes: 1 << 20,
    };
    connection.call(&request).await.unwrap()
}

/// The deadline of something that must not take long.
pub fn soon() -> Instant {
    time::now() + Duration::from_secs(20)
}
