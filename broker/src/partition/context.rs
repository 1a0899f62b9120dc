//! What every replica of a broker shares: who the broker is, the newest metadata, and the ways to what stands above.
//!
//! It never decides anything. Made by [`crate::partitions`], read under a partition's lock.

use super::isr::{Brokers, IsrProposal};
use crate::throttle::Throttles;
use metadata::image::Image;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, MonotonicMillis, TopicPartition, WallMillis};
use runtime::sync::{Lock, mpsc};
use std::sync::Arc;
use std::time::Duration;

/// The rank of the image's lock: taken under a partition's, and none under it.
const RANK: u8 = 20;

/// The newest image that was published.
pub struct CurrentImage(Lock<Arc<Image>>);

impl Default for CurrentImage {
    fn default() -> Self {
        Self(Lock::new(RANK, Arc::default()))
    }
}

impl CurrentImage {
    /// The image. Cheap.
    pub fn get(&self) -> Arc<Image> {
        self.0.lock().clone()
    }

    /// Replaces the image.
    pub fn set(&self, image: Arc<Image>) {
        *self.0.lock() = image;
    }
}

impl Brokers for CurrentImage {
    fn broker_epoch(&self, broker_id: BrokerId) -> Option<BrokerEpoch> {
        self.0.lock().broker(broker_id).map(|broker| broker.epoch)
    }

    fn is_active(&self, broker_id: BrokerId) -> bool {
        self.0.lock().is_active(broker_id)
    }
}

/// A proposal on its way to the controller.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// Whose in-sync replicas.
    pub partition: TopicPartition,
    /// Which ones.
    pub proposal: IsrProposal,
}

/// Where a replica is, to be told to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Which replica of this broker.
    pub partition: TopicPartition,
    /// In which directory.
    pub directory: DirectoryId,
}

/// What the replicas of one broker share.
pub struct ReplicaContext {
    /// This broker.
    pub local: BrokerId,
    /// `replica.lag.time.max.ms`
    pub lag_max: Duration,
    /// The newest metadata.
    pub image: CurrentImage,
    /// Where proposals go.
    pub proposals: mpsc::UnboundedSender<Proposed>,
    /// Where the number of a log directory goes whose disk failed.
    pub failures: mpsc::UnboundedSender<usize>,
    /// Where it goes that a replica is in another directory than the controller thinks, or damaged.
    pub assignments: mpsc::UnboundedSender<Assignment>,
    /// How fast named replicas may be copied.
    pub throttles: Throttles,
}

/// The node's monotonic clock.
pub fn monotonic_now() -> MonotonicMillis {
    MonotonicMillis(runtime::time::now().as_millis())
}

/// The node's wall clock.
pub fn wall_now() -> WallMillis {
    WallMillis(runtime::time::wall_now())
}
