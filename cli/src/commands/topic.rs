//! `gregor topic`: what `kafka-topics` is mostly used for.

use super::Bootstrap;
use crate::output::{self, Failure, Format};
use clap::Subcommand;
use client::{
    PartitionName,
    admin::{Admin, NewTopic},
    cluster::Cluster,
};
use protocol::ids::{BrokerId, Offset, PartitionIndex};
use runtime::task::block_on_real;
use std::{collections::BTreeMap, process::ExitCode};

/// Creates, lists, describes, alters and deletes topics
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor topic create orders -p 3 -r 3 --config min.insync.replicas=2\n  gregor topic describe orders -o json\n  gregor topic alter orders --partitions 6\n  gregor topic delete-records orders --partition 0 --before-offset 1000"
)]
pub struct Topic {
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
    /// Creates a topic
    Create {
        /// Its name
        name: String,
        /// Its partitions; the broker's num.partitions if not said
        #[arg(long, short, default_value_t = -1)]
        partitions: i32,
        /// Replicas of each; the broker's default.replication.factor if not said
        #[arg(long, short, default_value_t = -1)]
        replicas: i16,
        /// A topic config
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
    },
    /// Lists topics
    List,
    /// Shows partitions, leaders and in-sync replicas, of all topics without a name
    Describe {
        /// Names
        names: Vec<String>,
    },
    /// Gives a topic more partitions: never fewer, and records stay in theirs
    Alter {
        /// Its name
        name: String,
        /// How many partitions it is to have
        #[arg(long, short)]
        partitions: i32,
    },
    /// Deletes the records of a partition before an offset
    DeleteRecords {
        /// The topic
        name: String,
        /// Which of its partitions
        #[arg(long, short)]
        partition: i32,
        /// The first offset that stays; -1 for everything that is committed
        #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
        before_offset: i64,
    },
    /// Deletes topics, and everything in them
    Delete {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
    Ok((key.trim().into(), value.trim().into()))
}

impl Topic {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        block_on_real(async move {
            let admin = Admin::new(Cluster::new(self.bootstrap.options()?), super::ADMIN_TIMEOUT);
            match self.command {
                Command::Create { name, partitions, replicas, configs } => {
                    let configs: BTreeMap<String, String> = configs.into_iter().collect();
                    let topic = NewTopic { configs, ..NewTopic::new(&name, partitions, replicas) };
                    for (name, outcome) in admin.create_topics(&[topic], false).await? {
                        outcome.map_err(|error| Failure::new(format!("topic {name}: {error}")))?;
                        println!("created topic {name}");
                    }
                }
                Command::List => {
                    let rows: Vec<Vec<String>> =
                        admin.list_topics().await?.into_iter().map(|topic| vec![topic.name]).collect();
                    output::print_rows(self.output, &["TOPIC"], &rows)?;
                }
                Command::Describe { names } => describe_partitions(&admin, &names, self.output).await?,
                Command::Alter { name, partitions } => {
                    for (name, outcome) in admin.create_partitions(&BTreeMap::from([(name, partitions)]), false).await?
                    {
                        outcome.map_err(|error| Failure::new(format!("topic {name}: {error}")))?;
                        println!("topic {name} has {partitions} partitions");
                    }
                }
                Command::DeleteRecords { name, partition, before_offset } => {
                    let before = (before_offset != -1).then_some(Offset(before_offset));
                    let wanted = BTreeMap::from([(PartitionName::new(&name, PartitionIndex(partition)), before)]);
                    for (partition, outcome) in admin.delete_records(&wanted).await? {
                        let begins =
                            outcome.map_err(|error| Failure::new(format!("partition {partition}: {error}")))?;
                        println!("partition {partition} begins at offset {begins}");
                    }
                }
                Command::Delete { names } => {
                    for (name, outcome) in admin.delete_topics(&names).await? {
                        outcome.map_err(|error| Failure::new(format!("topic {name}: {error}")))?;
                        println!("deleted topic {name}");
                    }
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the partitions of topics, of all topics if none is named.
pub async fn describe_partitions(admin: &Admin, names: &[String], format: Format) -> Result<(), Failure> {
    let names: Vec<String> = if names.is_empty() {
        admin.list_topics().await?.into_iter().map(|topic| topic.name).collect()
    } else {
        names.to_vec()
    };
    let mut rows = Vec::new();
    for (name, outcome) in admin.describe_topics(&names).await? {
        let topic = outcome.map_err(|error| Failure::new(format!("topic {name}: {error}")))?;
        for partition in topic.partitions {
            rows.push(vec![
                name.clone(),
                partition.partition.to_string(),
                partition.leader.map_or_else(|| "none".into(), |leader| leader.to_string()),
                partition.leader_epoch.to_string(),
                list(&partition.replicas),
                list(&partition.isr),
            ]);
        }
    }
    output::print_rows(format, &["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR"], &rows)
}

fn list(brokers: &[BrokerId]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
