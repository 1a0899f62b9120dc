//! Moving replicas between the log directories of this broker (KIP-113), and telling the controller where each one is
//! (KIP-858).
//!
//! ```text
//!  a copy beside the log -> the controller knows -> the log stands still -> the rest -> the copy is the log
//! ```
//!
//! A move that a restart interrupts begins anew: an unfinished copy says where it was to go. It never decides what may be
//! appended: [`crate::partition::moving`] does.

use super::{Hosted, Partitions};
use crate::partition::Partition;
use crate::partition::context::{Assignment, monotonic_now, wall_now};
use crate::partition::moving::{CopyView, Held};
use metadata::image::Image;
use protocol::error_code::ErrorCode;
use protocol::ids::{Offset, PartitionIndex, TopicPartition};
use runtime::{rand, reachable, sometimes, task, time};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use storage::{AppendError, Log, LogError, ReadError, Recovery, directory};

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 1 << 20;
/// How long to wait before looking again: at a throttle that is used up, or at metadata that has not come.
const PAUSE: Duration = Duration::from_millis(50);

/// A replica on its way to another directory.
pub(super) struct Move {
    to: usize,
    progress: Arc<Progress>,
}

/// How far a copy is.
#[derive(Debug, Default)]
pub struct Progress {
    end_offset: AtomicI64,
    bytes: AtomicU64,
    cancelled: AtomicBool,
}

/// A copy that is under way, for whoever describes the directories.
#[derive(Clone, Debug)]
pub struct FutureReplica {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Which of its partitions.
    pub partition: PartitionIndex,
    /// One past the last record that was copied.
    pub end_offset: Offset,
    /// Bytes that were copied.
    pub size: u64,
    /// How many offsets the copy is behind.
    pub lag: i64,
}

/// Why a copy did not become the log.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    /// The log was cut, or its replica elected, since the copy began: it begins anew.
    #[error("the log changed")]
    Changed,
    #[error("the replica is offline")]
    Offline,
    #[error("it is to be elsewhere")]
    Cancelled,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Progress {
    fn check(&self, partition: &Partition) -> Result<(), MoveError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(MoveError::Cancelled);
        }
        partition.copy_view().map(|_| ()).ok_or(MoveError::Offline)
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        self.progress.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Partitions {
    /// Brings a replica to the log directory at this path (`ReplicaManager.alterReplicaLogDirs`). A replica that is there
    /// already stays, and a move elsewhere is over; one that is not here yet will be created there.
    ///
    /// # Errors
    /// `LOG_DIR_NOT_FOUND`, `KAFKA_STORAGE_ERROR` where either directory failed, `REPLICA_NOT_AVAILABLE` for a replica that
    /// is not here yet.
    pub fn move_replica(self: &Arc<Self>, of: TopicPartition, path: &str) -> Result<(), ErrorCode> {
        let to = self.directories.iter().position(|directory| directory.disk.root() == path);
        let to = to.ok_or(ErrorCode::LogDirNotFound)?;
        if self.directories[to].has_failed() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let Some(partition) = self.get(of) else {
            self.moves.lock().preferred.insert(of, to);
            return Err(ErrorCode::ReplicaNotAvailable);
        };
        if partition.copy_view().is_none() {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.begin_move(partition, to);
        Ok(())
    }

    pub(super) fn begin_move(self: &Arc<Self>, partition: Arc<Partition>, to: usize) {
        let of = partition.id();
        let mut moves = self.moves.lock();
        if moves.underway.get(&of).is_some_and(|earlier| earlier.to == to) {
            return;
        }
        moves.underway.remove(&of);
        if partition.directory() == to {
            return;
        }
        let progress = Arc::new(Progress::default());
        task::spawn(self.clone().run_move(partition, to, progress.clone()));
        moves.underway.insert(of, Move { to, progress });
    }

    /// The copies that are on their way into a directory.
    pub fn future_replicas(&self, number: usize) -> Vec<FutureReplica> {
        let moving: Vec<(TopicPartition, Arc<Progress>)> = {
            let moves = self.moves.lock();
            let into = moves.underway.iter().filter(|(_, one)| one.to == number);
            into.map(|(of, one)| (*of, one.progress.clone())).collect()
        };
        let describe = |(of, progress): (TopicPartition, Arc<Progress>)| {
            let partition = self.get(of)?;
            let end_offset = Offset(progress.end_offset.load(Ordering::Relaxed));
            Some(FutureReplica {
                topic: partition.topic().clone(),
                partition: of.partition,
                end_offset,
                size: progress.bytes.load(Ordering::Relaxed),
                lag: (partition.standing().log_end_offset.0 - end_offset.0).max(0),
            })
        };
        moving.into_iter().filter_map(describe).collect()
    }

    /// Tells the controller where a replica is, if the metadata says otherwise. Where there is one directory only, nobody
    /// needs to know but of a replica that was lost.
    pub(super) fn correct_assignment(&self, image: &Image, partition: &Partition) {
        let lost = image.partition(partition.id()).is_some_and(|state| super::is_lost(state, self.context.local));
        if (lost || self.directories.len() > 1) && self.assigned(image, partition.id()) != Some(partition.directory()) {
            self.assign(partition.id(), partition.directory());
        }
    }

    fn assign(&self, partition: TopicPartition, number: usize) {
        reachable!("a broker tells the controller in which directory a replica is");
        // A receiver that is gone has stopped already.
        let _ = self.context.assignments.send(Assignment { partition, directory: self.directories[number].id });
    }

    fn assigned(&self, image: &Image, of: TopicPartition) -> Option<usize> {
        let assigned = super::creation::assigned_directory(image.partition(of)?, self.context.local)?;
        self.directories.iter().position(|directory| directory.id == assigned)
    }

    /// Copies until the copy has taken the log's place, or the replica or a directory is gone.
    async fn run_move(self: Arc<Self>, partition: Arc<Partition>, to: usize, progress: Arc<Progress>) {
        loop {
            let name = directory::future_name(&partition.directory_name(), rand::uuid());
            match self.copy(&partition, to, &name, &progress).await {
                Ok(()) => break,
                Err(MoveError::Changed) => {
                    sometimes!(true, "a log changed while it was copied to another directory");
                    self.discard(to, &name).await;
                    time::sleep(PAUSE).await;
                }
                // What is there says after the next start where the replica was to go.
                Err(MoveError::Offline) => break,
                Err(error) => {
                    tracing::warn!(partition = %partition.id(), %error, "a replica stays in its directory");
                    self.discard(to, &name).await;
                    self.correct_assignment(&self.context.image.get(), &partition);
                    break;
                }
            }
        }
        let (mut moves, of) = (self.moves.lock(), partition.id());
        if moves.underway.get(&of).is_some_and(|one| Arc::ptr_eq(&one.progress, &progress)) {
            moves.underway.remove(&of);
        }
    }

    async fn copy(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        to: usize,
        name: &str,
        progress: &Progress,
    ) -> Result<(), MoveError> {
        let view = partition.copy_view().ok_or(MoveError::Offline)?;
        let (disk, of) = (self.directories[to].disk.clone(), partition.id());
        let mut copy = Log::create(&disk, name, of.topic_id, of.partition, view.config.clone(), wall_now()).await?;
        if view.has_gaps {
            copy.expect_gaps()?;
        }
        self.catch_up(partition, &view, &mut copy, progress).await?;
        if self.directories.len() > 1 {
            self.assign(of, to);
            while self.assigned(&self.context.image.get(), of) != Some(to) {
                progress.check(partition)?;
                time::sleep(PAUSE).await;
            }
        }
        self.catch_up(partition, &view, &mut copy, progress).await?;
        copy.flush().await?;
        let held = partition.hold(&view).ok_or(MoveError::Changed)?;
        self.catch_up(partition, &view, &mut copy, progress).await?;
        let now = partition.copy_view().ok_or(MoveError::Offline)?;
        let end = copy.log_end_offset();
        for epoch in now.epochs.iter().filter(|epoch| epoch.start_offset >= end) {
            copy.assign_epoch(epoch.leader_epoch, epoch.start_offset).await?;
        }
        if now.log_start_offset > copy.log_start_offset() {
            copy.set_log_start_offset(now.log_start_offset)?;
        }
        copy.close()?.await?;
        drop(copy);
        self.take_place(partition, to, name, &now, held).await
    }

    /// Gives the copy the log's name, and puts it in its place.
    async fn take_place(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        to: usize,
        name: &str,
        view: &CopyView,
        held: Held,
    ) -> Result<(), MoveError> {
        let (from, final_name) = (partition.directory(), partition.directory_name());
        let disk = self.directories[to].disk.clone();
        self.forget(to, partition.topic(), partition.id().partition).await?;
        let io = |error| LogError::Malformed { path: final_name.clone(), what: format!("cannot be renamed: {error}") };
        disk.rename(name, &final_name).map_err(io)?;
        disk.sync_directory("").await.map_err(io)?;
        let begins = (Recovery::Clean, view.log_start_offset);
        let opened = Log::open_from(&disk, &final_name, view.config.clone(), begins, wall_now()).await;
        let switched = opened.map(|copy| partition.switch(copy, to, &held));
        drop(held);
        match switched {
            Ok(Ok(old)) => {
                reachable!("a replica moved to another directory");
                tracing::info!(partition = %partition.id(), topic = %partition.topic(), to = %disk.root(), "a replica moved");
                self.checkpoint_log_starts(to).await;
                self.delete_log(from, &old);
                Ok(())
            }
            Ok(Err(copy)) => {
                self.delete_log(to, &copy);
                Err(MoveError::Changed)
            }
            Err(error) => {
                self.set_aside(to, &final_name);
                Err(error.into())
            }
        }
    }

    /// Copies what is there now, no faster than `replica.alter.log.dirs.io.max.bytes.per.second`.
    async fn catch_up(
        &self,
        partition: &Arc<Partition>,
        view: &CopyView,
        copy: &mut Log,
        progress: &Progress,
    ) -> Result<(), MoveError> {
        loop {
            progress.check(partition)?;
            while self.context.throttles.moves.is_exceeded(monotonic_now()) {
                progress.check(partition)?;
                time::sleep(PAUSE).await;
            }
            let from = copy.log_end_offset().max(view.log_start_offset);
            let piece = partition.read_to_copy(from, view, PIECE_BYTES)?.ok_or(MoveError::Changed)?;
            // Where offsets are missing the next batch may begin later than what was asked for.
            let begins = piece.base_offset.min(from);
            if copy.log_end_offset() < begins {
                copy.truncate_fully_and_start_at(begins)?.await?;
            }
            if piece.slice.is_empty() {
                progress.end_offset.store(copy.log_end_offset().0, Ordering::Relaxed);
                return Ok(());
            }
            let bytes = task::blocking(move || piece.slice.read()).await;
            let bytes = bytes.and_then(|read| read).map_err(|error| LogError::Malformed {
                path: partition.directory_name(),
                what: format!("cannot be read: {error}"),
            })?;
            copy.append_as_follower(&bytes)?;
            self.context.throttles.moves.record(bytes.len() as u64, monotonic_now());
            progress.end_offset.store(copy.log_end_offset().0, Ordering::Relaxed);
            progress.bytes.store(copy.size(), Ordering::Relaxed);
        }
    }

    /// Removes an unfinished copy.
    async fn discard(&self, number: usize, name: &str) {
        let (disk, name) = (self.directories[number].disk.clone(), name.to_owned());
        let removed = task::blocking(move || directory::remove(&disk, &name)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(?removed, "an unfinished copy of a log is not removed");
        }
    }

    /// The topic is here again after a start: what was moving goes on moving.
    pub(super) fn resume_moves(self: &Arc<Self>, image: &Image) {
        let interrupted = std::mem::take(&mut self.moves.lock().interrupted);
        for (topic, partition, to) in interrupted {
            let Some(topic) = image.topic_by_name(&topic) else { continue };
            let of = TopicPartition { topic_id: topic.id, partition };
            let here = match self.replicas.lock().hosted.get(&of) {
                Some(Hosted::Here(partition)) => partition.clone(),
                Some(Hosted::Creating) | None => continue,
            };
            self.begin_move(here, to);
        }
    }
}
