//! Deleting what topics do not retain, every `log.retention.check.interval.ms`.
//!
//! It never decides what is old: [`crate::partition`] asks its log. A log's new start is on the device before any file of
//! it goes.

use super::Partitions;
use crate::partition::Partition;
use runtime::{task, time};
use std::sync::Arc;
use storage::DeletedFiles;

impl Partitions {
    /// Deletes the segments of every log that retention lets go, or that lie below the log start for another reason.
    pub async fn delete_old_segments(&self) {
        for (number, _) in self.working_directories() {
            let here = self.all().into_iter().filter(|partition| partition.directory() == number);
            let retired: Vec<Arc<Partition>> = here.filter(|partition| partition.retire_old_segments()).collect();
            if retired.is_empty() {
                continue;
            }
            let stored = self.checkpoint_log_starts(number).await;
            // One that moved meanwhile has its start written down elsewhere.
            for partition in retired.into_iter().filter(|partition| partition.directory() == number) {
                let Some(stored) = stored.get(partition.topic(), partition.id().partition) else { continue };
                let deleted = partition.delete_segments_below(stored);
                self.remove_segments_later(&partition, deleted);
            }
        }
    }

    /// Removes files after `file.delete.delay.ms`, so that fetches that are being answered find them.
    pub(super) fn remove_segments_later(&self, partition: &Partition, deleted: DeletedFiles) {
        if deleted.is_empty() {
            return;
        }
        let (disk, delay) = (self.directories[partition.directory()].disk.clone(), partition.file_delete_delay());
        tracing::info!(partition = %partition.id(), topic = %partition.topic(), "old segments are deleted");
        task::spawn(async move {
            time::sleep(delay).await;
            let removed = task::blocking(move || deleted.remove(&disk)).await;
            if !matches!(removed, Ok(Ok(()))) {
                tracing::warn!(?removed, "deleted segments are not removed");
            }
        });
    }
}
