//! `gregor sim`: the seeded world. In a build without it, one line says where it is.

use crate::output::Failure;
use std::process::ExitCode;

#[cfg(madsim)]
#[path = "sim/world.rs"]
mod world;

/// Whole clusters in one process from one seed: run, replay, sweep
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim run leader-power-loss --seeds 20\n  gregor sim sweep --seeds 200 --twice\n  gregor sim replay swarm:5bd1e9@3f2a9c1b\n\nExit codes: 0 all held, 1 something broke, 2 usage, 3 not deterministic, 4 another code version,\n5 failed but not as before, 6 something that must be reached was not,\n7 the time was over before the seeds were, 8 internal error, 125 cannot be judged (--bisect)."
)]
pub struct Sim {
    #[cfg(madsim)]
    #[command(subcommand)]
    command: world::Command,
    #[cfg(not(madsim))]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

impl Sim {
    /// Runs the command.
    #[cfg(madsim)]
    pub fn run(self) -> Result<ExitCode, Failure> {
        self.command.run()
    }

    /// Says where the simulator is.
    #[cfg(not(madsim))]
    pub fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::usage(
            "this build serves only; the simulator is in gregor-sim, the same source built by `make build`",
        ))
    }
}
