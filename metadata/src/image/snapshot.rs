//! Pure. An image as bytes, and the digest of those bytes.
//!
//! The layout is `version: u16` in network order, then postcard. Maps are written in the order of their keys, so equal
//! images give equal bytes on every node, whatever records they came from. What is being moved comes after the rest, as
//! version 1; an image in which nothing moves is written as version 0.

use super::{BrokerImage, Image, PartitionImage, ProducerIdsImage, TopicImage};
use crate::record::ConfigResource;
use bytes::Bytes;
use protocol::ids::{BrokerId, MetadataOffset, PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The newest version: with what is being moved.
const VERSION: u16 = 1;

/// Why bytes are not an image.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Fewer than the two bytes of the version.
    #[error("a metadata snapshot of {length} bytes is too short to name its version")]
    TooShort {
        /// How many bytes there were.
        length: usize,
    },
    /// Written by a newer gregor, or not a snapshot.
    #[error("metadata snapshot of unknown version {version}, the newest known is {VERSION}")]
    UnknownVersion {
        /// The version as read.
        version: u16,
    },
    /// The body cannot be read.
    #[error("metadata snapshot version {version} cannot be read: {cause}")]
    Malformed {
        /// The version as read.
        version: u16,
        /// What postcard says.
        cause: postcard::Error,
    },
    /// Bytes follow the image.
    #[error("metadata snapshot version {version} is followed by {extra} bytes that belong to nothing")]
    LeftOver {
        /// The version as read.
        version: u16,
        /// How many.
        extra: usize,
    },
}

/// One topic: its identity, its name, its partitions.
type Topic<Name, Partition> = (TopicId, Name, Vec<(PartitionIndex, Partition)>);

/// A partition that is being moved: who comes, who leaves.
type Move<Brokers> = (TopicId, PartitionIndex, Brokers, Brokers);

/// Version 0, as it is read.
#[derive(Deserialize)]
struct Body {
    offset: MetadataOffset,
    brokers: Vec<(BrokerId, BrokerImage)>,
    topics: Vec<Topic<String, PartitionImage>>,
    configs: Vec<(ConfigResource, BTreeMap<String, String>)>,
    features: Vec<(String, i16)>,
    producer_ids: ProducerIdsImage,
}

/// Version 0, as it is written: the same fields, borrowed.
#[derive(Serialize)]
struct BodyRef<'a> {
    offset: MetadataOffset,
    brokers: Vec<(BrokerId, &'a BrokerImage)>,
    topics: Vec<Topic<&'a str, &'a PartitionImage>>,
    configs: Vec<(&'a ConfigResource, &'a BTreeMap<String, String>)>,
    features: Vec<(&'a str, i16)>,
    producer_ids: &'a ProducerIdsImage,
}

impl Image {
    /// The image as a snapshot. Equal images give equal bytes.
    pub fn encode(&self) -> Bytes {
        let body = BodyRef {
            offset: self.offset,
            brokers: self.brokers().collect(),
            topics: self.topics().map(|topic| (topic.id, &*topic.name, topic.partitions().collect())).collect(),
            configs: self.configs.iter().collect(),
            features: self.features.iter().collect(),
            producer_ids: &self.producer_ids,
        };
        let moving = self.partitions().filter(|(_, state)| state.is_reassigning());
        let moves: Vec<Move<&[BrokerId]>> = moving
            .map(|(of, state)| (of.topic_id, of.partition, &*state.adding_replicas, &*state.removing_replicas))
            .collect();
        let version = if moves.is_empty() { 0 } else { VERSION };
        let bytes = postcard::to_extend(&body, version.to_be_bytes().to_vec());
        let bytes = match moves.is_empty() {
            true => bytes,
            false => bytes.and_then(|bytes| postcard::to_extend(&moves, bytes)),
        };
        Bytes::from(bytes.expect("a growing buffer takes every field, and each has a length"))
    }

    /// Reads what [`Image::encode`] wrote.
    ///
    /// # Errors
    /// Too short, an unknown version, a body that cannot be read, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Some((version, body)) = bytes.split_first_chunk::<2>() else {
            return Err(SnapshotError::TooShort { length: bytes.len() });
        };
        let version = u16::from_be_bytes(*version);
        if version > VERSION {
            return Err(SnapshotError::UnknownVersion { version });
        }
        let malformed = |cause| SnapshotError::Malformed { version, cause };
        let (body, rest) = postcard::take_from_bytes::<Body>(body).map_err(malformed)?;
        let (moves, rest) = match version {
            0 => (Vec::new(), rest),
            _ => postcard::take_from_bytes::<Vec<Move<Vec<BrokerId>>>>(rest).map_err(malformed)?,
        };
        if !rest.is_empty() {
            return Err(SnapshotError::LeftOver { version, extra: rest.len() });
        }
        let mut image = body.into_image();
        for (topic_id, partition, adding_replicas, removing_replicas) in moves {
            let topic = image.topics.get_mut(topic_id);
            let state = topic.and_then(|topic| topic.partitions.get_mut(&partition));
            let state = state.ok_or_else(|| malformed(postcard::Error::SerdeDeCustom))?;
            let state = Arc::make_mut(state);
            state.adding_replicas = adding_replicas;
            state.removing_replicas = removing_replicas;
        }
        Ok(image)
    }

    /// A digest of the whole image: equal images have equal digests, and two that differ almost surely do not.
    pub fn digest(&self) -> u64 {
        fnv1a(&self.encode())
    }
}

impl Body {
    fn into_image(self) -> Image {
        let mut image = Image { offset: self.offset, producer_ids: self.producer_ids, ..Image::default() };
        for (broker_id, broker) in self.brokers {
            image.brokers.insert(broker_id, broker);
        }
        for (topic_id, name, partitions) in self.topics {
            let mut topic = TopicImage::new(topic_id, &name);
            topic.partitions = partitions.into_iter().map(|(index, state)| (index, Arc::new(state))).collect();
            image.topics.insert(topic);
        }
        for (resource, settings) in self.configs {
            image.configs.insert(resource, settings);
        }
        for (name, level) in self.features {
            image.features.set(&name, level);
        }
        image
    }
}

/// FNV-1a, 64 bits: no seed, the same on every machine.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
