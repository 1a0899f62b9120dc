//! Pure. What a group has to know of topics.

use crate::ids::TopicName;
use protocol::ids::{MetadataOffset, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// A topic, as far as it matters to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: usize,
}

/// A regular expression that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRegex {
    /// What is wrong with it.
    pub reason: String,
}

/// The topics of the cluster, at one moment.
pub trait Topics {
    /// The topic of that name, whether or not the client may describe it: an answer that depends on who asks would change the
    /// group with each heartbeat.
    fn topic(&self, name: &TopicName) -> Option<Topic>;

    /// The name of a topic.
    fn name(&self, id: TopicId) -> Option<TopicName>;

    /// The topics whose whole name matches, of those that the client may describe (`TopicRegexResolver`).
    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, InvalidRegex>;

    /// Which moment it is.
    fn version(&self) -> MetadataOffset;

    /// The last moment at which a topic was created (`lastMetadataImageWithNewTopics`).
    fn last_created_at(&self) -> MetadataOffset;
}

/// What is known of these topics, leaving out those that do not exist.
pub(super) fn known<'a>(
    topics: &dyn Topics,
    names: impl IntoIterator<Item = &'a TopicName>,
) -> BTreeMap<TopicName, Topic> {
    names.into_iter().filter_map(|name| Some((name.clone(), topics.topic(name)?))).collect()
}

/// A hash of all that an assignment takes from these topics: zero where none exists.
///
/// As `Utils.computeGroupHash` it is compared only with what this function said before, so it need not be Kafka's hash: it is
/// FNV-1a over names, ids and partition counts, the same on every machine and in every release. Racks, which Kafka hashes too,
/// are left out, since no assignor looks at them. A group whose records Kafka wrote is assigned once more, and that is all.
pub(super) fn metadata_hash(topics: &BTreeMap<TopicName, Topic>) -> i64 {
    if topics.is_empty() {
        return 0;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, topic) in topics {
        feed(&(name.len() as u64).to_be_bytes());
        feed(name.as_bytes());
        feed(topic.id.0.as_bytes());
        feed(&(topic.partitions as u64).to_be_bytes());
    }
    // Zero is taken.
    if hash == 0 { 1 } else { i64::from_be_bytes(hash.to_be_bytes()) }
}
