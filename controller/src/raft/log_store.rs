//! The Raft log on a disk, as openraft asks for it.
//!
//! Every write is a frame at the end of the active segment, so that votes, entries and truncations become durable in the
//! order in which openraft asked for them. Writes go to the page cache at once; one sync, made for all that came in while
//! the one before it ran, tells the callbacks. A log whose write or sync failed takes no further write: what the device
//! then holds is not known. What the frames mean is in `log_store/contents.rs`; this file never decides about Raft.

mod contents;
pub(super) mod frames;
mod segments;

pub use contents::Identity;
pub use segments::OpenError;

use crate::raft::types::{Entry, LogId, Types, Vote};
use contents::{Contents, Frame};
use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use runtime::{
    disk::Disk,
    sync::{Lock, oneshot},
    task,
};
use segments::{Active, Directory, Sealed};
use std::{collections::VecDeque, fmt::Debug, io, ops::RangeBounds, sync::Arc};

/// The rank of the log's lock. Nothing else is locked under it.
const RANK: u8 = 40;

/// How much one message to a follower carries at most, unless a single entry is larger.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log. Clones are the same log.
#[derive(Clone)]
pub struct LogStore(Arc<Shared>);

struct Shared {
    directory: Directory,
    segment_bytes: u64,
    state: Lock<State>,
}

struct State {
    contents: Contents,
    active: Active,
    sealed: VecDeque<Sealed>,
    /// Whom to tell when everything written so far is on the device.
    waiting: Vec<Waiting>,
    /// A task is syncing, and will look at `waiting` again before it ends.
    syncing: bool,
    failed: Option<String>,
}

enum Waiting {
    Appended(IOFlushed<Types>),
    Durable(oneshot::Sender<io::Result<()>>),
}

impl Waiting {
    fn complete(self, result: &Result<(), String>) {
        let result = result.clone().map_err(io::Error::other);
        match self {
            Self::Appended(callback) => callback.io_completed(result),
            // Whoever asked may have been cancelled.
            Self::Durable(sender) => drop(sender.send(result)),
        }
    }
}

impl State {
    /// Writes frames to the page cache. They count at once for readers.
    ///
    /// # Panics
    /// When a frame cannot follow what is there: a gap, or a truncation of what is committed.
    fn write(&mut self, frames: impl IntoIterator<Item = Frame>) -> io::Result<()> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        let mut bytes = Vec::new();
        for frame in frames {
            frames::write(&mut bytes, self.active.durable_bytes, &segments::encode(&frame));
            if let Frame::Entry(entry) = &frame {
                self.active.last_index = self.active.last_index.max(Some(entry.log_id.index));
            }
            let applied = self.contents.apply(frame);
            assert!(applied.is_ok(), "openraft asked the log for what cannot be: {applied:?}");
        }
        self.active.file.append(&bytes).inspect_err(|error| self.failed = Some(error.to_string()))?;
        self.active.written_bytes += bytes.len() as u64;
        Ok(())
    }
}

impl LogStore {
    /// Opens the log in a directory, or begins one. A new segment is begun whenever one has `segment_bytes`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(disk: &Disk, path: &str, identity: &Identity, segment_bytes: u64) -> Result<Self, OpenError> {
        let directory = Directory::create(disk, path).await?;
        let segments::Opened { contents, active, sealed } = directory.open(identity).await?;
        let state = State { contents, active, sealed, waiting: Vec::new(), syncing: false, failed: None };
        Ok(Self(Arc::new(Shared { directory, segment_bytes, state: Lock::new(RANK, state) })))
    }

    /// Has somebody told when everything written so far is on the device.
    fn tell_when_durable(&self, state: &mut State, waiting: Waiting) {
        state.waiting.push(waiting);
        if !state.syncing {
            state.syncing = true;
            task::spawn(self.clone().sync());
        }
    }

    /// Syncs until nobody waits.
    async fn sync(self) {
        loop {
            let (waiting, written_bytes, sync) = {
                let mut state = self.0.state.lock();
                if state.waiting.is_empty() {
                    state.syncing = false;
                    return;
                }
                (std::mem::take(&mut state.waiting), state.active.written_bytes, state.active.file.sync())
            };
            let mut result = sync.await.map_err(|error| error.to_string());
            {
                let mut state = self.0.state.lock();
                // No new segment is begun while somebody waits, so this is still the segment that was synced.
                match (&result, &state.failed) {
                    (Ok(()), None) => state.active.durable_bytes = written_bytes,
                    (Ok(()), Some(failed)) => result = Err(failed.clone()),
                    (Err(error), _) => state.failed = Some(error.clone()),
                }
            }
            waiting.into_iter().for_each(|waiting| waiting.complete(&result));
        }
    }

    /// Writes a frame and waits until it is on the device, with everything before it.
    async fn write_durably(&self, frame: Option<Frame>) -> io::Result<()> {
        let durable = {
            let mut state = self.0.state.lock();
            state.write(frame)?;
            let (sender, receiver) = oneshot::channel();
            self.tell_when_durable(&mut state, Waiting::Durable(sender));
            receiver
        };
        durable.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    /// Waits until everything written so far is on the device: the last step of a graceful stop.
    ///
    /// # Errors
    /// When a write or a sync failed, now or earlier.
    pub async fn flush(&self) -> io::Result<()> {
        self.write_durably(None).await
    }

    /// Begins a new segment if the active one is full. Nobody else writes meanwhile: openraft writes from one task.
    async fn roll_if_full(&self) -> io::Result<()> {
        let full = self.0.state.lock().active.written_bytes >= self.0.segment_bytes;
        if !full && !runtime::buggify!("controller: a segment of the metadata log rolls early") {
            return Ok(());
        }
        self.flush().await?;
        let (ordinal, opening) = {
            let state = self.0.state.lock();
            (state.active.ordinal + 1, state.contents.opening())
        };
        let active = self.0.directory.begin(ordinal, &opening).await?;
        let mut state = self.0.state.lock();
        let sealed = state.active.seal();
        state.sealed.push_back(sealed);
        state.active = active;
        Ok(())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.0.state.lock().contents.entries(range).cloned().collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let state = self.0.state.lock();
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let begun = bytes > 0;
            bytes += 1 + size(entry);
            !begun || bytes <= READ_BYTES_MAX
        };
        Ok(state.contents.entries(start..end).take_while(fits).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.state.lock().contents.vote())
    }
}

/// About how many bytes an entry has.
fn size(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
        openraft::EntryPayload::Normal(batch) => batch.size(),
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.0.state.lock();
        Ok(LogState { last_purged_log_id: state.contents.purged(), last_log_id: state.contents.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write_durably(Some(Frame::Vote(*vote))).await
    }

    /// Not synced: it becomes durable with the next entry. A single node applies again what it had committed when it
    /// restarts, and a power loss that forgets this only makes it wait for its own election.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.state.lock().write([Frame::Committed(committed)])
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.0.state.lock().contents.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let mut state = self.0.state.lock();
            state.write(entries.into_iter().map(Frame::Entry))?;
            self.tell_when_durable(&mut state, Waiting::Appended(callback));
        }
        self.roll_if_full().await
    }

    async fn truncate_after(&mut self, after: Option<LogId>) -> io::Result<()> {
        self.write_durably(Some(Frame::Truncated(after))).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.write_durably(Some(Frame::Purged(upto))).await?;
        let purged = Sealed::take_purged(&mut self.0.state.lock().sealed, upto.index);
        self.0.directory.remove(purged).await
    }
}

#[cfg(test)]
mod tests;
