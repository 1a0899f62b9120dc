//! `gregor test`: a node for the time of one command.

use crate::{
    commands::{dev, server},
    node::{Node, random_cluster_id},
    output::Failure,
};
use metadata::config::{Origin, Properties};
use runtime::task::{self, block_on_real};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, ExitCode, ExitStatus},
};

/// Where files are memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// Runs a command beside a fresh node on a free port, and ends with its exit code
///
/// The node's address is in KAFKA_BOOTSTRAP_SERVERS and in GREGOR_BOOTSTRAP. Its data is in memory where there is a folder
/// for that, and gone afterwards.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor test -- pytest -q\n  gregor test -o num.partitions=3 -- sh -c 'gregor topic create orders && gregor topic describe orders'"
)]
pub struct Test {
    /// A property of the node
    #[arg(long = "override", short = 'o', value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The node's folder, gone with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Test {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let memory = Path::new(MEMORY);
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = Folder(place.join(format!("gregor-test-{:x}", runtime::rand::next())));
        // Both are held until both are known, so that they differ.
        let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [port, controller_port] = [listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()];
        drop(listeners);
        let mut properties = Properties::new();
        dev::set(&mut properties, port, controller_port, &folder.0.to_string_lossy())?;
        properties.set("gregor.http.listener", "", Origin::DevelopmentMode)?;
        server::override_by(&mut properties, &self.overrides)?;
        let node = Node::new(properties)?;
        let bootstrap = format!("localhost:{port}");
        let (ready, serving) = runtime::sync::shutdown();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("KAFKA_BOOTSTRAP_SERVERS", &bootstrap).env("GREGOR_BOOTSTRAP", &bootstrap);
        let mut ended = None;
        block_on_real(async {
            node.format(&random_cluster_id(), true).await?;
            let done = async {
                serving.requested().await;
                ended = Some(run_to_end(command).await);
                Ok(())
            };
            node.serve_until(|_| ready.request(), done).await
        })?;
        let status = ended.ok_or_else(|| Failure::new("the node ended before it served"))?;
        let status = status.map_err(|error| Failure::usage(format!("{}: {error}", self.command[0])))?;
        Ok(ExitCode::from(code(status)))
    }
}

/// Waits for a command. Whoever asks this process to end asks the command to: the node goes after it.
async fn run_to_end(mut command: Command) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let mut running = pin!(task::blocking(move || child.wait()));
    let mut interrupted = pin!(task::termination_requested());
    runtime::select! {
        ended = &mut running => return ended?,
        asked = &mut interrupted => asked?,
    }
    // It may have ended by itself: from a terminal both are asked.
    let _ = kill_process(pid, Signal::TERM);
    running.await?
}

/// A command's exit code, as a shell has it: 128 and the number of the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_code_above_128() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
