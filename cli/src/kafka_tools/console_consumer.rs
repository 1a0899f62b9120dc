//! `kafka-console-consumer` (`org.apache.kafka.tools.consumer.ConsoleConsumer`), without groups: it reads the partitions
//! itself, as Kafka's does when it is given one.

mod formatter;

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, ZOOKEEPER,
    options::{Options, Spec},
};
use crate::{output::Failure, properties};
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{Consumer, ConsumerOptions, IsolationLevel, ResetTo},
};
use formatter::Formatter;
use protocol::ids::{Offset, PartitionIndex};
use runtime::{
    task::{block_on_real, termination_requested},
    time,
};
use std::{
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
        ("--group", "leave it out: all partitions are read; in a group reads `gregor consume TOPIC --group NAME`"),
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

/// What is read, from where, and until when.
struct Reading {
    client: ClientSettings,
    consumer: ConsumerOptions,
    topic: String,
    partition: Option<i32>,
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
        let to = if reading.begin == Begin::Earliest { ResetTo::Earliest } else { ResetTo::Latest };
        reading.consumer.reset = Some(to);
        Ok(reading)
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
            ("group.id", _) => {
                return Err(Failure::new("leave group.id out: in groups reads `gregor consume TOPIC --group NAME`"));
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
        for record in records {
            reading.formatter.write(&record, &mut out).map_err(written)?;
            *read += 1;
            if *read == reading.messages_max {
                break;
            }
        }
        out.flush().map_err(written)?;
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
    fn what_it_cannot_do_is_refused() {
        assert!(reading("--consumer-property group.id=g").err().is_some_and(|said| said.contains("groups")));
        assert!(reading("--isolation-level some").is_err());
        assert!(reading("--property print.everything=true").is_err());
        assert_eq!(reading("--timeout-ms -1 --max-messages -1").expect("no limits").messages_max, u64::MAX);
    }
}
