//! A simulated disk: it outlives its node's crashes, and knows what is written from what is synced.
//!
//! A process crash keeps everything that was written (the page cache lives in the kernel); [`Disk::power_loss`] keeps
//! what was synced and a drawn part of the rest. Directories lose their un-synced changes likewise: of the creations,
//! renames and removals since a directory's last sync a drawn prefix survives, each whole. A name that is not durable
//! takes the file with it, synced or not. [`Faults`] can be set while the node runs; each operation draws its own luck,
//! keyed by file and kind of operation, so that a new operation on one file moves no fault of another.

mod contents;
mod faults;

pub use faults::{Damage, Faults};

use self::{
    contents::{Contents, SyncBegun},
    faults::Luck,
};
use super::{
    Here, between, chance, check_alive, count_fault, draw, is_alive, leaves_at, now_ns, prf, sleep_until_ns, stall,
};
use crate::disk::{Entry, Open};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// How often a stalled sync looks whether it may end.
const STALL_TICK_NS: u64 = 5_000_000;

/// A simulated disk. Cheap to clone; clones are the same disk. The scenario keeps one to break it with.
#[derive(Clone)]
pub struct Disk {
    key: u64,
    state: Arc<Mutex<State>>,
}

struct State {
    root: Node,
    faults: Faults,
    /// Who holds each locked path, and the claim's number.
    locks: BTreeMap<String, (Here, u64)>,
    claims: u64,
    /// Operations that failed for [`Faults`].
    refusals: u64,
}

/// What a name stands for.
#[derive(Clone)]
enum Node {
    File(Arc<Mutex<Contents>>),
    Directory(Arc<Mutex<Directory>>),
}

#[derive(Default)]
struct Directory {
    /// As the running system sees them.
    names: BTreeMap<String, Node>,
    /// As they are on the platter.
    durable: BTreeMap<String, Node>,
    /// Changes since the last sync, in order.
    pending: VecDeque<Change>,
    /// How many changes have become durable; tells a sync which of the pending ones it began with.
    settled: u64,
}

/// One atomic change of a directory: a rename has both halves.
struct Change {
    gone: Option<String>,
    come: Option<(String, Node)>,
}

/// An open file of one process.
#[derive(Clone)]
pub struct File {
    disk: Disk,
    contents: Arc<Mutex<Contents>>,
    /// Where this handle appends next.
    length: Arc<Mutex<u64>>,
}

/// A claim on a path by one life of one node; a crash of any kind ends it.
pub struct Lock {
    disk: Disk,
    path: String,
    claim: u64,
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Disk {
    /// An empty disk; the key tells its draws from those of other disks.
    pub fn new(key: u64) -> Self {
        let state = State {
            root: Node::Directory(Arc::default()),
            faults: Faults::default(),
            locks: BTreeMap::new(),
            claims: 0,
            refusals: 0,
        };
        Self { key, state: Arc::new(Mutex::new(state)) }
    }

    /// A name for messages.
    pub fn root(&self) -> String {
        format!("/simulated/{}", self.key)
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        hold(&self.state).faults = faults;
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> Faults {
        hold(&self.state).faults
    }

    /// How many operations have failed so far for what was set to go wrong.
    pub fn refusals(&self) -> u64 {
        hold(&self.state).refusals
    }

    fn refuse<T>(&self, code: i32) -> io::Result<T> {
        hold(&self.state).refusals += 1;
        Err(os_error(code))
    }

    /// The power goes and comes back: the disk holds what was synced and a drawn part of the rest. Crash the node first.
    pub fn power_loss(&self) {
        count_fault("disk power loss");
        let root = hold(&self.state).root.clone();
        hold(&self.state).locks.clear();
        self.lose_power(&root, self.key);
    }

    fn lose_power(&self, node: &Node, key: u64) {
        match node {
            Node::File(contents) => {
                let contents = &mut *hold(contents);
                let file = contents.key;
                contents.power_loss(|| draw("disk.power-loss", self.key, file));
            }
            Node::Directory(directory) => {
                let children = {
                    let directory = &mut *hold(directory);
                    if !directory.pending.is_empty() {
                        let all = directory.pending.len() as u64;
                        directory.settle(draw("disk.power-loss", self.key, key) % (all + 1));
                        directory.settled += directory.pending.len() as u64;
                        directory.pending.clear();
                    }
                    directory.names = directory.durable.clone();
                    directory.names.clone()
                };
                for (name, child) in &children {
                    self.lose_power(child, path_key(key, name));
                }
            }
        }
    }

    /// Everything on the disk is gone, as when a machine comes back with a new one.
    pub fn wipe(&self) {
        let mut state = hold(&self.state);
        state.root = Node::Directory(Arc::default());
        state.locks.clear();
    }

    /// Damages a file at rest. Answers whether there was such a file to damage.
    pub fn damage(&self, path: &str, damage: Damage) -> bool {
        let Ok(Node::File(contents)) = self.find(path) else { return false };
        match damage {
            Damage::FlipBit { position, bit } => hold(&contents).flip_bit(position as usize, bit),
            Damage::LoseTail { length } => hold(&contents).lose_tail(length as usize),
            Damage::Misdirect { from, to } => hold(&contents).misdirect(from as usize, to as usize),
            Damage::Remove => {
                let (directory, name) = self.directory_of(path).expect("the file was just found there");
                let directory = &mut *hold(&directory);
                directory.names.remove(name);
                directory.durable.remove(name);
            }
        }
        true
    }

    /// Every file that the running system sees, sorted by path.
    pub fn files(&self) -> Vec<String> {
        fn walk(directory: &Mutex<Directory>, prefix: &str, into: &mut Vec<String>) {
            for (name, node) in &hold(directory).names {
                match node {
                    Node::File(_) => into.push(format!("{prefix}{name}")),
                    Node::Directory(inner) => walk(inner, &format!("{prefix}{name}/"), into),
                }
            }
        }
        let root = hold(&self.state).root.clone();
        let mut found = Vec::new();
        if let Node::Directory(root) = root {
            walk(&root, "", &mut found);
        }
        found
    }

    /// A file as the running system would read it, whoever asks.
    pub fn written(&self, path: &str) -> Option<Vec<u8>> {
        match self.find(path).ok()? {
            Node::File(contents) => Some(hold(&contents).written().to_vec()),
            Node::Directory(_) => None,
        }
    }

    /// A file as a power loss would leave it at worst: the synced bytes, if all the names on the way to it are durable.
    pub fn durable(&self, path: &str) -> Option<Vec<u8>> {
        let mut node = hold(&self.state).root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Directory(directory) = node else { return None };
            node = hold(&directory).durable.get(name)?.clone();
        }
        match node {
            Node::File(contents) => Some(hold(&contents).durable()),
            Node::Directory(_) => None,
        }
    }

    /// Whether the fault happens this time.
    fn strikes(&self, of: Luck, file: u64, per_thousand: u64) -> bool {
        let struck = per_thousand > 0 && chance(self.draw(of, file), per_thousand);
        if struck {
            count_fault(of.name());
        }
        struck
    }

    fn draw(&self, of: Luck, file: u64) -> u64 {
        draw("disk", self.key ^ ((of as u64) << 56), file)
    }

    /// The asker lives and the disk answers.
    fn check(&self) -> io::Result<(Here, Faults)> {
        let here = check_alive()?;
        let faults = self.faults();
        if faults.offline { self.refuse(EIO) } else { Ok((here, faults)) }
    }

    fn find(&self, path: &str) -> io::Result<Node> {
        let mut node = hold(&self.state).root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Directory(directory) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = hold(&directory).names.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn find_directory(&self, path: &str) -> io::Result<Arc<Mutex<Directory>>> {
        match self.find(path)? {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds a path, and the path's last name.
    fn directory_of<'a>(&self, path: &'a str) -> io::Result<(Arc<Mutex<Directory>>, &'a str)> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.find_directory(directory)?, name))
    }

    pub(crate) fn open(&self, path: &str, how: Open) -> io::Result<File> {
        let (_, faults) = self.check()?;
        let (directory, name) = self.directory_of(path)?;
        let directory = &mut *hold(&directory);
        let contents = match directory.names.get(name) {
            Some(_) if how == Open::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Node::File(contents)) => contents.clone(),
            Some(Node::Directory(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None if how == Open::Existing => return Err(io::ErrorKind::NotFound.into()),
            None if faults.no_space => return self.refuse(ENOSPC),
            None => {
                let contents = Arc::new(Mutex::new(Contents::new(path_key(self.key, path))));
                directory.change(None, Some((name.to_owned(), Node::File(contents.clone()))));
                contents
            }
        };
        let length = hold(&contents).written().len() as u64;
        Ok(File { disk: self.clone(), contents, length: Arc::new(Mutex::new(length)) })
    }

    pub(crate) fn create_directory(&self, path: &str) -> io::Result<()> {
        let (_, faults) = self.check()?;
        let mut directory = self.find_directory("")?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let known = hold(&directory).names.get(name).cloned();
            directory = match known {
                Some(Node::Directory(inner)) => inner,
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None if faults.no_space => return self.refuse(ENOSPC),
                None => {
                    let inner = Arc::<Mutex<Directory>>::default();
                    hold(&directory).change(None, Some((name.to_owned(), Node::Directory(inner.clone()))));
                    inner
                }
            };
        }
        Ok(())
    }

    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.check()?;
        let directory = self.find_directory(path)?;
        let directory = hold(&directory);
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_directory: matches!(node, Node::Directory(_)),
        };
        Ok(directory.names.iter().map(entry).collect())
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check()?;
        let (directory, old_name) = self.directory_of(from)?;
        let (_, new_name) = self.directory_of(to)?;
        let directory = &mut *hold(&directory);
        let node = directory.names.get(old_name).cloned().ok_or(io::ErrorKind::NotFound)?;
        if let (Some(Node::Directory(_)), _) | (Some(Node::File(_)), Node::Directory(_)) =
            (directory.names.get(new_name), &node)
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        directory.change(Some(old_name.to_owned()), Some((new_name.to_owned(), node)));
        Ok(())
    }

    pub(crate) fn remove_file(&self, path: &str) -> io::Result<()> {
        self.check()?;
        let (directory, name) = self.directory_of(path)?;
        let directory = &mut *hold(&directory);
        match directory.names.get(name) {
            Some(Node::File(_)) => directory.change(Some(name.to_owned()), None),
            Some(Node::Directory(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    pub(crate) fn remove_directory(&self, path: &str) -> io::Result<()> {
        self.check()?;
        let inner = self.find_directory(path)?;
        hold(&inner).empty();
        let (directory, name) = self.directory_of(path)?;
        hold(&directory).change(Some(name.to_owned()), None);
        Ok(())
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.check().is_ok() && self.find(path).is_ok()
    }

    pub(crate) async fn sync_directory(&self, path: &str) -> io::Result<()> {
        let (here, _) = self.check()?;
        let directory = self.find_directory(path)?;
        let until = hold(&directory).changes();
        let file = path_key(self.key, path) ^ Luck::Directory as u64;
        self.takes_its_time(here, file).await;
        let (_, faults) = self.check()?;
        if self.strikes(Luck::Sync, file, faults.sync_error) {
            return self.refuse(EIO);
        }
        let directory = &mut *hold(&directory);
        let count = until.saturating_sub(directory.settled);
        directory.settle(count);
        Ok(())
    }

    pub(crate) fn lock(&self, path: &str) -> io::Result<Lock> {
        let (here, _) = self.check()?;
        self.open(path, Open::Create)?;
        let state = &mut *hold(&self.state);
        if state.locks.get(path).is_some_and(|(holder, _)| is_alive(*holder)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.claims += 1;
        state.locks.insert(path.to_owned(), (here, state.claims));
        Ok(Lock { disk: self.clone(), path: path.to_owned(), claim: state.claims })
    }

    /// Waits until a sync that starts now is done.
    async fn takes_its_time(&self, here: Here, file: u64) {
        sleep_until_ns(self.sync_ends_at(here, file)).await;
        if self.faults().stalled_sync {
            count_fault("disk stalled sync");
        }
        while self.faults().stalled_sync {
            sleep_until_ns(now_ns() + STALL_TICK_NS).await;
        }
    }

    /// When a sync that starts now is done. A node that is stuck in a slow write starts it later.
    fn sync_ends_at(&self, here: Here, file: u64) -> u64 {
        let faults = self.faults();
        let slow = if self.strikes(Luck::SlowSync, file, faults.slow_sync) {
            between(self.draw(Luck::SlowSyncTime, file), 50, 3000) * 1_000_000
        } else {
            0
        };
        let usual = between(self.draw(Luck::SyncTime, file), 100_000, 3_000_000);
        leaves_at(here.node).max(now_ns()) + slow + usual
    }
}

/// Names a path in draws.
fn path_key(above: u64, path: &str) -> u64 {
    path.split('/').filter(|name| !name.is_empty()).fold(above, |key, name| {
        name.as_bytes().chunks(8).fold(prf(key, &[name.len() as u64]), |key, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            prf(key, &[u64::from_le_bytes(word)])
        })
    })
}

impl Directory {
    fn change(&mut self, gone: Option<String>, come: Option<(String, Node)>) {
        let change = Change { gone, come };
        change.apply(&mut self.names);
        self.pending.push_back(change);
    }

    /// How many changes were ever made.
    fn changes(&self) -> u64 {
        self.settled + self.pending.len() as u64
    }

    /// The first `count` pending changes are on the platter.
    fn settle(&mut self, count: u64) {
        for _ in 0..count {
            let Some(change) = self.pending.pop_front() else { return };
            change.apply(&mut self.durable);
            self.settled += 1;
        }
    }

    /// Removes every name, and in turn everything below.
    fn empty(&mut self) {
        for (name, node) in self.names.clone() {
            if let Node::Directory(inner) = node {
                hold(&inner).empty();
            }
            self.change(Some(name), None);
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, node)) = &self.come {
            names.insert(name.clone(), node.clone());
        }
    }
}

impl File {
    pub(crate) fn append(&self, data: &[u8]) -> io::Result<u64> {
        let mut length = hold(&self.length);
        self.write(data, *length)?;
        *length += data.len() as u64;
        Ok(*length - data.len() as u64)
    }

    pub(crate) fn write_at(&self, data: &[u8], position: u64) -> io::Result<()> {
        let mut length = hold(&self.length);
        self.write(data, position)?;
        *length = (*length).max(position + data.len() as u64);
        Ok(())
    }

    fn write(&self, data: &[u8], position: u64) -> io::Result<()> {
        let (here, faults) = self.disk.check()?;
        let contents = &mut *hold(&self.contents);
        let file = contents.key;
        if faults.no_space {
            count_fault("disk full");
            return self.disk.refuse(ENOSPC);
        }
        if self.disk.strikes(Luck::Append, file, faults.append_error) {
            return self.disk.refuse(EIO);
        }
        if self.disk.strikes(Luck::SlowAppend, file, faults.slow_append) {
            // A blocked write holds its thread: the whole node stands still, bytes sent later in this poll included.
            let millis = between(self.disk.draw(Luck::SlowAppendTime, file), 20, 1000);
            stall(here.node, Duration::from_millis(millis));
        }
        if self.disk.strikes(Luck::ShortWrite, file, faults.short_write) {
            let part = self.disk.draw(Luck::ShortWriteLength, file) as usize % data.len().max(1);
            contents.write(position as usize, &data[..part]);
            return self.disk.refuse(EIO);
        }
        contents.write(position as usize, data);
        Ok(())
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let (here, faults) = self.disk.check()?;
        let contents = hold(&self.contents);
        if self.disk.strikes(Luck::SlowRead, contents.key, faults.slow_read) {
            let millis = between(self.disk.draw(Luck::SlowReadTime, contents.key), 5, 100);
            stall(here.node, Duration::from_millis(millis));
        }
        if self.disk.strikes(Luck::Read, contents.key, faults.read_error) {
            return self.disk.refuse(EIO);
        }
        let written = contents.written();
        let start = usize::try_from(position).map_or(written.len(), |position| position.min(written.len()));
        let count = buffer.len().min(written.len() - start);
        buffer[..count].copy_from_slice(&written[start..start + count]);
        Ok(count)
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        check_alive()?;
        Ok(*hold(&self.length))
    }

    pub(crate) fn truncate(&self, to: u64) -> io::Result<()> {
        self.disk.check()?;
        let mut length = hold(&self.length);
        hold(&self.contents).truncate(to as usize);
        *length = to;
        Ok(())
    }

    /// A sync covers what was written until this call.
    pub(crate) fn begin_sync(&self) -> io::Result<SyncBegun> {
        self.disk.check()?;
        Ok(hold(&self.contents).begin_sync())
    }

    pub(crate) async fn sync(&self, begun: io::Result<SyncBegun>) -> io::Result<()> {
        let begun = begun?;
        let here = check_alive()?;
        let file = hold(&self.contents).key;
        self.disk.takes_its_time(here, file).await;
        check_alive()?;
        let faults = self.disk.faults();
        let failed = faults.offline || self.disk.strikes(Luck::Sync, file, faults.sync_error);
        hold(&self.contents).end_sync(begun, !failed);
        if failed { self.disk.refuse(EIO) } else { Ok(()) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let state = &mut *hold(&self.disk.state);
        if state.locks.get(&self.path).is_some_and(|(_, claim)| *claim == self.claim) {
            state.locks.remove(&self.path);
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("key", &self.key).finish()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("path", &self.path).finish()
    }
}

#[cfg(test)]
mod tests;
