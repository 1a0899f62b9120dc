//! Consumer groups as an operator sees them: how far they have come, and where they are to go on.
//!
//! It prints nothing, and has no words for what goes wrong but one's own language's. Driven by `commands::group` and
//! `kafka_tools::consumer_groups`.

mod lag;
pub mod moment;
mod resetting;
mod scope;

pub use lag::PartitionLag;
pub use resetting::{Correction, Goal, Reset, ResetError, parse_plan};
pub use scope::{Scope, TopicScope, by_topic};

use client::{
    ClientError, PartitionName,
    admin::Admin,
    cluster::{Cluster, ClusterOptions},
    consumer::{Consumer, ConsumerOptions},
};
use protocol::error_code::ErrorCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long the records that nobody has read may be looked for.
const AGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The groups of a cluster.
pub struct ConsumerGroups {
    /// Asks coordinators and brokers.
    pub admin: Admin,
    /// Asks for the ages of records, for which nobody waits long.
    ages: Admin,
    /// Asks leaders where logs begin and end.
    consumer: Consumer,
    timeout: Duration,
}

impl ConsumerGroups {
    /// The groups of this cluster; each question about them takes `timeout` at most.
    pub fn new(options: ClusterOptions, timeout: Duration) -> Self {
        let cluster = Cluster::new(options);
        Self {
            admin: Admin::new(cluster.clone(), timeout),
            ages: Admin::new(cluster.clone(), timeout.min(AGE_TIMEOUT)),
            consumer: Consumer::new(cluster, ConsumerOptions::default()),
            timeout,
        }
    }

    /// Every partition of these topics, and whether somebody leads it. A topic that is not there has none.
    async fn partitions_of(&self, topics: BTreeSet<&str>) -> Result<BTreeMap<PartitionName, bool>, ClientError> {
        let topics: Vec<String> = topics.into_iter().map(String::from).collect();
        let mut found = BTreeMap::new();
        // Nothing named is everything to a broker.
        if topics.is_empty() {
            return Ok(found);
        }
        for (name, described) in self.admin.describe_topics(&topics).await? {
            match described {
                Ok(topic) => found.extend(
                    topic
                        .partitions
                        .iter()
                        .map(|partition| (PartitionName::new(&name, partition.partition), partition.leader.is_some())),
                ),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
