//! Pure. Which partitions are meant: topics by name, some of them with their partitions, or all that a group has read.

use client::PartitionName;
use protocol::ids::PartitionIndex;
use std::collections::{BTreeMap, BTreeSet};

/// A topic, or some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicScope {
    /// The topic.
    pub topic: String,
    /// Which of its partitions; all if none are named.
    pub partitions: BTreeSet<PartitionIndex>,
}

impl TopicScope {
    /// Reads `orders`, or `orders:0,2`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not TOPIC or TOPIC:PARTITION,..");
        let (topic, list) = text.split_once(':').unwrap_or((text, ""));
        if topic.is_empty() || text.ends_with(':') {
            return Err(wrong());
        }
        let index = |part: &str| part.trim().parse().ok().filter(|index| *index >= 0).map(PartitionIndex);
        let listed = list.split(',').filter(|_| !list.is_empty()).map(index);
        let partitions = listed.collect::<Option<BTreeSet<_>>>().ok_or_else(wrong)?;
        Ok(Self { topic: topic.to_owned(), partitions })
    }

    /// The partitions that are meant, of all those that are there; those that are named are meant in any case.
    pub fn of<'a>(&self, there: impl Iterator<Item = &'a PartitionName>) -> BTreeSet<PartitionName> {
        if self.partitions.is_empty() {
            return there.filter(|partition| *partition.topic == *self.topic).cloned().collect();
        }
        self.partitions.iter().map(|index| PartitionName::new(&self.topic, *index)).collect()
    }
}

/// Whose offsets are to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that the group has committed.
    Committed,
    /// These topics.
    Topics(Vec<TopicScope>),
    /// Those that a plan names.
    Plan,
}

/// Partitions by topic, for people: `orders:0,1;payments:2`.
pub fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a PartitionName>) -> BTreeMap<&'a str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stands_alone_or_with_its_partitions() {
        let indexes = |text: &str| {
            TopicScope::parse(text).map(|scope| scope.partitions.iter().map(|index| index.0).collect::<Vec<_>>())
        };
        assert_eq!(indexes("orders"), Ok(vec![]));
        assert_eq!(indexes("orders:2,0"), Ok(vec![0, 2]));
        for wrong in ["", ":1", "orders:", "orders:x", "orders:-1", "orders:1,"] {
            assert!(indexes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_partitions_those_that_are_there_are_meant() {
        let name = |topic: &str, index| PartitionName::new(topic, PartitionIndex(index));
        let there = [name("a", 0), name("a", 1), name("b", 0)];
        let meant = |text: &str| TopicScope::parse(text).expect("valid").of(there.iter());
        assert_eq!(meant("a"), [name("a", 0), name("a", 1)].into());
        assert_eq!(meant("a:7"), [name("a", 7)].into());
        assert_eq!(meant("c"), BTreeSet::new());
    }
}
