//! `gregor cluster`: real nodes on this machine, real sockets, to play with and to break.

#[cfg(madsim)]
mod proxy;
#[cfg(madsim)]
mod run;

use super::topic::describe_partitions;
use crate::{
    local_cluster::{LocalCluster, LocalNode, Size},
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
    after_help = "Examples:\n  gregor cluster start -n 3\n  gregor cluster start -n 3 --controllers 3\n  gregor cluster kill 1\n  gregor cluster status --watch\n  gregor cluster restart --rolling"
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
        /// Controllers apart from those nodes, which are brokers only; otherwise each node is both
        #[arg(long, value_name = "COUNT", value_parser = quorum)]
        controllers: Option<i32>,
        /// The clients' port of the first node; each further node is 1000 higher
        #[arg(long, default_value_t = 9092)]
        base_port: u16,
        /// Stays, and stops the nodes when it is interrupted
        #[arg(long)]
        foreground: bool,
        /// How to print the nodes
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
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
    /// Runs a scenario of the simulator on real processes, and judges what its clients were told
    #[cfg(madsim)]
    Run(run::Run),
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
                #[cfg(madsim)]
                Command::Run(run) => return run.run().await,
                Command::Start { nodes, controllers, base_port, foreground, output } => {
                    let size = Size { brokers: nodes, controllers };
                    let cluster = LocalCluster::open_or_create(&dir, size, base_port).await?;
                    start(&cluster, output).await?;
                    if foreground {
                        eprintln!("Ctrl-C stops them");
                        runtime::task::termination_requested().await?;
                        stop(&cluster, None).await?;
                    } else if output == Format::Table {
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
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Reads how many controllers a quorum has: with an even number no more may fail than with one fewer.
fn quorum(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|count| [1, 3, 5].contains(count)).ok_or_else(|| "a quorum has 1, 3 or 5".to_owned())
}

async fn start(cluster: &LocalCluster, format: Format) -> Result<(), Failure> {
    start_quietly(cluster).await?;
    let rows = node_rows(cluster, cluster.active_controller().await);
    output::print_rows(format, &NODE_HEADINGS, &rows)
}

/// Starts all nodes, and waits until they serve and know each other.
async fn start_quietly(cluster: &LocalCluster) -> Result<(), Failure> {
    for node in &cluster.nodes {
        cluster.start(node.id).await?;
    }
    for node in &cluster.nodes {
        cluster
            .wait_ready(node.id)
            .await
            .map_err(|failure| Failure::new(format!("{failure}\n{}", cluster.log_tail(node.id).trim_end())))?;
    }
    wait_for_all(cluster).await
}

/// Waits until the nodes know each other: whoever asks for a replica on each of them next is to get it.
async fn wait_for_all(cluster: &LocalCluster) -> Result<(), Failure> {
    let deadline = runtime::time::now() + ALL_KNOWN_WITHIN;
    for node in cluster.brokers() {
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
            if described.brokers.len() >= cluster.brokers().count() {
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

/// Restarts every node in good order, controllers of their own first. The next one waits until the controllers have a
/// leader and every partition has all of its replicas in sync: no partition is ever without the replicas that it needs.
async fn roll(cluster: &LocalCluster) -> Result<(), Failure> {
    let admin = Admin::new(Cluster::new(ClusterOptions::new(cluster.bootstrap())), super::ADMIN_TIMEOUT);
    let alone = cluster.controllers().filter(|node| !node.is_broker());
    let (nodes, since) = (alone.chain(cluster.brokers()).collect::<Vec<_>>(), runtime::time::now());
    for (at, node) in nodes.iter().enumerate() {
        restart(cluster, node.id).await?;
        let deadline = runtime::time::now() + WHOLE_WITHIN;
        wait_for_leader(cluster, deadline).await?;
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
        let seconds = since.elapsed().as_secs_f64();
        eprintln!("t+{seconds:.1}s  {} of {} nodes restarted, every replica in sync", at + 1, nodes.len());
    }
    Ok(())
}

/// Waits until a controller says that it leads.
async fn wait_for_leader(cluster: &LocalCluster, deadline: runtime::time::Instant) -> Result<(), Failure> {
    while cluster.active_controller().await.is_none() {
        if runtime::time::now() > deadline {
            return Err(Failure::new("the controllers have no leader: see `gregor cluster status`"));
        }
        runtime::time::sleep(Duration::from_millis(50)).await;
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
    // Controllers of their own stay until the brokers have said goodbye to them.
    let (brokers, controllers): (Vec<i32>, Vec<i32>) =
        nodes.into_iter().partition(|id| cluster.node(*id).is_ok_and(LocalNode::is_broker));
    stop_together(cluster, brokers).await?;
    stop_together(cluster, controllers).await
}

/// All are asked together: a node that stops last has nobody left to hand its partitions to.
async fn stop_together(cluster: &LocalCluster, nodes: Vec<i32>) -> Result<(), Failure> {
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
    let at = |port: u16| if port == 0 { "-".to_owned() } else { format!("localhost:{port}") };
    let row = |node: &LocalNode| {
        let pid = cluster.pid(node.id).map(|pid| pid.as_raw_nonzero().to_string());
        vec![
            node.id.to_string(),
            format!("{}{}", node.roles.name(), if active == Some(node.id) { "*" } else { "" }),
            at(node.kafka_port),
            at(node.controller_port),
            at(node.http_port),
            pid.clone().unwrap_or_else(|| "-".into()),
            if pid.is_some() { "running".into() } else { "down".into() },
        ]
    };
    cluster.nodes.iter().map(row).collect()
}

async fn status(cluster: &LocalCluster, format: Format) -> Result<(), Failure> {
    output::print_rows(format, &NODE_HEADINGS, &node_rows(cluster, cluster.active_controller().await))?;
    let running: Vec<String> = cluster
        .brokers()
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
