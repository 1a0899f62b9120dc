//! Tasks: tokio's in the real world, the simulation's own executor's in a simulated one.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// The right to await a task's end. Dropping it lets the task go on, as in tokio.
pub struct JoinHandle<T>(Joining<T>);

enum Joining<T> {
    Real(tokio::task::JoinHandle<T>),
    #[cfg(madsim)]
    Simulated(crate::simulation::JoinHandle<T>),
}

/// Why a task has no result.
#[derive(Debug)]
pub struct JoinError(Cause);

#[derive(Debug)]
enum Cause {
    Real(tokio::task::JoinError),
    /// A panic in a simulated task fails the whole run, so only cancellation is seen by a joiner.
    #[cfg(madsim)]
    Simulated(()),
}

/// Runs a future as a task of the caller's node. Must be called from a task (or inside [`block_on_real`]).
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_boxed(std::any::type_name::<F>(), Box::pin(future))
}

/// What runs a task is compiled once for each result, and not for each of hundreds of futures.
#[track_caller]
#[allow(unused_variables, reason = "only a simulated task has a name")]
fn spawn_boxed<T: Send + 'static>(
    name: &'static str,
    future: Pin<Box<dyn Future<Output = T> + Send>>,
) -> JoinHandle<T> {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return JoinHandle(Joining::Simulated(crate::simulation::spawn(here, name, future)));
    }
    JoinHandle(Joining::Real(tokio::spawn(future)))
}

/// Runs work that blocks its thread: on a pool of threads in the real world, inline in a simulated one.
///
/// # Errors
/// When the work panicked, or the runtime is shutting down.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    #[cfg(madsim)]
    if crate::simulation::here().is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Lets every other task that is ready run before this one goes on.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future to its end in the real world, on a new pool with a thread for each core. For `main`, and for tests of
/// real sockets and files.
///
/// # Panics
/// When called from a simulated task, or when the operating system refuses threads.
pub fn block_on_real<F: Future>(future: F) -> F::Output {
    #[cfg(madsim)]
    assert!(crate::simulation::here().is_none(), "a simulated node has no real runtime");
    block_on_boxed(Box::pin(future))
}

fn block_on_boxed<T>(future: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the operating system gives threads and an event queue").block_on(future)
}

/// How many processors this process may use; one if that cannot be said.
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Waits until the process is asked to end: ctrl-c (SIGINT) or SIGTERM. Never ends in a simulated world.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn termination_requested() -> io::Result<()> {
    #[cfg(madsim)]
    if crate::simulation::here().is_some() {
        return std::future::pending().await;
    }
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    crate::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

impl<T> JoinHandle<T> {
    /// Drops the task's future at its next chance to run; a joiner then sees a cancelled [`JoinError`].
    pub fn abort(&self) {
        either!(&self.0, Joining, task => task.abort(), task => task.abort())
    }

    /// Whether the task has ended, by itself or by [`Self::abort`].
    pub fn is_finished(&self) -> bool {
        either!(&self.0, Joining, task => task.is_finished(), task => task.is_finished())
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        either!(&mut self.0, Joining,
            task => Pin::new(task).poll(context).map_err(|error| JoinError(Cause::Real(error))),
            task => task.poll(context).map(|result| result.ok_or(JoinError(Cause::Simulated(())))))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl JoinError {
    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        either!(&self.0, Cause, error => error.is_panic(), ()=> false)
    }

    /// Whether the task was aborted.
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(&self.0, Cause, error => error.fmt(f), () => f.write_str("task was cancelled"))
    }
}

impl std::error::Error for JoinError {}
