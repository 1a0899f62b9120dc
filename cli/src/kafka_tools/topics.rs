//! `kafka-topics` (`org.apache.kafka.tools.TopicCommand`).

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, TopicFilter, ZOOKEEPER, action, goes_with,
    options::{OptionError, Options, Spec},
    words,
};
use crate::output::Failure;
use client::{
    ClientError,
    admin::{Admin, ConfigEntry, ConfigResource, NewTopic, PartitionDescription, TopicDescription},
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, PartitionIndex},
};
use runtime::task::block_on_real;
use std::{collections::BTreeMap, process::ExitCode};

pub const TOOL: Tool = Tool {
    name: "kafka-topics",
    about: "This tool helps to create, delete, describe, or change a topic.",
    options: OPTIONS,
    instead: &[
        ZOOKEEPER,
        ("--delete-config", "write kafka-configs.sh --alter --topic TOPIC --delete-config KEY"),
        ("--partition-size-limit-per-response", "leave it out: pages are put together here"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    COMMAND_CONFIG,
    Spec::flag(&["--list"], "List all available topics."),
    Spec::flag(&["--create"], "Create a new topic."),
    Spec::flag(&["--delete"], "Delete a topic."),
    Spec::flag(&["--alter"], "Give a topic more partitions. (Its settings: kafka-configs.sh.)"),
    Spec::flag(&["--describe"], "List details for the given topics."),
    Spec::value(&["--topic"], "TOPIC", "The topic; except with --create, a regular expression of names."),
    Spec::value(&["--topic-id"], "ID", "The topic to describe, by its id."),
    Spec::values(&["--config"], "NAME=VALUE", "A setting of the topic that is created."),
    Spec::value(&["--partitions"], "COUNT", "The number of partitions; with --create, num.partitions if not said."),
    Spec::value(&["--replication-factor"], "COUNT", "Replicas of each; default.replication.factor if not said."),
    Spec::value(
        &["--replica-assignment"],
        "BROKER:BROKER,..",
        "The brokers of each partition that is created, the preferred leader first.",
    ),
    Spec::flag(&["--under-replicated-partitions"], "Only partitions that lack a replica in sync."),
    Spec::flag(&["--unavailable-partitions"], "Only partitions without a leader."),
    Spec::flag(&["--under-min-isr-partitions"], "Only partitions below min.insync.replicas."),
    Spec::flag(&["--at-min-isr-partitions"], "Only partitions at min.insync.replicas."),
    Spec::flag(&["--topics-with-overrides"], "Only topics whose settings differ from the default."),
    Spec::flag(&["--if-exists"], "Do nothing if there is no such topic."),
    Spec::flag(&["--if-not-exists"], "Do nothing if the topic is there already."),
    Spec::flag(&["--exclude-internal"], "Leave out internal topics."),
];

const ACTIONS: [&str; 5] = ["--list", "--describe", "--create", "--alter", "--delete"];
const RULES: &[(&str, &[&str])] = &[
    ("--topic-id", &["--describe"]),
    ("--config", &["--create"]),
    ("--partitions", &["--create", "--alter"]),
    ("--replication-factor", &["--create"]),
    ("--replica-assignment", &["--create"]),
    ("--under-replicated-partitions", &["--describe"]),
    ("--unavailable-partitions", &["--describe"]),
    ("--under-min-isr-partitions", &["--describe"]),
    ("--at-min-isr-partitions", &["--describe"]),
    ("--topics-with-overrides", &["--describe"]),
    ("--if-exists", &["--alter", "--delete", "--describe"]),
    ("--if-not-exists", &["--create"]),
    ("--exclude-internal", &["--list", "--describe"]),
];
/// What stands before whatever goes wrong.
const FAILED: &str = "Error while executing topic command : ";
/// A source of a setting that nobody gave (`DescribeConfigsResponse.ConfigSource.DEFAULT_CONFIG`).
const DEFAULT_SOURCE: i8 = 5;

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let settings = ClientSettings::new(options, "--command-config")?;
    let asked = action(options, &ACTIONS, "--list, --describe, --create, --alter or --delete")?;
    goes_with(options, asked, RULES)?;
    block_on_real(async {
        let admin = settings.admin();
        match asked {
            "--list" => list(&admin, options).await,
            "--describe" => describe(&admin, options).await,
            "--create" => create(&admin, options).await,
            "--alter" => alter(&admin, options).await,
            _ => delete(&admin, options).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &ClientError) -> Failure {
    Failure::new(format!("{FAILED}{}", words(error)))
}

/// The topics that `--topic` stands for; none is a failure unless `--if-exists` allows it.
async fn chosen(admin: &Admin, options: &Options) -> Result<Vec<String>, Failure> {
    let filter = TopicFilter::new(options.get("--topic"), options.has("--exclude-internal"))?;
    let topics = filter.topics(admin).await.map_err(|error| failed(&error))?;
    match options.get("--topic") {
        Some(name) if topics.is_empty() && !options.has("--if-exists") && !options.has("--list") => {
            Err(Failure::new(format!("{FAILED}Topic '{name}' does not exist as expected")))
        }
        _ => Ok(topics),
    }
}

async fn list(admin: &Admin, options: &Options) -> Result<(), Failure> {
    chosen(admin, options).await?.iter().for_each(|topic| println!("{topic}"));
    Ok(())
}

async fn create(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let name = options.required("--topic")?;
    let assignments = options.get("--replica-assignment").map(assignment).transpose()?.unwrap_or_default();
    if !assignments.is_empty() {
        let counts = [("--partitions", &[][..]), ("--replication-factor", &[][..])];
        goes_with(options, "--replica-assignment", &counts)?;
    }
    let mut configs = BTreeMap::new();
    for pair in options.all("--config") {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
            )
        })?;
        configs.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    if name.contains(['.', '_']) {
        println!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        );
    }
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: options.number("--partitions")?,
        replication_factor: options.number("--replication-factor")?,
        assignments,
        configs,
    };
    for (name, outcome) in admin.create_topics(&[topic], false).await.map_err(|error| failed(&error))? {
        match outcome {
            Ok(_) => println!("Created topic {name}."),
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) && options.has("--if-not-exists") => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(())
}

/// Reads `1:2,2:3`: the brokers of partition 0, of partition 1, and so on.
fn assignment(text: &str) -> Result<BTreeMap<PartitionIndex, Vec<BrokerId>>, OptionError> {
    let wrong = || OptionError::NoNumber { option: "--replica-assignment", value: text.to_owned() };
    let brokers = |part: &str| part.split(':').map(|id| id.trim().parse().map(BrokerId)).collect::<Result<Vec<_>, _>>();
    let partition =
        |(index, part): (usize, &str)| Ok((PartitionIndex(index as i32), brokers(part).map_err(|_| wrong())?));
    text.split(',').enumerate().map(partition).collect()
}

async fn alter(admin: &Admin, options: &Options) -> Result<(), Failure> {
    options.required("--topic")?;
    let count = options.required("--partitions").and_then(|_| options.number("--partitions"))?;
    let Some(count) = count else { return Ok(()) };
    let wanted: BTreeMap<String, i32> = chosen(admin, options).await?.into_iter().map(|name| (name, count)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for outcome in admin.create_partitions(&wanted, false).await.map_err(|error| failed(&error))?.into_values() {
        outcome.map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn delete(admin: &Admin, options: &Options) -> Result<(), Failure> {
    options.required("--topic")?;
    let topics = chosen(admin, options).await?;
    if topics.is_empty() {
        return Ok(());
    }
    for outcome in admin.delete_topics(&topics).await.map_err(|error| failed(&error))?.into_values() {
        outcome.map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn describe(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let topics = match options.get("--topic-id") {
        Some(id) => {
            let listed = admin.list_topics().await.map_err(|error| failed(&error))?;
            let named = listed.into_iter().find(|topic| topic.topic_id.to_string() == id).map(|topic| topic.name);
            if named.is_none() && !options.has("--if-exists") {
                return Err(Failure::new(format!("{FAILED}TopicId '{id}' does not exist as expected")));
            }
            named.into_iter().collect()
        }
        None => chosen(admin, options).await?,
    };
    if topics.is_empty() {
        return Ok(());
    }
    let resources: Vec<ConfigResource> = topics.iter().cloned().map(ConfigResource::Topic).collect();
    let described = admin.describe_topics(&topics).await.map_err(|error| failed(&error))?;
    let mut configs = BTreeMap::new();
    for description in admin.describe_configs(&resources).await.map_err(|error| failed(&error))? {
        if let (ConfigResource::Topic(name), Ok(entries)) = (description.resource, description.entries) {
            configs.insert(name, entries);
        }
    }
    let what = What::new(options);
    for (name, topic) in described {
        match topic {
            Ok(topic) => print!("{}", what.text(&name, &topic, configs.get(&name))),
            // Deleted since it was listed.
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(())
}

/// Which topics and partitions are described.
#[derive(Clone, Copy, Debug, Default)]
struct What {
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    overrides: bool,
}

impl What {
    fn new(options: &Options) -> Self {
        Self {
            under_replicated: options.has("--under-replicated-partitions"),
            unavailable: options.has("--unavailable-partitions"),
            under_min_isr: options.has("--under-min-isr-partitions"),
            at_min_isr: options.has("--at-min-isr-partitions"),
            overrides: options.has("--topics-with-overrides"),
        }
    }

    fn some_partitions(self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }

    fn has(self, partition: &PartitionDescription, min_isr: Option<usize>) -> bool {
        let in_sync = partition.isr.len();
        !self.some_partitions()
            || (self.under_replicated && in_sync < partition.replicas.len())
            || (self.unavailable && partition.leader.is_none())
            || (self.under_min_isr && min_isr.is_some_and(|min| in_sync < min))
            || (self.at_min_isr && min_isr.is_some_and(|min| in_sync == min))
    }

    /// A line of the topic and one of each partition, as far as they are asked for (`TopicService.describeTopic`).
    fn text(self, name: &str, topic: &TopicDescription, configs: Option<&BTreeMap<String, ConfigEntry>>) -> String {
        let value = |entry: &ConfigEntry| entry.value.clone().unwrap_or_default();
        let min_isr = configs.and_then(|all| value(all.get("min.insync.replicas")?).parse().ok());
        let given: Vec<String> = configs
            .into_iter()
            .flatten()
            .filter(|(_, entry)| entry.source != DEFAULT_SOURCE)
            .map(|(key, entry)| format!("{key}={}", value(entry)))
            .collect();
        let mut text = String::new();
        let is_left_out = self.some_partitions() || (self.overrides && given.is_empty());
        if !is_left_out {
            let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
            text += &format!(
                "Topic: {name}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}\n",
                topic.topic_id,
                topic.partitions.len(),
                given.join(",")
            );
        }
        if self.overrides {
            return text;
        }
        for partition in topic.partitions.iter().filter(|partition| self.has(partition, min_isr)) {
            text += &partition_line(name, partition);
        }
        text
    }
}

fn partition_line(name: &str, partition: &PartitionDescription) -> String {
    let list = |brokers: &[BrokerId]| brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let eligible = |brokers: &Option<Vec<BrokerId>>| brokers.as_deref().map_or("N/A".to_owned(), list);
    format!(
        "\tTopic: {name}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}\n",
        partition.partition,
        partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
        list(&partition.replicas),
        list(&partition.isr),
        eligible(&partition.eligible_leader_replicas),
        eligible(&partition.last_known_eligible_leader_replicas),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{LeaderEpoch, TopicId};

    fn topic() -> TopicDescription {
        let partition = |index: i32, leader: Option<i32>, isr: &[i32]| PartitionDescription {
            partition: PartitionIndex(index),
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(4),
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            isr: isr.iter().copied().map(BrokerId).collect(),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_eligible_leader_replicas: None,
            offline_replicas: Vec::new(),
        };
        let partitions =
            vec![partition(0, Some(1), &[1, 2, 3]), partition(1, Some(2), &[2, 3]), partition(2, None, &[3])];
        TopicDescription { topic_id: TopicId::ZERO, is_internal: false, partitions }
    }

    fn configs() -> BTreeMap<String, ConfigEntry> {
        let entry = |value: &str, source: i8| ConfigEntry {
            value: Some(value.to_owned()),
            source,
            is_read_only: false,
            is_sensitive: false,
            synonyms: Vec::new(),
        };
        BTreeMap::from([
            ("min.insync.replicas".to_owned(), entry("2", 4)),
            ("retention.ms".to_owned(), entry("1", 1)),
            ("segment.ms".to_owned(), entry("1", DEFAULT_SOURCE)),
        ])
    }

    #[test]
    fn a_topic_is_described_as_kafka_describes_it() {
        let text = What::default().text("orders", &topic(), Some(&configs()));
        let expected = "Topic: orders\tTopicId: AAAAAAAAAAAAAAAAAAAAAA\tPartitionCount: 3\tReplicationFactor: 3\tConfigs: \
                        min.insync.replicas=2,retention.ms=1\n\
                        \tTopic: orders\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\tElr: \tLastKnownElr: N/A\n\
                        \tTopic: orders\tPartition: 1\tLeader: 2\tReplicas: 1,2,3\tIsr: 2,3\tElr: \tLastKnownElr: N/A\n\
                        \tTopic: orders\tPartition: 2\tLeader: none\tReplicas: 1,2,3\tIsr: 3\tElr: \tLastKnownElr: N/A\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_the_partitions_that_are_asked_for_are_described() {
        let partitions = |what: What| {
            let text = what.text("orders", &topic(), Some(&configs()));
            let index = |line: &str| line.split('\t').nth(2).map(|part| part.replace("Partition: ", ""));
            text.lines().map(|line| index(line).unwrap_or_default()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(partitions(What { under_replicated: true, ..What::default() }), "1 2");
        assert_eq!(partitions(What { unavailable: true, ..What::default() }), "2");
        assert_eq!(partitions(What { under_min_isr: true, ..What::default() }), "2");
        assert_eq!(partitions(What { at_min_isr: true, ..What::default() }), "1");
    }

    #[test]
    fn an_assignment_names_the_brokers_of_each_partition() {
        let read = assignment("1:2, 2:3").expect("valid");
        assert_eq!(read[&PartitionIndex(1)], [BrokerId(2), BrokerId(3)]);
        assert!(assignment("1:x").is_err());
    }
}
