//! Pure. Which brokers belong to the cluster: registration, heartbeats, fencing, leaving (KIP-631, KIP-841, KIP-903).
//!
//! As `ClusterControlManager`, `ReplicationControlManager` and `BrokerHeartbeatManager.calculateNextBrokerState`. Who was
//! heard from is [`Sessions`]' to know; what is replicated is decided here.
//!
//! A broker that lost a log directory is relieved of the replicas in it. One that lost all, or keeps replicas of which it is
//! not known where they lie, is fenced until it registers again.

use super::directories;
use super::draft::Draft;
use super::partitions::{Leaving, elect_missing_leaders, leads_anything, remove_broker, remove_offline_replicas};
use super::sessions::Sessions;
use metadata::image::{BrokerImage, Image, METADATA_VERSION};
use metadata::record::{Endpoint, FeatureRange, Record, SecurityProtocol};
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, IncarnationId};
use protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use std::collections::{BTreeMap, BTreeSet};

/// The level that a feature counts as finalized at where it is not: only `metadata.version` starts at one.
fn level_or_default(image: &Image, feature: &str) -> i16 {
    image.features.level(feature).unwrap_or(i16::from(feature == METADATA_VERSION))
}

/// How many directory ids Kafka keeps for itself, from zero (`DirectoryId.reserved`).
const RESERVED_DIRECTORIES: u128 = 100;

/// Whether a request comes from the registered life of a broker (`ClusterControlManager.checkBrokerEpoch`).
///
/// # Errors
/// STALE_BROKER_EPOCH when it is not registered, or under another epoch.
pub(super) fn check_epoch(
    image: &Image,
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
) -> Result<&BrokerImage, ErrorCode> {
    image.broker(broker_id).filter(|broker| broker.epoch == broker_epoch).ok_or(ErrorCode::StaleBrokerEpoch)
}

/// Registers a broker. `live` says whether a registration still has a session.
///
/// INCONSISTENT_CLUSTER_ID (104) for a broker of another cluster; DUPLICATE_BROKER_REGISTRATION (101) while another
/// incarnation lives and is not leaving; INVALID_REGISTRATION (119) for directories or listeners that cannot be;
/// UNSUPPORTED_VERSION (35) for one that cannot run at a finalized level. The same incarnation keeps its epoch.
pub(super) fn register(
    draft: &mut Draft<'_>,
    cluster_id: &str,
    live: impl Fn(BrokerId, BrokerEpoch) -> bool,
    request: &BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    let answer = BrokerRegistrationResponse::default();
    match check_registration(draft.image(), cluster_id, live, request) {
        Ok(registration) => {
            let broker_epoch = admit(draft, request, registration);
            answer.with_broker_epoch(broker_epoch.0)
        }
        Err(code) => answer.with_error_code(code as i16).with_broker_epoch(BrokerEpoch::UNKNOWN.0),
    }
}

/// What a registration says, read.
struct Registration {
    listeners: Vec<Endpoint>,
    directories: Vec<DirectoryId>,
    features: BTreeMap<String, FeatureRange>,
}

fn check_registration(
    image: &Image,
    cluster_id: &str,
    live: impl Fn(BrokerId, BrokerEpoch) -> bool,
    request: &BrokerRegistrationRequest,
) -> Result<Registration, ErrorCode> {
    let broker_id = BrokerId::from(request.broker_id);
    if request.cluster_id.as_str() != cluster_id {
        return Err(ErrorCode::InconsistentClusterId);
    }
    let incarnation_id = IncarnationId(request.incarnation_id);
    let other = image.broker(broker_id).filter(|broker| broker.incarnation_id != incarnation_id);
    if other.is_some_and(|other| live(broker_id, other.epoch) && !other.controlled_shutdown) {
        return Err(ErrorCode::DuplicateBrokerRegistration);
    }
    if request.is_migrating_zk_broker {
        return Err(ErrorCode::BrokerIdNotRegistered);
    }
    if broker_id < BrokerId(0) {
        return Err(ErrorCode::InvalidRegistration);
    }
    Ok(Registration {
        directories: directories(image, broker_id, request)?,
        listeners: listeners(request)?,
        features: features(image, request)?,
    })
}

/// The log directories: at least one, none twice, none of Kafka's own ids, none of another broker.
fn directories(
    image: &Image,
    broker_id: BrokerId,
    request: &BrokerRegistrationRequest,
) -> Result<Vec<DirectoryId>, ErrorCode> {
    let directories: Vec<DirectoryId> = request.log_dirs.iter().map(|id| DirectoryId(*id)).collect();
    let unique: BTreeSet<&DirectoryId> = directories.iter().collect();
    let reserved = directories.iter().any(|directory| directory.0.as_u128() < RESERVED_DIRECTORIES);
    let mut others = image.brokers().filter(|(id, _)| *id != broker_id);
    let taken = others.any(|(_, other)| other.directories.iter().any(|directory| unique.contains(directory)));
    if directories.is_empty() || reserved || taken || unique.len() < directories.len() {
        return Err(ErrorCode::InvalidRegistration);
    }
    Ok(directories)
}

fn listeners(request: &BrokerRegistrationRequest) -> Result<Vec<Endpoint>, ErrorCode> {
    let endpoint = |listener: &protocol::messages::broker_registration_request::Listener| {
        let security_protocol = SecurityProtocol::from_code(listener.security_protocol)?;
        Some(Endpoint {
            name: listener.name.to_string(),
            host: listener.host.to_string(),
            port: listener.port,
            security_protocol,
        })
    };
    let listeners: Option<Vec<Endpoint>> = request.listeners.iter().map(endpoint).collect();
    let listeners = listeners.filter(|listeners| {
        let names: BTreeSet<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        names.len() == listeners.len()
    });
    listeners.ok_or(ErrorCode::InvalidRegistration)
}

/// The feature ranges: every finalized level must lie in the broker's range, and a feature that it does not name it can
/// run at zero only (`ClusterControlManager.processRegistrationFeature`).
fn features(image: &Image, request: &BrokerRegistrationRequest) -> Result<BTreeMap<String, FeatureRange>, ErrorCode> {
    let range = |feature: &protocol::messages::broker_registration_request::Feature| {
        let range = FeatureRange { min: feature.min_supported_version, max: feature.max_supported_version };
        (feature.name.to_string(), range)
    };
    let features: BTreeMap<String, FeatureRange> = request.features.iter().map(range).collect();
    let within = |name: &str, range: &FeatureRange| (range.min..=range.max).contains(&level_or_default(image, name));
    let supported = features.iter().all(|(name, range)| within(name, range));
    let named = image.features.iter().all(|(name, _)| features.contains_key(name));
    if supported && named { Ok(features) } else { Err(ErrorCode::UnsupportedVersion) }
}

/// Writes a registration that was found good. A new incarnation leaves the ISRs of the old one in the same batch, and
/// the ELRs too unless it proves that the old one stopped cleanly: by naming its epoch, which stands in the
/// clean-shutdown file (KIP-966).
fn admit(draft: &mut Draft<'_>, request: &BrokerRegistrationRequest, registration: Registration) -> BrokerEpoch {
    let broker_id = BrokerId::from(request.broker_id);
    let incarnation_id = IncarnationId(request.incarnation_id);
    let Registration { listeners, directories, features } = registration;
    let rack = request.rack.as_ref().map(ToString::to_string);
    let before = draft.image().broker(broker_id).cloned();
    let same = before.as_ref().filter(|before| before.incarnation_id == incarnation_id);
    let record = Record::RegisterBroker {
        broker_id,
        incarnation_id,
        listeners: listeners.clone(),
        rack: rack.clone(),
        directories: directories.clone(),
        fenced: same.is_none_or(|before| before.fenced),
        controlled_shutdown: same.is_some_and(|before| before.controlled_shutdown),
        features: features.clone(),
    };
    if let Some(before) = same {
        let unchanged = before.listeners == listeners
            && before.rack == rack
            && before.directories == directories
            && before.features == features;
        if !unchanged {
            draft.push(record);
        }
        return before.epoch;
    }
    let proven = before.is_some_and(|before| before.epoch == BrokerEpoch(request.previous_broker_epoch));
    // Z07 of the bug zoo is the rule before KIP-966: whoever starts again is trusted with what it had.
    let trusted = proven || runtime::mutant!("Z07");
    if trusted && !proven && draft.image().partitions().any(|(_, state)| state.elr.contains(&broker_id)) {
        runtime::mutant_diverged!("Z07");
    }
    remove_broker(draft, broker_id, if trusted { Leaving::Clean } else { Leaving::Unclean });
    let broker_epoch = BrokerEpoch(draft.next_offset().0);
    draft.push(record);
    directories::forget_lost(draft, broker_id);
    broker_epoch
}

/// How the controller sees a broker (`BrokerControlState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl ControlState {
    fn of(broker: &BrokerImage) -> Self {
        match (broker.fenced, broker.controlled_shutdown) {
            (true, _) => Self::Fenced,
            (false, true) => Self::ControlledShutdown,
            (false, false) => Self::Unfenced,
        }
    }
}

/// Answers a heartbeat, and does what it asks for as far as it may be done. STALE_BROKER_EPOCH (77) for another life
/// than the registered one.
pub(super) fn heartbeat(
    draft: &mut Draft<'_>,
    sessions: &Sessions,
    request: &BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let broker_id = BrokerId::from(request.broker_id);
    let broker = match check_epoch(draft.image(), broker_id, BrokerEpoch(request.broker_epoch)) {
        Ok(broker) => broker,
        Err(code) => return BrokerHeartbeatResponse::default().with_error_code(code as i16).with_is_fenced(true),
    };
    let is_caught_up = request.current_metadata_offset >= broker.epoch.0;
    let current = ControlState::of(broker);
    let next = next_state(draft.image(), sessions, broker_id, broker, request);
    let left = directories::remaining(broker, &request.offline_log_dirs);
    if left.len() < broker.directories.len() && !is_broken(draft.image(), broker_id, broker, request) {
        relieve(draft, broker_id, left);
    }
    runtime::sometimes!(
        (current, next) == (ControlState::Unfenced, ControlState::ControlledShutdown),
        "controller: a broker that leads wants to stop"
    );
    runtime::sometimes!(
        (current, next) == (ControlState::ControlledShutdown, ControlState::ShutdownNow),
        "controller: a broker may stop, for others lead now"
    );
    match (current, next) {
        (ControlState::Fenced, ControlState::Unfenced) => unfence(draft, broker_id),
        (_, ControlState::Fenced | ControlState::ShutdownNow) => fence(draft, broker_id),
        (ControlState::Unfenced, ControlState::ControlledShutdown) => begin_controlled_shutdown(draft, broker_id),
        (
            ControlState::Unfenced | ControlState::ControlledShutdown | ControlState::ShutdownNow,
            ControlState::Unfenced,
        )
        | (
            ControlState::Fenced | ControlState::ControlledShutdown | ControlState::ShutdownNow,
            ControlState::ControlledShutdown,
        ) => {}
    }
    BrokerHeartbeatResponse::default()
        .with_is_caught_up(is_caught_up)
        .with_is_fenced(matches!(next, ControlState::Fenced | ControlState::ShutdownNow))
        .with_should_shut_down(next == ControlState::ShutdownNow)
}

/// Whether a broker can do nothing useful any more for log directories that failed.
fn is_broken(image: &Image, broker_id: BrokerId, broker: &BrokerImage, request: &BrokerHeartbeatRequest) -> bool {
    let failed = &request.offline_log_dirs;
    let left = directories::remaining(broker, failed).len();
    let is_news = left < broker.directories.len();
    !failed.is_empty() && (left == 0 || (is_news && directories::keeps_unplaced(image, broker_id)))
}

/// Takes note that only these directories of a broker work: it leads nothing in the others, and is not in sync there.
fn relieve(draft: &mut Draft<'_>, broker_id: BrokerId, directories: Vec<DirectoryId>) {
    let broker = draft.image().broker(broker_id).expect("its heartbeat was checked").clone();
    draft.push(Record::RegisterBroker {
        broker_id,
        incarnation_id: broker.incarnation_id,
        listeners: broker.listeners,
        rack: broker.rack,
        directories,
        fenced: broker.fenced,
        controlled_shutdown: broker.controlled_shutdown,
        features: broker.features,
    });
    remove_offline_replicas(draft, broker_id);
}

/// What becomes of a broker that sent this heartbeat (`BrokerHeartbeatManager.calculateNextBrokerState`).
fn next_state(
    image: &Image,
    sessions: &Sessions,
    broker_id: BrokerId,
    broker: &BrokerImage,
    request: &BrokerHeartbeatRequest,
) -> ControlState {
    let broken = is_broken(image, broker_id, broker, request);
    let leads = || leads_anything(image, broker_id);
    match ControlState::of(broker) {
        ControlState::Fenced => {
            let caught_up = request.current_metadata_offset >= broker.epoch.0;
            if request.want_shut_down {
                ControlState::ShutdownNow
            } else if !request.want_fence && caught_up && !broken {
                ControlState::Unfenced
            } else {
                ControlState::Fenced
            }
        }
        ControlState::Unfenced => {
            let fence = request.want_fence || broken;
            if request.want_shut_down && (fence || !leads()) {
                ControlState::ShutdownNow
            } else if request.want_shut_down {
                ControlState::ControlledShutdown
            } else if fence {
                ControlState::Fenced
            } else {
                ControlState::Unfenced
            }
        }
        ControlState::ControlledShutdown => {
            // Whoever leads in its place must know that it does before this one goes.
            let known = broker.controlled_shutdown_offset.is_none_or(|offset| sessions.all_passed(image, offset));
            if known && !leads() { ControlState::ShutdownNow } else { ControlState::ControlledShutdown }
        }
        ControlState::ShutdownNow => unreachable!("no image says so"),
    }
}

/// Fences a broker whose session ended, unless it has registered again since.
pub(super) fn fence_registration(draft: &mut Draft<'_>, broker_id: BrokerId, broker_epoch: BrokerEpoch) {
    if draft.image().broker(broker_id).is_some_and(|broker| broker.epoch == broker_epoch) {
        fence(draft, broker_id);
    }
}

/// Fences a broker: it leaves every ISR, then it is fenced. Nothing if it is fenced already.
pub(super) fn fence(draft: &mut Draft<'_>, broker_id: BrokerId) {
    let Some(broker_epoch) = draft.image().broker(broker_id).filter(|broker| !broker.fenced).map(|broker| broker.epoch)
    else {
        return;
    };
    remove_broker(draft, broker_id, Leaving::Clean);
    draft.push(Record::FenceBroker { broker_id, broker_epoch });
}

/// Unfences a broker, then lets it lead where nobody does.
fn unfence(draft: &mut Draft<'_>, broker_id: BrokerId) {
    let broker_epoch = draft.image().broker(broker_id).expect("its heartbeat was checked").epoch;
    draft.push(Record::UnfenceBroker { broker_id, broker_epoch });
    elect_missing_leaders(draft);
}

/// Begins a controlled shutdown: the broker leaves every ISR and leads nothing, then it is marked. The mark comes last,
/// so that its offset is the one that others must have passed.
fn begin_controlled_shutdown(draft: &mut Draft<'_>, broker_id: BrokerId) {
    let broker_epoch = draft.image().broker(broker_id).expect("its heartbeat was checked").epoch;
    remove_broker(draft, broker_id, Leaving::Clean);
    draft.push(Record::BrokerControlledShutdown { broker_id, broker_epoch });
}

/// Removes a registration. BROKER_ID_NOT_REGISTERED (102) if there is none.
pub(super) fn unregister(draft: &mut Draft<'_>, broker_id: BrokerId) -> ErrorCode {
    let Some(broker_epoch) = draft.image().broker(broker_id).map(|broker| broker.epoch) else {
        return ErrorCode::BrokerIdNotRegistered;
    };
    remove_broker(draft, broker_id, Leaving::Unclean);
    draft.push(Record::UnregisterBroker { broker_id, broker_epoch });
    ErrorCode::None
}

#[cfg(test)]
mod tests;
