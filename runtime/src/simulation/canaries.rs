//! Leaks of the machine into the world, let in one at a time and on purpose: what the check for determinism must notice.
//!
//! Some of what would differ from run to run is answered by the world itself (madsim stands under the C library's time,
//! entropy and threads, and each run has a process of its own): those are *contained*, and the hashes must stay equal.

use crate::{
    observe::{self, Digest, Event},
    simulation::{now_ns, sleep_until_ns},
    task,
};
use std::{
    collections::hash_map::RandomState,
    future::{Future, ready},
    hash::BuildHasher,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

type Leak = Pin<Box<dyn Future<Output = u64> + Send>>;

/// A leak.
pub struct Canary {
    /// As the command line names it.
    pub name: &'static str,
    /// What leaks.
    pub about: &'static str,
    /// The world answers it: two runs must be equal in spite of it.
    pub contained: bool,
    leak: fn() -> Leak,
}

/// How often a leak is let in, and how far apart.
const TIMES: u64 = 20;
const APART_NS: u64 = 50_000_000;

/// Every leak.
pub const ALL: &[Canary] = &[
    Canary {
        name: "raw-clock",
        about: "the machine's clock, asked of the kernel",
        contained: false,
        leak: || value(|| rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_nsec as u64),
    },
    Canary {
        name: "raw-entropy",
        about: "the machine's entropy, asked of the kernel",
        contained: false,
        leak: || {
            value(|| {
                let mut bytes = [0u8; 8];
                let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
                u64::from_le_bytes(bytes)
            })
        },
    },
    Canary {
        name: "pointer-order",
        about: "where something lies in memory",
        contained: false,
        leak: || value(|| &raw const *Box::new(7u64) as u64 >> 12),
    },
    Canary {
        name: "environment",
        about: "a variable of the environment",
        contained: false,
        leak: || value(|| std::env::vars().count() as u64),
    },
    Canary {
        name: "working-directory",
        about: "the directory that the process runs in",
        contained: false,
        leak: || value(|| std::env::current_dir().map_or(0, |path| path.as_os_str().len() as u64)),
    },
    Canary {
        name: "process-id",
        about: "the number of the process",
        contained: false,
        leak: || value(|| u64::from(std::process::id())),
    },
    Canary { name: "thread", about: "a thread of its own", contained: false, leak: || value(of_a_thread) },
    Canary {
        name: "instant",
        about: "the C library's clock",
        contained: true,
        #[allow(clippy::disallowed_methods, clippy::disallowed_types)]
        leak: || value(|| std::time::SystemTime::now().elapsed().map_or(0, |since| since.as_nanos() as u64)),
    },
    Canary {
        name: "hash-order",
        about: "the keys of a hash map's hasher",
        contained: true,
        leak: || value(|| RandomState::new().hash_one(7)),
    },
    Canary {
        name: "static-counter",
        about: "a static that outlives a run",
        contained: true,
        leak: || {
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            value(|| COUNTER.fetch_add(1, Ordering::Relaxed))
        },
    },
    Canary {
        name: "unbiased-select",
        about: "which of two ready branches tokio takes",
        contained: true,
        leak: || Box::pin(of_select()),
    },
    Canary {
        name: "watch",
        about: "in which order tokio's watch wakes those who wait",
        contained: true,
        leak: || Box::pin(of_watch()),
    },
    Canary {
        name: "float-formatting",
        about: "how a number is written",
        contained: true,
        leak: || value(|| format!("{:.3}", now_ns() as f64 / 7e9).bytes().map(u64::from).sum()),
    },
];

fn value(of: fn() -> u64) -> Leak {
    Box::pin(async move { of() })
}

#[allow(clippy::disallowed_methods)]
fn of_a_thread() -> u64 {
    std::thread::spawn(|| 7).join().unwrap_or(0)
}

#[allow(clippy::disallowed_macros)]
async fn of_select() -> u64 {
    let mut bits = 0;
    for _ in 0..32 {
        bits = bits << 1
            | tokio::select! {
                () = ready(()) => 0,
                () = ready(()) => 1,
            };
    }
    bits
}

#[allow(clippy::disallowed_methods)]
async fn of_watch() -> u64 {
    let (sender, _) = tokio::sync::watch::channel(0);
    let order = Arc::new(Mutex::new(Digest::new()));
    let waiting: Vec<_> = (0..16u64)
        .map(|number| {
            let (mut receiver, order) = (sender.subscribe(), order.clone());
            task::spawn(async move {
                if receiver.changed().await.is_ok()
                    && let Ok(mut order) = order.lock()
                {
                    order.u64(number);
                }
            })
        })
        .collect();
    sleep_until_ns(now_ns() + APART_NS).await;
    sender.send_replace(1);
    for task in waiting {
        let _ = task.await;
    }
    order.lock().map_or(0, |order| order.value() as u64)
}

/// What leaked.
#[derive(Clone, Copy, Debug)]
struct Leaked {
    canary: &'static str,
    value: u64,
}

impl Event for Leaked {
    fn kind(&self) -> &'static str {
        "leaked"
    }

    fn digest(&self, into: &mut Digest) {
        into.str(self.canary);
        into.u64(self.value);
    }
}

/// The leak with this name.
pub fn find(name: &str) -> Option<&'static Canary> {
    ALL.iter().find(|canary| canary.name == name)
}

/// Lets a leak into this run from now on.
pub fn plant(canary: &'static Canary) {
    drop(task::spawn(async move {
        for _ in 0..TIMES {
            sleep_until_ns(now_ns() + APART_NS).await;
            let value = (canary.leak)().await;
            observe::emit(|| Leaked { canary: canary.name, value });
        }
    }));
}
