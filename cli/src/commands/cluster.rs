//! `gregor cluster`: real nodes on this machine, real sockets, to play with and to break.

use super::topic::describe_partitions;
use crate::{
    local_cluster::LocalCluster,
    output::{self, Failure, Format},
};
use clap::Subcommand;
use client::{
    admin::Admin,
    cluster::{Cluster, ClusterOptions},
};
use runtime::task::block_on_real;
use std::{path::PathBuf, process::ExitCode};

/// Starts, breaks and stops real nodes on this machine
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  gregor cluster start -n 3\n  gregor cluster kill 1")]
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
    },
    /// Ends a node's process without warning, as `kill -9`
    Kill {
        /// The node's id
        node: i32,
    },
    /// Starts a node again, stopping it first if it runs
    Restart {
        /// The node's id
        node: i32,
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
                Command::Status { output } => status(&LocalCluster::open(&dir)?, output).await?,
                Command::Kill { node } => {
                    let cluster = LocalCluster::open(&dir)?;
                    let node = cluster.node(node)?.id;
                    println!("node {node} {}", if cluster.kill(node) { "is killed" } else { "was not running" });
                }
                Command::Restart { node } => {
                    let cluster = LocalCluster::open(&dir)?;
                    let node = cluster.node(node)?.id;
                    cluster.stop(node).await?;
                    cluster.start(node).await?;
                    cluster.wait_ready(node).await?;
                    println!("node {node} is running");
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
    let rows = node_rows(cluster, cluster.active_controller().await);
    print!("{}", output::table(&NODE_HEADINGS, &rows));
    Ok(())
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
const NODE_HEADINGS: [&str; 6] = ["NODE", "ROLE", "KAFKA", "CONTROLLER", "PID", "STATE"];

fn node_rows(cluster: &LocalCluster, active: Option<i32>) -> Vec<Vec<String>> {
    let row = |node: &crate::local_cluster::LocalNode| {
        let pid = cluster.pid(node.id).map(|pid| pid.as_raw_nonzero().to_string());
        vec![
            node.id.to_string(),
            format!("broker,controller{}", if active == Some(node.id) { "*" } else { "" }),
            format!("localhost:{}", node.kafka_port),
            format!("localhost:{}", node.controller_port),
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
