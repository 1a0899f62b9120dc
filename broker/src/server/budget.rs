//! The bytes of requests that this process holds before it has handled them, over all connections.
//!
//! It never allocates them: connections say what they hold. When the sum reaches the limit, one connection at a time
//! goes on reading (it has the turn), so that memory stays within the limit and one request, and somebody always
//! finishes (`queued.max.request.bytes`, KIP-72).

use runtime::sync::{OwnedSemaphorePermit, Semaphore};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// One budget for all connections of a broker.
pub(super) struct RequestBudget {
    limit: usize,
    held: AtomicUsize,
    turn: Arc<Semaphore>,
}

/// What one connection holds of the budget; given back when it is dropped.
pub(super) struct Share {
    budget: Arc<RequestBudget>,
    held: usize,
}

/// The right to read although the budget is spent.
pub(super) type Turn = OwnedSemaphorePermit;

impl RequestBudget {
    /// A budget of this many bytes.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0), turn: Arc::new(Semaphore::new(1)) })
    }

    /// The share of a new connection: nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), held: 0 }
    }

    /// Whether connections hold as much as they may.
    pub(super) fn is_spent(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.limit
    }

    /// Waits until no other connection has the turn. First come, first served.
    pub(super) async fn turn(&self) -> Turn {
        self.turn.clone().acquire_owned().await.expect("the semaphore of turns is never closed")
    }
}

impl Share {
    /// Says how many bytes of unhandled requests the connection holds now.
    pub(super) fn set(&mut self, held: usize) {
        if held > self.held {
            self.budget.held.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            self.budget.held.fetch_sub(self.held - held, Ordering::Relaxed);
        }
        self.held = held;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_all_its_shares_together_and_given_back_by_each() {
        let budget = RequestBudget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        one.set(6);
        assert!(!budget.is_spent());
        two.set(4);
        assert!(budget.is_spent());
        one.set(0);
        assert!(!budget.is_spent());
        one.set(9);
        drop(two);
        assert!(!budget.is_spent());
        drop(one);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_connection_has_the_turn_at_a_time() {
        let budget = RequestBudget::new(0);
        let permit = budget.turn.clone().try_acquire_owned();
        assert!(permit.is_ok());
        assert!(budget.turn.clone().try_acquire_owned().is_err());
        drop(permit);
        assert!(budget.turn.clone().try_acquire_owned().is_ok());
    }
}
