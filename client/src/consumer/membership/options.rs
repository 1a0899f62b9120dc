//! Pure. How a consumer belongs to its group, as its user wants it, once and for all.

use crate::consumer::assignors::Assignor;
use std::sync::Arc;
use std::time::Duration;

/// How a consumer belongs to its group. The defaults are those of Kafka's client.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Its name (`group.id`).
    pub group_id: Arc<str>,
    /// By which protocol it is a member (`group.protocol`).
    pub protocol: GroupProtocol,
    /// Makes the consumer a static member, which keeps its partitions over a restart (`group.instance.id`, KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// How long it may take from poll to poll before it leaves (`max.poll.interval.ms`); the coordinator waits as long for a
    /// member in a rebalance.
    pub poll_interval_max: Duration,
    /// Where it stands (`client.rack`).
    pub rack: Option<Arc<str>>,
    /// How often polls commit (`auto.commit.interval.ms`); nothing for a user who commits (`enable.auto.commit=false`).
    pub commit_interval: Option<Duration>,
    /// A pattern does not match what the cluster keeps for itself (`exclude.internal.topics`).
    pub excludes_internal_topics: bool,
}

/// Who shares a group's partitions. All members of a group are of one protocol.
#[derive(Clone, Debug)]
pub enum GroupProtocol {
    /// The members (`group.protocol=classic`).
    Classic(ClassicProtocol),
    /// The coordinator (`group.protocol=consumer`, KIP-848).
    Consumer(ConsumerProtocol),
}

/// What only members of the classic protocol say. The defaults are those of Kafka's client.
#[derive(Clone, Debug)]
pub struct ClassicProtocol {
    /// After how long without a heartbeat the coordinator gives the member up (`session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often it sends one (`heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// How the group shares partitions, the best first (`partition.assignment.strategy`).
    pub assignors: Vec<Assignor>,
}

/// What only members by KIP-848 say. How often a heartbeat is due, and how long a member may be silent, the coordinator says.
#[derive(Clone, Debug, Default)]
pub struct ConsumerProtocol {
    /// How the coordinator is to share partitions (`group.remote.assignor`); as it likes, without.
    pub remote_assignor: Option<Arc<str>>,
}

impl GroupOptions {
    /// The usual options, for this group.
    pub fn new(group_id: &str) -> Self {
        Self {
            group_id: Arc::from(group_id),
            protocol: GroupProtocol::Classic(ClassicProtocol::default()),
            instance_id: None,
            poll_interval_max: Duration::from_secs(300),
            rack: None,
            commit_interval: Some(Duration::from_secs(5)),
            excludes_internal_topics: true,
        }
    }
}

impl Default for ClassicProtocol {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
        }
    }
}
