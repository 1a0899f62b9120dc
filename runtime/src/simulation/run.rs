//! One run of a scenario: a fresh thread, a world, a watchdog, and what came out.

use super::{
    HARNESS, Here,
    chance::set_mutant,
    executor::{Role, TaskFuture},
    nodes,
    world::{Pulse, World, enter, here, set_world, try_world},
};
use std::{
    any::{Any, type_name},
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    future::Future,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

/// How a run is done. None of it but `buggify` and `mutant` changes what happens in it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keeps the text of the events with these numbers, from zero: to find where two runs first differ.
    pub keep_lines: Option<Range<u64>>,
    /// Lets `buggify!` sites fire.
    pub buggify: bool,
    /// The id of the mutant that is switched on.
    pub mutant: Option<String>,
    /// Tells the world's subscribers of network events, too.
    pub observe_network: bool,
    /// How long, in real time, the run may stand still before it is given up as stuck.
    pub patience: Duration,
    /// How long, in virtual time, the run may take.
    pub time_limit: Option<Duration>,
}

impl Default for Options {
    /// No lines, no rare choices, no mutant; a minute of patience, a day of virtual time.
    fn default() -> Self {
        Self {
            keep_lines: None,
            buggify: false,
            mutant: None,
            observe_network: false,
            patience: Duration::from_secs(60),
            time_limit: Some(Duration::from_secs(86_400)),
        }
    }
}

/// What came out of a run.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The run's seed.
    pub seed: u64,
    /// The hash of the whole trace.
    pub hash: u128,
    /// The hash after each 1,024 events.
    pub checkpoints: Vec<u128>,
    /// How many events the trace has.
    pub events: u64,
    /// The text of those events that were asked for.
    pub lines: Vec<String>,
    /// Virtual nanoseconds that passed.
    pub virtual_ns: u64,
    /// What the executor did: polls, timers, deliveries.
    pub steps: u64,
    /// What the scenario returned, or why it did not.
    pub result: Result<T, Failure>,
    /// How often each `sometimes!`, `reachable!` and taken `buggify!` was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// How often each mutant took another branch.
    pub diverged: BTreeMap<&'static str, u64>,
    /// How many faults of each kind were done.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Why a run has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Code in the world panicked.
    Panicked {
        /// The node whose code it was.
        node: String,
        /// What it said.
        message: String,
        /// Where, as the compiler names the place.
        location: String,
        /// When, in virtual nanoseconds.
        at: u64,
    },
    /// Nothing will ever happen again, and the scenario waits.
    Deadlocked {
        /// When, in virtual nanoseconds.
        at: u64,
        /// Who waits: node and task.
        waiting: Vec<String>,
    },
    /// The run took more virtual time than it may.
    TimeLimit,
    /// No progress in real time: an endless loop, or a lock that its own thread holds. The thread cannot be stopped:
    /// whoever sees this reports it and ends the process.
    Stuck {
        /// The node whose code was running, by number.
        node: u64,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { node, message, location, at } => {
                write!(f, "{node} panicked at {location}, {:.3} s into the run: {message}", *at as f64 / 1e9)
            }
            Self::Deadlocked { at, waiting } => {
                write!(f, "nothing will ever happen after {:.3} s: {}", *at as f64 / 1e9, waiting.join(", "))
            }
            Self::TimeLimit => f.write_str("the run took more virtual time than it may"),
            Self::Stuck { node } => write!(f, "no progress: an endless loop or a lock taken twice in node {node}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs a scenario from a seed to its end, on a thread of its own (some third-party state is per thread), watched from
/// this one. The same seed, options, scenario and build give the same outcome, hash included.
///
/// After a run that succeeded the world's futures are dropped, while their nodes are dead; after one that failed they
/// are leaked, for they may be in any state.
pub fn run<T, F>(seed: u64, options: Options, scenario: impl FnOnce() -> F + Send + 'static) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let begin: Begin = Box::new(move || {
        let scenario = scenario();
        Box::pin(async move { Box::new(scenario.await) as Value })
    });
    run_erased(seed, options, type_name::<F>(), begin)
        .map(|value| *value.downcast().expect("it is what the scenario returned"))
}

/// What a scenario returns, and how it begins, with their types forgotten: runs are compiled once, not for each scenario.
type Value = Box<dyn Any + Send>;
type Scenario = Pin<Box<dyn Future<Output = Value>>>;
type Begin = Box<dyn FnOnce() -> Scenario + Send>;

impl Outcome<Value> {
    fn map<T>(self, of: impl FnOnce(Value) -> T) -> Outcome<T> {
        let Self { seed, hash, checkpoints, events, lines, virtual_ns, steps, result, reached, diverged, faults } =
            self;
        let result = result.map(of);
        Outcome { seed, hash, checkpoints, events, lines, virtual_ns, steps, result, reached, diverged, faults }
    }
}

fn run_erased(seed: u64, options: Options, name: &'static str, begin: Begin) -> Outcome<Value> {
    install_panic_hook();
    // The process's own clock begins in the real world, not in the first run that happens to ask for it.
    let _ = crate::time::now();
    let pulse = Arc::new(Pulse::default());
    let (send, receive) = mpsc::channel();
    let patience = options.patience;
    let watched = pulse.clone();
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).stack_size(16 << 20);
    let thread = thread.spawn(move || {
        // The receiver is gone only when the run was given up as stuck.
        let _ = send.send(run_here(seed, options, watched, name, begin));
    });
    let thread = thread.expect("the operating system gives a thread");
    let mut seen = u64::MAX;
    loop {
        match receive.recv_timeout(patience) {
            Ok(outcome) => {
                let _ = thread.join();
                return outcome;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let panic = thread.join().expect_err("it sent nothing, so it panicked");
                let location = "outside the scenario".to_owned();
                let node = "simulation".to_owned();
                return failed(seed, Failure::Panicked { node, message: text_of(&*panic), location, at: 0 });
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let steps = pulse.steps.load(Ordering::Relaxed);
                if steps == seen {
                    return failed(seed, Failure::Stuck { node: pulse.node.load(Ordering::Relaxed) });
                }
                seen = steps;
            }
        }
    }
}

fn failed(seed: u64, failure: Failure) -> Outcome<Value> {
    let (reached, diverged, faults) = Default::default();
    let (hash, checkpoints, events, lines, virtual_ns, steps) = Default::default();
    let result = Err(failure);
    Outcome { seed, hash, checkpoints, events, lines, virtual_ns, steps, result, reached, diverged, faults }
}

fn run_here(seed: u64, options: Options, pulse: Arc<Pulse>, name: &'static str, begin: Begin) -> Outcome<Value> {
    // madsim's executor runs one task that never waits: ours. What it is here for is its context, in which the C
    // library's clock, entropy and threads are the seed's.
    let executor = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    executor.block_on(async move { in_context(seed, &options, pulse, name, begin) })
}

fn in_context(seed: u64, options: &Options, pulse: Arc<Pulse>, name: &'static str, begin: Begin) -> Outcome<Value> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let the_world = Rc::new(World::new(seed, RUNS.fetch_add(1, Ordering::Relaxed), options, pulse));
    set_mutant(options.mutant.as_deref());
    set_world(Some(the_world.clone()));
    nodes::add_harness(&the_world);
    let slot = Rc::new(RefCell::new(None));
    let result = drive(&the_world, name, {
        let slot = slot.clone();
        let entered = enter(Here { node: HARNESS, life: 0 });
        let scenario = catch_unwind(AssertUnwindSafe(begin)).map_err(|panic| panicked(&the_world, &*panic));
        drop(entered);
        scenario.map(|scenario| -> TaskFuture {
            Box::pin(async move {
                let result = scenario.await;
                *slot.borrow_mut() = Some(result);
            })
        })
    });
    let result = result.map(|()| slot.borrow_mut().take().expect("the scenario has ended"));
    the_world.ended.set(true);
    end(&the_world, result.is_ok());
    set_world(None);
    set_mutant(None);
    let (trace, counts) = (the_world.trace.borrow(), the_world.counts.take());
    Outcome {
        seed,
        hash: trace.hash(),
        checkpoints: trace.checkpoints.clone(),
        events: trace.events,
        lines: trace.lines.clone(),
        virtual_ns: the_world.now.get(),
        steps: the_world.pulse.steps.load(Ordering::Relaxed),
        result,
        reached: counts.reached,
        diverged: counts.diverged,
        faults: counts.faults,
    }
}

/// Runs the world until the scenario has ended.
fn drive(world: &World, name: &'static str, scenario: Result<TaskFuture, Failure>) -> Result<(), Failure> {
    let _ = nodes::start_in(world, Here { node: HARNESS, life: 0 }, Role::Scenario, name, scenario?);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        loop {
            if !world.step() {
                return Err(deadlocked(world));
            }
            if world.executor.borrow().scenario_done {
                return Ok(());
            }
            if world.now.get() > world.time_limit {
                return Err(Failure::TimeLimit);
            }
        }
    }));
    ran.unwrap_or_else(|panic| Err(panicked(world, &*panic)))
}

fn deadlocked(world: &World) -> Failure {
    let nodes = world.nodes.borrow();
    let waiting = world.executor.borrow().waiting();
    let waiting = waiting.into_iter().map(|(here, task)| format!("{} in {task}", nodes[here.node.0 as usize].name));
    Failure::Deadlocked { at: world.now.get(), waiting: waiting.collect() }
}

/// Drops what is left, or leaks it after a failure. The nodes are dead by then, so their destructors reach nothing.
fn end(world: &World, drop_all: bool) {
    world.nodes.borrow_mut().iter_mut().for_each(|node| node.running = false);
    let left = world.executor.borrow_mut().take_all();
    let subscribers = std::mem::take(&mut *world.subscribers.borrow_mut());
    for (here, future) in left {
        if drop_all {
            let _entered = enter(here);
            // A destructor that panics on a dead node's errors has nothing left to tell.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
        } else {
            std::mem::forget(future);
        }
    }
    drop(subscribers);
}

// ---------------------------------------------------------------- panics

thread_local! {
    /// Where the last panic of this thread's world was, and in whose code.
    static LAST_PANIC: RefCell<Option<(Option<Here>, String)>> = const { RefCell::new(None) };
}

/// A panic inside a world is part of its outcome and is not printed, unless a backtrace was asked for.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        let print = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
        std::panic::set_hook(Box::new(move |info| {
            let in_world = try_world(|_| ()).is_some();
            if in_world {
                let location = info.location().map(ToString::to_string).unwrap_or_default();
                LAST_PANIC.set(Some((here(), location)));
            }
            if !in_world || print {
                before(info);
            }
        }));
    });
}

fn panicked(world: &World, panic: &(dyn Any + Send)) -> Failure {
    let (whose, location) = LAST_PANIC.take().unwrap_or_default();
    let nodes = world.nodes.borrow();
    let node =
        whose.and_then(|here| nodes.get(here.node.0 as usize)).map_or("simulation", |node| &node.name).to_owned();
    Failure::Panicked { node, message: text_of(panic), location, at: world.now.get() }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without text".into())
}
