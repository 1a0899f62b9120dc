//! `gregor server`: one node, as its properties say.

use super::SERVER_LOG;
use crate::{
    environment,
    logging::{LogFormat, Wish, say},
    node::Node,
    output::Failure,
    properties,
};
use metadata::config::{Origin, Properties, keys::Treatment};
use runtime::{
    disk::Disk,
    task::{self, block_on_real},
    time,
};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};
use tracing::Level;

/// The form of the log: `text` or `json`. A key of gregor's own.
const LOG_FORMAT: &str = "gregor.log.format";
/// A disk on which less is left is full.
const FULL_BYTES: u64 = 4 << 20;
/// How much there must be before a node that ended on a full disk begins anew.
const ROOM_BYTES: u64 = 16 << 20;
/// How often it looks.
const LOOKS_EVERY: Duration = Duration::from_secs(2);
/// Where Kafka's images look for a file.
const CONTAINER_CONFIG: &str = "/mnt/shared/config/server.properties";

/// Runs a node from a server.properties file
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor server --config server.properties\n  gregor server --config server.properties -o log.retention.hours=1\n  gregor server --container"
)]
pub struct Server {
    /// The file, as Kafka's
    #[arg(long, short, value_name = "FILE", required_unless_present = "container")]
    pub config: Option<PathBuf>,
    /// Starts as Kafka's container images do: KAFKA_* variables are the settings, above /mnt/shared/config/server.properties
    /// if it is there, and directories are formatted for CLUSTER_ID
    #[arg(long, conflicts_with = "config")]
    pub container: bool,
    /// A property that overrides the file's
    #[arg(long = "override", short = 'o', value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl Server {
    /// Runs the command. `log` is what the command line says of the log.
    pub fn run(self, log: Wish) -> Result<ExitCode, Failure> {
        let loaded = self.properties();
        let format = loaded.as_ref().ok().and_then(|properties| LogFormat::parse(properties.text(LOG_FORMAT)?));
        let variable = |name: &str| std::env::var(name).ok();
        let (root, loggers) = (variable("KAFKA_LOG4J_ROOT_LOGLEVEL"), variable("KAFKA_LOG4J_LOGGERS"));
        let default = environment::log_filter(SERVER_LOG, root.as_deref(), loggers.as_deref());
        Wish { format: log.format.or(format), ..log }.start(&default);
        let properties = loaded?;
        announce(&properties);
        let is_advertised = properties.get("advertised.listeners").is_some();
        let node = Node::new(properties)?;
        let address = node.client_address();
        if let Some(address) =
            address.filter(|address| self.container && !is_advertised && address.starts_with("localhost:"))
        {
            let advice = "set KAFKA_ADVERTISED_LISTENERS for others";
            say(Level::WARN, &format!("advertising {address} (only this machine can connect); {advice}"));
        }
        let directories = node.directories();
        let served = block_on_real(async {
            if self.container {
                let cluster_id = variable("CLUSTER_ID").filter(|id| !id.is_empty());
                node.format(cluster_id.as_deref().unwrap_or(environment::CLUSTER_ID), true).await?;
            }
            node.serve(|node| {
                let place = node.client_address().map_or(String::new(), |address| format!(", clients at {address}"));
                say(Level::INFO, &format!("node {} is ready{place}", node.id));
            })
            .await
        });
        match (served, full(&directories)) {
            (Err(ended), Some(directory)) => begin_anew_with_space(&ended, directory, &directories),
            (served, _) => served.map(|()| ExitCode::SUCCESS),
        }
    }

    fn properties(&self) -> Result<Properties, Failure> {
        let mut properties = match &self.config {
            Some(config) => load(config)?,
            None => load_container(Path::new(CONTAINER_CONFIG))?,
        };
        override_by(&mut properties, &self.overrides)?;
        Ok(properties)
    }
}

/// The first directory whose disk is full.
fn full(directories: &[PathBuf]) -> Option<&PathBuf> {
    directories.iter().find(|directory| space(directory).is_some_and(|bytes| bytes < FULL_BYTES))
}

/// What may still be written there, where that can be said.
fn space(directory: &Path) -> Option<u64> {
    Some(Disk::real(directory).ok()?.space().ok()?.usable_bytes)
}

/// A node that ended on a full disk has promised nothing that it does not have. Once somebody has made room it begins anew,
/// from what is on its disks, as after any crash.
fn begin_anew_with_space(ended: &Failure, directory: &Path, directories: &[PathBuf]) -> Result<ExitCode, Failure> {
    let (place, room) = (directory.display(), ROOM_BYTES >> 20);
    say(Level::ERROR, &format!("{ended}; {place} is full: the node waits until there are {room} MiB"));
    let asked_to_end = block_on_real(async {
        loop {
            runtime::select! {
                ended = task::termination_requested() => return ended.map(|()| true),
                () = time::sleep(LOOKS_EVERY) => {}
            }
            if directories.iter().all(|directory| space(directory).is_some_and(|bytes| bytes >= ROOM_BYTES)) {
                return Ok(false);
            }
        }
    })?;
    if asked_to_end {
        return Ok(ExitCode::SUCCESS);
    }
    say(Level::INFO, &format!("there is room in {place}: the node begins anew"));
    Err(Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).exec().into())
}

/// As Kafka's images start: the file, if it is there, and the variables; what they ship where neither says anything.
fn load_container(file: &Path) -> Result<Properties, Failure> {
    let mut properties = if file.is_file() { load(file)? } else { Properties::new() };
    set_environment(&mut properties)?;
    let text = |properties: &Properties, key: &str| properties.get(key).map(|property| property.value.clone());
    // Settings of gregor's own (the image gives some) leave Kafka's as they are.
    if !properties.iter().any(|(key, _)| !key.starts_with("gregor.")) {
        for (key, value) in environment::IMAGE_DEFAULTS {
            properties.set(key, value, Origin::DevelopmentMode)?;
        }
    }
    let (roles, listeners) = (text(&properties, "process.roles"), text(&properties, "listeners"));
    if let (None, Some(advertised)) = (listeners, text(&properties, "advertised.listeners"))
        && roles.as_deref() != Some("controller")
    {
        properties.set("listeners", &environment::any_host(&advertised), Origin::Environment)?;
    }
    Ok(properties)
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
    let place = path.display();
    let mut properties = Properties::new();
    for (key, value) in properties::read(path)? {
        properties.set(&key, &value, Origin::File).map_err(|error| Failure::new(format!("{place}: {error}")))?;
    }
    set_environment(&mut properties)?;
    Ok(properties)
}

/// Sets what `KAFKA_*` variables say.
fn set_environment(properties: &mut Properties) -> Result<(), Failure> {
    for (variable, value) in std::env::vars_os() {
        let (Some(variable), Some(value)) = (variable.to_str(), value.to_str()) else { continue };
        if let Some(key) = environment::property(variable).filter(|key| !key.is_empty()) {
            let set = properties.set(&key, value, Origin::Environment);
            set.map_err(|error| Failure::new(format!("{variable} in the environment: {error}")))?;
        }
    }
    Ok(())
}
