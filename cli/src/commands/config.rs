//! `gregor config`: the settings of topics and brokers, changed while they run, and those that a node would start with.

use super::{Bootstrap, server};
use crate::output::{self, Failure, Format};
use clap::Subcommand;
use client::{
    admin::{Admin, ConfigChange, ConfigChanges, ConfigEntry, ConfigResource},
    cluster::Cluster,
};
use metadata::config::{
    Origin, Properties,
    keys::{self, Key, Scope},
};
use protocol::ids::BrokerId;
use runtime::task::block_on_real;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
};

/// Shows and changes the settings of topics and brokers, and explains a node's properties
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor config set min.insync.replicas=2 retention.ms=3600000 --topic orders\n  gregor config show --effective --config server.properties"
)]
pub struct Config {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// How to print what was found
    #[arg(long, short, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the settings that somebody gave, and where
    #[command(
        after_help = "Examples:\n  gregor config describe --topic orders\n  gregor config describe --broker 1 --all -o json"
    )]
    Describe {
        #[command(flatten)]
        whose: Whose,
        /// Those that have their default, too
        #[arg(long)]
        all: bool,
    },
    /// Gives settings a value, at once and until it is deleted
    #[command(
        after_help = "Examples:\n  gregor config set retention.ms=3600000 --topic orders\n  gregor config set log.retention.ms=86400000 --brokers-default"
    )]
    Set {
        /// The settings
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Takes the values of settings back, so that the brokers', or the default, hold again
    #[command(
        after_help = "Examples:\n  gregor config delete retention.ms --topic orders\n  gregor config delete log.retention.ms --broker 1"
    )]
    Delete {
        /// The settings
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Shows what a node would start with: each setting, its value, and who gave it
    #[command(
        after_help = "Examples:\n  gregor config show --config server.properties\n  gregor config show --effective --dynamic --config server.properties -b localhost:9092"
    )]
    Show {
        /// The node's properties
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// A property that overrides the file's
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Those that nobody gave, too, with their defaults
        #[arg(long)]
        effective: bool,
        /// Only those that were given and have no effect here
        #[arg(long, conflicts_with = "effective")]
        ignored: bool,
        /// Asks the running node what was changed since it started
        #[arg(long)]
        dynamic: bool,
    },
}

/// Whose settings.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Those of a topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Those of one broker
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,
    /// Those of all brokers that have none of their own
    #[arg(long)]
    brokers_default: bool,
}

impl Whose {
    fn resource(self) -> ConfigResource {
        match self.topic {
            Some(topic) => ConfigResource::Topic(topic),
            None => ConfigResource::Broker(self.broker.map(BrokerId)),
        }
    }
}

impl Config {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let options = self.bootstrap.options()?;
        let admin = || Admin::new(Cluster::new(options.clone()), super::ADMIN_TIMEOUT);
        match self.command {
            Command::Describe { whose, all } => block_on_real(describe(&admin(), whose.resource(), all, self.output))?,
            Command::Set { settings, whose } => {
                let changes = settings.iter().map(|text| setting(text)).collect::<Result<ConfigChanges, _>>()?;
                block_on_real(alter(&admin(), whose.resource(), changes))?;
            }
            Command::Delete { keys, whose } => {
                let changes = keys.into_iter().map(|key| (key, ConfigChange::Delete)).collect();
                block_on_real(alter(&admin(), whose.resource(), changes))?;
            }
            Command::Show { config, overrides, effective, ignored, dynamic } => {
                let mut properties = server::load(&config)?;
                server::override_by(&mut properties, &overrides)?;
                let changed = match dynamic {
                    true => block_on_real(changed(&admin(), &properties))?,
                    false => BTreeMap::new(),
                };
                for typo in properties.unknown() {
                    match typo.suggestion {
                        Some(suggestion) => eprintln!("gregor: {}: did you mean {suggestion}?", typo.name),
                        None => eprintln!("gregor: {}: nobody knows this setting", typo.name),
                    }
                }
                let rows = if ignored { without_effect(&properties) } else { rows(&properties, &changed, effective) };
                output::print_rows(self.output, &["KEY", "VALUE", "ORIGIN"], &rows)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn setting(text: &str) -> Result<(String, ConfigChange), Failure> {
    let (key, value) = text.split_once('=').ok_or_else(|| Failure::usage(format!("'{text}' is not KEY=VALUE")))?;
    Ok((key.trim().to_owned(), ConfigChange::Set(value.trim().to_owned())))
}

fn name(resource: &ConfigResource) -> String {
    match resource {
        ConfigResource::Topic(topic) => format!("topic {topic}"),
        ConfigResource::Broker(Some(broker)) => format!("broker {broker}"),
        ConfigResource::Broker(None) => "all brokers".to_owned(),
    }
}

/// What DescribeConfigs' number of a source means (`DescribeConfigsResponse.ConfigSource`).
fn source(code: i8) -> &'static str {
    match code {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "file",
        5 => "default",
        _ => "unknown",
    }
}

async fn entries(admin: &Admin, resource: ConfigResource) -> Result<BTreeMap<String, ConfigEntry>, Failure> {
    let whose = name(&resource);
    let mut described = admin.describe_configs(&[resource]).await?;
    let described = described.pop().ok_or_else(|| Failure::new(format!("{whose}: nothing is told of it")))?;
    described.entries.map_err(|error| Failure::new(format!("{whose}: {error}")))
}

async fn describe(admin: &Admin, resource: ConfigResource, all: bool, format: Format) -> Result<(), Failure> {
    const DEFAULT: i8 = 5;
    let entries = entries(admin, resource).await?;
    let rows: Vec<Vec<String>> = entries
        .into_iter()
        .filter(|(_, entry)| all || entry.source != DEFAULT)
        .map(|(key, entry)| {
            let value = if entry.is_sensitive { HIDDEN.to_owned() } else { entry.value.unwrap_or_default() };
            // What would hold without the strongest value.
            let otherwise = entry
                .synonyms
                .get(1)
                .map(|next| format!("{} ({})", next.value.as_deref().unwrap_or(HIDDEN), source(next.source)));
            let fixed = if entry.is_read_only { "yes" } else { "no" };
            vec![key, value, source(entry.source).to_owned(), fixed.to_owned(), otherwise.unwrap_or_default()]
        })
        .collect();
    output::print_rows(format, &["KEY", "VALUE", "SOURCE", "READ ONLY", "OTHERWISE"], &rows)
}

async fn alter(admin: &Admin, resource: ConfigResource, changes: ConfigChanges) -> Result<(), Failure> {
    let whose = name(&resource);
    let outcomes = admin.alter_configs(&BTreeMap::from([(resource, changes)]), false).await?;
    for outcome in outcomes.into_values() {
        outcome.map_err(|error| Failure::new(format!("{whose}: {error}")))?;
    }
    println!("changed {whose}");
    Ok(())
}

/// How a secret is shown.
const HIDDEN: &str = "[hidden]";

/// The settings of the running node that were changed since it started.
async fn changed(admin: &Admin, properties: &Properties) -> Result<BTreeMap<String, String>, Failure> {
    let node_id = properties.node_id().ok_or_else(|| Failure::new("node.id is missing: write node.id=1"))?;
    let entries = entries(admin, ConfigResource::Broker(Some(node_id))).await?;
    let dynamic = |(key, entry): (String, ConfigEntry)| {
        matches!(entry.source, 2 | 3).then(|| (key, entry.value.unwrap_or_else(|| HIDDEN.to_owned())))
    };
    Ok(entries.into_iter().filter_map(dynamic).collect())
}

/// A row for each setting that was given, and with `effective` for every one that has a value.
fn rows(properties: &Properties, changed: &BTreeMap<String, String>, effective: bool) -> Vec<Vec<String>> {
    let given = properties.iter().map(|(name, _)| name).chain(changed.keys().map(String::as_str));
    let mut names: BTreeSet<&str> = given.collect();
    if effective {
        names.extend(keys::all(Scope::Broker).filter(|key| !key.internal).map(|key| key.name));
    }
    names.into_iter().map(|name| row(properties, changed, name)).collect()
}

fn row(properties: &Properties, changed: &BTreeMap<String, String>, name: &str) -> Vec<String> {
    let key = keys::find(Scope::Broker, name);
    // What nobody knows may be a secret, too.
    let show = |value: &str| match key {
        Some(key) if key.is_sensitive() => HIDDEN.to_owned(),
        None if name.contains("password") || name.contains("jaas") => HIDDEN.to_owned(),
        Some(_) | None => value.to_owned(),
    };
    let (value, origin) = match (changed.get(name), properties.get(name)) {
        (Some(value), _) => (show(value), "dynamic".to_owned()),
        (None, Some(property)) => (show(&property.value), origin(property.origin).to_owned()),
        (None, None) => (key.and_then(|key| key.default).unwrap_or_default().to_owned(), default_of(key)),
    };
    vec![name.to_owned(), value, origin]
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::DevelopmentMode => "development mode",
        Origin::File => "file",
        Origin::Environment => "environment",
        Origin::CommandLine => "flag",
    }
}

fn default_of(key: Option<&Key>) -> String {
    match key.and_then(Key::kafka_default) {
        Some(theirs) => format!("gregor's default (Kafka's: {theirs})"),
        None => "Kafka's default".to_owned(),
    }
}

/// A row for each setting that was given and has no effect.
fn without_effect(properties: &Properties) -> Vec<Vec<String>> {
    properties.without_effect().into_iter().map(|key| row(properties, &BTreeMap::new(), key.name)).collect()
}
