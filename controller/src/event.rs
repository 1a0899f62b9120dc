//! What a controller says about itself, for whoever observes: the trace, invariants, metrics.

use metadata::record::Record;
use protocol::ids::{BrokerId, MetadataOffset};
use runtime::observe::{Digest, Event};
use std::sync::Arc;

/// Something that a controller did or learned.
#[derive(Clone, Debug)]
pub enum ControllerEvent {
    /// This controller leads the quorum and has applied everything before its term: it may decide.
    Activated {
        /// The Raft term.
        term: u64,
    },
    /// This controller no longer leads.
    Resigned {
        /// The Raft term that it led.
        term: u64,
    },
    /// A committed record was applied on this controller.
    Applied {
        /// The record's ordinal.
        offset: MetadataOffset,
        /// The record itself.
        record: Arc<Record>,
    },
    /// The image was replaced by a snapshot's, received or read at start.
    SnapshotInstalled {
        /// The next offset after the snapshot.
        next: MetadataOffset,
        /// The digest of its image.
        digest: u64,
    },
    /// The active controller takes a broker for dead.
    BrokerDead {
        /// Which one.
        broker_id: BrokerId,
        /// Silence beyond the session timeout, or refused connections.
        refused: bool,
    },
}

impl Event for ControllerEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Activated { .. } => "controller-activated",
            Self::Resigned { .. } => "controller-resigned",
            Self::Applied { .. } => "record-applied",
            Self::SnapshotInstalled { .. } => "snapshot-installed",
            Self::BrokerDead { .. } => "broker-dead",
        }
    }

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Activated { term } | Self::Resigned { term } => into.u64(*term),
            Self::Applied { offset, record } => {
                into.i64(offset.0);
                into.bytes(&record.encode());
            }
            Self::SnapshotInstalled { next, digest } => {
                into.i64(next.0);
                into.u64(*digest);
            }
            Self::BrokerDead { broker_id, refused } => {
                into.i64(i64::from(broker_id.0));
                into.u64(u64::from(*refused));
            }
        }
    }
}
