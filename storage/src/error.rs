//! What can go wrong with a log, each with the values that say why.

use crate::producer_state::ProducerError;
use protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset},
    record_batch::BatchError,
};
use std::{io, sync::Arc};

/// A log that cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An earlier write or sync failed; nothing is written to this log any more until it is opened again.
    #[error("the log in {directory} is offline after an earlier failure")]
    Offline {
        /// The partition's directory.
        directory: String,
    },
    /// Segments were removed, and their removal is not durable yet: await the task that the truncation returned.
    #[error("the log in {directory} waits for its truncation to be durable")]
    Unsettled {
        /// The partition's directory.
        directory: String,
    },
    /// Stored bytes are not what was written, at a place that recovery must not cut away.
    #[error("{path} is corrupt at byte {position}: {what}")]
    Corrupt {
        /// Which file.
        path: String,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// A small file of the directory (metadata, checkpoint) cannot be read as what it should be.
    #[error("{path} is malformed: {what}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A log is already there.
    #[error("{directory} already holds a log")]
    AlreadyExists {
        /// The partition's directory.
        directory: String,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source: Arc::new(source) }
    }

    /// Whether the disk itself refused, rather than that a file is not there or holds something else: the whole log directory
    /// is then out of order (`LogManager.loadLogs`: an `IOException` takes the directory offline).
    pub fn is_disk_failure(&self) -> bool {
        use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound, UnexpectedEof, WouldBlock};
        let of_a_file =
            |kind| matches!(kind, AlreadyExists | IsADirectory | NotADirectory | NotFound | UnexpectedEof | WouldBlock);
        matches!(self, Self::Io { source, .. } if !of_a_file(source.kind()))
    }

    /// Whether what is stored is not what was written, and it is not the disk that refuses: the log is of no use any more,
    /// and the others in its directory are.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Malformed { .. })
    }

    /// What a client or a follower is told: the disk's trouble is always `KAFKA_STORAGE_ERROR`.
    pub fn error_code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

/// An append that did not happen. Whatever the variant but `Log`, the log is as it was before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's batch does not follow what this partition knows of it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// All batches of one append lie in one segment, and these do not fit (`segment.bytes`).
    #[error("{size} bytes do not fit a segment of {limit}")]
    TooLarge {
        /// Bytes to append.
        size: usize,
        /// `segment.bytes`.
        limit: u64,
    },
    /// A batch from the leader is not sound, or does not begin where the log ends.
    #[error(transparent)]
    Invalid(#[from] BatchError),
    /// A batch from the leader is stamped with an older epoch than the batch before it.
    #[error("a batch of leader epoch {got} follows one of {last}")]
    LeaderEpochWentBack {
        /// Of the last batch in the log.
        last: LeaderEpoch,
        /// Of the refused batch.
        got: LeaderEpoch,
    },
    /// The log cannot be written to.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl AppendError {
    /// What a client is told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.error_code(),
            Self::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::Invalid(error) => error.error_code(),
            Self::LeaderEpochWentBack { .. } => ErrorCode::CorruptMessage,
            Self::Log(error) => error.error_code(),
        }
    }
}

/// A read that has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is outside {log_start_offset}..={log_end_offset}")]
    OutOfRange {
        /// As asked.
        offset: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// One past the last there is.
        log_end_offset: Offset,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    /// What a client is told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Log(error) => error.error_code(),
        }
    }
}
