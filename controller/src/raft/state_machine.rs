//! The metadata image as openraft's state machine: applies committed entries in order, takes and installs snapshots.
//!
//! The image lives in memory. After a restart it is the last snapshot's, and openraft applies the committed entries after
//! it again. A snapshot is one file, replaced atomically. It never decides anything: a batch is applied as it is, or not
//! at all when it was decided in another term or for another offset.

use super::{
    applied::Applied,
    log_store::frames::{self, End},
    types::{Batch, LogId, Outcome, Snapshot, SnapshotMeta, StoredMembership, Types},
};
use crate::event::ControllerEvent;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use metadata::{delta, image::Image, record::Record};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use protocol::ids::MetadataOffset;
use runtime::{
    disk::Disk,
    observe::emit,
    sync::{AsyncMutex, Lock},
};
use std::{io, sync::Arc};

/// The rank of the position's lock. Nothing else is locked under it.
const RANK: u8 = 42;

/// The state machine. Clones are the same.
#[derive(Clone)]
pub struct StateMachine(Arc<Shared>);

struct Shared {
    applied: Applied,
    position: Lock<Position>,
    snapshots: Snapshots,
    /// How many bytes of records before the last snapshot are kept for who follows the metadata log.
    recent_bytes_max: usize,
}

/// How far the Raft log was applied.
#[derive(Clone, Default)]
struct Position {
    last: Option<LogId>,
    membership: StoredMembership,
}

impl Position {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() }
    }
}

/// The file that holds the last snapshot.
struct Snapshots {
    disk: Disk,
    file: String,
    /// The last entry that the file covers. Held while it is replaced, so that an older one never replaces a newer.
    covered: AsyncMutex<Option<LogId>>,
}

impl Snapshots {
    fn read(&self) -> io::Result<Option<Snapshot>> {
        if !self.disk.exists(&self.file) {
            return Ok(None);
        }
        let bytes = self.disk.read(&self.file)?;
        let scan = frames::scan(&bytes);
        let [meta, image] = scan.payloads[..] else { return Err(self.unreadable("it is damaged")) };
        if scan.end != End::Whole {
            return Err(self.unreadable("it is damaged"));
        }
        let meta = postcard::from_bytes(meta).map_err(|error| self.unreadable(&error.to_string()))?;
        Ok(Some(Snapshot { meta, snapshot: Bytes::copy_from_slice(image) }))
    }

    fn unreadable(&self, reason: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot {} cannot be read: {reason}", self.file))
    }

    async fn write(&self, meta: &SnapshotMeta, image: &[u8]) -> io::Result<()> {
        let mut covered = self.covered.lock().await;
        if *covered >= meta.last_log_id {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(image.len() + 256);
        frames::write(&mut bytes, 0, &postcard::to_stdvec(meta).map_err(io::Error::other)?);
        frames::write(&mut bytes, 0, image);
        self.disk.write_atomically(&self.file, &bytes).await?;
        *covered = meta.last_log_id;
        Ok(())
    }
}

impl StateMachine {
    /// An empty state machine whose snapshots are in this directory; openraft restores it from there.
    ///
    /// # Errors
    /// When the snapshot on the disk cannot be read.
    pub fn open(disk: &Disk, directory: &str, recent_bytes_max: usize) -> io::Result<Self> {
        let (disk, file) = (disk.clone(), format!("{directory}/snapshot"));
        let mut snapshots = Snapshots { disk, file, covered: AsyncMutex::new(None) };
        let covered = snapshots.read()?.and_then(|snapshot| snapshot.meta.last_log_id);
        snapshots.covered = AsyncMutex::new(covered);
        let position = Lock::new(RANK, Position::default());
        Ok(Self(Arc::new(Shared { applied: Applied::default(), position, snapshots, recent_bytes_max })))
    }

    /// What has been applied.
    pub fn applied(&self) -> &Applied {
        &self.0.applied
    }

    /// Applies a batch decided in `batch.term` and appended in `term`.
    fn apply_batch(&self, term: u64, batch: &Batch) -> io::Result<Outcome> {
        let mut image = self.0.applied.image();
        let first = image.offset();
        if batch.term != term || batch.first != first {
            runtime::reachable!("controller: a stale decision is not applied");
            return Ok(Outcome::Stale);
        }
        let mut records = Vec::with_capacity(batch.records.len());
        for encoded in &batch.records {
            let record = Record::decode(&encoded.0).map_err(io::Error::other)?;
            let offset = image.offset();
            delta::apply(&mut image, offset, &record);
            records.push((offset, Arc::new(record)));
        }
        self.0.applied.advance(image, batch.records.iter().map(|encoded| encoded.0.clone()));
        for (offset, record) in records {
            emit(|| ControllerEvent::Applied { offset, record });
        }
        self.0.applied.announce();
        Ok(Outcome::Applied(first))
    }

    /// Lets go of records that the snapshot covers.
    fn trim(&self, snapshot: MetadataOffset) {
        self.0.applied.trim(snapshot, self.0.recent_bytes_max);
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let position = self.0.position.lock();
        Ok((position.last, position.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            {
                let last = self.0.position.lock().last;
                let next = last.map_or(0, |last| last.index + 1);
                assert_eq!(entry.log_id.index, next, "entries are applied in order, each once; the last was {last:?}");
            }
            let outcome = match &entry.payload {
                EntryPayload::Normal(batch) => self.apply_batch(entry.log_id.committed_leader_id().term, batch)?,
                EntryPayload::Blank | EntryPayload::Membership(_) => Outcome::Applied(self.0.applied.end()),
            };
            {
                let mut position = self.0.position.lock();
                position.last = Some(entry.log_id);
                if let EntryPayload::Membership(membership) = &entry.payload {
                    position.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
            }
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Entries are applied by the task that asks this, so the image and the position belong together.
        let meta = self.0.position.lock().meta();
        Builder { machine: self.clone(), meta, image: self.0.applied.image() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let image = Image::decode(&snapshot).map_err(io::Error::other)?;
        self.0.snapshots.write(meta, &snapshot).await?;
        let (next, digest) = (image.offset(), image.digest());
        self.0.applied.replace(image);
        {
            let mut position = self.0.position.lock();
            position.last = meta.last_log_id;
            position.membership = meta.last_membership.clone();
        }
        emit(|| ControllerEvent::SnapshotInstalled { next, digest });
        self.0.applied.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.0.snapshots.read()
    }
}

/// An image at one moment, to be made a snapshot while the state machine goes on.
pub struct Builder {
    machine: StateMachine,
    meta: SnapshotMeta,
    image: Image,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let image = self.image.encode();
        self.machine.0.snapshots.write(&self.meta, &image).await?;
        self.machine.trim(self.image.offset());
        Ok(Snapshot { meta: self.meta.clone(), snapshot: image })
    }
}

#[cfg(test)]
mod tests;
