//! Which partition is copied by which fetcher: one fetcher for each leader that this broker follows.
//!
//! It never fetches itself, and decides nothing: `partitions` says who follows whom. A fetcher that has nothing to copy any
//! more ends.

use super::fetcher::{Fetcher, FetcherConfig, Followed};
use crate::partition::context::ReplicaContext;
use crate::partitions::FetchChange;
use protocol::ids::{BrokerId, TopicPartition};
use runtime::sync::{Shutdown, mpsc};
use runtime::task::{self, JoinHandle};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The fetchers of one broker.
pub struct Fetchers {
    context: Arc<ReplicaContext>,
    config: Arc<FetcherConfig>,
    changes: mpsc::UnboundedReceiver<FetchChange>,
    running: BTreeMap<BrokerId, Running>,
    leaders: BTreeMap<TopicPartition, BrokerId>,
}

struct Running {
    followed: Arc<Followed>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetchers {
    /// Takes what is to be copied from `changes`.
    pub fn new(
        context: Arc<ReplicaContext>,
        config: FetcherConfig,
        changes: mpsc::UnboundedReceiver<FetchChange>,
    ) -> Self {
        let config = Arc::new(config);
        Self { context, config, changes, running: BTreeMap::new(), leaders: BTreeMap::new() }
    }

    /// Runs until the shutdown is requested; then every fetcher has ended.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            runtime::select! {
                () = shutdown.requested() => return,
                change = self.changes.recv() => match change {
                    Some(change) => self.apply(change),
                    None => return,
                }
            }
            // Changes of one metadata batch arrive together: fetchers begin with all of them.
            while let Ok(change) = self.changes.try_recv() {
                self.apply(change);
            }
            self.running.retain(|_, running| !running.followed.is_empty());
        }
    }

    fn apply(&mut self, change: FetchChange) {
        match change {
            FetchChange::Stop { partition } => self.stop(&partition),
            FetchChange::Follow { partition, leader, leader_epoch } => {
                let of = partition.id();
                if self.leaders.get(&of) != Some(&leader) {
                    self.stop(&of);
                }
                let running = self.running.entry(leader).or_insert_with(|| {
                    let followed = Arc::new(Followed::default());
                    let fetcher = Fetcher::new(leader, self.context.clone(), self.config.clone(), followed.clone());
                    Running { followed, task: task::spawn(fetcher.run()) }
                });
                running.followed.add(partition, leader_epoch);
                self.leaders.insert(of, leader);
            }
        }
    }

    fn stop(&mut self, partition: &TopicPartition) {
        let Some(leader) = self.leaders.remove(partition) else { return };
        if let Some(running) = self.running.get(&leader) {
            running.followed.remove(partition);
        }
    }
}
