//! What of one log is on the device, and the tasks that bring it there.
//!
//! A [`SyncTask`] is made under the partition's lock and awaited outside it; meanwhile the log goes on. What both sides must
//! agree on lies here, behind a lock of its own that is held for a few instructions.

use crate::{error::LogError, event::LogEvent, leader_epochs::LeaderEpochs};
use protocol::ids::{Offset, TopicPartition, WallMillis};
use runtime::{
    disk::{Disk, File},
    sync::{AsyncMutex, Lock},
};
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

/// The file that holds a log's [`LeaderEpochs`].
pub(crate) const EPOCHS_FILE: &str = "leader-epoch-checkpoint";

/// The rank of the lock below: a partition's lock may be held, nothing is taken inside.
const RANK: u8 = 200;

/// Work that waits for the device. It owns what it needs; dropping it does no harm and makes nothing durable.
#[must_use = "nothing is durable until it is awaited"]
pub struct SyncTask {
    future: Option<Pin<Box<Work>>>,
}

type Work = dyn Future<Output = Result<(), LogError>> + Send;

impl SyncTask {
    /// Nothing to wait for.
    pub(crate) fn done() -> Self {
        Self { future: None }
    }

    /// Whether there is nothing to wait for.
    pub fn is_done(&self) -> bool {
        self.future.is_none()
    }
}

impl Future for SyncTask {
    type Output = Result<(), LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.future {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for SyncTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncTask").field("done", &self.is_done()).finish()
    }
}

/// What one task has to bring to the device.
#[derive(Default)]
pub(crate) struct Plan {
    /// These files' bytes.
    pub files: Vec<File>,
    /// And those of the files that [`Durability::to_sync`] was told of.
    pub others: bool,
    /// The leader epochs, if they have changed.
    pub epochs: bool,
    /// The directory's names, if they have changed.
    pub names: bool,
    /// Then everything below this offset is durable.
    pub target: Option<Offset>,
}

/// Shared by a log and its tasks.
pub(crate) struct Durability {
    disk: Disk,
    directory: String,
    partition: TopicPartition,
    offline: AtomicBool,
    /// Whether it is so because a write or a sync failed.
    failed: AtomicBool,
    /// Whether a removal of files, or a cut that waits for it, is not durable.
    unsettled: AtomicBool,
    state: Lock<State>,
    /// Held while the epochs' file is replaced: two at once would share one temporary file.
    writing_epochs: AsyncMutex<()>,
}

struct State {
    recovery_point: Offset,
    /// The highest recovery point that a checkpoint file may hold.
    recovery_point_max: Offset,
    /// The targets of tasks that are under way, lowered by truncations.
    running: BTreeMap<u64, Offset>,
    begun: u64,
    epochs: String,
    epochs_changed: u64,
    epochs_durable: u64,
    names_changed: u64,
    names_durable: u64,
    /// The change of names that must be durable before anything is appended.
    barrier: u64,
    /// Files to be cut, each when a change of names is durable.
    cuts: Vec<(u64, File, u64)>,
    /// Files other than the segments' that are to be synced, until they are.
    others: Vec<Other>,
    others_noted: u64,
    /// When a task with a target was last begun.
    flushed_at: WallMillis,
}

/// A file beside the segments that was written once: an index of a closed segment, a snapshot of the producers.
struct Other {
    /// Which of those that were ever noted, counted from one.
    number: u64,
    /// The offset below which the log must reach for it to be of use.
    useful_from: Offset,
    file: File,
}

impl Durability {
    /// For a log that was just opened: `recovery_point` is what the checkpoint file may hold, and `epochs` is what the
    /// epochs' file holds.
    pub fn new(
        disk: &Disk,
        directory: &str,
        partition: TopicPartition,
        recovery_point: Offset,
        log_end_offset: Offset,
        epochs: &LeaderEpochs,
    ) -> Arc<Self> {
        let state = State {
            recovery_point: recovery_point.min(log_end_offset),
            recovery_point_max: recovery_point,
            running: BTreeMap::new(),
            begun: 0,
            epochs: epochs.encode(),
            epochs_changed: 0,
            epochs_durable: 0,
            names_changed: 0,
            names_durable: 0,
            barrier: 0,
            cuts: Vec::new(),
            others: Vec::new(),
            others_noted: 0,
            flushed_at: WallMillis(runtime::time::wall_now()),
        };
        Arc::new(Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            partition,
            offline: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            unsettled: AtomicBool::new(false),
            state: Lock::new(RANK, state),
            writing_epochs: AsyncMutex::new(()),
        })
    }

    /// Fails once a write or a sync has failed.
    pub fn check_online(&self) -> Result<(), LogError> {
        // S14 of the bug zoo writes on after a failure.
        if runtime::mutant!("S14") {
            if self.is_offline() {
                runtime::mutant_diverged!("S14");
            }
            return Ok(());
        }
        if self.is_offline() { Err(LogError::Offline { directory: self.directory.clone() }) } else { Ok(()) }
    }

    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// A write or a sync failed: what the device holds is not known any more, and trying again would not tell. Of what was
    /// being written, up to `writing`, a part may be in the log when it is opened again.
    pub fn fail(&self, error: &LogError, writing: Offset) {
        self.failed.store(true, Ordering::Release);
        if self.offline.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(directory = self.directory, %error, "a log goes offline");
        let partition = self.partition;
        runtime::observe::emit(|| LogEvent::Failed { partition, writing });
    }

    /// Nothing is written any more, for the log is not wanted.
    pub fn go_offline(&self) {
        self.offline.store(true, Ordering::Release);
    }

    /// Fails while a removal of segments is not durable.
    pub fn check_settled(&self) -> Result<(), LogError> {
        if self.unsettled.load(Ordering::Acquire) {
            Err(LogError::Unsettled { directory: self.directory.clone() })
        } else {
            Ok(())
        }
    }

    /// Below this everything is durable; one below the log's start after a cut to its start.
    pub fn recovery_point(&self) -> Offset {
        self.state.lock().recovery_point
    }

    pub fn recovery_point_max(&self) -> Offset {
        self.state.lock().recovery_point_max
    }

    pub fn flushed_at(&self) -> WallMillis {
        self.state.lock().flushed_at
    }

    /// The checkpoint file now holds this recovery point.
    pub fn recovery_point_stored(&self, stored: Offset) {
        let state = &mut *self.state.lock();
        state.recovery_point_max = stored.max(state.recovery_point);
    }

    /// The log was cut: what lies above is not there to be durable. Nor is the cut itself, before the file that was cut is
    /// synced: the offset before it does not count as durable either, so that the next flush includes that file.
    pub fn truncated(&self, to: Offset) {
        let state = &mut *self.state.lock();
        state.recovery_point = state.recovery_point.min(to.plus(-1));
        state.running.values_mut().for_each(|target| *target = (*target).min(to));
    }

    /// The log was emptied, and begins anew at an offset that need not be lower.
    pub fn restarted(&self, at: Offset) {
        let state = &mut *self.state.lock();
        state.running.clear();
        state.cuts.clear();
        state.others.clear();
        state.recovery_point = at;
        state.recovery_point_max = state.recovery_point_max.max(at);
    }

    /// The epochs have changed.
    pub fn set_epochs(&self, epochs: &LeaderEpochs) {
        let state = &mut *self.state.lock();
        state.epochs = epochs.encode();
        state.epochs_changed += 1;
    }

    /// A file beside the segments was written and is not touched any more: the next flush syncs it, and once one has, none
    /// does again. It is of no use to a log that ends below `useful_from`.
    pub fn to_sync(&self, useful_from: Offset, file: File) {
        let state = &mut *self.state.lock();
        state.others_noted += 1;
        state.others.push(Other { number: state.others_noted, useful_from, file });
    }

    /// The log ends at `end`: files that are of use only above need no sync.
    pub fn forget_others_above(&self, end: Offset) {
        self.state.lock().others.retain(|other| other.useful_from <= end);
    }

    /// How many files beside the segments the next flush will sync.
    #[cfg(test)]
    pub fn others(&self) -> usize {
        self.state.lock().others.len()
    }

    /// Files were created or removed.
    pub fn names_changed(&self) {
        self.state.lock().names_changed += 1;
    }

    /// Files were removed that must not come back: nothing may be appended until that is durable, and then `cut`, a file
    /// and its new length, is to be carried out. A cut before would be seen, after a crash, beside what was removed.
    pub fn names_must_last(&self, cut: Option<(File, u64)>) {
        let state = &mut *self.state.lock();
        state.names_changed += 1;
        state.barrier = state.names_changed;
        self.unsettled.store(true, Ordering::Release);
        let barrier = state.barrier;
        state.cuts.extend(cut.map(|(file, length)| (barrier, file, length)));
    }

    /// Begins a task. The syncs of its files cover what was written until now.
    pub fn task(self: &Arc<Self>, plan: Plan) -> SyncTask {
        let Plan { mut files, others, epochs, names, target } = plan;
        let (epochs, names, running, others) = {
            let state = &mut *self.state.lock();
            if others {
                files.extend(state.others.iter().map(|other| other.file.clone()));
            }
            let others = if others { state.others_noted } else { 0 };
            if target.is_some() {
                state.flushed_at = WallMillis(runtime::time::wall_now());
            }
            let target = target.filter(|target| *target > state.recovery_point);
            let running = target.map(|target| {
                state.begun += 1;
                state.running.insert(state.begun, target);
                state.begun
            });
            let names = (names && state.names_durable < state.names_changed).then_some(state.names_changed);
            (epochs && state.epochs_durable < state.epochs_changed, names, running, others)
        };
        if files.is_empty() && !epochs && names.is_none() && running.is_none() {
            return SyncTask::done();
        }
        let syncs: Vec<_> = files.iter().map(File::sync).collect();
        let begun = Begun { shared: self.clone(), running };
        let future = async move {
            let done = begun.shared.carry_out(syncs, epochs, names).await;
            begun.shared.end(begun.running, others, done)
        };
        SyncTask { future: Some(Box::pin(future)) }
    }

    async fn carry_out(
        &self,
        syncs: Vec<impl Future<Output = std::io::Result<()>>>,
        epochs: bool,
        names: Option<u64>,
    ) -> Result<(), LogError> {
        // The epochs come first: below a recovery point they are not found again by reading the log.
        if epochs {
            self.write_epochs().await?;
        }
        for sync in syncs {
            sync.await.map_err(|error| LogError::io("sync", &self.directory, error))?;
        }
        if let Some(names) = names {
            self.sync_names(names).await?;
        }
        Ok(())
    }

    async fn write_epochs(&self) -> Result<(), LogError> {
        let _writing = self.writing_epochs.lock().await;
        let (contents, changed, durable, names) = {
            let state = self.state.lock();
            (state.epochs.clone(), state.epochs_changed, state.epochs_durable, state.names_changed)
        };
        if durable >= changed {
            return Ok(()); // another task wrote these meanwhile
        }
        let path = format!("{}/{EPOCHS_FILE}", self.directory);
        let written = self.disk.write_atomically(&path, contents.as_bytes()).await;
        written.map_err(|error| LogError::io("write", path, error))?;
        {
            let state = &mut *self.state.lock();
            state.epochs_durable = state.epochs_durable.max(changed);
        }
        // The directory was synced along with it.
        self.names_are_durable(names)
    }

    async fn sync_names(&self, names: u64) -> Result<(), LogError> {
        if self.state.lock().names_durable >= names {
            return Ok(());
        }
        let synced = self.disk.sync_directory(&self.directory).await;
        synced.map_err(|error| LogError::io("sync", &self.directory, error))?;
        self.names_are_durable(names)
    }

    /// The changes of names up to this one are durable: carries out the cuts that waited for it.
    fn names_are_durable(&self, names: u64) -> Result<(), LogError> {
        let state = &mut *self.state.lock();
        state.names_durable = state.names_durable.max(names);
        for (barrier, file, length) in &state.cuts {
            if *barrier <= names && file.len().is_ok_and(|current| current > *length) {
                file.truncate(*length).map_err(|error| LogError::io("truncate", &self.directory, error))?;
            }
        }
        state.cuts.retain(|(barrier, ..)| *barrier > names);
        if state.barrier <= state.names_durable && state.cuts.is_empty() {
            self.unsettled.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// A task is over, which synced the first `others` of the files beside the segments too. One that succeeded beside one
    /// that failed has not: the system tells of an error once, to whoever asks first, and what it dropped may be this one's.
    fn end(&self, running: Option<u64>, others: u64, done: Result<(), LogError>) -> Result<(), LogError> {
        let done = ignored_if_mutant(done).and_then(|()| match self.failed.load(Ordering::Acquire) {
            true => Err(LogError::Offline { directory: self.directory.clone() }),
            false => Ok(()),
        });
        let target = {
            let state = &mut *self.state.lock();
            if done.is_ok() {
                state.others.retain(|other| other.number > others);
            }
            let target = running.and_then(|running| state.running.remove(&running));
            if let (Ok(()), Some(target)) = (&done, target) {
                state.recovery_point = state.recovery_point.max(target);
                state.recovery_point_max = state.recovery_point_max.max(target);
            }
            target
        };
        match (&done, target) {
            (Ok(()), Some(up_to)) => {
                let partition = self.partition;
                runtime::observe::emit(|| LogEvent::Synced { partition, up_to });
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.fail(error, Offset::ZERO),
        }
        done
    }
}

/// S13 of the bug zoo: a sync that failed is taken for one that will succeed the next time, and so for no matter.
fn ignored_if_mutant(done: Result<(), LogError>) -> Result<(), LogError> {
    if !runtime::mutant!("S13") || done.is_ok() {
        return done;
    }
    runtime::mutant_diverged!("S13");
    Ok(())
}

/// A task's entry among those that are under way; gone with the task.
struct Begun {
    shared: Arc<Durability>,
    running: Option<u64>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(running) = self.running {
            self.shared.state.lock().running.remove(&running);
        }
    }
}

impl fmt::Debug for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durability").field("directory", &self.directory).field("offline", &self.is_offline()).finish()
    }
}

#[cfg(test)]
#[cfg(madsim)]
mod tests {
    use super::*;
    use protocol::ids::{PartitionIndex, TopicId};
    use runtime::{
        disk::Open,
        simulation::{self, Options, disk::Faults},
    };

    #[test]
    fn a_file_is_synced_by_the_first_flush_that_succeeds_and_by_none_after() {
        let run = simulation::run(1, Options::default(), || async {
            let platter = simulation::disk::Disk::new(1);
            let disk = Disk::simulated(platter.clone());
            let partition =
                TopicPartition { topic_id: TopicId(uuid::Uuid::from_u128(1)), partition: PartitionIndex(0) };
            let epochs = LeaderEpochs::default();
            let shared = Durability::new(&disk, "", partition, Offset::ZERO, Offset::ZERO, &epochs);
            let write = |name: &str| {
                let file = disk.open(name, Open::CreateNew).expect("a healthy disk");
                file.append(b"index").expect("a healthy disk");
                file
            };
            let flush = || shared.task(Plan { others: true, target: Some(Offset(9)), ..Plan::default() });
            shared.to_sync(Offset(3), write("first"));
            let under_way = flush();
            shared.to_sync(Offset(5), write("second"));
            assert_eq!(shared.others(), 2, "nothing is synced yet");
            under_way.await.expect("a healthy disk");
            assert_eq!(shared.others(), 1, "the second file was written after the flush began");
            platter.set_faults(Faults { sync_error: 1000, ..Faults::default() });
            let failed = shared.task(Plan { others: true, target: Some(Offset(12)), ..Plan::default() });
            assert!(failed.await.is_err());
            assert_eq!(shared.others(), 1, "a flush that failed syncs nothing");
            assert!(shared.is_offline());
        });
        run.result.expect("the scenario holds");
    }

    #[test]
    fn a_flush_that_succeeds_beside_one_that_failed_proves_nothing() {
        let run = simulation::run(1, Options::default(), || async {
            let platter = simulation::disk::Disk::new(1);
            let disk = Disk::simulated(platter.clone());
            let partition =
                TopicPartition { topic_id: TopicId(uuid::Uuid::from_u128(1)), partition: PartitionIndex(0) };
            let epochs = LeaderEpochs::default();
            let shared = Durability::new(&disk, "", partition, Offset::ZERO, Offset::ZERO, &epochs);
            let beside = shared.task(Plan { target: Some(Offset(9)), ..Plan::default() });
            let file = disk.open("first", Open::CreateNew).expect("a healthy disk");
            file.append(b"index").expect("a healthy disk");
            shared.to_sync(Offset(3), file);
            platter.set_faults(Faults { sync_error: 1000, ..Faults::default() });
            let failed = shared.task(Plan { others: true, target: Some(Offset(12)), ..Plan::default() });
            assert!(failed.await.is_err());
            platter.set_faults(Faults::default());
            assert!(beside.await.is_err());
            assert_eq!(shared.recovery_point(), Offset::ZERO);
        });
        run.result.expect("the scenario holds");
    }
}
