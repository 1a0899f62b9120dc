//! The `gregor` command: a door, and nothing but a door. Every command is one file in `commands/`.

mod commands;
mod environment;
mod http;
mod local_cluster;
mod node;
mod output;
mod properties;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = commands::Arguments::parse();
    output::log(arguments.log.as_deref(), arguments.default_log());
    match commands::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("gregor: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
