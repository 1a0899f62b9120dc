//! Bare `gregor`: a development server for this machine only, formatted by itself, with nothing to edit.

use crate::{
    node::{Node, random_cluster_id},
    output::Failure,
};
use metadata::config::{Origin, Properties};
use runtime::{disk::Disk, task::block_on_real};
use std::{path::Path, process::ExitCode};
use storage::directory::MetaProperties;

const DATA: &str = "gregor-data/dev";

/// Runs the server until Ctrl-C.
pub fn run() -> Result<ExitCode, Failure> {
    let since = runtime::time::now();
    let mut properties = Properties::new();
    set(&mut properties, 9092, 9093, DATA)?;
    let node = Node::new(properties)?;
    block_on_real(async {
        let known = MetaProperties::read(&Disk::real(Path::new(DATA))?)?;
        let cluster_id = known.map_or_else(random_cluster_id, |meta| meta.cluster_id);
        node.format(&cluster_id, true).await?;
        println!("gregor {}   DEVELOPMENT MODE: one node, this machine only", env!("CARGO_PKG_VERSION"));
        println!("  kafka  localhost:9092      http  http://localhost:9644");
        println!("  data   ./{DATA}   stop  Ctrl-C");
        node.serve(|_| println!("ready in {} ms", since.elapsed().as_millis())).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What development mode chooses: one node that is all there is, on this machine only.
///
/// # Errors
/// A path that no setting takes.
pub fn set(properties: &mut Properties, port: u16, controller_port: u16, data: &str) -> Result<(), Failure> {
    for (key, value) in [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", &format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}")),
        ("advertised.listeners", &format!("PLAINTEXT://localhost:{port}")),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", &format!("1@127.0.0.1:{controller_port}")),
        ("log.dirs", data),
        ("auto.create.topics.enable", "true"),
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
    ] {
        properties.set(key, value, Origin::DevelopmentMode)?;
    }
    Ok(())
}
