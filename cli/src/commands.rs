//! The commands: one file each, one line in [`Command`] and one in [`run`] each.

use crate::{
    logging::{self, LogFormat, Wish},
    output::Failure,
};
use clap::{Parser, Subcommand};
use client::cluster::ClusterOptions;
use std::process::ExitCode;

mod cluster;
mod completion;
mod config;
mod consume;
mod dev;
mod doctor;
mod group;
mod install_tools;
pub mod log;
mod man;
mod produce;
mod profile;
pub mod server;
mod sim;
pub mod storage;
mod test;
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
    log: Option<String>,
    /// How logs are written
    #[arg(long, global = true, value_enum, env = logging::FORMAT_VARIABLE, value_name = "FORMAT", hide_env_values = true)]
    log_format: Option<LogFormat>,
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
    Group(group::Group),
    Verify(verify::Verify),
    Log(log::LogFiles),
    Sim(sim::Sim),
    Doctor(doctor::Doctor),
    Test(test::Test),
    Profile(profile::Profile),
    InstallTools(install_tools::InstallTools),
    Completion(completion::Completion),
    Man(man::Man),
}

/// What a server logs unless it is asked otherwise.
pub const SERVER_LOG: &str = "warn,openraft=error";
/// How long an administrative question may take.
pub const ADMIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// The version, and whether the simulator is in this binary.
fn version() -> &'static str {
    if cfg!(madsim) { concat!(env!("CARGO_PKG_VERSION"), " with the simulator") } else { env!("CARGO_PKG_VERSION") }
}

impl Arguments {
    /// Starts the log: a server's own settings have a say in its log, so that it starts it when it has read them.
    pub fn start_log(&self) {
        match self.command {
            Some(Command::Server(_)) => {}
            None => self.wish().start(SERVER_LOG),
            // Nothing of a simulated world.
            Some(Command::Sim(_)) => self.wish().start("off"),
            Some(_) => self.wish().start("error"),
        }
    }

    fn wish(&self) -> Wish {
        Wish { filter: self.log.clone(), format: self.log_format }
    }
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let wish = arguments.wish();
    match arguments.command {
        None => dev::run(),
        Some(Command::Server(command)) => command.run(wish),
        Some(Command::Storage(command)) => command.run(),
        Some(Command::Cluster(command)) => command.run(),
        Some(Command::Topic(command)) => command.run(),
        Some(Command::Config(command)) => command.run(),
        Some(Command::Produce(command)) => command.run(),
        Some(Command::Consume(command)) => command.run(),
        Some(Command::Group(command)) => command.run(),
        Some(Command::Verify(command)) => command.run(),
        Some(Command::Log(command)) => command.run(),
        Some(Command::Sim(command)) => command.run(),
        Some(Command::Doctor(command)) => command.run(),
        Some(Command::Test(command)) => command.run(),
        Some(Command::Profile(command)) => command.run(),
        Some(Command::InstallTools(command)) => command.run(),
        Some(Command::Completion(command)) => command.run(),
        Some(Command::Man(command)) => command.run(),
    }
}

/// Where the cluster is, for commands that are its clients.
#[derive(clap::Args)]
pub struct Bootstrap {
    /// The brokers to ask first; otherwise KAFKA_BOOTSTRAP_SERVERS, the profile in use, or localhost:9092
    #[arg(long, short, env = "GREGOR_BOOTSTRAP", value_name = "HOST:PORT,..", global = true)]
    bootstrap: Option<String>,
}

/// Where clients of Kafka that are told nothing look.
const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP_SERVERS";
const BOOTSTRAP_DEFAULT: &str = "localhost:9092";

impl Bootstrap {
    /// The addresses, one each.
    ///
    /// # Errors
    /// The file of profiles cannot be read.
    pub fn servers(&self) -> Result<Vec<String>, Failure> {
        let variable = || std::env::var(BOOTSTRAP_VARIABLE).ok().filter(|servers| !servers.trim().is_empty());
        let given = match self.bootstrap.clone().or_else(variable) {
            Some(servers) => Some(servers),
            None => profile::in_use()?,
        };
        Ok(addresses(&given.unwrap_or_else(|| BOOTSTRAP_DEFAULT.to_owned())))
    }

    /// A connection to the cluster, made when it is needed.
    ///
    /// # Errors
    /// As [`Bootstrap::servers`].
    pub fn options(&self) -> Result<ClusterOptions, Failure> {
        Ok(ClusterOptions::new(self.servers()?))
    }
}

fn addresses(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|server| !server.is_empty()).map(String::from).collect()
}

/// Reads `300ms`, `10s`, `2m`.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
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
    fn addresses_are_parted_by_commas() {
        assert_eq!(addresses(" a:1,, b:2 "), ["a:1", "b:2"]);
    }

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert!(duration("2 minutes").is_err());
    }
}
