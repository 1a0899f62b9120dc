//! `gregor consume`: prints records, from now on or from the beginning.

use super::Bootstrap;
use crate::output::{Failure, Format};
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{
        ClassicProtocol, Consumer, ConsumerOptions, ConsumerProtocol, ConsumerRecord, GroupOptions, GroupProtocol,
        ResetTo,
    },
};
use protocol::ids::PartitionIndex;
use runtime::task::{self, block_on_real};
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::{BufWriter, Write},
    process::ExitCode,
    time::Duration,
};

/// How long a topic may take to be known.
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long leaving a group may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints the records of a topic
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor consume orders --from-beginning -n 10\n  gregor consume orders -p 0 -o json\n  gregor consume orders --group billing\n  gregor consume orders --group billing --protocol consumer"
)]
pub struct Consume {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic
    topic: String,
    /// One partition only
    #[arg(long, short)]
    partition: Option<i32>,
    /// As a member of this group: goes on where the group has come to, and commits what it has printed
    #[arg(long, short, value_name = "NAME", conflicts_with_all = ["partition", "exit"])]
    group: Option<String>,
    /// By which protocol, as group.protocol: all members of a group take the same
    #[arg(long, value_enum, default_value = "classic", requires = "group")]
    protocol: Protocol,
    /// Begins with the first record instead of the next one; in a group, where it has committed nothing
    #[arg(long)]
    from_beginning: bool,
    /// Ends after so many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_records: Option<u64>,
    /// Ends where the topic ends now
    #[arg(long, short)]
    exit: bool,
    /// Prints keys too, with this after each
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// `table` prints values, `json` an object for each record
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

/// Who shares the group's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// The members
    Classic,
    /// The coordinator (KIP-848)
    Consumer,
}

impl Consume {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        block_on_real(async {
            match &self.group {
                Some(group) => self.consume_in_group(group).await,
                None => self.consume().await,
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Until it is told to end, it prints what the group gives it, and commits that once it is out.
    async fn consume_in_group(&self, group: &str) -> Result<(), Failure> {
        let cluster = Cluster::new(self.bootstrap.options()?);
        cluster.topic(&self.topic, METADATA_TIMEOUT).await?;
        let reset = if self.from_beginning { ResetTo::Earliest } else { ResetTo::Latest };
        let protocol = match self.protocol {
            Protocol::Classic => GroupProtocol::Classic(ClassicProtocol::default()),
            Protocol::Consumer => GroupProtocol::Consumer(ConsumerProtocol::default()),
        };
        let membership = GroupOptions { protocol, commit_interval: None, ..GroupOptions::new(group) };
        let options = ConsumerOptions { reset: Some(reset), group: Some(membership), ..ConsumerOptions::default() };
        let consumer = Consumer::new(cluster, options);
        consumer.subscribe([&*self.topic])?;
        let told = runtime::select! {
            told = self.print_and_commit(&consumer) => told,
            told = task::termination_requested() => told.map_err(Failure::from),
        };
        consumer.close(CLOSE_TIMEOUT).await;
        told
    }

    async fn print_and_commit(&self, consumer: &Consumer) -> Result<(), Failure> {
        let (mut left, mut out) = (self.max_records.unwrap_or(u64::MAX), BufWriter::new(std::io::stdout().lock()));
        while left > 0 {
            let mut printed = BTreeMap::new();
            for record in consumer.poll(Duration::from_millis(500)).await? {
                if left == 0 {
                    break;
                }
                self.print(&record, &mut out)?;
                left -= 1;
                printed.extend([record.processed()]);
            }
            out.flush()?;
            if !printed.is_empty()
                && let Err(error) = consumer.commit_offsets(printed, COMMIT_TIMEOUT).await
            {
                // A rebalance took its partitions: whoever has them now prints the same records again.
                eprintln!("not committed: {error}");
            }
        }
        Ok(())
    }

    async fn consume(self) -> Result<(), Failure> {
        let cluster = Cluster::new(self.bootstrap.options()?);
        let topic = cluster.topic(&self.topic, METADATA_TIMEOUT).await?;
        let partitions: Vec<PartitionName> = match self.partition {
            Some(partition) => vec![PartitionName::new(&self.topic, PartitionIndex(partition))],
            None => (0..topic.partitions.len() as i32)
                .map(|index| PartitionName::new(&self.topic, PartitionIndex(index)))
                .collect(),
        };
        let consumer = Consumer::new(cluster, ConsumerOptions::default());
        let (begin, mut ends) = (
            consumer.beginning_offsets(&partitions, METADATA_TIMEOUT).await?,
            consumer.end_offsets(&partitions, METADATA_TIMEOUT).await?,
        );
        let from = if self.from_beginning { begin } else { ends.clone() };
        consumer.assign(partitions.iter().cloned());
        for (partition, offset) in &from {
            consumer.seek(partition, *offset);
        }
        ends.retain(|partition, end| from.get(partition).is_some_and(|from| from < end));
        let (mut left, mut out) = (self.max_records.unwrap_or(u64::MAX), BufWriter::new(std::io::stdout().lock()));
        while left > 0 && !(self.exit && ends.is_empty()) {
            for record in consumer.poll(Duration::from_millis(500)).await? {
                self.print(&record, &mut out)?;
                let partition = PartitionName { topic: record.topic, partition: record.partition };
                if ends.get(&partition).is_some_and(|end| record.offset.plus(1) >= *end) {
                    ends.remove(&partition);
                }
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            out.flush()?;
        }
        Ok(())
    }

    fn print(&self, record: &ConsumerRecord, out: &mut impl Write) -> std::io::Result<()> {
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        if self.output == Format::Json {
            let headers: serde_json::Map<String, serde_json::Value> = record
                .headers
                .iter()
                .map(|header| (header.key.to_string(), header.value.as_ref().map(text).into()))
                .collect();
            let object = json!({
                "topic": &*record.topic,
                "partition": record.partition.0,
                "offset": record.offset.0,
                "timestamp": record.timestamp.0,
                "key": record.key.as_ref().map(text),
                "value": record.value.as_ref().map(text),
                "headers": headers,
            });
            return writeln!(out, "{object}");
        }
        if let Some(separator) = &self.key_separator {
            out.write_all(record.key.as_deref().unwrap_or_default())?;
            out.write_all(separator.as_bytes())?;
        }
        out.write_all(record.value.as_deref().unwrap_or_default())?;
        out.write_all(b"\n")
    }
}
