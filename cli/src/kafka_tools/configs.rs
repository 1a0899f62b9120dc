//! `kafka-configs` (`kafka.admin.ConfigCommand`), for topics and brokers.

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, ZOOKEEPER, action, goes_with,
    options::{Options, Spec},
    words,
};
use crate::{output::Failure, properties};
use client::{
    ClientError,
    admin::{Admin, ConfigChange, ConfigChanges, ConfigEntry, ConfigResource},
};
use protocol::{error_code::ErrorCode, ids::BrokerId};
use runtime::task::block_on_real;
use std::{collections::BTreeMap, path::Path, process::ExitCode};

pub const TOOL: Tool = Tool {
    name: "kafka-configs",
    about: "This tool helps to manipulate and describe the settings of a topic or a broker.",
    options: OPTIONS,
    instead: &[
        ZOOKEEPER,
        ("--bootstrap-controller", "write --bootstrap-server HOST:PORT: brokers pass the question on"),
        (
            "--broker-logger",
            "write the log filter of `gregor server --log FILTER`: loggers do not change while it runs",
        ),
        ("--user", "write --topic or --broker: users and quotas are not served"),
        ("--user-defaults", "write --topic or --broker: users and quotas are not served"),
        ("--client", "write --topic or --broker: quotas are not served"),
        ("--client-defaults", "write --topic or --broker: quotas are not served"),
        ("--client-metrics", "write --topic or --broker: clients' metrics are not served"),
        ("--ip", "write --topic or --broker: quotas are not served"),
        ("--ip-defaults", "write --topic or --broker: quotas are not served"),
        ("--group", "write --topic or --broker: groups are not served"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    COMMAND_CONFIG,
    Spec::flag(&["--describe"], "List the settings of the entity."),
    Spec::flag(&["--alter"], "Alter the settings of the entity."),
    Spec::value(&["--entity-type"], "TYPE", "topics or brokers."),
    Spec::value(&["--entity-name"], "NAME", "The topic's name, or the broker's id."),
    Spec::flag(&["--entity-default"], "The settings of all brokers that have none of their own."),
    Spec::value(&["--topic"], "NAME", "As --entity-type topics --entity-name NAME."),
    Spec::value(&["--broker"], "ID", "As --entity-type brokers --entity-name ID."),
    Spec::flag(&["--broker-defaults"], "As --entity-type brokers --entity-default."),
    Spec::flag(&["--all"], "Those that have their default, too."),
    Spec::value(&["--add-config"], "K=V,..", "What to set; square brackets around a value that has commas: k=[v1,v2]."),
    Spec::value(&["--add-config-file"], "FILE", "A properties file of what to set."),
    Spec::value(&["--delete-config"], "K,..", "What to take back."),
];

const RULES: &[(&str, &[&str])] = &[
    ("--all", &["--describe"]),
    ("--add-config", &["--alter"]),
    ("--add-config-file", &["--alter"]),
    ("--delete-config", &["--alter"]),
];

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entity {
    Topics,
    Topic(String),
    Brokers,
    Broker(BrokerId),
    BrokerDefaults,
}

impl Entity {
    fn new(options: &Options) -> Result<Self, Failure> {
        let broker = |id: &str| {
            let wrong =
                |_| Failure::new(format!("The entity name for brokers must be a valid integer broker id, found: {id}"));
            id.parse().map(BrokerId).map_err(wrong)
        };
        let name = options.get("--entity-name");
        match (options.get("--entity-type"), options.get("--topic"), options.get("--broker")) {
            (None, Some(topic), None) => Ok(Self::Topic(topic.to_owned())),
            (None, None, Some(id)) => Ok(Self::Broker(broker(id)?)),
            (None, None, None) if options.has("--broker-defaults") => Ok(Self::BrokerDefaults),
            (None, None, None) => Err(Failure::new("At least one entity type must be specified")),
            (Some("topics"), None, None) => Ok(name.map_or(Self::Topics, |name| Self::Topic(name.to_owned()))),
            (Some("brokers"), None, None) if options.has("--entity-default") => Ok(Self::BrokerDefaults),
            (Some("brokers"), None, None) => name.map_or(Ok(Self::Brokers), |name| broker(name).map(Self::Broker)),
            (Some(other), None, None) => Err(Failure::new(format!(
                "Invalid entity type {other}, the entity type must be one of topics, brokers: no others are served"
            ))),
            _ => Err(Failure::new("--entity-type, --topic and --broker cannot be specified together")),
        }
    }

    /// As it stands in a sentence (`ConfigCommand.describeResourceConfig`).
    fn words(&self) -> String {
        match self {
            Self::Topics => "topics".to_owned(),
            Self::Topic(name) => format!("topic {name}"),
            Self::Brokers => "brokers".to_owned(),
            Self::Broker(id) => format!("broker {id}"),
            Self::BrokerDefaults => "brokers in the cluster".to_owned(),
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let asked = action(options, &["--describe", "--alter"], "--describe, --alter")?;
    goes_with(options, asked, RULES)?;
    let entity = Entity::new(options)?;
    let settings = ClientSettings::new(options, "--command-config")?;
    let changes = if asked == "--alter" { changes(options)? } else { ConfigChanges::new() };
    block_on_real(async {
        let admin = settings.admin();
        match asked {
            "--alter" => alter(&admin, entity, changes).await,
            _ => describe(&admin, entity, options.has("--all")).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &ClientError) -> Failure {
    Failure::new(format!("Error while executing config command: {}", words(error)))
}

/// What is to be set and taken back.
fn changes(options: &Options) -> Result<ConfigChanges, Failure> {
    let mut changes = ConfigChanges::new();
    if let Some(file) = options.get("--add-config-file") {
        let pairs = properties::read(Path::new(file))?;
        changes.extend(pairs.into_iter().map(|(key, value)| (key, ConfigChange::Set(value))));
    }
    for (key, value) in options.get("--add-config").map(added).transpose()?.unwrap_or_default() {
        changes.insert(key, ConfigChange::Set(value));
    }
    let deleted = options.get("--delete-config").unwrap_or_default().split(',').map(str::trim);
    for key in deleted.filter(|key| !key.is_empty()) {
        if changes.insert(key.to_owned(), ConfigChange::Delete).is_some() {
            return Err(Failure::new(format!("{key} is both added and deleted")));
        }
    }
    if changes.is_empty() {
        return Err(Failure::new(
            "requirement failed: At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        ));
    }
    Ok(changes)
}

/// Reads `k1=v1,k2=[v1,v2]` (`ConfigCommand.parseConfigsToBeAdded`).
fn added(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut parts = vec![String::new()];
    let mut depth = 0usize;
    for symbol in text.chars() {
        match symbol {
            ',' if depth == 0 => parts.push(String::new()),
            other => {
                depth = match other {
                    '[' => depth + 1,
                    ']' => depth.saturating_sub(1),
                    _ => depth,
                };
                parts.last_mut().expect("there is always one").push(other);
            }
        }
    }
    let pair = |part: &String| {
        let (key, value) = part.split_once('=')?;
        let value = value.trim();
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
        Some((key.trim().to_owned(), inner.to_owned()))
    };
    let wrong = "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or \
                 \"key=[val1,val2]\" to group values which contain commas.";
    let pairs = parts.iter().filter(|part| !part.trim().is_empty()).map(pair).collect::<Option<_>>();
    pairs.ok_or_else(|| Failure::new(wrong))
}

async fn alter(admin: &Admin, entity: Entity, changes: ConfigChanges) -> Result<(), Failure> {
    let resource = match &entity {
        Entity::Topic(name) => ConfigResource::Topic(name.clone()),
        Entity::Broker(id) => ConfigResource::Broker(Some(*id)),
        Entity::BrokerDefaults => ConfigResource::Broker(None),
        Entity::Topics | Entity::Brokers => {
            return Err(Failure::new(format!(
                "--entity-name or --entity-default must be specified with --alter of {}",
                entity.words()
            )));
        }
    };
    let outcomes = admin.alter_configs(&BTreeMap::from([(resource, changes)]), false).await;
    for outcome in outcomes.map_err(|error| failed(&error))?.into_values() {
        outcome.map_err(|error| failed(&error))?;
    }
    let default = if entity == Entity::BrokerDefaults { "default " } else { "" };
    println!("Completed updating {default}config for {}.", entity.words());
    Ok(())
}

async fn describe(admin: &Admin, entity: Entity, all: bool) -> Result<(), Failure> {
    let entities = match entity {
        Entity::Topics => {
            let listed = admin.list_topics().await.map_err(|error| failed(&error))?;
            listed.into_iter().map(|topic| Entity::Topic(topic.name)).collect()
        }
        Entity::Brokers => {
            let cluster = admin.describe_cluster().await.map_err(|error| failed(&error))?;
            let brokers = cluster.brokers.into_iter().map(|broker| Entity::Broker(broker.broker_id));
            brokers.chain([Entity::BrokerDefaults]).collect()
        }
        one => vec![one],
    };
    for entity in entities {
        describe_one(admin, &entity, all).await?;
    }
    Ok(())
}

async fn describe_one(admin: &Admin, entity: &Entity, all: bool) -> Result<(), Failure> {
    // What is described without --all is what was changed while the cluster ran.
    let (resource, source) = match entity {
        Entity::Topic(name) => (ConfigResource::Topic(name.clone()), 1),
        Entity::Broker(id) => (ConfigResource::Broker(Some(*id)), 2),
        Entity::BrokerDefaults | Entity::Topics | Entity::Brokers => (ConfigResource::Broker(None), 3),
    };
    let mut described = admin.describe_configs(&[resource]).await.map_err(|error| failed(&error))?;
    let entries = match described.pop().map(|description| description.entries) {
        Some(Ok(entries)) => entries,
        Some(Err(error)) => {
            if let (Entity::Topic(name), Some(ErrorCode::UnknownTopicOrPartition)) = (entity, error.code()) {
                println!("The topic '{name}' doesn't exist and doesn't have dynamic config.");
                return Ok(());
            }
            return Err(failed(&error));
        }
        None => return Err(Failure::new(format!("nothing is told of {}", entity.words()))),
    };
    let which = if all { "All" } else { "Dynamic" };
    match entity {
        Entity::BrokerDefaults => println!("Default configs for {} are:", entity.words()),
        other => println!("{which} configs for {} are:", other.words()),
    }
    for (key, entry) in entries.iter().filter(|(_, entry)| all || entry.source == source) {
        println!("{}", line(key, entry));
    }
    Ok(())
}

fn line(key: &str, entry: &ConfigEntry) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym = |synonym: &client::admin::ConfigSynonym| {
        format!("{}:{}={}", source_name(synonym.source), synonym.name, value(&synonym.value))
    };
    let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
    format!("  {key}={} sensitive={} synonyms={{{}}}", value(&entry.value), entry.is_sensitive, synonyms.join(", "))
}

/// What Kafka calls a source (`ConfigEntry.ConfigSource`).
fn source_name(code: i8) -> &'static str {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(line: &str) -> Result<Entity, String> {
        let options = Options::parse(OPTIONS, line.split(' ').map(String::from)).expect("valid");
        Entity::new(&options).map_err(|failure| failure.what)
    }

    #[test]
    fn an_entity_has_a_long_and_a_short_name() {
        let topic = Ok(Entity::Topic("orders".to_owned()));
        assert_eq!(entity("--entity-type topics --entity-name orders"), topic);
        assert_eq!(entity("--topic orders"), topic);
        assert_eq!(entity("--entity-type brokers --entity-default"), entity("--broker-defaults"));
        assert_eq!(entity("--entity-type brokers --entity-name 2"), entity("--broker 2"));
        assert_eq!(entity("--entity-type brokers"), Ok(Entity::Brokers));
        assert!(entity("--entity-type users").expect_err("not served").contains("users"));
        assert_eq!(entity("--all"), Err("At least one entity type must be specified".to_owned()));
    }

    #[test]
    fn brackets_keep_a_value_with_commas_together() {
        let read = added("retention.ms=5, cleanup.policy=[compact,delete]").expect("valid");
        assert_eq!(read["cleanup.policy"], "compact,delete");
        assert_eq!(read["retention.ms"], "5");
        assert!(added("retention.ms").is_err());
    }

    #[test]
    fn a_setting_is_told_with_every_place_that_gives_it() {
        let synonym = |name: &str, value: &str, source| client::admin::ConfigSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let entry = ConfigEntry {
            value: Some("5".to_owned()),
            source: 1,
            is_read_only: false,
            is_sensitive: false,
            synonyms: vec![synonym("retention.ms", "5", 1), synonym("log.retention.hours", "168", 5)],
        };
        assert_eq!(
            line("retention.ms", &entry),
            "  retention.ms=5 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5, DEFAULT_CONFIG:log.retention.hours=168}"
        );
    }
}
