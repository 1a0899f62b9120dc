//! Pure. What became of a record or of one attempt to send it: appended, certainly not, or nobody knows.
//!
//! The three are kept apart because a checker, and a careful application, must: a record that was *refused* will never be
//! read by anybody, one whose fate is *unknown* may be. Driven by `producer` and its machines.

use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{Offset, PartitionIndex, WallMillis};

/// Where an acknowledged record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition that it was sent to.
    pub partition: PartitionIndex,
    /// Its offset. Nothing with `acks=0`, and when the broker only remembers that it has appended it (error 46).
    pub offset: Option<Offset>,
    /// The leader's time of the append, for topics with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<WallMillis>,
}

/// What is known of a record that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProduceErrorKind {
    /// It is in no log and will never be: it was not sent, or the leader refused it before appending.
    Refused,
    /// It may be in the log, now or later: an attempt was sent, and no answer told of its fate.
    Unknown,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", match kind { ProduceErrorKind::Refused => "refused", ProduceErrorKind::Unknown => "fate unknown" })]
pub struct ProduceError {
    /// What is known of the record.
    pub kind: ProduceErrorKind,
    /// The error that ended the last attempt, or that came before the first.
    pub cause: ClientError,
}

impl ProduceError {
    /// A record that was never sent.
    pub fn refused(cause: ClientError) -> Self {
        Self { kind: ProduceErrorKind::Refused, cause }
    }

    /// Whether the record is certainly in no log.
    pub fn is_refused(&self) -> bool {
        self.kind == ProduceErrorKind::Refused
    }
}

/// How one attempt to send a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The leader has it.
    Appended {
        /// The offset of its first record, if the leader said.
        base_offset: Option<Offset>,
        /// The leader's time of the append, if that is the topic's timestamp.
        log_append_time: Option<WallMillis>,
    },
    /// It is not known to be appended.
    Failed(Failure),
}

/// Why an attempt failed, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether this attempt may have appended the batch all the same.
    pub may_be_appended: bool,
    /// What to do with the batch.
    pub next: Next,
    /// The error itself.
    pub cause: ClientError,
}

/// What to do with a batch after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the same bytes again, until the delivery timeout.
    Retry,
    /// Tell the caller.
    GiveUp,
    /// The leader misses batches that come before this one: it cannot accept it under this producer epoch.
    Gap,
    /// The leader holds a later producer epoch: nothing more can be sent under this producer id.
    Fenced,
}

/// Judges an error that the connection gave.
pub fn judge_error(cause: ClientError) -> Attempt {
    if let Some(code) = cause.code() {
        return judge_code(code, cause);
    }
    let next = if cause.is_retriable() { Next::Retry } else { Next::GiveUp };
    Attempt::Failed(Failure { may_be_appended: !cause.is_unsent(), next, cause })
}

/// Judges an error that the leader answered with for one partition.
///
/// Certain not to be appended is what Kafka's broker says before it touches the log (`ReplicaManager.appendRecords`,
/// `Partition.appendRecordsToLeader`, `ProducerAppendInfo`). `NOT_LEADER_OR_FOLLOWER` is not among it: a leader that steps down
/// while a batch waits for its replicas answers the same.
pub fn judge_code(code: ErrorCode, cause: ClientError) -> Attempt {
    let refused = |next| Attempt::Failed(Failure { may_be_appended: false, next, cause: cause.clone() });
    match code {
        ErrorCode::DuplicateSequenceNumber => Attempt::Appended { base_offset: None, log_append_time: None },
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => refused(Next::Gap),
        ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced | ErrorCode::InvalidProducerIdMapping => {
            refused(Next::Fenced)
        }
        ErrorCode::NotEnoughReplicas | ErrorCode::CorruptMessage | ErrorCode::LeaderNotAvailable => {
            refused(Next::Retry)
        }
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidRequiredAcks
        | ErrorCode::InvalidRequest
        | ErrorCode::InvalidTopicException
        | ErrorCode::InvalidTxnState
        | ErrorCode::PolicyViolation
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::UnsupportedCompressionType
        | ErrorCode::UnsupportedVersion => refused(Next::GiveUp),
        // From the wire: whatever else there is may have come after the append.
        _ => {
            let next = if code.is_retriable() { Next::Retry } else { Next::GiveUp };
            Attempt::Failed(Failure { may_be_appended: true, next, cause })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: ErrorCode) -> (bool, Next) {
        match judge_code(code, ClientError::Broker { code, message: None }) {
            Attempt::Failed(failure) => (failure.may_be_appended, failure.next),
            Attempt::Appended { .. } => panic!("{code} counts as appended"),
        }
    }

    #[test]
    fn only_what_precedes_the_append_is_refused_for_certain() {
        assert_eq!(judged(ErrorCode::NotEnoughReplicas), (false, Next::Retry));
        assert_eq!(judged(ErrorCode::NotEnoughReplicasAfterAppend), (true, Next::Retry));
        assert_eq!(judged(ErrorCode::NotLeaderOrFollower), (true, Next::Retry));
        assert_eq!(judged(ErrorCode::RequestTimedOut), (true, Next::Retry));
        assert_eq!(judged(ErrorCode::MessageTooLarge), (false, Next::GiveUp));
        assert_eq!(judged(ErrorCode::UnknownServerError), (true, Next::GiveUp));
        assert_eq!(judged(ErrorCode::OutOfOrderSequenceNumber), (false, Next::Gap));
        assert_eq!(judged(ErrorCode::InvalidProducerEpoch), (false, Next::Fenced));
    }

    #[test]
    fn a_duplicate_has_been_appended_before() {
        let cause = ClientError::Broker { code: ErrorCode::DuplicateSequenceNumber, message: None };
        assert!(matches!(
            judge_code(ErrorCode::DuplicateSequenceNumber, cause),
            Attempt::Appended { base_offset: None, .. }
        ));
    }

    #[test]
    fn a_request_that_never_left_cannot_have_been_appended() {
        let closed = |sent| {
            let cause = crate::CloseCause::Peer;
            judge_error(ClientError::Closed { address: "b1:9092".to_owned(), cause, sent })
        };
        assert!(matches!(closed(false), Attempt::Failed(Failure { may_be_appended: false, next: Next::Retry, .. })));
        assert!(matches!(closed(true), Attempt::Failed(Failure { may_be_appended: true, next: Next::Retry, .. })));
    }
}
