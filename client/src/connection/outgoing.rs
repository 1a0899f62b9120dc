//! Pure. The frames that wait to be written on one connection, and whose turn it is to write.
//!
//! The writing half lies here while nobody writes; whoever takes it writes everything that is queued, then gives it back.

use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// The most bytes that are written in one turn, but for a single frame: what is written cannot be taken back any more.
const TURN_BYTES: usize = 256 << 10;

/// A whole encoded request.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) correlation_id: i32,
    pub(super) bytes: Bytes,
}

/// Queue and turn. `W` is the writing half.
#[derive(Debug)]
pub(super) struct Outgoing<W> {
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// Present while nobody writes and the connection is open.
    writer: Option<W>,
    closed: bool,
}

/// What whoever holds the writing half does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<W> {
    /// Write these, in order; at least one.
    Write(W, Vec<Bytes>),
    /// Nothing is left: the half lies in the queue again.
    Idle,
    /// The connection has closed: drop the half.
    Closed(W),
}

impl<W> Outgoing<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { queue: VecDeque::new(), queued_bytes: 0, writer: Some(writer), closed: false }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.queued_bytes += frame.bytes.len();
        self.queue.push_back(frame);
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Takes a queued request back. False when it is not in the queue, so has left or is leaving.
    pub(super) fn remove(&mut self, correlation_id: i32) -> bool {
        let Some(at) = self.queue.iter().position(|frame| frame.correlation_id == correlation_id) else { return false };
        let frame = self.queue.remove(at).expect("its position was just found");
        self.queued_bytes -= frame.bytes.len();
        true
    }

    /// The writing half, for the one caller whose turn it is now; nothing when there is nothing to write or somebody writes.
    pub(super) fn start_writing(&mut self) -> Option<W> {
        if self.queue.is_empty() { None } else { self.writer.take() }
    }

    /// What to write next, for whoever has the writing half; with nothing queued its turn is over.
    pub(super) fn next_turn(&mut self, writer: W) -> Turn<W> {
        assert!(self.writer.is_none(), "there is one writing half");
        if self.closed {
            return Turn::Closed(writer);
        }
        if self.queue.is_empty() {
            self.writer = Some(writer);
            return Turn::Idle;
        }
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while let Some(frame) = self.queue.front() {
            if bytes > 0 && bytes + frame.bytes.len() > TURN_BYTES {
                break;
            }
            bytes += frame.bytes.len();
            frames.extend(self.queue.pop_front().map(|frame| frame.bytes));
        }
        self.queued_bytes -= bytes;
        Turn::Write(writer, frames)
    }

    /// Ends it: what never left, and the writing half if nobody writes.
    pub(super) fn close(&mut self) -> (BTreeSet<i32>, Option<W>) {
        self.queued_bytes = 0;
        self.closed = true;
        (self.queue.drain(..).map(|frame| frame.correlation_id).collect(), self.writer.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(correlation_id: i32) -> Frame {
        Frame { correlation_id, bytes: Bytes::from_static(b"12345") }
    }

    #[test]
    fn one_writer_at_a_time_takes_all_that_is_queued() {
        let mut outgoing = Outgoing::new("the writer");
        assert_eq!(outgoing.start_writing(), None, "nothing to write");
        outgoing.push(frame(1));
        let writer = outgoing.start_writing().expect("it is free");
        outgoing.push(frame(2));
        assert_eq!(outgoing.start_writing(), None, "somebody writes");
        assert_eq!(outgoing.queued_bytes(), 10);
        let Turn::Write(writer, frames) = outgoing.next_turn(writer) else { panic!("two frames wait") };
        assert_eq!((frames.len(), outgoing.queued_bytes()), (2, 0));
        assert_eq!(outgoing.next_turn(writer), Turn::Idle);
        outgoing.push(frame(3));
        assert_eq!(outgoing.start_writing(), Some("the writer"));
    }

    #[test]
    fn a_turn_takes_large_frames_one_at_a_time() {
        let mut outgoing = Outgoing::new(());
        (1..=3).for_each(|correlation_id| {
            outgoing.push(Frame { correlation_id, bytes: Bytes::from(vec![0; TURN_BYTES + 1]) });
        });
        outgoing.start_writing().expect("it is free");
        let Turn::Write((), frames) = outgoing.next_turn(()) else { panic!("three frames wait") };
        assert_eq!((frames.len(), outgoing.queued_bytes()), (1, 2 * (TURN_BYTES + 1)));
    }

    #[test]
    fn what_has_not_left_can_be_taken_back() {
        let mut outgoing = Outgoing::new(());
        outgoing.push(frame(1));
        outgoing.push(frame(2));
        assert!(outgoing.remove(1));
        assert!(!outgoing.remove(1));
        assert_eq!(outgoing.close(), (BTreeSet::from([2]), Some(())));
        assert!(!outgoing.remove(2));
    }

    #[test]
    fn a_writer_at_work_during_the_close_keeps_nothing() {
        let mut outgoing = Outgoing::new("the writer");
        outgoing.push(frame(1));
        let writer = outgoing.start_writing().expect("it is free");
        assert_eq!(outgoing.close(), (BTreeSet::from([1]), None));
        assert_eq!(outgoing.next_turn(writer), Turn::Closed("the writer"));
    }
}
