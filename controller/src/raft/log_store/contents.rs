//! Pure. What the frames of a Raft log add up to: the vote, the entries, what is committed and what is purged.
//!
//! The log is a history: truncating and purging are frames too, so that no order of writes on the device can contradict
//! the order in which openraft asked for them. Contiguity is checked here, since openraft's own stores do not.

use crate::raft::types::{Entry, LogId, Vote};
use protocol::ids::BrokerId;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    ops::{Bound, RangeBounds},
};
use thiserror::Error;

/// The only format there is.
pub const FORMAT: u8 = 1;

/// One step of the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// The first frame of each segment.
    Opened {
        /// [`FORMAT`].
        format: u8,
        /// Whose log this is.
        identity: Identity,
        /// What all segments before this one added up to.
        standing: Standing,
    },
    /// A vote was cast, or a leader accepted.
    Vote(Vote),
    /// An entry was appended.
    Entry(Entry),
    /// Entries after this one were dropped; none stands before the first.
    Truncated(Option<LogId>),
    /// Entries up to this one, inclusive, are not needed any more.
    Purged(LogId),
    /// Entries up to this one are committed.
    Committed(Option<LogId>),
}

/// Whose log it is: a log never changes hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
}

/// What is left of the segments before one, once they are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The last vote.
    pub vote: Option<Vote>,
    /// The last entry known as committed.
    pub committed: Option<LogId>,
    /// The last entry purged.
    pub purged: Option<LogId>,
    /// The last entry.
    pub last: Option<LogId>,
}

/// A frame that cannot follow what came before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Inconsistency {
    /// An entry that is not the next one.
    #[error("entry {got} follows {last:?}")]
    Gap {
        /// The last entry.
        last: Option<LogId>,
        /// The entry that came.
        got: LogId,
    },
    /// Committed entries were to be truncated.
    #[error("a truncation to {after:?} would drop entries up to {committed}, which are committed")]
    TruncatesCommitted {
        /// The last entry to keep.
        after: Option<LogId>,
        /// The last committed entry.
        committed: LogId,
    },
    /// A segment that does not continue the one before it.
    #[error("a segment continues {expected:?}, but the one before it ends with {found:?}")]
    Unconnected {
        /// What the segment says came before it.
        expected: Box<Standing>,
        /// What came before it.
        found: Box<Standing>,
    },
    /// A segment that begins with something else than its opening.
    #[error("a segment does not begin with its opening")]
    Unopened,
    /// A log of another node or another cluster.
    #[error("the log is that of node {} of cluster {}", .0.node_id, .0.cluster_id)]
    OtherOwner(Identity),
    /// A format that this version does not know.
    #[error("the log has format {0}, and only {FORMAT} is known")]
    UnknownFormat(u8),
    /// Segments with entries that are still needed are gone.
    #[error("entries up to {needed} are missing; purged are only those up to {purged:?}")]
    Missing {
        /// The last entry that is not there.
        needed: LogId,
        /// The last entry that need not be there.
        purged: Option<LogId>,
    },
}

/// What the frames so far add up to.
#[derive(Clone, Debug)]
pub struct Contents {
    identity: Identity,
    opened: bool,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// The entry before the first of `entries`. Past `purged` only while a log is read whose oldest segments are gone.
    base: Option<LogId>,
    entries: VecDeque<Entry>,
}

impl Contents {
    /// An empty log of this node.
    pub fn new(identity: Identity) -> Self {
        let (vote, committed, purged, base) = (None, None, None, None);
        Self { identity, opened: false, vote, committed, purged, base, entries: VecDeque::new() }
    }

    /// The last vote.
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The last entry known as committed.
    pub fn committed(&self) -> Option<LogId> {
        self.committed
    }

    /// The last entry purged.
    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last entry, or the last one purged.
    pub fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.base)
    }

    /// What a segment that begins here says in its first frame.
    pub fn opening(&self) -> Frame {
        Frame::Opened { format: FORMAT, identity: self.identity.clone(), standing: self.standing() }
    }

    fn standing(&self) -> Standing {
        Standing { vote: self.vote, committed: self.committed, purged: self.purged, last: self.last() }
    }

    /// The entries with these indices, in order; those that are not there are left out.
    pub fn entries(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let first = self.entries.front().map_or(0, |entry| entry.log_id.index);
        let place = |index: u64| index.saturating_sub(first).min(self.entries.len() as u64) as usize;
        let begin = match range.start_bound() {
            Bound::Included(index) => place(*index),
            Bound::Excluded(index) => place(index + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => place(index + 1),
            Bound::Excluded(index) => place(*index),
            Bound::Unbounded => self.entries.len(),
        };
        self.entries.range(begin..end.max(begin))
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// When it cannot follow; nothing has changed then.
    pub fn apply(&mut self, frame: Frame) -> Result<(), Inconsistency> {
        if !self.opened && !matches!(frame, Frame::Opened { .. }) {
            return Err(Inconsistency::Unopened);
        }
        match frame {
            Frame::Opened { format, identity, standing } => return self.open(format, identity, standing),
            Frame::Vote(vote) => self.vote = Some(vote),
            Frame::Entry(entry) => {
                let last = self.last();
                let follows = last.is_none_or(|last| last.committed_leader_id() <= entry.log_id.committed_leader_id());
                if entry.log_id.index != last.map_or(0, |last| last.index + 1) || !follows {
                    return Err(Inconsistency::Gap { last, got: entry.log_id });
                }
                self.entries.push_back(entry);
            }
            Frame::Truncated(after) => {
                if let Some(committed) = self.committed.filter(|committed| after.is_none_or(|after| after < *committed))
                {
                    return Err(Inconsistency::TruncatesCommitted { after, committed });
                }
                let next = after.map_or(0, |after| after.index + 1);
                while self.entries.back().is_some_and(|entry| entry.log_id.index >= next) {
                    self.entries.pop_back();
                }
                if self.entries.is_empty() {
                    self.base = after;
                }
            }
            Frame::Purged(upto) => {
                while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
                    self.entries.pop_front();
                }
                self.purged = self.purged.max(Some(upto));
                self.base = self.base.max(Some(upto));
            }
            Frame::Committed(committed) => self.committed = self.committed.max(committed),
        }
        Ok(())
    }

    fn open(&mut self, format: u8, identity: Identity, standing: Standing) -> Result<(), Inconsistency> {
        if format != FORMAT {
            return Err(Inconsistency::UnknownFormat(format));
        }
        if identity != self.identity {
            return Err(Inconsistency::OtherOwner(identity));
        }
        if self.opened {
            let found = self.standing();
            if found != standing {
                return Err(Inconsistency::Unconnected { expected: Box::new(standing), found: Box::new(found) });
            }
            return Ok(());
        }
        self.opened = true;
        let Standing { vote, committed, purged, last } = standing;
        (self.vote, self.committed, self.purged, self.base) = (vote, committed, purged, last);
        Ok(())
    }

    /// Whether everything after the purged entries is there. Asked when the last frame has been read.
    ///
    /// # Errors
    /// [`Inconsistency::Missing`].
    pub fn complete(&self) -> Result<(), Inconsistency> {
        match self.base {
            Some(needed) if self.purged.is_none_or(|purged| purged.index < needed.index) => {
                Err(Inconsistency::Missing { needed, purged: self.purged })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::log_id;
    use openraft::EntryPayload;

    fn entry(term: u64, index: u64) -> Frame {
        Frame::Entry(Entry { log_id: log_id(term, index), payload: EntryPayload::Blank })
    }

    fn owner(node_id: i32) -> Identity {
        Identity { cluster_id: "c".into(), node_id: BrokerId(node_id) }
    }

    fn opening(last: Option<LogId>, purged: Option<LogId>) -> Frame {
        let standing = Standing { vote: None, committed: purged, purged, last };
        Frame::Opened { format: FORMAT, identity: owner(1), standing }
    }

    fn contents(frames: impl IntoIterator<Item = Frame>) -> Contents {
        let mut contents = Contents::new(owner(1));
        for frame in frames {
            contents.apply(frame).unwrap();
        }
        contents
    }

    fn indices(contents: &Contents) -> Vec<u64> {
        contents.entries(..).map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn a_gap_is_refused() {
        let mut log = contents([opening(None, None), entry(1, 0), entry(1, 1)]);
        let gap = Inconsistency::Gap { last: Some(log_id(1, 1)), got: log_id(1, 3) };
        assert_eq!(log.apply(entry(1, 3)), Err(gap));
        assert!(log.apply(entry(1, 1)).is_err());
        assert!(log.apply(entry(0, 2)).is_err());
        assert_eq!(log.apply(entry(2, 2)), Ok(()));
    }

    #[test]
    fn a_range_is_read_as_far_as_it_is_there() {
        let log = contents([opening(None, None), entry(1, 0), entry(1, 1), entry(1, 2), Frame::Purged(log_id(1, 0))]);
        let read =
            |range: (Bound<u64>, Bound<u64>)| log.entries(range).map(|entry| entry.log_id.index).collect::<Vec<_>>();
        assert_eq!(read((Bound::Included(0), Bound::Excluded(2))), [1]);
        assert_eq!(read((Bound::Included(2), Bound::Included(9))), [2]);
        assert_eq!(read((Bound::Included(5), Bound::Unbounded)), [0; 0]);
        assert_eq!(read((Bound::Excluded(1), Bound::Unbounded)), [2]);
    }

    #[test]
    fn what_is_committed_is_never_truncated() {
        let mut log = contents([
            opening(None, None),
            entry(1, 0),
            entry(1, 1),
            entry(1, 2),
            Frame::Committed(Some(log_id(1, 1))),
        ]);
        assert!(log.apply(Frame::Truncated(Some(log_id(1, 0)))).is_err());
        assert!(log.apply(Frame::Truncated(None)).is_err());
        assert_eq!(log.apply(Frame::Truncated(Some(log_id(1, 1)))), Ok(()));
        assert_eq!(indices(&log), [0, 1]);
    }

    #[test]
    fn a_truncated_log_goes_on_where_it_was_cut() {
        let cut = [opening(None, None), entry(1, 0), entry(1, 1), entry(1, 2), Frame::Truncated(Some(log_id(1, 0)))];
        let mut log = contents(cut);
        assert_eq!(log.apply(entry(2, 1)), Ok(()));
        assert_eq!((indices(&log), log.last()), (vec![0, 1], Some(log_id(2, 1))));
    }

    #[test]
    fn a_purge_past_the_end_moves_the_end() {
        let mut log = contents([opening(None, None), entry(1, 0), Frame::Purged(log_id(3, 9))]);
        assert_eq!((log.last(), log.purged()), (Some(log_id(3, 9)), Some(log_id(3, 9))));
        assert_eq!(log.apply(entry(3, 10)), Ok(()));
        assert_eq!(log.complete(), Ok(()));
    }

    #[test]
    fn segments_that_are_gone_must_have_been_purged() {
        let log = contents([opening(Some(log_id(1, 4)), Some(log_id(1, 2))), entry(1, 5)]);
        assert!(matches!(log.complete(), Err(Inconsistency::Missing { .. })));
        let log = contents([opening(Some(log_id(1, 4)), Some(log_id(1, 2))), entry(1, 5), Frame::Purged(log_id(1, 4))]);
        assert_eq!(log.complete(), Ok(()));
        assert_eq!(indices(&log), [5]);
    }

    #[test]
    fn a_truncation_into_a_segment_that_is_gone_is_replayed() {
        let log = contents([
            opening(Some(log_id(1, 9)), Some(log_id(1, 2))),
            Frame::Truncated(Some(log_id(1, 6))),
            entry(2, 7),
            Frame::Purged(log_id(2, 7)),
            entry(2, 8),
        ]);
        assert_eq!((log.complete(), indices(&log)), (Ok(()), vec![8]));
    }

    #[test]
    fn a_segment_must_continue_the_one_before_it() {
        let mut log = contents([opening(None, None), entry(1, 0)]);
        assert!(matches!(log.apply(opening(None, None)), Err(Inconsistency::Unconnected { .. })));
        let next = log.opening();
        assert_eq!(log.apply(next), Ok(()));
    }

    #[test]
    fn another_nodes_log_is_refused() {
        let mut log = Contents::new(owner(2));
        assert_eq!(log.apply(opening(None, None)), Err(Inconsistency::OtherOwner(owner(1))));
        assert_eq!(log.apply(entry(1, 0)), Err(Inconsistency::Unopened));
    }
}
