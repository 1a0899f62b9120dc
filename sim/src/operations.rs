//! What an operator does to a cluster that runs, in a scenario's words: `elect orders-0`, `elect orders-0 uncleanly`, `reassign orders-0 to 1,2,4`,
//! `cancel orders-0`, `grow orders to 5`, `throttle orders to 2000`, `unthrottle orders`,
//! `set orders min.insync.replicas=2`, `delete orders-0 to 40`, `delete orders-0`.
//!
//! An operation is one call of gregor's own admin client. Whether the cluster did it is not judged here: the invariants see
//! what came of it.

use crate::event::{ClientEvent, NamedPartition};
use client::{
    PartitionName,
    admin::{Admin, ConfigChange, ConfigChanges, ConfigResource, ElectionType},
    cluster::Cluster,
};
use protocol::ids::{BrokerId, Offset, PartitionIndex};
use runtime::observe;
use std::{collections::BTreeMap, fmt, time::Duration};

/// How long an operator waits for an answer.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The preferred leader of a partition is to lead it.
    Elect(PartitionName),
    /// Any replica of a partition that nobody leads is to lead it, whatever it lacks.
    ElectUncleanly(PartitionName),
    /// A partition moves to these brokers.
    Reassign(PartitionName, Vec<BrokerId>),
    /// The move of a partition is taken back.
    Cancel(PartitionName),
    /// A topic gets more partitions: so many in all.
    Grow(String, i32),
    /// Replication of a topic is limited to so many bytes a second, or no longer.
    Throttle(String, Option<u64>),
    /// A topic's settings change.
    Set(String, Vec<(String, String)>),
    /// The records of a partition before this offset, or all that are committed, are deleted.
    Delete(PartitionName, Option<Offset>),
}

impl Operation {
    /// Reads a scenario's words.
    ///
    /// # Errors
    /// Says what an operation looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not an operation: write it as 'elect orders-0', 'elect orders-0 uncleanly', 'reassign orders-0 to 1,2,4', 'cancel orders-0', \
                 'grow orders to 5', 'throttle orders to 2000', 'unthrottle orders', \
                 'set orders min.insync.replicas=2', 'delete orders-0 to 40' or 'delete orders-0'"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let partition = |place: &str| {
            let (topic, index) = place.rsplit_once('-')?;
            Some(PartitionName::new(topic, PartitionIndex(index.parse().ok()?)))
        };
        let parsed = match &*words {
            ["elect", place] => partition(place).map(Self::Elect),
            ["elect", place, "uncleanly"] => partition(place).map(Self::ElectUncleanly),
            ["cancel", place] => partition(place).map(Self::Cancel),
            ["grow", topic, "to", count] => count.parse().ok().map(|count| Self::Grow((*topic).into(), count)),
            ["throttle", topic, "to", rate] => {
                rate.parse().ok().map(|rate| Self::Throttle((*topic).into(), Some(rate)))
            }
            ["unthrottle", topic] => Some(Self::Throttle((*topic).into(), None)),
            ["delete", place] => partition(place).map(|name| Self::Delete(name, None)),
            ["delete", place, "to", offset] => {
                partition(place).zip(offset.parse().ok()).map(|(name, offset)| Self::Delete(name, Some(Offset(offset))))
            }
            ["reassign", place, "to", brokers] => {
                let brokers: Option<Vec<BrokerId>> =
                    brokers.split(',').map(|id| id.parse().ok().map(BrokerId)).collect();
                partition(place).zip(brokers).map(|(name, brokers)| Self::Reassign(name, brokers))
            }
            ["set", topic, settings @ ..] if !settings.is_empty() => {
                let pair = |setting: &&str| setting.split_once('=').map(|(key, value)| (key.into(), value.into()));
                settings.iter().map(pair).collect::<Option<_>>().map(|pairs| Self::Set((*topic).into(), pairs))
            }
            _ => None,
        };
        parsed.ok_or_else(wrong)
    }

    /// Does it, once, and tells whether the cluster says that it did. That nobody answers, or that the cluster refuses, is
    /// what may happen.
    pub async fn carry_out(&self, cluster: &Cluster) -> bool {
        let admin = &Admin::new(cluster.clone(), ADMIN_TIMEOUT);
        match self {
            Self::Elect(name) => admin.elect_leaders(ElectionType::Preferred, std::slice::from_ref(name)).await.is_ok(),
            Self::ElectUncleanly(name) => {
                admin.elect_leaders(ElectionType::Unclean, std::slice::from_ref(name)).await.is_ok()
            }
            Self::Reassign(name, brokers) => {
                let target = BTreeMap::from([(name.clone(), Some(brokers.clone()))]);
                admin.reassign_partitions(&target).await.is_ok()
            }
            Self::Cancel(name) => admin.reassign_partitions(&BTreeMap::from([(name.clone(), None)])).await.is_ok(),
            Self::Grow(topic, count) => {
                admin.create_partitions(&BTreeMap::from([(topic.clone(), *count)]), false).await.is_ok()
            }
            Self::Set(topic, settings) => {
                let settings = settings.iter().map(|(key, value)| (key.clone(), ConfigChange::Set(value.clone())));
                alter(admin, [(ConfigResource::Topic(topic.clone()), settings.collect())]).await
            }
            Self::Throttle(topic, bytes_per_s) => throttle(admin, topic, *bytes_per_s).await,
            Self::Delete(name, before) => delete(admin, name, *before).await,
        }
    }
}

async fn alter(admin: &Admin, changes: impl IntoIterator<Item = (ConfigResource, ConfigChanges)>) -> bool {
    let altered = admin.alter_configs(&changes.into_iter().collect(), false).await;
    altered.is_ok_and(|outcomes| outcomes.values().all(Result::is_ok))
}

/// Which replicas are limited, and how much they may send and fetch (KIP-73).
async fn throttle(admin: &Admin, topic: &str, bytes_per_s: Option<u64>) -> bool {
    let change = |value: Option<String>| value.map_or(ConfigChange::Delete, ConfigChange::Set);
    let both = |end: &str, value: Option<String>| -> ConfigChanges {
        ["leader", "follower"].map(|who| (format!("{who}.replication.throttled.{end}"), change(value.clone()))).into()
    };
    let of_topic = (ConfigResource::Topic(topic.to_owned()), both("replicas", bytes_per_s.map(|_| "*".to_owned())));
    let of_all = (ConfigResource::Broker(None), both("rate", bytes_per_s.map(|rate| rate.to_string())));
    alter(admin, [of_topic, of_all]).await
}

async fn delete(admin: &Admin, name: &PartitionName, before: Option<Offset>) -> bool {
    let of = NamedPartition { topic: name.topic.to_string(), partition: name.partition };
    observe::emit(|| ClientEvent::DeletionInvoked { of: of.clone(), before });
    let wanted = BTreeMap::from([(name.clone(), before)]);
    let deleted = admin.delete_records(&wanted).await.unwrap_or_default();
    let Some(Ok(low_watermark)) = deleted.get(name) else { return false };
    observe::emit(|| ClientEvent::DeletionAcknowledged { of, low_watermark: *low_watermark });
    true
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elect(name) => write!(f, "elect {name}"),
            Self::ElectUncleanly(name) => write!(f, "elect {name} uncleanly"),
            Self::Cancel(name) => write!(f, "cancel {name}"),
            Self::Grow(topic, count) => write!(f, "grow {topic} to {count}"),
            Self::Throttle(topic, Some(rate)) => write!(f, "throttle {topic} to {rate}"),
            Self::Throttle(topic, None) => write!(f, "unthrottle {topic}"),
            Self::Reassign(name, brokers) => {
                let brokers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
                write!(f, "reassign {name} to {}", brokers.join(","))
            }
            Self::Set(topic, settings) => {
                write!(f, "set {topic}")?;
                settings.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
            }
            Self::Delete(name, None) => write!(f, "delete {name}"),
            Self::Delete(name, Some(before)) => write!(f, "delete {name} to {before}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_as_they_are_written_or_refused() {
        for words in [
            "elect my-topic-3",
            "elect orders-0 uncleanly",
            "reassign orders-0 to 1,2,4",
            "cancel orders-0",
            "grow orders to 5",
            "throttle orders to 2000",
            "unthrottle orders",
            "set orders min.insync.replicas=2 retention.ms=100",
            "delete orders-0 to 40",
            "delete orders-0",
        ] {
            assert_eq!(Operation::parse(words).expect("an operation").to_string(), words);
        }
        for wrong in [
            "",
            "elect",
            "elect orders",
            "reassign orders-0 to",
            "reassign orders-0 to a,b",
            "set orders",
            "set orders a",
            "grow orders to many",
        ] {
            assert!(Operation::parse(wrong).is_err(), "{wrong}");
        }
    }
}
