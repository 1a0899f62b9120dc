//! The metadata that is committed and applied on this node: the image, and the records that led to it.
//!
//! Only the state machine changes it; everybody else reads. Whatever a controller answers or publishes comes from here,
//! so nothing uncommitted can leave it.

use bytes::Bytes;
use metadata::image::Image;
use protocol::ids::MetadataOffset;
use runtime::sync::{Lock, watch};
use std::{collections::VecDeque, sync::Arc};

/// The rank of the lock. Nothing else is locked under it.
const RANK: u8 = 41;

/// A shared view. Clones see the same.
#[derive(Clone)]
pub struct Applied(Arc<Shared>);

struct Shared {
    state: Lock<State>,
    end: watch::Sender<MetadataOffset>,
}

struct State {
    image: Image,
    recent: Recent,
}

/// The newest records, as they were encoded: without gaps, up to the image's offset.
#[derive(Debug, Default)]
struct Recent {
    first: MetadataOffset,
    records: VecDeque<Bytes>,
    bytes: usize,
}

/// A part of the metadata log, as a follower of it wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The offset after the last committed record that this node has applied.
    pub end: MetadataOffset,
    /// The image, encoded, with the offset after its last record: when the offset asked for is gone from the log.
    pub snapshot: Option<(MetadataOffset, Bytes)>,
    /// The offset of the first of `records`.
    pub first: MetadataOffset,
    /// Encoded records, one offset each.
    pub records: Vec<Bytes>,
}

impl Recent {
    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push_back(record);
    }

    /// Drops the oldest records before `snapshot` while there are more than `bytes_max` bytes.
    fn trim(&mut self, snapshot: MetadataOffset, bytes_max: usize) {
        while self.bytes > bytes_max && self.first < snapshot {
            let Some(record) = self.records.pop_front() else { return };
            self.bytes -= record.len();
            self.first = self.first.next();
        }
    }

    /// Records from `from` on, at most `bytes_max` bytes of them but at least one if there is one.
    fn read(&self, from: MetadataOffset, bytes_max: usize) -> Vec<Bytes> {
        let mut bytes = 0;
        let skip = usize::try_from(from.0 - self.first.0).expect("the caller asks for nothing before the first");
        let fits = |record: &&Bytes| {
            let begun = bytes > 0;
            bytes += record.len();
            !begun || bytes <= bytes_max
        };
        self.records.iter().skip(skip).take_while(fits).cloned().collect()
    }
}

impl Default for Applied {
    fn default() -> Self {
        let state = State { image: Image::default(), recent: Recent::default() };
        let (end, _) = watch::channel(MetadataOffset(0));
        Self(Arc::new(Shared { state: Lock::new(RANK, state), end }))
    }
}

impl Applied {
    /// The image. Cheap.
    pub fn image(&self) -> Image {
        self.0.state.lock().image.clone()
    }

    /// The offset after the last applied record.
    pub fn end(&self) -> MetadataOffset {
        *self.0.end.borrow()
    }

    /// Tells when more is applied.
    pub fn watch_end(&self) -> watch::Receiver<MetadataOffset> {
        self.0.end.subscribe()
    }

    /// The records from `from` on, or a snapshot when they are gone. Nothing when there are none yet.
    pub fn read(&self, from: MetadataOffset, bytes_max: usize) -> Part {
        let (image, part) = {
            let state = self.0.state.lock();
            let end = state.image.offset();
            if from >= state.recent.first || from >= end {
                let records = if from < end { state.recent.read(from, bytes_max) } else { Vec::new() };
                return Part { end, snapshot: None, first: from, records };
            }
            (state.image.clone(), Part { end, snapshot: None, first: end, records: Vec::new() })
        };
        Part { snapshot: Some((part.end, image.encode())), ..part }
    }

    /// Changes the image and the records together. Readers see both or neither; who waits is told by
    /// [`Self::announce`].
    pub(super) fn advance(&self, image: Image, records: impl IntoIterator<Item = Bytes>) {
        let mut state = self.0.state.lock();
        records.into_iter().for_each(|record| state.recent.push(record));
        let first = state.recent.first.0 + state.recent.records.len() as i64;
        assert_eq!(first, image.offset().0, "the records lead to the image");
        state.image = image;
    }

    /// Puts another image in place of what there is, without the records that led to it.
    pub(super) fn replace(&self, image: Image) {
        let mut state = self.0.state.lock();
        state.recent = Recent { first: image.offset(), ..Recent::default() };
        state.image = image;
    }

    /// Lets go of records that a snapshot covers, as far as there are too many.
    pub(super) fn trim(&self, snapshot: MetadataOffset, bytes_max: usize) {
        self.0.state.lock().recent.trim(snapshot, bytes_max);
    }

    /// Wakes who waits for what [`Self::advance`] or [`Self::replace`] brought.
    pub(super) fn announce(&self) {
        let end = self.0.state.lock().image.offset();
        self.0.end.send_if_modified(|known| std::mem::replace(known, end) != end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::record::Record;

    fn applied(count: i64) -> Applied {
        let applied = Applied::default();
        for _ in 0..count {
            let mut image = applied.image();
            let offset = image.offset();
            metadata::delta::apply(&mut image, offset, &Record::NoOp);
            applied.advance(image, [Bytes::from_static(b"noop")]);
        }
        applied.announce();
        applied
    }

    #[test]
    fn a_follower_reads_on_from_where_it_is() {
        let part = applied(5).read(MetadataOffset(3), 1_000);
        assert_eq!((part.first, part.records.len(), part.end), (MetadataOffset(3), 2, MetadataOffset(5)));
        assert_eq!(part.snapshot, None);
    }

    #[test]
    fn at_least_one_record_fits_any_limit() {
        assert_eq!(applied(5).read(MetadataOffset(0), 0).records.len(), 1);
        assert_eq!(applied(5).read(MetadataOffset(0), 9).records.len(), 2);
    }

    #[test]
    fn what_is_gone_is_read_as_a_snapshot() {
        let applied = applied(5);
        applied.trim(MetadataOffset(3), 0);
        let part = applied.read(MetadataOffset(2), 1_000);
        let (next, snapshot) = part.snapshot.unwrap();
        assert_eq!((next, part.first, part.records.len()), (MetadataOffset(5), MetadataOffset(5), 0));
        assert_eq!(Image::decode(&snapshot).unwrap(), applied.image());
        assert_eq!(applied.read(MetadataOffset(3), 1_000).snapshot, None);
    }

    #[test]
    fn one_who_is_ahead_gets_nothing() {
        let part = applied(2).read(MetadataOffset(7), 1_000);
        assert_eq!((part.end, part.snapshot, part.records.len()), (MetadataOffset(2), None, 0));
    }

    #[test]
    fn nothing_is_dropped_without_a_snapshot() {
        let applied = applied(5);
        applied.trim(MetadataOffset(0), 0);
        assert_eq!(applied.read(MetadataOffset(0), 1_000).records.len(), 5);
    }
}
