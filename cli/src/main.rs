//! The `gregor` command: a door, and nothing but a door. Every command is one file in `commands/`; the names of Kafka's
//! scripts are other doors into the same house, one file each in `kafka_tools/`.

mod commands;
mod consumer_groups;
mod environment;
mod http;
mod kafka_tools;
mod local_cluster;
mod logging;
mod node;
mod output;
mod procfs;
mod properties;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    output::end_when_nobody_reads();
    let mut called = std::env::args();
    let name = called.next().unwrap_or_default();
    if let Some(code) = kafka_tools::run(&name, called) {
        return code;
    }
    let arguments = commands::Arguments::parse();
    arguments.start_log();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            logging::say(tracing::Level::ERROR, &failure.what);
            ExitCode::from(failure.code)
        }
    }
}
