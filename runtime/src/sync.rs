//! Channels, locks and the request to stop, the same in both worlds.
//!
//! tokio's own primitives are re-exported where they wake waiters in a fixed order. Its `watch` and `Barrier` do not
//! (they pick from a process-wide random source): [`watch`] here is ours.

mod lock;
mod shutdown;
pub mod watch;

pub use lock::{Guard, Lock};
pub use shutdown::{Shutdown, ShutdownTrigger, shutdown};
pub use tokio::sync::{
    AcquireError, Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify, OnceCell,
    OwnedMutexGuard as OwnedAsyncMutexGuard, OwnedSemaphorePermit, RwLock as AsyncRwLock, Semaphore, SemaphorePermit,
    TryAcquireError, broadcast, mpsc, oneshot,
};
