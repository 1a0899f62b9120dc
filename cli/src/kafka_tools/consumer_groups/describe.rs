//! `kafka-consumer-groups --describe`: offsets, members or states, in Kafka's columns.

use super::{COLUMN, MISSING, chosen, failed, line, width};
use crate::{
    consumer_groups::{ConsumerGroups, PartitionLag, by_topic},
    kafka_tools::options::Options,
    output::Failure,
};
use client::{
    PartitionName,
    admin::{ClusterDescription, GroupDescription, GroupState, MemberDescription},
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn run(groups: &ConsumerGroups, options: &Options) -> Result<(), Failure> {
    let names = chosen(groups, options).await?;
    let mut described = BTreeMap::new();
    for (group, outcome) in groups.admin.describe_groups(&names).await {
        described.insert(group, outcome.map_err(|error| failed(&error))?);
    }
    let is_verbose = options.has("--verbose");
    if options.has("--members") {
        for (group, description) in &described {
            warn(group, description);
            print!("{}", members(group, &description.members, description, is_verbose));
        }
    } else if options.has("--state") {
        let cluster = groups.admin.describe_cluster().await.map_err(|error| failed(&error))?;
        for (group, description) in &described {
            warn(group, description);
            print!("{}", state(group, description, &cluster, is_verbose));
        }
    } else {
        for (group, rows) in groups.lags(&described).await.map_err(|error| failed(&error))? {
            warn(&group, &described[&group]);
            print!("{}", offsets(&group, &rows, is_verbose));
        }
    }
    Ok(())
}

/// What is to be said of a group before it is shown (`shouldPrintMemberState`).
fn warn(group: &str, description: &GroupDescription) {
    match description.state {
        GroupState::Empty => eprintln!("\nConsumer group '{group}' has no active members."),
        GroupState::PreparingRebalance
        | GroupState::CompletingRebalance
        | GroupState::Assigning
        | GroupState::Reconciling => eprintln!("\nWarning: Consumer group '{group}' is rebalancing."),
        GroupState::Stable | GroupState::Dead | GroupState::Other(_) => {}
    }
}

fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// Lines under a heading, each as wide as its column.
fn table(headings: &[&str], widths: &[usize], rows: &[Vec<String>]) -> String {
    let mut text = format!("\n{}\n", line(headings, widths));
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        text += &format!("{}\n", line(&cells, widths));
    }
    text
}

/// The width of a column of some rows.
fn column(rows: &[Vec<String>], at: usize, least: usize) -> usize {
    width(rows.iter().map(|row| row[at].as_str()), least)
}

fn offsets(group: &str, rows: &[PartitionLag], is_verbose: bool) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let committed = row.committed.as_ref();
            let member = row.member.as_ref();
            let mut cells =
                vec![group.to_owned(), row.partition.topic.to_string(), row.partition.partition.to_string()];
            if is_verbose {
                cells.push(known(committed.and_then(|committed| committed.leader_epoch)));
            }
            cells.extend([
                known(committed.map(|committed| committed.offset)),
                known(row.log_end),
                known(row.lag()),
                known(member.map(|member| &member.member_id)),
                known(member.map(|member| &member.client_host)),
                known(member.map(|member| &member.client_id)),
            ]);
            cells
        })
        .collect();
    let mut headings = vec!["GROUP", "TOPIC", "PARTITION"];
    let mut widths = vec![column(&rows, 0, COLUMN), column(&rows, 1, COLUMN), 10];
    if is_verbose {
        headings.push("LEADER-EPOCH");
        widths.push(COLUMN);
    }
    let at = headings.len() + 3;
    headings.extend(["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]);
    widths.extend([COLUMN, COLUMN, COLUMN, column(&rows, at, COLUMN), column(&rows, at + 1, COLUMN)]);
    table(&headings, &widths, &rows)
}

/// `orders:0,1;payments:2`, or a dash.
fn assignment(partitions: &BTreeSet<PartitionName>) -> String {
    let topic = |(topic, indexes): (&str, Vec<i32>)| {
        let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
        format!("{topic}:{}", indexes.join(","))
    };
    let topics: Vec<String> = by_topic(partitions).into_iter().map(topic).collect();
    if topics.is_empty() { MISSING.to_owned() } else { topics.join(";") }
}

fn members(group: &str, members: &[MemberDescription], of: &GroupDescription, is_verbose: bool) -> String {
    let has_instances = members.iter().any(|member| member.instance_id.is_some());
    let speaks = |upgraded| members.iter().any(|member| member.is_upgraded == Some(upgraded));
    let is_migrating = speaks(true) && speaks(false);
    let rows: Vec<Vec<String>> = members
        .iter()
        .map(|member| {
            let mut cells = vec![group.to_owned(), member.member_id.to_string()];
            cells.extend(has_instances.then(|| member.instance_id.clone().unwrap_or_default()));
            cells.extend([member.client_host.clone(), member.client_id.clone()]);
            cells.push(member.assignment.len().to_string());
            if is_verbose {
                cells.extend([
                    known(member.member_epoch),
                    assignment(&member.assignment),
                    known(of.target_epoch),
                    member.target.as_ref().map_or_else(|| MISSING.to_owned(), assignment),
                ]);
                cells.extend(is_migrating.then(|| known(member.is_upgraded)));
            }
            cells
        })
        .collect();
    let mut headings = vec!["GROUP", "CONSUMER-ID"];
    headings.extend(has_instances.then_some("GROUP-INSTANCE-ID"));
    headings.extend(["HOST", "CLIENT-ID", "#PARTITIONS"]);
    if is_verbose {
        headings.extend(["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]);
        headings.extend(is_migrating.then_some("UPGRADED"));
    }
    let least = |heading: &str| match heading {
        "GROUP-INSTANCE-ID" => 17,
        "CURRENT-ASSIGNMENT" | "TARGET-ASSIGNMENT" => 20,
        "UPGRADED" => 0,
        _ => COLUMN,
    };
    let widths: Vec<usize> =
        headings.iter().enumerate().map(|(at, heading)| column(&rows, at, least(heading))).collect();
    table(&headings, &widths, &rows)
}

fn state(group: &str, of: &GroupDescription, cluster: &ClusterDescription, is_verbose: bool) -> String {
    let broker = cluster.brokers.iter().find(|broker| broker.broker_id == of.coordinator);
    let address = broker.map_or_else(|| MISSING.to_owned(), |broker| format!("{}:{}", broker.host, broker.port));
    let coordinator = format!("{address}  ({})", of.coordinator);
    let assignor = if of.assignor.is_empty() { MISSING } else { &of.assignor };
    let mut row = vec![group.to_owned(), coordinator, assignor.to_owned(), of.state.to_string()];
    let mut headings = vec!["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"];
    let mut widths = vec![width([group], COLUMN), width([row[1].as_str()], 25), 20, 20];
    if is_verbose {
        row.extend([known(of.group_epoch), known(of.target_epoch)]);
        headings.extend(["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        widths.extend([COLUMN, 25]);
    }
    row.push(of.members.len().to_string());
    headings.push("#MEMBERS");
    table(&headings, &widths, &[row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{OffsetAndMetadata, admin::GroupType, consumer::MemberId};
    use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex};

    fn orders(index: i32) -> PartitionName {
        PartitionName::new("orders", PartitionIndex(index))
    }

    fn member() -> MemberDescription {
        MemberDescription {
            member_id: MemberId::from("gregor-1"),
            instance_id: None,
            client_id: "gregor".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            assignment: [orders(0), orders(1)].into(),
            target: None,
            member_epoch: None,
            is_upgraded: None,
        }
    }

    fn group() -> GroupDescription {
        GroupDescription {
            group_type: GroupType::Classic,
            state: GroupState::Stable,
            assignor: "range".to_owned(),
            coordinator: BrokerId(1),
            group_epoch: None,
            target_epoch: None,
            members: vec![member()],
        }
    }

    #[test]
    fn offsets_stand_in_kafkas_columns() {
        let committed =
            OffsetAndMetadata { offset: Offset(3), leader_epoch: Some(LeaderEpoch(4)), metadata: String::new() };
        let rows = [
            PartitionLag {
                partition: orders(0),
                committed: Some(committed),
                log_end: Some(Offset(5)),
                member: Some(member()),
            },
            PartitionLag { partition: orders(1), committed: None, log_end: None, member: None },
        ];
        let expected = "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             \
                        CONSUMER-ID     HOST            CLIENT-ID\n\
                        billing         orders          0          3               5               2               \
                        gregor-1        /127.0.0.1      gregor\n\
                        billing         orders          1          -               -               -               \
                        -               -               -\n";
        assert_eq!(offsets("billing", &rows, false), expected);
        assert!(offsets("billing", &rows, true).contains(" PARTITION  LEADER-EPOCH    CURRENT-OFFSET  "));
        assert_eq!(offsets("billing", &[], false), "");
    }

    #[test]
    fn members_are_told_apart_where_they_go_over() {
        let plain = members("billing", &[member()], &group(), true);
        assert!(plain.contains("CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT"), "{plain}");
        assert!(plain.contains(" -               orders:0,1           -               -"), "{plain}");
        assert!(!plain.contains("UPGRADED") && !plain.contains("GROUP-INSTANCE-ID"), "{plain}");
        let upgraded = MemberDescription { is_upgraded: Some(true), instance_id: Some("one".to_owned()), ..member() };
        let old = MemberDescription { is_upgraded: Some(false), ..member() };
        let both = members("billing", &[old, upgraded], &group(), true);
        assert!(both.contains("UPGRADED") && both.contains("GROUP-INSTANCE-ID"), "{both}");
    }
}
