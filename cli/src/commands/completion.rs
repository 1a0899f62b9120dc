//! `gregor completion`: what a shell needs to complete this command's words.

use crate::output::Failure;
use clap::CommandFactory;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Prints a completion script for a shell
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor completion bash > /etc/bash_completion.d/gregor\n  source <(gregor completion zsh)"
)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completion {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Arguments::command(), "gregor", &mut script);
        match io::stdout().write_all(&script) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}
