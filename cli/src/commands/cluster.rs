//! `gregor cluster`: real nodes on this machine, real sockets, to play with and to break.

use super::topic::describe_partitions;
use crate::{
    local_cluster::LocalCluster,
    output::{self, Failure, Format},
};
use clap::Subcommand;
use client::{
    admin::{Admin, PartitionDescription},
    cluster::{Cluster, ClusterOptions},
};
use runtime::task::block_on_real;
use std::{path::PathBuf, process::ExitCode, time::Duration};

const ALL_KNOWN_WITHIN: Duration = Duration::from_secs(30);
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

/// Starts, breaks and stops real nodes on this machine
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor cluster start -n 3\n  gregor cluster kill 1\n  gregor cluster status --watch\n  gregor cluster restart --rolling"
)]
pub struct LocalNodes {
    /// Where the nodes keep their data
    #[arg(long, default_value = "gregor-data/cluster", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the nodes, makes them first if need be
    Start {
        /// How many nodes
        #[arg(short, long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=9))]
        nodes: i32,
        /// The clients' port of the first node; each further node is 1000 higher
        #[arg(long, default_value_t = 9092)]
        base_port: u16,
        /// Stays, and stops the nodes when it is interrupted
        #[arg(long)]
        foreground: bool,
    },
    /// Shows the nodes and the partitions
    Status {
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        /// Prints it again and again, this often, until it is interrupted
        #[arg(short, long, value_parser = super::duration, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s")]
        watch: Option<Duration>,
    },
    /// Ends a node's process without warning, as `kill -9`
    Kill {
        /// The node's id
        node: i32,
    },
    /// Starts a node again, stopping it first if it runs
    Restart {
        /// The node's id
        #[arg(required_unless_present = "rolling")]
        node: Option<i32>,
        /// All nodes, one after another, each only when every replica is in sync again
        #[arg(long, conflicts_with = "node")]
        rolling: bool,
    },
    /// Stops all nodes in good order, or one
    Stop {
        /// The node's id
        node: Option<i32>,
    },
}

impl LocalNodes {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let dir = self.dir;
        block_on_real(async move {
            match self.command {
                Command::Start { nodes, base_port, foreground } => {
                    let cluster = LocalCluster::open_or_create(&dir, nodes, base_port).await?;
                    start(&cluster).await?;
                    if foreground {
                        println!("Ctrl-C stops them");
                        runtime::task::termination_requested().await?;
                        stop(&cluster, None).await?;
                    } else {
                        println!("next: gregor topic create orders -p 3 -r {}", nodes.min(3));
                    }
                }
                Command::Status { output, watch } => {
                    let cluster = LocalCluster::open(&dir)?;
                    status(&cluster, output).await?;
                    while let Some(every) = watch {
                        runtime::time::sleep(every).await;
                        println!();
                        status(&cluster, output).await?;
                    }
                }
                Command::Kill { node } => {
                    let cluster = LocalCluster::open(&dir)?;
                    let node = cluster.node(node)?.id;
                    println!("node {node} {}", if cluster.kill(node) { "is killed" } else { "was not running" });
                }
                Command::Restart { node, .. } => {
                    let cluster = LocalCluster::open(&dir)?;
                    match node {
                        Some(node) => restart(&cluster, cluster.node(node)?.id).await?,
                        None => roll(&cluster).await?,
                    }
                }
                Command::Stop { node } => stop(&LocalCluster::open(&dir)?, node).await?,
            }
            Ok::<_, Failure>(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn start(cluster: &LocalCluster) -> Result<(), Failure> {
    for node in &cluster.nodes {
        cluster.start(node.id).await?;
    }
    for node in &cluster.nodes {
        cluster
            .wait_ready(node.id)
            .await
            .map_err(|failure| Failure::new(format!("{failure}\n{}", cluster.log_tail(node.id).trim_end())))?;
    }
    wait_for_all(cluster).await?;
    let rows = node_rows(cluster, cluster.active_controller().await);
    print!("{}", output::table(&NODE_HEADINGS, &rows));
    Ok(())
}

/// Waits until the nodes know each other: whoever asks for a replica on each of them next is to get it.
async fn wait_for_all(cluster: &LocalCluster) -> Result<(), Failure> {
    let deadline = runtime::time::now() + ALL_KNOWN_WITHIN;
    for node in &cluster.nodes {
        let options = ClusterOptions::new([format!("localhost:{}", node.kafka_port)]);
        let admin = Admin::new(Cluster::new(options), super::ADMIN_TIMEOUT);
        loop {
            let described = admin.describe_cluster().await?;
            if described.cluster_id != cluster.cluster_id {
                let port = node.kafka_port;
                return Err(Failure::new(format!(
                    "port {port} is another cluster's: choose others with --base-port and --dir"
                )));
            }
            if described.brokers.len() >= cluster.nodes.len() {
                break;
            }
            if runtime::time::now() > deadline {
                return Err(Failure::new(format!("node {} does not know all others in time", node.id)));
            }
            runtime::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn restart(cluster: &LocalCluster, node: i32) -> Result<(), Failure> {
    cluster.stop(node).await?;
    cluster.start(node).await?;
    cluster.wait_ready(node).await?;
    println!("node {node} is running");
    Ok(())
}

/// Restarts every node in good order. The next one waits until every partition has all of its replicas in sync: no
/// partition is ever without the replicas that it needs.
async fn roll(cluster: &LocalCluster) -> Result<(), Failure> {
    let admin = Admin::new(Cluster::new(ClusterOptions::new(cluster.bootstrap())), super::ADMIN_TIMEOUT);
    for node in &cluster.nodes {
        restart(cluster, node.id).await?;
        let deadline = runtime::time::now() + WHOLE_WITHIN;
        while let Some(partition) = not_in_sync(&admin).await? {
            if runtime::time::now() > deadline {
                let what = format!(
                    "after node {}, {partition} has not all of its replicas in sync: see `gregor cluster status`",
                    node.id
                );
                return Err(Failure::new(what));
            }
            runtime::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// A partition that lacks a leader or a replica in sync, if there is one.
async fn not_in_sync(admin: &Admin) -> Result<Option<String>, Failure> {
    let topics: Vec<String> = admin.list_topics().await?.into_iter().map(|topic| topic.name).collect();
    for (name, described) in admin.describe_topics(&topics).await? {
        // A topic that was just deleted lacks nothing.
        let Ok(topic) = described else { continue };
        let lacks = |partition: &&PartitionDescription| {
            partition.leader.is_none() || partition.isr.len() < partition.replicas.len()
        };
        if let Some(partition) = topic.partitions.iter().find(lacks) {
            return Ok(Some(format!("{name}-{}", partition.partition)));
        }
    }
    Ok(None)
}

async fn stop(cluster: &LocalCluster, only: Option<i32>) -> Result<(), Failure> {
    let nodes: Vec<i32> = match only {
        Some(id) => vec![cluster.node(id)?.id],
        None => cluster.nodes.iter().map(|node| node.id).collect(),
    };
    // All are asked together: a node that stops last has nobody left to hand its partitions to.
    let stops: Vec<_> = nodes
        .into_iter()
        .map(|id| {
            let cluster = cluster.clone();
            runtime::task::spawn(async move { (id, cluster.stop(id).await) })
        })
        .collect();
    for stopping in stops {
        let (id, stopped) = stopping.await?;
        println!("node {id} {}", if stopped? { "has stopped" } else { "was not running" });
    }
    Ok(())
}

/// An asterisk behind the role marks the active controller.
const NODE_HEADINGS: [&str; 7] = ["NODE", "ROLE", "KAFKA", "CONTROLLER", "HTTP", "PID", "STATE"];

fn node_rows(cluster: &LocalCluster, active: Option<i32>) -> Vec<Vec<String>> {
    let row = |node: &crate::local_cluster::LocalNode| {
        let pid = cluster.pid(node.id).map(|pid| pid.as_raw_nonzero().to_string());
        vec![
            node.id.to_string(),
            format!("broker,controller{}", if active == Some(node.id) { "*" } else { "" }),
            format!("localhost:{}", node.kafka_port),
            format!("localhost:{}", node.controller_port),
            format!("localhost:{}", node.http_port),
            pid.clone().unwrap_or_else(|| "-".into()),
            if pid.is_some() { "running".into() } else { "down".into() },
        ]
    };
    cluster.nodes.iter().map(row).collect()
}

async fn status(cluster: &LocalCluster, format: Format) -> Result<(), Failure> {
    output::print_rows(format, &NODE_HEADINGS, &node_rows(cluster, cluster.active_controller().await))?;
    let running: Vec<String> = cluster
        .nodes
        .iter()
        .filter(|node| cluster.pid(node.id).is_some())
        .map(|node| format!("localhost:{}", node.kafka_port))
        .collect();
    if format == Format::Table && !running.is_empty() {
        let admin = Admin::new(Cluster::new(ClusterOptions::new(running)), super::ADMIN_TIMEOUT);
        println!();
        describe_partitions(&admin, &[], format).await?;
    }
    Ok(())
}
