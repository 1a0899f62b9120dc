//! Making the log of a new replica, and removing that of one that is gone.

use super::{Hosted, Partitions, log_config};
use crate::partition::Partition;
use crate::partition::context::Assignment;
use crate::partition::context::wall_now;
use metadata::config::TopicConfig;
use metadata::image::PartitionImage;
use protocol::ids::{BrokerId, DirectoryId, PartitionEpoch, TopicPartition};
use runtime::{observe, reachable, task, time};
use std::sync::Arc;
use std::time::Duration;
use storage::event::LogEvent;
use storage::{Log, LogError, directory};

/// How long to wait for a directory that still has the name of an earlier topic of the same name.
const NAME_PAUSE: Duration = Duration::from_millis(10);

impl Partitions {
    /// Creates a replica's log and gives it the role that the metadata has for it by then. Nothing is left of it if the
    /// metadata does not assign it to this broker any more.
    pub(super) async fn create(self: Arc<Self>, of: TopicPartition, topic: Arc<str>) {
        let name = Log::directory_name(&topic, of.partition);
        while !self.replicas.lock().creating.insert(name.clone()) {
            time::sleep(NAME_PAUSE).await;
        }
        let created = loop {
            if !self.is_wanted(of) {
                break None;
            }
            match self.create_log(of, &topic, &name).await {
                Ok(Some(created)) => break Some(created),
                Ok(None) => time::sleep(NAME_PAUSE).await,
                Err(error) => {
                    tracing::error!(partition = %of, %topic, %error, "a log cannot be created");
                    break None;
                }
            }
        };
        match created {
            Some((log, number)) => self.adopt(Partition::new(of, topic, number, log, None, self.context.clone())),
            None => {
                let mut replicas = self.replicas.lock();
                if matches!(replicas.hosted.get(&of), Some(Hosted::Creating)) {
                    replicas.hosted.remove(&of);
                }
            }
        }
        self.replicas.lock().creating.remove(&name);
    }

    /// Lists a replica whose log was just created, or removes it if nobody wants it any more.
    fn adopt(self: &Arc<Self>, partition: Arc<Partition>) {
        let of = partition.id();
        let is_here = {
            let mut replicas = self.replicas.lock();
            let wanted = matches!(replicas.hosted.get(&of), Some(Hosted::Creating)) && !replicas.stopped;
            if wanted {
                replicas.hosted.insert(of, Hosted::Here(partition.clone()));
            }
            wanted
        };
        if !is_here {
            reachable!("a replica was gone before its log was created");
            self.delete(&partition);
            return;
        }
        // What was published before it was listed has not reached it; what comes after does.
        let image = self.context.image.get();
        partition.set_config(self.settings(&image, &partition));
        self.correct_assignment(&image, &partition);
        if let Some(state) = image.partition(of) {
            self.update(&partition, state, None);
        }
    }

    fn is_wanted(&self, of: TopicPartition) -> bool {
        let replicas = self.replicas.lock();
        !replicas.stopped && matches!(replicas.hosted.get(&of), Some(Hosted::Creating))
    }

    /// A new log and the number of its directory; nothing while another log has its name.
    async fn create_log(
        &self,
        of: TopicPartition,
        topic: &Arc<str>,
        name: &str,
    ) -> Result<Option<(Log, usize)>, LogError> {
        let image = self.context.image.get();
        let local = self.context.local;
        let follows = image
            .partition(of)
            .is_some_and(|state| state.leader.is_some_and(|leader| leader != local) && !state.isr.contains(&local));
        let is_new = image.partition(of).is_some_and(|state| state.partition_epoch == PartitionEpoch(0));
        if !self.refused.is_empty() && !is_new && !follows {
            // Its log may lie in a directory that cannot be used, and nobody else may have one (`LogManager.getOrCreateLog`).
            return Err(LogError::Offline { directory: name.to_owned() });
        }
        let number = self.choose_directory(of, image.partition(of));
        let disk = &self.directories[number].disk;
        let config = log_config(&TopicConfig::resolve(&image, &self.properties, topic));
        let turn = self.device.acquire().await;
        let created = match self.forget(number, topic, of.partition).await {
            Ok(()) => Log::create(disk, name, of.topic_id, of.partition, config, wall_now()).await,
            Err(error) => Err(error),
        };
        drop(turn);
        match created {
            Ok(log) => Ok(Some((log, number))),
            Err(error @ LogError::AlreadyExists { .. }) => {
                if self.is_in_use(name) {
                    return Ok(None);
                }
                // A log is there that could not be opened when the broker started. A follower gets its records again from
                // its leader; anybody else may have the only ones.
                if !follows {
                    let _ = self.context.assignments.send(Assignment { partition: of, directory: DirectoryId::LOST });
                    return Err(error);
                }
                reachable!("a log that could not be opened was set aside for a new copy");
                tracing::warn!(partition = %of, %topic, "a log that cannot be opened is set aside");
                self.set_aside(number, name);
                observe::emit(|| LogEvent::Deleted { partition: of });
                Ok(None)
            }
            Err(error) => {
                if !matches!(error, LogError::Malformed { .. }) {
                    self.fail_directory(number);
                }
                Err(error)
            }
        }
    }

    /// Whether a replica that is here still has that directory.
    fn is_in_use(&self, name: &str) -> bool {
        let replicas = self.replicas.lock();
        replicas.here().chain(replicas.found.values().cloned()).any(|partition| partition.directory_name() == name)
    }

    /// Gives a log's directory another name at once, under which it is never used again.
    pub(super) fn set_aside(&self, number: usize, name: &str) {
        let disk = self.directories[number].disk.clone();
        if let Err(error) = disk.rename(name, &directory::stray_name(name, runtime::rand::uuid())) {
            tracing::error!(directory = name, %error, "a log cannot be set aside");
            self.fail_directory(number);
            return;
        }
        task::spawn(async move {
            if let Err(error) = disk.sync_directory("").await {
                tracing::warn!(%error, "a log that was set aside may be back after a power loss");
            }
        });
    }

    /// The directory that an operator chose, or that the metadata assigns, if it is one of ours and works; otherwise the one with the fewest replicas
    /// (KIP-858).
    fn choose_directory(&self, of: TopicPartition, state: Option<&PartitionImage>) -> usize {
        if let Some(preferred) =
            self.moves.lock().preferred.remove(&of).filter(|number| !self.directories[*number].has_failed())
        {
            return preferred;
        }
        let assigned = state.and_then(|state| assigned_directory(state, self.context.local));
        let works = |number: &usize| !self.directories[*number].has_failed();
        let named = self.directories.iter().position(|directory| Some(directory.id) == assigned).filter(works);
        named.unwrap_or_else(|| {
            let mut load = vec![0usize; self.directories.len()];
            self.all().iter().for_each(|partition| load[partition.directory()] += 1);
            let emptiest = (0..self.directories.len()).filter(works).min_by_key(|number| load[*number]);
            emptiest.unwrap_or(0)
        })
    }

    /// Renames the directory of a replica that is gone, and removes it after `file.delete.delay.ms`, so that fetches that
    /// are being answered find their files.
    pub(super) fn delete(self: &Arc<Self>, partition: &Arc<Partition>) {
        let delay = partition.file_delete_delay();
        match partition.delete() {
            Ok(renamed) => self.remove_later(partition.directory(), renamed, delay),
            Err(error) => {
                partition.on_failure(&error);
                self.fail_directory(partition.directory());
            }
        }
    }

    /// As [`Self::delete`], for a log that is no replica's any more.
    pub(super) fn delete_log(&self, number: usize, log: &Log) {
        let delay = Duration::from_millis(log.config().file_delete_delay_ms);
        match log.mark_deleted() {
            Ok(renamed) => self.remove_later(number, renamed, delay),
            Err(error) => {
                tracing::error!(directory = log.directory(), %error, "a log cannot be deleted");
                self.fail_directory(number);
            }
        }
    }

    fn remove_later(&self, number: usize, renamed: String, delay: Duration) {
        let disk = self.directories[number].disk.clone();
        task::spawn(async move {
            let synced = disk.sync_directory("").await;
            time::sleep(delay).await;
            let removed = task::blocking(move || directory::remove(&disk, &renamed)).await;
            if !matches!((&synced, &removed), (Ok(()), Ok(Ok(())))) {
                tracing::warn!(?synced, ?removed, "a deleted log is not removed");
            }
        });
    }
}

pub(super) fn assigned_directory(state: &PartitionImage, local: BrokerId) -> Option<DirectoryId> {
    let at = state.replicas.iter().position(|replica| *replica == local)?;
    state.directories.get(at).copied()
}
