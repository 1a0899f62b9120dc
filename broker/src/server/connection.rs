//! One connection: reads requests, has them handled, and sends the answers in the order of the requests.
//!
//! It knows nothing of what a request means. All of it is one task: a request is handled to its end where it was read,
//! without a channel or another task between, unless it has to wait; then its answer is in [`Answers`]. Every whole
//! frame that has arrived is handled before anything is written, and all answers that are ready leave in one write.

use super::{
    answers::{Answers, Behind},
    budget::{RequestBudget, Share, Turn},
};
use crate::handlers::{
    self, Services,
    context::{Answer, ConnectionInfo, Outcome, RequestContext},
};
use bytes::BytesMut;
use protocol::{
    api::{ApiKey, JOIN_GROUP, SYNC_GROUP},
    frame::{FrameError, FrameReader, encode_unsupported_api_versions, parse_request_head},
    ids::MonotonicMillis,
};
use runtime::{
    net::{ReadHalf, Slice, Stream, WriteHalf},
    sync::Notify,
    time::{self, Instant, Sleep},
};
use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

/// By when every request has its answer, whatever its client allows; see [`longest`].
const REQUEST_MAX: Duration = Duration::from_secs(300);
/// The longest timeout that a member of a group can name.
const GROUP_MAX: Duration = Duration::from_millis(i32::MAX as u64);
/// How much later than its deadline a request may be answered before the connection is given up.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection that reads although the budget is spent may take to complete its request.
const TURN_MAX: Duration = Duration::from_secs(10);
/// How often a connection that is never idle for too long looks at the clock.
const LONG: Duration = Duration::from_secs(3_600);
/// The buffers of a connection that were larger are given back when they are empty.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// From this size on a request does not share its memory with what the connection reads next.
const ALONE_BYTES_MIN: usize = 32 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("the peer closed it")]
    Peer,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Answer(&'static str),
    #[error("nothing was asked for too long")]
    Idle,
    #[error("the peer does not read its answers")]
    Stuck,
    #[error("a request has no answer past its deadline")]
    Unanswered,
    #[error("a request takes too long to arrive, and memory is short")]
    SlowRequest,
    #[error("the broker stops")]
    Stopping,
}

/// What all connections of a broker share.
pub(super) struct Limits {
    pub(super) request_bytes_max: usize,
    pub(super) queued_requests_max: usize,
    pub(super) idle_max: Option<Duration>,
    pub(super) budget: Arc<RequestBudget>,
}

/// One open connection.
pub(super) struct Connection {
    info: Arc<ConnectionInfo>,
    services: Arc<Services>,
    /// How the client called itself last; most clients never change it.
    client_id: Option<Arc<str>>,
    idle_max: Option<Duration>,
    reader: ReadHalf,
    writer: WriteHalf,
    frames: FrameReader,
    /// What has arrived and was not handled.
    received: BytesMut,
    answers: Answers<Answer>,
    /// False once a request closes the connection: the answers before it are still sent.
    reading: bool,
    /// Answers on their way out, gathered for one write.
    sending: BytesMut,
    budget: Arc<RequestBudget>,
    share: Share,
    /// The right to read on although the budget is spent, and since when.
    turn: Option<(Turn, Instant)>,
    /// When the last whole request arrived, or the last answer left.
    active: Instant,
    timer: Sleep,
}

/// What woke a connection.
enum Woken {
    Answer,
    Received(usize),
    Alarm,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(stream: Stream, info: ConnectionInfo, services: Arc<Services>, limits: &Limits) -> Self {
        let (reader, writer) = stream.into_split();
        let active = time::now();
        Self {
            info: Arc::new(info),
            services,
            client_id: None,
            idle_max: limits.idle_max,
            reader,
            writer,
            frames: FrameReader::new(limits.request_bytes_max),
            received: BytesMut::new(),
            answers: Answers::new(limits.queued_requests_max),
            reading: true,
            sending: BytesMut::new(),
            budget: limits.budget.clone(),
            share: limits.budget.share(),
            turn: None,
            active,
            timer: time::sleep_until(active + limits.idle_max.unwrap_or(LONG)),
        }
    }

    /// Serves it until it ends, and says why it did.
    pub(super) async fn serve(mut self, stop: Arc<Notify>) -> Closed {
        let mut stopped = pin!(stop.notified());
        stopped.as_mut().enable();
        loop {
            self.handle_requests();
            if let Err(closed) = self.send_answers().await {
                return closed;
            }
            // Sending may have made room for requests that have arrived already.
            if self.reading
                && self.answers.takes_more()
                && matches!(self.frames.missing(&self.received), Ok(0) | Err(_))
            {
                continue;
            }
            match self.wait(stopped.as_mut()).await {
                Ok(Woken::Answer) => {}
                Ok(Woken::Received(0)) => return Closed::Peer,
                Ok(Woken::Received(_)) => self.share.set(self.received.len()),
                Ok(Woken::Alarm) => {
                    if let Some(closed) = self.on_alarm() {
                        return closed;
                    }
                }
                Err(closed) => return closed,
            }
        }
    }

    /// Handles what has arrived, as far as requests may begin.
    fn handle_requests(&mut self) {
        while self.reading && self.answers.takes_more() {
            match self.handle_next() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::info!(peer = %self.info.peer, listener = &*self.info.listener, %error, "a request is refused");
                    self.close("a request cannot be read");
                }
            }
        }
        self.share.set(self.received.len());
        if self.turn.is_some() && (self.received.is_empty() || !self.budget.is_spent()) {
            self.turn = None;
        }
        if self.received.is_empty() && self.received.capacity() > KEPT_BYTES_MAX {
            self.received = BytesMut::new();
        }
    }

    /// Handles one request, if a whole one has arrived.
    fn handle_next(&mut self) -> Result<bool, FrameError> {
        let Some(frame) = self.frames.next(&mut self.received)? else { return Ok(false) };
        self.active = time::now();
        if frame.len() >= ALONE_BYTES_MIN && self.received.is_empty() {
            // A large request has its memory for itself, so that its records can be stamped in place.
            self.received = BytesMut::new();
        }
        let head = parse_request_head(frame, self.info.plane)?;
        if head.is_unsupported_api_versions() {
            let head = encode_unsupported_api_versions(head.correlation_id).freeze();
            self.answers.push_ready(Answer::Send { head, body: Vec::new() });
            return Ok(true);
        }
        let deadline = self.active + longest(head.api_key);
        if self.client_id.as_deref() != head.client_id.as_deref() {
            self.client_id = head.client_id.as_deref().map(Arc::from);
        }
        let context = RequestContext::new(self.info.clone(), &head, self.client_id.clone(), deadline);
        match handlers::handle(&self.services, context, head)? {
            Outcome::Done(answer) => self.answers.push_ready(answer),
            Outcome::Parked(answer) => self.answers.push_waiting(answer, Behind::Proceeds, millis(deadline)),
            Outcome::Waiting(answer) => self.answers.push_waiting(answer, Behind::Waits, millis(deadline)),
        }
        Ok(true)
    }

    /// Reads no more, and ends the connection once the answers before this have left.
    fn close(&mut self, why: &'static str) {
        self.reading = false;
        self.answers.push_ready(Answer::Close(why));
    }

    /// Sends every answer whose turn it is.
    async fn send_answers(&mut self) -> Result<(), Closed> {
        let mut close = None;
        while let Some(answer) = self.answers.pop_ready() {
            match answer {
                Answer::Send { head, body } => {
                    self.sending.extend_from_slice(&head);
                    if !body.is_empty() {
                        self.send(&body).await?;
                    }
                }
                Answer::Nothing => {}
                Answer::Close(why) => {
                    close = Some(Closed::Answer(why));
                    break;
                }
            }
        }
        if !self.sending.is_empty() {
            self.send(&[]).await?;
        }
        close.map_or(Ok(()), Err)
    }

    /// Sends what is gathered and these slices after it.
    async fn send(&mut self, body: &[Slice]) -> Result<(), Closed> {
        let patience = self.idle_max.unwrap_or(LONG);
        let begun = time::now();
        {
            let mut sending = pin!(self.writer.send(&self.sending, body));
            loop {
                let sent = runtime::select! {
                    sent = sending.as_mut() => Some(sent),
                    () = &mut self.timer => None,
                };
                match sent {
                    Some(sent) => break sent?,
                    None if time::now() >= begun + patience => return Err(Closed::Stuck),
                    None => self.timer.reset(begun + patience),
                }
            }
        }
        self.sending.clear();
        if self.sending.capacity() > KEPT_BYTES_MAX {
            self.sending = BytesMut::new();
        }
        self.active = begun;
        Ok(())
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, stopped: Pin<&mut impl Future<Output = ()>>) -> Result<Woken, Closed> {
        let alarm = self.next_alarm();
        if alarm < self.timer.deadline() {
            self.timer.reset(alarm);
        }
        let may_read = self.reading && self.answers.takes_more();
        let owes = !self.answers.is_empty();
        let Self { answers, reader, received, budget, turn, timer, .. } = self;
        let reading = async {
            if turn.is_none() && budget.is_spent() {
                *turn = Some((budget.turn().await, time::now()));
            }
            reader.read(received).await
        };
        runtime::select! {
            () = poll_fn(|context| answers.poll_oldest(context)), if owes => Ok(Woken::Answer),
            read = reading, if may_read => Ok(Woken::Received(read?)),
            () = timer => Ok(Woken::Alarm),
            () = stopped => Err(Closed::Stopping),
        }
    }

    /// When the clock must be looked at next, if nothing else happens.
    fn next_alarm(&self) -> Instant {
        let idle = self.active + self.idle_max.unwrap_or(LONG);
        let unanswered = self.answers.oldest_deadline().map(|deadline| instant(deadline) + GRACE);
        let turn = self.turn.as_ref().map(|(_, since)| *since + TURN_MAX);
        [unanswered, turn].into_iter().flatten().fold(idle, Instant::min)
    }

    /// The clock is looked at: is anything overdue?
    fn on_alarm(&mut self) -> Option<Closed> {
        let now = time::now();
        let overdue = |since: Instant, limit| now >= since + limit;
        if self.answers.oldest_deadline().is_some_and(|deadline| overdue(instant(deadline), GRACE)) {
            return Some(Closed::Unanswered);
        }
        if self.turn.as_ref().is_some_and(|(_, since)| overdue(*since, TURN_MAX)) {
            return Some(Closed::SlowRequest);
        }
        let idle = self.answers.is_empty() && self.idle_max.is_some_and(|limit| overdue(self.active, limit));
        if idle {
            return Some(Closed::Idle);
        }
        // While an answer is owed, idleness is not counted.
        self.timer.reset(self.next_alarm().max(now + Duration::from_secs(1)));
        None
    }
}

/// By when a request has its answer. Who joins a group waits for the others, and they may take as long as their rebalance timeout
/// says (`max.poll.interval.ms`): the group's own clocks end that.
fn longest(api_key: ApiKey) -> Duration {
    if [JOIN_GROUP, SYNC_GROUP].contains(&api_key) { GROUP_MAX } else { REQUEST_MAX }
}

fn millis(instant: Instant) -> MonotonicMillis {
    MonotonicMillis(instant.as_millis())
}

fn instant(millis: MonotonicMillis) -> Instant {
    Instant::from_nanos(0) + Duration::from_millis(millis.0)
}
