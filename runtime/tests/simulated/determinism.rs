//! One seed, one run; and what is added in one place moves nothing in another.

use crate::{connect, cut_both, echo, ms, node, read_exactly, run};
use runtime::{
    net::{Listener, Slice, Stream},
    observe::{Digest, Envelope, Event, emit},
    rand,
    simulation::{self, Crash, HARNESS, Options, Outcome, net},
    sync::mpsc,
    task, time,
};
use std::{
    any::Any,
    sync::{Arc, Mutex},
};

#[derive(Debug)]
struct Noted(u64);

impl Event for Noted {
    fn kind(&self) -> &'static str {
        "noted"
    }

    fn digest(&self, into: &mut Digest) {
        into.u64(self.0);
    }
}

/// A little of everything: nodes that talk, crash, and draw random numbers. Returns what the clients saw, and when.
async fn story(noise: bool) -> Vec<(u64, u64)> {
    let (server, other) = (node("server", 1), node("other", 2));
    simulation::start(server, echo());
    simulation::set_clock(server, 1_000, 300);
    let (send, mut receive) = mpsc::unbounded_channel();
    simulation::start(other, async move {
        if noise {
            task::spawn(async {
                loop {
                    time::sleep(ms(1 + rand::range(0..20))).await;
                    let _ = Stream::connect("server:81").await;
                }
            });
        }
        for number in 0.. {
            time::sleep(ms(rand::range(1..30))).await;
            let Ok(Ok(mut stream)) = time::timeout(ms(200), connect()).await else { continue };
            let body = vec![number as u8; rand::range(1..5_000) as usize];
            let size = body.len();
            let talk = async {
                stream.send(&[1, 2, 3], &[Slice::Bytes(body.into())]).await?;
                read_exactly(&mut stream, size + 3).await
            };
            if let Ok(Ok(answer)) = time::timeout(ms(100), talk).await {
                emit(|| Noted(number));
                let _ = send.send((simulation::now_ns(), answer.len() as u64));
            }
        }
    });
    for round in 0..28 {
        time::sleep(ms(200)).await;
        match round % 4 {
            0 => simulation::crash(server, Crash::Process),
            1 => simulation::start(server, echo()),
            2 => cut_both(server, other),
            _ => net::heal_all(),
        }
    }
    let mut seen = Vec::new();
    while let Ok(one) = receive.try_recv() {
        seen.push(one);
    }
    seen
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = run(7, || story(false));
    let second = run(7, || story(false));
    assert!(first.events > 1_100, "{}", first.events);
    assert_eq!(first.checkpoints.len() as u64, first.events / 1_024);
    assert_eq!(first.checkpoints, second.checkpoints);
    assert_eq!((first.hash, first.events, first.virtual_ns), (second.hash, second.events, second.virtual_ns));
    assert_eq!(first.result.unwrap(), second.result.unwrap());
    let other = run(8, || story(false));
    assert_ne!(first.hash, other.hash);
}

#[test]
fn watching_a_run_does_not_change_it() {
    let plain = run(7, || story(false));
    let options = Options { keep_lines: Some(10..14), observe_network: true, ..Options::default() };
    let watched: Outcome<(usize, usize)> = simulation::run(7, options, || async {
        let seen = Arc::new(Mutex::new((0, 0)));
        let counted = seen.clone();
        simulation::subscribe(Box::new(move |envelope: &Envelope, event: &dyn Event| {
            let mut seen = counted.lock().unwrap();
            if let Some(noted) = (event as &dyn Any).downcast_ref::<Noted>() {
                assert_eq!(simulation::name_of(envelope.node), "other");
                assert!(envelope.at <= simulation::now_ns() && envelope.life == 1 && noted.0 < 1_000);
                seen.0 += 1;
            } else {
                seen.1 += 1;
            }
        }));
        story(false).await;
        *seen.lock().unwrap()
    });
    let (noted, network) = watched.result.unwrap();
    assert_eq!(plain.hash, watched.hash);
    assert_eq!((noted + network) as u64, watched.events);
    assert!(noted > 20, "{noted}");
    let numbers: Vec<&str> = watched.lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["10", "11", "12", "13"]);
}

#[test]
fn a_listener_may_break_the_world_when_it_sees_something() {
    run(1, || async {
        let server = node("server", 1);
        simulation::subscribe(Box::new(move |_, event| {
            if event.kind() == "noted" {
                simulation::crash(server, Crash::Power);
                net::cut(server, HARNESS);
                emit(|| Noted(2));
            }
        }));
        simulation::start(server, async {
            let _listener = Listener::bind("0.0.0.0:80").await.unwrap();
            time::sleep(ms(5)).await;
            emit(|| Noted(1));
            time::sleep(ms(5)).await;
            panic!("it crashed at its event");
        });
        time::sleep(ms(50)).await;
        assert!(!simulation::is_running(server));
    });
}

#[test]
fn a_task_more_moves_nothing_that_it_does_not_touch() {
    for seed in 0..10 {
        let plain = run(seed, || story(false));
        let noisy = run(seed, || story(true));
        assert_ne!(plain.hash, noisy.hash, "the noise is in the trace");
        assert_eq!(plain.result.unwrap(), noisy.result.unwrap(), "seed {seed}: and in nothing else");
    }
}

#[test]
fn draws_are_keyed_by_purpose_and_by_whom_they_concern() {
    let draws = |extra: bool| {
        run(5, move || async move {
            if extra {
                simulation::draw("another", 1, 2);
                simulation::draw("purpose", 1, 3);
                rand::next();
            }
            let draws: Vec<u64> = (0..4).map(|_| simulation::draw("purpose", 1, 2)).collect();
            let of_task = task::spawn(async { rand::next() }).await.unwrap();
            (draws, of_task)
        })
        .result
        .unwrap()
    };
    assert_eq!(draws(false), draws(true));
    let mut distinct = draws(false).0;
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn draws_fill_their_ranges_evenly() {
    run(5, || async {
        let mut counts = [0; 10];
        (0..10_000).for_each(|_| {
            counts[simulation::between(simulation::draw("even", 0, 0), 10, 19) as usize - 10] += 1;
        });
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        let taken = (0..10_000).filter(|_| simulation::chance(simulation::draw("chance", 0, 0), 250)).count();
        assert!((2_300..2_700).contains(&taken), "{taken}");
    });
}

#[test]
#[allow(clippy::disallowed_types)]
fn hash_maps_of_third_parties_iterate_alike_in_every_run() {
    let order = || {
        run(5, || async {
            let map: std::collections::HashMap<u32, ()> = (0..50).map(|key| (key, ())).collect();
            map.into_keys().collect::<Vec<_>>()
        })
        .result
        .unwrap()
    };
    assert_eq!(order(), order());
}
