//! `gregor group describe`: how far groups have come, who is in them, what they are doing.

use super::refused;
use crate::{
    consumer_groups::{ConsumerGroups, PartitionLag, by_topic},
    output::{self, Failure, Format},
};
use client::{
    PartitionName,
    admin::{GroupDescription, GroupState},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Shows how far groups have come in each partition, and who reads it
///
/// LAG is how many offsets lie between what is committed and the end of the log; where records were compacted or belong to
/// transactions, fewer records than that are unread. LAG-SECONDS is how old the first unread record is: the time from its
/// timestamp until now, 0 where nothing is unread. A group that keeps up stays below the time that its records take to be
/// read, however many there are; one that has stopped grows by a second each second. The record is fetched for it, and the
/// timestamp is its producer's unless the topic has message.timestamp.type=LogAppendTime. A dash is what is not known, or not
/// there: nothing committed, no leader, no member.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor group describe billing\n  gregor group describe --all --state\n  gregor group describe billing --members -o json\n\n  A copy of what is committed, for reset-offsets --from-file:\n  gregor group describe billing -o json | jq -r '.[] | select(.current_offset) | [.topic, .partition, .current_offset] | @csv'"
)]
pub struct Describe {
    /// Names
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Every group of consumers
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Who is in the group, and what each member reads
    #[arg(long, conflicts_with = "state")]
    members: bool,
    /// What the group is doing, and who coordinates it
    #[arg(long)]
    state: bool,
}

type Described = BTreeMap<String, GroupDescription>;

impl Describe {
    /// Runs the command.
    pub async fn run(self, groups: &ConsumerGroups, format: Format) -> Result<(), Failure> {
        let names: BTreeSet<String> = match self.all {
            true => {
                let listed = groups.admin.list_groups(&BTreeSet::new(), &BTreeSet::new()).await?;
                listed.into_iter().filter(|group| group.is_of_consumers()).map(|group| group.group_id).collect()
            }
            false => self.names.into_iter().collect(),
        };
        let (mut described, mut missing) = (Described::new(), Vec::new());
        for (group, outcome) in groups.admin.describe_groups(&names).await {
            match outcome {
                Ok(description) => drop(described.insert(group, description)),
                Err(error) => missing.push(refused(&group, &error)),
            }
        }
        let last = missing.pop();
        missing.iter().for_each(|failure| eprintln!("gregor: {failure}"));
        // Where nothing is found at all, a heading over nothing says nothing.
        if !described.is_empty() || last.is_none() {
            match (self.members, self.state) {
                (true, _) => print_members(&described, format)?,
                (_, true) => print_states(groups, &described, format).await?,
                _ => print_lags(groups, &described, format).await?,
            }
        }
        last.map_or(Ok(()), Err)
    }
}

async fn print_lags(groups: &ConsumerGroups, described: &Described, format: Format) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (group, mut lags) in groups.lags(described).await? {
        lags.sort_by(|one, other| one.partition.cmp(&other.partition));
        let ages = groups.ages(&lags).await;
        rows.extend(lags.iter().map(|lag| row(&group, lag, ages.get(&lag.partition))));
        match described[&group].state {
            GroupState::Empty => eprintln!("group {group} has no members"),
            GroupState::Stable | GroupState::Dead | GroupState::Other(_) => {}
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Assigning
            | GroupState::Reconciling => eprintln!("group {group} is being rebalanced"),
        }
    }
    let headings = [
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "LAG-SECONDS",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    output::print_values(format, &headings, &rows)
}

fn row(group: &str, lag: &PartitionLag, age: Option<&Duration>) -> Vec<Value> {
    let member = lag.member.as_ref();
    vec![
        group.into(),
        (&*lag.partition.topic).into(),
        lag.partition.partition.0.into(),
        lag.committed.as_ref().map(|committed| committed.offset.0).into(),
        lag.log_end.map(|end| end.0).into(),
        lag.lag().into(),
        age.map(|age| seconds(*age)).into(),
        member.map(|member| member.member_id.to_string()).into(),
        member.map(|member| member.client_host.trim_start_matches('/').to_owned()).into(),
        member.map(|member| member.client_id.clone()).into(),
    ]
}

/// Whole seconds, but for what is younger than ten of them.
fn seconds(age: Duration) -> Value {
    let tenths = age.as_millis() / 100;
    if tenths >= 100 || tenths == 0 && age.is_zero() { json!(age.as_secs()) } else { json!(tenths as f64 / 10.0) }
}

fn print_members(described: &Described, format: Format) -> Result<(), Failure> {
    let assignment = |partitions: &BTreeSet<PartitionName>| json!(by_topic(partitions));
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (group, description) in described {
        rows.extend(description.members.iter().map(|member| {
            vec![
                group.clone().into(),
                member.member_id.to_string().into(),
                member.instance_id.clone().into(),
                member.client_host.trim_start_matches('/').into(),
                member.client_id.clone().into(),
                member.member_epoch.map(|epoch| epoch.0).into(),
                member.assignment.len().into(),
                assignment(&member.assignment),
                member.target.as_ref().map(assignment).into(),
            ]
        }));
        if description.members.is_empty() {
            eprintln!("group {group} has no members");
        }
    }
    let headings = [
        "GROUP",
        "CONSUMER-ID",
        "INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "EPOCH",
        "PARTITIONS",
        "ASSIGNMENT",
        "TARGET-ASSIGNMENT",
    ];
    output::print_values(format, &headings, &rows)
}

async fn print_states(groups: &ConsumerGroups, described: &Described, format: Format) -> Result<(), Failure> {
    let cluster = groups.admin.describe_cluster().await?;
    let address = |group: &GroupDescription| {
        let broker = cluster.brokers.iter().find(|broker| broker.broker_id == group.coordinator);
        broker.map(|broker| format!("{}:{}", broker.host, broker.port))
    };
    let rows: Vec<Vec<Value>> = described
        .iter()
        .map(|(group, description)| {
            vec![
                group.clone().into(),
                description.group_type.to_string().into(),
                description.state.to_string().into(),
                description.members.len().into(),
                Some(description.assignor.clone()).filter(|name| !name.is_empty()).into(),
                description.group_epoch.map(|epoch| epoch.0).into(),
                description.target_epoch.map(|epoch| epoch.0).into(),
                description.coordinator.0.into(),
                address(description).into(),
            ]
        })
        .collect();
    let headings = [
        "GROUP",
        "TYPE",
        "STATE",
        "MEMBERS",
        "ASSIGNOR",
        "EPOCH",
        "TARGET-EPOCH",
        "COORDINATOR",
        "COORDINATOR-ADDRESS",
    ];
    output::print_values(format, &headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_is_told_in_tenths() {
        let told = |ms| seconds(Duration::from_millis(ms)).to_string();
        assert_eq!([told(0), told(40), told(1_250), told(9_999), told(61_900)], ["0", "0.0", "1.2", "9.9", "61"]);
    }
}
