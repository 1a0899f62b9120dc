//! `gregor server`: one node, as its properties say.

use crate::{environment, node::Node, output::Failure, properties};
use metadata::config::{Origin, Properties, keys::Treatment};
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
        override_by(&mut properties, &self.overrides)?;
        announce(&properties);
        let node = Node::new(properties)?;
        block_on_real(node.serve(|node| {
            let place = node.client_address().map_or(String::new(), |address| format!(", clients at {address}"));
            eprintln!("gregor: node {} is ready{place}", node.id);
        }))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets what stands on the command line, as KEY=VALUE.
///
/// # Errors
/// A text that is not KEY=VALUE, or a value that its key does not take.
pub fn override_by(properties: &mut Properties, pairs: &[String]) -> Result<(), Failure> {
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| Failure::usage(format!("'{pair}' is not KEY=VALUE")))?;
        properties.set(key.trim(), value, Origin::CommandLine)?;
    }
    Ok(())
}

/// Says once of each setting that was given and does nothing, or something else than in Kafka, that it is so.
fn announce(properties: &Properties) {
    for key in properties.without_effect() {
        match key.treatment {
            Treatment::Honoured => {}
            Treatment::Mapped => tracing::info!(key = key.name, "{}", key.documentation),
            Treatment::Ignored => tracing::warn!(key = key.name, "a setting of Kafka's that has no effect here"),
        }
    }
    for key in properties.unknown() {
        match key.suggestion {
            Some(suggestion) => tracing::warn!(key = key.name, suggestion, "nobody knows this setting; a typo?"),
            None => tracing::warn!(key = key.name, "nobody knows this setting"),
        }
    }
}

/// Reads a properties file, and above it what `KAFKA_*` variables say.
///
/// # Errors
/// A file that is not there or cannot be read; a setting with a value that its key does not take, named.
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
        properties.set(&key, &value, Origin::File).map_err(|error| Failure::new(format!("{place}: {error}")))?;
    }
    for (variable, value) in std::env::vars_os() {
        let (Some(variable), Some(value)) = (variable.to_str(), value.to_str()) else { continue };
        if let Some(key) = environment::property(variable).filter(|key| !key.is_empty()) {
            let set = properties.set(&key, value, Origin::Environment);
            set.map_err(|error| Failure::new(format!("{variable} in the environment: {error}")))?;
        }
    }
    Ok(properties)
}
