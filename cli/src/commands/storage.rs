//! `gregor storage`: cluster ids and the formatting of log directories, as `kafka-storage` does them.

use crate::{
    node::{Node, random_cluster_id},
    output::Failure,
};
use clap::Subcommand;
use runtime::task::block_on_real;
use std::{path::PathBuf, process::ExitCode};

/// Makes cluster ids and formats log directories
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor storage random-uuid\n  gregor storage format -t $(gregor storage random-uuid) -c server.properties"
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
        }
        Ok(ExitCode::SUCCESS)
    }
}
