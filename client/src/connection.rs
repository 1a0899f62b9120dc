//! One TCP connection to a broker or a controller, pipelined: many requests wait for their answers at once.
//!
//! A request is queued and, when nobody else is writing, written by its caller on the spot; whoever writes takes turns
//! of what is queued. One task reads, and completes the waiting callers by correlation id. It never retries, never reconnects and
//! knows no topology: `cluster` does. Brokers and controllers drive it directly, for replication, Raft and metadata.

mod handshake;
mod outgoing;

use crate::error::{ClientError, CloseCause};
use bytes::Bytes;
use handshake::{HandshakeError, PeerVersions, Wire};
use outgoing::{Frame, Outgoing, Turn};
use protocol::api::{self, ApiKey};
use protocol::frame::{FrameReader, decode_response, encode_request, response_correlation_id};
use protocol::messages::{Request, VersionRange};
use runtime::hold::{Held, held};
use runtime::net::{ReadHalf, Slice, Stream, WriteHalf};
use runtime::sync::{Lock, Notify, oneshot};
use runtime::{task, time};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// The rank of a connection's lock: a leaf, taken under any other.
const RANK: u8 = 90;

/// How to open a connection and how to behave on it.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// Kafka's `client.id`: shows in the peer's logs and quotas.
    pub client_id: String,
    /// How long opening may take, the ApiVersions exchange included.
    pub connect_timeout: Duration,
    /// The deadline of a request whose call names no other. Where one is not answered for longer, whether or not anybody still
    /// waits, the connection is not used again: a machine that is gone says nothing (`NetworkClient.handleTimedOutRequests`).
    pub request_timeout: Duration,
    /// The largest answer, in bytes; a peer that announces a larger one is cut off.
    pub frame_bytes_max: usize,
    /// Bytes that may wait to be written before [`Connection::send_unanswered`] waits too.
    pub queued_bytes_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "gregor".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            frame_bytes_max: 128 << 20,
            queued_bytes_max: 8 << 20,
        }
    }
}

/// A handle on one open connection. Cheap to clone; the connection closes when the last handle, and the last
/// [`PendingResponse`], is dropped.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle>,
}

/// Closes the connection when nobody can ask anything on it any more.
struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    options: ConnectionOptions,
    versions: PeerVersions,
    state: Lock<State>,
    /// Woken once, when the connection closes.
    closing: Notify,
    /// Woken whenever queued bytes have been written.
    written: Notify,
}

struct State {
    /// The queue of frames, and the writing half while nobody writes.
    outgoing: Outgoing<WriteHalf>,
    /// Who waits for which correlation id.
    waiting: BTreeMap<i32, (i16, oneshot::Sender<Result<Bytes, ClientError>>)>,
    /// What nobody waits for any more and was not answered, and when the peer counts as silent for it.
    given_up: BTreeMap<i32, time::Instant>,
    /// The correlation id of the next request.
    correlation_next: i32,
    closed: Option<CloseCause>,
}

impl Connection {
    /// Opens a connection to `address`, written `host:port`, and asks the peer for its versions.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::ConnectTimedOut`], [`ClientError::Protocol`] when the peer does not answer
    /// ApiVersions as Kafka does, and [`ClientError::Closed`] when it hangs up instead.
    pub async fn connect(address: &str, options: ConnectionOptions) -> Result<Self, ClientError> {
        let after = options.connect_timeout;
        match time::timeout(after, Self::open(address, options)).await {
            Ok(opened) => opened,
            Err(_) => Err(ClientError::ConnectTimedOut { address: address.to_owned(), after }),
        }
    }

    async fn open(address: &str, options: ConnectionOptions) -> Result<Self, ClientError> {
        let stream = Stream::connect(address).await.map_err(|cause| ClientError::Connect {
            address: address.to_owned(),
            kind: cause.kind(),
            cause: cause.to_string(),
        })?;
        let (read, write) = stream.into_split();
        let frames = FrameReader::new(options.frame_bytes_max);
        let mut wire = Wire { read, write, buffer: bytes::BytesMut::new(), frames };
        let versions = handshake::negotiate(&mut wire, &options).await.map_err(|error| match error {
            HandshakeError::Io(cause) => {
                ClientError::Closed { address: address.to_owned(), cause: CloseCause::Io(cause), sent: false }
            }
            HandshakeError::Protocol(cause) => ClientError::Protocol { address: address.to_owned(), cause },
        })?;
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            options,
            versions,
            state: Lock::new(
                RANK,
                State {
                    outgoing: Outgoing::new(wire.write),
                    waiting: BTreeMap::new(),
                    given_up: BTreeMap::new(),
                    correlation_next: 2,
                    closed: None,
                },
            ),
            closing: Notify::new(),
            written: Notify::new(),
        });
        task::spawn(read_answers(shared.clone(), wire.read, wire.buffer, wire.frames));
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// The peer's address, as it was given to [`Connection::connect`].
    pub fn address(&self) -> &str {
        &self.handle.shared.address
    }

    /// The versions in which the peer serves the API `key`, or nothing when it does not.
    pub fn versions(&self, key: ApiKey) -> Option<VersionRange> {
        self.handle.shared.versions.get(&key.0).copied()
    }

    /// The highest version of `R` that the codec, our API table and the peer all know.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] when there is none.
    pub fn version_of<R: Request>(&self) -> Result<i16, ClientError> {
        let mut ours = R::VERSIONS;
        if let Some(api) = api::find(ApiKey(R::KEY)) {
            ours = ours.intersect(&VersionRange { min: api.min, max: api.max });
        }
        let common =
            self.versions(ApiKey(R::KEY)).map(|peers| ours.intersect(&peers)).filter(|common| !common.is_empty());
        common.map(|common| common.max).ok_or_else(|| ClientError::UnsupportedVersion {
            address: self.address().to_owned(),
            api: api_name::<R>(),
            min: ours.min,
            max: ours.max,
        })
    }

    /// Sends `request` at the highest common version, and waits for its answer until the connection's request timeout.
    ///
    /// # Errors
    /// See [`Connection::submit`] and [`PendingResponse::wait`].
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.call_with_timeout(request, self.handle.shared.options.request_timeout).await
    }

    /// As [`Connection::call`], with a deadline of its own. For a long poll: the wait asked of the peer, and some.
    ///
    /// # Errors
    /// See [`Connection::submit`] and [`PendingResponse::wait`].
    pub async fn call_with_timeout<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let version = self.version_of::<R>()?;
        self.submit(version, request, timeout)?.wait().await
    }

    /// As [`Connection::call`], in the version told, which the peer is not asked about: the caller knows.
    ///
    /// # Errors
    /// See [`Connection::submit`] and [`PendingResponse::wait`].
    pub async fn call_at<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, ClientError> {
        self.submit(version, request, self.handle.shared.options.request_timeout)?.wait().await
    }

    /// Queues `request` now and returns the answer to wait for: requests submitted one after another leave in that order.
    ///
    /// The deadline counts from here. Dropping the answer takes the request back if it has not left yet.
    ///
    /// # Errors
    /// [`ClientError::Encode`], and [`ClientError::Closed`] when the connection is closed already.
    pub fn submit<R: Request>(
        &self,
        version: i16,
        request: &R,
        timeout: Duration,
    ) -> Result<PendingResponse<R>, ClientError> {
        let (answered, answer) = oneshot::channel();
        let correlation_id = self.handle.shared.queue(version, request, Some(answered))?;
        flush(&self.handle.shared);
        let connection = self.clone();
        let deadline = time::now() + timeout;
        Ok(PendingResponse { connection, correlation_id, version, deadline, timeout, answer, response: PhantomData })
    }

    /// Queues a request that the peer does not answer: Produce with `acks=0`.
    ///
    /// # Errors
    /// [`ClientError::Encode`], and [`ClientError::Closed`] when the connection is closed already. Success says only that the
    /// request was queued.
    pub fn submit_unanswered<R: Request>(&self, version: i16, request: &R) -> Result<(), ClientError> {
        self.handle.shared.queue(version, request, None)?;
        flush(&self.handle.shared);
        Ok(())
    }

    /// As [`Connection::submit_unanswered`], at the highest common version, and only once there is room in the queue.
    ///
    /// # Errors
    /// As there, and [`ClientError::UnsupportedVersion`].
    pub async fn send_unanswered<R: Request>(&self, request: &R) -> Result<(), ClientError> {
        let version = self.version_of::<R>()?;
        self.has_room().await;
        self.submit_unanswered(version, request)
    }

    /// Waits until the peer has taken so much of what is queued that more may be, or the connection is closed.
    pub async fn has_room(&self) {
        let shared = &self.handle.shared;
        loop {
            let mut written = pin!(shared.written.notified());
            written.as_mut().enable();
            if !shared.has_too_much_queued() {
                return;
            }
            written.await;
        }
    }

    /// Closes the connection and fails every waiting call. Harmless when it is closed already.
    pub fn close(&self) {
        self.handle.shared.close(CloseCause::Local);
    }

    /// Whether the connection is closed, from whichever side.
    pub fn is_closed(&self) -> bool {
        self.handle.shared.state.lock().closed.is_some()
    }

    /// Waits until the connection is closed, and says why. Holds no handle: the future does not keep the connection open.
    pub fn closed(&self) -> impl Future<Output = CloseCause> + Send + 'static {
        let shared = self.handle.shared.clone();
        async move {
            let mut closing = pin!(shared.closing.notified());
            closing.as_mut().enable();
            if shared.state.lock().closed.is_none() {
                closing.await;
            }
            shared.close_cause()
        }
    }

    /// Whether both handles are of one connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(CloseCause::Local);
    }
}

/// The answer to a submitted request, on its way.
pub struct PendingResponse<R: Request> {
    connection: Connection,
    correlation_id: i32,
    version: i16,
    deadline: time::Instant,
    timeout: Duration,
    answer: oneshot::Receiver<Result<Bytes, ClientError>>,
    response: PhantomData<fn() -> R::Response>,
}

impl<R: Request> PendingResponse<R> {
    /// The version that the request was sent in, and its answer will be in.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] past the deadline, [`ClientError::Closed`] when the connection closes first (`sent` says
    /// whether the peer may have seen the request), and [`ClientError::Protocol`] when the answer cannot be decoded, which
    /// closes the connection.
    pub async fn wait(mut self) -> Result<R::Response, ClientError> {
        let shared = self.connection.handle.shared.clone();
        let answer = match time::timeout_at(self.deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer?,
            // The waiter was dropped unanswered: only a close does that.
            Ok(Err(_)) => return Err(shared.closed_error(true)),
            Err(_) => {
                let sent = !self.take_back();
                let address = shared.address.clone();
                return Err(ClientError::Timeout { address, api: api_name::<R>(), after: self.timeout, sent });
            }
        };
        decode_response::<R>(self.version, answer).map_err(|cause| {
            let cause = format!("{} version {}: {cause}", api_name::<R>(), self.version);
            shared.close(CloseCause::Protocol(cause.clone()));
            ClientError::Protocol { address: shared.address.clone(), cause }
        })
    }
}

impl<R: Request> PendingResponse<R> {
    fn take_back(&self) -> bool {
        let shared = &self.connection.handle.shared;
        let more = shared.options.request_timeout.saturating_sub(self.timeout);
        shared.take_back(self.correlation_id, self.deadline + more)
    }
}

impl<R: Request> Drop for PendingResponse<R> {
    fn drop(&mut self) {
        self.take_back();
    }
}

impl Shared {
    /// Puts a request at the end of the queue, under the next correlation id.
    fn queue<R: Request>(
        self: &Arc<Self>,
        version: i16,
        request: &R,
        answered: Option<oneshot::Sender<Result<Bytes, ClientError>>>,
    ) -> Result<i32, ClientError> {
        // Encoded under a placeholder outside the lock; the correlation id goes in once it is known.
        let mut bytes = encode_request(0, Some(&self.options.client_id), version, request)
            .map_err(|cause| ClientError::Encode { api: api_name::<R>(), version, cause: cause.to_string() })?;
        self.close_if_silent();
        let mut state = self.state.lock();
        if let Some(cause) = &state.closed {
            return Err(ClientError::Closed { address: self.address.clone(), cause: cause.clone(), sent: false });
        }
        let correlation_id = state.correlation_next;
        state.correlation_next = correlation_id.checked_add(1).unwrap_or(0);
        bytes[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
        if let Some(answered) = answered {
            state.waiting.insert(correlation_id, (R::KEY, answered));
        }
        let frame = Frame { correlation_id, bytes: bytes.freeze() };
        match held(Held::Leaving, || Some(R::KEY)) {
            None => state.outgoing.push(frame),
            Some(delay) => drop(task::spawn(self.clone().queue_later(frame, delay))),
        }
        Ok(correlation_id)
    }

    /// Queues a request that the simulated world holds back, whether or not anybody still waits for its answer.
    async fn queue_later(self: Arc<Self>, frame: Frame, delay: Duration) {
        time::sleep(delay).await;
        {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.outgoing.push(frame);
        }
        flush(&self);
    }

    /// Hands over an answer that the simulated world holds back.
    async fn complete_later(self: Arc<Self>, frame: Bytes, delay: Duration) {
        time::sleep(delay).await;
        if let Err(cause) = self.complete(frame) {
            self.close(CloseCause::Protocol(cause));
        }
    }

    /// How long the simulated world holds this answer back.
    fn answer_held(&self, frame: &Bytes) -> Option<Duration> {
        held(Held::Arriving, || {
            let correlation_id = response_correlation_id(frame).ok()?;
            self.state.lock().waiting.get(&correlation_id).map(|(key, _)| *key)
        })
    }

    /// Forgets who waits for `correlation_id`, and unqueues its request. True when nothing of the request has left; where it
    /// has, the peer has until `silent_at` to answer it.
    fn take_back(&self, correlation_id: i32, silent_at: time::Instant) -> bool {
        let mut state = self.state.lock();
        if state.waiting.remove(&correlation_id).is_none() {
            return false;
        }
        let is_unsent = state.outgoing.remove(correlation_id);
        if !is_unsent {
            state.given_up.insert(correlation_id, silent_at);
        }
        is_unsent
    }

    /// Looked at whenever somebody asks something: a connection that nobody uses is nobody's trouble.
    fn close_if_silent(&self) {
        let is_silent = |state: &State| state.given_up.values().any(|silent_at| *silent_at <= time::now());
        if is_silent(&self.state.lock()) {
            self.close(CloseCause::Silent);
        }
    }

    fn has_too_much_queued(&self) -> bool {
        let state = self.state.lock();
        state.closed.is_none() && state.outgoing.queued_bytes() > self.options.queued_bytes_max
    }

    /// Closes once: fails every waiting call, wakes the reader, drops the writing half.
    fn close(&self, cause: CloseCause) {
        let (waiting, unsent, writer) = {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(cause.clone());
            let (unsent, writer) = state.outgoing.close();
            (std::mem::take(&mut state.waiting), unsent, writer)
        };
        tracing::debug!(address = self.address, %cause, waiting = waiting.len(), "connection closed");
        for (correlation_id, (_, answered)) in waiting {
            let sent = !unsent.contains(&correlation_id);
            let error = ClientError::Closed { address: self.address.clone(), cause: cause.clone(), sent };
            // Nobody left to tell is nothing to worry about.
            let _ = answered.send(Err(error));
        }
        drop(writer);
        self.closing.notify_waiters();
        self.written.notify_waiters();
    }

    fn close_cause(&self) -> CloseCause {
        self.state.lock().closed.clone().unwrap_or(CloseCause::Local)
    }

    fn closed_error(&self, sent: bool) -> ClientError {
        ClientError::Closed { address: self.address.clone(), cause: self.close_cause(), sent }
    }

    /// Hands an answer to whoever waits for it. A late one, whose caller gave up, is dropped.
    fn complete(&self, frame: Bytes) -> Result<(), String> {
        let correlation_id = response_correlation_id(&frame).map_err(|cause| cause.to_string())?;
        let mut state = self.state.lock();
        let newest = state.correlation_next;
        let waiting = state.waiting.remove(&correlation_id);
        state.given_up.remove(&correlation_id);
        drop(state);
        match waiting {
            // A caller that has gone away meanwhile is nothing to worry about.
            Some((_, answered)) => drop(answered.send(Ok(frame))),
            None if correlation_id < 0 || correlation_id >= newest => {
                return Err(format!("an answer to request {correlation_id}, which nobody asked"));
            }
            None => tracing::debug!(address = self.address, correlation_id, "late answer dropped"),
        }
        Ok(())
    }
}

/// Where the correlation id lies in an encoded request: after length, API key and version.
const CORRELATION_AT: usize = 8;

fn api_name<R: Request>() -> &'static str {
    api::find(ApiKey(R::KEY)).map_or("an API that is not in the table", |api| api.name)
}

/// Writes what is queued, unless somebody is at it already: at once as far as the socket takes it, else in a task of its own.
fn flush(shared: &Arc<Shared>) {
    let Some(writer) = shared.state.lock().outgoing.start_writing() else { return };
    let mut writing: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(write_queued(shared.clone(), writer));
    // With nobody to wake: if it has to wait, the task polls again with a waker of its own.
    if writing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        task::spawn(writing);
    }
}

async fn write_queued(shared: Arc<Shared>, mut writer: WriteHalf) {
    let mut closing = pin!(shared.closing.notified());
    closing.as_mut().enable();
    loop {
        let turn = shared.state.lock().outgoing.next_turn(writer);
        let frames = match turn {
            Turn::Write(taken, frames) => {
                writer = taken;
                frames
            }
            Turn::Idle | Turn::Closed(_) => return,
        };
        let (head, rest) = frames.split_first().expect("a turn to write has at least one frame");
        let rest: Vec<Slice> = rest.iter().cloned().map(Slice::Bytes).collect();
        let written = runtime::select! {
            written = writer.send(head, &rest) => written,
            // A peer that takes nothing would hold the half, and its socket, for ever.
            () = closing.as_mut() => return,
        };
        if let Err(cause) = written {
            return shared.close(CloseCause::Io(cause.to_string()));
        }
        shared.written.notify_waiters();
    }
}

async fn read_answers(shared: Arc<Shared>, mut read: ReadHalf, mut buffer: bytes::BytesMut, frames: FrameReader) {
    let closing = shared.clone();
    let mut closing = pin!(closing.closing.notified());
    closing.as_mut().enable();
    loop {
        loop {
            match frames.next(&mut buffer) {
                Ok(Some(frame)) => {
                    if let Some(delay) = shared.answer_held(&frame) {
                        drop(task::spawn(shared.clone().complete_later(frame, delay)));
                    } else if let Err(cause) = shared.complete(frame) {
                        return shared.close(CloseCause::Protocol(cause));
                    }
                }
                Ok(None) => break,
                Err(cause) => return shared.close(CloseCause::Protocol(cause.to_string())),
            }
        }
        if shared.state.lock().closed.is_some() {
            return;
        }
        let taken = runtime::select! {
            () = closing.as_mut() => return,
            taken = read.read(&mut buffer) => taken,
        };
        match taken {
            Ok(0) => return shared.close(CloseCause::Peer),
            Ok(_) => {}
            Err(cause) => return shared.close(CloseCause::Io(cause.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
