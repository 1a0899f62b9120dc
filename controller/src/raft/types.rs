//! openraft's types, made concrete for this cluster.
//!
//! They stand apart, and seldom change, because whatever names them compiles slowly.

use bytes::Bytes;
use protocol::ids::{BrokerId, MetadataOffset};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

openraft::declare_raft_types!(
    /// The types that this cluster's Raft is made of. Standard Raft's leader ids: at most one leader a term.
    pub Types:
        D = Batch,
        R = Outcome,
        NodeId = BrokerId,
        Node = openraft::EmptyNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, BrokerId>,
        AsyncRuntime = runtime::raft::RaftRuntime,
);

/// One log entry.
pub type Entry = openraft::alias::EntryOf<Types>;
/// The position and term of a log entry.
pub type LogId = openraft::alias::LogIdOf<Types>;
/// Whom a node votes for, and in which term.
pub type Vote = openraft::alias::VoteOf<Types>;
/// The voters, and which log entry made them so.
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
/// A snapshot: what it covers, and an encoded image.
pub type Snapshot = openraft::alias::SnapshotOf<Types, Bytes>;

/// What one log entry carries: records decided together, committed together, applied together.
///
/// `term` and `first` say what the decision stood on. The state machine applies the batch only in that term and only
/// at that offset, so that a decision taken on an image that is no longer true changes nothing, on every node alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The term whose leader decided.
    pub term: u64,
    /// The offset that the first record must have.
    pub first: MetadataOffset,
    /// Encoded metadata records.
    pub records: Vec<Encoded>,
}

impl Batch {
    /// How many bytes the records have.
    pub fn size(&self) -> usize {
        self.records.iter().map(|record| record.0.len()).sum()
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records from {} in term {}", self.records.len(), self.first, self.term)
    }
}

/// What became of a batch when its entry was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its records are part of the image from this offset on. A blank or membership entry says where the image stands.
    Applied(MetadataOffset),
    /// It was decided in another term or for another offset, and changed nothing.
    Stale,
}

/// An encoded metadata record, which serde sees as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(pub Bytes);

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl de::Visitor<'_> for BytesVisitor {
            type Value = Encoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Encoded, E> {
                Ok(Encoded(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Encoded, E> {
                Ok(Encoded(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// A log id of a term and an index.
#[cfg(test)]
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    use openraft::vote::RaftLeaderId;
    let leader = openraft::alias::LeaderIdOf::<Types>::new(term, BrokerId(1)).to_committed();
    LogId::new(leader, index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::{
        EntryPayload,
        raft::{
            AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
            VoteResponse,
        },
    };
    use serde::de::DeserializeOwned;
    use std::collections::BTreeMap;

    fn round_trip<T: Serialize + DeserializeOwned + fmt::Debug>(value: T) {
        let bytes = postcard::to_stdvec(&value).unwrap();
        let (back, rest) = postcard::take_from_bytes::<T>(&bytes).unwrap();
        assert!(rest.is_empty(), "{rest:?} is left of {value:?}");
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }

    #[test]
    fn what_peers_say_to_each_other_survives_postcard() {
        let vote = Vote::new(3, BrokerId(2));
        let members = BTreeMap::from([1, 2, 3].map(|id| (BrokerId(id), openraft::EmptyNode::new())));
        let voters = members.keys().copied().collect();
        let membership = openraft::Membership::new(vec![voters], members).unwrap();
        let batch = Batch {
            term: 3,
            first: MetadataOffset(8),
            records: vec![Encoded(Bytes::from_static(b"abc")), Encoded(Bytes::new())],
        };
        let payloads = [EntryPayload::Blank, EntryPayload::Normal(batch), EntryPayload::Membership(membership.clone())];
        let entries: Vec<Entry> =
            payloads.into_iter().zip(5..).map(|(payload, index)| Entry { log_id: log_id(3, index), payload }).collect();
        let request = AppendEntriesRequest::<Types> {
            vote: Vote::new_committed(3, BrokerId(2)),
            prev_log_id: Some(log_id(2, 4)),
            entries,
            leader_commit: None,
        };
        round_trip(request);
        for response in [
            AppendEntriesResponse::<Types>::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            round_trip(response);
        }
        round_trip(VoteRequest::<Types>::new(vote, Some(log_id(2, 4))));
        round_trip(VoteResponse::<Types>::new(vote, None, true));
        round_trip(TransferLeaderRequest::<Types>::new(vote, BrokerId(3), Some(log_id(2, 4))));
        round_trip(SnapshotResponse::<Types>::new(vote));
        round_trip(SnapshotMeta {
            last_log_id: Some(log_id(2, 4)),
            last_membership: StoredMembership::new(Some(log_id(0, 0)), membership),
        });
    }
}
