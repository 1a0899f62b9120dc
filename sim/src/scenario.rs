//! Pure. A scenario: the story of a cluster as data, read from TOML. Unknown keys are errors; there is no `if`.
//!
//! A swarm's seed draws one of these too, so that whatever a seed found can be printed, kept and changed by hand.

use crate::{event::Budget, faults::hold, operations::Operation, when::Condition};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The claim in one sentence.
    pub title: String,
    /// Seeds that CI runs; the first one's story is kept as a snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Mutants that this scenario must catch, or it is stale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// How long the faults' phase lasts, in virtual time.
    pub lasts: Span,
    /// The cluster.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: Cluster,
    /// Its topics.
    #[serde(rename = "topic")]
    pub topics: Vec<Topic>,
    /// Its clients.
    #[serde(rename = "workload", default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// What happens to it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Step>,
    /// What is expected beyond the invariants.
    #[serde(default, skip_serializing_if = "Expect::is_empty")]
    pub expect: Expect,
}

/// The nodes and their configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Brokers, with ids from 1.
    pub brokers: i32,
    /// Controllers: on the first brokers when combined, else on nodes of their own with ids from 101.
    pub controllers: i32,
    /// Whether controllers share the brokers' nodes.
    pub combined: bool,
    /// How much of what was acknowledged the faults may destroy.
    #[serde(skip_serializing_if = "is_default")]
    pub budget: Budget,
    /// One-way delay between nodes, at least and at most, in microseconds.
    pub delay_us: (u64, u64),
    /// Server properties beyond the world's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// What the brokers of any scenario are told about groups: members wait neither for one another nor for the dead for long.
pub const GROUP_PROPERTIES: [(&str, &str); 4] = [
    ("group.initial.rebalance.delay.ms", "500"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "4000"),
    ("group.consumer.heartbeat.interval.ms", "700"),
];

impl Scenario {
    /// Whether a cleaner may take records out of a topic, which no client is told of.
    pub fn is_compacted(&self) -> bool {
        self.topics
            .iter()
            .any(|topic| topic.configs.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")))
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            brokers: 3,
            controllers: 3,
            combined: true,
            budget: Budget::Within,
            delay_us: (100, 1000),
            properties: BTreeMap::new(),
        }
    }
}

/// A topic that exists before the clients start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub partitions: i32,
    /// Its replication factor.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    pub replicas: i16,
    /// `min.insync.replicas`.
    #[serde(default = "two", skip_serializing_if = "is_two")]
    pub min_insync_replicas: i32,
    /// Other topic configs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, String>,
}

/// What a file need not say, for it is so without it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> i32 {
    1
}

fn is_one(number: &i32) -> bool {
    *number == one()
}

fn two() -> i32 {
    2
}

fn is_two(number: &i32) -> bool {
    *number == two()
}

fn three() -> i16 {
    3
}

fn is_three(number: &i16) -> bool {
    *number == three()
}

/// Some clients that do the same thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What its clients do.
    pub kind: WorkloadKind,
    /// Which topic.
    pub topic: String,
    /// How many clients.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub clients: i32,
    /// Records a second by each producer.
    #[serde(default = "twenty", skip_serializing_if = "is_twenty")]
    pub rate_per_s: u32,
    /// Acknowledgements that a producer waits for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acks: Acks,
    /// Whether a producer waits for the fate of each record before it sends the next one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waits: bool,
    /// Whether a producer is idempotent.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub idempotent: bool,
    /// After how long a producer gives a record up; a minute without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_up: Option<Span>,
    /// After how many records a producer has written everything that it wanted to; without it, it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Of how many keys each record has one, and some delete theirs; without it records have no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u32>,
    /// How the members of a group share its partitions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub assigning: Assigning,
    /// When the members of a group commit: after they have processed what they read, or before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivers: Delivers,
}

impl Workload {
    /// The group whose members its clients are.
    pub fn group(&self) -> String {
        format!("readers-of-{}", self.topic)
    }
}

fn twenty() -> u32 {
    20
}

fn is_twenty(number: &u32) -> bool {
    *number == twenty()
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// The kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// Writes tagged records at a rate.
    Produce,
    /// Reads from the beginning, and goes on reading.
    Consume,
    /// Reads everything from the beginning, again and again.
    Reread,
    /// Reads as a member of a group, commits, leaves and comes back.
    Group,
    /// Deletes the topic and creates it again, over and over, and writes to it while it is there.
    Recreate,
    /// Moves the topic's partitions between brokers, takes moves back, has preferred leaders elected.
    Reassign,
    /// Changes the topic's `min.insync.replicas`.
    Reconfigure,
    /// Deletes the topic's oldest records.
    DeleteRecords,
    /// Adds partitions to the topic, one at a time.
    Grow,
    /// Limits what replication of the topic may send and fetch, now and then.
    Throttle,
}

impl WorkloadKind {
    /// Whether it is an operator, who leaves the cluster alone once the faults are over.
    pub fn is_operator(self) -> bool {
        match self {
            Self::Produce | Self::Consume | Self::Reread | Self::Group | Self::Recreate => false,
            Self::Reassign | Self::Reconfigure | Self::DeleteRecords | Self::Grow | Self::Throttle => true,
        }
    }
}

/// How the members of a group share its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assigning {
    /// All give up everything in each rebalance.
    #[default]
    Eager,
    /// Whoever keeps a partition reads on (KIP-429).
    Cooperative,
    /// The coordinator shares them (KIP-848).
    Coordinator,
    /// Some members come by KIP-848 and some by the classic protocol: the group goes over, and back.
    Mixed,
}

impl Assigning {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Eager, Self::Cooperative, Self::Coordinator, Self::Mixed];
}

/// How often the members of a group process a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivers {
    /// They commit what they have processed: whoever dies in between has it processed again.
    #[default]
    AtLeastOnce,
    /// They commit what they are about to process, and leave out whatever was not accepted.
    AtMostOnce,
}

/// A producer's `acks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// Every in-sync replica.
    #[default]
    #[serde(rename = "all")]
    All,
    /// The leader.
    #[serde(rename = "1")]
    One,
    /// Nobody.
    #[serde(rename = "0")]
    Zero,
}

/// One line of the timeline: a fault, a restart or an operation, at a time or when something is true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// At this virtual time since the start of the story.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// When this is first true: `high_watermark(orders-0) >= 400`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// This long after `when` was first true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// The fault's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The node that it hits: `1`, `leader of orders-0`, `replica 2 of orders-0`, `active controller`, `all`, `majority of
    /// controllers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The other node, for a fault between two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// How long the fault lasts; without it, until the end of the story or a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// How strong it is, for faults with a strength: a loss in percent, a delay in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<u64>,
    /// The API that the fault is about, as `AlterPartition`, for faults of single messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// What an operator does: `elect orders-0`, `reassign orders-0 to 1,2,4`, `set orders min.insync.replicas=2` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Starts a crashed node again: its id or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Repeats the step this often after `at`, as long as the story lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
}

/// What is expected of a run beyond the invariants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The cluster is whole again within this time after healing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settles_within: Option<Span>,
    /// At least so many records are acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acked_at_least: Option<u64>,
    /// At least so many records are processed again by members of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processed_again_at_least: Option<u64>,
    /// At least so many records are processed by no member of a group that reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out_at_least: Option<u64>,
    /// So many leader changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_changes: Option<Bounds>,
}

impl Expect {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A range, both ends included and optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// At least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// A duration as people write one: `10s`, `300ms`, `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    pub fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// In nanoseconds.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads `10s`, `300ms`, `2m`.
    ///
    /// # Errors
    /// Says what a duration looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|symbol: char| symbol.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let millis_a_unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            _ => return Err(format!("'{text}' is not a duration: write it as 300ms, 10s or 2m")),
        };
        let number: u64 =
            number.parse().map_err(|_| format!("'{text}' is not a duration: write it as 300ms, 10s or 2m"))?;
        Ok(Self::millis(number.saturating_mul(millis_a_unit)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario is plain data")
    }

    fn check(&self) -> Result<(), String> {
        let known = crate::faults::all();
        for step in &self.timeline {
            if let Some(fault) = &step.fault
                && !known.iter().any(|kind| kind.name == fault)
            {
                let names: Vec<_> = known.iter().map(|kind| kind.name).collect();
                return Err(format!("there is no fault '{fault}': it is one of {}", names.join(", ")));
            }
            if step.at.is_none() == step.when.is_none() {
                return Err("a step of the timeline has either 'at' or 'when'".into());
            }
            if let Some(condition) = &step.when {
                Condition::parse(condition)?;
            }
            let done = [&step.fault, &step.restart, &step.operation];
            if done.into_iter().flatten().count() != 1 {
                return Err("a step of the timeline has one of 'fault', 'restart' and 'operation'".into());
            }
            if step.after.is_some() && step.when.is_none() {
                return Err("'after' belongs to 'when'".into());
            }
            if let Some(operation) = &step.operation {
                Operation::parse(operation)?;
            }
            step.check_api()?;
        }
        if let Some(unknown) = self.pins.iter().find(|pin| crate::mutants::find(pin).is_none()) {
            return Err(format!("there is no mutant '{unknown}' to catch"));
        }
        let mut properties = metadata::config::Properties::new();
        for (name, value) in &self.cluster.properties {
            properties.set(name, value, metadata::config::Origin::File).map_err(|error| error.to_string())?;
        }
        for workload in &self.workloads {
            if !self.topics.iter().any(|topic| topic.name == workload.topic) {
                return Err(format!("a workload wants topic '{}', which the scenario does not have", workload.topic));
            }
        }
        Ok(())
    }
}

impl Step {
    /// A fault of single messages says of which API, by a name that there is; no other does.
    fn check_api(&self) -> Result<(), String> {
        let held = self.fault.as_deref().is_some_and(|fault| fault.starts_with("hold-"));
        match &self.api {
            Some(api) if held && hold::key(api).is_some() => Ok(()),
            Some(api) if held => Err(format!("there is no API '{api}'")),
            None if held => Err("a fault that holds messages back says of which 'api'".into()),
            Some(_) => Err("only a fault that holds messages back has an 'api'".into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        title = "An acknowledged record survives the loss of its leader"
        seeds = [1, 2]
        lasts = "60s"
        timeline = [
          { at = "10s", fault = "power-loss", node = "leader of orders-0", lasts = "8s" },
          { when = "high_watermark(orders-0) >= 400", fault = "isolate", node = "1", lasts = "5s" },
        ]
        [[topic]]
        name = "orders"
        [[workload]]
        kind = "produce"
        topic = "orders"
        acks = "all"
    "#;

    #[test]
    fn a_file_is_read_and_written_back() {
        let scenario = Scenario::parse(FILE).expect("a valid file");
        assert_eq!(scenario.lasts, Span::millis(60_000));
        assert_eq!(scenario.topics[0].replicas, 3);
        assert_eq!(Scenario::parse(&scenario.to_toml()).expect("its own output"), scenario);
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(Scenario::parse(&FILE.replace("acks", "ack")).is_err());
        assert!(
            Scenario::parse(&FILE.replace("power-loss", "meteor")).expect_err("no such fault").contains("power-loss")
        );
        assert!(Scenario::parse(&FILE.replace("60s", "60 seconds")).is_err());
    }
}
