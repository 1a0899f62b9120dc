//! openraft's view of this crate: one concrete runtime for both worlds.
//!
//! By the orphan rule openraft's traits are implemented where the types are, so this file names `openraft-rt` (traits
//! only); openraft itself is the controller's alone.

use crate::{
    rand,
    sync::watch::{self, Receiver, Ref, Sender},
    task, time,
};
use openraft_rt::{AsyncRuntime, OptionalSend, OptionalSync, RecvError, WatchReceiver, WatchSender, watch::SendError};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot};
use std::{future::Future, io, time::Duration};

/// The runtime that openraft is instantiated with.
#[derive(Debug)]
pub struct RaftRuntime;

/// Our [`watch`] channel, as openraft names it.
#[derive(Debug)]
pub struct Watch;

impl openraft_rt::Instant for time::Instant {
    fn now() -> Self {
        time::now()
    }
}

impl AsyncRuntime for RaftRuntime {
    type JoinError = task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = task::JoinHandle<T>;
    type Sleep = time::Sleep;
    type Instant = time::Instant;
    type TimeoutError = time::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = time::Timeout<T>;
    type ThreadLocalRng = rand::Rng;
    type Mpsc = TokioMpsc;
    type Watch = Watch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        task::spawn(future)
    }

    fn sleep(duration: Duration) -> time::Sleep {
        time::sleep(duration)
    }

    fn sleep_until(deadline: time::Instant) -> time::Sleep {
        time::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> time::Timeout<F> {
        time::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: time::Instant, future: F) -> time::Timeout<F> {
        time::timeout_at(deadline, future)
    }

    fn is_panic(error: &task::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> rand::Rng {
        rand::Rng
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        task::block_on_real(future)
    }

    // openraft's default starts a thread of the operating system, which a simulation forbids.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = io::Result<T>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        task::blocking(work)
    }
}

impl openraft_rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(value: T) -> (Sender<T>, Receiver<T>) {
        watch::channel(value)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        Sender::send(self, value).map_err(SendError)
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        Sender::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Sender::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<Watch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Receiver::changed(self).await.map_err(|_| RecvError(()))
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        Receiver::borrow_and_update(self)
    }
}
