//! Pure. What members ask of a classic group, and what they are told.

use crate::ids::{Generation, InstanceId, MemberId};
use bytes::Bytes;
use protocol::error_code::ErrorCode;

/// JoinGroup, as a handler has read it. What a version lacks, the handler fills in as Kafka's `JoinGroupRequest` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Who it says it is: empty for one that has no member id yet.
    pub member: MemberId,
    /// Its name over restarts, if it has one (version 5, KIP-345).
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// What kind of members these are: `consumer`, `connect`.
    pub protocol_type: String,
    /// The protocols that it speaks, best first, with what it says for each.
    pub protocols: Vec<(String, Bytes)>,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it, in milliseconds; where negative, the session timeout.
    pub rebalance_timeout_ms: i32,
    /// Whether a new member first gets an id, and joins once it has come back with it (version 4, KIP-394).
    pub member_id_required: bool,
    /// Whether a leader can be told that there is nothing to assign (version 9, KIP-814).
    pub may_skip_assignment: bool,
}

/// The rebalance timeout that counts, for one that was given together with a session timeout.
pub(crate) fn rebalance_timeout_ms(rebalance_timeout_ms: i32, session_timeout_ms: i32) -> i32 {
    if rebalance_timeout_ms < 0 { session_timeout_ms } else { rebalance_timeout_ms }
}

/// What a JoinGroup comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// Whether the member has joined.
    pub error: ErrorCode,
    /// The generation that it has joined.
    pub generation: Generation,
    /// What kind of members these are (version 7, KIP-559).
    pub protocol_type: Option<String>,
    /// What this generation speaks.
    pub protocol: Option<String>,
    /// Who assigns: empty if the member has not joined.
    pub leader: MemberId,
    /// Whether the member is the leader of a group that is assigned already (KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member: MemberId,
    /// For the leader: everybody.
    pub members: Vec<JoinMember>,
}

impl JoinAnswer {
    /// The member has not joined.
    pub fn refused(member: MemberId, error: ErrorCode) -> Self {
        Self {
            error,
            generation: Generation::NONE,
            protocol_type: None,
            protocol: None,
            leader: MemberId::default(),
            skip_assignment: false,
            member,
            members: Vec::new(),
        }
    }
}

/// A member, as the leader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinMember {
    /// Which.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// What it said for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup, as a handler has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// Who asks.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// The generation that it has joined.
    pub generation: Generation,
    /// What kind of member it is, if it says (version 5, KIP-559).
    pub protocol_type: Option<String>,
    /// What it was told that this generation speaks, if it says (version 5, KIP-559).
    pub protocol: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// What a SyncGroup comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// Whether there is an assignment.
    pub error: ErrorCode,
    /// What kind of members these are (version 5, KIP-559).
    pub protocol_type: Option<String>,
    /// What this generation speaks (version 5, KIP-559).
    pub protocol: Option<String>,
    /// What the leader gave this member; empty if nothing.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// There is no assignment.
    pub fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// An answer that may come long after its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a JoinGroup.
    Join(JoinAnswer),
    /// To a SyncGroup.
    Sync(SyncAnswer),
}

/// Who a request speaks of: by member id, by name over restarts, or by both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberIdentity {
    /// The member id; empty where only the instance is named.
    pub member: MemberId,
    /// The name over restarts, if there is one.
    pub instance: Option<InstanceId>,
}
