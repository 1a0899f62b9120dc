//! A cluster as a client sees it: who leads what, and a connection to each broker.
//!
//! Metadata is asked for when somebody wants it, when a connection closes, and now and then; the answer goes into the
//! [`ClusterView`]. It never retries a caller's request: a caller hears that something changed, and asks again. Driven by
//! `producer`, `consumer` and `admin`.

mod pool;
mod refresh;
pub mod view;

pub use pool::Lane;
pub use view::{BrokerAddress, ClusterView, Leader, Partition, Topic};

use crate::PartitionName;
use crate::connection::{Connection, ConnectionOptions};
use crate::error::ClientError;
use crate::retry::Backoff;
use pool::{Attempt, Found, Pool};
use protocol::ids::{BrokerId, MonotonicMillis, TopicId};
use runtime::sync::{Lock, Notify, watch};
use runtime::{rand, task, time};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The rank of a cluster's lock: under it, only a connection's is taken.
const RANK: u8 = 80;

/// After how long without an answer a broker that is being connected to may lead no longer.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// Where to find a cluster, and how to follow it.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Brokers to ask first, each `host:port`; one that answers is enough.
    pub bootstrap: Vec<String>,
    /// How to open connections.
    pub connection: ConnectionOptions,
    /// Metadata older than this is asked for again, though nobody wants it (`metadata.max.age.ms`).
    pub metadata_age_max: Duration,
    /// How long one broker may take over a Metadata request before the next one is asked as well.
    pub metadata_hedge: Duration,
    /// How long one broker may take over a Metadata request at all.
    pub metadata_timeout: Duration,
    /// The wait between refreshes that succeed but leave somebody wanting: an election goes on.
    pub refresh_backoff: Backoff,
    /// The wait before connecting to a broker again, and before asking again when no broker answers.
    pub reconnect_backoff: Backoff,
    /// Whether asking for a topic that is missing may create it (`allow.auto.create.topics`).
    pub allow_auto_topic_creation: bool,
}

impl ClusterOptions {
    /// The usual options, for the cluster that has these brokers in it.
    pub fn new<S: Into<String>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            connection: ConnectionOptions::default(),
            metadata_age_max: Duration::from_secs(300),
            metadata_hedge: Duration::from_millis(50),
            metadata_timeout: Duration::from_secs(3),
            refresh_backoff: Backoff::new(Duration::from_millis(20), Duration::from_millis(100)),
            reconnect_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            allow_auto_topic_creation: false,
        }
    }
}

/// A handle on what one client knows of a cluster. Cheap to clone; connections close when the last handle is dropped.
#[derive(Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

/// Ends the refreshing and closes the connections when nobody is left to use them.
struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    options: ClusterOptions,
    state: Lock<State>,
    /// Counts every change of the view and of a connection.
    changes: watch::Sender<u64>,
    refreshes: watch::Sender<Refreshed>,
    /// Somebody wants newer metadata. A permit left here makes the next refresh follow at once.
    wanted: Notify,
    /// Woken once, at the end.
    closing: Notify,
}

struct State {
    view: ClusterView,
    pool: Pool<Connection>,
    /// The topics that somebody has asked for.
    tracked: BTreeSet<Arc<str>>,
    /// Somebody wants to know of all topics.
    tracks_all: bool,
    refreshes_started: u64,
    closed: bool,
}

/// How the newest refresh ended.
#[derive(Clone, Debug)]
struct Refreshed {
    /// Which refresh it was, counted from 1; 0 before the first.
    number: u64,
    error: Option<ClientError>,
}

impl Cluster {
    /// Starts to follow the cluster. Nothing is asked before somebody wants something.
    pub fn new(options: ClusterOptions) -> Self {
        let pool = Pool::new(options.reconnect_backoff);
        let state = State {
            view: ClusterView::default(),
            pool,
            tracked: BTreeSet::new(),
            tracks_all: false,
            refreshes_started: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            options,
            state: Lock::new(RANK, state),
            changes: watch::channel(0).0,
            refreshes: watch::channel(Refreshed { number: 0, error: None }).0,
            wanted: Notify::new(),
            closing: Notify::new(),
        });
        task::spawn(refresh::follow(shared.clone()));
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Everything that is believed of the cluster now.
    pub fn view(&self) -> ClusterView {
        self.handle.shared.state.lock().view.clone()
    }

    /// The name of the topic with this identity, if it is known. Asks nobody.
    pub fn name_of(&self, topic_id: TopicId) -> Option<Arc<str>> {
        self.handle.shared.state.lock().view.name_of(topic_id).cloned()
    }

    /// A topic that is known already. Asks nobody.
    pub fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.handle.shared.state.lock().view.topic(name).cloned()
    }

    /// The topic named `name`, asked for until it is known.
    ///
    /// # Errors
    /// [`ClientError::UnknownTopic`] when brokers answer without it until the timeout, what the cluster says against it when
    /// that is for good (a bad name, no authorization), and [`ClientError::NoBroker`] when none answers.
    pub async fn topic(&self, name: &str, timeout: Duration) -> Result<Arc<Topic>, ClientError> {
        if let Some(topic) = self.known_topic(name) {
            return Ok(topic);
        }
        self.track(name);
        let deadline = time::now() + timeout;
        let mut last = ClientError::UnknownTopic { topic: name.to_owned() };
        loop {
            match time::timeout_at(deadline, self.refresh()).await {
                Ok(Ok(())) => {}
                Ok(Err(ClientError::Stopped)) => return Err(ClientError::Stopped),
                Ok(Err(error)) => last = error,
                Err(_) => return Err(last),
            }
            let state = self.handle.shared.state.lock();
            if let Some(topic) = state.view.topic(name) {
                return Ok(topic.clone());
            }
            if let Some(code) = state.view.topic_error(name) {
                if !code.is_retriable() {
                    return Err(ClientError::Broker { code, message: Some(format!("topic {name}")) });
                }
                last = ClientError::UnknownTopic { topic: name.to_owned() };
            }
        }
    }

    /// Includes a topic in every refresh from now on, and wants one if it is new.
    pub fn track(&self, topic: &str) {
        let mut state = self.handle.shared.state.lock();
        if !state.tracked.contains(topic) {
            state.tracked.insert(Arc::from(topic));
            drop(state);
            self.request_refresh();
        }
    }

    /// Asks for every topic that there is in every refresh from now on: for a consumer with a pattern.
    pub fn track_all(&self) {
        let was_tracked = std::mem::replace(&mut self.handle.shared.state.lock().tracks_all, true);
        if !was_tracked {
            self.request_refresh();
        }
    }

    /// The names of the topics that exist, as far as is known, for which `is_wanted` holds. Asks nobody.
    pub fn topics_where(&self, mut is_wanted: impl FnMut(&str, &Topic) -> bool) -> BTreeSet<Arc<str>> {
        let state = self.handle.shared.state.lock();
        state.view.existing().filter(|(name, topic)| is_wanted(name, topic)).map(|(name, _)| name.clone()).collect()
    }

    /// How many partitions each of these topics has, as far as is known. One that does not exist is left out. Asks nobody.
    pub fn partition_counts(&self, topics: &BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, i32> {
        let state = self.handle.shared.state.lock();
        let count = |topic: &Arc<str>| {
            let known = state.view.existing_topic(topic)?;
            Some((topic.clone(), i32::try_from(known.partitions.len()).unwrap_or(i32::MAX)))
        };
        topics.iter().filter_map(count).collect()
    }

    /// Who leads the partition, as far as is known. Asks nobody.
    pub fn leader(&self, partition: &PartitionName) -> Option<Leader> {
        self.handle.shared.state.lock().view.leader(partition)
    }

    /// Who leads each of these partitions, as far as is known, under one lock.
    pub fn leaders<'a>(&self, partitions: impl IntoIterator<Item = &'a PartitionName>) -> Vec<Option<Leader>> {
        let state = self.handle.shared.state.lock();
        partitions.into_iter().map(|partition| state.view.leader(partition)).collect()
    }

    /// Takes in a leader that a broker named in an error (KIP-951).
    pub fn learn_leader(&self, partition: &PartitionName, leader: Leader, address: Option<BrokerAddress>) {
        if self.handle.shared.state.lock().view.learn_leader(partition, leader, address) {
            self.handle.shared.changed();
        }
    }

    /// Wants newer metadata soon, without waiting for it.
    pub fn request_refresh(&self) {
        self.handle.shared.wanted.notify_one();
    }

    /// Waits for metadata that was asked for after this call began.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when no broker answers, and [`ClientError::Stopped`] after [`Cluster::close`].
    pub async fn refresh(&self) -> Result<(), ClientError> {
        let shared = &self.handle.shared;
        let mut refreshes = shared.refreshes.subscribe();
        let number = {
            let state = shared.state.lock();
            if state.closed {
                return Err(ClientError::Stopped);
            }
            state.refreshes_started + 1
        };
        self.request_refresh();
        let refreshed = refreshes.wait_for(|refreshed| refreshed.number >= number).await;
        match refreshed.map(|refreshed| refreshed.error.clone()) {
            Ok(Some(error)) => Err(error),
            Ok(None) => Ok(()),
            Err(_) => Err(ClientError::Stopped),
        }
    }

    /// A channel that changes whenever the view or a connection does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.handle.shared.changes.subscribe()
    }

    /// The connection to `broker` in `lane` if it is open now. Otherwise it is being opened: [`Cluster::changes`] tells.
    pub fn open_connection(&self, broker: BrokerId, lane: Lane) -> Option<Connection> {
        let shared = &self.handle.shared;
        let found = {
            let mut state = shared.state.lock();
            if state.closed {
                return None;
            }
            let endpoint = state.view.brokers().get(&broker)?.endpoint();
            match state.pool.find(broker, lane, &endpoint, rand::next()) {
                Found::Open(connection) => return Some(connection),
                Found::Opening => return None,
                Found::ToOpen(attempt, wait) => (endpoint, attempt, wait),
            }
        };
        let (endpoint, attempt, wait) = found;
        task::spawn(keep_open(shared.clone(), broker, lane, endpoint, attempt, wait));
        None
    }

    /// The connection to `broker` in `lane`, waited for.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when it is not open by then, [`ClientError::Stopped`] after [`Cluster::close`].
    pub async fn connection(&self, broker: BrokerId, lane: Lane, timeout: Duration) -> Result<Connection, ClientError> {
        connection(&self.handle.shared, broker, lane, timeout).await
    }

    /// A connection to any broker, in [`Lane::Ask`]. Finds brokers first if it knows none.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when none answers until the timeout.
    pub async fn any_connection(&self, timeout: Duration) -> Result<Connection, ClientError> {
        let deadline = time::now() + timeout;
        let mut changes = self.changes();
        loop {
            let brokers: Vec<BrokerId> = self.handle.shared.state.lock().view.brokers().keys().copied().collect();
            if brokers.is_empty() {
                let refreshed = time::timeout_at(deadline, self.refresh()).await;
                match refreshed {
                    Ok(Ok(())) => continue,
                    Ok(Err(ClientError::Stopped)) => return Err(ClientError::Stopped),
                    Ok(Err(_)) if time::now() < deadline => continue,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(ClientError::NoBroker { last: "no answer in time".to_owned() }),
                }
            }
            let from = rand::range(0..brokers.len() as u64) as usize;
            let turned = brokers.iter().cycle().skip(from).take(brokers.len());
            if let Some(connection) = turned.filter_map(|broker| self.open_connection(*broker, Lane::Ask)).next() {
                return Ok(connection);
            }
            if time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(ClientError::NoBroker { last: "no connection in time".to_owned() });
            }
        }
    }

    /// Stops following and closes every connection; what waits here is told [`ClientError::Stopped`].
    pub fn close(&self) {
        self.handle.shared.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn close(&self) {
        let connections = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.closed = true;
            state.pool.close()
        };
        for connection in connections {
            connection.close();
        }
        self.closing.notify_waiters();
        self.refreshes.send_modify(|refreshed| {
            *refreshed = Refreshed { number: u64::MAX, error: Some(ClientError::Stopped) };
        });
        self.changed();
    }
}

fn now() -> MonotonicMillis {
    MonotonicMillis(time::now().as_millis())
}

/// Opens one connection, tells whoever waits for it, and waits for its end.
async fn keep_open(
    shared: Arc<Shared>,
    broker: BrokerId,
    lane: Lane,
    endpoint: String,
    attempt: Attempt,
    wait: Duration,
) {
    if !wait.is_zero() {
        time::sleep(wait).await;
    }
    match connect(&shared, &endpoint).await {
        Ok(connection) => {
            let closed = connection.closed();
            let wanted = {
                let mut state = shared.state.lock();
                !state.closed && state.pool.opened(broker, lane, attempt, connection, now())
            };
            if !wanted {
                return;
            }
            shared.changed();
            let cause = closed.await;
            tracing::debug!(%broker, endpoint, %cause, "lost a broker's connection");
        }
        Err(error) => tracing::debug!(%broker, %error, "cannot reach a broker"),
    }
    let ended = shared.state.lock().pool.ended(broker, lane, attempt, now());
    drop(ended);
    shared.changed();
    // Whoever was reached through it may have stopped leading.
    shared.wanted.notify_one();
}

/// Opens a connection. As long as that takes, newer metadata is wanted now and then: a machine that has just lost its power
/// refuses nothing and answers nothing, and somebody else may lead by now.
async fn connect(shared: &Shared, endpoint: &str) -> Result<Connection, ClientError> {
    let mut connecting = pin!(Connection::connect(endpoint, shared.options.connection.clone()));
    loop {
        match time::timeout(DOUBT_AFTER, connecting.as_mut()).await {
            Ok(connected) => return connected,
            Err(_) => shared.wanted.notify_one(),
        }
    }
}

/// As [`Cluster::connection`], without keeping the cluster followed.
fn connection(
    shared: &Arc<Shared>,
    broker: BrokerId,
    lane: Lane,
    timeout: Duration,
) -> impl Future<Output = Result<Connection, ClientError>> + Send + use<> {
    let shared = shared.clone();
    async move {
        let deadline = time::now() + timeout;
        let mut changes = shared.changes.subscribe();
        loop {
            let to_open = {
                let mut state = shared.state.lock();
                if state.closed {
                    return Err(ClientError::Stopped);
                }
                let endpoint = state.view.brokers().get(&broker).map(BrokerAddress::endpoint);
                let endpoint =
                    endpoint.ok_or_else(|| ClientError::NoBroker { last: format!("broker {broker} is not known") })?;
                match state.pool.find(broker, lane, &endpoint, rand::next()) {
                    Found::Open(connection) => return Ok(connection),
                    Found::Opening => None,
                    Found::ToOpen(attempt, wait) => Some((endpoint, attempt, wait)),
                }
            };
            if let Some((endpoint, attempt, wait)) = to_open {
                task::spawn(keep_open(shared.clone(), broker, lane, endpoint, attempt, wait));
            }
            if time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(ClientError::NoBroker { last: format!("no connection to broker {broker} in time") });
            }
        }
    }
}

#[cfg(test)]
mod tests;
