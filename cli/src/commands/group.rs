//! `gregor group`: what `kafka-consumer-groups` is used for.

mod describe;
mod reset;

use super::Bootstrap;
use crate::{
    consumer_groups::{ConsumerGroups, TopicScope},
    output::{self, Failure, Format},
};
use clap::Subcommand;
use client::{
    PartitionName,
    admin::{GroupState, GroupType},
};
use protocol::error_code::ErrorCode;
use runtime::task::block_on_real;
use serde_json::Value;
use std::{collections::BTreeSet, process::ExitCode};

/// Lists, describes and deletes consumer groups, and puts them where they are to go on
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor group list --state stable,empty\n  gregor group describe billing\n  gregor group reset-offsets billing --topic orders --to-earliest --execute\n  gregor group delete billing"
)]
pub struct Group {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// How to print what was found
    #[arg(long, short, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists groups: each with its type, what its members are to each other, and what it is doing
    #[command(
        after_help = "Examples:\n  gregor group list\n  gregor group list --state stable --type consumer -o json"
    )]
    List {
        /// Only groups that are doing this
        #[arg(long, value_name = "STATE,..", value_delimiter = ',', value_parser = state)]
        state: Vec<GroupState>,
        /// Only groups of this type: classic, consumer (KIP-848), share or streams
        #[arg(long = "type", value_name = "TYPE,..", value_delimiter = ',', value_parser = kind)]
        types: Vec<GroupType>,
    },
    Describe(describe::Describe),
    ResetOffsets(reset::ResetOffsets),
    /// Deletes groups without members, and everything that they have committed
    #[command(after_help = "Examples:\n  gregor group delete billing\n  gregor group delete billing reports")]
    Delete {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Forgets what a group has committed of topics that none of its members reads
    #[command(
        after_help = "Examples:\n  gregor group delete-offsets billing --topic orders\n  gregor group delete-offsets billing --topic orders:0,1"
    )]
    DeleteOffsets {
        /// The group
        group: String,
        /// A topic, or some of its partitions; may stand more than once
        #[arg(long = "topic", required = true, value_name = "TOPIC[:PARTITION,..]", value_parser = TopicScope::parse)]
        topics: Vec<TopicScope>,
    },
}

fn state(text: &str) -> Result<GroupState, String> {
    match GroupState::from_name(text.trim()) {
        GroupState::Other(name) => {
            let known: Vec<String> = GroupState::known().map(|state| state.to_string()).collect();
            Err(format!("no group is ever {name}: write {}", known.join(", ")))
        }
        known => Ok(known),
    }
}

fn kind(text: &str) -> Result<GroupType, String> {
    match GroupType::from_name(text.trim()) {
        GroupType::Other(name) if !["share", "streams"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
            Err(format!("no group is of type {name}: write classic, consumer, share or streams"))
        }
        known => Ok(known),
    }
}

impl Group {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let options = self.bootstrap.options()?;
        block_on_real(async move {
            let groups = ConsumerGroups::new(options, super::ADMIN_TIMEOUT);
            match self.command {
                Command::List { state, types } => list(&groups, state, types, self.output).await,
                Command::Describe(describe) => Box::pin(describe.run(&groups, self.output)).await,
                Command::ResetOffsets(reset) => Box::pin(reset.run(&groups, self.output)).await,
                Command::Delete { names } => delete(&groups, names).await,
                Command::DeleteOffsets { group, topics } => delete_offsets(&groups, &group, &topics).await,
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(
    groups: &ConsumerGroups,
    states: Vec<GroupState>,
    types: Vec<GroupType>,
    format: Format,
) -> Result<(), Failure> {
    let listed = groups.admin.list_groups(&states.into_iter().collect(), &types.into_iter().collect()).await?;
    let rows: Vec<Vec<Value>> = listed
        .into_iter()
        .map(|group| {
            vec![
                group.group_id.into(),
                group.group_type.map(|kind| kind.to_string()).into(),
                Some(group.protocol_type).filter(|name| !name.is_empty()).into(),
                group.state.map(|state| state.to_string()).into(),
            ]
        })
        .collect();
    output::print_values(format, &["GROUP", "TYPE", "PROTOCOL-TYPE", "STATE"], &rows)
}

/// What a coordinator has against one group, in a line.
fn refused(group: &str, error: &client::ClientError) -> Failure {
    Failure::new(match error.code() {
        Some(ErrorCode::GroupIdNotFound) => format!("there is no group {group}"),
        Some(ErrorCode::NonEmptyGroup) => {
            format!("group {group} has members: stop them first (gregor group describe {group} --members)")
        }
        _ => format!("group {group}: {error}"),
    })
}

/// Does what it can, tells of what went wrong, and fails with the last of that.
fn all_of(outcomes: impl IntoIterator<Item = Result<String, Failure>>) -> Result<(), Failure> {
    let mut last = Ok(());
    for outcome in outcomes {
        match outcome {
            Ok(done) => println!("{done}"),
            Err(failure) => {
                if let Err(before) = std::mem::replace(&mut last, Err(failure)) {
                    eprintln!("gregor: {before}");
                }
            }
        }
    }
    last
}

async fn delete(groups: &ConsumerGroups, names: Vec<String>) -> Result<(), Failure> {
    let outcomes = groups.admin.delete_groups(&names.into_iter().collect()).await;
    all_of(outcomes.into_iter().map(|(group, outcome)| match outcome {
        Ok(()) => Ok(format!("deleted group {group}")),
        Err(error) => Err(refused(&group, &error)),
    }))
}

async fn delete_offsets(groups: &ConsumerGroups, group: &str, topics: &[TopicScope]) -> Result<(), Failure> {
    let mut committed = groups.admin.group_offsets(&BTreeSet::from([group.to_owned()])).await;
    let committed = committed.remove(group).transpose().map_err(|error| refused(group, &error))?.unwrap_or_default();
    let mut partitions: BTreeSet<PartitionName> = BTreeSet::new();
    for topic in topics {
        let meant = topic.of(committed.keys());
        let unknown = meant.iter().find(|partition| !committed.contains_key(partition));
        if let Some(partition) = unknown {
            return Err(Failure::new(format!("group {group} has committed nothing of {partition}")));
        }
        if meant.is_empty() {
            return Err(Failure::new(format!("group {group} has committed nothing of topic {}", topic.topic)));
        }
        partitions.extend(meant);
    }
    let outcomes =
        groups.admin.delete_group_offsets(group, &partitions).await.map_err(|error| refused(group, &error))?;
    all_of(outcomes.into_iter().map(|(partition, outcome)| match outcome {
        Ok(()) => Ok(format!("group {group} has forgotten {partition}")),
        Err(error) if error.code() == Some(ErrorCode::GroupSubscribedToTopic) => {
            Err(Failure::new(format!("{partition}: a member of group {group} reads it: stop that first")))
        }
        Err(error) => Err(Failure::new(format!("{partition}: {error}"))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_types_are_known_or_refused() {
        assert_eq!(state("stable"), Ok(GroupState::Stable));
        assert!(state("happy").is_err_and(|said| said.contains("no group is ever happy: write Empty, ")));
        assert_eq!(kind("Classic"), Ok(GroupType::Classic));
        assert_eq!(kind("share"), Ok(GroupType::Other("share".to_owned())));
        assert!(kind("modern").is_err());
    }
}
