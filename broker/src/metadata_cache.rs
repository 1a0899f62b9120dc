//! Follows the metadata log: asks controllers for records past its offset, and holds the image that they make.
//!
//! It never decides anything, and holds nothing that is not committed. Handlers read the image, and wait for it to show
//! what they asked a controller for; `partitions` is given every image with what changed in it, in order.

mod route;

use crate::event::ReplicaEvent;
use bytes::Bytes;
use client::{ClientError, Connection, ConnectionOptions};
use metadata::{
    delta::{Changes, Delta},
    image::{Image, SnapshotError},
    record::{Record, RecordError},
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, MetadataOffset, MonotonicMillis},
    internal::{MetadataFetchRequest, MetadataFetchResponse},
};
use route::Route;
use runtime::{
    buggify, observe, rand,
    sync::{Shutdown, watch},
    time::{self, Instant},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long a controller may hold a request when it has nothing new.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How much later than that an answer may come before the controller is taken for unreachable.
const ANSWER_SLACK: Duration = Duration::from_millis(700);
/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_millis(1_000);
/// The most bytes of records asked for at once.
const BYTES_MAX: i32 = 4 << 20;

/// The newest metadata that this broker knows.
pub struct MetadataCache {
    image: watch::Sender<Arc<Image>>,
}

/// Where the metadata comes from, and who asks.
#[derive(Clone, Debug)]
pub struct MetadataSource {
    /// This broker.
    pub node_id: BrokerId,
    /// The cluster that it belongs to; a controller of another one refuses.
    pub cluster_id: String,
    /// Every controller's address, `host:port`.
    pub controllers: BTreeMap<BrokerId, String>,
}

/// Why an answer of a controller cannot be used.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Call(#[from] ClientError),
    #[error("the controller refuses: {0}")]
    Refused(ErrorCode),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the controller sent records from {first}, and {wanted} was asked for")]
    Gap { first: MetadataOffset, wanted: MetadataOffset },
}

impl MetadataCache {
    /// A cache that knows nothing yet.
    pub fn new() -> Self {
        Self { image: watch::channel(Arc::default()).0 }
    }

    /// The newest image.
    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// Waits until the image satisfies a condition; false when the deadline passes first.
    pub async fn wait_until(&self, deadline: Instant, mut condition: impl FnMut(&Image) -> bool) -> bool {
        let mut images = self.image.subscribe();
        let found = images.wait_for(|image| condition(image));
        matches!(time::timeout_at(deadline, found).await, Ok(Ok(_)))
    }

    /// Waits until the image holds every record before `offset`.
    pub async fn wait_for(&self, offset: MetadataOffset, deadline: Instant) -> bool {
        self.wait_until(deadline, |image| image.offset() >= offset).await
    }

    /// Replaces the image, which must not be older than the one before.
    fn replace(&self, image: Image) {
        let before = self.image.send_replace(Arc::new(image));
        let now = self.image.borrow().offset();
        assert!(before.offset() <= now, "metadata went back from {} to {now}", before.offset());
    }

    /// Follows the metadata log until the shutdown is requested.
    ///
    /// `publish` is given every next image and what changed in it, in order and before any reader sees the image; it
    /// must not wait.
    pub async fn follow(
        &self,
        source: MetadataSource,
        mut publish: impl FnMut(&Image, &Changes) + Send,
        shutdown: Shutdown,
    ) {
        let ids = source.controllers.keys().copied().collect();
        let mut route = Route::new(ids, rand::next(), monotonic_now());
        let mut connections = BTreeMap::new();
        while !shutdown.is_requested() {
            let target = route.target();
            let answer = runtime::select! {
                answer = self.ask(&source, &mut connections, target) => answer,
                () = shutdown.requested() => return,
            };
            if buggify!("metadata is applied late") {
                time::sleep(Duration::from_millis(rand::range(1..500))).await;
            }
            match answer.and_then(|answer| self.take(answer, &mut publish)) {
                Ok((leader, brought_something)) => {
                    route.on_answer(leader, brought_something, monotonic_now());
                }
                Err(error) => {
                    connections.remove(&target);
                    let wait = route.on_failure();
                    tracing::debug!(controller = target.0, %error, ?wait, "no metadata from a controller");
                    if !wait.is_zero() {
                        let _ = time::timeout(wait, shutdown.requested()).await;
                    }
                }
            }
        }
    }

    /// Asks one controller for what comes after the image, over a connection that is kept.
    async fn ask(
        &self,
        source: &MetadataSource,
        connections: &mut BTreeMap<BrokerId, Connection>,
        target: BrokerId,
    ) -> Result<MetadataFetchResponse, FollowError> {
        if connections.get(&target).is_none_or(Connection::is_closed) {
            let options = ConnectionOptions {
                client_id: format!("broker-{}-metadata", source.node_id),
                connect_timeout: CONNECT_MAX,
                request_timeout: MAX_WAIT + ANSWER_SLACK,
                ..ConnectionOptions::default()
            };
            let connection = Connection::connect(&source.controllers[&target], options).await?;
            connections.insert(target, connection);
        }
        let request = MetadataFetchRequest {
            principal: principal(source.node_id),
            cluster_id: source.cluster_id.clone(),
            broker_id: source.node_id,
            from: self.image.borrow().offset(),
            max_wait_ms: i32::try_from(MAX_WAIT.as_millis()).expect("a constant below 2^31"),
            max_bytes: BYTES_MAX,
        };
        Ok(connections[&target].call(&request).await?)
    }

    /// Applies an answer, publishes the image that it makes, and says who leads and whether there was anything new.
    fn take(
        &self,
        answer: MetadataFetchResponse,
        publish: &mut impl FnMut(&Image, &Changes),
    ) -> Result<(Option<BrokerId>, bool), FollowError> {
        let code = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if code != ErrorCode::None {
            return Err(FollowError::Refused(code));
        }
        let leader = BrokerId::from_wire(answer.leader_id.0);
        let before = self.image();
        let next = match answer.snapshot {
            Some((_, snapshot)) => from_snapshot(&before, &snapshot)?,
            None => from_records(&before, answer.first, &answer.records)?,
        };
        let Some((image, changes)) = next else { return Ok((leader, false)) };
        publish(&image, &changes);
        self.replace(image);
        Ok((leader, true))
    }
}

/// The image of a snapshot, unless it is not newer than the one we have.
fn from_snapshot(before: &Image, snapshot: &[u8]) -> Result<Option<(Image, Changes)>, FollowError> {
    let image = Image::decode(snapshot)?;
    if image.offset() <= before.offset() {
        return Ok(None);
    }
    observe::emit(|| ReplicaEvent::MetadataSnapshot { next: image.offset(), digest: image.digest() });
    let changes = Changes::between(before, &image);
    Ok(Some((image, changes)))
}

/// The image after these records, the first of which is at `first`; `None` when none of them is new.
fn from_records(
    before: &Image,
    first: MetadataOffset,
    records: &[Bytes],
) -> Result<Option<(Image, Changes)>, FollowError> {
    let wanted = before.offset();
    if records.is_empty() {
        return Ok(None);
    }
    if first > wanted {
        return Err(FollowError::Gap { first, wanted });
    }
    let known = usize::try_from(wanted.0 - first.0).expect("not negative: the first record is not past the image");
    let mut delta = Delta::new(before);
    // S10 of the bug zoo: of several records that come at once, one is lost.
    let lost = usize::from(runtime::mutant!("S10") && records.len() > known + 1);
    if lost > 0 {
        runtime::mutant_diverged!("S10");
    }
    for bytes in records.iter().skip(known + lost) {
        let record = Arc::new(Record::decode(bytes)?);
        let offset = delta.image().offset();
        delta.apply(&record);
        observe::emit(|| ReplicaEvent::MetadataApplied { offset, record });
    }
    if delta.image().offset() <= wanted {
        return Ok(None);
    }
    let (image, changes) = delta.finish();
    observe::emit(|| ReplicaEvent::MetadataImage { next: image.offset(), digest: image.digest() });
    Ok(Some((image, changes)))
}

fn monotonic_now() -> MonotonicMillis {
    MonotonicMillis(time::now().as_millis())
}

/// Who a broker is to controllers: `User:broker-1`.
fn principal(node_id: BrokerId) -> String {
    format!("User:broker-{node_id}")
}
