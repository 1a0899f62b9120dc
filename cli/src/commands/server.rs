//! `gregor server`: one node, as its properties say.

use crate::{node::Node, output::Failure, properties};
use metadata::config::{Origin, Properties};
use runtime::{disk::Disk, task::block_on_real};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs a node from a server.properties file
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor server --config server.properties\n  gregor server --config server.properties -o log.retention.hours=1"
)]
pub struct Server {
    /// The file, as Kafka's
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// A property that overrides the file's
    #[arg(long = "override", short = 'o', value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl Server {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let mut properties = load(&self.config)?;
        for pair in &self.overrides {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| Failure::usage(format!("'{pair}' is not KEY=VALUE")))?;
            properties.set(key.trim(), value, Origin::CommandLine)?;
        }
        let node = Node::new(properties)?;
        block_on_real(node.serve(|node| {
            let place = node.client_address().map_or(String::new(), |address| format!(", clients at {address}"));
            eprintln!("gregor: node {} is ready{place}", node.id);
        }))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a properties file.
pub fn load(path: &Path) -> Result<Properties, Failure> {
    let place = path.display().to_string();
    let unreadable = |error: std::io::Error| Failure::new(format!("{place}: {error}"));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| Failure::usage(format!("{place} is not a file")))?.to_string_lossy();
    if !path.is_file() {
        return Err(Failure::usage(format!("{place} is not there")));
    }
    let bytes = Disk::real(folder).and_then(|disk| disk.read(&name)).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut properties = Properties::new();
    for (key, value) in properties::parse(&text).map_err(|what| Failure::new(format!("{place}: {what}")))? {
        properties.set(&key, &value, Origin::File)?;
    }
    Ok(properties)
}
