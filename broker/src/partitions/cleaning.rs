//! Compacting logs, one at a time: the dirtiest first, every `log.cleaner.backoff.ms` (`LogCleaner`).
//!
//! It never decides what goes: the log does. How far a log is clean is written down (`cleaner-offset-checkpoint`) only once
//! the cleaned segments are durable. A log that changes under its cleaning is left for the next time; one whose records
//! cannot be read is not tried again before the next start, as Kafka's uncleanable partitions, unless it is copied anew.

use super::Partitions;
use crate::partition::Partition;
use crate::partition::context::monotonic_now;
use metadata::config::effective::{Layers, broker_long, broker_value};
use protocol::ids::{MonotonicMillis, TopicPartition};
use runtime::sync::Shutdown;
use runtime::{task, time};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use storage::{CleanError, CleanerConfig, Cleaning, LogError};

/// The rank of how the cleaner fares: no lock is taken under it.
pub(super) const RANK: u8 = 24;

/// How the cleaner fares, for whoever asks (`LogCleaner`, `LogCleanerManager`).
#[derive(Clone, Debug, Default)]
pub struct CleanerStanding {
    /// Logs that are not tried again: their records cannot be read.
    uncleanable: BTreeMap<TopicPartition, Weak<Partition>>,
    /// How dirty the dirtiest of the logs that were due was when it last looked, from 0 to 1.
    pub max_dirty_ratio: f64,
    /// When it last looked.
    pub looked_at: Option<MonotonicMillis>,
    /// The last cleaning that came to its end.
    pub last: Option<Cleaned>,
}

/// A cleaning that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Cleaned {
    /// Bytes of the segments that it wrote anew.
    pub read: u64,
    /// Bytes of what it wrote.
    pub written: u64,
    /// How long it took.
    pub took: Duration,
}

impl CleanerStanding {
    /// Whether this very log is not tried again.
    pub fn is_uncleanable(&self, partition: &Arc<Partition>) -> bool {
        let known = self.uncleanable.get(&partition.id());
        known.is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(partition)))
    }
}

impl Partitions {
    /// How the cleaner fares.
    pub fn cleaner(&self) -> CleanerStanding {
        self.cleaner.lock().clone()
    }

    /// Cleans logs until the shutdown is requested, unless `log.cleaner.enable` is off.
    pub async fn run_cleaner(self: Arc<Self>, shutdown: Shutdown) {
        if !self.properties.boolean("log.cleaner.enable") {
            return;
        }
        loop {
            let backoff = time::sleep(self.cleaner_backoff());
            runtime::select! {
                () = shutdown.requested() => return,
                () = backoff => {}
            }
            runtime::select! {
                () = shutdown.requested() => return,
                () = self.clean_due_logs() => {}
            }
        }
    }

    /// Cleans what is due, the dirtiest first, until nothing is, or one could not be cleaned.
    pub async fn clean_due_logs(&self) {
        while let Some(partition) = self.dirtiest() {
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
                    self.cleaner.lock().uncleanable.insert(of, Arc::downgrade(&partition));
                    return;
                }
            }
        }
    }

    /// The dirtiest log that is due. Logs that are gone are forgotten.
    fn dirtiest(&self) -> Option<Arc<Partition>> {
        let mut standing = self.cleaner();
        standing.uncleanable.retain(|_, known| known.strong_count() > 0);
        let candidates = self.all().into_iter().filter(|partition| !standing.is_uncleanable(partition));
        let due = candidates.filter_map(|partition| partition.due_cleaning().map(|due| (due.dirty_ratio(), partition)));
        let dirtiest = due.max_by(|(one, _), (other, _)| one.total_cmp(other));
        standing.max_dirty_ratio = dirtiest.as_ref().map_or(0.0, |(ratio, _)| *ratio);
        standing.looked_at = Some(monotonic_now());
        *self.cleaner.lock() = standing;
        dirtiest.map(|(_, partition)| partition)
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
        let (began, mut read, mut written) = (time::now(), 0, 0);
        loop {
            let (back, segment) = off_thread(partition, cleaning, Cleaning::clean_next).await?;
            cleaning = back;
            let Some(segment) = segment? else { break };
            read += segment.replaced_bytes();
            written += segment.size();
            segment.sync().await?;
            let deleted = partition.swap_in(segment)?;
            self.remove_segments_later(partition, deleted);
        }
        partition.end_cleaning(&cleaning)?.await?;
        partition.note_cleaned(&cleaning)?;
        self.checkpoint_cleaned(number).await;
        let (from, to) = (cleaning.cleanable().first_dirty, cleaning.end());
        let topic = partition.topic();
        tracing::info!(partition = %partition.id(), %topic, %from, %to, read, written, "a log was cleaned");
        self.cleaner.lock().last = Some(Cleaned { read, written, took: began.elapsed() });
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
