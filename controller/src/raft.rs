//! The replicated metadata log: commits records, says who leads, and hears the other controllers.
//!
//! openraft goes no further than this file and its folder. It decides nothing about Kafka; `server.rs` drives it.

pub mod applied;
mod log_store;
mod network;
mod state_machine;
mod types;

use applied::Applied;
use bytes::Bytes;
use log_store::{Identity, LogStore};
use metadata::record::Record;
use network::{PeerOptions, Peers, SnapshotMessage};
use openraft::{
    Config, EmptyNode, ServerState, SnapshotPolicy,
    errors::{ClientWriteError, InitializeError, RaftError},
    impls::ProgressResponder,
    metrics::RaftServerMetrics,
    vote::RaftLeaderId,
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, MetadataOffset},
    internal::RaftKind,
};
use runtime::{disk::Disk, sync::watch, time};
use serde::{Serialize, de::DeserializeOwned};
use state_machine::StateMachine;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use thiserror::Error;
use types::{Batch, Encoded, Outcome, Snapshot, Types};

pub use log_store::OpenError;

/// Where the log is kept: Kafka's name for the metadata log's directory.
pub const DIRECTORY: &str = "__cluster_metadata-0";

/// How the quorum behaves. The defaults suit machines that are near each other.
#[derive(Clone, Debug)]
pub struct QuorumOptions {
    /// How often a leader is heard of.
    pub heartbeat_interval: Duration,
    /// The shortest silence after which a follower asks for votes.
    pub election_timeout_min: Duration,
    /// The longest.
    pub election_timeout_max: Duration,
    /// How many entries after the last snapshot the next one is taken.
    pub snapshot_entries: u64,
    /// How many entries that a snapshot covers are kept for followers that are a little behind.
    pub kept_entries: u64,
    /// How large a file of the log grows.
    pub segment_bytes: u64,
    /// How many bytes of records that a snapshot covers are kept for brokers that are a little behind.
    pub recent_bytes: usize,
}

impl Default for QuorumOptions {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(80),
            election_timeout_min: Duration::from_millis(250),
            election_timeout_max: Duration::from_millis(500),
            snapshot_entries: 5_000,
            kept_entries: 1_000,
            segment_bytes: 8 << 20,
            recent_bytes: 8 << 20,
        }
    }
}

impl QuorumOptions {
    /// The same with other timing: a follower asks for votes after between half of this silence and all of it, and a
    /// leader is heard of six times as often.
    #[must_use]
    pub fn with_election_timeout(self, timeout: Duration) -> Self {
        let timeout = timeout.max(Duration::from_millis(12));
        Self {
            heartbeat_interval: timeout / 6,
            election_timeout_min: timeout / 2,
            election_timeout_max: timeout,
            ..self
        }
    }
}

/// Who this controller is, and who votes.
#[derive(Clone, Debug)]
pub struct Quorum {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `cluster.id`.
    pub cluster_id: String,
    /// `controller.quorum.voters`, `host:port` each; this node among them.
    pub voters: BTreeMap<BrokerId, String>,
}

/// Why Raft could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log cannot be opened.
    #[error("the metadata log cannot be opened")]
    Log(#[from] OpenError),
    /// The snapshot cannot be read.
    #[error("the metadata snapshot cannot be read")]
    Snapshot(#[source] io::Error),
    /// The options contradict each other.
    #[error("the quorum's options: {0}")]
    Options(String),
    /// openraft does not start with what is on the disk.
    #[error("Raft cannot start: {0}")]
    Raft(String),
}

/// Why records were not committed, or are not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// This controller does not lead in that term. Nothing was committed.
    #[error("not the leader of term {term}")]
    NotLeader {
        /// The term of the decision.
        term: u64,
    },
    /// Leadership was lost on the way. The records may be committed by the next leader.
    #[error("the leader of term {term} lost its leadership; whether the records are committed is not known")]
    Unknown {
        /// The term of the decision.
        term: u64,
    },
    /// The decision stood on another image. Nothing was committed.
    #[error("the decision was for offset {expected}, where the image no longer is")]
    Stale {
        /// The offset that the first record was decided for.
        expected: MetadataOffset,
    },
    /// This node's Raft has stopped.
    #[error("Raft has stopped: {0}")]
    Stopped(String),
}

/// Who leads, as far as this controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The term of its vote.
    pub term: u64,
    /// The leader.
    pub leader: Option<BrokerId>,
    /// Whether that is this controller.
    pub leads: bool,
}

/// The quorum, as its leader sees it. Offsets are those of the Raft log, whose entries are batches of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// The term that it leads.
    pub term: u64,
    /// One past the last committed entry.
    pub committed_end: i64,
    /// Who votes, the leader included.
    pub members: BTreeMap<BrokerId, MemberState>,
}

/// One voter, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// One past the last entry that it is known to have.
    pub log_end: i64,
    /// How long ago it was heard from, if ever.
    pub heard: Option<Duration>,
}

/// Tells when leadership changes.
pub struct LeadershipWatch(watch::Receiver<RaftServerMetrics<Types>>);

impl LeadershipWatch {
    /// Who leads now.
    pub fn current(&mut self) -> Leadership {
        let metrics = self.0.borrow_and_update();
        Leadership {
            term: metrics.vote.leader_id.term(),
            leader: metrics.current_leader,
            leads: metrics.state == ServerState::Leader,
        }
    }

    /// Waits for a change; `false` when Raft has stopped.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// This node's part in the quorum. Clones are the same.
#[derive(Clone)]
pub struct Raft {
    raft: openraft::Raft<Types, StateMachine>,
    machine: StateMachine,
    log: LogStore,
    quorum: Arc<Quorum>,
    options: Arc<QuorumOptions>,
}

impl Raft {
    /// Opens the log and takes part in the quorum.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(disk: &Disk, quorum: Quorum, options: QuorumOptions) -> Result<Self, StartError> {
        let identity = Identity { cluster_id: quorum.cluster_id.clone(), node_id: quorum.node_id };
        let log = LogStore::open(disk, DIRECTORY, &identity, options.segment_bytes).await?;
        let machine = StateMachine::open(disk, DIRECTORY, options.recent_bytes).map_err(StartError::Snapshot)?;
        let peers = PeerOptions {
            node_id: quorum.node_id,
            cluster_id: quorum.cluster_id.clone(),
            patience: options.election_timeout_max,
        };
        let peers = Peers::new(peers, &quorum.voters);
        let config = config(&quorum, &options).validate().map_err(|error| StartError::Options(error.to_string()))?;
        let raft = openraft::Raft::new(quorum.node_id, Arc::new(config), peers, log.clone(), machine.clone())
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        Ok(Self { raft, machine, log, quorum: Arc::new(quorum), options: Arc::new(options) })
    }

    /// Makes the configured voters the first entry of an empty log. Every controller may do so: the entry is the same.
    /// But they would all ask for votes at once, so each waits a little longer than the one before it.
    ///
    /// # Errors
    /// [`CommitError::Stopped`].
    pub async fn initialize(&self) -> Result<(), CommitError> {
        let voters = self.quorum.voters.keys();
        let rank = voters.take_while(|id| **id < self.quorum.node_id).count();
        time::sleep(self.options.election_timeout_max * 2 * u32::try_from(rank).unwrap_or(u32::MAX)).await;
        if self.raft.is_initialized().await.map_err(stopped)? {
            return Ok(());
        }
        let members = self.quorum.voters.keys().map(|id| (*id, EmptyNode::new()));
        match self.raft.initialize(members.collect::<BTreeMap<_, _>>()).await {
            // Another controller was faster.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
                unreachable!("start checked that this node votes: {error}")
            }
            Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
        }
    }

    /// What is committed and applied.
    pub fn applied(&self) -> &Applied {
        self.machine.applied()
    }

    /// Who leads, now and later.
    pub fn leadership(&self) -> LeadershipWatch {
        LeadershipWatch(self.raft.server_metrics())
    }

    /// Whether a majority has answered this leader within `age`: if not, another may lead already.
    pub fn heard_from_quorum_within(&self, age: Duration) -> bool {
        if self.quorum.voters.len() == 1 {
            return true;
        }
        let metrics = self.raft.metrics();
        let acked = metrics.borrow().last_quorum_acked;
        acked.is_some_and(|acked| acked.into_inner().elapsed() <= age)
    }

    /// The quorum, if this controller leads it.
    pub fn describe(&self) -> Option<QuorumState> {
        let end = |index: Option<u64>| index.map_or(0, |index| i64::try_from(index).unwrap_or(i64::MAX - 1) + 1);
        let metrics = self.raft.metrics().borrow().clone();
        if metrics.state != ServerState::Leader {
            return None;
        }
        let (replication, heartbeat) = (metrics.replication.unwrap_or_default(), metrics.heartbeat.unwrap_or_default());
        let member = |id: &BrokerId| {
            if *id == self.quorum.node_id {
                return MemberState { log_end: end(metrics.last_log_index), heard: Some(Duration::ZERO) };
            }
            let matched = replication.get(id).and_then(|matched| matched.as_ref().map(|log_id| log_id.index));
            let heard = heartbeat.get(id).copied().flatten().map(|heard| heard.into_inner().elapsed());
            MemberState { log_end: end(matched), heard }
        };
        Some(QuorumState {
            term: metrics.vote.leader_id.term(),
            committed_end: end(metrics.local_committed.as_ref().map(|log_id| log_id.index)),
            members: self.quorum.voters.keys().map(|id| (*id, member(id))).collect(),
        })
    }

    /// Why Raft has stopped by itself: its log failed, for instance.
    pub fn failure(&self) -> Option<String> {
        self.raft.metrics().borrow().running_state.clone().err().map(|fatal| fatal.to_string())
    }

    /// Waits until everything that was in the log when this controller began to lead is applied, and returns the term
    /// that it leads. Until then its image may lack what the leader before it committed.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn barrier(&self) -> Result<u64, CommitError> {
        let term = self.leadership().current().term;
        match self.raft.write_blank().await {
            Ok(response) => Ok(response.log_id.committed_leader_id().term),
            Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
            Err(RaftError::APIError(error)) => Err(commit_error(error, term)),
        }
    }

    /// Commits records decided in `term` for the image at `first`, all or none, and waits until they are applied here.
    ///
    /// # Errors
    /// [`CommitError`]; only [`CommitError::Unknown`] and [`CommitError::Stopped`] leave open what became of them.
    pub async fn commit(
        &self,
        term: u64,
        first: MetadataOffset,
        records: &[Record],
    ) -> Result<MetadataOffset, CommitError> {
        let records = records.iter().map(|record| Encoded(record.encode())).collect();
        let leader: openraft::alias::CommittedLeaderIdOf<Types> = term.into();
        let (responder, outcome) = ProgressResponder::complete_only();
        let write = self.raft.write(Batch { term, first, records }).with_leader(leader).responder(responder);
        write.await.map_err(stopped)?;
        let outcome = outcome.await.map_err(|_| CommitError::Stopped("it dropped what was proposed".to_owned()))?;
        match outcome.map_err(|error| commit_error(error, term))?.data {
            Outcome::Applied(first) => Ok(first),
            Outcome::Stale => Err(CommitError::Stale { expected: first }),
        }
    }

    /// Answers another controller's message.
    ///
    /// # Errors
    /// `INVALID_REQUEST` when the message cannot be read, `BROKER_NOT_AVAILABLE` when Raft has stopped.
    pub async fn handle(&self, kind: RaftKind, body: Bytes) -> Result<Bytes, ErrorCode> {
        match kind {
            RaftKind::Vote => answer(self.raft.vote(read(&body)?).await),
            RaftKind::PreVote => answer(self.raft.pre_vote(read(&body)?).await),
            RaftKind::AppendEntries => answer(self.raft.append_entries(read(&body)?).await),
            RaftKind::TransferLeader => answer(self.raft.handle_transfer_leader(read(&body)?).await),
            RaftKind::Snapshot => {
                let SnapshotMessage { vote, meta, image } = read(&body)?;
                answer(self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot: image.0 }).await)
            }
        }
    }

    /// Hands leadership to the follower that has the most of the log, if this controller leads, and waits a little until
    /// it has taken it.
    pub async fn hand_over(&self) {
        let mut watch = self.leadership();
        if !watch.current().leads {
            return;
        }
        let replication = self.raft.metrics().borrow().replication.clone().unwrap_or_default();
        let others = replication.into_iter().filter(|(id, _)| *id != self.quorum.node_id);
        let Some((successor, _)) = others.max_by_key(|(_, matched)| matched.as_ref().map(|log_id| log_id.index)) else {
            return;
        };
        tracing::info!(%successor, "handing leadership over");
        if self.raft.trigger().transfer_leader(successor).await.is_err() {
            return;
        }
        let taken = async { while watch.current().leads && watch.changed().await {} };
        // A successor that does not take it is found out by the others' election timeout.
        let _ = time::timeout(self.options.election_timeout_max, taken).await;
    }

    /// Stops taking part, with everything written on the device.
    pub async fn stop(&self) {
        if self.raft.shutdown().await.is_err() {
            tracing::warn!("Raft had stopped by itself");
        }
        if let Err(error) = self.log.flush().await {
            tracing::warn!(%error, "the metadata log could not be flushed");
        }
    }
}

/// How often snapshots are taken where that is drawn to be often, in entries, and how many entries are kept then.
const SNAPSHOT_ENTRIES_FEW: u64 = 12;
const KEPT_ENTRIES_FEW: u64 = 4;

fn config(quorum: &Quorum, options: &QuorumOptions) -> Config {
    // What is snapshotted every now and then in years is snapshotted again and again in seconds.
    let few = runtime::buggify!("controller: snapshots of the metadata are taken often");
    let (snapshot_entries, kept_entries) =
        if few { (SNAPSHOT_ENTRIES_FEW, KEPT_ENTRIES_FEW) } else { (options.snapshot_entries, options.kept_entries) };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: quorum.cluster_id.clone(),
        heartbeat_interval: millis(options.heartbeat_interval),
        election_timeout_min: millis(options.election_timeout_min),
        election_timeout_max: millis(options.election_timeout_max),
        // The most that is ever waited for one; `network.rs` waits less for a small one.
        install_snapshot_timeout: 60_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        // A follower that lags is brought up by entries as long as there are any.
        replication_lag_threshold: snapshot_entries + kept_entries,
        max_in_snapshot_log_to_keep: kept_entries,
        purge_batch_size: (kept_entries / 2).max(1),
        backoff: "50ms 100ms 200ms ..400ms".to_owned(),
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes like anybody else: its sessions are gone, and its term must tell.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}

fn stopped(fatal: openraft::errors::Fatal<Types>) -> CommitError {
    CommitError::Stopped(fatal.to_string())
}

fn commit_error(error: ClientWriteError<Types>, term: u64) -> CommitError {
    match error {
        ClientWriteError::LogEntryDiscarded(_) => CommitError::Unknown { term },
        ClientWriteError::ForwardToLeader(_)
        | ClientWriteError::PreconditionFailed(_)
        | ClientWriteError::ChangeMembershipError(_) => CommitError::NotLeader { term },
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorCode> {
    postcard::from_bytes(body).map_err(|error| {
        tracing::warn!(%error, "a controller's message cannot be read");
        ErrorCode::InvalidRequest
    })
}

fn answer<A: Serialize, E: std::fmt::Display>(answer: Result<A, E>) -> Result<Bytes, ErrorCode> {
    match answer {
        Ok(answer) => Ok(postcard::to_stdvec(&answer).expect("openraft's answers have a form").into()),
        Err(error) => {
            tracing::warn!(%error, "Raft has stopped");
            Err(ErrorCode::BrokerNotAvailable)
        }
    }
}
