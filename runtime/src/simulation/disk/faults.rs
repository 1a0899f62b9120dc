//! Pure. What can go wrong with a simulated disk.

/// What goes wrong, and how often: chances in parts per thousand, one draw for each operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A read fails with EIO.
    pub read_error: u64,
    /// A write fails with EIO and writes nothing.
    pub append_error: u64,
    /// A write fails with EIO after a drawn part of its data.
    pub short_write: u64,
    /// A sync fails with EIO, and what it covered never reaches the platter.
    pub sync_error: u64,
    /// A sync takes 50 ms to 3 s longer.
    pub slow_sync: u64,
    /// No sync ends while this is set; what it covers is safe once it has ended.
    pub stalled_sync: bool,
    /// A read holds its thread, and with it the whole node, for 5 to 100 ms: what it wants is not in the page cache.
    pub slow_read: u64,
    /// A write holds its thread, and with it the whole node, for 20 ms to 1 s.
    pub slow_append: u64,
    /// Writes and creations fail with ENOSPC.
    pub no_space: bool,
    /// Everything fails with EIO, as on a disk that was pulled out.
    pub offline: bool,
}

/// Damage to what is already stored, as time and bad cables do it. Nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit is inverted.
    FlipBit {
        /// Byte in the file; past its end nothing happens.
        position: u64,
        /// 0 is the lowest.
        bit: u8,
    },
    /// A sector's worth of the file is replaced by another place's bytes.
    Misdirect {
        /// Where the bytes are taken.
        from: u64,
        /// Where they land.
        to: u64,
    },
    /// The file ends here.
    LoseTail {
        /// Its new length.
        length: u64,
    },
    /// The file is gone.
    Remove,
}

/// The draws of a disk, by what they decide.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(super) enum Luck {
    Read = 1,
    Append,
    ShortWrite,
    ShortWriteLength,
    Sync,
    SlowSync,
    SlowAppend,
    SyncTime,
    SlowSyncTime,
    SlowAppendTime,
    Directory,
    SlowRead,
    SlowReadTime,
}

impl Luck {
    /// Of the fault that it decides.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "disk read error",
            Self::Append => "disk write error",
            Self::ShortWrite | Self::ShortWriteLength => "disk short write",
            Self::Sync | Self::SyncTime | Self::Directory => "disk sync error",
            Self::SlowSync | Self::SlowSyncTime => "disk slow sync",
            Self::SlowRead | Self::SlowReadTime => "disk slow read",
            Self::SlowAppend | Self::SlowAppendTime => "disk slow append",
        }
    }
}
