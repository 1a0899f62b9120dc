//! Pure. What consumers of a group tell each other through the coordinator, in Kafka's bytes: subscriptions and assignments.
//!
//! Both are a version and then the message of that version (`ConsumerProtocol`). It never decides who reads what: `assignors`
//! does. Driven by `membership` and `assignors`.

use super::membership::Generation;
use crate::PartitionName;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::ids::PartitionIndex;
use protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, Decodable, Encodable, StrBytes, TopicName, topic_name,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The highest version of both messages; a later one is read as if it were this one, for fields are only ever added.
const HIGHEST: i16 = 3;

/// The kind of group that consumers make (`ConsumerProtocol.PROTOCOL_TYPE`).
pub const PROTOCOL_TYPE: &str = "consumer";

/// What a member would read, and what it has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it wants.
    pub topics: BTreeSet<Arc<str>>,
    /// What its assignor has to say beside.
    pub user_data: Option<Bytes>,
    /// The partitions that it has not given up (from version 1).
    pub owned: BTreeSet<PartitionName>,
    /// The generation in which it got them (from version 2); nothing when it is in none.
    pub generation: Option<Generation>,
    /// The rack that it stands in (from version 3).
    pub rack: Option<Arc<str>>,
}

/// Why bytes are not what a consumer says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumerProtocolError {
    /// They end too soon, or have counts that cannot be.
    #[error("not a message of the consumer protocol: {0}")]
    Undecodable(String),
    /// A version below zero.
    #[error("version {0} of the consumer protocol does not exist")]
    BadVersion(i16),
}

/// The bytes of a subscription, as `ConsumerProtocol.serializeSubscription` makes them: topics and partitions in order.
pub fn encode_subscription(subscription: &Subscription) -> Bytes {
    let owned = by_topic(&subscription.owned)
        .into_iter()
        .map(|(topic, partitions)| OwnedTopic::default().with_topic(topic).with_partitions(partitions));
    let topics = subscription.topics.iter().map(|topic| StrBytes::from_string(topic.to_string()));
    let message = ConsumerProtocolSubscription::default()
        .with_topics(topics.collect())
        .with_user_data(subscription.user_data.clone())
        .with_owned_partitions(owned.collect())
        .with_generation_id(subscription.generation.map_or(Generation::NONE.0, |generation| generation.0))
        .with_rack_id(subscription.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string())));
    prefixed(&message)
}

/// Reads a subscription of any version.
///
/// # Errors
/// [`ConsumerProtocolError`], for what another member may send and no coordinator checks.
pub fn decode_subscription(bytes: &Bytes) -> Result<Subscription, ConsumerProtocolError> {
    let message: ConsumerProtocolSubscription = decoded(bytes)?;
    let owned = message.owned_partitions.iter().flat_map(|topic| partitions_of(&topic.topic, &topic.partitions));
    Ok(Subscription {
        topics: message.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
        user_data: message.user_data.clone(),
        owned: owned.collect(),
        generation: (message.generation_id >= 0).then_some(Generation(message.generation_id)),
        rack: message.rack_id.as_ref().filter(|rack| !rack.is_empty()).map(|rack| Arc::from(rack.as_str())),
    })
}

/// The bytes of an assignment, as `ConsumerProtocol.serializeAssignment` makes them.
pub fn encode_assignment(partitions: &BTreeSet<PartitionName>) -> Bytes {
    let topics = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| AssignedTopic::default().with_topic(topic).with_partitions(partitions));
    prefixed(&ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect()))
}

/// Reads an assignment of any version. No bytes are no partitions: the coordinator has none for a member that the leader
/// left out.
///
/// # Errors
/// [`ConsumerProtocolError`], for what a leader may send and no coordinator checks.
pub fn decode_assignment(bytes: &Bytes) -> Result<BTreeSet<PartitionName>, ConsumerProtocolError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let message: ConsumerProtocolAssignment = decoded(bytes)?;
    let topics = message.assigned_partitions.iter();
    Ok(topics.flat_map(|topic| partitions_of(&topic.topic, &topic.partitions)).collect())
}

fn by_topic(partitions: &BTreeSet<PartitionName>) -> Vec<(TopicName, Vec<i32>)> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    topics.into_iter().map(|(topic, partitions)| (topic_name(topic), partitions)).collect()
}

fn partitions_of(topic: &TopicName, partitions: &[i32]) -> Vec<PartitionName> {
    let topic: Arc<str> = Arc::from(topic.as_str());
    let name = |index: &i32| PartitionName { topic: topic.clone(), partition: PartitionIndex(*index) };
    partitions.iter().map(name).collect()
}

fn prefixed(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(HIGHEST);
    message.encode(&mut bytes, HIGHEST).expect("version 3 has every field");
    bytes.freeze()
}

fn decoded<M: Decodable>(bytes: &Bytes) -> Result<M, ConsumerProtocolError> {
    let mut rest = bytes.clone();
    let version = rest.try_get_i16().map_err(|error| ConsumerProtocolError::Undecodable(error.to_string()))?;
    if version < 0 {
        return Err(ConsumerProtocolError::BadVersion(version));
    }
    check_counts(&rest)?;
    M::decode(&mut rest, version.min(HIGHEST)).map_err(|error| ConsumerProtocolError::Undecodable(error.to_string()))
}

/// Refuses a first count that is larger than the bytes behind it, for which the codec would reserve memory.
fn check_counts(rest: &Bytes) -> Result<(), ConsumerProtocolError> {
    let count = rest.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    if usize::try_from(count).is_ok_and(|count| count <= rest.len()) {
        return Ok(());
    }
    Err(ConsumerProtocolError::Undecodable(format!("{count} topics in {} bytes", rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned(partitions: &[(&str, i32)]) -> BTreeSet<PartitionName> {
        partitions.iter().map(|(topic, index)| PartitionName::new(topic, PartitionIndex(*index))).collect()
    }

    #[test]
    fn a_subscription_has_kafkas_bytes() {
        let subscription = Subscription {
            topics: ["b", "a"].map(Arc::from).into(),
            user_data: None,
            owned: owned(&[("a", 1), ("a", 0)]),
            generation: Some(Generation(7)),
            rack: Some(Arc::from("r")),
        };
        let bytes = encode_subscription(&subscription);
        let expected = [
            &[0, 3][..],
            &[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b'],
            &[255, 255, 255, 255],
            &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 7],
            &[0, 1, b'r'],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(decode_subscription(&bytes), Ok(subscription));
    }

    #[test]
    fn a_subscription_of_version_zero_is_read() {
        let bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 9]);
        let read = decode_subscription(&bytes).expect("it is sound");
        assert_eq!(read.topics, BTreeSet::from([Arc::from("a")]));
        assert_eq!((read.user_data.as_deref(), read.generation, read.rack), (Some(&[9][..]), None, None));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let mut bytes = encode_subscription(&Subscription::default()).to_vec();
        bytes[1] = 9;
        bytes.extend([1, 2, 3]);
        assert_eq!(decode_subscription(&bytes.into()), Ok(Subscription::default()));
    }

    #[test]
    fn an_assignment_has_kafkas_bytes() {
        let partitions = owned(&[("t", 2), ("t", 0)]);
        let bytes = encode_assignment(&partitions);
        let expected = [&[0, 3, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2][..], &[255, 255, 255, 255]];
        assert_eq!(bytes, expected.concat());
        assert_eq!(decode_assignment(&bytes), Ok(partitions));
        assert_eq!(decode_assignment(&Bytes::new()), Ok(BTreeSet::new()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let _ = (decode_subscription(&bytes), decode_assignment(&bytes));
        }
    }
}
