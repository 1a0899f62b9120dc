//! Pure. Which brokers live: a local machine of the active controller, fed by heartbeats and by evidence of death.
//!
//! A heartbeat is not a record: it changes only this. A broker that is silent for the session timeout is to be fenced;
//! one that is shown to be dead is fenced at once. Evidence of death is two refused connects, [`PROBE_AGAIN_MS`] apart, to
//! the broker's own listener after its heartbeat connection broke, or another incarnation that answers there. A connect
//! that times out proves nothing: the network may be cut.
//!
//! Times are the controller's monotonic clock. Nothing here outlives the leadership: a new active controller starts every
//! session anew and probes every broker at once (`BrokerHeartbeatTracker`, `BrokerHeartbeatManager`).

use metadata::image::Image;
use protocol::ids::{BrokerEpoch, BrokerId, IncarnationId, MetadataOffset, MonotonicMillis};
use protocol::messages::BrokerHeartbeatRequest;
use std::collections::BTreeMap;

/// How long after a refused connect the second one is tried.
pub const PROBE_AGAIN_MS: u64 = 100;

/// Something to do about a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Connect to the broker's own listener and ask who it is; report with [`Sessions::probed`].
    Probe {
        /// Whom.
        broker_id: BrokerId,
        /// Under which registration: to be handed back.
        broker_epoch: BrokerEpoch,
    },
    /// Decide [`FenceBroker`](super::ControlRequest::FenceBroker): the broker is taken for dead.
    Fence {
        /// Whom.
        broker_id: BrokerId,
        /// Under which registration.
        broker_epoch: BrokerEpoch,
        /// By evidence, not by silence.
        refused: bool,
    },
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// A broker process answered.
    Alive {
        /// Which start of it.
        incarnation_id: IncarnationId,
    },
    /// The machine is there, and nobody listens.
    Refused,
    /// No answer in time, or another failure: nothing is known.
    Unreachable,
}

/// What is suspected of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// Nothing.
    None,
    /// A probe is on its way, after so many refusals.
    Probing { refusals: u32 },
    /// It refused so many times, and is asked again at this time.
    Waiting { refusals: u32, again_at: MonotonicMillis },
}

/// One broker's session: of one registration.
#[derive(Clone, Debug)]
struct Session {
    broker_epoch: BrokerEpoch,
    incarnation_id: IncarnationId,
    fenced: bool,
    /// The last heartbeat, or when the session began.
    contact: MonotonicMillis,
    /// The last record that the broker said it has applied.
    metadata_offset: Option<MetadataOffset>,
    suspicion: Suspicion,
    /// Taken for dead, or let go, since the last contact.
    dead: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    timeout_ms: u64,
    by_broker: BTreeMap<BrokerId, Session>,
    /// The next offset of the image that the sessions were last compared with.
    seen: MetadataOffset,
}

impl Sessions {
    /// No session yet; the timeout is `broker.session.timeout.ms`.
    pub fn new(timeout_ms: u64) -> Self {
        Self { timeout_ms, by_broker: BTreeMap::new(), seen: MetadataOffset(0) }
    }

    /// Starts the session of every registered broker anew, and asks for a probe of each.
    pub fn activate(&mut self, image: &Image, now: MonotonicMillis) -> Vec<SessionEffect> {
        self.by_broker.clear();
        self.applied(image, now);
        let brokers: Vec<BrokerId> = self.by_broker.keys().copied().collect();
        brokers.into_iter().filter_map(|broker_id| self.connection_broken(broker_id)).collect()
    }

    /// Compares the sessions with the registrations: a new registration begins one, a removed or replaced one ends its.
    pub fn applied(&mut self, image: &Image, now: MonotonicMillis) {
        self.seen = image.offset();
        self.by_broker.retain(|broker_id, session| {
            image.broker(*broker_id).is_some_and(|broker| broker.epoch == session.broker_epoch)
        });
        for (broker_id, broker) in image.brokers() {
            let session = self.by_broker.entry(broker_id).or_insert_with(|| Session {
                broker_epoch: broker.epoch,
                incarnation_id: broker.incarnation_id,
                fenced: broker.fenced,
                contact: now,
                metadata_offset: None,
                suspicion: Suspicion::None,
                dead: false,
            });
            session.fenced = broker.fenced;
        }
    }

    /// A heartbeat arrived; one of another registration than the image's is nobody's.
    pub fn heartbeat(&mut self, image: &Image, request: &BrokerHeartbeatRequest, now: MonotonicMillis) {
        let (broker_id, broker_epoch) = (BrokerId::from(request.broker_id), BrokerEpoch(request.broker_epoch));
        if image.broker(broker_id).is_none_or(|broker| broker.epoch != broker_epoch) {
            return;
        }
        if let Some(session) = self.by_broker.get_mut(&broker_id).filter(|session| session.broker_epoch == broker_epoch)
        {
            session.contact = session.contact.max(now);
            session.metadata_offset =
                session.metadata_offset.max(Some(MetadataOffset(request.current_metadata_offset)));
            session.suspicion = Suspicion::None;
            session.dead = false;
        }
    }

    /// A broker was told that it may stop: its next start need not wait for this one's session to end.
    pub fn let_go(&mut self, broker_id: BrokerId) {
        if let Some(session) = self.by_broker.get_mut(&broker_id) {
            session.dead = true;
            session.suspicion = Suspicion::None;
        }
    }

    /// The connection that a broker's heartbeats came by broke: it is to be probed, unless it is being probed.
    pub fn connection_broken(&mut self, broker_id: BrokerId) -> Option<SessionEffect> {
        let session = self.by_broker.get_mut(&broker_id)?;
        if session.dead || session.suspicion != Suspicion::None {
            return None;
        }
        session.suspicion = Suspicion::Probing { refusals: 0 };
        Some(SessionEffect::Probe { broker_id, broker_epoch: session.broker_epoch })
    }

    /// A probe ended; `broker_epoch` is the effect's. The second refusal is a death.
    pub fn probed(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        answer: ProbeAnswer,
        now: MonotonicMillis,
    ) -> Option<SessionEffect> {
        let session = self.by_broker.get_mut(&broker_id).filter(|session| session.broker_epoch == broker_epoch)?;
        // A heartbeat that came meanwhile says more than the probe.
        let Suspicion::Probing { refusals } = session.suspicion else { return None };
        session.suspicion = Suspicion::None;
        let (proven, refusals) = match answer {
            ProbeAnswer::Alive { incarnation_id } if incarnation_id == session.incarnation_id => return None,
            ProbeAnswer::Alive { .. } => (true, refusals),
            ProbeAnswer::Refused => (refusals > 0, refusals + 1),
            // A process that is just ending still takes connections, and breaks them off.
            ProbeAnswer::Unreachable => (false, refusals),
        };
        if !proven && now < session.contact.plus(self.timeout_ms) {
            session.suspicion = Suspicion::Waiting { refusals, again_at: now.plus(PROBE_AGAIN_MS) };
        }
        proven.then(|| session.die(broker_id, true, now))
    }

    /// The clock moved: what is due now. A broker that stays unfenced though it was taken for dead is named again after
    /// another session timeout.
    pub fn tick(&mut self, now: MonotonicMillis) -> Vec<SessionEffect> {
        let mut effects = Vec::new();
        for (broker_id, session) in &mut self.by_broker {
            let (broker_id, broker_epoch) = (*broker_id, session.broker_epoch);
            if !session.fenced && now >= session.contact.plus(self.timeout_ms) {
                effects.push(session.die(broker_id, false, now));
            } else if let Suspicion::Waiting { refusals, again_at } = session.suspicion
                && now >= again_at
            {
                session.suspicion = Suspicion::Probing { refusals };
                effects.push(SessionEffect::Probe { broker_id, broker_epoch });
            }
        }
        effects
    }

    /// When [`Sessions::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<MonotonicMillis> {
        let expiry = |session: &Session| (!session.fenced).then(|| session.contact.plus(self.timeout_ms));
        let again = |session: &Session| match session.suspicion {
            Suspicion::Waiting { again_at, .. } => Some(again_at),
            Suspicion::None | Suspicion::Probing { .. } => None,
        };
        self.by_broker.values().flat_map(|session| [expiry(session), again(session)]).flatten().min()
    }

    /// Whether this registration of a broker still has a session: it was heard from within the timeout, and there is no
    /// evidence against it. A registration that is not applied yet lives.
    pub fn is_live(&self, broker_id: BrokerId, broker_epoch: BrokerEpoch, now: MonotonicMillis) -> bool {
        match self.by_broker.get(&broker_id).filter(|session| session.broker_epoch == broker_epoch) {
            Some(session) => !session.dead && now < session.contact.plus(self.timeout_ms),
            None => broker_epoch.0 >= self.seen.0,
        }
    }

    /// Whether every active broker has said that it applied the record at `offset`
    /// (`BrokerHeartbeatManager.lowestActiveOffset`).
    pub fn all_passed(&self, image: &Image, offset: MetadataOffset) -> bool {
        let passed = |broker_id: BrokerId| {
            self.by_broker.get(&broker_id).is_some_and(|session| session.metadata_offset >= Some(offset))
        };
        image.brokers().filter(|(_, broker)| broker.is_active()).all(|(broker_id, _)| passed(broker_id))
    }
}

impl Session {
    /// Takes the broker for dead, and lets another timeout run from here.
    fn die(&mut self, broker_id: BrokerId, refused: bool, now: MonotonicMillis) -> SessionEffect {
        self.dead = true;
        self.contact = now;
        self.suspicion = Suspicion::None;
        SessionEffect::Fence { broker_id, broker_epoch: self.broker_epoch, refused }
    }
}

#[cfg(test)]
mod tests;
