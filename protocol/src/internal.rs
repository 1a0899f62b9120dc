//! Pure. The calls among gregor's own nodes that Kafka has no message for. Keys from 20,000; never on a client listener.
//!
//! They carry the same traits as Kafka's messages, so one connection speaks both. All are flexible from version 0: a later
//! field is a tagged field, or a new version.

use crate::api;
use crate::ids::{BrokerEpoch, BrokerId, IncarnationId, MetadataOffset};
use crate::messages::{ByteBuf, ByteBufMut, Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use anyhow::{Context, bail};
use bytes::Bytes;

mod wire;

use wire::{
    end_of_struct, put_bytes, put_count, put_string, skip_tagged_fields, string_size, take_bytes, take_count,
    take_string, unsigned_size,
};

/// What a [`RaftRequest`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum RaftKind {
    /// A candidate asks for a vote.
    Vote = 0,
    /// A node asks whether it would be voted for, without raising the term.
    PreVote = 1,
    /// A leader sends entries, or a heartbeat.
    AppendEntries = 2,
    /// A leader sends a snapshot.
    Snapshot = 3,
    /// A leader that stops asks another node to lead.
    TransferLeader = 4,
}

impl RaftKind {
    /// From its number on the wire.
    pub const fn from_wire(kind: i8) -> Option<Self> {
        match kind {
            0 => Some(Self::Vote),
            1 => Some(Self::PreVote),
            2 => Some(Self::AppendEntries),
            3 => Some(Self::Snapshot),
            4 => Some(Self::TransferLeader),
            _ => None,
        }
    }
}

/// 20000, controller to controller: one call of the consensus protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftRequest {
    /// Who asks, as `User:name`.
    pub principal: String,
    /// The cluster that the caller belongs to; another cluster's is refused.
    pub cluster_id: String,
    /// Which call.
    pub kind: RaftKind,
    /// The node that the caller means to reach; another one refuses.
    pub target: BrokerId,
    /// The call itself, in the controller's own encoding.
    pub body: Bytes,
}

/// The answer to a [`RaftRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftResponse {
    /// Kafka's code for a call that was not understood; zero otherwise.
    pub error_code: i16,
    /// The answer itself, in the controller's own encoding.
    pub body: Bytes,
}

/// 20001, broker to controller: metadata records from an offset on. Answered by any controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFetchRequest {
    /// Who asks, as `User:name`.
    pub principal: String,
    /// The cluster that the caller belongs to.
    pub cluster_id: String,
    /// Which broker asks.
    pub broker_id: BrokerId,
    /// The first record that it does not have.
    pub from: MetadataOffset,
    /// How long an answer without news may wait.
    pub max_wait_ms: i32,
    /// How large an answer may be; one record is always sent.
    pub max_bytes: i32,
}

/// The answer to a [`MetadataFetchRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFetchResponse {
    /// Kafka's code; zero if what follows counts.
    pub error_code: i16,
    /// The active controller as far as this one knows, or [`BrokerId::NONE`].
    pub leader_id: BrokerId,
    /// One past the last committed record.
    pub end: MetadataOffset,
    /// An image and the offset after the last record in it, where the records asked for are no longer kept.
    pub snapshot: Option<(MetadataOffset, Bytes)>,
    /// The offset of the first of `records`.
    pub first: MetadataOffset,
    /// Encoded records, without a gap.
    pub records: Vec<Bytes>,
}

/// 20002, controller to broker: are you there, and in which life? Asked by a new active controller of every broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerProbeRequest {
    /// Who asks, as `User:name`.
    pub principal: String,
    /// The cluster that the caller belongs to.
    pub cluster_id: String,
    /// Which controller asks.
    pub controller_id: BrokerId,
}

/// The answer to a [`BrokerProbeRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerProbeResponse {
    /// Kafka's code; zero if what follows counts.
    pub error_code: i16,
    /// Who answers.
    pub broker_id: BrokerId,
    /// The epoch of its registration, or [`BrokerEpoch::UNKNOWN`].
    pub broker_epoch: BrokerEpoch,
    /// Which start of its process.
    pub incarnation_id: IncarnationId,
}

/// One answer of a broker to anything but version 0 of an internal call.
fn only_version_0(version: i16) -> anyhow::Result<()> {
    if version == 0 { Ok(()) } else { bail!("version {version} of an internal call is not known") }
}

/// What all internal messages have in common: version 0 alone, and flexible headers.
macro_rules! internal_call {
    ($request:ident -> $response:ident, $key:expr) => {
        impl Message for $request {
            const VERSIONS: VersionRange = VersionRange { min: 0, max: 0 };
            const DEPRECATED_VERSIONS: Option<VersionRange> = None;
        }
        impl Message for $response {
            const VERSIONS: VersionRange = VersionRange { min: 0, max: 0 };
            const DEPRECATED_VERSIONS: Option<VersionRange> = None;
        }
        impl HeaderVersion for $request {
            fn header_version(_version: i16) -> i16 {
                2
            }
        }
        impl HeaderVersion for $response {
            fn header_version(_version: i16) -> i16 {
                1
            }
        }
        impl Request for $request {
            const KEY: i16 = $key.0;
            type Response = $response;
        }
    };
}

internal_call!(RaftRequest -> RaftResponse, api::RAFT);
internal_call!(MetadataFetchRequest -> MetadataFetchResponse, api::METADATA_FETCH);
internal_call!(BrokerProbeRequest -> BrokerProbeResponse, api::BROKER_PROBE);

impl Encodable for RaftRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        put_string(buf, &self.principal);
        put_string(buf, &self.cluster_id);
        buf.put_i8(self.kind as i8);
        buf.put_i32(self.target.0);
        put_bytes(buf, &self.body);
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        Ok(string_size(&self.principal) + string_size(&self.cluster_id) + 5 + bytes_size(&self.body) + 1)
    }
}

impl Decodable for RaftRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let request = Self {
            principal: take_string(buf)?,
            cluster_id: take_string(buf)?,
            kind: RaftKind::from_wire(buf.try_get_i8()?).context("not a call of the consensus protocol")?,
            target: BrokerId(buf.try_get_i32()?),
            body: take_bytes(buf)?,
        };
        skip_tagged_fields(buf)?;
        Ok(request)
    }
}

impl Encodable for RaftResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        buf.put_i16(self.error_code);
        put_bytes(buf, &self.body);
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        Ok(2 + bytes_size(&self.body) + 1)
    }
}

impl Decodable for RaftResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let response = Self { error_code: buf.try_get_i16()?, body: take_bytes(buf)? };
        skip_tagged_fields(buf)?;
        Ok(response)
    }
}

impl Encodable for MetadataFetchRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        put_string(buf, &self.principal);
        put_string(buf, &self.cluster_id);
        buf.put_i32(self.broker_id.0);
        buf.put_i64(self.from.0);
        buf.put_i32(self.max_wait_ms);
        buf.put_i32(self.max_bytes);
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        Ok(string_size(&self.principal) + string_size(&self.cluster_id) + 20 + 1)
    }
}

impl Decodable for MetadataFetchRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let request = Self {
            principal: take_string(buf)?,
            cluster_id: take_string(buf)?,
            broker_id: BrokerId(buf.try_get_i32()?),
            from: MetadataOffset(buf.try_get_i64()?),
            max_wait_ms: buf.try_get_i32()?,
            max_bytes: buf.try_get_i32()?,
        };
        skip_tagged_fields(buf)?;
        Ok(request)
    }
}

impl Encodable for MetadataFetchResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        buf.put_i16(self.error_code);
        buf.put_i32(self.leader_id.0);
        buf.put_i64(self.end.0);
        match &self.snapshot {
            None => buf.put_i8(-1),
            Some((offset, image)) => {
                buf.put_i8(1);
                buf.put_i64(offset.0);
                put_bytes(buf, image);
                end_of_struct(buf);
            }
        }
        buf.put_i64(self.first.0);
        put_count(buf, self.records.len());
        for record in &self.records {
            put_bytes(buf, record);
        }
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        let snapshot = self.snapshot.as_ref().map_or(1, |(_, image)| 1 + 8 + bytes_size(image) + 1);
        let records: usize = self.records.iter().map(bytes_size).sum();
        Ok(14 + snapshot + 8 + unsigned_size(self.records.len() + 1) + records + 1)
    }
}

impl Decodable for MetadataFetchResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let error_code = buf.try_get_i16()?;
        let leader_id = BrokerId(buf.try_get_i32()?);
        let end = MetadataOffset(buf.try_get_i64()?);
        let snapshot = match buf.try_get_i8()? {
            -1 => None,
            1 => {
                let snapshot = (MetadataOffset(buf.try_get_i64()?), take_bytes(buf)?);
                skip_tagged_fields(buf)?;
                Some(snapshot)
            }
            other => bail!("{other} says neither that a snapshot follows nor that none does"),
        };
        let first = MetadataOffset(buf.try_get_i64()?);
        let mut records = Vec::new();
        for _ in 0..take_count(buf)? {
            records.push(take_bytes(buf)?);
        }
        skip_tagged_fields(buf)?;
        Ok(Self { error_code, leader_id, end, snapshot, first, records })
    }
}

impl Encodable for BrokerProbeRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        put_string(buf, &self.principal);
        put_string(buf, &self.cluster_id);
        buf.put_i32(self.controller_id.0);
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        Ok(string_size(&self.principal) + string_size(&self.cluster_id) + 4 + 1)
    }
}

impl Decodable for BrokerProbeRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let request = Self {
            principal: take_string(buf)?,
            cluster_id: take_string(buf)?,
            controller_id: BrokerId(buf.try_get_i32()?),
        };
        skip_tagged_fields(buf)?;
        Ok(request)
    }
}

impl Encodable for BrokerProbeResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> anyhow::Result<()> {
        only_version_0(version)?;
        buf.put_i16(self.error_code);
        buf.put_i32(self.broker_id.0);
        buf.put_i64(self.broker_epoch.0);
        buf.put_slice(self.incarnation_id.0.as_bytes());
        end_of_struct(buf);
        Ok(())
    }

    fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
        only_version_0(version)?;
        Ok(2 + 4 + 8 + 16 + 1)
    }
}

impl Decodable for BrokerProbeResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> anyhow::Result<Self> {
        only_version_0(version)?;
        let error_code = buf.try_get_i16()?;
        let broker_id = BrokerId(buf.try_get_i32()?);
        let broker_epoch = BrokerEpoch(buf.try_get_i64()?);
        let mut incarnation = [0; 16];
        buf.try_copy_to_slice(&mut incarnation)?;
        let incarnation_id = IncarnationId(uuid::Uuid::from_bytes(incarnation));
        skip_tagged_fields(buf)?;
        Ok(Self { error_code, broker_id, broker_epoch, incarnation_id })
    }
}

fn bytes_size(bytes: &Bytes) -> usize {
    unsigned_size(bytes.len() + 1) + bytes.len()
}

#[cfg(test)]
mod tests;
