//! `select!` as other crates use it.

use crate::{ms, run};
use runtime::{select, sync::mpsc, time};
use std::{
    future::{pending, ready},
    sync::Arc,
};

#[test]
fn the_first_ready_branch_in_the_order_written_wins() {
    run(1, || async {
        for _ in 0..50 {
            let first = select! {
                () = pending() => 0,
                () = ready(()) => 1,
                () = ready(()) => 2,
            };
            assert_eq!(first, 1);
        }
        let with_word = select! {
            biased;
            number = ready(7) => number,
            () = ready(()) => 2
        };
        assert_eq!(with_word, 7);
    });
}

#[test]
fn a_disabled_branch_is_not_polled_and_a_condition_may_look_at_what_a_future_borrows() {
    run(1, || async {
        let (send, mut receive) = mpsc::channel(4);
        let mut numbers = Vec::new();
        for number in 0..4 {
            send.send(number).await.unwrap();
        }
        loop {
            select! {
                number = receive.recv(), if numbers.len() < 2 => numbers.extend(number),
                () = time::sleep(ms(5)) => break,
            }
        }
        assert_eq!(numbers, [0, 1]);
        let sent = select! {
            () = unreachable_future(), if false => false,
            sent = send.send(9), if !send.is_closed() => { sent.is_ok() }
        };
        assert!(sent);
    });
}

async fn unreachable_future() {
    unreachable!("its condition is false");
}

#[test]
fn a_branch_that_does_not_match_is_given_up_and_the_others_go_on() {
    run(1, || async {
        let mut polls = 0;
        let outcome = select! {
            Some(number) = async { polls += 1; None::<u32> } => number,
            Ok::<u32, u32>(number) = async { time::sleep(ms(1)).await; Err(1) } => number,
            () = time::sleep(ms(2)) => 2,
        };
        assert_eq!((outcome, polls), (2, 1));
        let otherwise = select! {
            Some(number) = ready(None::<u32>) => number,
            () = pending(), if false => 1,
            else => 3,
        };
        assert_eq!(otherwise, 3);
    });
}

#[test]
fn the_losers_are_dropped_before_the_handler_runs() {
    run(1, || async {
        let (shared, mut words) = (Arc::new(()), vec!["a"]);
        let (held, borrowed) = (shared.clone(), &mut words);
        let count = select! {
            () = async { drop(held.clone()); pending::<()>().await; borrowed.push("never") } => 0,
            () = time::sleep(ms(1)) => { words.push("b"); words.len() }
        };
        assert_eq!(count, 2);
        drop(held);
        assert_eq!(Arc::strong_count(&shared), 1);
    });
}

#[test]
fn handlers_may_leave_the_loop_and_the_function() {
    async fn until(limit: u32) -> Result<u32, std::io::Error> {
        let (mut sleep, mut ticks) = (Box::pin(time::sleep(ms(10))), 0);
        loop {
            select! {
                () = sleep.as_mut() => return Ok(ticks),
                () = time::sleep(ms(1)) => if ticks == limit { break } else { ticks += 1 },
            }
        }
        let done: Result<u32, std::io::Error> =
            select! { result = ready(Err(std::io::ErrorKind::Other.into())) => result };
        done
    }
    run(1, || async {
        assert_eq!(until(100).await.unwrap(), 9);
        assert!(until(3).await.is_err());
    });
}
