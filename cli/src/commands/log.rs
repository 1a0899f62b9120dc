//! `gregor log`: looks into files of a log directory. It changes none, and needs no server.

mod dump;
mod indexes;

use crate::output::Failure;
use clap::Subcommand;
use std::{path::PathBuf, process::ExitCode};

/// Looks into the files of a log directory
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor log dump data/orders-0/00000000000000000000.log\n  gregor log dump --print-data-log data/orders-0/*.log"
)]
pub struct LogFiles {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints segments, indexes and producer snapshots, as kafka-dump-log does
    #[command(
        after_help = "Examples:\n  gregor log dump data/orders-0/00000000000000000000.log\n  gregor log dump --index-sanity-check data/orders-0/*index"
    )]
    Dump(Dump),
}

/// What is printed of which files.
#[derive(clap::Args)]
pub struct Dump {
    /// The files: .log, .index, .timeindex, .txnindex or .snapshot
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Prints the keys and values of records too
    #[arg(long)]
    pub print_data_log: bool,
    /// Prints each record of a batch
    #[arg(long)]
    pub deep_iteration: bool,
    /// Leaves out offsets, timestamps and sizes of records
    #[arg(long, requires = "print_data_log")]
    pub skip_record_metadata: bool,
    /// Checks indexes as a start of the server does, and prints none of their entries
    #[arg(long)]
    pub index_sanity_check: bool,
    /// Checks indexes against the segment, and prints none of their entries
    #[arg(long, conflicts_with = "index_sanity_check")]
    pub verify_index_only: bool,
    /// Reads no more than so many bytes of a segment
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
}

impl LogFiles {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Dump(dump) => dump.run(),
        }
    }
}
