//! What a broker is started with, and the settings that its parts read from it.
//!
//! It reads no file and no environment: whoever starts the broker has done that.

use metadata::{
    config::Properties,
    image::{METADATA_VERSION, METADATA_VERSION_RANGE},
};
use protocol::{api::SupportedFeature, ids::BrokerId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The name under which a broker registers its clients' listener where the configuration gives one name to both: the name
/// itself stays with the listener for brokers, by which controllers and other brokers look for it. Clients never see names
/// of listeners.
pub const CLIENT_LISTENER: &str = "GREGOR_CLIENT";

/// The features that this build knows, and the levels that it can run at: what it registers with, and what clients are told.
pub const SUPPORTED_FEATURES: &[SupportedFeature] =
    &[SupportedFeature { name: METADATA_VERSION, min: METADATA_VERSION_RANGE.min, max: METADATA_VERSION_RANGE.max }];

/// Bytes of requests that connections may hold, all together, before they are handled, where `queued.max.request.bytes`
/// sets no limit.
const QUEUED_BYTES_MAX: usize = 256 << 20;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, as `listeners` gives it.
    pub name: String,
    /// Where it listens, `host:port`; port 0 lets the system choose.
    pub bind: String,
    /// The host that others are told to connect to.
    pub advertised_host: String,
    /// The port that others are told to connect to; 0 means the one that it listens on.
    pub advertised_port: u16,
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Its id: `node.id`.
    pub node_id: BrokerId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// Its rack: `broker.rack`.
    pub rack: Option<String>,
    /// Where clients connect.
    pub client_listener: ListenerConfig,
    /// Where other brokers and the controllers connect. If it is the clients' listener (it has the same name), the broker
    /// opens another one instead: see [`BrokerConfig::listeners`].
    pub inter_broker_listener: ListenerConfig,
    /// The address of every controller, `host:port`.
    pub controllers: BTreeMap<BrokerId, String>,
    /// The static settings.
    pub properties: Arc<Properties>,
}

impl BrokerConfig {
    /// The clients' listener and the brokers', which are never the same: what brokers say to each other (follower fetches,
    /// probes) does not exist for clients.
    ///
    /// Where the configuration gives one listener for both, the brokers' one listens on the same host, at a port of the
    /// system's choice, and keeps the name; the clients' is registered as [`CLIENT_LISTENER`].
    pub fn listeners(&self) -> (ListenerConfig, ListenerConfig) {
        let (client, inter_broker) = (&self.client_listener, &self.inter_broker_listener);
        if client.name != inter_broker.name {
            return (client.clone(), inter_broker.clone());
        }
        let host = client.bind.rsplit_once(':').map_or(client.bind.as_str(), |(host, _)| host);
        let own = ListenerConfig {
            name: client.name.clone(),
            bind: format!("{host}:0"),
            advertised_host: client.advertised_host.clone(),
            advertised_port: 0,
        };
        (ListenerConfig { name: CLIENT_LISTENER.to_owned(), ..client.clone() }, own)
    }
}

/// The settings that the server and the handlers read, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `max.connections`, over the clients' listener.
    pub connections_max: usize,
    /// `connections.max.idle.ms`; `None` where it is negative: never closed for idleness.
    pub connections_idle_max: Option<Duration>,
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `queued.max.requests`: here, the requests of one connection that may be unanswered.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`
    pub queued_bytes_max: usize,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `max.request.partition.size.limit`: partitions in one answer to DescribeTopicPartitions.
    pub described_partitions_max: i32,
    /// `broker.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `controlled.shutdown.enable`
    pub controlled_shutdown: bool,
    /// `offsets.commit.timeout.ms`
    pub offsets_commit_timeout: Duration,
    /// `offsets.topic.num.partitions`
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.replication.factor`
    pub offsets_topic_replicas: i16,
    /// `offsets.topic.segment.bytes`
    pub offsets_topic_segment_bytes: i32,
}

impl Settings {
    /// Reads them.
    pub fn new(properties: &Properties) -> Self {
        let size = |name| usize::try_from(properties.long(name)).unwrap_or(usize::MAX);
        let idle_ms = u64::try_from(properties.long("connections.max.idle.ms"));
        Self {
            connections_max: size("max.connections"),
            connections_idle_max: idle_ms.ok().map(Duration::from_millis),
            request_bytes_max: size("socket.request.max.bytes"),
            queued_requests_max: size("queued.max.requests"),
            queued_bytes_max: usize::try_from(properties.long("queued.max.request.bytes")).unwrap_or(QUEUED_BYTES_MAX),
            auto_create_topics: properties.boolean("auto.create.topics.enable"),
            num_partitions: properties.int("num.partitions"),
            default_replication_factor: i16::try_from(properties.int("default.replication.factor")).unwrap_or(i16::MAX),
            fetch_bytes_max: size("fetch.max.bytes"),
            fetch_session_slots: size("max.incremental.fetch.session.cache.slots"),
            described_partitions_max: properties.int("max.request.partition.size.limit"),
            heartbeat_interval: Duration::from_millis(properties.unsigned("broker.heartbeat.interval.ms")),
            controlled_shutdown: properties.boolean("controlled.shutdown.enable"),
            offsets_commit_timeout: Duration::from_millis(properties.unsigned("offsets.commit.timeout.ms")),
            offsets_topic_partitions: properties.int("offsets.topic.num.partitions"),
            offsets_topic_replicas: i16::try_from(properties.int("offsets.topic.replication.factor"))
                .unwrap_or(i16::MAX),
            offsets_topic_segment_bytes: properties.int("offsets.topic.segment.bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, bind: &str) -> ListenerConfig {
        ListenerConfig {
            name: name.to_owned(),
            bind: bind.to_owned(),
            advertised_host: "broker-1.example".to_owned(),
            advertised_port: 9092,
        }
    }

    fn config(inter_broker: ListenerConfig) -> BrokerConfig {
        BrokerConfig {
            node_id: BrokerId(1),
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            rack: None,
            client_listener: listener("PLAINTEXT", "[::]:9092"),
            inter_broker_listener: inter_broker,
            controllers: BTreeMap::new(),
            properties: Arc::default(),
        }
    }

    #[test]
    fn brokers_have_a_listener_of_their_own_even_where_none_is_given() {
        let (client, own) = config(listener("PLAINTEXT", "[::]:9092")).listeners();
        assert_eq!((client.name.as_str(), client.bind.as_str()), (CLIENT_LISTENER, "[::]:9092"));
        assert_eq!((own.name.as_str(), own.bind.as_str(), own.advertised_port), ("PLAINTEXT", "[::]:0", 0));
        assert_eq!(own.advertised_host, "broker-1.example");
        let given = listener("INTERNAL", "10.0.0.1:9094");
        let (client, own) = config(given.clone()).listeners();
        assert_eq!((client.name.as_str(), own), ("PLAINTEXT", given));
    }

    #[test]
    fn settings_that_nobody_gave_have_their_defaults() {
        let settings = Settings::new(&Properties::new());
        assert_eq!(settings.connections_idle_max, Some(Duration::from_secs(600)));
        assert_eq!(settings.request_bytes_max, 104_857_600);
        assert_eq!(settings.heartbeat_interval, Duration::from_millis(500));
        assert_eq!(settings.queued_bytes_max, QUEUED_BYTES_MAX);
        let properties = Properties::new().with("connections.max.idle.ms", "-1").expect("the value is in bounds");
        assert_eq!(Settings::new(&properties).connections_idle_max, None);
    }
}
