//! Clocks that disagree, and timers.

use crate::{ms, node, run};
use runtime::{
    simulation::{self, HARNESS},
    sync::oneshot,
    time::{self, Instant},
};
use std::{future::Future, time::Duration};

/// Runs a future in a node with these clocks, and returns its output.
async fn in_node<T: Send + 'static>(
    offset_ms: i64,
    rate_ppm: i64,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    let server = node("server", 1);
    simulation::set_clock(server, offset_ms, rate_ppm);
    let (done, told) = oneshot::channel();
    simulation::start(server, async move {
        let _ = done.send(future.await);
    });
    told.await.expect("the node lives until it has told")
}

#[test]
fn a_clock_that_is_slowed_down_rings_no_earlier_by_its_own_measure() {
    run(1, || async {
        let server = node("server", 1);
        simulation::set_clock(server, 0, 50_000);
        let (done, told) = oneshot::channel();
        simulation::start(server, async move {
            let begin = time::now();
            time::sleep(ms(10_000)).await;
            let _ = done.send(time::now() - begin);
        });
        time::sleep(ms(5_000)).await;
        simulation::set_clock(server, 0, -50_000);
        let slept = told.await.expect("the node lives until it has told");
        assert!(slept >= ms(10_000), "{slept:?}");
    });
}

#[test]
fn a_fast_clock_sleeps_by_its_own_measure() {
    run(1, || async {
        let (local, global) = in_node(0, 100_000, async {
            let (begin, begin_global) = (time::now(), simulation::now_ns());
            time::sleep(ms(110_000)).await;
            (time::now() - begin, simulation::now_ns() - begin_global)
        })
        .await;
        assert!(local >= ms(110_000) && local < ms(110_001), "{local:?}");
        assert_eq!(global / 1_000_000, 100_000);
    });
}

#[test]
fn a_wall_clock_is_off_by_its_offset_and_drifts_by_its_rate() {
    run(1, || async {
        let truth = time::wall_now();
        let off = in_node(-3_600_000, 50_000, async {
            time::sleep(ms(1)).await;
            simulation::sleep_until_ns(100_000 * 1_000_000).await;
            time::wall_now()
        })
        .await;
        assert_eq!((off - truth - 100_000) / 10, (-3_600_000 + 5_000) / 10);
    });
}

#[test]
fn a_wall_clock_may_jump_and_the_monotonic_one_never_does() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let mut last = (time::now(), time::wall_now());
            let mut jumped_back = false;
            for _ in 0..1_000 {
                time::sleep(ms(1)).await;
                let next = (time::now(), time::wall_now());
                assert!(next.0 > last.0 && next.0 - last.0 < ms(3), "{last:?} {next:?}");
                jumped_back |= next.1 < last.1;
                last = next;
            }
            assert!(jumped_back);
        });
        for step in 0..20 {
            time::sleep(ms(40)).await;
            simulation::set_clock(server, (step % 3 - 1) * 3_600_000, (step % 5 - 2) * 25_000);
        }
        time::sleep(ms(500)).await;
        assert!(!simulation::is_running(server));
    });
}

#[test]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn third_party_code_sees_the_virtual_clock() {
    run(1, || async {
        let (begin, wall) = (std::time::Instant::now(), std::time::SystemTime::now());
        time::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(begin.elapsed().as_secs(), 1_000);
        assert_eq!(wall.elapsed().unwrap().as_secs(), 1_000);
    });
}

#[test]
fn a_timeout_ends_what_takes_longer_and_nothing_else() {
    run(1, || async {
        assert_eq!(time::timeout(ms(10), time::sleep(ms(5))).await, Ok(()));
        assert_eq!(time::timeout(ms(5), time::sleep(ms(10))).await, Err(time::Elapsed));
        let at = time::now() + ms(5);
        assert_eq!(time::timeout_at(at, std::future::pending::<()>()).await, Err(time::Elapsed));
        assert_eq!(time::now().as_nanos() / 1_000, at.as_nanos() / 1_000 + (time::now() - at).as_micros() as u64);
    });
}

#[test]
fn a_sleep_can_be_moved_both_ways_while_it_waits() {
    run(1, || async {
        let begin = time::now();
        let mut sleep = Box::pin(time::sleep(ms(100)));
        assert_eq!(time::timeout(ms(10), &mut sleep).await, Err(time::Elapsed));
        sleep.reset(begin + ms(50));
        (&mut sleep).await;
        assert_eq!((time::now() - begin).as_millis(), 50);
        sleep.reset(begin + ms(70));
        assert_eq!(time::timeout(ms(10), &mut sleep).await, Err(time::Elapsed));
        sleep.reset(begin + ms(500));
        (&mut sleep).await;
        assert_eq!((time::now() - begin).as_millis(), 500);
        assert_eq!(sleep.deadline(), begin + ms(500));
    });
}

#[test]
fn sleeping_without_end_does_not_end() {
    run(1, || async {
        let forever = time::sleep_until(Instant::from_nanos(u64::MAX));
        assert_eq!(time::timeout(Duration::from_secs(80_000), forever).await, Err(time::Elapsed));
        assert!(simulation::is_running(HARNESS));
    });
}
