//! The way to the active controller: finds it, keeps one connection to it, and looks again when it has moved.
//!
//! It never decides what a refusal means beyond `NOT_CONTROLLER`, and keeps no queue: whoever calls waits. Driven by the
//! broker's lifecycle (registration, heartbeats), by ISR updates, and by handlers that forward to the controller.

use client::{ClientError, Connection, ConnectionOptions};
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerId;
use protocol::messages::{
    AllocateProducerIdsResponse, AlterPartitionResponse, AssignReplicasToDirsResponse, BrokerHeartbeatResponse,
    BrokerRegistrationResponse, DescribeClusterRequest, EnvelopeResponse, Request,
};
use runtime::sync::{AsyncMutex, Lock, Notify};
use runtime::time::{self, Instant};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The rank of the link's lock: taken under no other, and no other under it.
const RANK: u8 = 30;

/// How long opening a connection to a controller may take, its versions included: a controller that is slower than this
/// while another one answers is not the one to talk to.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// How long a call may wait for one controller before the others are asked who leads now.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_000);

/// How long to wait before the controllers are asked again, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// An answer of the controller, as far as the link must understand it.
pub trait ControllerAnswer {
    /// The error of the answer as a whole, as Kafka numbers it.
    fn error_code(&self) -> i16;
}

/// Answers whose error code is a field of that name.
macro_rules! answers {
    ($($answer:ty),* $(,)?) => {
        $(impl ControllerAnswer for $answer {
            fn error_code(&self) -> i16 {
                self.error_code
            }
        })*
    };
}

answers!(
    AllocateProducerIdsResponse,
    AlterPartitionResponse,
    AssignReplicasToDirsResponse,
    BrokerHeartbeatResponse,
    BrokerRegistrationResponse,
    EnvelopeResponse,
);

/// Why the controller gave no answer in time.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControllerLinkError {
    /// No controller said that it is active, or named one that is.
    #[error("no active controller was found among {known} known in time")]
    NoActiveController {
        /// How many controllers are configured.
        known: usize,
    },
    /// The active controller was found, and the call to it failed. What it asked for may have happened.
    #[error("the active controller {controller} gave no answer")]
    NoAnswer {
        /// The controller that was asked last.
        controller: BrokerId,
        /// What went wrong.
        #[source]
        cause: ClientError,
    },
    /// While the active controller gave no answer, the link left it for another. What was asked for may have happened.
    #[error("controller {controller} gave no answer and may not be the active one any more")]
    Replaced {
        /// The controller that was asked last.
        controller: BrokerId,
    },
}

/// Which calls may be sent again when it is not known whether the controller acted on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Always: twice is as good as once.
    Always,
    /// Only when the controller has certainly not acted.
    IfUnsent,
}

/// A connection to the active controller, found again whenever it moves.
pub struct ControllerLink {
    controllers: BTreeMap<BrokerId, String>,
    client_id: String,
    state: Lock<State>,
    /// Held by whoever is asking around, so that only one does.
    searching: AsyncMutex<()>,
    /// Another link of the same broker, which hears of each controller that this one finds.
    sibling: Option<Arc<ControllerLink>>,
    /// Rung when the link leaves a controller.
    left: Notify,
}

#[derive(Default)]
struct State {
    active: Option<Active>,
    /// The controller that failed us last. Others may still name it out of habit: only its own word counts.
    suspect: Option<BrokerId>,
}

#[derive(Clone)]
struct Active {
    id: BrokerId,
    connection: Connection,
}

impl ControllerLink {
    /// A link to the controllers at these addresses (`host:port`), which connects when first used.
    ///
    /// # Panics
    /// When there is no controller.
    pub fn new(controllers: BTreeMap<BrokerId, String>, client_id: impl Into<String>) -> Self {
        assert!(!controllers.is_empty(), "a broker needs at least one controller");
        Self {
            controllers,
            client_id: client_id.into(),
            state: Lock::new(RANK, State::default()),
            searching: AsyncMutex::new(()),
            sibling: None,
            left: Notify::new(),
        }
    }

    /// The same, and whatever it finds the other is told, which may be asked too seldom to notice by itself.
    pub fn telling(self, sibling: Arc<ControllerLink>) -> Self {
        Self { sibling: Some(sibling), ..self }
    }

    /// The controllers that were configured.
    pub fn controllers(&self) -> &BTreeMap<BrokerId, String> {
        &self.controllers
    }

    /// The controller that the link is connected to, if it is to any.
    pub fn active_controller(&self) -> Option<BrokerId> {
        self.state.lock().active.as_ref().map(|active| active.id)
    }

    /// Asks the active controller, and again, at whichever controller is active then, until it answers with anything but
    /// `NOT_CONTROLLER`. For requests that may be repeated: the controller may have acted on an attempt whose answer was
    /// lost.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn call<R>(&self, request: &R, deadline: Instant) -> Result<R::Response, ControllerLinkError>
    where
        R: Request,
        R::Response: ControllerAnswer,
    {
        self.call_repeating(request, deadline, Repeat::Always).await
    }

    /// As [`Self::call`], but asks again only when the controller has certainly not acted: it refused with
    /// `NOT_CONTROLLER`, or never saw the request. One attempt may then last as long as the deadline allows, and as this
    /// controller is the active one.
    ///
    /// # Errors
    /// When the deadline passes, the connection breaks after the request has left, or another controller becomes active.
    pub async fn call_once<R>(&self, request: &R, deadline: Instant) -> Result<R::Response, ControllerLinkError>
    where
        R: Request,
        R::Response: ControllerAnswer,
    {
        self.call_repeating(request, deadline, Repeat::IfUnsent).await
    }

    async fn call_repeating<R>(
        &self,
        request: &R,
        deadline: Instant,
        repeat: Repeat,
    ) -> Result<R::Response, ControllerLinkError>
    where
        R: Request,
        R::Response: ControllerAnswer,
    {
        let mut pause = PAUSE_MIN;
        loop {
            let active = self.active(deadline).await?;
            let left = deadline - time::now();
            let attempt = if repeat == Repeat::Always { left.min(ATTEMPT_TIMEOUT) } else { left };
            let answer = runtime::select! {
                answer = active.connection.call_with_timeout(request, attempt) => answer,
                () = self.is_left_and_silent() => {
                    return Err(ControllerLinkError::Replaced { controller: active.id });
                }
            };
            let cause = match answer {
                Ok(answer) if answer.error_code() != ErrorCode::NotController.code() => {
                    self.state.lock().suspect = None;
                    return Ok(answer);
                }
                Ok(_) => None,
                Err(cause) => Some(cause),
            };
            self.leave(&active);
            if let Some(cause) = cause {
                let again = repeat == Repeat::Always || cause.is_unsent();
                if !again || time::now() + pause >= deadline {
                    return Err(ControllerLinkError::NoAnswer { controller: active.id, cause });
                }
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The connection to the active controller, opened if need be. For callers with requests of their own shape; one that
    /// learns that the controller is not active (or that the connection hangs) says so by [`Self::not_active`].
    ///
    /// # Errors
    /// [`ControllerLinkError::NoActiveController`] when none is found before the deadline.
    pub async fn connection(&self, deadline: Instant) -> Result<(BrokerId, Connection), ControllerLinkError> {
        self.active(deadline).await.map(|active| (active.id, active.connection))
    }

    /// Says that this controller is not active, or not reachable: the next call looks for another. Harmless when the link
    /// has moved on.
    pub fn not_active(&self, controller: BrokerId) {
        let active = self.state.lock().active.clone();
        if let Some(active) = active.filter(|active| active.id == controller) {
            self.leave(&active);
        }
    }

    /// Another link found this controller active. The one that this link is connected to may be gone without a word, and
    /// whoever waits for it may have no time to find out.
    fn hear_of(&self, found: BrokerId) {
        let active = self.state.lock().active.clone();
        if let Some(active) = active.filter(|active| active.id != found) {
            if runtime::mutant!("S26") {
                runtime::mutant_diverged!("S26");
            } else {
                self.leave(&active);
            }
        }
    }

    /// Ends when the link has left a controller for as long as one that lives takes to say that it is not the active one.
    async fn is_left_and_silent(&self) {
        self.left.notified().await;
        time::sleep(ATTEMPT_TIMEOUT).await;
    }

    fn leave(&self, left: &Active) {
        let mut state = self.state.lock();
        if state.active.as_ref().is_some_and(|active| active.connection.is_same(&left.connection)) {
            state.active = None;
            state.suspect = Some(left.id);
            drop(state);
            self.left.notify_waiters();
        }
    }

    fn connected(&self) -> Option<Active> {
        let mut state = self.state.lock();
        if state.active.as_ref().is_some_and(|active| active.connection.is_closed()) {
            state.suspect = state.active.take().map(|active| active.id);
        }
        state.active.clone()
    }

    async fn active(&self, deadline: Instant) -> Result<Active, ControllerLinkError> {
        if let Some(active) = self.connected() {
            return Ok(active);
        }
        let none = ControllerLinkError::NoActiveController { known: self.controllers.len() };
        time::timeout_at(deadline, self.search()).await.map_err(|_| none)
    }

    /// Asks every controller at once who is active, until one names one that can be reached.
    async fn search(&self) -> Active {
        let _searching = self.searching.lock().await;
        let mut pause = PAUSE_MIN;
        loop {
            // Somebody else may have found it while we waited for our turn.
            if let Some(active) = self.connected() {
                return active;
            }
            let suspect = self.state.lock().suspect;
            if let Some(active) = self.ask_around(suspect).await {
                self.state.lock().active = Some(active.clone());
                if let Some(sibling) = &self.sibling {
                    sibling.hear_of(active.id);
                }
                return active;
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask_around(&self, suspect: Option<BrokerId>) -> Option<Active> {
        let mut asked: FuturesUnordered<_> = self.controllers.keys().map(|id| self.ask(*id)).collect();
        while let Some((id, answer)) = asked.next().await {
            let Some((connection, named)) = answer else { continue };
            if named == id {
                return Some(Active { id, connection });
            }
            if suspect == Some(named) {
                continue;
            }
            if let Some(connection) = self.connect(named).await {
                return Some(Active { id: named, connection });
            }
        }
        None
    }

    /// Whom this controller takes for active, with the connection on which it said so.
    async fn ask(&self, id: BrokerId) -> (BrokerId, Option<(Connection, BrokerId)>) {
        let answer = async {
            let connection = self.connect(id).await?;
            // Endpoint type 2 asks a controller about controllers (KIP-919).
            let request = DescribeClusterRequest::default().with_endpoint_type(2);
            let answer = connection.call_with_timeout(&request, CONNECT_TIMEOUT).await.ok()?;
            let named = BrokerId::from_wire(answer.controller_id.0)?;
            (answer.error_code == ErrorCode::None.code()).then_some((connection, named))
        };
        (id, answer.await)
    }

    async fn connect(&self, id: BrokerId) -> Option<Connection> {
        let address = self.controllers.get(&id)?;
        let options = ConnectionOptions {
            client_id: self.client_id.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            ..ConnectionOptions::default()
        };
        match Connection::connect(address, options).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::debug!(controller = id.0, %error, "cannot reach a controller");
                None
            }
        }
    }
}

impl std::fmt::Debug for ControllerLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControllerLink").field("active", &self.active_controller()).finish_non_exhaustive()
    }
}
