//! `kafka-get-offsets` (`org.apache.kafka.tools.GetOffsetShell`).

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, TopicFilter,
    options::{Options, Spec},
};
use crate::output::Failure;
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{Consumer, ConsumerOptions},
};
use protocol::ids::{PartitionIndex, WallMillis};
use runtime::task::block_on_real;
use std::{collections::BTreeMap, process::ExitCode};

pub const TOOL: Tool = Tool {
    name: "kafka-get-offsets",
    about: "An interactive shell for getting topic-partition offsets.",
    options: OPTIONS,
    instead: &[],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    COMMAND_CONFIG,
    Spec::value(&["--topic"], "TOPIC", "A regular expression of topics; all if not said."),
    Spec::value(&["--partitions"], "ID,..", "Which of their partitions; all if not said."),
    Spec::value(
        &["--topic-partitions"],
        "TOPIC:PART,..",
        "Topics and partitions: a regular expression, and an id or a range ID-ID whose end is left out.",
    ),
    Spec::value(
        &["--time"],
        "TIME",
        "latest, earliest, max-timestamp, or milliseconds since 1970; latest if not said.",
    ),
    Spec::flag(&["--exclude-internal-topics"], "Leave out internal topics."),
];

/// Some topics, and some of their partitions (`GetOffsetShell.createTopicPartitionFilterWithPatternList`).
struct Rule {
    topics: TopicFilter,
    partitions: Partitions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Partitions {
    All,
    /// From the first to before the second.
    Range(i32, i32),
    Some(Vec<i32>),
}

impl Partitions {
    fn has(&self, partition: i32) -> bool {
        match self {
            Self::All => true,
            Self::Range(from, to) => (*from..*to).contains(&partition),
            Self::Some(all) => all.contains(&partition),
        }
    }

    /// Reads an id, or a range of which one end may be left out.
    fn parse(text: &str) -> Option<Self> {
        let end = |text: &str, otherwise: i32| if text.is_empty() { Some(otherwise) } else { text.parse().ok() };
        match text.split_once('-') {
            _ if text.is_empty() => Some(Self::All),
            Some((from, to)) => Some(Self::Range(end(from, 0)?, end(to, i32::MAX)?)),
            None => text.parse().ok().map(|id| Self::Some(vec![id])),
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let settings = ClientSettings::new(options, "--command-config")?;
    if options.has("--topic-partitions") && (options.has("--topic") || options.has("--partitions")) {
        return Err(failed("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let rules = rules(options)?;
    let time = time(options.get("--time").unwrap_or("latest"))?;
    block_on_real(async {
        let admin = settings.admin();
        let mut wanted = BTreeMap::new();
        for topic in admin.list_topics().await.map_err(|error| failed(&error.to_string()))? {
            let rules: Vec<&Rule> =
                rules.iter().filter(|rule| rule.topics.allows(&topic.name, topic.is_internal)).collect();
            for partition in 0..topic.partitions as i32 {
                if rules.iter().any(|rule| rule.partitions.has(partition)) {
                    wanted.insert(PartitionName::new(&topic.name, PartitionIndex(partition)), time);
                }
            }
        }
        if wanted.is_empty() {
            return Err(failed("Could not match any topic-partitions with the specified filters"));
        }
        let consumer = Consumer::new(Cluster::new(settings.cluster.clone()), ConsumerOptions::default());
        let found = consumer.offsets_for_times(wanted, settings.timeout).await;
        for (partition, found) in found.map_err(|error| failed(&error.to_string()))? {
            // A partition without such a record is left out.
            if let Some(found) = found {
                println!("{}:{}:{}", partition.topic, partition.partition, found.offset);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn failed(what: &str) -> Failure {
    Failure::new(format!("Error occurred: {what}"))
}

fn rules(options: &Options) -> Result<Vec<Rule>, Failure> {
    let exclude_internal = options.has("--exclude-internal-topics");
    if let Some(list) = options.get("--topic-partitions") {
        let rule = |part: &str| {
            let (topic, partitions) = part.split_once(':').unwrap_or((part, ""));
            let topic = Some(topic).filter(|topic| !topic.is_empty());
            let wrong = || failed(&format!("Invalid rule specification: {part}"));
            let partitions = Partitions::parse(partitions).ok_or_else(wrong)?;
            Ok(Rule { topics: TopicFilter::new(topic, exclude_internal)?, partitions })
        };
        return list.split(',').map(str::trim).map(rule).collect();
    }
    let partitions = match options.get("--partitions") {
        Some(list) => {
            let ids: Result<Vec<i32>, _> = list.split(',').map(|id| id.trim().parse()).collect();
            Partitions::Some(ids.map_err(|_| {
                failed(&format!(
                    "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
                ))
            })?)
        }
        None => Partitions::All,
    };
    Ok(vec![Rule { topics: TopicFilter::new(options.get("--topic"), exclude_internal)?, partitions }])
}

/// What ListOffsets calls a time (`OffsetSpec`, `ListOffsetsRequest`).
fn time(text: &str) -> Result<WallMillis, Failure> {
    match text {
        "latest" => Ok(WallMillis(-1)),
        "earliest" => Ok(WallMillis(-2)),
        "max-timestamp" => Ok(WallMillis(-3)),
        "earliest-local" | "latest-tiered" | "-4" | "-5" => {
            Err(failed(&format!("there is no tiered storage: '{text}' is not served, write earliest or latest")))
        }
        number => number.parse().map(WallMillis).map_err(|_| {
            failed(&format!(
                "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp, or a \
                 specified long format timestamp"
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_partitions_leaves_its_end_out() {
        let has = |text: &str| {
            let partitions = Partitions::parse(text).expect("valid");
            (0..5).filter(|partition| partitions.has(*partition)).map(|p| p.to_string()).collect::<String>()
        };
        assert_eq!([has(""), has("2"), has("1-3"), has("3-"), has("-2")], ["01234", "2", "12", "34", "01"]);
        assert_eq!(Partitions::parse("x"), None);
    }

    #[test]
    fn times_have_names() {
        assert_eq!(time("earliest").ok(), Some(WallMillis(-2)));
        assert_eq!(time("-3").ok(), time("max-timestamp").ok());
        assert_eq!(time("1000").ok(), Some(WallMillis(1000)));
        assert!(time("yesterday").is_err());
    }
}
