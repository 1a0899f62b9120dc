//! A plain lock with a rank: the order in which one thread may hold several.

use std::{
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
    panic::Location,
    sync::{Mutex, MutexGuard, TryLockError},
};

thread_local! {
    /// The locks that this thread holds, with where each was taken.
    static HELD: RefCell<Vec<(u8, &'static Location<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// A lock for short, synchronous sections. It is never held across an await (its guard is not `Send`), and a thread
/// that holds one may take only locks of a higher rank; builds with debug assertions panic where that is broken, so an
/// order that could deadlock is found without the deadlock.
pub struct Lock<T> {
    rank: u8,
    value: Mutex<T>,
}

/// The right to a [`Lock`]'s value until it is dropped.
pub struct Guard<'a, T> {
    rank: u8,
    value: MutexGuard<'a, T>,
}

impl<T> Lock<T> {
    /// A lock of this rank: a thread takes locks in strictly rising rank.
    pub const fn new(rank: u8, value: T) -> Self {
        Self { rank, value: Mutex::new(value) }
    }

    /// Waits for the lock, blocking the thread.
    ///
    /// # Panics
    /// With debug assertions: when this thread holds a lock of this rank or a higher one. Always: when another thread
    /// panicked while it held the lock, for then the value may be half changed.
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        if cfg!(debug_assertions) {
            check_order(self.rank, Location::caller());
        }
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::WouldBlock) => self.wait(),
            Err(TryLockError::Poisoned(_)) => panic!("the holder of a lock of rank {} panicked", self.rank),
        };
        if cfg!(debug_assertions) {
            HELD.with_borrow_mut(|held| held.push((self.rank, Location::caller())));
        }
        Guard { rank: self.rank, value }
    }

    /// The value itself, when nobody else can hold the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().expect("no holder panicked")
    }

    /// The value, when the lock is no longer needed.
    pub fn into_inner(self) -> T {
        self.value.into_inner().expect("no holder panicked")
    }

    #[track_caller]
    fn wait(&self) -> MutexGuard<'_, T> {
        #[cfg(madsim)]
        assert!(
            crate::simulation::here().is_none(),
            "a lock of rank {} is held across an await or taken twice: one thread runs all tasks",
            self.rank
        );
        self.value.lock().expect("no holder panicked")
    }
}

#[track_caller]
fn check_order(rank: u8, wanted_at: &Location<'_>) {
    let highest = HELD.with_borrow(|held| held.iter().max_by_key(|(held, _)| *held).copied());
    if let Some((held, taken_at)) = highest {
        assert!(
            held < rank,
            "a lock of rank {rank} is wanted at {wanted_at} while one of rank {held} is held since {taken_at}"
        );
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            // The thread-local may be gone while a thread ends; then nobody asks for the order any more.
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                if let Some(last) = held.iter().rposition(|(rank, _)| *rank == self.rank) {
                    held.remove(last);
                }
            });
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("rank", &self.rank).field("value", &self.value).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_rising_rank() {
        let (low, high) = (Lock::new(1, 'a'), Lock::new(2, 'b'));
        let first = low.lock();
        let second = high.lock();
        drop(first);
        drop(second);
        let again = high.lock();
        assert_eq!(*again, 'b');
    }

    #[test]
    #[should_panic(expected = "a lock of rank 1 is wanted at")]
    fn a_falling_rank_panics_instead_of_deadlocking_one_day() {
        let (low, high) = (Lock::new(1, ()), Lock::new(2, ()));
        let _high = high.lock();
        let _low = low.lock();
    }

    #[test]
    #[should_panic(expected = "while one of rank 1 is held since")]
    fn two_locks_of_one_rank_are_never_held_at_once() {
        let (one, other) = (Lock::new(1, ()), Lock::new(1, ()));
        let _one = one.lock();
        let _other = other.lock();
    }
}
