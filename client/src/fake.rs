//! A small cluster inside a test: brokers that speak the wire on real or simulated sockets, with faults by script.
//!
//! All brokers share one log of each partition, so a change of leader loses nothing unless a test truncates. They know the
//! rules that a client relies on (leadership, leader epochs, sequences) and no others. Only for this crate's tests.

mod answers;
mod consumer_group;
mod group;
mod group_admin;
mod partition;

pub(crate) use group_admin::GROUP;
pub(crate) use partition::FakePartition;

use bytes::{Bytes, BytesMut};
use protocol::api::{self, ApiKey, Plane};
use protocol::error_code::ErrorCode;
use protocol::frame::{FrameReader, parse_request_head};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};
use runtime::net::{Listener, Stream};
use runtime::sync::{Lock, Notify, Shutdown, ShutdownTrigger, shutdown};
use runtime::{task, time};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The one topic there is from the beginning.
pub(crate) const TOPIC: &str = "orders";

/// What a broker does with the next request of a kind, other than answering it well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers with this error, and does nothing.
    Refuse(ErrorCode),
    /// It does what was asked, and answers with this error.
    DoAndRefuse(ErrorCode),
    /// It closes the connection, and does nothing.
    Drop,
    /// It does what was asked, and closes the connection.
    DoAndDrop,
    /// It waits before it does anything.
    Wait(Duration),
    /// It does what was asked, and waits before it answers.
    DoAndWait(Duration),
}

/// A handle on the cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    shared: Arc<Shared>,
}

struct Shared {
    state: Lock<State>,
    /// Records were appended.
    appended: Notify,
}

struct State {
    brokers: BTreeMap<BrokerId, Running>,
    topic_id: TopicId,
    partitions: BTreeMap<PartitionIndex, FakePartition>,
    faults: BTreeMap<ApiKey, VecDeque<Fault>>,
    /// Every request that was read, with its broker and version.
    requests: Vec<(BrokerId, ApiKey, i16)>,
    /// The newest ApiVersions that is understood.
    api_versions_max: i16,
    /// The newest version of other APIs, where it is not the newest there is; nothing of one that is not served.
    versions_max: BTreeMap<ApiKey, Option<i16>>,
    producer_ids: i64,
    group: group::FakeGroup,
    /// So many listings of all topics leave out [`TOPIC`]: the broker that is asked has not heard of it.
    listings_without: u32,
    /// Topics created through the wire.
    created: BTreeMap<String, i32>,
}

struct Running {
    port: u16,
    stop: ShutdownTrigger,
}

impl FakeCluster {
    /// Starts so many brokers, numbered from 1; broker 1 leads every partition of [`TOPIC`].
    pub(crate) async fn start(brokers: i32, partitions: i32) -> Self {
        let state = State {
            brokers: BTreeMap::new(),
            topic_id: TopicId(uuid::Uuid::from_u128(17)),
            partitions: (0..partitions).map(|index| (PartitionIndex(index), FakePartition::new(BrokerId(1)))).collect(),
            faults: BTreeMap::new(),
            requests: Vec::new(),
            api_versions_max: 4,
            versions_max: BTreeMap::new(),
            producer_ids: 1000,
            group: group::FakeGroup::new(),
            listings_without: 0,
            created: BTreeMap::new(),
        };
        let cluster = Self { shared: Arc::new(Shared { state: Lock::new(95, state), appended: Notify::new() }) };
        for broker in 1..=brokers {
            cluster.start_broker(BrokerId(broker)).await;
        }
        cluster
    }

    pub(crate) async fn start_broker(&self, broker: BrokerId) {
        let listener = Listener::bind("127.0.0.1:0").await.expect("the system has a port");
        let port = listener.local_address().port();
        let (stop, stopped) = shutdown();
        self.shared.state.lock().brokers.insert(broker, Running { port, stop });
        task::spawn(accept(self.clone(), broker, listener, stopped));
    }

    /// Stops a broker: its connections close, its port refuses.
    pub(crate) fn stop_broker(&self, broker: BrokerId) {
        let running = self.shared.state.lock().brokers.remove(&broker).expect("it runs");
        running.stop.request();
    }

    pub(crate) fn address(&self, broker: BrokerId) -> String {
        format!("127.0.0.1:{}", self.shared.state.lock().brokers[&broker].port)
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        let brokers: Vec<BrokerId> = self.shared.state.lock().brokers.keys().copied().collect();
        brokers.into_iter().map(|broker| self.address(broker)).collect()
    }

    /// Elects a leader in the next leader epoch.
    pub(crate) fn elect(&self, partition: PartitionIndex, leader: BrokerId) {
        self.with(partition, |partition| partition.elect(Some(leader)));
    }

    /// Looks at a partition, or changes it.
    pub(crate) fn with<T>(&self, partition: PartitionIndex, look: impl FnOnce(&mut FakePartition) -> T) -> T {
        look(self.shared.state.lock().partitions.get_mut(&partition).expect("the partition exists"))
    }

    /// What the next requests of this kind meet, one after another.
    pub(crate) fn script(&self, api: ApiKey, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state.lock().faults.entry(api).or_default().extend(faults);
    }

    pub(crate) fn set_api_versions_max(&self, version: i16) {
        self.shared.state.lock().api_versions_max = version;
    }

    /// Serves an API up to this version, or not at all.
    pub(crate) fn set_version_max(&self, api: ApiKey, version: Option<i16>) {
        self.shared.state.lock().versions_max.insert(api, version);
    }

    /// The next listings of all topics are behind, and leave out [`TOPIC`].
    pub(crate) fn leave_out_of_listings(&self, listings: u32) {
        self.shared.state.lock().listings_without = listings;
    }

    /// The versions in which requests of this kind were sent.
    pub(crate) fn versions_seen(&self, api: ApiKey) -> Vec<i16> {
        let state = self.shared.state.lock();
        state.requests.iter().filter(|(_, key, _)| *key == api).map(|(_, _, version)| *version).collect()
    }

    /// How many heartbeats a broker has read.
    pub(crate) fn heartbeats_of(&self, broker: BrokerId) -> usize {
        let state = self.shared.state.lock();
        let is_heartbeat = |key: ApiKey| key == api::HEARTBEAT || key == api::CONSUMER_GROUP_HEARTBEAT;
        state.requests.iter().filter(|(to, key, _)| *to == broker && is_heartbeat(*key)).count()
    }

    /// Appends records as some producer would, and tells waiting fetches.
    pub(crate) fn append(&self, partition: PartitionIndex, batch: &Bytes) -> Offset {
        let offset = self.with(partition, |partition| partition.append(batch)).expect("the batch is in order");
        self.shared.appended.notify_waiters();
        offset
    }

    /// A client of this cluster, with short timeouts.
    pub(crate) fn client(&self) -> crate::Cluster {
        let mut options = crate::ClusterOptions::new(self.addresses());
        options.connection.request_timeout = Duration::from_secs(2);
        crate::Cluster::new(options)
    }
}

async fn accept(cluster: FakeCluster, broker: BrokerId, listener: Listener, stopped: Shutdown) {
    loop {
        runtime::select! {
            () = stopped.requested() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let (cluster, stopped) = (cluster.clone(), stopped.clone());
                task::spawn(async move {
                    runtime::select! {
                        () = stopped.requested() => {}
                        () = serve(cluster, broker, stream) => {}
                    }
                });
            }
        }
    }
}

/// Answers one connection in order until it closes, or a fault closes it.
async fn serve(cluster: FakeCluster, broker: BrokerId, stream: Stream) {
    let (mut read, mut write) = stream.into_split();
    let frames = FrameReader::new(8 << 20);
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = frames.next(&mut buffer).expect("our own frames are sound") {
            let head = parse_request_head(frame, Plane::Client).expect("our own requests are sound");
            let fault = {
                let mut state = cluster.shared.state.lock();
                state.requests.push((broker, head.api_key, head.api_version));
                state.faults.get_mut(&head.api_key).and_then(VecDeque::pop_front)
            };
            if let Some(Fault::Wait(wait)) = fault {
                time::sleep(wait).await;
            }
            if fault == Some(Fault::Drop) {
                return;
            }
            let answer = answers::answer(&cluster, broker, &head, fault).await;
            if let Some(Fault::DoAndWait(wait)) = fault {
                time::sleep(wait).await;
            }
            if fault == Some(Fault::DoAndDrop) {
                return;
            }
            if let Some(answer) = answer
                && write.send(&answer, &[]).await.is_err()
            {
                return;
            }
        }
        if !matches!(read.read(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// Runs a test over real sockets, and in simulated worlds of several seeds.
pub(crate) fn in_both_worlds<F>(test: fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    task::block_on_real(test());
    #[cfg(madsim)]
    for seed in 1..=5 {
        let outcome = runtime::simulation::run(seed, runtime::simulation::Options::default(), test);
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}

/// Waits until something holds; a test that waits in vain fails.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = time::now() + Duration::from_secs(20);
    while !holds() {
        assert!(time::now() < deadline, "waited in vain until {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// The leader epoch as a test writes it.
pub(crate) fn epoch(leader_epoch: i32) -> LeaderEpoch {
    LeaderEpoch(leader_epoch)
}
