//! A value that many may watch: only the newest is kept, and waiters wake first come, first served.
//!
//! As tokio's `watch`, which may not be used because it wakes waiters in an order drawn from a process-wide random
//! source. Used in both worlds, and by openraft.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    task::{Context, Poll, Waker},
};

/// Sends values; the channel is closed to receivers when the last sender is gone.
pub struct Sender<T>(Arc<Shared<T>>);

/// Watches the value, and remembers which change it has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A borrowed value. Short-lived: while it lives, nobody can send.
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

struct Shared<T> {
    value: RwLock<T>,
    state: Mutex<State>,
}

struct State {
    version: u64,
    senders: usize,
    receivers: usize,
    /// Who waits for a change, in the order of asking.
    waiting: BTreeMap<u64, Waker>,
    next_waiting: u64,
}

/// A channel whose first value is already seen by the first receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State { version: 0, senders: 1, receivers: 1, waiting: BTreeMap::new(), next_waiting: 0 };
    let shared = Arc::new(Shared { value: RwLock::new(value), state: Mutex::new(state) });
    (Sender(shared.clone()), Receiver { shared, seen: 0 })
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing under this lock panics")
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().expect("no sender panicked while it changed the value")
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        #[cfg(madsim)]
        if crate::simulation::here().is_some() {
            return self.value.try_write().expect("one thread runs all tasks: a borrowed value is sent over");
        }
        self.value.write().expect("no sender panicked while it changed the value")
    }

    /// Changes the state under the lock, and wakes everybody after it if the change says so.
    fn wake_after(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state();
        let waiting = if change(&mut state) { std::mem::take(&mut state.waiting) } else { BTreeMap::new() };
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    fn changed(&self) {
        self.wake_after(|state| {
            state.version += 1;
            true
        });
    }
}

impl<T> Sender<T> {
    /// Replaces the value and wakes the receivers.
    ///
    /// # Errors
    /// Gives the value back when no receiver is left.
    pub fn send(&self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.send_replace(value);
        Ok(())
    }

    /// Replaces the value, also when nobody watches yet, and returns the one before.
    pub fn send_replace(&self, value: T) -> T {
        let before = std::mem::replace(&mut *self.0.write(), value);
        self.0.changed();
        before
    }

    /// Changes the value in place and wakes the receivers.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        modify(&mut self.0.write());
        self.0.changed();
    }

    /// Changes the value in place, and wakes the receivers if `modify` says that it did. Returns what `modify` said.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.0.write());
        if modified {
            self.0.changed();
        }
        modified
    }

    /// The newest value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// Another receiver, which has seen the newest value.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = self.0.state();
        state.receivers += 1;
        Receiver { shared: self.0.clone(), seen: state.version }
    }

    /// Whether no receiver is left.
    pub fn is_closed(&self) -> bool {
        self.0.state().receivers == 0
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.0.state().receivers
    }
}

impl<T> Receiver<T> {
    /// Waits for a change that this receiver has not seen, and marks it seen.
    ///
    /// # Errors
    /// When there is none and every sender is gone.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        Changed { receiver: self, place: None }.await
    }

    /// Waits until the value satisfies a condition, marks it seen, and borrows it.
    ///
    /// # Errors
    /// When it does not and every sender is gone.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            if condition(&self.borrow_and_update()) {
                break;
            }
            self.changed().await?;
        }
        Ok(self.borrow())
    }

    /// The newest value, whether seen or not.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The newest value, marked seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.state().version;
        Ref(self.shared.read())
    }

    /// Whether there is a change that this receiver has not seen.
    pub fn has_changed(&self) -> bool {
        self.shared.state().version != self.seen
    }

    /// Makes the next [`Self::changed`] return at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// Whether every sender is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.state().senders == 0
    }
}

/// The future of [`Receiver::changed`]. One that is dropped unfinished leaves the queue: who waits for a change that
/// seldom comes, again and again, must not pile up wakers.
struct Changed<'a, T> {
    receiver: &'a mut Receiver<T>,
    place: Option<u64>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.receiver.shared.state();
        if state.version != this.receiver.seen {
            this.receiver.seen = state.version;
            return Poll::Ready(Ok(()));
        }
        if state.senders == 0 {
            return Poll::Ready(Err(Closed));
        }
        let place = *this.place.get_or_insert_with(|| {
            state.next_waiting += 1;
            state.next_waiting
        });
        if state.waiting.get(&place).is_none_or(|waker| !waker.will_wake(context.waker())) {
            let replaced = state.waiting.insert(place, context.waker().clone());
            drop(state);
            drop(replaced);
        }
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.receiver.shared.state().waiting.remove(&place);
            drop(waker);
        }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.wake_after(|state| {
            state.senders -= 1;
            state.senders == 0
        });
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.state().receivers += 1;
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.state().receivers -= 1;
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0.value).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared.value).finish()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other side of the channel is gone")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{pin::pin, task::Wake};

    /// Writes down that it was woken.
    struct Sleeper(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn waiters_are_woken_first_come_first_served() {
        let (sender, receiver) = channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut receivers: Vec<_> = (0..20).map(|_| receiver.clone()).collect();
        let mut waiting: Vec<_> = receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
        for (number, changed) in (0..).zip(&mut waiting) {
            let waker = Waker::from(Arc::new(Sleeper(number, woken.clone())));
            assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sender.send_replace(1);
        assert_eq!(*woken.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_behind() {
        let (sender, mut receiver) = channel(0);
        let waker = Waker::noop();
        for _ in 0..3 {
            let mut changed = pin!(receiver.changed());
            let context = &mut Context::from_waker(waker);
            assert!(changed.as_mut().poll(context).is_pending());
            assert!(changed.as_mut().poll(context).is_pending());
            assert_eq!(sender.0.state().waiting.len(), 1);
        }
        assert_eq!(sender.0.state().waiting.len(), 0);
    }
}
