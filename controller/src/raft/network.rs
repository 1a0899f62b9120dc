//! How Raft's messages reach the other controllers: `RaftRequest`s on the controller plane, one connection a peer.
//!
//! A connection is opened by a task of its own, so that a caller whose patience is shorter than a handshake does not
//! begin it again and again; it is closed when nothing has been heard on it for a while, since the peer may be gone
//! without having said so. A snapshot travels on a connection of its own, for heartbeats must not wait behind it.

use super::types::{Encoded, Snapshot, SnapshotMeta, Types, Vote};
use bytes::Bytes;
use client::{ClientError, Connection, ConnectionOptions};
use openraft::{
    EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};
use protocol::{
    error_code::ErrorCode,
    ids::BrokerId,
    internal::{RaftKind, RaftRequest, RaftResponse},
};
use runtime::{
    sync::{Lock, Notify},
    task,
    time::{self, Instant},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The rank of a link's lock. Nothing else is locked under it.
const RANK: u8 = 43;

/// What every message to a peer says, and how long a silent peer is waited for.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `cluster.id`: a peer of another cluster refuses.
    pub cluster_id: String,
    /// How long a connection may be silent while somebody waits on it, and how long opening one may take.
    pub patience: Duration,
}

impl PeerOptions {
    /// How long a snapshot of this size may take, on its way and until it is on the peer's device. A peer that lost its
    /// power says nothing, so the time for a small one is short.
    fn snapshot_time(&self, bytes: usize) -> Duration {
        self.patience * 4 + Duration::from_secs(u64::try_from(bytes >> 20).unwrap_or(u64::MAX))
    }
}

/// The ways to all peers.
pub struct Peers {
    options: PeerOptions,
    links: BTreeMap<BrokerId, Arc<Link>>,
}

/// The way to one peer, shared by everything that talks to it.
struct Link {
    target: BrokerId,
    address: String,
    options: PeerOptions,
    state: Lock<State>,
    changed: Notify,
}

enum State {
    /// Nobody has asked yet, or the last attempt failed.
    Closed(Option<ClientError>),
    Opening,
    Open {
        connection: Connection,
        heard: Instant,
    },
}

impl Peers {
    /// The ways to these controllers, `host:port` each; nothing is opened yet.
    pub fn new(options: PeerOptions, addresses: &BTreeMap<BrokerId, String>) -> Self {
        let link = |(target, address): (&BrokerId, &String)| {
            let (target, address) = (*target, address.clone());
            let state = Lock::new(RANK, State::Closed(None));
            (target, Arc::new(Link { target, address, options: options.clone(), state, changed: Notify::new() }))
        };
        let links = addresses.iter().map(link).collect();
        Self { options, links }
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: BrokerId, _node: &EmptyNode) -> Peer {
        Peer { link: self.links.get(&target).cloned(), target, options: self.options.clone() }
    }
}

impl Link {
    fn connection_options(&self, frame_bytes_max: usize) -> ConnectionOptions {
        ConnectionOptions {
            client_id: format!("controller-{}", self.options.node_id),
            connect_timeout: self.options.patience,
            frame_bytes_max,
            ..ConnectionOptions::default()
        }
    }

    async fn open(&self) -> Result<Connection, ClientError> {
        // Answers are small: a vote, or how far a log agrees.
        Connection::connect(&self.address, self.connection_options(1 << 20)).await
    }

    /// The connection, opened if need be.
    async fn connection(self: &Arc<Self>) -> Result<Connection, ClientError> {
        let mut asked = false;
        loop {
            let changed = {
                let mut state = self.state.lock();
                match &*state {
                    State::Open { connection, .. } if !connection.is_closed() => return Ok(connection.clone()),
                    State::Closed(Some(error)) if asked => return Err(error.clone()),
                    State::Opening => {}
                    State::Open { .. } | State::Closed(_) => {
                        *state = State::Opening;
                        task::spawn(self.clone().open_and_tell());
                    }
                }
                // Made under the lock: a change after it is not missed.
                self.changed.notified()
            };
            asked = true;
            changed.await;
        }
    }

    async fn open_and_tell(self: Arc<Self>) {
        let opened = self.open().await;
        *self.state.lock() = match opened {
            Ok(connection) => State::Open { connection, heard: time::now() },
            Err(error) => State::Closed(Some(error)),
        };
        self.changed.notify_waiters();
    }

    /// Notes an answer, or closes the connection when there was none for too long.
    fn heard(&self, on: &Connection, answered: bool) {
        let now = time::now();
        let mut state = self.state.lock();
        let State::Open { connection, heard } = &mut *state else { return };
        if !connection.is_same(on) {
            return;
        }
        if answered {
            *heard = now;
        } else if now - *heard > self.options.patience {
            connection.close();
            *state = State::Closed(None);
        }
    }

    fn request(&self, kind: RaftKind, body: Bytes) -> RaftRequest {
        RaftRequest {
            principal: format!("User:controller-{}", self.options.node_id),
            cluster_id: self.options.cluster_id.clone(),
            kind,
            target: self.target,
            body,
        }
    }

    async fn call(self: &Arc<Self>, kind: RaftKind, body: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let deadline = time::now() + within;
        let connection = time::timeout_at(deadline, self.connection()).await.map_err(|_| CallError::Late)??;
        let response = connection.call_with_timeout(&self.request(kind, body), deadline - time::now()).await;
        self.heard(&connection, response.is_ok());
        accepted(response?)
    }

    /// As [`Self::call`], on a connection of its own.
    async fn call_apart(&self, kind: RaftKind, body: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let connection = self.open().await?;
        accepted(connection.call_with_timeout(&self.request(kind, body), within).await?)
    }
}

/// Why a peer gave no answer that Raft can use.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("no connection in time")]
    Late,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the peer refuses: {0}")]
    Refused(ErrorCode),
    #[error("the message cannot be read: {0}")]
    Codec(#[from] postcard::Error),
    #[error("controller {0} is not in controller.quorum.voters")]
    Unknown(BrokerId),
}

impl From<CallError> for RPCError<Types> {
    fn from(error: CallError) -> Self {
        match error {
            // The peer may be slow, and is worth another attempt at once.
            CallError::Client(ClientError::Timeout { .. } | ClientError::Closed { .. }) => {
                NetworkError::new(&error).into()
            }
            CallError::Late
            | CallError::Client(_)
            | CallError::Refused(_)
            | CallError::Codec(_)
            | CallError::Unknown(_) => Unreachable::new(&error).into(),
        }
    }
}

fn accepted(response: RaftResponse) -> Result<Bytes, CallError> {
    match ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Ok(response.body),
        refused => Err(CallError::Refused(refused)),
    }
}

/// One peer, as openraft talks to it.
pub struct Peer {
    link: Option<Arc<Link>>,
    target: BrokerId,
    options: PeerOptions,
}

impl Peer {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: RaftKind,
        request: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        let link = self.link.as_ref().ok_or(CallError::Unknown(self.target))?;
        let answer = link.call(kind, postcard::to_stdvec(request)?.into(), within).await?;
        Ok(postcard::from_bytes(&answer)?)
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // Entries are answered after the peer's sync, which may take longer than a heartbeat's interval.
        let within =
            if request.entries.is_empty() { option.hard_ttl() } else { option.hard_ttl().max(self.options.patience) };
        Ok(self.call(RaftKind::AppendEntries, &request, within).await?)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(RaftKind::Vote, &request, option.hard_ttl()).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(RaftKind::PreVote, &request, option.hard_ttl()).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let send = async {
            let link = self.link.as_ref().ok_or(CallError::Unknown(self.target))?;
            let message = SnapshotMessage { vote, meta: snapshot.meta, image: Encoded(snapshot.snapshot) };
            let body = Bytes::from(postcard::to_stdvec(&message)?);
            let within = option.hard_ttl().min(self.options.snapshot_time(body.len()));
            let answer = link.call_apart(RaftKind::Snapshot, body, within).await?;
            Ok::<_, CallError>(postcard::from_bytes(&answer)?)
        };
        runtime::select! {
            sent = send => Ok(sent.map_err(RPCError::from)?),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Ok(self.call(RaftKind::TransferLeader, &request, option.hard_ttl()).await?)
    }
}

/// The body of a [`RaftKind::Snapshot`].
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotMessage {
    /// The leader that sends it.
    pub vote: Vote,
    /// What it covers.
    pub meta: SnapshotMeta,
    /// The encoded image.
    pub image: Encoded,
}
