//! Real nodes on this machine: a folder with one sub-folder a node (properties, log, process id), and the processes.

use crate::{node::random_cluster_id, output::Failure};
use protocol::messages::DescribeClusterRequest;
use runtime::{
    disk::{Disk, Open},
    time,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use std::{
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

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalNode {
    /// `node.id`.
    pub id: i32,
    /// The clients' port.
    pub kafka_port: u16,
    /// The brokers' port.
    pub replication_port: u16,
    /// The controllers' port.
    pub controller_port: u16,
    /// The port of metrics and health.
    #[serde(default)]
    pub http_port: u16,
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

    /// Opens the folder's cluster, or makes one of so many nodes.
    ///
    /// # Errors
    /// The folder holds a cluster of another size, or cannot be written.
    pub async fn open_or_create(folder: &Path, nodes: i32, base_port: u16) -> Result<Self, Failure> {
        if folder.join(STATE).is_file() {
            let cluster = Self::open(folder)?;
            let size = cluster.nodes.len();
            if size != nodes as usize {
                let place = folder.display();
                return Err(Failure::new(format!(
                    "{place} holds a cluster of {size} nodes: remove it, or name another with --dir"
                )));
            }
            return Ok(cluster);
        }
        let port = |id: i32, offset: i32| u16::try_from(i32::from(base_port) + 1000 * (id - 1) + offset);
        let node = |id: i32| {
            let (kafka_port, replication_port, controller_port) = (port(id, 0)?, port(id, -1)?, port(id, 1)?);
            // With the usual ports, the usual one: 9644.
            let http_port = port(id, 552)?;
            Ok::<_, std::num::TryFromIntError>(LocalNode {
                id,
                kafka_port,
                replication_port,
                controller_port,
                http_port,
            })
        };
        let nodes =
            (1..=nodes).map(node).collect::<Result<_, _>>().map_err(|_| Failure::usage("the ports end above 65535"))?;
        let cluster = Self { cluster_id: random_cluster_id(), nodes, folder: std::path::absolute(folder)? };
        for node in &cluster.nodes {
            let disk = Disk::real(cluster.node_folder(node.id))?;
            disk.write_atomically("server.properties", cluster.properties(node).as_bytes()).await?;
        }
        Disk::real(folder)?.write_atomically(STATE, &serde_json::to_vec_pretty(&cluster)?).await?;
        Ok(cluster)
    }

    fn node_folder(&self, id: i32) -> PathBuf {
        self.folder.join(format!("node-{id}"))
    }

    fn properties(&self, node: &LocalNode) -> String {
        let LocalNode { id, kafka_port, replication_port, controller_port, http_port } = node;
        let voters: Vec<_> =
            self.nodes.iter().map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller_port)).collect();
        let replicas = self.nodes.len().min(3);
        let min_isr = if replicas > 2 { 2 } else { 1 };
        format!(
            "process.roles=broker,controller\nnode.id={id}\n\
             listeners=PLAINTEXT://127.0.0.1:{kafka_port},REPLICATION://127.0.0.1:{replication_port},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://localhost:{kafka_port},REPLICATION://127.0.0.1:{replication_port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=REPLICATION\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters={}\nlog.dirs={}\ngregor.http.listener=127.0.0.1:{http_port}\n\
             default.replication.factor={replicas}\nmin.insync.replicas={min_isr}\n",
            voters.join(","),
            self.node_folder(*id).join("data").display(),
        )
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
        self.nodes.iter().map(|node| format!("localhost:{}", node.kafka_port)).collect()
    }

    /// The process of a node, if it runs.
    pub fn pid(&self, id: i32) -> Option<Pid> {
        let text = Disk::real(self.node_folder(id)).ok()?.read("pid").ok()?;
        let pid = Pid::from_raw(String::from_utf8(text).ok()?.trim().parse().ok()?)?;
        test_kill_process(pid).ok()?;
        // The number may be another process's by now. Files of procfs have no length, so this one is read to its end.
        #[allow(clippy::disallowed_methods, reason = "procfs is not a disk")]
        let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let ours = self.node_folder(id).to_string_lossy().into_owned();
        // Where there is no procfs the number has to do.
        command.map_or(true, |command| String::from_utf8_lossy(&command).contains(&ours)).then_some(pid)
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

    /// Waits until a node serves clients.
    ///
    /// # Errors
    /// Its process has ended, or it does not serve in time; the end of its log says why.
    pub async fn wait_ready(&self, id: i32) -> Result<(), Failure> {
        let address = format!("127.0.0.1:{}", self.node(id)?.kafka_port);
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
        for node in &self.nodes {
            let address = format!("127.0.0.1:{}", node.controller_port);
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
