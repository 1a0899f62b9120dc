//! What is written down from time to time, and at a clean stop: how far each log is committed, durable, and begins.

use super::{Checkpoints, Directory, Partitions};
use crate::partition::Partition;
use futures_util::future::join_all;
use protocol::ids::{BrokerEpoch, Offset, PartitionIndex};
use runtime::sync::Shutdown;
use runtime::{buggify, reachable, time};
use std::sync::Arc;
use std::time::Duration;
use storage::{Checkpoint, LogError, checkpoint, directory};

/// How often logs are looked over for a flush that is due.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How often recovery points and log starts are written down (`log.flush.offset.checkpoint.interval.ms`).
const RECOVERY_POINT_INTERVAL: Duration = Duration::from_secs(60);

impl Partitions {
    /// Looks after logs and checkpoint files until the shutdown is requested.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let failures = self.failures.lock().take();
        let mut failures = failures.expect("it runs once");
        let interval = |name| Duration::from_millis(self.properties.unsigned(name));
        let high_watermark_interval = interval("replica.high.watermark.checkpoint.interval.ms");
        let retention_interval = interval("log.retention.check.interval.ms");
        let start = time::now();
        let recovery_interval =
            if buggify!("recovery points are checkpointed often") { FLUSH_INTERVAL } else { RECOVERY_POINT_INTERVAL };
        let (mut flush_at, mut high_watermark_at) = (start + FLUSH_INTERVAL, start + high_watermark_interval);
        let (mut retention_at, mut recovery_at) = (start + retention_interval, start + recovery_interval);
        loop {
            runtime::select! {
                () = shutdown.requested() => return,
                failed = failures.recv() => if let Some(failed) = failed {
                    self.fail_directory(failed);
                },
                () = time::sleep_until(flush_at) => {
                    let retention = time::now() >= retention_at;
                    self.flush_due_logs().await;
                    self.checkpoint_all_log_starts().await;
                    self.checkpoint_all_cleaned().await;
                    if retention {
                        self.delete_old_segments().await;
                    }
                    flush_at = time::now() + FLUSH_INTERVAL;
                    if retention {
                        retention_at = time::now() + retention_interval;
                    }
                }
                () = time::sleep_until(high_watermark_at) => {
                    self.checkpoint_high_watermarks().await;
                    high_watermark_at = time::now() + high_watermark_interval;
                }
                () = time::sleep_until(recovery_at) => {
                    self.checkpoint_recovery_points().await;
                    recovery_at = time::now() + recovery_interval;
                }
            }
        }
    }

    async fn flush_due_logs(&self) {
        for partition in self.all() {
            if let Some(flush) = partition.flush_if_due() {
                // One after another: a flush that is due is in no hurry.
                if let Err(error) = flush.await {
                    partition.on_failure(&error);
                }
            }
        }
    }

    /// Writes down every high watermark (`ReplicaManager.checkpointHighWatermarks`). A hint only: it may be behind, or ahead
    /// of what a crash leaves.
    pub async fn checkpoint_high_watermarks(&self) {
        for (number, directory) in self.working_directories() {
            let mut held = directory.checkpoints.lock().await;
            let mut next = Checkpoint::default();
            for partition in self.all_in(number) {
                next.set(partition.topic(), partition.id().partition, partition.standing().high_watermark);
            }
            let written = replace(directory, &mut held.high_watermarks, next, checkpoint::HIGH_WATERMARK).await;
            self.fail_if(number, written);
        }
    }

    /// Writes down up to where every log is durable, and where it begins.
    pub async fn checkpoint_recovery_points(&self) {
        for (number, directory) in self.working_directories() {
            let mut held = directory.checkpoints.lock().await;
            let Checkpoints { recovery_points, .. } = &mut *held;
            let mut points = Checkpoint::default();
            let partitions = self.all_in(number);
            for partition in &partitions {
                let of = (partition.topic(), partition.id().partition);
                points.set(of.0, of.1, partition.recovery_point());
            }
            let written = replace(directory, recovery_points, points, checkpoint::RECOVERY_POINT).await;
            if written.is_ok() {
                for partition in &partitions {
                    if let Some(stored) = recovery_points.get(partition.topic(), partition.id().partition) {
                        partition.recovery_point_stored(stored);
                    }
                }
            }
            self.fail_if(number, written);
            drop(held);
            self.checkpoint_log_starts(number).await;
            self.checkpoint_cleaned(number).await;
        }
    }

    /// Writes down where logs begin whose start has risen since: a follower learns of deleted records from its leader.
    async fn checkpoint_all_log_starts(&self) {
        for (number, _) in self.working_directories() {
            self.checkpoint_log_starts(number).await;
        }
    }

    /// Writes down where the logs of a directory begin that do not begin at zero, and returns what is written down then. When
    /// it cannot be, the directory has failed.
    pub async fn checkpoint_log_starts(&self, number: usize) -> Checkpoint {
        let directory = &self.directories[number];
        let mut held = directory.checkpoints.lock().await;
        let mut starts = Checkpoint::default();
        for partition in self.all_in(number) {
            let start = partition.standing().log_start_offset;
            if start > Offset::ZERO {
                starts.set(partition.topic(), partition.id().partition, start);
            }
        }
        let written = replace(directory, &mut held.log_starts, starts, checkpoint::LOG_START).await;
        let log_starts = held.log_starts.clone();
        drop(held);
        self.fail_if(number, written);
        log_starts
    }

    /// Writes down up to where logs are clean that were cut since.
    async fn checkpoint_all_cleaned(&self) {
        for (number, _) in self.working_directories() {
            self.checkpoint_cleaned(number).await;
        }
    }

    /// Writes down up to where each compacted log of a directory is clean. When that cannot be, the directory has failed.
    pub(super) async fn checkpoint_cleaned(&self, number: usize) {
        let directory = &self.directories[number];
        let mut held = directory.checkpoints.lock().await;
        let mut cleaned = Checkpoint::default();
        for partition in self.all_in(number) {
            if let Some(first_dirty) = partition.first_dirty_offset() {
                cleaned.set(partition.topic(), partition.id().partition, first_dirty);
            }
        }
        let written = replace(directory, &mut held.cleaned, cleaned, checkpoint::CLEANER).await;
        drop(held);
        self.fail_if(number, written);
    }

    /// Forgets what was written down of an earlier topic's log of this name, durably: the files know names only, and a crash
    /// would take its high watermark, its start, and how much of it is durable for the new log's.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) async fn forget(&self, number: usize, topic: &str, partition: PartitionIndex) -> Result<(), LogError> {
        let directory = &self.directories[number];
        let mut held = directory.checkpoints.lock().await;
        let Checkpoints { high_watermarks, recovery_points, log_starts, cleaned } = &mut *held;
        let files = [
            (high_watermarks, checkpoint::HIGH_WATERMARK),
            (recovery_points, checkpoint::RECOVERY_POINT),
            (log_starts, checkpoint::LOG_START),
            (cleaned, checkpoint::CLEANER),
        ];
        for (held, name) in files {
            if held.get(topic, partition).is_none() {
                continue;
            }
            reachable!("an earlier topic's checkpoint was forgotten");
            let mut next = Checkpoint::default();
            let others = held.iter().filter(|(of, index, _)| (*of, *index) != (topic, partition));
            others.for_each(|(of, index, offset)| next.set(of, index, offset));
            replace(directory, held, next, name).await?;
        }
        Ok(())
    }

    /// Stops every replica and leaves the log directories so that the next start finds nothing to recover: logs closed, then
    /// checkpoints, then the mark of a clean stop, last. Without a broker epoch, or where anything failed, there is no mark.
    pub async fn shutdown(&self, broker_epoch: Option<BrokerEpoch>) {
        let partitions: Vec<Arc<Partition>> = {
            let mut replicas = self.replicas.lock();
            replicas.stopped = true;
            replicas.here().chain(replicas.found.values().cloned()).collect()
        };
        partitions.iter().for_each(|partition| partition.stop());
        let closed = join_all(partitions.iter().map(|partition| async {
            let closing = partition.close();
            let closed = match closing {
                Ok(durable) => durable.await,
                Err(error) => Err(error),
            };
            (partition.directory(), closed)
        }));
        let mut clean: Vec<bool> = self.directories.iter().map(|directory| !directory.has_failed()).collect();
        for (number, closed) in closed.await {
            if let Err(error) = closed {
                tracing::warn!(%error, "a log could not be closed");
                clean[number] = false;
            }
        }
        self.checkpoint_high_watermarks().await;
        self.checkpoint_recovery_points().await;
        for (number, directory) in self.working_directories() {
            let Some(broker_epoch) = broker_epoch.filter(|_| clean[number]) else { continue };
            if let Err(error) = directory::write_clean_shutdown(&directory.disk, broker_epoch).await {
                tracing::warn!(directory = %directory.disk.root(), %error, "the stop is not clean");
            }
        }
    }

    pub(super) fn working_directories(&self) -> impl Iterator<Item = (usize, &Directory)> {
        self.directories.iter().enumerate().filter(|(_, directory)| !directory.has_failed())
    }

    /// Every replica in a directory, those included that no metadata has spoken of yet.
    fn all_in(&self, number: usize) -> Vec<Arc<Partition>> {
        let replicas = self.replicas.lock();
        let all = replicas.here().chain(replicas.found.values().cloned());
        all.filter(|partition| partition.directory() == number).collect()
    }

    fn fail_if(&self, number: usize, written: Result<(), LogError>) {
        if let Err(error) = written {
            tracing::error!(%error, "a checkpoint file cannot be written");
            self.fail_directory(number);
        }
    }
}

/// Replaces a checkpoint file, if its contents changed.
async fn replace(directory: &Directory, held: &mut Checkpoint, next: Checkpoint, name: &str) -> Result<(), LogError> {
    if *held != next {
        next.write(&directory.disk, name).await?;
        *held = next;
    }
    Ok(())
}
