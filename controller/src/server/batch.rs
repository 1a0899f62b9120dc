//! Requests that wait to be decided, and requests that were decided together.

use crate::control::{Control, ControlRequest, ControlResponse};
use metadata::{delta, image::Image, record::Record};
use protocol::{error_code::ErrorCode, ids::MonotonicMillis};
use runtime::sync::oneshot;
use std::collections::VecDeque;

/// How many requests are decided together at most.
const REQUESTS_MAX: usize = 512;
/// From how many records on no further request is decided in the same batch.
const RECORDS_ENOUGH: usize = 10_000;

type Answer = oneshot::Sender<Result<ControlResponse, ErrorCode>>;

/// Requests in the order in which they came. This controller's own come first and have no answer.
#[derive(Debug, Default)]
pub struct Inbox {
    own: VecDeque<ControlRequest>,
    asked: VecDeque<(ControlRequest, Answer)>,
}

impl Inbox {
    /// Takes a request that somebody waits for.
    pub fn push(&mut self, request: ControlRequest, answer: Answer) {
        self.asked.push_back((request, answer));
    }

    /// Takes a request of this controller's own.
    pub fn push_own(&mut self, request: ControlRequest) {
        self.own.push_back(request);
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.asked.is_empty()
    }

    /// Whether one more request fits into the next batch.
    pub fn takes_more(&self) -> bool {
        self.asked.len() < REQUESTS_MAX
    }

    /// Answers everybody with an error.
    pub fn refuse_all(&mut self, code: ErrorCode) {
        self.own.clear();
        for (_, answer) in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(Err(code));
        }
    }

    /// The next request that is worth deciding: nobody waits for one whose asker has gone.
    fn pop(&mut self) -> Option<(ControlRequest, Option<Answer>)> {
        if let Some(request) = self.own.pop_front() {
            return Some((request, None));
        }
        loop {
            let (request, answer) = self.asked.pop_front()?;
            if !answer.is_closed() {
                return Some((request, Some(answer)));
            }
        }
    }
}

/// Decisions that stand or fall together.
#[derive(Debug)]
pub struct Batch {
    /// The records of all of them, in order.
    pub records: Vec<Record>,
    answers: Vec<(Answer, ControlResponse)>,
}

impl Batch {
    /// Decides requests one after another, each against the image with the records of those before it.
    pub fn decide(control: &mut Control, mut image: Image, inbox: &mut Inbox, now: MonotonicMillis) -> Self {
        let mut batch = Self { records: Vec::new(), answers: Vec::new() };
        while batch.records.len() < RECORDS_ENOUGH {
            let Some((request, answer)) = inbox.pop() else { break };
            let decision = control.handle(&image, request, now);
            for record in &decision.records {
                let offset = image.offset();
                delta::apply(&mut image, offset, record);
            }
            batch.records.extend(decision.records);
            batch.answers.extend(answer.map(|answer| (answer, decision.response)));
        }
        batch
    }

    /// Lets every answer go, or tells everybody the same error instead.
    pub fn answer_all(self, outcome: &Result<(), ErrorCode>) {
        for (answer, response) in self.answers {
            // Whoever asked may have gone meanwhile.
            let _ = answer.send(outcome.map(|()| response));
        }
    }
}
