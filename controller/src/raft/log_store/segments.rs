//! The files of a Raft log: `00000000000000000007.raft`, numbered without gaps, only the last one written to.
//!
//! A segment is on the device as a whole before the next one is created, so only the last can have a torn tail. It opens
//! the log, creates and removes segments; what the frames mean is [`Contents`]' business, when to sync the log store's.

use super::{
    contents::{Contents, Frame, Identity, Inconsistency},
    frames::{self, End},
};
use runtime::disk::{Disk, File, Open};
use std::{collections::VecDeque, io};
use thiserror::Error;

/// Why a log could not be opened. None of it is repaired by itself: that could lose what was promised.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk does not work.
    #[error("the disk of the metadata log")]
    Io(#[from] io::Error),
    /// Bytes that were on the device are not what was written.
    #[error("{file} is damaged at byte {position}; restore it, or this directory, from a healthy controller")]
    Damaged {
        /// The segment.
        file: String,
        /// Where its first broken frame begins.
        position: usize,
    },
    /// A frame with a right checksum that this version cannot read.
    #[error("{file} holds a frame that this version cannot read: {reason}")]
    Unreadable {
        /// The segment.
        file: String,
        /// What the decoder said.
        reason: String,
    },
    /// Frames that contradict each other.
    #[error("{file} does not fit what comes before it")]
    Inconsistent {
        /// The segment.
        file: String,
        /// What does not fit.
        #[source]
        inconsistency: Inconsistency,
    },
}

/// A segment that is no longer written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    ordinal: u64,
    last_index: Option<u64>,
}

/// The segment that is written to.
#[derive(Debug)]
pub struct Active {
    /// Its number.
    pub ordinal: u64,
    /// Its file.
    pub file: File,
    /// How many bytes were written.
    pub written_bytes: u64,
    /// How many of them are known to be on the device.
    pub durable_bytes: u64,
    /// The greatest index of an entry in it.
    pub last_index: Option<u64>,
}

/// A log just opened.
pub struct Opened {
    /// What it says.
    pub contents: Contents,
    /// The segment to go on in.
    pub active: Active,
    /// Those before it, oldest first.
    pub sealed: VecDeque<Sealed>,
}

/// The directory that the segments are in.
#[derive(Clone, Debug)]
pub struct Directory {
    disk: Disk,
    path: String,
}

impl Directory {
    /// A directory of this disk, created if need be, its name made durable.
    ///
    /// # Errors
    /// When the disk does not work.
    pub async fn create(disk: &Disk, path: &str) -> io::Result<Self> {
        disk.create_directory(path)?;
        disk.sync_directory("").await?;
        Ok(Self { disk: disk.clone(), path: path.to_owned() })
    }

    fn file(&self, ordinal: u64) -> String {
        format!("{}/{ordinal:020}.raft", self.path)
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.sync_directory(&self.path).await
    }

    /// Reads all segments, cuts a torn tail, and begins the first segment of an empty log.
    ///
    /// Everything that it read is on the device when it returns.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, identity: &Identity) -> Result<Opened, OpenError> {
        let ordinals = self.ordinals().await?;
        let mut contents = Contents::new(identity.clone());
        let mut sealed = VecDeque::new();
        let Some((last, earlier)) = ordinals.split_last() else {
            let active = self.open_first(1, &mut contents).await?;
            return Ok(Opened { contents, active, sealed });
        };
        for ordinal in earlier {
            let (segment, end, valid_bytes) = self.read(*ordinal, &mut contents)?;
            if end != End::Whole || valid_bytes == 0 {
                return Err(OpenError::Damaged { file: self.file(*ordinal), position: valid_bytes });
            }
            sealed.push_back(segment);
        }
        let (segment, end, valid_bytes) = self.read(*last, &mut contents)?;
        if end == End::Damaged {
            return Err(OpenError::Damaged { file: self.file(*last), position: valid_bytes });
        }
        let inconsistent = |inconsistency| OpenError::Inconsistent { file: self.file(*last), inconsistency };
        let active = if valid_bytes == 0 {
            self.open_first(*last, &mut contents).await?
        } else {
            let file = self.disk.open(&self.file(*last), Open::Existing)?;
            if end == End::Torn {
                runtime::reachable!("controller: the metadata log's torn tail is cut");
                tracing::info!(file = self.file(*last), valid_bytes, length = file.len()?, "a torn tail is cut");
                file.truncate(valid_bytes as u64)?;
            }
            file.sync().await?;
            self.sync().await?;
            let bytes = valid_bytes as u64;
            let Sealed { ordinal, last_index } = segment;
            Active { ordinal, file, written_bytes: bytes, durable_bytes: bytes, last_index }
        };
        contents.complete().map_err(inconsistent)?;
        Ok(Opened { contents, active, sealed })
    }

    /// The numbers of the segments that make up the log. Older ones were purged, though their removal was forgotten in a
    /// power loss, and are removed again.
    async fn ordinals(&self) -> io::Result<Vec<u64>> {
        let entries = self.disk.list(&self.path)?;
        let names = entries.iter().filter_map(|entry| entry.name.strip_suffix(".raft"));
        let mut ordinals: Vec<u64> = names.filter_map(|digits| digits.parse().ok()).collect();
        ordinals.sort_unstable();
        let gap = ordinals.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
        let leftovers: Vec<u64> = gap.map(|at| ordinals.drain(..=at).collect()).unwrap_or_default();
        self.remove(leftovers).await?;
        Ok(ordinals)
    }

    /// Applies a segment's frames; says how it ends and where its last whole frame does.
    fn read(&self, ordinal: u64, contents: &mut Contents) -> Result<(Sealed, End, usize), OpenError> {
        let bytes = self.disk.read(&self.file(ordinal))?;
        let scan = frames::scan(&bytes);
        let mut last_index = None;
        for (position, payload) in scan.payloads.iter().enumerate() {
            let frame: Frame = postcard::from_bytes(payload)
                .map_err(|error| OpenError::Unreadable { file: self.file(ordinal), reason: error.to_string() })?;
            if let Frame::Entry(entry) = &frame {
                last_index = last_index.max(Some(entry.log_id.index));
            }
            let result = match &frame {
                Frame::Opened { .. } if position > 0 => Err(Inconsistency::Unopened),
                Frame::Opened { .. } => contents.apply(frame),
                _ if position == 0 => Err(Inconsistency::Unopened),
                _ => contents.apply(frame),
            };
            result.map_err(|inconsistency| OpenError::Inconsistent { file: self.file(ordinal), inconsistency })?;
        }
        Ok((Sealed { ordinal, last_index }, scan.end, scan.valid_bytes))
    }

    /// Begins a segment, and the log if it is the first.
    async fn open_first(&self, ordinal: u64, contents: &mut Contents) -> io::Result<Active> {
        let opening = contents.opening();
        let active = self.begin(ordinal, &opening).await?;
        contents.apply(opening).expect("an opening continues the contents that made it");
        Ok(active)
    }

    /// Creates a segment with its first frame, durably. What an interrupted attempt left is overwritten.
    ///
    /// # Errors
    /// When the disk does not work.
    pub async fn begin(&self, ordinal: u64, opening: &Frame) -> io::Result<Active> {
        let mut bytes = Vec::new();
        frames::write(&mut bytes, 0, &encode(opening));
        let file = self.disk.open(&self.file(ordinal), Open::Create)?;
        file.truncate(0)?;
        file.append(&bytes)?;
        file.sync().await?;
        self.sync().await?;
        let length = bytes.len() as u64;
        Ok(Active { ordinal, file, written_bytes: length, durable_bytes: length, last_index: None })
    }

    /// Removes segments, oldest first, durably.
    ///
    /// # Errors
    /// When the disk does not work.
    pub async fn remove(&self, ordinals: Vec<u64>) -> io::Result<()> {
        if ordinals.is_empty() {
            return Ok(());
        }
        for ordinal in ordinals {
            self.disk.remove_file(&self.file(ordinal))?;
        }
        self.sync().await
    }
}

impl Active {
    /// This segment, now that it is no longer written to.
    pub fn seal(&self) -> Sealed {
        Sealed { ordinal: self.ordinal, last_index: self.last_index }
    }
}

impl Sealed {
    /// Takes the segments from the front that hold no entry past `index`.
    pub fn take_purged(sealed: &mut VecDeque<Self>, index: u64) -> Vec<u64> {
        let count = sealed.iter().take_while(|segment| segment.last_index.is_none_or(|last| last <= index)).count();
        sealed.drain(..count).map(|segment| segment.ordinal).collect()
    }
}

/// A frame's payload.
pub fn encode(frame: &Frame) -> Vec<u8> {
    postcard::to_stdvec(frame).expect("a frame has no type that postcard cannot encode")
}
