//! `kafka-console-consumer` (`org.apache.kafka.tools.consumer.ConsoleConsumer`): as a member of a group that it is given; else it
//! reads the partitions itself, as Kafka's does when it is given one.

mod formatter;

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, ZOOKEEPER,
    options::{Options, Spec},
};
use crate::{output::Failure, properties};
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{
        ClassicProtocol, Consumer, ConsumerOptions, ConsumerProtocol, GroupOptions, GroupProtocol, IsolationLevel,
        ResetTo,
    },
};
use formatter::Formatter;
use protocol::ids::{Offset, PartitionIndex};
use runtime::{
    task::{block_on_real, termination_requested},
    time,
};
use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

pub const TOOL: Tool = Tool {
    name: "kafka-console-consumer",
    about: "This tool helps to read data from Kafka topics and outputs it to standard output.",
    options: OPTIONS,
    instead: &[
        ZOOKEEPER,
        ("--include", "write --topic TOPIC: one topic is read"),
        ("--whitelist", "write --topic TOPIC: one topic is read"),
        ("--enable-systest-events", "leave it out: there are none"),
        ("--skip-message-on-error", "leave it out: records are printed as they are"),
        ("--formatter", "write --formatter-property: records are printed by DefaultMessageFormatter's rules"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    Spec::value(&["--command-config", "--consumer.config"], "FILE", COMMAND_CONFIG.help),
    Spec::values(&["--command-property", "--consumer-property"], "KEY=VALUE", "A property of the consumer."),
    Spec::value(&["--topic"], "TOPIC", "The topic to read."),
    Spec::value(&["--partition"], "ID", "One of its partitions; all if not said."),
    Spec::value(
        &["--group"],
        "GROUP",
        "Read as a member of this consumer group, from where it is, and commit what is printed.",
    ),
    Spec::value(&["--offset"], "OFFSET", "Where to begin in it: a number, earliest or latest."),
    Spec::flag(&["--from-beginning"], "Begin with the first record instead of the next one."),
    Spec::value(&["--max-messages"], "COUNT", "End after so many records."),
    Spec::value(&["--timeout-ms"], "MS", "End when nothing comes for so long."),
    Spec::value(&["--isolation-level"], "LEVEL", "read_committed or read_uncommitted."),
    Spec::values(
        &["--formatter-property", "--property"],
        "KEY=VALUE",
        "What is printed: print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key, \
         print.value, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer.",
    ),
    Spec::value(&["--formatter-config"], "FILE", "A file of such properties."),
    Spec::value(&["--key-deserializer"], "CLASS", "As key.deserializer."),
    Spec::value(&["--value-deserializer"], "CLASS", "As value.deserializer."),
];

/// How long a topic may take to be known.
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);
/// How long a commit may take, and how long leaving a group.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read, from where, and until when.
struct Reading {
    client: ClientSettings,
    consumer: ConsumerOptions,
    topic: String,
    partition: Option<i32>,
    /// As a member of which group.
    group: Option<String>,
    /// By KIP-848.
    is_modern: bool,
    /// What it has printed.
    commits: bool,
    begin: Begin,
    messages_max: u64,
    silence_max: Option<Duration>,
    formatter: Formatter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Earliest,
    Latest,
    At(Offset),
}

impl Reading {
    fn new(options: &Options) -> Result<Self, Failure> {
        let mut reading = Self {
            client: ClientSettings::new(options, "")?,
            consumer: ConsumerOptions::default(),
            topic: options.required("--topic")?.to_owned(),
            partition: options.number("--partition")?,
            group: None,
            is_modern: false,
            commits: true,
            begin: begin(options)?,
            messages_max: options
                .number::<i64>("--max-messages")?
                .and_then(|max| max.try_into().ok())
                .unwrap_or(u64::MAX),
            silence_max: options
                .number::<i64>("--timeout-ms")?
                .and_then(|ms| ms.try_into().ok())
                .map(Duration::from_millis),
            formatter: formatter(options)?,
        };
        if let Some(file) = options.get("--command-config") {
            for (key, value) in properties::read(Path::new(file))? {
                reading.set(&key, &value)?;
            }
        }
        for (key, value) in options.pairs("--command-property") {
            reading.set(key, value)?;
        }
        if let Some(level) = options.get("--isolation-level") {
            reading.set("isolation.level", level)?;
        }
        if let Some(group) = options.get("--group") {
            reading.join(group)?;
        }
        if reading.group.is_some() && reading.partition.is_some() {
            return Err(Failure::new("Options group and partition cannot be specified together."));
        }
        let to = if reading.begin == Begin::Earliest { ResetTo::Earliest } else { ResetTo::Latest };
        reading.consumer.reset = Some(to);
        Ok(reading)
    }

    /// Takes the group's name, which may be said more than once, as long as it is the same (`ConsoleConsumerOptions`).
    fn join(&mut self, group: &str) -> Result<(), Failure> {
        match self.group.replace(group.to_owned()) {
            Some(other) if other != group => Err(Failure::new(format!(
                "The group ids provided in different places (directly using '--group', via '--command-property', or via \
                 '--command-config') do not match. Detected group ids: '{other}', '{group}'"
            ))),
            _ => Ok(()),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match (key, value.trim()) {
            ("isolation.level", "read_committed") => self.consumer.isolation_level = IsolationLevel::ReadCommitted,
            ("isolation.level", "read_uncommitted") => self.consumer.isolation_level = IsolationLevel::ReadUncommitted,
            ("isolation.level", other) => {
                return Err(Failure::new(format!(
                    "'{other}' is no isolation level: write read_committed or read_uncommitted"
                )));
            }
            ("auto.offset.reset", "earliest") if self.begin == Begin::Latest => self.begin = Begin::Earliest,
            ("auto.offset.reset", _) => {}
            ("group.id", group) => self.join(group)?,
            ("group.protocol", protocol) if protocol.eq_ignore_ascii_case("classic") => self.is_modern = false,
            ("group.protocol", protocol) if protocol.eq_ignore_ascii_case("consumer") => self.is_modern = true,
            ("group.protocol", other) => {
                return Err(Failure::new(format!("'{other}' is no group protocol: write classic or consumer")));
            }
            ("enable.auto.commit", "true") => self.commits = true,
            ("enable.auto.commit", "false") => self.commits = false,
            ("enable.auto.commit", other) => {
                return Err(Failure::new(format!("enable.auto.commit is true or false, and not '{other}'")));
            }
            (other, value) => self.client.set(other, value)?,
        }
        Ok(())
    }
}

fn begin(options: &Options) -> Result<Begin, Failure> {
    let from_beginning = options.has("--from-beginning");
    match options.get("--offset") {
        Some(_) if !options.has("--partition") => Err(Failure::new("The partition is required when offset is specified.")),
        Some(_) if from_beginning => Err(Failure::new("Options from-beginning and offset cannot be specified together.")),
        Some("earliest") => Ok(Begin::Earliest),
        Some("latest") => Ok(Begin::Latest),
        Some(number) => number.parse().ok().filter(|offset| *offset >= 0).map(|offset| Begin::At(Offset(offset))).ok_or_else(|| {
            Failure::new(format!(
                "The provided offset value '{number}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))
        }),
        None if from_beginning => Ok(Begin::Earliest),
        None => Ok(Begin::Latest),
    }
}

fn formatter(options: &Options) -> Result<Formatter, Failure> {
    let mut formatter = Formatter::default();
    if let Some(file) = options.get("--formatter-config") {
        for (key, value) in properties::read(Path::new(file))? {
            formatter.set(&key, &value)?;
        }
    }
    for (key, value) in options.pairs("--formatter-property") {
        formatter.set(key, value)?;
    }
    for (option, key) in [("--key-deserializer", "key.deserializer"), ("--value-deserializer", "value.deserializer")] {
        if let Some(class) = options.get(option) {
            formatter.set(key, class)?;
        }
    }
    Ok(formatter)
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let reading = Reading::new(options)?;
    block_on_real(async {
        let mut read = 0;
        let ended = read_all(&reading, &mut read).await;
        eprintln!("Processed a total of {read} messages");
        match ended {
            // Whoever reads has seen enough.
            Err(failure) if failure.code == BROKEN_PIPE => Ok(()),
            other => other,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How a reader that went away is told from a failure.
const BROKEN_PIPE: u8 = 141;

async fn read_all(reading: &Reading, read: &mut u64) -> Result<(), Failure> {
    let cluster = Cluster::new(reading.client.cluster.clone());
    match &reading.group {
        Some(group) => read_in_group(reading, group, cluster, read).await,
        None => read_partitions(reading, cluster, read).await,
    }
}

async fn read_in_group(reading: &Reading, group: &str, cluster: Cluster, read: &mut u64) -> Result<(), Failure> {
    cluster.topic(&reading.topic, METADATA_TIMEOUT).await?;
    let protocol = match reading.is_modern {
        true => GroupProtocol::Consumer(ConsumerProtocol::default()),
        false => GroupProtocol::Classic(ClassicProtocol::default()),
    };
    let group = GroupOptions { protocol, commit_interval: None, ..GroupOptions::new(group) };
    let consumer = Consumer::new(cluster, ConsumerOptions { group: Some(group), ..reading.consumer.clone() });
    consumer.subscribe([&*reading.topic])?;
    let told = print_all(reading, &consumer, read).await;
    consumer.close(CLOSE_TIMEOUT).await;
    told
}

async fn read_partitions(reading: &Reading, cluster: Cluster, read: &mut u64) -> Result<(), Failure> {
    let topic = cluster.topic(&reading.topic, METADATA_TIMEOUT).await?;
    let indexes = match reading.partition {
        Some(partition) => partition..partition + 1,
        None => 0..topic.partitions.len() as i32,
    };
    let partitions: Vec<PartitionName> =
        indexes.map(|index| PartitionName::new(&reading.topic, PartitionIndex(index))).collect();
    let consumer = Consumer::new(cluster, reading.consumer.clone());
    consumer.assign(partitions.iter().cloned());
    // Behind the last record now, and not when the first answer comes.
    let ends = consumer.end_offsets(&partitions, METADATA_TIMEOUT).await?;
    for partition in &partitions {
        match (reading.begin, ends.get(partition)) {
            (Begin::At(offset), _) => consumer.seek(partition, offset),
            (Begin::Latest, Some(end)) => consumer.seek(partition, *end),
            (Begin::Latest, None) => consumer.seek_to_end(partition),
            (Begin::Earliest, _) => consumer.seek_to_beginning(partition),
        };
    }
    print_all(reading, &consumer, read).await
}

/// Until it is told to end, or has printed enough, or nothing has come for long enough.
async fn print_all(reading: &Reading, consumer: &Consumer, read: &mut u64) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut interrupted = std::pin::pin!(termination_requested());
    let mut last = time::now();
    while *read < reading.messages_max {
        let records = runtime::select! {
            _ = &mut interrupted => return Ok(()),
            records = consumer.poll(POLL) => records?,
        };
        if !records.is_empty() {
            last = time::now();
        } else if reading.silence_max.is_some_and(|max| last.elapsed() >= max) {
            return Ok(());
        }
        let mut printed = BTreeMap::new();
        for record in records {
            reading.formatter.write(&record, &mut out).map_err(written)?;
            *read += 1;
            printed.extend([record.processed()]);
            if *read == reading.messages_max {
                break;
            }
        }
        out.flush().map_err(written)?;
        if reading.group.is_some()
            && reading.commits
            && !printed.is_empty()
            && let Err(error) = consumer.commit_offsets(printed, COMMIT_TIMEOUT).await
        {
            // A rebalance took its partitions: whoever has them now prints the same records again.
            eprintln!("not committed: {error}");
        }
    }
    Ok(())
}

fn written(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure { what: String::new(), code: BROKEN_PIPE },
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(line: &str) -> Result<Reading, String> {
        let line = format!("--bootstrap-server a:1 --topic t {line}");
        let options = Options::parse(OPTIONS, line.split_whitespace().map(String::from)).expect("valid");
        Reading::new(&options).map_err(|failure| failure.what)
    }

    #[test]
    fn it_begins_where_it_is_asked_to() {
        let begin = |line: &str| reading(line).expect(line).begin;
        assert_eq!(begin(""), Begin::Latest);
        assert_eq!(begin("--from-beginning"), Begin::Earliest);
        assert_eq!(begin("--consumer-property auto.offset.reset=earliest"), Begin::Earliest);
        assert_eq!(begin("--partition 0 --offset 7"), Begin::At(Offset(7)));
        for wrong in ["--offset 7", "--partition 0 --offset first", "--partition 0 --offset 1 --from-beginning"] {
            assert!(reading(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_joins_the_group_that_it_is_given() {
        let joined = |line: &str| {
            let reading = reading(line).expect(line);
            (reading.group, reading.is_modern, reading.commits)
        };
        assert_eq!(joined(""), (None, false, true));
        assert_eq!(joined("--group g --consumer-property group.id=g"), (Some("g".into()), false, true));
        let modern = "--consumer-property group.id=g --consumer-property group.protocol=CONSUMER";
        assert_eq!(joined(modern), (Some("g".into()), true, true));
        assert_eq!(joined("--group g --consumer-property enable.auto.commit=false"), (Some("g".into()), false, false));
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        assert!(reading("--group g --partition 0").is_err());
        assert!(reading("--group g --consumer-property group.id=h").err().is_some_and(|said| said.contains("'g'")));
        assert!(reading("--group g --consumer-property group.protocol=raft").is_err());
        assert!(reading("--group g --consumer-property enable.auto.commit=perhaps").is_err());
        assert!(reading("--isolation-level some").is_err());
        assert!(reading("--property print.everything=true").is_err());
        assert_eq!(reading("--timeout-ms -1 --max-messages -1").expect("no limits").messages_max, u64::MAX);
    }
}
