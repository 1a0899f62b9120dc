//! Asks a broker whether it lives: evidence beside silence.
//!
//! One attempt, and what it found. What follows from it, and whether to ask again, is [`Sessions`](crate::control::Sessions)'
//! to say.

use crate::control::ProbeAnswer;
use client::{ClientError, Connection, ConnectionOptions};
use metadata::image::BrokerImage;
use protocol::{error_code::ErrorCode, ids::BrokerId, internal::BrokerProbeRequest};
use std::{io, time::Duration};

/// How long connecting may take, and asking.
const PATIENCE: Duration = Duration::from_millis(1_000);

/// Whom to ask, and where.
#[derive(Clone, Debug)]
pub struct Suspect {
    broker_id: BrokerId,
    /// Its own listener, `host:port`.
    address: String,
}

impl Suspect {
    /// A registered broker, at the listener that brokers reach each other by, or its first; none if it has no listener.
    pub fn new(broker_id: BrokerId, broker: &BrokerImage, inter_broker_listener: &str) -> Option<Self> {
        let named = broker.listeners.iter().find(|endpoint| endpoint.name == inter_broker_listener);
        let endpoint = named.or(broker.listeners.first())?;
        let address = if endpoint.host.contains(':') {
            format!("[{}]:{}", endpoint.host, endpoint.port)
        } else {
            format!("{}:{}", endpoint.host, endpoint.port)
        };
        Some(Self { broker_id, address })
    }
}

/// Asks.
pub async fn probe(suspect: &Suspect, request: &BrokerProbeRequest) -> ProbeAnswer {
    match ask(suspect, request).await {
        Ok(answer) => answer,
        Err(ClientError::Connect { kind: io::ErrorKind::ConnectionRefused, .. }) => ProbeAnswer::Refused,
        Err(error) => {
            tracing::debug!(broker_id = suspect.broker_id.0, %error, "a probe proves nothing");
            ProbeAnswer::Unreachable
        }
    }
}

async fn ask(suspect: &Suspect, request: &BrokerProbeRequest) -> Result<ProbeAnswer, ClientError> {
    let options = ConnectionOptions {
        client_id: format!("controller-{}-probe", request.controller_id),
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        frame_bytes_max: 1 << 16,
        ..ConnectionOptions::default()
    };
    let connection = Connection::connect(&suspect.address, options).await?;
    let answer = connection.call(request).await?;
    // Somebody else's process at that address says nothing of this broker.
    let answered = answer.error_code == ErrorCode::None.code() && answer.broker_id == suspect.broker_id;
    let incarnation_id = answer.incarnation_id;
    Ok(if answered { ProbeAnswer::Alive { incarnation_id } } else { ProbeAnswer::Unreachable })
}
