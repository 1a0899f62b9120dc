//! What a broker says of itself when it is asked: counts and states as named samples, in the names that Kafka's exporters
//! give them (the JMX exporter's rules of Strimzi, and kafka_exporter), so that existing dashboards show them.
//!
//! It decides nothing and is on no request's way. The text of an exposition is `cli`'s business.

use crate::handlers::Services;
use crate::metrics::{Counter, Traffic};
use crate::partition::context::monotonic_now;
use crate::partition::{Partition, Standing};
use crate::partitions::Partitions;
use metadata::image::{Image, PartitionImage};
use protocol::ids::{BrokerId, PartitionIndex, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// From so many partitions on there are no samples for each of them.
const PARTITION_SAMPLES_MAX: usize = 5_000;

/// How a sample's value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleKind {
    /// It only rises, but for a restart.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric.
    pub name: &'static str,
    /// What it tells, in one line; the same in every sample of a metric.
    pub help: &'static str,
    /// How it moves.
    pub kind: SampleKind,
    /// What tells the series of one metric apart.
    pub labels: Vec<(&'static str, String)>,
    /// The value now.
    pub value: f64,
}

impl Sample {
    /// A value that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: SampleKind::Gauge, labels: Vec::new(), value }
    }

    /// A value that only rises.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: SampleKind::Counter, labels: Vec::new(), value: value as f64 }
    }

    /// The same with a label more.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl ToString) -> Self {
        self.labels.push((label, value.to_string()));
        self
    }
}

/// Everything that a broker says of itself now. `all_partitions` asks for the series of each partition however many
/// there are.
pub fn samples(services: &Services, all_partitions: bool) -> Vec<Sample> {
    let image = services.metadata.image();
    let replicas = replicas(services);
    let mut samples = requests(services);
    samples.extend(topics(&replicas));
    samples.extend(replica_manager(services.config.node_id, &image, &replicas));
    samples.extend(cleaner(&services.partitions));
    if all_partitions || image.partitions().count() <= PARTITION_SAMPLES_MAX {
        samples.extend(partitions(services.config.node_id, &image, &replicas));
    }
    samples
}

/// One replica on this broker, as it stands.
struct Here {
    topic: Arc<str>,
    partition: PartitionIndex,
    standing: Standing,
    traffic: Arc<Traffic>,
}

fn replicas(services: &Services) -> BTreeMap<TopicPartition, Here> {
    let here = |partition: Arc<Partition>| {
        let id = partition.id();
        let (topic, standing, traffic) = (partition.topic().clone(), partition.standing(), partition.traffic().clone());
        (id, Here { topic, partition: id.partition, standing, traffic })
    };
    services.partitions.all().into_iter().map(here).collect()
}

fn requests(services: &Services) -> Vec<Sample> {
    let metrics = &services.metrics;
    let mut samples: Vec<Sample> = metrics
        .requests()
        .map(|(api, count)| {
            Sample::counter("kafka_network_requestmetrics_requests_total", "Requests, by API", count)
                .with("request", api)
        })
        .collect();
    let open = metrics.connections.get().saturating_sub(metrics.connections_ended.get());
    samples.push(Sample::gauge("kafka_server_socket_server_metrics_connection_count", "Open connections", open as f64));
    samples.push(Sample::counter(
        "kafka_server_socket_server_metrics_connection_creation_total",
        "Connections accepted",
        metrics.connections.get(),
    ));
    samples
}

/// A count of [`Traffic`] as a metric of a topic: its name, what it tells, and where it is.
type TopicCount = (&'static str, &'static str, fn(&Traffic) -> &Counter);

const TOPIC_COUNTS: [TopicCount; 7] = [
    ("kafka_server_brokertopicmetrics_messagesin_total", "Records that producers wrote", |traffic| {
        &traffic.messages_in
    }),
    ("kafka_server_brokertopicmetrics_bytesin_total", "Bytes that producers wrote", |traffic| &traffic.bytes_in),
    ("kafka_server_brokertopicmetrics_bytesout_total", "Bytes that consumers were sent", |traffic| &traffic.bytes_out),
    ("kafka_server_brokertopicmetrics_replicationbytesin_total", "Bytes copied from leaders", |traffic| {
        &traffic.replication_bytes_in
    }),
    ("kafka_server_brokertopicmetrics_replicationbytesout_total", "Bytes that followers were sent", |traffic| {
        &traffic.replication_bytes_out
    }),
    ("kafka_server_brokertopicmetrics_failedproducerequests_total", "Batches that were refused", |traffic| {
        &traffic.failed_produces
    }),
    ("kafka_server_brokertopicmetrics_failedfetchrequests_total", "Reads that were refused", |traffic| {
        &traffic.failed_fetches
    }),
];

fn topics(replicas: &BTreeMap<TopicPartition, Here>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, help, count) in TOPIC_COUNTS {
        let mut by_topic: BTreeMap<&str, u64> = BTreeMap::new();
        for here in replicas.values() {
            *by_topic.entry(&here.topic).or_default() += count(&here.traffic).get();
        }
        let topics = by_topic.into_iter().map(|(topic, count)| Sample::counter(name, help, count).with("topic", topic));
        samples.extend(topics);
    }
    samples
}

fn replica_manager(node_id: BrokerId, image: &Image, replicas: &BTreeMap<TopicPartition, Here>) -> Vec<Sample> {
    let led = || image.partitions().filter(|(_, state)| state.leader == Some(node_id));
    let count = |count: usize| count as f64;
    let without_leader = image.partitions().filter(|(_, state)| state.leader.is_none()).count();
    let unclean = image.partitions().filter(|(_, state)| state.elr.is_empty() && state.isr.is_empty()).count();
    vec![
        Sample::gauge("kafka_server_replicamanager_partitioncount", "Replicas on this broker", count(replicas.len())),
        Sample::gauge(
            "kafka_server_replicamanager_leadercount",
            "Partitions that this broker leads",
            count(led().count()),
        ),
        Sample::gauge(
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Partitions led here of which a replica is not in sync",
            count(led().filter(|(_, state)| is_under_replicated(state)).count()),
        ),
        Sample::gauge(
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions without a leader, as this broker knows the metadata",
            count(without_leader),
        ),
        Sample::gauge(
            "gregor_partitions_without_candidate",
            "Partitions that no replica may be elected for without a declared loss",
            count(unclean),
        ),
        Sample::gauge(
            "gregor_metadata_offset",
            "The next metadata record that this broker waits for",
            image.offset().0 as f64,
        ),
    ]
}

/// The cleaner of compacted logs, in the names that JMX gives `LogCleaner` and `LogCleanerManager`. What tells of a cleaning
/// tells of the last one that came to its end, and is missing before it.
pub(crate) fn cleaner(partitions: &Partitions) -> Vec<Sample> {
    let standing = partitions.cleaner();
    let mut samples = vec![Sample::gauge(
        "kafka_log_logcleanermanager_max_dirty_percent",
        "How much is dirty of the dirtiest log that was due when the cleaner last looked",
        100.0 * standing.max_dirty_ratio,
    )];
    if let Some(looked_at) = standing.looked_at {
        let since = monotonic_now().since(looked_at) as f64;
        let help = "Milliseconds since the cleaner last looked for logs that are due";
        samples.push(Sample::gauge("kafka_log_logcleanermanager_time_since_last_run_ms", help, since));
    }
    if let Some(last) = standing.last {
        let recopied = if last.read == 0 { 0.0 } else { 100.0 * last.written as f64 / last.read as f64 };
        let help = "Bytes that the last cleaning kept of each hundred that it wrote anew";
        samples.push(Sample::gauge("kafka_log_logcleaner_cleaner_recopy_percent", help, recopied));
        let help = "How long the last cleaning took";
        samples.push(Sample::gauge("kafka_log_logcleaner_max_clean_time_secs", help, last.took.as_secs_f64()));
    }
    let uncleanable = partitions.all().into_iter().filter(|partition| standing.is_uncleanable(partition));
    let uncleanable: Vec<Arc<Partition>> = uncleanable.collect();
    for (number, directory) in partitions.describe_directories().into_iter().enumerate() {
        let inside = || uncleanable.iter().filter(|partition| partition.directory() == number);
        let bytes: u64 = inside().map(|partition| partition.cleanable_bytes()).sum();
        let of_directory: [(&'static str, &'static str, f64); 2] = [
            (
                "kafka_log_logcleanermanager_uncleanable_partitions_count",
                "Compacted logs that are not cleaned any more: their records cannot be read",
                inside().count() as f64,
            ),
            ("kafka_log_logcleanermanager_uncleanable_bytes", "Bytes that wait in them to be cleaned", bytes as f64),
        ];
        let root = directory.disk.root();
        samples.extend(
            of_directory.map(|(name, help, value)| Sample::gauge(name, help, value).with("logDirectory", &root)),
        );
    }
    samples
}

fn is_under_replicated(state: &PartitionImage) -> bool {
    state.isr.len() < state.replicas.len()
}

/// The series of each partition: of replicas here their logs, of partitions led here what kafka_exporter tells.
fn partitions(node_id: BrokerId, image: &Image, replicas: &BTreeMap<TopicPartition, Here>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (of, here) in replicas {
        let size = Sample::gauge("kafka_log_log_size", "Bytes of a replica's segments", here.standing.size as f64);
        samples.push(size.with("topic", &here.topic).with("partition", here.partition));
        let Some(state) = image.partition(*of).filter(|state| state.leader == Some(node_id)) else { continue };
        let flag = |holds: bool| f64::from(u8::from(holds));
        let is_preferred = state.replicas.first() == Some(&node_id);
        let of_partition: [(&'static str, &'static str, f64); 6] = [
            ("kafka_topic_partition_current_offset", "The high watermark", here.standing.high_watermark.0 as f64),
            ("kafka_topic_partition_oldest_offset", "The first offset kept", here.standing.log_start_offset.0 as f64),
            ("kafka_topic_partition_replicas", "Replicas", state.replicas.len() as f64),
            ("kafka_topic_partition_in_sync_replica", "Replicas in sync", state.isr.len() as f64),
            ("kafka_topic_partition_leader_is_preferred", "Whether the first replica leads", flag(is_preferred)),
            (
                "kafka_topic_partition_under_replicated_partition",
                "Whether a replica is not in sync",
                flag(is_under_replicated(state)),
            ),
        ];
        samples.extend(of_partition.map(|(name, help, value)| {
            Sample::gauge(name, help, value).with("topic", &here.topic).with("partition", here.partition)
        }));
    }
    samples
}
