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
    for (key, value) in [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("log.dirs", DATA),
        ("auto.create.topics.enable", "true"),
    ] {
        properties.set(key, value, Origin::DevelopmentMode)?;
    }
    let node = Node::new(properties)?;
    block_on_real(async {
        let known = MetaProperties::read(&Disk::real(Path::new(DATA))?)?;
        let cluster_id = known.map_or_else(random_cluster_id, |meta| meta.cluster_id);
        node.format(&cluster_id, true).await?;
        println!("gregor {}   DEVELOPMENT MODE: one node, this machine only", env!("CARGO_PKG_VERSION"));
        println!("  kafka  localhost:9092      data  ./{DATA}      stop  Ctrl-C");
        node.serve(|_| println!("ready in {} ms", since.elapsed().as_millis())).await
    })?;
    Ok(ExitCode::SUCCESS)
}
