//! Real nodes on this machine: a folder with one sub-folder a node (properties, log, process id), and the processes.

use crate::{node::random_cluster_id, output::Failure, procfs};
use protocol::messages::DescribeClusterRequest;
use runtime::{
    disk::{Disk, Open},
    time,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// DescribeCluster's `EndpointType` for controllers (KIP-919).
const CONTROLLER_ENDPOINTS: i8 = 2;
const STATE: &str = "cluster.json";
/// A node that is not serving by then has failed to start.
const START_SECONDS_MAX: u64 = 30;
const STOP_SECONDS_MAX: u64 = 30;

/// How far above the ports that a node is known by it listens behind a proxy.
#[cfg(madsim)]
const BEHIND: u16 = 100;
/// Controllers of their own have ids from here on, as they have in the simulator.
const FIRST_CONTROLLER: i32 = 101;

/// `process.roles`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Roles {
    /// Both in one process.
    #[default]
    #[serde(rename = "broker,controller")]
    Combined,
    /// A broker, whose controllers are other nodes.
    #[serde(rename = "broker")]
    Broker,
    /// A controller.
    #[serde(rename = "controller")]
    Controller,
}

impl Roles {
    /// As `process.roles` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Combined => "broker,controller",
            Self::Broker => "broker",
            Self::Controller => "controller",
        }
    }
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalNode {
    /// `node.id`.
    pub id: i32,
    /// `process.roles`
    #[serde(default)]
    pub roles: Roles,
    /// The clients' port; 0 for a controller.
    pub kafka_port: u16,
    /// The brokers' port; 0 for a controller.
    pub replication_port: u16,
    /// The controllers' port; 0 for a broker whose controllers are other nodes.
    pub controller_port: u16,
    /// The port of metrics and health.
    #[serde(default)]
    pub http_port: u16,
    /// Everybody comes through a proxy: the node itself listens so many ports above those that it is known by.
    #[serde(default)]
    pub behind: u16,
}

impl LocalNode {
    /// Whether it serves clients.
    pub fn is_broker(&self) -> bool {
        self.roles != Roles::Controller
    }

    /// Whether it has a vote on the cluster's metadata.
    pub fn is_controller(&self) -> bool {
        self.roles != Roles::Broker
    }

    fn properties(&self, cluster: &LocalCluster) -> String {
        let Self { id, kafka_port, replication_port, http_port, behind, .. } = self;
        let voter = |node: &LocalNode| format!("{}@127.0.0.1:{}", node.id, node.controller_port);
        let voters: Vec<_> = cluster.controllers().map(voter).collect();
        let replicas = cluster.brokers().count().min(3);
        let min_isr = if replicas > 2 { 2 } else { 1 };
        let mut listeners = Vec::new();
        let mut text = format!("process.roles={}\nnode.id={id}\n", self.roles.name());
        if self.is_broker() {
            let replication = |port| format!("REPLICATION://127.0.0.1:{port}");
            let known = replication(*replication_port);
            text += &format!("advertised.listeners=PLAINTEXT://localhost:{kafka_port},{known}\n");
            let client = format!("PLAINTEXT://127.0.0.1:{}", kafka_port + behind);
            listeners.extend([client, replication(replication_port + behind)]);
        }
        if self.is_controller() {
            listeners.push(format!("CONTROLLER://127.0.0.1:{}", self.controller_port + behind));
        }
        text + &format!(
            "listeners={}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=REPLICATION\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters={}\nlog.dirs={}\ngregor.http.listener=127.0.0.1:{http_port}\n\
             default.replication.factor={replicas}\nmin.insync.replicas={min_isr}\n\
             offsets.topic.replication.factor={replicas}\ngroup.initial.rebalance.delay.ms=0\n",
            listeners.join(","),
            voters.join(","),
            cluster.node_folder(*id).join("data").display(),
        )
    }
}

/// How many nodes of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes that serve clients.
    pub brokers: i32,
    /// Controllers apart from those; none if the brokers are controllers, too.
    pub controllers: Option<i32>,
}

impl Size {
    /// The nodes, each 1000 ports above the one before. Controllers stand one port above the clients' ports, as they do
    /// where brokers are controllers.
    fn nodes(self, base_port: u16) -> Result<Vec<LocalNode>, std::num::TryFromIntError> {
        let port = |index: i32, offset: i32| u16::try_from(i32::from(base_port) + 1000 * index + offset);
        let roles = if self.controllers.is_some() { Roles::Broker } else { Roles::Combined };
        let broker = |index: i32| {
            let controller_port = if roles == Roles::Combined { port(index, 1)? } else { 0 };
            let (kafka_port, replication_port) = (port(index, 0)?, port(index, -1)?);
            // With the usual ports, the usual one: 9644.
            let http_port = port(index, 552)?;
            Ok(LocalNode { id: index + 1, roles, kafka_port, replication_port, controller_port, http_port, behind: 0 })
        };
        let controller = |index: i32| {
            let (id, roles) = (FIRST_CONTROLLER + index, Roles::Controller);
            let (controller_port, http_port) = (port(index, 1)?, port(index, 553)?);
            Ok(LocalNode { id, roles, kafka_port: 0, replication_port: 0, controller_port, http_port, behind: 0 })
        };
        (0..self.brokers).map(broker).chain((0..self.controllers.unwrap_or(0)).map(controller)).collect()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.controllers {
            Some(controllers) => write!(f, "{} brokers and {controllers} controllers", self.brokers),
            None => write!(f, "{} nodes", self.brokers),
        }
    }
}

/// The nodes, as kept in the folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalCluster {
    /// The cluster's id.
    pub cluster_id: String,
    /// Its nodes.
    pub nodes: Vec<LocalNode>,
    #[serde(skip)]
    folder: PathBuf,
}

impl LocalCluster {
    /// The cluster that the folder holds.
    ///
    /// # Errors
    /// There is none.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let place = folder.display();
        if !folder.join(STATE).is_file() {
            return Err(Failure::new(format!(
                "there is no cluster in {place}: start one with `gregor cluster start -n 3`"
            )));
        }
        let bytes = Disk::real(folder)?.read(STATE)?;
        let cluster: Self =
            serde_json::from_slice(&bytes).map_err(|error| Failure::new(format!("{place}/{STATE}: {error}")))?;
        Ok(Self { folder: std::path::absolute(folder)?, ..cluster })
    }

    /// Opens the folder's cluster, or makes one of this size.
    ///
    /// # Errors
    /// The folder holds a cluster of another size, or cannot be written.
    pub async fn open_or_create(folder: &Path, size: Size, base_port: u16) -> Result<Self, Failure> {
        if folder.join(STATE).is_file() {
            let cluster = Self::open(folder)?;
            if cluster.size() != size {
                let (place, size) = (folder.display(), cluster.size());
                return Err(Failure::new(format!(
                    "{place} holds a cluster of {size}: remove it, or name another with --dir"
                )));
            }
            return Ok(cluster);
        }
        let nodes = size.nodes(base_port).map_err(|_| Failure::usage("the ports end above 65535"))?;
        let cluster = Self { cluster_id: random_cluster_id(), nodes, folder: std::path::absolute(folder)? };
        for node in &cluster.nodes {
            let disk = Disk::real(cluster.node_folder(node.id))?;
            disk.write_atomically("server.properties", node.properties(&cluster).as_bytes()).await?;
        }
        Disk::real(folder)?.write_atomically(STATE, &serde_json::to_vec_pretty(&cluster)?).await?;
        Ok(cluster)
    }

    /// Makes a cluster in an empty folder, whose nodes listen behind a proxy, with these properties over the usual ones.
    ///
    /// # Errors
    /// The folder cannot be written.
    #[cfg(madsim)]
    pub async fn create_behind_proxy(
        folder: &Path,
        size: Size,
        base_port: u16,
        properties: &std::collections::BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let mut nodes = size.nodes(base_port).map_err(|_| Failure::usage("the ports end above 65535"))?;
        nodes.iter_mut().for_each(|node| node.behind = BEHIND);
        let cluster = Self { cluster_id: random_cluster_id(), nodes, folder: std::path::absolute(folder)? };
        let more: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        for node in &cluster.nodes {
            let text = node.properties(&cluster) + &more;
            Disk::real(cluster.node_folder(node.id))?.write_atomically("server.properties", text.as_bytes()).await?;
        }
        Disk::real(folder)?.write_atomically(STATE, &serde_json::to_vec_pretty(&cluster)?).await?;
        Ok(cluster)
    }

    /// How many nodes of which kind it has.
    pub fn size(&self) -> Size {
        let alone = self.nodes.iter().filter(|node| !node.is_broker()).count() as i32;
        Size { brokers: self.brokers().count() as i32, controllers: (alone > 0).then_some(alone) }
    }

    /// The nodes that serve clients.
    pub fn brokers(&self) -> impl Iterator<Item = &LocalNode> {
        self.nodes.iter().filter(|node| node.is_broker())
    }

    /// The nodes that vote on the cluster's metadata.
    pub fn controllers(&self) -> impl Iterator<Item = &LocalNode> {
        self.nodes.iter().filter(|node| node.is_controller())
    }

    fn node_folder(&self, id: i32) -> PathBuf {
        self.folder.join(format!("node-{id}"))
    }

    /// The node with this id.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&self, id: i32) -> Result<&LocalNode, Failure> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| Failure::usage(format!("there is no node {id}")))
    }

    /// Where clients find the cluster.
    pub fn bootstrap(&self) -> Vec<String> {
        self.brokers().map(|node| format!("localhost:{}", node.kafka_port)).collect()
    }

    /// The process of a node, if it runs.
    pub fn pid(&self, id: i32) -> Option<Pid> {
        let text = Disk::real(self.node_folder(id)).ok()?.read("pid").ok()?;
        let pid = Pid::from_raw(String::from_utf8(text).ok()?.trim().parse().ok()?)?;
        test_kill_process(pid).ok()?;
        // The number may be another process's by now.
        let command = procfs::command_line(pid.as_raw_nonzero().get());
        let ours = self.node_folder(id).to_string_lossy().into_owned();
        // Where there is no procfs the number has to do.
        command.is_none_or(|command| command.contains(&ours)).then_some(pid)
    }

    /// Starts a node's process, detached from this one. Nothing happens if it runs already.
    ///
    /// # Errors
    /// The process cannot be started.
    pub async fn start(&self, id: i32) -> Result<(), Failure> {
        if self.pid(id).is_some() {
            return Ok(());
        }
        let folder = self.node_folder(id);
        let config = folder.join("server.properties");
        let this = std::env::current_exe()?;
        let formatted = Command::new(&this)
            .args(["storage", "format", "--ignore-formatted", "-t", &self.cluster_id, "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .status()?;
        if !formatted.success() {
            return Err(Failure::new(format!("the directories of node {id} could not be formatted")));
        }
        // The shell opens the log for appending and goes away: the node is nobody's child, and outlives this process.
        let script = "exec nohup setsid \"$0\" server --config \"$1\" >>\"$2\" 2>&1 </dev/null & echo $! >\"$3\"";
        let started = Command::new("sh")
            .args(["-c", script])
            .args([this.as_path(), &config, &folder.join("server.log"), &folder.join("pid")])
            .stdin(Stdio::null())
            .status()?;
        if started.success() { Ok(()) } else { Err(Failure::new(format!("node {id} could not be started"))) }
    }

    /// Waits until a node serves: clients if it is a broker, else the other nodes.
    ///
    /// # Errors
    /// Its process has ended, or it does not serve in time; the end of its log says why.
    pub async fn wait_ready(&self, id: i32) -> Result<(), Failure> {
        let node = self.node(id)?;
        let port = if node.is_broker() { node.kafka_port } else { node.controller_port };
        let address = format!("127.0.0.1:{}", port + node.behind);
        let deadline = time::now() + Duration::from_secs(START_SECONDS_MAX);
        let mut seen_at = time::now();
        loop {
            if client::Connection::connect(&address, options()).await.is_ok() {
                return Ok(());
            }
            let log = self.node_folder(id).join("server.log");
            if time::now() > deadline {
                return Err(Failure::new(format!(
                    "node {id} does not serve after {START_SECONDS_MAX} s: see {}",
                    log.display()
                )));
            }
            // A process that is being replaced by the program it starts has no command line for a moment.
            if self.pid(id).is_some() {
                seen_at = time::now();
            } else if seen_at.elapsed() > Duration::from_secs(1) {
                return Err(Failure::new(format!("node {id} has ended: see {}", log.display())));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The node whose controller is active, as any running controller says.
    pub async fn active_controller(&self) -> Option<i32> {
        for node in self.controllers() {
            let address = format!("127.0.0.1:{}", node.controller_port + node.behind);
            let Ok(connection) = client::Connection::connect(&address, options()).await else {
                continue;
            };
            let request = DescribeClusterRequest::default().with_endpoint_type(CONTROLLER_ENDPOINTS);
            if let Ok(answer) = connection.call(&request).await
                && answer.controller_id.0 >= 0
            {
                return Some(answer.controller_id.0);
            }
        }
        None
    }

    /// Ends a node's process without warning. False if it did not run.
    pub fn kill(&self, id: i32) -> bool {
        self.pid(id).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// Freezes a node's process. False if it did not run.
    pub fn pause(&self, id: i32) -> bool {
        self.pid(id).is_some_and(|pid| kill_process(pid, Signal::STOP).is_ok())
    }

    /// Lets a frozen process go on. False if it does not run.
    pub fn resume(&self, id: i32) -> bool {
        self.pid(id).is_some_and(|pid| kill_process(pid, Signal::CONT).is_ok())
    }

    /// Stops a node in good order and waits for it. False if it did not run.
    ///
    /// # Errors
    /// It does not stop in time.
    pub async fn stop(&self, id: i32) -> Result<bool, Failure> {
        let Some(pid) = self.pid(id) else { return Ok(false) };
        kill_process(pid, Signal::TERM).ok();
        let deadline = time::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while self.pid(id).is_some() {
            if time::now() > deadline {
                return Err(Failure::new(format!("node {id} does not stop within {STOP_SECONDS_MAX} s")));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(true)
    }

    /// The last lines of a node's log, for a failure's message.
    pub fn log_tail(&self, id: i32) -> String {
        let read = Disk::real(self.node_folder(id)).and_then(|disk| disk.open("server.log", Open::Existing)).and_then(
            |file| {
                let length = file.len()?;
                let kept = length.min(2_000);
                let mut tail = vec![0; kept as usize];
                file.read_at(&mut tail, length - kept)?;
                Ok(tail)
            },
        );
        String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
    }
}

fn options() -> client::ConnectionOptions {
    client::ConnectionOptions { client_id: "gregor-cluster".into(), ..client::ConnectionOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cluster(brokers: i32, controllers: Option<i32>) -> LocalCluster {
        let nodes = Size { brokers, controllers }.nodes(9092).expect("ports");
        LocalCluster { cluster_id: random_cluster_id(), nodes, folder: PathBuf::from("/data") }
    }

    #[test]
    fn no_port_is_given_twice() {
        for (brokers, controllers) in [(1, None), (9, None), (3, Some(3)), (2, Some(5))] {
            let cluster = cluster(brokers, controllers);
            let all = cluster
                .nodes
                .iter()
                .flat_map(|node| [node.kafka_port, node.replication_port, node.controller_port, node.http_port]);
            let all: Vec<u16> = all.filter(|port| *port != 0).collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{brokers} {controllers:?}: {all:?}");
            assert_eq!(cluster.size(), Size { brokers, controllers });
        }
    }

    #[test]
    fn controllers_apart_are_the_only_voters() {
        let cluster = cluster(2, Some(3));
        let voters = "controller.quorum.voters=101@127.0.0.1:9093,102@127.0.0.1:10093,103@127.0.0.1:11093\n";
        for node in &cluster.nodes {
            let text = node.properties(&cluster);
            assert!(text.contains(voters), "{text}");
            let roles = if node.id > 100 { "process.roles=controller\n" } else { "process.roles=broker\n" };
            assert!(text.contains(roles), "{text}");
            assert_eq!(text.contains("://127.0.0.1:9092"), node.id == 1, "{text}");
        }
        assert_eq!(cluster.bootstrap(), ["localhost:9092", "localhost:10092"]);
    }

    #[test]
    fn a_folder_written_before_nodes_had_roles_is_of_combined_nodes() {
        let node = r#"{"id":1,"kafka_port":9092,"replication_port":9091,"controller_port":9093}"#;
        let node: LocalNode = serde_json::from_str(node).expect("a node");
        assert!(node.is_broker() && node.is_controller());
    }
}
