//! Files and directories of one disk, real or simulated.
//!
//! What touches only the page cache (`append`, `read_at`, `truncate`, `rename`, `list`) is synchronous: a trip to a
//! thread pool would cost more than the work. Only what waits for the device (`sync`, `sync_directory`,
//! `write_atomically`) is async; none of it may run under a partition's lock.
//!
//! A [`Disk`] is a value that somebody is given: it belongs to one node and outlives that node's crashes. Paths are
//! relative to its root, with `/` between names; the empty path is the root itself.

use std::{
    fmt, fs,
    future::Future,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(madsim)]
use crate::simulation::disk as simulated;

/// A directory of the machine, or a simulated disk. Cheap to clone; clones are the same disk.
#[derive(Clone)]
pub struct Disk(Place);

#[derive(Clone)]
enum Place {
    Real(Arc<Path>),
    #[cfg(madsim)]
    Simulated(simulated::Disk),
}

/// How [`Disk::open`] treats a file that does not exist, or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The file must exist: `NotFound` otherwise.
    Existing,
    /// The file is created if need be. Its name is durable after the directory's next sync.
    Create,
    /// The file must not exist: `AlreadyExists` otherwise.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last component of its path.
    pub name: String,
    /// Whether it is a directory; everything else is a file.
    pub is_directory: bool,
}

/// An open file. Cheap to clone; clones are the same file, and it stays open until the last of them is gone, also when
/// its name was changed or removed meanwhile.
#[derive(Clone)]
pub struct File(Handle);

#[derive(Clone)]
enum Handle {
    Real(Arc<RealFile>),
    #[cfg(madsim)]
    Simulated(simulated::File),
}

struct RealFile {
    file: fs::File,
    /// Where the next append goes. After a failed append it is where that append began, so that a later one would
    /// overwrite what was half written.
    length: AtomicU64,
    /// Held while the length changes.
    writing: Mutex<()>,
}

/// A range of a file, to be sent without passing through this process's memory.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file.
    pub file: File,
    /// Where the range begins, in bytes from the file's start.
    pub position: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// An exclusive claim on a path, held until this is dropped or its process dies.
#[derive(Debug)]
pub struct DirectoryLock {
    _held: Held,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept only to be dropped")]
enum Held {
    Real(fs::File),
    #[cfg(madsim)]
    Simulated(simulated::Lock),
}

/// The size of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still use.
    pub usable_bytes: u64,
}

/// Where a relative path is on the machine.
fn at(root: &Path, path: &str) -> PathBuf {
    debug_assert!(
        !path.starts_with('/') && path.split('/').all(|name| name != ".." && name != "."),
        "{path:?} leaves the disk"
    );
    root.join(path)
}

/// The directory that holds `path`; the root holds names without a `/`.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Disk {
    /// A directory of this machine, created with its parents if need be.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn real(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self(Place::Real(root.into())))
    }

    /// Wraps a simulated disk, which the scenario keeps a clone of to break it.
    #[cfg(madsim)]
    pub fn simulated(disk: simulated::Disk) -> Self {
        Self(Place::Simulated(disk))
    }

    /// The root's path for messages and metrics.
    pub fn root(&self) -> String {
        match &self.0 {
            Place::Real(root) => root.display().to_string(),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.root(),
        }
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` and `AlreadyExists` as [`Open`] says; otherwise whatever the system says.
    pub fn open(&self, path: &str, how: Open) -> io::Result<File> {
        match &self.0 {
            Place::Real(root) => {
                let mut options = fs::File::options();
                options.read(true).write(true);
                match how {
                    Open::Existing => {}
                    Open::Create => {
                        options.create(true);
                    }
                    Open::CreateNew => {
                        options.create_new(true);
                    }
                }
                let file = options.open(at(root, path))?;
                let length = AtomicU64::new(file.metadata()?.len());
                Ok(File(Handle::Real(Arc::new(RealFile { file, length, writing: Mutex::new(()) }))))
            }
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.open(path, how).map(|file| File(Handle::Simulated(file))),
        }
    }

    /// Creates a directory, and its parents if need be; it may exist already. Each new name is durable after the sync
    /// of the directory that holds it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn create_directory(&self, path: &str) -> io::Result<()> {
        match &self.0 {
            Place::Real(root) => fs::create_dir_all(at(root, path)),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.create_directory(path),
        }
    }

    /// What a directory holds, sorted by name.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory.
    pub fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        match &self.0 {
            Place::Real(root) => {
                let mut entries = Vec::new();
                for entry in fs::read_dir(at(root, path))? {
                    let entry = entry?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    entries.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
                }
                entries.sort();
                Ok(entries)
            }
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.list(path),
        }
    }

    /// Gives a file or a directory another name in the same directory, replacing a file that has it. Atomic, and
    /// durable after the directory's next sync.
    ///
    /// # Errors
    /// `NotFound` when there is no `from`.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        assert_eq!(parent(from), parent(to), "a rename stays in its directory: {from:?} to {to:?}");
        match &self.0 {
            Place::Real(root) => fs::rename(at(root, from), at(root, to)),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.rename(from, to),
        }
    }

    /// Removes a file's name; whoever has it open goes on reading it.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        match &self.0 {
            Place::Real(root) => fs::remove_file(at(root, path)),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.remove_file(path),
        }
    }

    /// Removes a directory with everything in it.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory.
    pub fn remove_directory(&self, path: &str) -> io::Result<()> {
        match &self.0 {
            Place::Real(root) => fs::remove_dir_all(at(root, path)),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.remove_directory(path),
        }
    }

    /// Whether a file or a directory has this name.
    pub fn exists(&self, path: &str) -> bool {
        match &self.0 {
            Place::Real(root) => at(root, path).exists(),
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.exists(path),
        }
    }

    /// A whole file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open_to_read(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// As `open(path, Existing)`, for files that this process may not be allowed to write.
    fn open_to_read(&self, path: &str) -> io::Result<File> {
        match &self.0 {
            Place::Real(root) => {
                let file = fs::File::open(at(root, path))?;
                let length = AtomicU64::new(file.metadata()?.len());
                Ok(File(Handle::Real(Arc::new(RealFile { file, length, writing: Mutex::new(()) }))))
            }
            #[cfg(madsim)]
            Place::Simulated(disk) => disk.open(path, Open::Existing).map(|file| File(Handle::Simulated(file))),
        }
    }

    /// How large the file system is that the disk lies on, and how much of it this process may still use.
    ///
    /// # Errors
    /// Whatever the system says; `Unsupported` of a simulated disk, which has no size.
    pub fn space(&self) -> io::Result<Space> {
        match &self.0 {
            Place::Real(root) => {
                let found = rustix::fs::statvfs(&**root)?;
                let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
                Ok(Space { total_bytes: bytes(found.f_blocks), usable_bytes: bytes(found.f_bavail) })
            }
            #[cfg(madsim)]
            Place::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes the names in a directory durable: creations, renames and removals made before this call.
    ///
    /// # Errors
    /// When the device failed; what was pending may then never become durable.
    pub fn sync_directory(&self, path: &str) -> impl Future<Output = io::Result<()>> + Send + 'static + use<> {
        let (disk, path) = (self.clone(), path.to_owned());
        async move {
            match disk.0 {
                Place::Real(root) => {
                    let sync = move || fs::File::open(at(&root, &path))?.sync_all();
                    crate::task::blocking(sync).await?
                }
                #[cfg(madsim)]
                Place::Simulated(disk) => disk.sync_directory(&path).await,
            }
        }
    }

    /// Replaces a small file so that a crash leaves the old contents or the new, and durably: writes `<path>.tmp`,
    /// syncs it, renames it, syncs the directory.
    ///
    /// # Errors
    /// Whatever the system says; the old contents are then still there, unless the last step failed.
    pub fn write_atomically(
        &self,
        path: &str,
        contents: &[u8],
    ) -> impl Future<Output = io::Result<()>> + Send + 'static + use<> {
        let (disk, path, contents) = (self.clone(), path.to_owned(), contents.to_vec());
        async move {
            let temporary = format!("{path}.tmp");
            let file = disk.open(&temporary, Open::Create)?;
            file.truncate(0)?;
            file.append(&contents)?;
            file.sync().await?;
            disk.rename(&temporary, &path)?;
            disk.sync_directory(parent(&path)).await
        }
    }

    /// Claims a path for this process: creates the file if need be and takes `flock` on it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    pub fn lock(&self, path: &str) -> io::Result<DirectoryLock> {
        let held = match &self.0 {
            Place::Real(root) => {
                let file = fs::File::options().create(true).truncate(false).write(true).open(at(root, path))?;
                rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
                Held::Real(file)
            }
            #[cfg(madsim)]
            Place::Simulated(disk) => Held::Simulated(disk.lock(path)?),
        };
        Ok(DirectoryLock { _held: held })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.root()).finish()
    }
}

impl File {
    /// Writes at the end, and returns where the data begins.
    ///
    /// # Errors
    /// Whatever the system says. A part of the data may then have been written past the end that [`Self::len`] tells.
    pub fn append(&self, data: &[u8]) -> io::Result<u64> {
        match &self.0 {
            Handle::Real(real) => {
                let _writing = real.writing.lock().unwrap_or_else(PoisonError::into_inner);
                let position = real.length.load(Ordering::Relaxed);
                real.file.write_all_at(data, position)?;
                real.length.store(position + data.len() as u64, Ordering::Release);
                Ok(position)
            }
            #[cfg(madsim)]
            Handle::Simulated(file) => file.append(data),
        }
    }

    /// Reads at a position; fewer bytes than asked only at the end, none past it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match &self.0 {
            Handle::Real(real) => {
                let mut filled = 0;
                while filled < buffer.len() {
                    match real.file.read_at(&mut buffer[filled..], position + filled as u64) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(filled)
            }
            #[cfg(madsim)]
            Handle::Simulated(file) => file.read_at(buffer, position),
        }
    }

    /// Fills the buffer from a position.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; otherwise whatever the system says.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let count = self.read_at(buffer, position)?;
        if count == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes at a position, over what is there; the file grows if the data reaches past its end.
    ///
    /// # Errors
    /// Whatever the system says; a part of the data may then have been written.
    pub fn write_at(&self, data: &[u8], position: u64) -> io::Result<()> {
        match &self.0 {
            Handle::Real(real) => {
                let _writing = real.writing.lock().unwrap_or_else(PoisonError::into_inner);
                real.file.write_all_at(data, position)?;
                real.length.fetch_max(position + data.len() as u64, Ordering::AcqRel);
                Ok(())
            }
            #[cfg(madsim)]
            Handle::Simulated(file) => file.write_at(data, position),
        }
    }

    /// Cuts the file to `length` bytes, or extends it with zeroes.
    ///
    /// # Errors
    /// Whatever the system says; the length is then as before.
    pub fn truncate(&self, length: u64) -> io::Result<()> {
        match &self.0 {
            Handle::Real(real) => {
                let _writing = real.writing.lock().unwrap_or_else(PoisonError::into_inner);
                real.file.set_len(length)?;
                real.length.store(length, Ordering::Release);
                Ok(())
            }
            #[cfg(madsim)]
            Handle::Simulated(file) => file.truncate(length),
        }
    }

    /// How many bytes it has.
    ///
    /// # Errors
    /// Only when the asker's node has crashed.
    pub fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Handle::Real(real) => Ok(real.length.load(Ordering::Acquire)),
            #[cfg(madsim)]
            Handle::Simulated(file) => file.len(),
        }
    }

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// Waits until what was written before this call is on the device. The future owns what it needs: it is made under
    /// a lock and awaited outside it.
    ///
    /// # Errors
    /// When the device failed. What was not synced before may be lost, also if a later sync succeeds: the file must not
    /// be trusted any more.
    pub fn sync(&self) -> impl Future<Output = io::Result<()>> + Send + 'static + use<> {
        #[cfg(madsim)]
        let begun = match &self.0 {
            Handle::Real(_) => None,
            Handle::Simulated(file) => Some(file.begin_sync()),
        };
        let handle = self.0.clone();
        async move {
            match handle {
                Handle::Real(real) => crate::task::blocking(move || real.file.sync_data()).await?,
                #[cfg(madsim)]
                Handle::Simulated(file) => file.sync(begun.expect("taken above for a simulated file")).await,
            }
        }
    }

    /// The machine's own file, for `sendfile`; none when simulated.
    pub(crate) fn real(&self) -> Option<&fs::File> {
        match &self.0 {
            Handle::Real(real) => Some(&real.file),
            #[cfg(madsim)]
            Handle::Simulated(_) => None,
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("length", &self.len().ok()).finish()
    }
}

impl FileSlice {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Its bytes, copied.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file was truncated meanwhile; otherwise whatever the system says.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on_real;

    /// A directory of the machine that goes when this does.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> (Self, Disk) {
            let path = std::env::temp_dir().join(format!("gregor-disk-{name}-{}", std::process::id()));
            let disk = Disk::real(&path).expect("a temporary directory");
            (Self(path), disk)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_real_file_appends_reads_and_truncates() {
        let (_temporary, disk) = Temporary::new("file");
        assert_eq!(disk.open("f", Open::Existing).expect_err("absent").kind(), io::ErrorKind::NotFound);
        let file = disk.open("f", Open::CreateNew).expect("created");
        assert_eq!(disk.open("f", Open::CreateNew).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(file.append(b"hello").expect("appended"), 0);
        assert_eq!(file.append(b" world").expect("appended"), 5);
        file.write_at(b"J", 0).expect("written");
        let mut bytes = [0; 64];
        let count = file.read_at(&mut bytes, 0).expect("read");
        assert_eq!(&bytes[..count], b"Jello world");
        file.truncate(5).expect("truncated");
        assert_eq!((file.len().expect("length"), disk.read("f").expect("read")), (5, b"Jello".to_vec()));
        assert_eq!(file.read_exact_at(&mut bytes, 0).expect_err("short").kind(), io::ErrorKind::UnexpectedEof);
        let slice = FileSlice { file, position: 1, length: 3 };
        assert_eq!(slice.read().expect("read"), b"ell");
        block_on_real(slice.file.sync()).expect("synced");
    }

    #[test]
    fn a_real_directory_lists_renames_and_removes() {
        let (_temporary, disk) = Temporary::new("directory");
        disk.create_directory("a/b").expect("created");
        disk.create_directory("a/b").expect("there already");
        block_on_real(disk.write_atomically("a/f", b"x")).expect("written");
        let entry = |name: &str, is_directory| Entry { name: name.to_owned(), is_directory };
        assert_eq!(disk.list("a").expect("listed"), [entry("b", true), entry("f", false)]);
        disk.rename("a/f", "a/g").expect("renamed");
        disk.remove_directory("a/b").expect("removed");
        assert_eq!(disk.list("a").expect("listed"), [entry("g", false)]);
        block_on_real(disk.sync_directory("a")).expect("synced");
        disk.remove_file("a/g").expect("removed");
        assert!(disk.exists("a") && !disk.exists("a/g"));
    }

    #[test]
    fn a_real_lock_is_held_until_it_is_dropped() {
        let (_temporary, disk) = Temporary::new("lock");
        let space = disk.space().expect("a file system has a size");
        assert!(space.total_bytes > 0 && space.usable_bytes <= space.total_bytes);
        let lock = disk.lock(".lock").expect("free");
        assert_eq!(disk.lock(".lock").expect_err("held").kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        disk.lock(".lock").expect("free again");
    }
}
