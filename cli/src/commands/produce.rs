//! `gregor produce`: a record for each line of standard input.

use super::Bootstrap;
use crate::output::Failure;
use client::{
    cluster::{Cluster, ClusterOptions},
    producer::{Acks, Delivery, Producer, ProducerOptions, ProducerRecord},
};
use protocol::ids::PartitionIndex;
use runtime::task::block_on_real;
use std::{collections::VecDeque, io::BufRead, process::ExitCode};

/// Unanswered records: reading waits beyond this.
const IN_FLIGHT_MAX: usize = 10_000;

/// Writes a record for each line of standard input
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  echo hello | gregor produce orders\n  printf 'k1:a\\nk2:b\\n' | gregor produce orders --key-separator :"
)]
pub struct Produce {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic
    topic: String,
    /// The partition; otherwise the key decides, or any
    #[arg(long, short)]
    partition: Option<i32>,
    /// What parts the key from the value of a line
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// Who must have a record before it counts: 0, 1 or all
    #[arg(long, default_value = "all")]
    acks: String,
    /// Prints where each record went
    #[arg(long, short)]
    verbose: bool,
}

impl Produce {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let acks = match self.acks.as_str() {
            "0" => Acks::None,
            "1" => Acks::Leader,
            "all" | "-1" => Acks::All,
            other => return Err(Failure::usage(format!("--acks is 0, 1 or all, not '{other}'"))),
        };
        block_on_real(async move {
            let cluster = Cluster::new(ClusterOptions { allow_auto_topic_creation: true, ..self.bootstrap.options()? });
            let options = ProducerOptions { acks, idempotent: acks == Acks::All, ..ProducerOptions::default() };
            let producer = Producer::new(cluster, options);
            let mut waiting: VecDeque<Delivery> = VecDeque::new();
            for line in std::io::stdin().lock().split(b'\n') {
                let record = self.record(&line?)?;
                waiting.push_back(producer.enqueue(&self.topic, self.partition.map(PartitionIndex), record).await?);
                while waiting.len() > IN_FLIGHT_MAX {
                    self.settle(&mut waiting).await?;
                }
            }
            while !waiting.is_empty() {
                self.settle(&mut waiting).await?;
            }
            Ok::<_, Failure>(())
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn record(&self, line: &[u8]) -> Result<ProducerRecord, Failure> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(separator) = self.key_separator.as_deref().map(str::as_bytes) else {
            return Ok(ProducerRecord::value(line.to_vec()));
        };
        let at = line.windows(separator.len().max(1)).position(|window| window == separator);
        let at = at.ok_or_else(|| Failure::new(format!("a line has no key: '{}'", String::from_utf8_lossy(line))))?;
        Ok(ProducerRecord::value(line[at + separator.len()..].to_vec()).with_key(line[..at].to_vec()))
    }

    async fn settle(&self, waiting: &mut VecDeque<Delivery>) -> Result<(), Failure> {
        let Some(delivery) = waiting.pop_front() else { return Ok(()) };
        let metadata = delivery.await?;
        if self.verbose {
            let offset = metadata.offset.map_or_else(|| "?".into(), |offset| offset.to_string());
            println!("{}/{}@{offset}", self.topic, metadata.partition);
        }
        Ok(())
    }
}
