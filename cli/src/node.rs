//! A node from its properties: which roles it has, where it listens, and the running of it until it is asked to stop.

use crate::{
    http::{self, Health},
    output::Failure,
};
use broker::{Broker, BrokerConfig, ListenerConfig};
use controller::{Controller, ControllerConfig};
use metadata::config::Properties;
use protocol::ids::{BrokerId, ClusterUuid, DirectoryId};
use runtime::{disk::Disk, sync::shutdown, task, time};
use sd_notify::NotifyState;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use storage::directory::MetaProperties;

/// A listener as `listeners` writes it: `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

/// What a node's properties say of it.
#[derive(Debug)]
pub struct Node {
    /// `node.id`.
    pub id: BrokerId,
    /// Where the metadata log is.
    pub metadata_directory: PathBuf,
    /// Where the partitions are.
    pub log_directories: Vec<PathBuf>,
    broker: Option<(ListenerConfig, ListenerConfig)>,
    controller_bind: Option<String>,
    voters: BTreeMap<BrokerId, String>,
    rack: Option<String>,
    properties: Arc<Properties>,
}

impl Node {
    /// Reads a node from its properties.
    ///
    /// # Errors
    /// The key that is missing or wrong, and what to write instead.
    pub fn new(properties: Properties) -> Result<Self, Failure> {
        let get = |key: &str| properties.text(key).map(str::trim).filter(|value| !value.is_empty()).map(String::from);
        let id = properties.node_id().ok_or_else(|| wrong("node.id", "is missing: write node.id=1"))?;
        let roles =
            get("process.roles").ok_or_else(|| wrong("process.roles", "is missing: write broker,controller"))?;
        let roles: BTreeSet<&str> = roles.split(',').map(str::trim).collect();
        if let Some(role) = roles.iter().find(|role| !["broker", "controller"].contains(role)) {
            return Err(wrong("process.roles", &format!("has '{role}': a role is broker or controller")));
        }
        let listeners = endpoints("listeners", &get("listeners").unwrap_or_else(|| "PLAINTEXT://:9092".into()))?;
        let advertised = match get("advertised.listeners") {
            Some(text) => endpoints("advertised.listeners", &text)?,
            None => Vec::new(),
        };
        plaintext_only(&listeners, get("listener.security.protocol.map").as_deref())?;
        let controller_names = names(get("controller.listener.names").as_deref());
        let own_controller = listeners.iter().find(|listener| controller_names.contains(&listener.name));
        let voters = voters(get("controller.quorum.voters").as_deref(), id, own_controller)?;
        let controller_bind = if roles.contains("controller") {
            let listener = own_controller.ok_or_else(|| {
                wrong("controller.listener.names", "names no listener: a controller needs one of 'listeners'")
            })?;
            Some(format!("{}:{}", any_host(&listener.host), listener.port))
        } else {
            None
        };
        let broker = if roles.contains("broker") {
            let inter_broker = get("inter.broker.listener.name");
            Some(broker_listeners(&listeners, &advertised, &controller_names, inter_broker.as_deref())?)
        } else {
            None
        };
        let log_directories: Vec<PathBuf> = get("log.dirs")
            .or_else(|| get("log.dir"))
            .unwrap_or_else(|| "/tmp/kafka-logs".into())
            .split(',')
            .map(|directory| PathBuf::from(directory.trim()))
            .collect();
        let metadata_directory = get("metadata.log.dir").map_or_else(|| log_directories[0].clone(), PathBuf::from);
        let rack = get("broker.rack");
        Ok(Self {
            id,
            metadata_directory,
            log_directories,
            broker,
            controller_bind,
            voters,
            rack,
            properties: Arc::new(properties),
        })
    }

    /// Every directory of the node, each once.
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut all = self.log_directories.clone();
        if !all.contains(&self.metadata_directory) {
            all.push(self.metadata_directory.clone());
        }
        all
    }

    /// Where clients find it, if it is a broker.
    pub fn client_address(&self) -> Option<String> {
        let (listener, _) = self.broker.as_ref()?;
        let (_, port) = listener.bind.rsplit_once(':')?;
        let port = if listener.advertised_port == 0 { port.to_string() } else { listener.advertised_port.to_string() };
        Some(format!("{}:{port}", listener.advertised_host))
    }

    /// Writes `meta.properties` into each directory that has none.
    ///
    /// # Errors
    /// A directory of another cluster or node, or one that was formatted already unless `again` allows it.
    pub async fn format(&self, cluster_id: &str, again: bool) -> Result<Vec<PathBuf>, Failure> {
        let mut formatted = Vec::new();
        for directory in self.directories() {
            let disk = Disk::real(&directory)?;
            if let Some(found) = MetaProperties::read(&disk)? {
                if found.cluster_id != cluster_id {
                    let (theirs, place) = (found.cluster_id, directory.display());
                    return Err(Failure::new(format!("{place} belongs to cluster {theirs}, not to {cluster_id}")));
                }
                if !again {
                    let place = directory.display();
                    return Err(Failure::new(format!(
                        "{place} is formatted already: write --ignore-formatted to leave it so"
                    )));
                }
                continue;
            }
            let directory_id = Some(DirectoryId(runtime::rand::uuid()));
            MetaProperties { cluster_id: cluster_id.into(), node_id: self.id, directory_id }.write(&disk).await?;
            formatted.push(directory);
        }
        Ok(formatted)
    }

    /// Runs the node until it is asked to stop; `ready` is called once it serves.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn serve(self, ready: impl FnOnce(&Self)) -> Result<(), Failure> {
        self.serve_until(ready, task::termination_requested()).await
    }

    /// As [`Node::serve`], until this is over.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn serve_until(
        self,
        ready: impl FnOnce(&Self),
        over: impl Future<Output = io::Result<()>>,
    ) -> Result<(), Failure> {
        let cluster_id = self.cluster_id()?;
        let http = http::bind(&self.properties).await?;
        let controller = match &self.controller_bind {
            Some(bind) => {
                let (voters, properties) = (self.voters.clone(), Arc::clone(&self.properties));
                let mut config = ControllerConfig::new(self.id, cluster_id.clone(), bind, voters, properties);
                if let Some((_, inter_broker)) = &self.broker {
                    config.inter_broker_listener.clone_from(&inter_broker.name);
                }
                Some(Arc::new(Controller::start(config, Disk::real(&self.metadata_directory)?).await?))
            }
            None => None,
        };
        let broker = match &self.broker {
            Some(listeners) => {
                let config = self.broker_config(cluster_id, listeners);
                let disks = self.log_directories.iter().map(Disk::real).collect::<Result<_, _>>()?;
                Some(Arc::new(Broker::start(config, disks).await?))
            }
            None => None,
        };
        let (stop_http, stopping) = shutdown();
        let health =
            Health { broker: broker.as_ref().map(Arc::downgrade), controller: controller.as_ref().map(Arc::downgrade) };
        let http = http.map(|listener| task::spawn(http::serve(listener, health, stopping)));
        let mut failed = Box::pin(failed(broker.clone(), controller.clone(), self.metadata_directory.clone()));
        let mut termination = std::pin::pin!(over);
        let serving = async {
            if let Some(broker) = &broker {
                broker.ready().await;
            }
        };
        let ended = runtime::select! {
            () = serving => None,
            why = &mut failed => return Err(why),
            ended = &mut termination => Some(ended),
        };
        if ended.is_none() {
            ready(&self);
            // Who started the process may not care: then there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving clients")]);
        }
        match ended {
            Some(ended) => ended?,
            // Where everything has failed nothing can be left in good order.
            None => runtime::select! {
                why = &mut failed => return Err(why),
                ended = termination => ended?,
            },
        }
        drop(failed); // it holds what is stopped next
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        stop_http.request();
        if let Some(http) = http {
            // One that panicked has said so; there is nothing left to stop in it.
            let _ = http.await;
        }
        if let Some(broker) = broker {
            sole(broker).await.stop().await;
        }
        if let Some(controller) = controller {
            sole(controller).await.stop().await;
        }
        Ok(())
    }

    fn broker_config(&self, cluster_id: String, listeners: &(ListenerConfig, ListenerConfig)) -> BrokerConfig {
        BrokerConfig {
            node_id: self.id,
            cluster_id,
            rack: self.rack.clone(),
            client_listener: listeners.0.clone(),
            inter_broker_listener: listeners.1.clone(),
            controllers: self.voters.clone(),
            properties: Arc::clone(&self.properties),
        }
    }

    /// The cluster that the directories were formatted for.
    fn cluster_id(&self) -> Result<String, Failure> {
        let mut found = BTreeSet::new();
        for directory in self.directories() {
            let place = directory.display().to_string();
            let unformatted =
                || Failure::new(format!("{place} is not formatted: run `gregor storage format -t ID -c FILE` first"));
            let meta = MetaProperties::read(&Disk::real(&directory)?)?.ok_or_else(unformatted)?;
            if meta.node_id != self.id {
                return Err(Failure::new(format!(
                    "{place} belongs to node {}, and node.id is {}",
                    meta.node_id, self.id
                )));
            }
            found.insert(meta.cluster_id);
        }
        match (found.pop_first(), found.is_empty()) {
            (Some(cluster_id), true) => Ok(cluster_id),
            _ => Err(Failure::new("the log directories belong to different clusters")),
        }
    }
}

/// Waits until nothing can be done any more but to end the process, and says why: every log directory has failed (KIP-112),
/// or the controller's (`FaultHandlerFactory`: a fatal fault).
async fn failed(
    broker: Option<Arc<Broker>>,
    controller: Option<Arc<Controller>>,
    metadata_directory: PathBuf,
) -> Failure {
    let directories = async {
        match broker {
            Some(broker) => broker.failed().await,
            None => std::future::pending().await,
        }
    };
    let controller = async {
        match controller {
            Some(controller) => controller.failed().await,
            None => std::future::pending().await,
        }
    };
    runtime::select! {
        () = directories => Failure::new("every log directory has failed: see the log for the first error of each"),
        why = controller => Failure::new(format!("the controller in {} has failed: {why}", metadata_directory.display())),
    }
}

/// What nobody else holds any more: an answer that is just being made holds it for a moment.
async fn sole<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(sole) => return sole,
            Err(held) => shared = held,
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// A fresh cluster id, as `kafka-storage random-uuid` prints one: never one that begins with a dash.
pub fn random_cluster_id() -> String {
    loop {
        let id = ClusterUuid(runtime::rand::uuid()).to_string();
        if !id.starts_with('-') {
            return id;
        }
    }
}

fn wrong(key: &str, what: &str) -> Failure {
    Failure::new(format!("{key} {what}"))
}

fn names(list: Option<&str>) -> BTreeSet<String> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect()
}

fn is_any(host: &str) -> bool {
    host.is_empty() || host == "0.0.0.0" || host == "::"
}

fn any_host(host: &str) -> &str {
    if host.is_empty() { "0.0.0.0" } else { host }
}

/// Reads `NAME://host:port,..`.
fn endpoints(key: &str, text: &str) -> Result<Vec<Endpoint>, Failure> {
    let endpoint = |part: &str| {
        let bad = || wrong(key, &format!("has '{part}': write it as PLAINTEXT://host:9092"));
        let (name, address) = part.split_once("://").ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Endpoint { name: name.to_uppercase(), host: host.into(), port: port.parse().map_err(|_| bad())? })
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(endpoint).collect()
}

/// Refuses listeners that speak TLS or SASL: nothing here does.
fn plaintext_only(listeners: &[Endpoint], map: Option<&str>) -> Result<(), Failure> {
    let map: BTreeMap<String, String> = map
        .unwrap_or_default()
        .split(',')
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, protocol)| (name.trim().to_uppercase(), protocol.trim().to_uppercase()))
        .collect();
    for listener in listeners {
        let protocol = map.get(&listener.name).unwrap_or(&listener.name);
        if ["SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            return Err(wrong(
                "listeners",
                &format!("has {} with {protocol}: only PLAINTEXT is served", listener.name),
            ));
        }
    }
    Ok(())
}

/// Reads `1@host:9093,..`; a node that is the only controller may leave it out.
fn voters(text: Option<&str>, id: BrokerId, own: Option<&Endpoint>) -> Result<BTreeMap<BrokerId, String>, Failure> {
    let key = "controller.quorum.voters";
    match (text, own) {
        (Some(text), _) => text
            .split(',')
            .map(|part| {
                let bad = || wrong(key, &format!("has '{part}': write it as 1@host:9093"));
                let (id, address) = part.trim().split_once('@').ok_or_else(bad)?;
                Ok((BrokerId(id.parse().map_err(|_| bad())?), address.to_string()))
            })
            .collect(),
        (None, Some(own)) => {
            let host = if own.host.is_empty() || own.host == "0.0.0.0" { "localhost" } else { &own.host };
            Ok(BTreeMap::from([(id, format!("{host}:{}", own.port))]))
        }
        (None, None) => Err(wrong(key, "is missing: write 1@host:9093 for each controller")),
    }
}

/// The listener for clients, and the one for brokers. Where they are the same, the broker opens another one for brokers.
fn broker_listeners(
    listeners: &[Endpoint],
    advertised: &[Endpoint],
    controller_names: &BTreeSet<String>,
    inter_broker: Option<&str>,
) -> Result<(ListenerConfig, ListenerConfig), Failure> {
    let ours: Vec<&Endpoint> = listeners.iter().filter(|listener| !controller_names.contains(&listener.name)).collect();
    let config = |listener: &Endpoint| {
        let found = advertised.iter().find(|advertised| advertised.name == listener.name).unwrap_or(listener);
        ListenerConfig {
            name: listener.name.clone(),
            bind: format!("{}:{}", any_host(&listener.host), listener.port),
            advertised_host: if is_any(&found.host) { "localhost".into() } else { found.host.clone() },
            advertised_port: found.port,
        }
    };
    let named = match inter_broker {
        Some(name) => {
            let found = ours.iter().find(|listener| listener.name.eq_ignore_ascii_case(name));
            Some(*found.ok_or_else(|| {
                wrong("inter.broker.listener.name", &format!("is {name}, which is not in 'listeners'"))
            })?)
        }
        None => None,
    };
    let for_clients: Vec<&&Endpoint> =
        ours.iter().filter(|listener| ours.len() == 1 || Some(**listener) != named).collect();
    let client = match for_clients[..] {
        [one] => config(one),
        [] => return Err(wrong("listeners", "has none for clients: write PLAINTEXT://:9092")),
        _ => {
            return Err(wrong(
                "listeners",
                "has several for clients: one beside those for brokers and controllers is served",
            ));
        }
    };
    let inter_broker = named.map_or_else(|| client.clone(), config);
    Ok((client, inter_broker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::config::Origin;

    fn node(text: &str) -> Result<Node, String> {
        let mut properties = Properties::new();
        for (key, value) in crate::properties::parse(text).expect("valid properties") {
            properties.set(&key, &value, Origin::File).map_err(|error| error.to_string())?;
        }
        Node::new(properties).map_err(|failure| failure.what)
    }

    const COMBINED: &str = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
        controller.listener.names=CONTROLLER\nadvertised.listeners=PLAINTEXT://host.example:9092\nlog.dirs=/data";

    #[test]
    fn one_listener_may_be_for_clients_and_brokers() {
        let (client, inter_broker) = node(COMBINED).expect("valid").broker.expect("a broker");
        assert_eq!((client.bind.as_str(), client.advertised_host.as_str()), ("0.0.0.0:9092", "host.example"));
        assert_eq!(inter_broker, client);
        let named = format!("{COMBINED}\ninter.broker.listener.name=PLAINTEXT");
        assert_eq!(node(&named).expect("valid").broker.expect("a broker"), (client.clone(), client));
    }

    #[test]
    fn a_named_inter_broker_listener_is_kept_from_clients() {
        let text = COMBINED.replace("PLAINTEXT://:9092,C", "PLAINTEXT://:9092,INTERNAL://:9091,C");
        let text = format!("{text}\ninter.broker.listener.name=INTERNAL");
        let (client, inter_broker) = node(&text).expect("valid").broker.expect("a broker");
        assert_eq!((client.name.as_str(), inter_broker.bind.as_str()), ("PLAINTEXT", "0.0.0.0:9091"));
    }

    #[test]
    fn a_sole_controller_votes_for_itself() {
        assert_eq!(
            node(COMBINED).expect("valid").voters,
            BTreeMap::from([(BrokerId(1), "localhost:9093".to_string())])
        );
    }

    #[test]
    fn a_node_may_have_its_old_name() {
        assert_eq!(node(&COMBINED.replace("node.id", "broker.id")).expect("valid").id, BrokerId(1));
        let nameless = node(&COMBINED.replace("node.id=1\n", "")).expect_err("no id");
        assert_eq!(nameless, "node.id is missing: write node.id=1");
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, key) in [
            ("process.roles=broker", "node.id"),
            ("node.id=1", "process.roles"),
            ("node.id=1\nprocess.roles=brokr", "process.roles"),
            (&COMBINED.replace("PLAINTEXT://:9092", "PLAINTEXT//9092"), "listeners"),
            (&COMBINED.replace("PLAINTEXT://:9092,", "SSL://:9092,"), "listeners"),
            (&COMBINED.replace("names=CONTROLLER", "names=OTHER"), "controller"),
        ] {
            let failure = node(text).expect_err(key);
            assert!(failure.contains(key), "{failure}");
        }
    }
}
