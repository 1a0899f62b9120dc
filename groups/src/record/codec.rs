//! Pure. From a record to the bytes that Kafka writes for it, and back.

use super::{
    ClassicGroupValue, ClassicMember, ClassicMemberValue, CommittedOffset, ConsumerGroupValue, CurrentAssignmentValue,
    MemberState, MemberValue, Record, RegularExpressionValue, wire::Reader, wire::Writer,
};
use crate::ids::{Generation, GroupEpoch, MemberEpoch};
use bytes::{BufMut, Bytes};
use protocol::ids::{LeaderEpoch, Offset, PartitionIndex, WallMillis};

/// Why bytes are no record that this version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end in the middle of it.
    #[error("it ends too early")]
    TooShort,
    /// They contradict themselves.
    #[error("it is malformed")]
    Malformed,
    /// A newer version of Kafka wrote it, or another kind of coordinator.
    #[error("its key has version {0}, which is unknown here")]
    UnknownKey(i16),
    /// A newer version of Kafka wrote it.
    #[error("its value has version {0}, which is unknown here")]
    UnknownValue(i16),
}

type Decoded<T> = Result<T, RecordError>;

impl Record {
    /// Its key and its value, as Kafka writes them: old versions, so that old brokers and tools read them too
    /// (`GroupCoordinatorRecordHelpers`).
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Offset { group, topic, partition, value } => {
                let mut key = key(1, &[group, topic]);
                key.bytes.put_i32(partition.0);
                (key.finish(), value.as_ref().map(offset_value))
            }
            Self::ClassicGroup { group, value } => (key(2, &[group]).finish(), value.as_ref().map(classic_value)),
            Self::ConsumerGroup { group, value } => (key(3, &[group]).finish(), value.as_ref().map(consumer_value)),
            Self::PartitionMetadata { group } => (key(4, &[group]).finish(), None),
            Self::Member { group, member, value } => {
                (key(5, &[group, member]).finish(), value.as_ref().map(member_value))
            }
            Self::TargetEpoch { group, value } => {
                let value = value.map(|epoch| {
                    let mut writer = Writer::new(0, true);
                    writer.bytes.put_i32(epoch.0);
                    writer.no_tagged();
                    writer.finish()
                });
                (key(6, &[group]).finish(), value)
            }
            Self::TargetAssignment { group, member, value } => {
                let value = value.as_ref().map(|partitions| {
                    let mut writer = Writer::new(0, true);
                    writer.topic_partitions(partitions);
                    writer.no_tagged();
                    writer.finish()
                });
                (key(7, &[group, member]).finish(), value)
            }
            Self::CurrentAssignment { group, member, value } => {
                (key(8, &[group, member]).finish(), value.as_ref().map(current_value))
            }
            Self::RegularExpression { group, regex, value } => {
                (key(16, &[group, regex]).finish(), value.as_ref().map(regex_value))
            }
        }
    }

    /// The record that a key and a value are.
    ///
    /// # Errors
    /// Where they are none that this version knows: whoever loads a log counts and skips them.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Decoded<Self> {
        let mut key = Reader::new(key);
        let version = key.i16()?;
        let group = match version {
            0..=8 | 16 => key.string()?.into(),
            unknown => return Err(RecordError::UnknownKey(unknown)),
        };
        Ok(match version {
            0 | 1 => Self::Offset {
                group,
                topic: key.string()?.into(),
                partition: PartitionIndex(key.i32()?),
                value: value.map(read_offset).transpose()?,
            },
            2 => Self::ClassicGroup { group, value: value.map(read_classic).transpose()? },
            3 => Self::ConsumerGroup { group, value: value.map(read_consumer).transpose()? },
            4 => Self::PartitionMetadata { group },
            5 => Self::Member { group, member: key.string()?.into(), value: value.map(read_member).transpose()? },
            6 => Self::TargetEpoch { group, value: value.map(read_target_epoch).transpose()? },
            7 => Self::TargetAssignment {
                group,
                member: key.string()?.into(),
                value: value.map(read_target).transpose()?,
            },
            8 => Self::CurrentAssignment {
                group,
                member: key.string()?.into(),
                value: value.map(read_current).transpose()?,
            },
            _ => Self::RegularExpression {
                group,
                regex: key.string()?.into(),
                value: value.map(read_regex).transpose()?,
            },
        })
    }
}

fn key(version: i16, names: &[&str]) -> Writer {
    let mut writer = Writer::new(version, false);
    names.iter().for_each(|name| writer.string(name));
    writer
}

/// A reader of a value whose version is at most this, with compact types from another version on.
fn value(bytes: &[u8], newest: i16, flexible_since: i16) -> Decoded<(Reader<'_>, i16)> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=newest).contains(&version) {
        return Err(RecordError::UnknownValue(version));
    }
    reader.flexible = version >= flexible_since;
    Ok((reader, version))
}

fn wall(millis: i64) -> Option<WallMillis> {
    (millis >= 0).then_some(WallMillis(millis))
}

fn offset_value(committed: &CommittedOffset) -> Bytes {
    // Only version 1 can say when it ends, and it cannot say the leader epoch.
    let version = if committed.expires_at.is_some() { 1 } else { 3 };
    let mut writer = Writer::new(version, false);
    writer.bytes.put_i64(committed.offset.0);
    if version == 3 {
        writer.bytes.put_i32(committed.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0);
    }
    writer.string(&committed.metadata);
    writer.bytes.put_i64(committed.committed_at.0);
    if let Some(expires_at) = committed.expires_at {
        writer.bytes.put_i64(expires_at.0);
    }
    writer.finish()
}

fn read_offset(bytes: &[u8]) -> Decoded<CommittedOffset> {
    let (mut reader, version) = value(bytes, 4, 4)?;
    let offset = Offset(reader.i64()?);
    let leader_epoch = if version >= 3 { Some(LeaderEpoch(reader.i32()?)) } else { None };
    let metadata = reader.string()?.to_owned();
    let committed_at = WallMillis(reader.i64()?);
    let expires_at = if version == 1 { wall(reader.i64()?) } else { None };
    reader.skip_tagged()?;
    let leader_epoch = leader_epoch.filter(|epoch| *epoch != LeaderEpoch::UNKNOWN);
    Ok(CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at })
}

fn classic_value(group: &ClassicGroupValue) -> Bytes {
    let mut writer = Writer::new(3, false);
    writer.string(&group.protocol_type);
    writer.bytes.put_i32(group.generation.0);
    writer.nullable_string(group.protocol.as_deref());
    writer.nullable_string(group.leader.as_deref());
    writer.bytes.put_i64(group.state_since.map_or(-1, |since| since.0));
    writer.list(group.members.iter(), |writer, member| {
        writer.string(&member.member);
        writer.nullable_string(member.instance.as_deref());
        writer.string(&member.client_id);
        writer.string(&member.client_host);
        writer.bytes.put_i32(member.rebalance_timeout_ms);
        writer.bytes.put_i32(member.session_timeout_ms);
        writer.byte_string(&member.subscription);
        writer.byte_string(&member.assignment);
    });
    writer.finish()
}

fn read_classic(bytes: &[u8]) -> Decoded<ClassicGroupValue> {
    let (mut reader, version) = value(bytes, 4, 4)?;
    let protocol_type = reader.string()?.to_owned();
    let generation = Generation(reader.i32()?);
    let protocol = reader.nullable_string()?.map(str::to_owned);
    let leader = reader.nullable_string()?.map(Into::into);
    let state_since = if version >= 2 { wall(reader.i64()?) } else { None };
    let members = reader.list(|reader| {
        let member = reader.string()?.into();
        let instance = if version >= 3 { reader.nullable_string()?.map(Into::into) } else { None };
        let (client_id, client_host) = (reader.string()?.to_owned(), reader.string()?.to_owned());
        let rebalance = if version >= 1 { Some(reader.i32()?) } else { None };
        let session_timeout_ms = reader.i32()?;
        let read = ClassicMemberValue {
            member,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: reader.bytes()?,
            assignment: reader.bytes()?,
        };
        reader.skip_tagged()?;
        Ok(read)
    })?;
    reader.skip_tagged()?;
    Ok(ClassicGroupValue { protocol_type, generation, protocol, leader, state_since, members })
}

fn consumer_value(group: &ConsumerGroupValue) -> Bytes {
    let mut writer = Writer::new(0, true);
    writer.bytes.put_i32(group.epoch.0);
    match group.metadata_hash {
        0 => writer.no_tagged(),
        hash => writer.tagged(0, |writer| writer.bytes.put_i64(hash)),
    }
    writer.finish()
}

fn read_consumer(bytes: &[u8]) -> Decoded<ConsumerGroupValue> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let epoch = GroupEpoch(reader.i32()?);
    let mut metadata_hash = 0;
    reader.tagged(|tag, field| {
        if tag == 0 {
            metadata_hash = field.i64()?;
        }
        Ok(())
    })?;
    Ok(ConsumerGroupValue { epoch, metadata_hash })
}

fn member_value(member: &MemberValue) -> Bytes {
    let mut writer = Writer::new(0, true);
    writer.nullable_string(member.instance.as_deref());
    writer.nullable_string(member.rack.as_deref());
    writer.string(&member.client_id);
    writer.string(&member.client_host);
    writer.list(member.topics.iter(), |writer, topic| writer.string(topic));
    writer.nullable_string(member.regex.as_deref());
    writer.bytes.put_i32(member.rebalance_timeout_ms);
    writer.nullable_string(member.assignor.as_deref());
    let Some(classic) = &member.classic else {
        writer.no_tagged();
        return writer.finish();
    };
    writer.tagged(0, |writer| {
        // A structure that may be null says first that it is not.
        writer.bytes.put_i8(1);
        writer.bytes.put_i32(classic.session_timeout_ms);
        writer.list(classic.protocols.iter(), |writer, (name, metadata)| {
            writer.string(name);
            writer.byte_string(metadata);
            writer.no_tagged();
        });
        writer.no_tagged();
    });
    writer.finish()
}

fn read_member(bytes: &[u8]) -> Decoded<MemberValue> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let mut member = MemberValue {
        instance: reader.nullable_string()?.map(Into::into),
        rack: reader.nullable_string()?.map(str::to_owned),
        client_id: reader.string()?.to_owned(),
        client_host: reader.string()?.to_owned(),
        topics: reader.list(|reader| reader.string().map(Into::into))?,
        regex: reader.nullable_string()?.map(str::to_owned),
        rebalance_timeout_ms: reader.i32()?,
        assignor: reader.nullable_string()?.map(str::to_owned),
        classic: None,
    };
    reader.tagged(|tag, field| {
        if tag == 0 && field.i8()? == 1 {
            let session_timeout_ms = field.i32()?;
            let protocols = field.list(|field| {
                let protocol = (field.string()?.to_owned(), field.bytes()?);
                field.skip_tagged()?;
                Ok(protocol)
            })?;
            member.classic = Some(ClassicMember { session_timeout_ms, protocols });
        }
        Ok(())
    })?;
    Ok(member)
}

fn read_target_epoch(bytes: &[u8]) -> Decoded<GroupEpoch> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let epoch = GroupEpoch(reader.i32()?);
    reader.skip_tagged()?;
    Ok(epoch)
}

fn read_target(bytes: &[u8]) -> Decoded<super::TopicPartitions> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let partitions = reader.topic_partitions()?;
    reader.skip_tagged()?;
    Ok(partitions)
}

fn current_value(current: &CurrentAssignmentValue) -> Bytes {
    let mut writer = Writer::new(0, true);
    writer.bytes.put_i32(current.member_epoch.0);
    writer.bytes.put_i32(current.previous_member_epoch.0);
    writer.bytes.put_i8(match current.state {
        MemberState::Stable => 0,
        MemberState::UnrevokedPartitions => 1,
        MemberState::UnreleasedPartitions => 2,
        MemberState::Unknown => 127,
    });
    writer.topic_partitions(&current.assigned);
    writer.topic_partitions(&current.pending_revocation);
    writer.no_tagged();
    writer.finish()
}

fn read_current(bytes: &[u8]) -> Decoded<CurrentAssignmentValue> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let current = CurrentAssignmentValue {
        member_epoch: MemberEpoch(reader.i32()?),
        previous_member_epoch: MemberEpoch(reader.i32()?),
        state: match reader.i8()? {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        },
        assigned: reader.topic_partitions()?,
        pending_revocation: reader.topic_partitions()?,
    };
    reader.skip_tagged()?;
    Ok(current)
}

fn regex_value(resolved: &RegularExpressionValue) -> Bytes {
    let mut writer = Writer::new(0, true);
    writer.list(resolved.topics.iter(), |writer, topic| writer.string(topic));
    writer.bytes.put_i64(resolved.version);
    writer.bytes.put_i64(resolved.resolved_at.0);
    writer.no_tagged();
    writer.finish()
}

fn read_regex(bytes: &[u8]) -> Decoded<RegularExpressionValue> {
    let (mut reader, _) = value(bytes, 0, 0)?;
    let topics = reader.list(|reader| reader.string().map(Into::into))?;
    let (version, resolved_at) = (reader.i64()?, WallMillis(reader.i64()?));
    reader.skip_tagged()?;
    Ok(RegularExpressionValue { topics: topics.into_iter().collect(), version, resolved_at })
}

#[cfg(test)]
mod tests;
