//! The commands: one file each, one line in [`Command`] and one in [`run`] each.

use crate::output::Failure;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod cluster;
mod completion;
mod config;
mod consume;
mod dev;
mod log;
mod man;
mod produce;
mod server;
mod sim;
mod storage;
mod topic;
mod verify;

/// A Kafka-compatible broker cluster whose whole behaviour can be run from one seed, and replayed.
///
/// Without a command: a development server on this machine only, data under ./gregor-data.
#[derive(Parser)]
#[command(name = "gregor", version = version(), after_help = "Examples:\n  gregor\n  gregor cluster start -n 3\n  gregor sim run leader-power-loss", disable_help_subcommand = true)]
pub struct Arguments {
    /// What to log, as `info` or `broker=debug,info`; otherwise the environment variable GREGOR_LOG says
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Server(server::Server),
    Storage(storage::Storage),
    Cluster(cluster::LocalNodes),
    Topic(topic::Topic),
    Config(config::Config),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Verify(verify::Verify),
    Log(log::LogFiles),
    Sim(sim::Sim),
    Completion(completion::Completion),
    Man(man::Man),
}

/// How long an administrative question may take.
const ADMIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// The version, and whether the simulator is in this binary.
fn version() -> &'static str {
    if cfg!(madsim) { concat!(env!("CARGO_PKG_VERSION"), " with the simulator") } else { env!("CARGO_PKG_VERSION") }
}

impl Arguments {
    /// What is logged where nobody said: a server's warnings, a client's errors, and nothing of a simulated world.
    pub fn default_log(&self) -> &'static str {
        match self.command {
            None | Some(Command::Server(_)) => "warn,openraft=error",
            Some(Command::Sim(_)) => "off",
            Some(_) => "error",
        }
    }
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        None => dev::run(),
        Some(Command::Server(command)) => command.run(),
        Some(Command::Storage(command)) => command.run(),
        Some(Command::Cluster(command)) => command.run(),
        Some(Command::Topic(command)) => command.run(),
        Some(Command::Config(command)) => command.run(),
        Some(Command::Produce(command)) => command.run(),
        Some(Command::Consume(command)) => command.run(),
        Some(Command::Verify(command)) => command.run(),
        Some(Command::Log(command)) => command.run(),
        Some(Command::Sim(command)) => command.run(),
        Some(Command::Completion(command)) => command.run(),
        Some(Command::Man(command)) => command.run(),
    }
}

/// Where the cluster is, for commands that are its clients.
#[derive(clap::Args)]
pub struct Bootstrap {
    /// The brokers to ask first
    #[arg(
        long,
        short = 'b',
        env = "GREGOR_BOOTSTRAP",
        default_value = "localhost:9092",
        value_name = "HOST:PORT,..",
        global = true
    )]
    bootstrap: String,
}

impl Bootstrap {
    /// The addresses, one each.
    pub fn servers(&self) -> Vec<String> {
        self.bootstrap.split(',').map(str::trim).filter(|server| !server.is_empty()).map(String::from).collect()
    }
}

/// Reads `300ms`, `10s`, `2m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.len() - text.trim_start_matches(|symbol: char| symbol.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("'{text}' is not a duration: write it as 300ms, 10s or 2m");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(std::time::Duration::from_millis(number)),
        "s" => Ok(std::time::Duration::from_secs(number)),
        "m" => Ok(std::time::Duration::from_secs(60 * number)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert!(duration("2 minutes").is_err());
    }
}
