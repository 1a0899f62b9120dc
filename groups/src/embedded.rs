//! Pure. What consumers of the classic protocol say to each other through the coordinator, where it has to understand them: it
//! assigns for them while their group is a consumer group, and takes over what their leader assigned when it becomes one.
//!
//! Both are a version and then the message of that version (`ConsumerProtocol`). A version that is not known yet is read as the
//! highest that is: fields are only ever added.

use crate::{
    consumer::Topics,
    ids::TopicName,
    record::{
        RecordError, TopicPartitions,
        wire::{Reader, Writer},
    },
};
use bytes::{BufMut, Bytes};
use protocol::ids::PartitionIndex;
use std::collections::BTreeSet;

/// The highest version of both messages.
const HIGHEST: i16 = 3;
/// The first version that says what a member owns (KIP-429).
const OWNED_SINCE: i16 = 1;
/// The first version that says since which generation (KIP-792).
const GENERATION_SINCE: i16 = 2;
/// The first version that says where a member stands (KIP-881).
const RACK_SINCE: i16 = 3;

/// What a member would read, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The topics that it wants.
    pub topics: BTreeSet<TopicName>,
    /// The partitions that it has not given up, of topics that exist.
    pub owned: TopicPartitions,
    /// Its rack, if it said.
    pub rack: Option<String>,
}

fn versioned(bytes: &[u8]) -> Result<(Reader<'_>, i16), RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if version < 0 { Err(RecordError::UnknownValue(version)) } else { Ok((reader, version.min(HIGHEST))) }
}

/// Partitions by the names of their topics; of topics that do not exist, none.
fn partitions(reader: &mut Reader<'_>, topics: &dyn Topics) -> Result<TopicPartitions, RecordError> {
    let named = reader.list(|reader| {
        let name = TopicName::from(reader.string()?);
        Ok((name, reader.list(|reader| reader.i32().map(PartitionIndex))?))
    })?;
    let mut known = TopicPartitions::new();
    for (name, partitions) in named {
        if let Some(topic) = topics.topic(&name) {
            known.entry(topic.id).or_default().extend(partitions);
        }
    }
    known.retain(|_, partitions| !partitions.is_empty());
    Ok(known)
}

/// The version in which a member speaks (`ConsumerProtocol.deserializeVersion`).
///
/// # Errors
/// Where there is none.
pub(crate) fn version(bytes: &[u8]) -> Result<i16, RecordError> {
    versioned(bytes).map(|(_, version)| version)
}

/// Reads what a member says (`ConsumerProtocol.deserializeConsumerProtocolSubscription`).
///
/// # Errors
/// Where it is no subscription.
pub(crate) fn subscription(bytes: &[u8], topics: &dyn Topics) -> Result<Subscription, RecordError> {
    let (mut reader, version) = versioned(bytes)?;
    let names = reader.list(|reader| reader.string().map(TopicName::from))?;
    reader.nullable_bytes()?;
    let owned = if version >= OWNED_SINCE { partitions(&mut reader, topics)? } else { TopicPartitions::new() };
    if version >= GENERATION_SINCE {
        reader.i32()?;
    }
    let rack = if version >= RACK_SINCE { reader.nullable_string()? } else { None };
    let rack = rack.filter(|rack| !rack.is_empty()).map(str::to_owned);
    Ok(Subscription { topics: names.into_iter().collect(), owned, rack })
}

/// What a leader gave a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The partitions, of topics that exist.
    pub partitions: TopicPartitions,
    /// Whether its assignor has something to say beside.
    pub has_user_data: bool,
}

/// Reads what a leader gave a member (`ConsumerProtocol.deserializeConsumerProtocolAssignment`). No bytes are no partitions:
/// the member has not been given any yet.
///
/// # Errors
/// Where it is no assignment.
pub(crate) fn assignment(bytes: &[u8], topics: &dyn Topics) -> Result<Assignment, RecordError> {
    if bytes.is_empty() {
        return Ok(Assignment::default());
    }
    let (mut reader, _) = versioned(bytes)?;
    let partitions = partitions(&mut reader, topics)?;
    let has_user_data = reader.nullable_bytes()?.is_some_and(|data| !data.is_empty());
    Ok(Assignment { partitions, has_user_data })
}

/// The bytes of an assignment, for a member that speaks this version; topics that are gone are left out
/// (`Utils.toConsumerProtocolAssignment`, `ConsumerProtocol.serializeAssignment`).
pub(crate) fn assign(partitions: &TopicPartitions, version: i16, topics: &dyn Topics) -> Bytes {
    let named: Vec<_> =
        partitions.iter().filter_map(|(topic, partitions)| Some((topics.name(*topic)?, partitions))).collect();
    let mut writer = Writer::new(version, false);
    writer.list(named.into_iter(), |writer, (topic, partitions)| {
        writer.string(&topic);
        writer.list(partitions.iter(), |writer, partition| writer.bytes.put_i32(partition.0));
    });
    // Nobody's user data.
    writer.bytes.put_i32(-1);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::{InvalidRegex, Topic};
    use proptest::prelude::*;
    use protocol::ids::{MetadataOffset, TopicId};
    use uuid::Uuid;

    /// One topic, `t`.
    struct One;

    const T: TopicId = TopicId(Uuid::from_u128(1));

    impl Topics for One {
        fn topic(&self, name: &TopicName) -> Option<Topic> {
            (&**name == "t").then_some(Topic { id: T, partitions: 3 })
        }

        fn name(&self, id: TopicId) -> Option<TopicName> {
            (id == T).then(|| "t".into())
        }

        fn matching(&self, _regex: &str) -> Result<BTreeSet<TopicName>, InvalidRegex> {
            Ok(BTreeSet::new())
        }

        fn version(&self) -> MetadataOffset {
            MetadataOffset(1)
        }

        fn last_created_at(&self) -> MetadataOffset {
            MetadataOffset(1)
        }
    }

    /// Version 3: reads `t`, has user data, owns `t-2` and `u-0` since generation 5, and stands in `r`.
    const SAID: &[u8] = &[
        0, 3, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 7, 0, 0, 0, 2, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, b'u', 0, 0,
        0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, b'r',
    ];

    fn of_t(partition: i32) -> TopicPartitions {
        TopicPartitions::from([(T, BTreeSet::from([PartitionIndex(partition)]))])
    }

    #[test]
    fn a_subscription_says_what_its_version_has() {
        let said = subscription(SAID, &One).expect("it is sound");
        assert_eq!((&said.owned, said.rack.as_deref()), (&of_t(2), Some("r")));
        assert_eq!(said.topics, BTreeSet::from(["t".into()]));
        let of_version = |version: u8| {
            let mut bytes = SAID.to_vec();
            bytes[1] = version;
            subscription(&bytes, &One).expect("it is sound")
        };
        assert_eq!(of_version(9), said);
        assert_eq!((of_version(2).owned, of_version(2).rack), (of_t(2), None));
        assert_eq!((of_version(0).owned, of_version(0).topics), (TopicPartitions::new(), said.topics));
        assert_eq!(version(&[255, 255]), Err(RecordError::UnknownValue(-1)));
    }

    #[test]
    fn every_part_of_a_subscription_is_refused() {
        for length in 0..SAID.len() {
            assert!(subscription(&SAID[..length], &One).is_err(), "{length}");
        }
    }

    #[test]
    fn an_assignment_is_read_as_it_is_written_without_what_is_gone() {
        let mut given = of_t(1);
        given.insert(TopicId(Uuid::from_u128(9)), BTreeSet::from([PartitionIndex(0)]));
        let bytes = assign(&given, 2, &One);
        assert_eq!(&bytes[..], [0, 2, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 1, 255, 255, 255, 255]);
        let read = assignment(&bytes, &One);
        assert_eq!(read, Ok(Assignment { partitions: of_t(1), has_user_data: false }));
        assert_eq!(assignment(&[], &One), Ok(Assignment::default()));
    }

    proptest! {
        #[test]
        fn nothing_is_so_odd_that_it_panics(bytes: Vec<u8>) {
            let _ = (subscription(&bytes, &One), assignment(&bytes, &One));
        }
    }
}
