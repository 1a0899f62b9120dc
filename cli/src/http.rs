//! What a node tells operators over HTTP: `/metrics`, `/livez` and `/readyz`. Read-only, without authentication, and on
//! this machine only unless `gregor.http.listener` says otherwise.
//!
//! It never touches a request of Kafka's. One small task a connection, a bounded number of them.

mod exposition;
mod process;

use crate::output::Failure;
use broker::{
    Broker,
    report::{Sample, SampleKind},
};
use bytes::BytesMut;
use controller::Controller;
use metadata::config::Properties;
use runtime::{
    net::{Listener, Stream},
    sync::{Semaphore, Shutdown},
    task, time,
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// The property that says where to listen, as `host:port`; empty for none.
const LISTENER: &str = "gregor.http.listener";
const CONNECTIONS_MAX: usize = 64;
const REQUEST_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// How long a connection may say nothing.
const IDLE_MAX: Duration = Duration::from_secs(60);
const SEND_MAX: Duration = Duration::from_secs(10);
const TEXT: &str = "text/plain; charset=utf-8";

/// The node that is asked. It is not kept from stopping by whoever asks.
pub struct Health {
    /// Its broker, if it is one.
    pub broker: Option<Weak<Broker>>,
    /// Its controller, if it is one.
    pub controller: Option<Weak<Controller>>,
}

/// Binds the listener that the properties ask for. Where nobody asked and the usual port is taken, there is none.
///
/// # Errors
/// The address that was asked for is taken, or not this machine's.
pub async fn bind(properties: &Properties) -> Result<Option<Listener>, Failure> {
    let Some(address) = properties.text(LISTENER).map(str::trim).filter(|address| !address.is_empty()) else {
        return Ok(None);
    };
    match Listener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if properties.get(LISTENER).is_some() => {
            Err(Failure::new(format!("{LISTENER} is {address}, where nothing can listen: {error}")))
        }
        Err(error) => {
            tracing::warn!(address, %error, "no metrics and no health over HTTP: set {LISTENER} to another address");
            Ok(None)
        }
    }
}

/// Serves until the stop is requested.
pub async fn serve(listener: Listener, health: Health, stop: Shutdown) {
    let (health, slots) = (Arc::new(health), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = runtime::select! {
            () = stop.requested() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (health, stop) = (Arc::clone(&health), stop.clone());
        task::spawn(async move {
            runtime::select! {
                () = stop.requested() => {}
                () = answer(stream, &health) => {}
            }
            drop(slot);
        });
    }
}

/// Answers the requests of one connection until it ends or breaks the rules.
async fn answer(mut stream: Stream, health: &Health) {
    let mut received = BytesMut::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let (response, length, stays) = match request.parse(&received) {
            Ok(httparse::Status::Complete(length)) => {
                let closes = |header: &httparse::Header<'_>| {
                    header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
                };
                let stays = request.version == Some(1) && !request.headers.iter().any(closes);
                let path = request.path.unwrap_or_default();
                (respond(request.method.unwrap_or_default(), path, health), length, stays)
            }
            Ok(httparse::Status::Partial) if received.len() < REQUEST_BYTES_MAX => {
                match time::timeout(IDLE_MAX, stream.read(&mut received)).await {
                    Ok(Ok(read)) if read > 0 => continue,
                    _ => return,
                }
            }
            Ok(httparse::Status::Partial) => (Response::new(431, TEXT, "the request is too long\n"), 0, false),
            Err(_) => (Response::new(400, TEXT, "this is not HTTP\n"), 0, false),
        };
        let _request = received.split_to(length);
        let bytes = response.encode(stays);
        if !matches!(time::timeout(SEND_MAX, stream.send(&bytes, &[])).await, Ok(Ok(()))) || !stays {
            return;
        }
    }
}

/// One answer.
struct Response {
    status: u16,
    content_type: &'static str,
    body: String,
    /// HEAD: the headers without the body.
    headers_only: bool,
}

impl Response {
    fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type, body: body.into(), headers_only: false }
    }

    fn encode(&self, stays: bool) -> Vec<u8> {
        let Self { status, content_type, body, .. } = self;
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let connection = if stays { "keep-alive" } else { "close" };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        );
        let body = if self.headers_only { "" } else { body.as_str() };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

fn respond(method: &str, path: &str, health: &Health) -> Response {
    let response = match path.split('?').next().unwrap_or_default() {
        "/metrics" => Response::new(200, exposition::CONTENT_TYPE, exposition::encode(&health.samples(false))),
        "/metrics/full" => Response::new(200, exposition::CONTENT_TYPE, exposition::encode(&health.samples(true))),
        "/livez" => Response::new(200, TEXT, "ok\n"),
        "/readyz" => match health.not_ready() {
            None => Response::new(200, TEXT, "ok\n"),
            Some(why) => Response::new(503, TEXT, format!("{why}\n")),
        },
        "/" => Response::new(200, TEXT, "/metrics\n/metrics/full\n/livez\n/readyz\n"),
        other => Response::new(404, TEXT, format!("{other} is not served: see /\n")),
    };
    match method {
        "GET" => response,
        "HEAD" => Response { headers_only: true, ..response },
        _ => Response::new(405, TEXT, "only GET and HEAD are served\n"),
    }
}

impl Health {
    /// Why the node cannot do its part now, if it cannot.
    fn not_ready(&self) -> Option<&'static str> {
        let has_leader = |controller: Arc<Controller>| controller.leadership().leader.is_some();
        if self.controller.as_ref().is_some_and(|controller| !controller.upgrade().is_some_and(has_leader)) {
            return Some("the controllers have no leader");
        }
        let serves = |broker: Arc<Broker>| broker.is_ready();
        if self.broker.as_ref().is_some_and(|broker| !broker.upgrade().is_some_and(serves)) {
            return Some("the broker is not registered and unfenced yet");
        }
        None
    }

    fn samples(&self, all_partitions: bool) -> Vec<Sample> {
        let broker = self.broker.as_ref().and_then(Weak::upgrade);
        let mut samples = broker.map(|broker| broker.samples(all_partitions)).unwrap_or_default();
        if let Some(controller) = self.controller.as_ref().and_then(Weak::upgrade) {
            samples.extend(quorum(&controller));
        }
        samples.extend(process::samples());
        let version = if cfg!(madsim) { "simulator" } else { "release" };
        let build = Sample::gauge("gregor_build_info", "Which build runs: always 1", 1.0);
        samples.push(build.with("version", env!("CARGO_PKG_VERSION")).with("flavour", version));
        samples
    }
}

/// The controller's place in its quorum, in the names of Kafka's KRaft metrics.
fn quorum(controller: &Controller) -> Vec<Sample> {
    let leadership = controller.leadership();
    let end = controller.image().offset().0 as f64;
    let leader = leadership.leader.map_or(-1, |leader| leader.0);
    let state = if leadership.leads { "leader" } else { "follower" };
    let active = f64::from(u8::from(leadership.leads));
    vec![
        Sample::gauge(
            "kafka_controller_kafkacontroller_activecontrollercount",
            "Whether this node's controller is the active one",
            active,
        ),
        Sample::gauge("kafka_server_raftmetrics_current_leader", "The leader's id, or -1", f64::from(leader)),
        Sample::gauge("kafka_server_raftmetrics_current_epoch", "The term of the quorum", leadership.term as f64),
        Sample::gauge("kafka_server_raftmetrics_current_state", "This node's part, as a label", 1.0)
            .with("state", state),
        Sample::gauge("kafka_server_raftmetrics_high_watermark", "The next metadata record to be committed", end),
    ]
}

/// Where a kind is written.
fn kind_name(kind: SampleKind) -> &'static str {
    match kind {
        SampleKind::Counter => "counter",
        SampleKind::Gauge => "gauge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Health = Health { broker: None, controller: None };

    #[test]
    fn paths_and_methods_that_are_not_served_are_told_so() {
        assert_eq!(respond("GET", "/livez", &NOBODY).status, 200);
        assert_eq!(respond("GET", "/metrics?name[]=x", &NOBODY).status, 200);
        assert_eq!(respond("GET", "/nothing", &NOBODY).status, 404);
        assert_eq!(respond("POST", "/metrics", &NOBODY).status, 405);
    }

    #[test]
    fn a_head_request_gets_the_length_and_no_body() {
        let bytes = respond("HEAD", "/livez", &NOBODY).encode(true);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.contains("Content-Length: 3\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
