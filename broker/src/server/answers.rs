//! Pure. The answers that one connection owes, in the order of its requests.
//!
//! It never reads or writes: `connection` puts in what each request came to, and takes out what may be sent. A request
//! that waits does not keep its connection from being read, unless it is a barrier: then what follows it is not begun
//! until it has its answer. Kafka holds the whole connection for each request (`SocketServer`, muted channels); only
//! waiting produces differ here, and the order of answers does not.

use protocol::ids::MonotonicMillis;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Whether requests behind a waiting one may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// They may: their effects do not depend on this one's answer.
    Proceeds,
    /// They may not, as in Kafka.
    Waits,
}

/// An answer to come.
pub(crate) type Pending<A> = Pin<Box<dyn Future<Output = A> + Send>>;

enum Entry<A> {
    Ready(A),
    Waiting { answer: Pending<A>, behind: Behind, deadline: MonotonicMillis },
}

/// A queue of answers, oldest request first.
pub(crate) struct Answers<A> {
    entries: VecDeque<Entry<A>>,
    most: usize,
}

impl<A> Answers<A> {
    /// An empty queue that takes requests while fewer than `most` are unanswered; at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), most: most.max(1) }
    }

    /// Whether one more request may begin.
    pub(crate) fn takes_more(&self) -> bool {
        let barred = matches!(self.entries.back(), Some(Entry::Waiting { behind: Behind::Waits, .. }));
        !barred && self.entries.len() < self.most
    }

    /// Whether every request has left with its answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the answer of the newest request.
    pub(crate) fn push_ready(&mut self, answer: A) {
        self.entries.push_back(Entry::Ready(answer));
    }

    /// Adds the newest request, which waits for its answer and should have it by the deadline.
    pub(crate) fn push_waiting(&mut self, answer: Pending<A>, behind: Behind, deadline: MonotonicMillis) {
        self.entries.push_back(Entry::Waiting { answer, behind, deadline });
    }

    /// By when the oldest request should have its answer, while it has none.
    pub(crate) fn oldest_deadline(&self) -> Option<MonotonicMillis> {
        match self.entries.front()? {
            Entry::Ready(_) => None,
            Entry::Waiting { deadline, .. } => Some(*deadline),
        }
    }

    /// Ready when the oldest request has its answer. Pending for ever when there is none.
    pub(crate) fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(oldest) = self.entries.front_mut() else { return Poll::Pending };
        if let Entry::Waiting { answer, .. } = oldest {
            let Poll::Ready(answer) = answer.as_mut().poll(context) else { return Poll::Pending };
            *oldest = Entry::Ready(answer);
        }
        Poll::Ready(())
    }

    /// Takes the oldest request's answer, if it has one.
    pub(crate) fn pop_ready(&mut self) -> Option<A> {
        match self.entries.front()? {
            Entry::Ready(_) => {}
            Entry::Waiting { .. } => return None,
        }
        match self.entries.pop_front() {
            Some(Entry::Ready(answer)) => Some(answer),
            Some(Entry::Waiting { .. }) | None => unreachable!("the oldest entry was ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Waker,
    };

    const LATER: MonotonicMillis = MonotonicMillis(30_000);

    /// An answer that is there once the switch is on.
    fn later(answer: u32) -> (Pending<u32>, Arc<AtomicBool>) {
        let switch = Arc::new(AtomicBool::new(false));
        let seen = switch.clone();
        let future = std::future::poll_fn(move |_| match seen.load(Ordering::Relaxed) {
            true => Poll::Ready(answer),
            false => Poll::Pending,
        });
        (Box::pin(future), switch)
    }

    fn drain(answers: &mut Answers<u32>) -> Vec<u32> {
        let mut drained = Vec::new();
        while answers.poll_oldest(&mut Context::from_waker(Waker::noop())).is_ready() {
            drained.extend(answers.pop_ready());
        }
        drained
    }

    #[test]
    fn answers_leave_in_the_order_of_requests_whatever_is_ready_first() {
        let mut answers = Answers::new(8);
        let (first, first_done) = later(1);
        let (second, second_done) = later(2);
        answers.push_waiting(first, Behind::Proceeds, LATER);
        answers.push_waiting(second, Behind::Proceeds, LATER);
        answers.push_ready(3);
        second_done.store(true, Ordering::Relaxed);
        assert_eq!(drain(&mut answers), []);
        first_done.store(true, Ordering::Relaxed);
        assert_eq!(drain(&mut answers), [1, 2, 3]);
        assert!(answers.is_empty());
    }

    #[test]
    fn a_waiting_produce_lets_others_begin_until_the_queue_is_full() {
        let mut answers = Answers::new(2);
        assert!(answers.takes_more());
        answers.push_waiting(later(1).0, Behind::Proceeds, LATER);
        assert!(answers.takes_more());
        answers.push_waiting(later(2).0, Behind::Proceeds, LATER);
        assert!(!answers.takes_more());
    }

    #[test]
    fn a_barrier_holds_what_is_behind_it_until_it_has_left() {
        let mut answers = Answers::new(8);
        let (fetch, fetched) = later(1);
        answers.push_waiting(fetch, Behind::Waits, LATER);
        assert!(!answers.takes_more());
        assert_eq!(answers.pop_ready(), None);
        assert_eq!(answers.oldest_deadline(), Some(LATER));
        fetched.store(true, Ordering::Relaxed);
        assert_eq!(drain(&mut answers), [1]);
        assert!(answers.takes_more());
    }

    #[test]
    fn an_empty_queue_has_no_oldest_answer() {
        let mut answers = Answers::<u32>::new(0);
        assert!(answers.poll_oldest(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(answers.takes_more(), "a queue takes one request at least");
    }
}
