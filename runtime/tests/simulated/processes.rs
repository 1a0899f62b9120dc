//! Lives of nodes: started, crashed, stalled, ended.

use crate::{failure, ms, node, run};
use runtime::{
    disk::{Disk, Open},
    net::Listener,
    simulation::{self, Crash, Failure, Options},
    sync::{Lock, Notify, mpsc, oneshot, shutdown, watch},
    task, time,
};
use std::{
    future::pending,
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

/// Counts, and writes to a disk, when it is dropped.
struct OnDrop(Arc<AtomicU32>, Disk);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let file = self.1.open("last-words", Open::Create);
        if let Ok(file) = file {
            let _ = file.append(b"dropped");
        }
    }
}

fn with_last_words(dropped: &Arc<AtomicU32>, disk: &simulation::disk::Disk) -> OnDrop {
    OnDrop(dropped.clone(), Disk::simulated(disk.clone()))
}

#[test]
fn a_crash_runs_no_destructor() {
    let dropped = Arc::new(AtomicU32::new(0));
    let counter = dropped.clone();
    run(1, move || async move {
        let (server, disk) = (node("server", 1), simulation::disk::Disk::new(1));
        for kind in [Crash::Process, Crash::Power] {
            let words = with_last_words(&counter, &disk);
            simulation::start(server, async move {
                let _words = words;
                pending().await
            });
            time::sleep(ms(5)).await;
            simulation::crash(server, kind);
            time::sleep(ms(5)).await;
            assert_eq!(counter.load(Ordering::Relaxed), 0);
        }
        assert_eq!(simulation::life_of(server), 2);
        assert!(!Disk::simulated(disk).exists("last-words"));
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "after the run they are dropped, and reach nothing");
}

#[test]
fn a_program_that_returns_ends_its_process_with_destructors() {
    run(1, || async {
        let (server, disk, dropped) = (node("server", 1), simulation::disk::Disk::new(1), Arc::new(AtomicU32::new(0)));
        let words = with_last_words(&dropped, &disk);
        simulation::start(server, async move {
            let _listener = Listener::bind("0.0.0.0:80").await.unwrap();
            task::spawn(async move {
                let _words = words;
                pending::<()>().await
            });
            time::sleep(ms(10)).await;
        });
        time::sleep(ms(5)).await;
        assert!(simulation::is_running(server));
        time::sleep(ms(20)).await;
        assert!(!simulation::is_running(server));
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(Disk::simulated(disk).read("last-words").unwrap(), b"dropped");
        assert_eq!(failure(runtime::net::Stream::connect("server:80").await), ErrorKind::ConnectionRefused);
        simulation::start(server, async {
            Listener::bind("0.0.0.0:80").await.expect("the port is free again");
        });
        time::sleep(ms(5)).await;
    });
}

#[test]
fn a_node_that_crashes_itself_does_nothing_more_in_that_poll() {
    run(1, || async {
        let (server, disk) = (node("server", 1), simulation::disk::Disk::new(1));
        let own = Disk::simulated(disk.clone());
        simulation::start(server, async move {
            let file = own.open("log", Open::Create).unwrap();
            file.append(b"before").unwrap();
            simulation::crash(server, Crash::Process);
            assert!(file.append(b"after").is_err());
            task::spawn(async { panic!("a dead node's task runs") });
            time::sleep(ms(1)).await;
            panic!("a dead node goes on");
        });
        time::sleep(ms(50)).await;
        assert_eq!(Disk::simulated(disk).read("log").unwrap(), b"before");
    });
}

#[test]
fn a_paused_node_polls_nothing_and_its_timers_are_due_when_it_goes_on() {
    run(1, || async {
        let (server, ticks) = (node("server", 1), Arc::new(AtomicU32::new(0)));
        let counter = ticks.clone();
        simulation::start(server, async move {
            loop {
                time::sleep(ms(10)).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        time::sleep(ms(105)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 10);
        simulation::pause(server);
        time::sleep(ms(1_000)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 10);
        simulation::resume(server);
        time::sleep(ms(5)).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 11);
    });
}

#[test]
fn a_paused_node_can_crash_and_start_again() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, pending());
        simulation::pause(server);
        time::sleep(ms(5)).await;
        simulation::crash(server, Crash::Process);
        simulation::resume(server);
        let (done, told) = oneshot::channel();
        simulation::start(server, async move { done.send(()).unwrap() });
        told.await.unwrap();
    });
}

#[test]
fn a_stall_freezes_every_task_of_the_node_and_no_other() {
    run(1, || async {
        let (server, other) = (node("server", 1), node("other", 2));
        let (send, mut receive) = mpsc::unbounded_channel();
        for id in [server, other] {
            let send = send.clone();
            simulation::start(id, async move {
                for _ in 0..2 {
                    time::sleep(ms(10)).await;
                    send.send((id, simulation::now_ns() / 1_000_000)).unwrap();
                }
            });
        }
        time::sleep(ms(15)).await;
        simulation::stall(server, ms(500));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(receive.recv().await.unwrap());
        }
        seen.sort();
        assert_eq!(seen, [(server, 10), (server, 515), (other, 10), (other, 20)]);
    });
}

#[test]
fn a_slow_machine_does_the_same_work_later() {
    let duration = |factor| {
        run(1, move || async move {
            let server = node("server", 1);
            simulation::set_slowness(server, factor);
            let (done, told) = oneshot::channel();
            simulation::start(server, async move {
                for _ in 0..1_000 {
                    task::yield_now().await;
                }
                done.send(()).unwrap();
            });
            told.await.unwrap();
            simulation::now_ns()
        })
        .result
        .unwrap()
    };
    let (usual, slow) = (duration(1), duration(50));
    assert!(slow > 40 * usual, "{usual} ns and {slow} ns");
}

#[test]
fn an_aborted_task_is_dropped_and_its_joiner_is_told() {
    run(1, || async {
        let dropped = Arc::new(AtomicU32::new(0));
        let words = with_last_words(&dropped, &simulation::disk::Disk::new(1));
        let handle = task::spawn(async move {
            let _words = words;
            pending::<()>().await
        });
        time::sleep(ms(1)).await;
        assert!(!handle.is_finished());
        handle.abort();
        let error = handle.await.unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        let finished = task::spawn(async { 7 });
        time::sleep(ms(1)).await;
        assert!(finished.is_finished());
        finished.abort();
        assert_eq!(finished.await.unwrap(), 7);
    });
}

#[test]
fn a_panic_of_a_node_fails_the_run_and_says_where() {
    let outcome = simulation::run(1, Options::default(), || async {
        let server = node("server", 1);
        simulation::start(server, async {
            time::sleep(ms(1_500)).await;
            panic!("a bug in {}", "a node");
        });
        pending::<()>().await
    });
    let Err(Failure::Panicked { node, message, location, at }) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!((node.as_str(), message.as_str(), at / 1_000_000), ("server", "a bug in a node", 1_500));
    assert!(location.contains("processes.rs"), "{location}");
}

#[test]
fn a_deadlock_is_told_with_who_waits() {
    let outcome = simulation::run(1, Options::default(), || async {
        let (_send, mut receive) = mpsc::channel::<()>(1);
        receive.recv().await;
    });
    let Err(Failure::Deadlocked { waiting, .. }) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].starts_with("harness in "), "{waiting:?}");
}

#[test]
fn a_run_that_stands_still_is_given_up() {
    let options = Options { patience: ms(200), ..Options::default() };
    let release = Arc::new(AtomicU32::new(0));
    let released = release.clone();
    let outcome = simulation::run(1, options, move || async move {
        while released.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
    });
    release.store(1, Ordering::Relaxed);
    assert_eq!(outcome.result, Err(Failure::Stuck { node: 0 }));
}

#[test]
fn a_run_has_no_more_virtual_time_than_it_may() {
    let options = Options { time_limit: Some(ms(10_000)), ..Options::default() };
    let outcome = simulation::run(1, options, || time::sleep(ms(10_001)));
    assert_eq!(outcome.result, Err(Failure::TimeLimit));
}

#[test]
fn a_lock_held_across_an_await_is_found_instead_of_hanging() {
    let outcome = simulation::run(1, Options::default(), || async {
        let lock = Arc::new(Lock::new(1, ()));
        let held = lock.clone();
        // The harness may hold what is not Send; a node's program could not even be compiled.
        let _guard = held.lock();
        let (done, told) = oneshot::channel();
        task::spawn(async move {
            drop(lock.lock());
            let _ = done.send(());
        });
        let _ = told.await;
    });
    assert!(matches!(outcome.result, Err(Failure::Panicked { .. })), "{:?}", outcome.result);
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_thread_of_the_operating_system_is_refused() {
    let outcome = simulation::run(1, Options::default(), || async { drop(std::thread::spawn(|| ())) });
    assert!(matches!(outcome.result, Err(Failure::Panicked { .. })), "{:?}", outcome.result);
}

#[test]
fn waiters_wake_in_the_same_order_in_every_run() {
    let order = |_: u32| {
        run(9, || async {
            let order = Arc::new(Mutex::new(Vec::new()));
            let (notify, (send, receive)) = (Arc::new(Notify::new()), watch::channel(0));
            for number in 0..24 {
                let (order, notify, mut receive) = (order.clone(), notify.clone(), receive.clone());
                task::spawn(async move {
                    receive.changed().await.unwrap();
                    notify.notified().await;
                    order.lock().unwrap().push(number);
                });
            }
            time::sleep(ms(1)).await;
            send.send(1).unwrap();
            time::sleep(ms(1)).await;
            (0..24).for_each(|_| notify.notify_one());
            time::sleep(ms(1)).await;
            std::mem::take(&mut *order.lock().unwrap())
        })
        .result
        .unwrap()
    };
    let first = order(0);
    assert_eq!(first.len(), 24);
    assert!((1..5).all(|run| order(run) == first));
}

#[test]
fn watch_keeps_the_newest_value_and_tells_who_waits() {
    run(1, || async {
        let (send, mut receive) = watch::channel(0);
        assert!(!receive.has_changed());
        send.send(1).unwrap();
        send.send(2).unwrap();
        receive.changed().await.unwrap();
        assert_eq!(*receive.borrow(), 2);
        let waiting = task::spawn(async move { receive.wait_for(|value| *value > 5).await.map(|value| *value) });
        assert!(!send.send_if_modified(|_| false));
        send.send_modify(|value| *value += 1);
        time::sleep(ms(1)).await;
        assert!(!waiting.is_finished());
        send.send_replace(6);
        assert_eq!(waiting.await.unwrap(), Ok(6));
        assert_eq!(send.send(7), Err(7), "nobody is left");
        let mut late = send.subscribe();
        assert_eq!(*late.borrow(), 6);
        drop(send);
        assert_eq!(late.changed().await, Err(watch::Closed));
    });
}

#[test]
fn a_shutdown_reaches_everybody_once_and_for_all() {
    run(1, || async {
        let (trigger, first) = shutdown();
        let waiting = task::spawn({
            let first = first.clone();
            async move { first.requested().await }
        });
        time::sleep(ms(1)).await;
        assert!(!first.is_requested() && !waiting.is_finished());
        trigger.request();
        waiting.await.unwrap();
        let late = trigger.listener();
        late.requested().await;
        assert!(first.is_requested() && late.is_requested());
        let (trigger, orphan) = shutdown();
        drop(trigger);
        orphan.requested().await;
        assert!(orphan.is_requested());
    });
}
