//! `gregor storage`: cluster ids and the formatting of log directories, as `kafka-storage` does them.

use crate::{
    node::{Node, random_cluster_id},
    output::{self, Failure, Format},
};
use clap::Subcommand;
use runtime::{disk::Disk, task::block_on_real};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use storage::directory::MetaProperties;

/// Makes cluster ids, formats log directories, and shows what they are
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor storage random-uuid\n  gregor storage info -c server.properties\n  gregor storage format -t $(gregor storage random-uuid) -c server.properties"
)]
pub struct Storage {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints a fresh cluster id
    RandomUuid,
    /// Writes meta.properties into every log directory of a node
    Format {
        /// The cluster's id
        #[arg(long, short = 't', value_name = "ID")]
        cluster_id: String,
        /// The node's properties
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Leaves directories alone that are formatted already
        #[arg(long, short = 'g')]
        ignore_formatted: bool,
    },
    /// Shows the log directories of a node, and for which cluster each is formatted
    Info {
        /// The node's properties
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// How to print it
        #[arg(long, short, value_enum, default_value = "table")]
        output: Format,
    },
}

/// The log directories of a node, each with what it says of itself, if it is formatted.
///
/// # Errors
/// A directory that cannot be read.
pub fn found(node: &Node) -> Result<Vec<(PathBuf, Option<MetaProperties>)>, Failure> {
    let read = |directory: PathBuf| {
        // A directory that is not there is not made by looking at it.
        let meta = if directory.is_dir() { MetaProperties::read(&Disk::real(&directory)?)? } else { None };
        Ok((directory, meta))
    };
    node.directories().into_iter().map(read).collect()
}

/// Prints a row for each directory. False if one is not formatted.
fn info(config: &Path, output: Format) -> Result<bool, Failure> {
    let found = found(&Node::new(super::server::load(config)?)?)?;
    let row = |(directory, meta): &(PathBuf, Option<MetaProperties>)| {
        let meta = meta.as_ref();
        vec![
            directory.display().to_string(),
            meta.map_or_else(|| "not formatted".into(), |meta| meta.cluster_id.clone()),
            meta.map(|meta| meta.node_id.to_string()).unwrap_or_default(),
            meta.and_then(|meta| meta.directory_id).map(|id| id.to_string()).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::print_rows(output, &["DIRECTORY", "CLUSTER ID", "NODE", "DIRECTORY ID"], &rows)?;
    Ok(found.iter().all(|(_, meta)| meta.is_some()))
}

impl Storage {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::RandomUuid => println!("{}", random_cluster_id()),
            Command::Format { cluster_id, config, ignore_formatted } => {
                let node = Node::new(super::server::load(&config)?)?;
                for directory in block_on_real(node.format(&cluster_id, ignore_formatted))? {
                    println!("formatted {} for cluster {cluster_id}", directory.display());
                }
            }
            Command::Info { config, output } => return Ok(ExitCode::from(u8::from(!info(&config, output)?))),
        }
        Ok(ExitCode::SUCCESS)
    }
}
