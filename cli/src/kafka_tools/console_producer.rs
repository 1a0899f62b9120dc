//! `kafka-console-producer` (`org.apache.kafka.tools.ConsoleProducer`).

mod lines;

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, ZOOKEEPER, milliseconds,
    options::{OptionError, Options, Spec},
};
use crate::{output::Failure, properties};
use client::{
    cluster::Cluster,
    producer::{Acks, Delivery, Producer, ProducerOptions},
};
use lines::{LineError, Lines};
use protocol::compression::Compression;
use runtime::task::block_on_real;
use std::{
    collections::VecDeque,
    io::{BufRead, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

pub const TOOL: Tool = Tool {
    name: "kafka-console-producer",
    about: "This tool helps to read data from standard input and publish it to Kafka.",
    options: OPTIONS,
    instead: &[
        ZOOKEEPER,
        ("--line-reader", "write --reader-property: each line is a record"),
        ("--socket-buffer-size", "leave it out: the system sizes the buffer"),
        ("--retry-backoff-ms", "leave it out: the wait grows from 50 ms to a second"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    Spec::value(&["--command-config", "--producer.config"], "FILE", COMMAND_CONFIG.help),
    Spec::values(&["--command-property", "--producer-property"], "KEY=VALUE", "A property of the producer."),
    Spec::value(&["--topic"], "TOPIC", "The topic to write to."),
    Spec::values(
        &["--reader-property", "--property"],
        "KEY=VALUE",
        "How lines are read: parse.key, parse.headers, key.separator, headers.delimiter, headers.separator, \
         headers.key.separator, null.marker, ignore.error.",
    ),
    Spec::value(&["--reader-config"], "FILE", "A file of such properties."),
    Spec::optional(&["--compression-codec"], "CODEC", "gzip", "none, gzip, snappy, lz4 or zstd; gzip without a value."),
    Spec::value(&["--batch-size", "--max-partition-memory-bytes"], "BYTES", "As batch.size."),
    Spec::value(&["--request-required-acks"], "ACKS", "As acks: 0, 1, -1 or all."),
    Spec::value(&["--request-timeout-ms"], "MS", "As request.timeout.ms."),
    Spec::value(&["--message-send-max-retries"], "COUNT", "As retries."),
    Spec::value(&["--timeout"], "MS", "As linger.ms."),
    Spec::value(&["--max-block-ms"], "MS", "As max.block.ms."),
    Spec::value(&["--max-memory-bytes"], "BYTES", "As buffer.memory."),
    Spec::value(&["--metadata-expiry-ms"], "MS", "As metadata.max.age.ms."),
    Spec::flag(&["--sync"], "Wait for each record before the next is sent."),
];

/// Options that are properties of the producer under other names.
const PROPERTIES: &[(&str, &str)] = &[
    ("--compression-codec", "compression.type"),
    ("--batch-size", "batch.size"),
    ("--request-required-acks", "acks"),
    ("--request-timeout-ms", "request.timeout.ms"),
    ("--message-send-max-retries", "retries"),
    ("--timeout", "linger.ms"),
    ("--max-block-ms", "max.block.ms"),
    ("--max-memory-bytes", "buffer.memory"),
    ("--metadata-expiry-ms", "metadata.max.age.ms"),
];
/// Unanswered records: reading waits beyond this.
const IN_FLIGHT_MAX: usize = 10_000;

/// What the producer is to be like.
struct Wanted {
    client: ClientSettings,
    producer: ProducerOptions,
}

impl Wanted {
    /// Reads the file, then the properties, then the options: what comes later wins.
    fn new(options: &Options) -> Result<Self, Failure> {
        let mut client = ClientSettings::new(options, "")?;
        client.cluster.allow_auto_topic_creation = true;
        let mut wanted = Self { client, producer: ProducerOptions::default() };
        if let Some(file) = options.get("--command-config") {
            for (key, value) in properties::read(Path::new(file))? {
                wanted.set(&key, &value)?;
            }
        }
        for (key, value) in options.pairs("--command-property") {
            wanted.set(key, value)?;
        }
        for (option, key) in PROPERTIES {
            if let Some(value) = options.get(option) {
                wanted.set(key, value)?;
            }
        }
        wanted.producer.idempotent &= wanted.producer.acks == Acks::All;
        Ok(wanted)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let value = value.trim();
        let producer = &mut self.producer;
        match key {
            "acks" => {
                producer.acks = match value {
                    "0" => Acks::None,
                    "1" => Acks::Leader,
                    "all" | "-1" => Acks::All,
                    other => return Err(Failure::new(format!("acks is 0, 1, -1 or all, not '{other}'"))),
                }
            }
            "compression.type" => producer.compression = compression(value)?,
            "enable.idempotence" => producer.idempotent = value == "true",
            "batch.size" => producer.batch_bytes = number(key, value)?,
            "buffer.memory" => producer.buffer_bytes = number(key, value)?,
            "max.request.size" => producer.request_bytes = number(key, value)?,
            "max.in.flight.requests.per.connection" => producer.in_flight_max = number(key, value)?,
            "retries" => producer.retries_max = number(key, value)?,
            "linger.ms" => producer.linger = milliseconds(key, value)?,
            "max.block.ms" => producer.block_max = milliseconds(key, value)?,
            "delivery.timeout.ms" => producer.delivery_timeout = milliseconds(key, value)?,
            "metadata.max.age.ms" => self.client.cluster.metadata_age_max = milliseconds(key, value)?,
            "request.timeout.ms" => {
                producer.request_timeout = milliseconds(key, value)?;
                self.client.set(key, value)?;
            }
            other => self.client.set(other, value)?,
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| Failure::new(format!("{key}: '{value}' is not such a number")))
}

fn compression(value: &str) -> Result<Compression, Failure> {
    match value {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        other => Err(Failure::new(format!("'{other}' is no compression: write none, gzip, snappy, lz4 or zstd"))),
    }
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    if !options.rest.is_empty() {
        return Err(OptionError::Unknown(options.rest.join(" ")).into());
    }
    let topic = options.required("--topic")?.to_owned();
    let wanted = Wanted::new(options)?;
    let lines = lines(options)?;
    let is_terminal = std::io::stdin().is_terminal();
    let one_by_one = options.has("--sync") || is_terminal;
    let failed = block_on_real(async {
        let producer = Producer::new(Cluster::new(wanted.client.cluster.clone()), wanted.producer.clone());
        let mut writing = Writing { topic, waiting: VecDeque::new(), failed: 0 };
        let mut number = 0u64;
        prompt(is_terminal)?;
        for line in std::io::stdin().lock().split(b'\n') {
            number += 1;
            let line = line?;
            let record = lines.record(line.strip_suffix(b"\r").unwrap_or(&line), number)?;
            let sizes = (record.key.as_ref().map(|key| key.len()), record.value.as_ref().map(|value| value.len()));
            match producer.enqueue(&writing.topic, None, record).await {
                Ok(delivery) => writing.waiting.push_back((sizes, delivery)),
                Err(error) => writing.fail(sizes, &error),
            }
            let left = if one_by_one { 0 } else { IN_FLIGHT_MAX };
            writing.settle_until(left).await;
            prompt(is_terminal)?;
        }
        writing.settle_until(0).await;
        Ok::<_, Failure>(writing.failed)
    })?;
    // Kafka's tool says nothing of it by its exit code; a script that writes wants to know.
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn prompt(is_terminal: bool) -> std::io::Result<()> {
    if is_terminal {
        print!(">");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn lines(options: &Options) -> Result<Lines, Failure> {
    let mut lines = Lines::default();
    let mut set = |key: &str, value: &str| -> Result<(), LineError> { lines.set(key, value) };
    if let Some(file) = options.get("--reader-config") {
        for (key, value) in properties::read(Path::new(file))? {
            set(&key, &value)?;
        }
    }
    for (key, value) in options.pairs("--reader-property") {
        set(key, value)?;
    }
    Ok(lines)
}

/// The bytes of a record's key and value.
type Sizes = (Option<usize>, Option<usize>);

struct Writing {
    topic: String,
    waiting: VecDeque<(Sizes, Delivery)>,
    failed: u64,
}

impl Writing {
    /// Waits for the oldest records until no more than so many are unanswered.
    async fn settle_until(&mut self, left: usize) {
        while self.waiting.len() > left {
            let Some((sizes, delivery)) = self.waiting.pop_front() else { return };
            if let Err(error) = delivery.await {
                self.fail(sizes, &error);
            }
        }
    }

    /// As Kafka's `ErrorLoggingCallback` says it.
    fn fail(&mut self, (key, value): Sizes, error: &impl std::error::Error) {
        self.failed += 1;
        let size = |size: Option<usize>| size.map_or("null".to_owned(), |size| format!("{size} bytes"));
        eprintln!(
            "Error when sending message to topic {} with key: {}, value: {} with error: {error}",
            self.topic,
            size(key),
            size(value)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn options_stand_above_properties() {
        let line = "--bootstrap-server a:1 --topic t --command-property acks=1 --producer-property linger.ms=7 \
                    --request-required-acks 0 --compression-codec --sync";
        let options = Options::parse(OPTIONS, line.split_whitespace().map(String::from)).expect("valid");
        let wanted = Wanted::new(&options).map_err(|failure| failure.what).expect("valid");
        assert_eq!((wanted.producer.acks, wanted.producer.compression), (Acks::None, Compression::Gzip));
        assert_eq!(wanted.producer.linger, Duration::from_millis(7));
        assert!(!wanted.producer.idempotent);
        assert!(wanted.client.cluster.allow_auto_topic_creation);
    }
}
