//! What a controller is told when it starts.

use crate::raft::QuorumOptions;
use metadata::config::Properties;
use protocol::ids::BrokerId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Everything that a controller is told. [`ControllerConfig::new`] takes from the properties what stands there.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// `node.id`.
    pub node_id: BrokerId,
    /// The cluster's id, as `meta.properties` has it: 22 characters.
    pub cluster_id: String,
    /// Where to listen, `host:port`; port 0 lets the system choose.
    pub bind: String,
    /// The name of the listener.
    pub listener: String,
    /// `controller.quorum.voters`: every controller's address, `host:port`, this node's among them.
    pub voters: BTreeMap<BrokerId, String>,
    /// This node's static settings.
    pub properties: Arc<Properties>,
    /// How long a broker may be silent before it is fenced.
    pub broker_session_timeout: Duration,
    /// The name of the listener by which brokers reach each other: where they are probed.
    pub inter_broker_listener: String,
    /// How long this controller goes on leading without hearing from a majority.
    pub quorum_timeout: Duration,
    /// How often partitions are given back to their preferred leaders; `None` is never.
    pub balance_interval: Option<Duration>,
    /// How long a request may take that names no time of its own.
    pub request_timeout: Duration,
    /// The largest request. A snapshot travels in one.
    pub frame_bytes_max: usize,
    /// How long a connection may be silent before it is closed.
    pub idle_max: Duration,
    /// The quorum's timing, and how much of its log is kept.
    pub quorum: QuorumOptions,
}

impl ControllerConfig {
    /// A controller of this cluster, with Kafka's keys read from `properties`: `broker.session.timeout.ms`,
    /// `inter.broker.listener.name`, `controller.listener.names`, `controller.quorum.election.timeout.ms` if it is set,
    /// `controller.quorum.fetch.timeout.ms`, `socket.request.max.bytes`, `connections.max.idle.ms`, `auto.leader.rebalance.enable`, `leader.imbalance.check.interval.seconds`.
    pub fn new(
        node_id: BrokerId,
        cluster_id: impl Into<String>,
        bind: impl Into<String>,
        voters: BTreeMap<BrokerId, String>,
        properties: Arc<Properties>,
    ) -> Self {
        let millis = |name: &str| Duration::from_millis(properties.unsigned(name));
        let text = |name: &str| properties.text(name).map(str::to_owned);
        let inter_broker_listener =
            text("inter.broker.listener.name").or_else(|| text("security.inter.broker.protocol"));
        let balance = properties.boolean("auto.leader.rebalance.enable");
        let balance_interval =
            balance.then(|| Duration::from_secs(properties.unsigned("leader.imbalance.check.interval.seconds")));
        let mut quorum = QuorumOptions::default();
        if properties.get("controller.quorum.election.timeout.ms").is_some() {
            quorum = quorum.with_election_timeout(millis("controller.quorum.election.timeout.ms"));
        }
        Self {
            node_id,
            cluster_id: cluster_id.into(),
            bind: bind.into(),
            listener: properties.list("controller.listener.names").first().copied().unwrap_or("CONTROLLER").to_owned(),
            voters,
            broker_session_timeout: millis("broker.session.timeout.ms"),
            inter_broker_listener: inter_broker_listener.unwrap_or_default(),
            quorum_timeout: millis("controller.quorum.fetch.timeout.ms"),
            balance_interval,
            request_timeout: Duration::from_secs(10),
            frame_bytes_max: usize::try_from(properties.unsigned("socket.request.max.bytes")).unwrap_or(usize::MAX),
            idle_max: millis("connections.max.idle.ms"),
            quorum,
            properties,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: Properties) -> ControllerConfig {
        let voters = BTreeMap::from([(BrokerId(1), "localhost:9093".to_owned())]);
        ControllerConfig::new(BrokerId(1), "c", "0.0.0.0:9093", voters, Arc::new(properties))
    }

    #[test]
    fn the_defaults_are_those_of_the_keys() {
        let config = config(Properties::new());
        assert_eq!(config.broker_session_timeout, Duration::from_secs(3));
        assert_eq!(config.inter_broker_listener, "PLAINTEXT");
        assert_eq!(config.listener, "CONTROLLER");
        assert_eq!(config.balance_interval, Some(Duration::from_secs(300)));
        assert_eq!(config.quorum.election_timeout_max, Duration::from_millis(500));
    }

    #[test]
    fn what_is_set_is_taken() {
        let properties = Properties::new()
            .with("inter.broker.listener.name", "INTERNAL")
            .and_then(|all| all.with("controller.quorum.election.timeout.ms", "2000"))
            .and_then(|all| all.with("auto.leader.rebalance.enable", "false"))
            .unwrap();
        let config = config(properties);
        assert_eq!(config.inter_broker_listener, "INTERNAL");
        assert_eq!(config.balance_interval, None);
        assert_eq!(config.quorum.election_timeout_min, Duration::from_secs(1));
        assert_eq!(config.quorum.election_timeout_max, Duration::from_secs(2));
    }
}
