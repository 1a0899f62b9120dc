//! The executor: one thread, one queue ordered by virtual time.
//!
//! Waking a task does not run it; it enters the queue at the present plus a latency, as on a machine whose cores are
//! busy, and the latency is keyed by the task and the ordinal of its wake-up. A task's key comes from its parent's key,
//! its type's name and how many of that type the parent started. So the interleaving is a function of what the tasks do
//! to each other: a task more, or a draw more, somewhere moves nothing that it does not touch. Polling itself takes no
//! virtual time.

use super::{
    Here,
    chance::prf,
    nodes::{self, MayRun},
    world::{Current, World, enter, try_world, world},
};
use crate::observe::name_hash;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
};

/// A place in the table of tasks; the generation tells a task from the one that had the place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId {
    index: u32,
    generation: u32,
}

/// What happens at a virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// A task is polled.
    Poll(TaskId),
    /// Something arrives at an end of a connection.
    Deliver { connection: u64, end: u8 },
    /// A connection is ready to be accepted.
    Establish { connection: u64 },
    /// The kernel gives up sending again from an end of a connection.
    GiveUp { connection: u64, end: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    /// Orders what happens at one nanosecond by who it concerns, not by who was first to say so.
    key: u64,
    sequence: u64,
    action: Action,
}

/// Why a task exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Spawned by another task.
    Plain,
    /// A node's program: the node's process ends with it.
    Program,
    /// The scenario: the run ends with it.
    Scenario,
}

pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    here: Here,
    role: Role,
    name: &'static str,
    key: u64,
    wakes: u64,
    draws: u64,
    scheduled: bool,
    cancelled: bool,
    /// Absent while the task is being polled.
    body: Option<(TaskFuture, Waker)>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    task: Option<Task>,
}

#[derive(Default)]
pub(super) struct Executor {
    slots: Vec<Slot>,
    free: Vec<u32>,
    queue: BinaryHeap<Reverse<Event>>,
    timers: BTreeMap<(u64, u64), Waker>,
    sequence: u64,
    /// Futures of dead lives: kept so that no destructor of theirs runs while the run lasts.
    graveyard: Vec<(Here, TaskFuture)>,
    pub(super) scenario_done: bool,
}

impl Executor {
    fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.task.as_mut() } else { None }
    }

    fn insert(&mut self, task: Task) -> TaskId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer tasks than memory holds")
        });
        let slot = &mut self.slots[index as usize];
        slot.task = Some(task);
        TaskId { index, generation: slot.generation }
    }

    fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.task(id)?;
        let slot = &mut self.slots[id.index as usize];
        slot.generation += 1;
        self.free.push(id.index);
        slot.task.take()
    }

    pub(super) fn push(&mut self, at: u64, key: u64, action: Action) {
        self.sequence += 1;
        self.queue.push(Reverse(Event { at, key, sequence: self.sequence, action }));
    }

    pub(super) fn arm(&mut self, at: u64, waker: Waker) -> u64 {
        self.sequence += 1;
        self.timers.insert((at, self.sequence), waker);
        self.sequence
    }

    pub(super) fn disarm(&mut self, at: u64, id: u64) -> Option<Waker> {
        self.timers.remove(&(at, id))
    }

    /// Names of the tasks that wait, with their nodes.
    pub(super) fn waiting(&self) -> Vec<(Here, &'static str)> {
        self.slots.iter().filter_map(|slot| slot.task.as_ref().map(|task| (task.here, task.name))).collect()
    }

    /// Takes out every future, dead or alive, for the end of the run.
    pub(super) fn take_all(&mut self) -> Vec<(Here, TaskFuture)> {
        let tasks = self.slots.iter_mut().filter_map(|slot| {
            slot.generation += 1;
            slot.task.take()
        });
        let mut all: Vec<_> = tasks.filter_map(|task| task.body.map(|(future, _)| (task.here, future))).collect();
        all.append(&mut self.graveyard);
        (self.queue, self.free) = (BinaryHeap::new(), Vec::new());
        all
    }

    /// Takes the tasks of one life out of the table.
    pub(super) fn take_life(&mut self, here: Here) -> Vec<(Here, TaskFuture)> {
        let ids =
            self.slots.iter().enumerate().filter(|(_, slot)| slot.task.as_ref().is_some_and(|task| task.here == here));
        let ids: Vec<TaskId> =
            ids.map(|(index, slot)| TaskId { index: index as u32, generation: slot.generation }).collect();
        let tasks = ids.into_iter().filter_map(|id| self.remove(id));
        tasks.filter_map(|task| task.body.map(|(future, _)| (task.here, future))).collect()
    }

    /// Keeps the futures of a life that was crashed.
    pub(super) fn bury_life(&mut self, here: Here) {
        let mut dead = self.take_life(here);
        self.graveyard.append(&mut dead);
    }
}

// ---------------------------------------------------------------- waking

struct TaskWaker {
    run: u64,
    id: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        try_world(|world| {
            if world.number == self.run {
                world.schedule(self.id);
            }
        });
    }
}

/// How long a task that is ready waits for a core: usually some microseconds, now and then much longer.
fn latency(draw: u64) -> u64 {
    let usual = 500 + (draw & 0x1fff);
    if (draw >> 32).is_multiple_of(64) { usual + (draw >> 40) % 200_000 } else { usual }
}

impl World {
    /// Puts a task into the queue, unless it is there.
    pub(super) fn schedule(&self, id: TaskId) {
        const WAKE: u64 = name_hash("executor.wake");
        let mut executor = self.executor.borrow_mut();
        let Some(task) = executor.task(id) else { return };
        if task.scheduled {
            return;
        }
        task.scheduled = true;
        task.wakes += 1;
        let (key, here) = (task.key, task.here);
        let latency = latency(prf(self.seed, &[WAKE, key, task.wakes])) * nodes::slowness(self, here.node);
        executor.push(self.now.get() + latency, key, Action::Poll(id));
    }

    /// Puts a task back whose node was stalled or paused when its turn came.
    pub(super) fn schedule_again(&self, id: TaskId, at: u64) {
        let mut executor = self.executor.borrow_mut();
        let Some(task) = executor.task(id) else { return };
        debug_assert!(task.scheduled, "only a task whose turn came is put back");
        let key = task.key;
        executor.push(at + latency(prf(key, &[at])), key, Action::Poll(id));
    }

    /// Starts a task. `key` is unique among all tasks of the run.
    pub(super) fn start_task(
        &self,
        here: Here,
        role: Role,
        key: u64,
        name: &'static str,
        future: TaskFuture,
    ) -> TaskId {
        let mut executor = self.executor.borrow_mut();
        let (wakes, draws, scheduled, cancelled) = (0, 0, false, false);
        let id = executor.insert(Task { here, role, name, key, wakes, draws, scheduled, cancelled, body: None });
        let waker = Waker::from(Arc::new(TaskWaker { run: self.number, id }));
        executor.task(id).expect("inserted above").body = Some((future, waker));
        drop(executor);
        self.schedule(id);
        id
    }

    // ------------------------------------------------------------ running

    /// Does the next thing that happens. False when nothing ever will.
    pub(super) fn step(&self) -> bool {
        let mut executor = self.executor.borrow_mut();
        let timer = executor.timers.first_key_value().map(|((at, _), _)| *at);
        let queued = executor.queue.peek().map(|event| event.0.at);
        match (timer, queued) {
            (None, None) => return false,
            (Some(at), queued) if queued.is_none_or(|queued| at <= queued) => {
                let (_, waker) = executor.timers.pop_first().expect("peeked above");
                drop(executor);
                self.now.set(at.max(self.now.get()));
                waker.wake();
            }
            _ => {
                let Reverse(event) = executor.queue.pop().expect("peeked above");
                drop(executor);
                self.now.set(event.at.max(self.now.get()));
                match event.action {
                    Action::Poll(id) => self.poll(id),
                    Action::Deliver { connection, end } => self.deliver(connection, usize::from(end)),
                    Action::Establish { connection } => self.establish(connection),
                    Action::GiveUp { connection, end } => self.give_up(connection, usize::from(end)),
                }
            }
        }
        self.pulse.steps.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn poll(&self, id: TaskId) {
        let Some(here) = self.executor.borrow_mut().task(id).map(|task| task.here) else { return };
        match nodes::may_run(self, here, id) {
            MayRun::Now => {}
            MayRun::At(time) => return self.schedule_again(id, time),
            MayRun::WhenResumed => return,
            MayRun::Never => return self.bury(id),
        }
        let mut executor = self.executor.borrow_mut();
        let task = executor.task(id).expect("still there: nothing ran since");
        task.scheduled = false;
        let (future, waker) = task.body.take().expect("a task is not polled inside its own poll");
        let (role, cancelled) = (task.role, task.cancelled);
        self.current.set(Current { task: task.key, draws: task.draws });
        drop(executor);
        self.pulse.node.store(u64::from(here.node.0), Ordering::Relaxed);
        self.follow_system_clock();

        let entered = enter(here);
        // Should it panic it is leaked: a destructor that panics, too, would end the process without a report.
        let mut future = ManuallyDrop::new(future);
        let done = cancelled || future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let future = ManuallyDrop::into_inner(future);
        if !done {
            drop(entered);
            let mut executor = self.executor.borrow_mut();
            match executor.task(id) {
                Some(task) => {
                    task.draws = self.current.get().draws;
                    task.body = Some((future, waker));
                }
                // Its node crashed inside this poll.
                None => executor.graveyard.push((here, future)),
            }
            return;
        }
        let mut executor = self.executor.borrow_mut();
        if executor.remove(id).is_none() {
            executor.graveyard.push((here, future));
            return;
        }
        drop(executor);
        drop(future);
        drop(entered);
        match role {
            Role::Plain => {}
            Role::Program => nodes::exit(self, here),
            Role::Scenario => self.executor.borrow_mut().scenario_done = true,
        }
    }

    /// A task of a dead life, spawned when it was dead already.
    fn bury(&self, id: TaskId) {
        let mut executor = self.executor.borrow_mut();
        if let Some(Task { here, body: Some((future, _)), .. }) = executor.remove(id) {
            executor.graveyard.push((here, future));
        }
    }

    /// Third-party code asks the C library for the time: it gets ours.
    fn follow_system_clock(&self) {
        let now = self.now.get();
        let behind = now - self.system_now.replace(now);
        if behind > 0 {
            self.system_clock.advance(std::time::Duration::from_nanos(behind));
        }
    }
}

// ---------------------------------------------------------------- spawning and joining

enum Join<T> {
    Running(Option<Waker>),
    Finished(T),
    Cancelled,
    Taken,
}

type Shared<T> = Arc<Mutex<Join<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Join<T>> {
    shared.lock().expect("nothing under this lock panics")
}

/// The right to await a simulated task; [`crate::task::JoinHandle`] wraps it.
pub(crate) struct JoinHandle<T> {
    id: TaskId,
    shared: Shared<T>,
}

/// Tells the joiner what became of the task, also when it was dropped unfinished.
struct Completion<T>(Shared<T>);

impl<T> Completion<T> {
    fn set(&self, end: Join<T>) {
        let before = std::mem::replace(&mut *lock(&self.0), end);
        if let Join::Running(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if matches!(*lock(&self.0), Join::Running(_)) {
            self.set(Join::Cancelled);
        }
    }
}

/// A future whose type is forgotten, so that what runs it is compiled once for each result and not for each future.
pub(crate) type Spawned<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Joined<T> {
    future: Spawned<T>,
    completion: Completion<T>,
}

impl<T> Future for Joined<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let output = self.future.as_mut().poll(context);
        output.map(|output| self.completion.set(Join::Finished(output)))
    }
}

/// Starts a task. `name` is its type's: it tells it from other children of its parent.
pub(crate) fn spawn<T: Send + 'static>(here: Here, name: &'static str, future: Spawned<T>) -> JoinHandle<T> {
    const CHILD: u64 = name_hash("executor.child");
    let shared = Arc::new(Mutex::new(Join::Running(None)));
    let joined = Joined { future, completion: Completion(shared.clone()) };
    let id = world(|world| {
        let (parent, child) = (world.current.get().task, name_hash(name));
        let ordinal = {
            let mut ordinals = world.ordinals.borrow_mut();
            let ordinal = ordinals.entry((CHILD, parent, child)).or_default();
            *ordinal += 1;
            *ordinal
        };
        world.start_task(here, Role::Plain, prf(parent, &[child, ordinal]), name, Box::pin(joined))
    });
    JoinHandle { id, shared }
}

impl<T> JoinHandle<T> {
    pub(crate) fn abort(&self) {
        try_world(|world| {
            let mut executor = world.executor.borrow_mut();
            let Some(task) = executor.task(self.id) else { return };
            task.cancelled = true;
            drop(executor);
            world.schedule(self.id);
        });
    }

    pub(crate) fn is_finished(&self) -> bool {
        !matches!(*lock(&self.shared), Join::Running(_))
    }

    /// Ready with nothing when the task was cancelled.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut join = lock(&self.shared);
        match &mut *join {
            Join::Running(waker) => {
                if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            Join::Cancelled => Poll::Ready(None),
            end @ Join::Finished(_) => match std::mem::replace(end, Join::Taken) {
                Join::Finished(output) => Poll::Ready(Some(output)),
                _ => unreachable!("matched above"),
            },
            Join::Taken => panic!("a task's result is taken once"),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id).finish()
    }
}
