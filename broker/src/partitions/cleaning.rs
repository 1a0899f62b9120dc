//! Compacting logs, one at a time: the dirtiest first, every `log.cleaner.backoff.ms` (`LogCleaner`).
//!
//! It never decides what goes: the log does. How far a log is clean is written down (`cleaner-offset-checkpoint`) only once
//! the cleaned segments are durable. A log that changes under its cleaning is left for the next time; one whose records
//! cannot be read is not tried again before the next start, as Kafka's uncleanable partitions.

use super::Partitions;
use crate::partition::Partition;
use metadata::config::effective::{Layers, broker_long, broker_value};
use protocol::ids::TopicPartition;
use runtime::sync::Shutdown;
use runtime::{task, time};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use storage::{CleanError, CleanerConfig, Cleaning, LogError};

impl Partitions {
    /// Cleans logs until the shutdown is requested, unless `log.cleaner.enable` is off.
    pub async fn run_cleaner(self: Arc<Self>, shutdown: Shutdown) {
        if !self.properties.boolean("log.cleaner.enable") {
            return;
        }
        let mut uncleanable = BTreeSet::new();
        loop {
            let backoff = time::sleep(self.cleaner_backoff());
            runtime::select! {
                () = shutdown.requested() => return,
                () = backoff => {}
            }
            runtime::select! {
                () = shutdown.requested() => return,
                () = self.clean_due_logs(&mut uncleanable) => {}
            }
        }
    }

    /// Cleans what is due, the dirtiest first, until nothing is, or one could not be cleaned.
    pub async fn clean_due_logs(&self, uncleanable: &mut BTreeSet<TopicPartition>) {
        while let Some(partition) = self.dirtiest(uncleanable) {
            let of = partition.id();
            match self.clean(&partition).await {
                Ok(()) => {}
                Err(CleanError::Changed) => {
                    tracing::debug!(partition = %of, topic = %partition.topic(), "a log changed while it was cleaned");
                    return;
                }
                Err(error) => {
                    tracing::warn!(partition = %of, topic = %partition.topic(), %error, "a log is not cleaned");
                    if let CleanError::Log(error) = &error {
                        partition.on_cleaning_failure(error);
                    }
                    uncleanable.insert(of);
                    return;
                }
            }
        }
    }

    fn dirtiest(&self, uncleanable: &BTreeSet<TopicPartition>) -> Option<Arc<Partition>> {
        let candidates = self.all().into_iter().filter(|partition| !uncleanable.contains(&partition.id()));
        let due = candidates.filter_map(|partition| partition.due_cleaning().map(|due| (due.dirty_ratio(), partition)));
        due.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, partition)| partition)
    }

    async fn clean(&self, partition: &Arc<Partition>) -> Result<(), CleanError> {
        let Some(cleaning) = partition.begin_cleaning(self.cleaner_config()) else { return Err(CleanError::Changed) };
        let number = partition.directory();
        let (mut cleaning, prepared) = off_thread(partition, cleaning, Cleaning::prepare).await?;
        prepared?;
        if cleaning.end() <= cleaning.cleanable().first_dirty {
            // What is dirty waits for a transaction to be decided: it would be looked at again and again.
            return Err(CleanError::Changed);
        }
        let mut size = 0;
        loop {
            let (back, segment) = off_thread(partition, cleaning, Cleaning::clean_next).await?;
            cleaning = back;
            let Some(segment) = segment? else { break };
            size += segment.size();
            segment.sync().await?;
            let deleted = partition.swap_in(segment)?;
            self.remove_segments_later(partition, deleted);
        }
        partition.end_cleaning(&cleaning)?.await?;
        partition.note_cleaned(&cleaning)?;
        self.checkpoint_cleaned(number).await;
        let (from, to) = (cleaning.cleanable().first_dirty, cleaning.end());
        tracing::info!(partition = %partition.id(), topic = %partition.topic(), %from, %to, size, "a log was cleaned");
        Ok(())
    }

    fn cleaner_backoff(&self) -> Duration {
        Duration::from_millis(self.cleaner_long("log.cleaner.backoff.ms"))
    }

    fn cleaner_config(&self) -> CleanerConfig {
        let image = self.context.image.get();
        let layers = Layers::of_broker(&image, &self.properties, Some(self.context.local));
        let load_factor = broker_value(&layers, "log.cleaner.io.buffer.load.factor");
        let default = CleanerConfig::default();
        CleanerConfig {
            dedupe_buffer_bytes: self.cleaner_long("log.cleaner.dedupe.buffer.size"),
            load_factor: load_factor.and_then(|found| found.value.parse().ok()).unwrap_or(default.load_factor),
            io_buffer_bytes: self.cleaner_long("log.cleaner.io.buffer.size") as usize,
        }
    }

    fn cleaner_long(&self, name: &'static str) -> u64 {
        let image = self.context.image.get();
        let layers = Layers::of_broker(&image, &self.properties, Some(self.context.local));
        u64::try_from(broker_long(&layers, name)).unwrap_or_default()
    }
}

/// A step of a cleaning, which reads and writes a lot: not on the threads that serve.
async fn off_thread<T: Send + 'static>(
    partition: &Partition,
    mut cleaning: Cleaning,
    step: impl FnOnce(&mut Cleaning) -> T + Send + 'static,
) -> Result<(Cleaning, T), CleanError> {
    let done = task::blocking(move || {
        let done = step(&mut cleaning);
        (cleaning, done)
    });
    done.await.map_err(|error| {
        tracing::error!(partition = %partition.id(), %error, "a cleaning came to no end");
        CleanError::Log(LogError::Offline { directory: partition.directory_name() })
    })
}
