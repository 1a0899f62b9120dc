//! Pure. What a machine decided: records to append, and answers to requests that are complete.

use crate::record::Record;

/// Names a request until it is answered. Whoever drives the machine makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What is to be done, in order: the records are appended as one batch, and the answers leave once that and everything that
/// the decision had seen is committed.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Effects<Answer> {
    /// To append.
    pub records: Vec<Record>,
    /// Whoever gets an answer now.
    pub answers: Vec<(Ticket, Answer)>,
}

impl<Answer> Default for Effects<Answer> {
    fn default() -> Self {
        Self { records: Vec::new(), answers: Vec::new() }
    }
}

impl<Answer> Effects<Answer> {
    /// Only this answer.
    pub fn answer(ticket: Ticket, answer: Answer) -> Self {
        Self { records: Vec::new(), answers: vec![(ticket, answer)] }
    }

    /// Both, one after the other.
    pub fn extend(&mut self, more: Self) {
        self.records.extend(more.records);
        self.answers.extend(more.answers);
    }
}
