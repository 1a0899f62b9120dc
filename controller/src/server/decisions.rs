//! The one task that decides: takes requests in order, decides them together, commits what they change, then answers.
//!
//! It decides only while this controller leads and has applied everything before its term; otherwise it refuses with
//! `NOT_CONTROLLER`. Requests are decided one after another against the committed image plus what is already proposed, and
//! one log entry carries the records of all of them. No answer leaves before that entry is committed *and* applied. What
//! to decide is [`Control`]'s; this file has no opinion on Kafka.

use super::{
    batch::{Batch, Inbox},
    probe::{Suspect, probe},
};
use crate::{
    control::{Control, ControlRequest, ControlResponse, ProbeAnswer, SessionEffect},
    event::ControllerEvent,
    raft::{CommitError, LeadershipWatch, Raft},
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerEpoch, BrokerId, MetadataOffset, MonotonicMillis},
    internal::BrokerProbeRequest,
};
use runtime::{
    observe::emit,
    rand,
    sync::{Shutdown, mpsc, oneshot},
    task,
    time::{self, Instant},
};
use std::{future::Future, pin::Pin, time::Duration};

/// How many commands may wait to be taken.
const QUEUE: usize = 1_024;
/// How late an alarm may be before this process is taken to have stood still: it heard no heartbeat meanwhile, and may not
/// hold that against the brokers.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// The pause before this controller tries to become active again while it leads but cannot.
const RETRY: Duration = Duration::from_millis(50);

/// What the deciding task is told.
#[derive(Debug)]
pub enum Command {
    /// Somebody asks.
    Decide {
        /// What.
        request: ControlRequest,
        /// Where the answer goes. Closed when nobody waits for it any more.
        answer: oneshot::Sender<Result<ControlResponse, ErrorCode>>,
    },
    /// The connection that a broker's heartbeats came over broke.
    Broke {
        /// Whose.
        broker_id: BrokerId,
    },
    /// A broker was probed.
    Probed {
        /// Which.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
        /// What came of it.
        found: ProbeAnswer,
    },
}

/// The way to the deciding task.
#[derive(Clone, Debug)]
pub struct Decisions(mpsc::Sender<Command>);

impl Decisions {
    /// A way, and its other end.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Has a request decided, committed and applied.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when nothing was decided, `REQUEST_TIMED_OUT` when there is no answer by the deadline, or when
    /// leadership was lost before it was known whether the decision is committed.
    pub async fn decide(&self, request: ControlRequest, deadline: Instant) -> Result<ControlResponse, ErrorCode> {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            let sent = self.0.send(Command::Decide { request, answer }).await;
            sent.map_err(|_| ErrorCode::NotController)?;
            answered.await.unwrap_or(Err(ErrorCode::NotController))
        };
        time::timeout_at(deadline, asked).await.unwrap_or(Err(ErrorCode::RequestTimedOut))
    }

    /// Tells that a connection with heartbeats broke.
    pub async fn broke(&self, broker_id: BrokerId) {
        // Without a deciding task nobody has sessions either.
        let _ = self.0.send(Command::Broke { broker_id }).await;
    }
}

/// What the deciding task is made of.
pub struct Decider {
    /// The metadata log.
    pub raft: Raft,
    /// The machine that decides.
    pub control: Control,
    /// What it is told.
    pub commands: mpsc::Receiver<Command>,
    /// The way to itself, for probes.
    pub decisions: Decisions,
    /// What a probe says.
    pub probe_request: BrokerProbeRequest,
    /// The listener by which brokers reach each other.
    pub inter_broker_listener: String,
    /// How long a leader goes on without hearing from a majority.
    pub quorum_timeout: Duration,
    /// How often preferred leaders are looked after, if at all.
    pub balance_interval: Option<Duration>,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Why this controller no longer decides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Over {
    /// It does not lead, or not surely.
    Lost,
    /// It was asked to stop.
    Stopping,
    /// Raft stopped by itself.
    Failed,
}

/// A batch that was proposed.
struct Committing {
    batch: Batch,
    outcome: Pin<Box<dyn Future<Output = Result<MetadataOffset, CommitError>> + Send>>,
}

/// The times at which something is due without being asked.
struct Due {
    sleep: time::Sleep,
    balance: Option<Instant>,
}

impl Decider {
    /// Runs until the shutdown.
    ///
    /// # Errors
    /// Why Raft stopped by itself, if it did.
    pub async fn run(mut self) -> Result<(), String> {
        let mut leadership = self.raft.leadership();
        loop {
            let over = match self.become_active(&mut leadership).await {
                Ok(term) => {
                    tracing::info!(term, "active");
                    emit(|| ControllerEvent::Activated { term });
                    let over = self.lead(term, &mut leadership).await;
                    tracing::info!(term, ?over, "no longer active");
                    emit(|| ControllerEvent::Resigned { term });
                    over
                }
                Err(over) => over,
            };
            match over {
                Over::Lost => {}
                Over::Stopping => return Ok(()),
                Over::Failed => return Err(self.raft.failure().unwrap_or_default()),
            }
        }
    }

    /// Refuses everything until this controller leads and has applied everything before its term.
    async fn become_active(&mut self, leadership: &mut LeadershipWatch) -> Result<u64, Over> {
        loop {
            while !leadership.current().leads {
                if !self.refuse_until(leadership.changed()).await? {
                    return Err(Over::Failed);
                }
            }
            let raft = self.raft.clone();
            let barrier = self.refuse_until(async {
                runtime::select! {
                    passed = raft.barrier() => Some(passed),
                    () = lost(leadership, None) => None,
                }
            });
            match barrier.await? {
                Some(Ok(term)) => {
                    let current = leadership.current();
                    if current.leads && current.term == term {
                        return Ok(term);
                    }
                }
                Some(Err(CommitError::Stopped(_))) => return Err(Over::Failed),
                Some(Err(error)) => tracing::debug!(%error, "not active yet"),
                None => continue,
            }
            self.refuse_until(time::sleep(RETRY)).await?;
        }
    }

    /// Awaits something, refusing requests meanwhile.
    async fn refuse_until<F: Future>(&mut self, awaited: F) -> Result<F::Output, Over> {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            runtime::select! {
                () = self.shutdown.requested() => return Err(Over::Stopping),
                output = &mut awaited => return Ok(output),
                Some(command) = self.commands.recv() => refuse(command),
            }
        }
    }

    /// Decides until leadership is lost. What then is undecided is refused; what is proposed has an unknown outcome.
    async fn lead(&mut self, term: u64, leadership: &mut LeadershipWatch) -> Over {
        let mut inbox = Inbox::default();
        let mut committing = None;
        let over = self.lead_with(term, leadership, &mut inbox, &mut committing).await;
        if let Some(Committing { batch, .. }) = committing {
            batch.answer_all(&Err(ErrorCode::RequestTimedOut));
        }
        inbox.refuse_all(ErrorCode::NotController);
        over
    }

    async fn lead_with(
        &mut self,
        term: u64,
        leadership: &mut LeadershipWatch,
        inbox: &mut Inbox,
        committing: &mut Option<Committing>,
    ) -> Over {
        inbox.push_own(ControlRequest::Bootstrap);
        let effects = self.control.activate(&self.raft.applied().image(), now());
        self.carry_out(effects, inbox);
        let mut due = Due { sleep: time::sleep(RETRY), balance: self.next_balance() };
        loop {
            if committing.is_none() && !inbox.is_empty() {
                if !self.raft.heard_from_quorum_within(self.quorum_timeout) {
                    return Over::Lost;
                }
                *committing = self.decide(term, inbox);
            }
            self.arm(&mut due);
            let idle = committing.is_none();
            runtime::select! {
                () = self.shutdown.requested() => return Over::Stopping,
                () = lost(leadership, Some(term)) => {
                    return if self.raft.failure().is_some() { Over::Failed } else { Over::Lost };
                }
                outcome = outcome_of(committing) => {
                    let batch = committing.take().map(|committing| committing.batch);
                    match self.settle(batch, outcome) {
                        Ok(()) => {}
                        Err(over) => return over,
                    }
                }
                Some(command) = self.commands.recv(), if idle => {
                    self.take(command, inbox);
                    while inbox.takes_more() {
                        let Ok(command) = self.commands.try_recv() else { break };
                        self.take(command, inbox);
                    }
                }
                () = &mut due.sleep, if idle => {
                    if !self.raft.heard_from_quorum_within(self.quorum_timeout) {
                        return Over::Lost;
                    }
                    self.tick(&mut due, inbox);
                }
            }
        }
    }

    /// Decides what is in the inbox. What changes nothing is answered at once; the rest is proposed as one entry.
    fn decide(&mut self, term: u64, inbox: &mut Inbox) -> Option<Committing> {
        let image = self.raft.applied().image();
        let first = image.offset();
        let batch = Batch::decide(&mut self.control, image, inbox, now());
        runtime::sometimes!(batch.requests() > 1, "controller: requests are decided together");
        if batch.records.is_empty() {
            batch.answer_all(&Ok(()));
            return None;
        }
        let (raft, records) = (self.raft.clone(), batch.records.clone());
        let batch = answered_early_if_mutant(batch);
        let outcome = Box::pin(async move {
            if runtime::buggify!("controller: a decision is committed late") {
                time::sleep(Duration::from_millis(rand::range(1..300))).await;
            }
            raft.commit(term, first, &records).await
        });
        Some(Committing { batch, outcome })
    }

    /// Answers a batch whose outcome is known.
    fn settle(&mut self, batch: Option<Batch>, outcome: Result<MetadataOffset, CommitError>) -> Result<(), Over> {
        runtime::sometimes!(
            matches!(outcome, Err(CommitError::Unknown { .. })),
            "controller: a decision's outcome is unknown"
        );
        let (answer, over) = match outcome {
            Ok(_) => {
                self.control.applied(&self.raft.applied().image(), now());
                (Ok(()), Ok(()))
            }
            Err(error) => {
                tracing::info!(%error, "a batch was not committed");
                match error {
                    CommitError::NotLeader { .. } | CommitError::Stale { .. } => {
                        (Err(ErrorCode::NotController), Err(Over::Lost))
                    }
                    CommitError::Unknown { .. } => (Err(ErrorCode::RequestTimedOut), Err(Over::Lost)),
                    CommitError::Stopped(_) => (Err(ErrorCode::RequestTimedOut), Err(Over::Failed)),
                }
            }
        };
        if let Some(batch) = batch {
            batch.answer_all(&answer);
        }
        over
    }

    fn take(&mut self, command: Command, inbox: &mut Inbox) {
        match command {
            Command::Decide { request, answer } => inbox.push(request, answer),
            Command::Broke { broker_id } => {
                let effect = self.control.sessions_mut().connection_broken(broker_id);
                self.carry_out(effect, inbox);
            }
            Command::Probed { broker_id, broker_epoch, found } => {
                let effect = self.control.sessions_mut().probed(broker_id, broker_epoch, found, now());
                self.carry_out(effect, inbox);
            }
        }
    }

    fn tick(&mut self, due: &mut Due, inbox: &mut Inbox) {
        let late = time::now() - due.sleep.deadline();
        let effects = if late > STOOD_STILL {
            tracing::info!(?late, "this process stood still: sessions start anew");
            self.control.activate(&self.raft.applied().image(), now())
        } else {
            self.control.sessions_mut().tick(now())
        };
        self.carry_out(effects, inbox);
        if due.balance.is_some_and(|balance| balance <= time::now()) {
            due.balance = self.next_balance();
            inbox.push_own(ControlRequest::BalanceLeaders);
        }
    }

    /// Sets the alarm for whatever is due first.
    fn arm(&self, due: &mut Due) {
        let session =
            self.control.sessions().next_deadline().map(|at| Instant::from_nanos(at.0.saturating_mul(1_000_000)));
        let first = [session, due.balance].into_iter().flatten().min();
        let first = first.unwrap_or_else(|| time::now() + Duration::from_secs(3_600));
        if due.sleep.deadline() != first {
            due.sleep.reset(first);
        }
    }

    fn next_balance(&self) -> Option<Instant> {
        self.balance_interval.map(|interval| time::now() + interval)
    }

    fn carry_out(&mut self, effects: impl IntoIterator<Item = SessionEffect>, inbox: &mut Inbox) {
        for effect in effects {
            match effect {
                SessionEffect::Probe { broker_id, broker_epoch } => {
                    if !self.probe(broker_id, broker_epoch) {
                        // Nothing is known of one that says nowhere to ask, so nothing follows.
                        let found = ProbeAnswer::Unreachable;
                        let _ = self.control.sessions_mut().probed(broker_id, broker_epoch, found, now());
                    }
                }
                SessionEffect::Fence { broker_id, broker_epoch, refused } => {
                    tracing::info!(%broker_id, %broker_epoch, refused, "a broker is taken for dead");
                    emit(|| ControllerEvent::BrokerDead { broker_id, refused });
                    inbox.push_own(ControlRequest::FenceBroker { broker_id, broker_epoch });
                }
            }
        }
    }

    /// Asks a broker whether it lives, beside everything else. `false` when it is not known where to ask.
    fn probe(&self, broker_id: BrokerId, broker_epoch: BrokerEpoch) -> bool {
        let image = self.raft.applied().image();
        let registered = image.broker(broker_id).filter(|broker| broker.epoch == broker_epoch);
        let suspect = registered.and_then(|broker| Suspect::new(broker_id, broker, &self.inter_broker_listener));
        let Some(suspect) = suspect else { return false };
        let (request, decisions, shutdown) =
            (self.probe_request.clone(), self.decisions.clone(), self.shutdown.clone());
        task::spawn(async move {
            let found = runtime::select! {
                () = shutdown.requested() => return,
                found = probe(&suspect, &request) => found,
            };
            // Without a deciding task nobody wants to know.
            let _ = decisions.0.send(Command::Probed { broker_id, broker_epoch, found }).await;
        });
        true
    }
}

/// S09 of the bug zoo: what was decided is answered before it is committed.
fn answered_early_if_mutant(batch: Batch) -> Batch {
    if !runtime::mutant!("S09") {
        return batch;
    }
    runtime::mutant_diverged!("S09");
    batch.answer_all(&Ok(()));
    Batch::default()
}

/// Ready when this controller no longer leads, or (with a term) no longer in that term, or Raft has stopped.
async fn lost(leadership: &mut LeadershipWatch, term: Option<u64>) {
    loop {
        let current = leadership.current();
        if !current.leads || term.is_some_and(|term| term != current.term) || !leadership.changed().await {
            return;
        }
    }
}

/// The outcome of what is being committed; never ready when nothing is.
async fn outcome_of(committing: &mut Option<Committing>) -> Result<MetadataOffset, CommitError> {
    match committing {
        Some(committing) => committing.outcome.as_mut().await,
        None => std::future::pending().await,
    }
}

fn refuse(command: Command) {
    match command {
        Command::Decide { answer, .. } => drop(answer.send(Err(ErrorCode::NotController))),
        // Sessions are this controller's only while it is active.
        Command::Broke { .. } | Command::Probed { .. } => {}
    }
}

/// This node's monotonic clock, as the machines want it.
fn now() -> MonotonicMillis {
    MonotonicMillis(time::now().as_millis())
}
