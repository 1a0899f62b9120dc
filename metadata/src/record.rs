//! Pure. What changed in the cluster's metadata: one committed entry of the metadata log.
//!
//! A record never says who asked for it or why, and holds no position: its offset is the ordinal that the metadata log
//! gives it. The controller decides records; every node applies them ([`crate::delta`]).
//!
//! On disk and on the wire a record is `type: u16, version: u16` in network order, then its fields in order as
//! [postcard](https://postcard.jamesmunns.com/wire-format) writes them. A reader that meets a type or a version which it
//! does not know stops there: to skip a record would be to disagree with the rest of the cluster.

use bytes::Bytes;
use protocol::ids::{
    BrokerEpoch, BrokerId, DirectoryId, IncarnationId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, TopicId,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How one of a broker's listeners is spoken to; the numbers are Kafka's (`SecurityProtocol.java`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// Authenticated by SASL, not encrypted.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The number that stands for it on the wire.
    pub fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// From the wire; `None` for a number that Kafka does not define.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Plaintext),
            1 => Some(Self::Ssl),
            2 => Some(Self::SaslPlaintext),
            3 => Some(Self::SaslSsl),
            _ => None,
        }
    }
}

/// One of a broker's advertised listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, as `listeners` gives it.
    pub name: String,
    /// The host that clients are told to connect to.
    pub host: String,
    /// The port that clients are told to connect to.
    pub port: u16,
    /// How it is spoken to.
    pub security_protocol: SecurityProtocol,
}

/// The levels of one feature that a broker can run at, both inclusive (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRange {
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}

/// Whether a partition's leader may lack committed records (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaderRecoveryState {
    /// The leader was elected from the in-sync or eligible replicas, or has recovered since.
    #[default]
    Recovered,
    /// The leader was elected uncleanly and has not yet said that it recovered.
    Recovering,
}

impl LeaderRecoveryState {
    /// The number that stands for it on the wire.
    pub fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// From the wire; `None` for a number that Kafka does not define.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// What a dynamic setting belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, or with `None` every broker of the cluster.
    Broker(Option<BrokerId>),
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(Some(broker_id)) => write!(f, "broker {broker_id}"),
            Self::Broker(None) => f.write_str("all brokers"),
        }
    }
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Fewer than the four bytes that name type and version.
    #[error("a metadata record of {length} bytes is too short to name its type and version")]
    TooShort {
        /// How many bytes there were.
        length: usize,
    },
    /// Written by a newer gregor, or not a record.
    #[error("metadata record of unknown type {record_type} version {version}")]
    UnknownType {
        /// The type as read.
        record_type: u16,
        /// The version as read.
        version: u16,
    },
    /// Written by a newer gregor.
    #[error("metadata record {name} (type {record_type}) has unknown version {version}, the newest known is {newest}")]
    UnknownVersion {
        /// The type as read.
        record_type: u16,
        /// Its name.
        name: &'static str,
        /// The version as read.
        version: u16,
        /// The newest version that this build reads.
        newest: u16,
    },
    /// The fields cannot be read.
    #[error("metadata record {name} version {version} cannot be read: {cause}")]
    Malformed {
        /// The type's name.
        name: &'static str,
        /// The version as read.
        version: u16,
        /// What postcard says.
        cause: postcard::Error,
    },
    /// Bytes follow the last field.
    #[error("metadata record {name} version {version} is followed by {extra} bytes that belong to nothing")]
    LeftOver {
        /// The type's name.
        name: &'static str,
        /// The version as read.
        version: u16,
        /// How many.
        extra: usize,
    },
}

/// Declares the enum of records with, for each, its type and newest version, and from that the codec. Every field of
/// the newest version is written, in order; an older version gets an arm of its own in `decode`.
macro_rules! records {
    ($($(#[$doc:meta])* $record_type:literal / $version:literal $name:ident $({ $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })?)*) => {
        /// One change of the cluster's metadata.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Record {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: $kind,)* })?,)*
        }

        impl Record {
            /// The record's name, as it stands in errors and timelines.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name $({ $($field: _,)* })? => stringify!($name),)*
                }
            }

            /// The bytes of the record. Never fails: every field has a form.
            pub fn encode(&self) -> Bytes {
                if let Some(bytes) = write_older(self) {
                    return bytes;
                }
                match self {
                    $(Self::$name $({ $($field,)* })? => write($record_type, $version, &($($($field,)*)?)),)*
                }
            }

            /// Reads what [`Record::encode`] wrote.
            ///
            /// # Errors
            /// Too short, a type or version that this build does not know, fields that cannot be read, bytes left over.
            pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
                let Some((&[t0, t1, v0, v1], body)) = bytes.split_first_chunk() else {
                    return Err(RecordError::TooShort { length: bytes.len() });
                };
                let (record_type, version) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([v0, v1]));
                match (record_type, version) {
                    (8, 0) => partition_change_0(version, body),
                    $(($record_type, $version) => {
                        let ($($($field,)*)?) = read(stringify!($name), version, body)?;
                        Ok(Self::$name $({ $($field,)* })?)
                    })*
                    $(($record_type, _) => Err(RecordError::UnknownVersion {
                        record_type, name: stringify!($name), version, newest: $version,
                    }),)*
                    _ => Err(RecordError::UnknownType { record_type, version }),
                }
            }
        }
    };
}

records! {
    /// A broker registered: its `broker_epoch` is the offset of this very record (KIP-631).
    0 / 0 RegisterBroker {
        /// Who.
        broker_id: BrokerId,
        /// Which start of its process.
        incarnation_id: IncarnationId,
        /// Where it is reached, one for each listener name.
        listeners: Vec<Endpoint>,
        /// Its `broker.rack`.
        rack: Option<String>,
        /// Its online log directories.
        directories: Vec<DirectoryId>,
        /// Whether it is fenced. A broker registers fenced, and an idempotent registration keeps what was.
        fenced: bool,
        /// Whether it is in controlled shutdown.
        controlled_shutdown: bool,
        /// The feature levels that it can run at.
        features: BTreeMap<String, FeatureRange>,
    }
    /// A broker may lead nothing and be in no ISR until it is unfenced.
    1 / 0 FenceBroker {
        /// Who.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
    }
    /// A broker has caught up with the metadata and may lead.
    2 / 0 UnfenceBroker {
        /// Who.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
    }
    /// A broker asked to leave in good order (KIP-841): it joins no ISR any more.
    3 / 0 BrokerControlledShutdown {
        /// Who.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
    }
    /// An operator removed a broker's registration.
    4 / 0 UnregisterBroker {
        /// Who.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
    }
    /// A topic was created; its partitions follow in the same batch.
    5 / 0 Topic {
        /// Its name.
        name: String,
        /// Its identity.
        topic_id: TopicId,
    }
    /// A topic was deleted, with its partitions and its settings.
    6 / 0 RemoveTopic {
        /// Its identity.
        topic_id: TopicId,
    }
    /// A partition was created.
    7 / 0 Partition {
        /// The topic.
        topic_id: TopicId,
        /// Which of its partitions.
        partition: PartitionIndex,
        /// The assignment, the preferred leader first.
        replicas: Vec<BrokerId>,
        /// The log directory of each replica, all zeroes where the broker chooses.
        directories: Vec<DirectoryId>,
        /// The in-sync replicas.
        isr: Vec<BrokerId>,
        /// The eligible leader replicas (KIP-966).
        elr: Vec<BrokerId>,
        /// The last leader, while the ISR is empty (KIP-966).
        last_known_elr: Vec<BrokerId>,
        /// The leader, if there is one.
        leader: Option<BrokerId>,
        /// The leader epoch that it starts in.
        leader_epoch: LeaderEpoch,
        /// The partition epoch that it starts at.
        partition_epoch: PartitionEpoch,
        /// Whether the leader was elected uncleanly.
        leader_recovery_state: LeaderRecoveryState,
    }
    /// A partition changed: what is `None` stays. The partition epoch rises by one, and the leader epoch with it when
    /// `leader` is given, be it the same leader.
    8 / 1 PartitionChange {
        /// The topic.
        topic_id: TopicId,
        /// Which of its partitions.
        partition: PartitionIndex,
        /// The new in-sync replicas.
        isr: Option<Vec<BrokerId>>,
        /// The new eligible leader replicas.
        elr: Option<Vec<BrokerId>>,
        /// The new last known leader, or nobody.
        last_known_elr: Option<Vec<BrokerId>>,
        /// The new leader: `Some(None)` says that there is none now.
        leader: Option<Option<BrokerId>>,
        /// The new recovery state.
        leader_recovery_state: Option<LeaderRecoveryState>,
        /// The new assignment, the preferred leader first. While a reassignment goes on: the target, and after it who is to
        /// leave (KIP-455). Whoever stays keeps its log directory.
        replicas: Option<Vec<BrokerId>>,
        /// The replicas that a reassignment brings.
        adding_replicas: Option<Vec<BrokerId>>,
        /// The replicas that leave once the reassignment is complete.
        removing_replicas: Option<Vec<BrokerId>>,
    }
    /// A dynamic setting was given or taken back.
    9 / 0 Config {
        /// What it belongs to.
        resource: ConfigResource,
        /// The key.
        name: String,
        /// The value; `None` takes the setting back.
        value: Option<String>,
    }
    /// A block of producer ids was given away: every id below `next_producer_id` (KIP-730).
    10 / 0 ProducerIds {
        /// To whom.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
        /// The first id that nobody has.
        next_producer_id: ProducerId,
    }
    /// A feature was finalized at a level (KIP-584); level 0 is "not finalized".
    11 / 0 FeatureLevel {
        /// The feature.
        name: String,
        /// The level.
        level: i16,
    }
    /// Nothing changed; it marks a place in the log.
    12 / 0 NoOp
    /// A replica is in another log directory of its broker than was chosen, or in one that the broker chooses.
    20 / 0 ReplicaDirectory {
        /// The topic.
        topic_id: TopicId,
        /// Which of its partitions.
        partition: PartitionIndex,
        /// Whose replica.
        broker_id: BrokerId,
        /// The log directory, all zeroes where the broker chooses.
        directory: DirectoryId,
    }
}

/// The bytes of one record.
fn write<T: Serialize>(record_type: u16, version: u16, fields: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&record_type.to_be_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    let bytes = postcard::to_extend(fields, bytes).expect("a growing buffer takes every field, and each has a length");
    Bytes::from(bytes)
}

/// A change that moves no replica is written as version 0, which every node reads.
fn write_older(record: &Record) -> Option<Bytes> {
    match record {
        Record::PartitionChange {
            topic_id,
            partition,
            isr,
            elr,
            last_known_elr,
            leader,
            leader_recovery_state,
            replicas: None,
            adding_replicas: None,
            removing_replicas: None,
        } => {
            let fields = (topic_id, partition, isr, elr, last_known_elr, leader, leader_recovery_state);
            Some(write(8, 0, &fields))
        }
        _ => None,
    }
}

/// Version 0 of PartitionChange, from before partitions could be reassigned.
fn partition_change_0(version: u16, body: &[u8]) -> Result<Record, RecordError> {
    let (topic_id, partition, isr, elr, last_known_elr, leader, leader_recovery_state) =
        read("PartitionChange", version, body)?;
    Ok(Record::PartitionChange {
        topic_id,
        partition,
        isr,
        elr,
        last_known_elr,
        leader,
        leader_recovery_state,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    })
}

/// The fields of one record, with nothing left over.
fn read<'a, T: Deserialize<'a>>(name: &'static str, version: u16, body: &'a [u8]) -> Result<T, RecordError> {
    let (fields, rest) =
        postcard::take_from_bytes(body).map_err(|cause| RecordError::Malformed { name, version, cause })?;
    match rest.len() {
        0 => Ok(fields),
        extra => Err(RecordError::LeftOver { name, version, extra }),
    }
}

#[cfg(test)]
mod tests;
