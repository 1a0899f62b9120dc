//! `gregor verify`: writes records with ids, reads them back, and says what was lost, doubled or reordered. Works on any
//! Kafka; with `--kill-every` and its like it breaks the nodes of a local cluster meanwhile.

mod breaking;

use super::{Bootstrap, duration};
use crate::{
    local_cluster::LocalCluster,
    output::{Failure, Format, print_json},
};
use breaking::{Breaking, How};
use client::{
    PartitionName,
    admin::{Admin, NewTopic},
    cluster::{Cluster, ClusterOptions},
    consumer::{Consumer, ConsumerOptions},
    producer::{ProduceErrorKind, Producer, ProducerOptions, ProducerRecord},
};
use protocol::ids::{Offset, PartitionIndex};
use runtime::{
    sync::{Lock, Semaphore},
    task::{self, block_on_real},
    time::{self, Instant},
};
use serde::Serialize;
use std::{collections::BTreeMap, io::IsTerminal, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

/// Records that may be unanswered at a time.
const IN_FLIGHT_MAX: usize = 20_000;
const TICK: Duration = Duration::from_millis(5);
/// How often a person who watches is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// The rank of the ledger's lock: nothing is taken under it.
const RANK: u8 = 200;

/// Writes records with ids, reads them back, and counts what is wrong
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor verify --for 10s\n  gregor verify --for 2m --rate 5000 --kill-every 6s\n  gregor verify --for 1m --pause-every 15s"
)]
pub struct Verify {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic, which must not exist; a fresh name if not said
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the topic
    #[arg(long, short, default_value_t = 6)]
    partitions: i32,
    /// Replicas of each; the broker's default if not said
    #[arg(long, short, default_value_t = -1)]
    replicas: i16,
    /// How long to write
    #[arg(long = "for", default_value = "30s", value_parser = duration)]
    length: Duration,
    /// Records a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    #[command(flatten)]
    breaks: Breaks,
    /// The local cluster whose nodes are broken
    #[arg(long, default_value = "gregor-data/cluster")]
    dir: PathBuf,
    /// How to print the result
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

/// What happens to the nodes of the local cluster meanwhile. Each time, all must be whole again before the next.
#[derive(clap::Args)]
#[group(multiple = false)]
struct Breaks {
    /// Kills a node this often, as `kill -9`, and starts it again
    #[arg(long, value_parser = duration, value_name = "TIME")]
    kill_every: Option<Duration>,
    /// Freezes a leader's process this often, for five seconds
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pause_every: Option<Duration>,
    /// Kills all nodes at once this often, and starts them again
    #[arg(long, value_parser = duration, value_name = "TIME")]
    blackout_every: Option<Duration>,
    /// Stops and starts one node after another this often, in good order
    #[arg(long, value_parser = duration, value_name = "TIME")]
    roll_every: Option<Duration>,
}

impl Breaks {
    fn asked(&self) -> Option<(How, Duration)> {
        let Self { kill_every, pause_every, blackout_every, roll_every } = self;
        let all = [
            (How::Kill, kill_every),
            (How::Pause, pause_every),
            (How::Blackout, blackout_every),
            (How::Roll, roll_every),
        ];
        all.into_iter().find_map(|(how, every)| Some((how, (*every)?)))
    }
}

/// What the writer was told, by record number.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<u64, Option<Offset>>,
    refused: u64,
    refused_numbers: Vec<u64>,
    unknown: u64,
    last_acknowledged: Option<Instant>,
    longest_gap: Duration,
    /// The longest time without an acknowledgement since nodes were last broken.
    gap_since_break: Duration,
    first_error: Option<String>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    sent: u64,
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    read: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    refused_but_there: u64,
    breaks: u64,
    longest_gap_ms: u64,
    acknowledged_per_second: u64,
}

impl Report {
    fn is_clean(&self) -> bool {
        let balanced = self.sent == self.acknowledged + self.refused + self.unknown;
        balanced && self.lost + self.duplicated + self.reordered + self.refused_but_there == 0
    }
}

impl Verify {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let report = block_on_real(self.verify())?;
        match self.output {
            Format::Json => print_json(&report)?,
            Format::Table => {
                let Report { sent, acknowledged, refused, unknown, lost, duplicated, reordered, .. } = &report;
                println!(
                    "verify: sent {sent}  acknowledged {acknowledged}  refused {refused}  unknown {unknown}  lost {lost}  \
                     duplicated {duplicated}  reordered {reordered}   {}",
                    if report.is_clean() { "OK" } else { "FAILED" }
                );
                println!(
                    "        {} read, {} acknowledged a second, longest time without an acknowledgement {} ms{}",
                    report.read,
                    report.acknowledged_per_second,
                    report.longest_gap_ms,
                    self.broken(report.breaks)
                );
            }
        }
        Ok(ExitCode::from(u8::from(!report.is_clean())))
    }

    fn broken(&self, times: u64) -> String {
        self.breaks.asked().map_or_else(String::new, |(how, _)| format!(", {times} {}", how.many()))
    }

    async fn verify(&self) -> Result<Report, Failure> {
        let breaks = self.breaks.asked();
        let local = breaks.map(|_| LocalCluster::open(&self.dir)).transpose()?;
        let servers = match &local {
            Some(local) => local.bootstrap(),
            None => self.bootstrap.servers()?,
        };
        let cluster = Cluster::new(ClusterOptions::new(servers));
        let admin = Admin::new(cluster.clone(), super::ADMIN_TIMEOUT);
        let name = || format!("gregor-verify-{:08x}", runtime::rand::next() >> 32);
        let topic = self.topic.clone().unwrap_or_else(name);
        for (name, outcome) in
            admin.create_topics(&[NewTopic::new(&topic, self.partitions, self.replicas)], false).await?
        {
            outcome.map_err(|error| Failure::new(format!("topic {name}: {error}")))?;
        }
        cluster.topic(&topic, Duration::from_secs(30)).await?;
        let ledger = Arc::new(Lock::new(RANK, Ledger::default()));
        let breaking = match (local, breaks) {
            (Some(local), Some((how, every))) => {
                Some(Breaking::start(how, every, local, admin, topic.clone(), Arc::clone(&ledger)))
            }
            _ => None,
        };
        let (sent, seconds) = self.write(&cluster, &topic, &ledger).await;
        let breaks = match breaking {
            Some(breaking) => breaking.finish().await?,
            None => 0,
        };
        progress(|| format!("reading back what {} partitions hold", self.partitions));
        let mut report = self.read(&cluster, &topic, &ledger, sent).await?;
        (report.breaks, report.acknowledged_per_second) = (breaks, (report.acknowledged as f64 / seconds) as u64);
        if let Some(error) = &ledger.lock().first_error
            && self.output == Format::Table
        {
            eprintln!("first error: {error}");
        }
        Ok(report)
    }

    /// Writes for the asked time. Returns how many records, and in how many seconds.
    async fn write(&self, cluster: &Cluster, topic: &str, ledger: &Arc<Lock<Ledger>>) -> (u64, f64) {
        let producer = Producer::new(cluster.clone(), ProducerOptions::default());
        let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let since = time::now();
        ledger.lock().last_acknowledged = Some(since);
        let (mut number, mut told) = (0, since);
        while since.elapsed() < self.length {
            if told.elapsed() >= PROGRESS_EVERY {
                told = time::now();
                ledger.lock().tell(since, number);
            }
            let due = (since.elapsed().as_secs_f64() * self.rate as f64) as u64;
            while number < due && since.elapsed() < self.length {
                let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
                let partition = PartitionIndex((number % self.partitions as u64) as i32);
                let record = ProducerRecord::value(number.to_be_bytes().to_vec());
                let enqueued = producer.enqueue(topic, Some(partition), record).await;
                let ledger = Arc::clone(ledger);
                task::spawn(async move {
                    let result = match enqueued {
                        Ok(delivery) => delivery.await,
                        Err(error) => Err(error),
                    };
                    ledger.lock().note(number, result);
                    drop(permit);
                });
                number += 1;
            }
            time::sleep(TICK).await;
        }
        producer.flush().await;
        // The last deliveries are noted by tasks of their own.
        let _all = room.acquire_many(IN_FLIGHT_MAX as u32).await.expect("the semaphore is never closed");
        (number, since.elapsed().as_secs_f64())
    }

    /// Reads every partition to its end and compares.
    async fn read(&self, cluster: &Cluster, topic: &str, ledger: &Lock<Ledger>, sent: u64) -> Result<Report, Failure> {
        let partitions: Vec<PartitionName> =
            (0..self.partitions).map(|partition| PartitionName::new(topic, PartitionIndex(partition))).collect();
        let consumer = Consumer::new(cluster.clone(), ConsumerOptions::default());
        let mut ends = consumer.end_offsets(&partitions, super::ADMIN_TIMEOUT).await?;
        ends.retain(|_, end| *end > Offset::ZERO);
        consumer.assign(partitions.iter().cloned());
        for partition in &partitions {
            consumer.seek_to_beginning(partition);
        }
        let mut found: BTreeMap<u64, Offset> = BTreeMap::new();
        let mut last: BTreeMap<PartitionName, u64> = BTreeMap::new();
        let mut report = Report { sent, ..Report::default() };
        while !ends.is_empty() {
            for record in consumer.poll(Duration::from_millis(500)).await? {
                let value: Option<[u8; 8]> = record.value.as_deref().and_then(|value| value.try_into().ok());
                let Some(number) = value.map(u64::from_be_bytes) else { continue };
                report.read += 1;
                report.duplicated += u64::from(found.insert(number, record.offset).is_some());
                let partition = PartitionName { topic: record.topic, partition: record.partition };
                if ends.get(&partition).is_some_and(|end| record.offset.plus(1) >= *end) {
                    ends.remove(&partition);
                }
                let before = last.insert(partition, number);
                report.reordered += u64::from(before.is_some_and(|before| before > number));
            }
        }
        let ledger = ledger.lock();
        report.acknowledged = ledger.acknowledged.len() as u64;
        (report.refused, report.unknown) = (ledger.refused, ledger.unknown);
        report.refused_but_there =
            ledger.refused_numbers.iter().filter(|number| found.contains_key(number)).count() as u64;
        report.longest_gap_ms = u64::try_from(ledger.longest_gap.as_millis()).unwrap_or(u64::MAX);
        for (number, offset) in &ledger.acknowledged {
            let kept = found.get(number).is_some_and(|found| offset.is_none_or(|offset| offset == *found));
            report.lost += u64::from(!kept);
        }
        Ok(report)
    }
}

/// Says a line to a person who watches; a script's standard error stays as it is.
fn progress(line: impl FnOnce() -> String) {
    if std::io::stderr().is_terminal() {
        eprintln!("{}", line());
    }
}

impl Ledger {
    /// Says how far it is.
    fn tell(&self, since: Instant, sent: u64) {
        progress(|| {
            let (seconds, acknowledged) = (since.elapsed().as_secs(), self.acknowledged.len());
            format!(
                "t+{seconds}s  sent {sent}  acknowledged {acknowledged}  refused {}  unknown {}",
                self.refused, self.unknown
            )
        });
    }

    /// The longest time without an acknowledgement since nodes were last broken, one that has not ended included.
    fn gap_now(&self) -> Duration {
        self.last_acknowledged.map_or(Duration::ZERO, |last| last.elapsed()).max(self.gap_since_break)
    }

    fn note(&mut self, number: u64, result: Result<client::producer::RecordMetadata, client::producer::ProduceError>) {
        match result {
            Ok(metadata) => {
                let now = time::now();
                if let Some(last) = self.last_acknowledged.replace(now) {
                    self.longest_gap = self.longest_gap.max(now - last);
                    self.gap_since_break = self.gap_since_break.max(now - last);
                }
                self.acknowledged.insert(number, metadata.offset);
            }
            Err(error) => {
                match error.kind {
                    ProduceErrorKind::Refused => {
                        self.refused += 1;
                        self.refused_numbers.push(number);
                    }
                    ProduceErrorKind::Unknown => self.unknown += 1,
                }
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_clean_only_if_it_adds_up() {
        let clean = Report { sent: 3, acknowledged: 2, unknown: 1, ..Report::default() };
        assert!(clean.is_clean());
        assert!(!Report { sent: 4, ..clean }.is_clean());
        assert!(!Report { sent: 1, acknowledged: 1, lost: 1, ..Report::default() }.is_clean());
    }
}
