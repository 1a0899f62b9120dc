//! A broker's life as the controller sees it: registration, heartbeats, fencing, leaving in good order.
//!
//! It never touches a partition: it says what the broker is, and hears what the controller makes of that. Heartbeats go
//! over a connection of their own, whose break is the controller's first evidence that this process is gone. Driven by
//! the assembly in `lib.rs`; the rules are in [`state`].

mod state;

use crate::{
    controller_link::{ControllerLink, ControllerLinkError},
    event::ReplicaEvent,
    metadata_cache::MetadataCache,
};
use metadata::record::{Endpoint, FeatureRange};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerEpoch, BrokerId, DirectoryId, IncarnationId},
    messages::{
        BrokerHeartbeatRequest, BrokerRegistrationRequest, StrBytes,
        broker_registration_request::{Feature, Listener},
    },
};
use runtime::{
    buggify, observe, rand,
    sync::{Notify, Shutdown, watch},
    time,
};
use state::{LifecycleState, Phase, Step};
use std::{collections::BTreeMap, time::Duration};

/// How long one registration or heartbeat may take, the search for the active controller included.
const CALL_MAX: Duration = Duration::from_millis(2_000);

/// What a broker says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its id.
    pub node_id: BrokerId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// This start of the process.
    pub incarnation_id: IncarnationId,
    /// Where it is reached.
    pub listeners: Vec<Endpoint>,
    /// The feature levels that it can run at.
    pub features: BTreeMap<String, FeatureRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its log directories.
    pub directories: Vec<DirectoryId>,
}

/// The broker's standing with the controller.
pub struct Lifecycle {
    incarnation_id: IncarnationId,
    state: watch::Sender<LifecycleState>,
    /// Woken when there is something to say before the next heartbeat is due.
    hurry: Notify,
}

impl Lifecycle {
    /// A broker that just started. `previous_broker_epoch` is what its clean shutdown file holds, if it has one.
    pub fn new(incarnation_id: IncarnationId, previous_broker_epoch: Option<BrokerEpoch>) -> Self {
        let state = LifecycleState::new(previous_broker_epoch.unwrap_or(BrokerEpoch::UNKNOWN));
        Self { incarnation_id, state: watch::channel(state).0, hurry: Notify::new() }
    }

    /// This start of the process.
    pub fn incarnation_id(&self) -> IncarnationId {
        self.incarnation_id
    }

    /// Under which registration the broker acts; `None` until the first was accepted.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.state.borrow().broker_epoch()
    }

    /// Waits for the first registration.
    pub async fn registered(&self) -> BrokerEpoch {
        let mut states = self.state.subscribe();
        let registered = states.wait_for(|state| state.broker_epoch().is_some()).await;
        registered
            .ok()
            .and_then(|state| state.broker_epoch())
            .expect("the sender lives in self, and waited for an epoch")
    }

    /// Says that logs are recovered and the metadata holds this registration: from here on it wants to be unfenced.
    pub fn set_ready(&self) {
        self.advance(Phase::Running);
    }

    /// Asks the controller to move this broker's leaderships, and waits until it lets the broker go: at most `limit`, and not
    /// past a `silence` in which no controller answers. Returns whether it did. Afterwards no more heartbeats are sent.
    pub async fn leave(&self, limit: Duration, silence: Duration) -> bool {
        self.advance(Phase::Leaving);
        let deadline = time::now() + limit;
        let mut states = self.state.subscribe();
        let granted = loop {
            if self.state.borrow().next() == Step::Rest {
                break true;
            }
            // Every answer to a heartbeat counts as a change.
            let patience = deadline.min(time::now() + silence);
            if !matches!(time::timeout_at(patience, states.changed()).await, Ok(Ok(()))) {
                break false;
            }
        };
        self.advance(Phase::Left);
        granted
    }

    fn advance(&self, phase: Phase) {
        self.state.send_modify(|state| state.advance(phase));
        self.hurry.notify_one();
    }

    /// Registers and sends heartbeats until the broker has left or the shutdown is requested. Each heartbeat names the log
    /// directories that have failed.
    pub async fn run(
        &self,
        registration: Registration,
        link: ControllerLink,
        metadata: &MetadataCache,
        failed_directories: impl Fn() -> Vec<DirectoryId> + Send,
        interval: Duration,
        shutdown: Shutdown,
    ) {
        loop {
            let step = self.state.borrow().next();
            let said = async {
                if buggify!("a heartbeat is late") {
                    time::sleep(interval * rand::range(1..500) as u32 / 250).await;
                }
                match step {
                    Step::Register { previous_broker_epoch } => {
                        let failed = failed_directories();
                        let mut registration = registration.clone();
                        registration.directories.retain(|directory| !failed.contains(directory));
                        Some(self.register(&registration, previous_broker_epoch, &link, interval).await)
                    }
                    Step::Heartbeat { broker_epoch, want_fence, want_shut_down } => {
                        let request = BrokerHeartbeatRequest::default()
                            .with_broker_id(registration.node_id.into())
                            .with_broker_epoch(broker_epoch.0)
                            // The offset of the last record that was applied, not of the next.
                            .with_current_metadata_offset(metadata.image().offset().0 - 1)
                            .with_want_fence(want_fence)
                            .with_want_shut_down(want_shut_down)
                            .with_offline_log_dirs(failed_directories().iter().map(|id| id.0).collect());
                        Some(self.heartbeat(&request, &link, interval).await)
                    }
                    Step::Rest => None,
                }
            };
            let wait = runtime::select! {
                wait = said => wait,
                () = shutdown.requested() => None,
            };
            let Some(wait) = wait else { return };
            runtime::select! {
                () = shutdown.requested() => return,
                () = self.hurry.notified() => {}
                () = time::sleep(wait) => {}
            }
        }
    }

    async fn register(
        &self,
        registration: &Registration,
        previous_broker_epoch: BrokerEpoch,
        link: &ControllerLink,
        interval: Duration,
    ) -> Duration {
        let request = registration.request(previous_broker_epoch);
        match link.call(&request, time::now() + CALL_MAX).await {
            Ok(answer) => match ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => {
                    let broker_epoch = BrokerEpoch(answer.broker_epoch);
                    tracing::info!(broker_epoch = broker_epoch.0, "registered");
                    observe::emit(|| ReplicaEvent::Registered { broker_epoch });
                    self.change(|state| state.on_registered(broker_epoch))
                }
                code => {
                    tracing::warn!(%code, "the controller refuses the registration");
                    self.change(LifecycleState::on_registration_refused)
                }
            },
            Err(error) => no_answer(&error, interval),
        }
    }

    async fn heartbeat(&self, request: &BrokerHeartbeatRequest, link: &ControllerLink, interval: Duration) -> Duration {
        match link.call(request, time::now() + CALL_MAX).await {
            Ok(answer) => match ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => {
                    self.change(|state| state.on_heartbeat(answer.is_fenced, answer.should_shut_down, interval))
                }
                code => {
                    tracing::info!(%code, "the controller refuses a heartbeat");
                    self.change(|state| state.on_heartbeat_refused(code, interval))
                }
            },
            Err(error) => no_answer(&error, interval),
        }
    }

    /// Changes the state, and says when to go on.
    fn change(&self, change: impl FnOnce(&mut LifecycleState) -> Duration) -> Duration {
        let mut wait = Duration::ZERO;
        self.state.send_modify(|state| wait = change(state));
        wait
    }
}

impl Registration {
    /// The request for it (KIP-631; `log_dirs` KIP-858, `previous_broker_epoch` KIP-966).
    fn request(&self, previous_broker_epoch: BrokerEpoch) -> BrokerRegistrationRequest {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let listener = |endpoint: &Endpoint| {
            Listener::default()
                .with_name(text(&endpoint.name))
                .with_host(text(&endpoint.host))
                .with_port(endpoint.port)
                .with_security_protocol(endpoint.security_protocol.code())
        };
        let feature = |(name, range): (&String, &FeatureRange)| {
            Feature::default()
                .with_name(text(name))
                .with_min_supported_version(range.min)
                .with_max_supported_version(range.max)
        };
        BrokerRegistrationRequest::default()
            .with_broker_id(self.node_id.into())
            .with_cluster_id(text(&self.cluster_id))
            .with_incarnation_id(self.incarnation_id.0)
            .with_listeners(self.listeners.iter().map(listener).collect())
            .with_features(self.features.iter().map(feature).collect())
            .with_rack(self.rack.as_deref().map(text))
            .with_log_dirs(self.directories.iter().map(|directory| directory.0).collect())
            .with_previous_broker_epoch(previous_broker_epoch.0)
    }
}

/// What to wait after a call without an answer: the call itself has waited already.
fn no_answer(error: &ControllerLinkError, interval: Duration) -> Duration {
    tracing::debug!(%error, "no answer from the controller");
    interval.min(Duration::from_millis(100))
}
