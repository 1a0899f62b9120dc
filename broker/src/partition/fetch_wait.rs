//! How a fetch waits on many partitions at once: one bell that each of them can ring.
//!
//! It never looks at a log: whoever is woken reads again. Made by the handler of Fetch, rung by [`crate::partition`].

use runtime::{sync::Notify, time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a follower's fetch that has only a newer high watermark to tell waits for records to send along. While records
/// come more often than this, followers are told with them, and fetch no more often than without; on an idle partition
/// each follower is told once.
const HIGH_WATERMARK_PATIENCE: Duration = Duration::from_millis(10);

/// There may be more to read.
const READY: u8 = 1;
/// There is a high watermark that the sender does not know.
const STALE: u8 = 2;
/// Nobody waits any more.
const OVER: u8 = 4;

struct Bell {
    state: AtomicU8,
    rung: Notify,
}

/// A fetch that waits. Dropping it takes it back from every partition.
pub struct FetchWait(Arc<Bell>);

/// A partition's end of a [`FetchWait`].
#[derive(Clone)]
pub struct Ringer(Arc<Bell>);

impl FetchWait {
    /// A wait that nothing has ended yet.
    #[expect(clippy::new_without_default, reason = "a wait is not a value that something defaults to")]
    pub fn new() -> Self {
        Self(Arc::new(Bell { state: AtomicU8::new(0), rung: Notify::new() }))
    }

    /// Waits until a partition has more to read, or a high watermark that has gone untold long enough. The caller reads
    /// again, and waits anew (with a new wait) if that is not enough.
    pub async fn ready(&self) {
        loop {
            match self.0.state.load(Ordering::Acquire) {
                0 => self.0.rung.notified().await,
                STALE => {
                    if time::timeout(HIGH_WATERMARK_PATIENCE, self.0.rung.notified()).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// What a partition needs in order to end the wait.
    pub fn ringer(&self) -> Ringer {
        Ringer(self.0.clone())
    }
}

impl Drop for FetchWait {
    fn drop(&mut self) {
        self.0.state.fetch_or(OVER, Ordering::Release);
    }
}

impl Ringer {
    /// There may be more to read.
    pub fn ring(&self) {
        self.add(READY);
    }

    /// There is a high watermark that the sender does not know.
    pub fn tell_high_watermark(&self) {
        self.add(STALE);
    }

    /// Whether nobody waits any more.
    pub fn is_over(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & OVER != 0
    }

    fn add(&self, sign: u8) {
        let before = self.0.state.fetch_or(sign, Ordering::AcqRel);
        if before & sign == 0 {
            self.0.rung.notify_one();
        }
    }
}
