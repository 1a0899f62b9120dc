//! The network when it is broken.

use crate::{SECOND, connect, cut_both, echo, echo_server, failure, ms, node, read_exactly, read_within, run, timed};
use bytes::BytesMut;
use runtime::{
    net::{Listener, Slice, Stream},
    simulation::{
        self, Crash, HARNESS,
        net::{self, Delay, LinkSettings},
    },
    time,
};
use std::{io::ErrorKind, time::Duration};

#[test]
fn a_cut_in_either_direction_lets_connects_time_out() {
    run(1, || async {
        let server = echo_server().await;
        net::cut(HARNESS, server);
        let (result, took) = timed(connect()).await;
        assert_eq!(failure(result), ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), 127);
        net::heal_all();
        net::cut(server, HARNESS);
        assert_eq!(failure(connect().await), ErrorKind::TimedOut);
        net::heal(server, HARNESS);
        assert!(connect().await.is_ok());
    });
}

#[test]
fn a_connect_that_is_asked_again_succeeds_after_the_heal() {
    run(1, || async {
        let server = echo_server().await;
        cut_both(HARNESS, server);
        let connecting = runtime::task::spawn(timed(connect()));
        time::sleep(ms(5_000)).await;
        net::heal_all();
        let (stream, took) = connecting.await.unwrap();
        assert!(stream.is_ok());
        assert_eq!(took.as_secs(), 7, "the third repetition comes after 1 + 2 + 4 seconds");
    });
}

#[test]
fn a_connection_survives_a_cut_and_goes_on_after_the_heal() {
    run(1, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        net::cut(server, HARNESS);
        stream.send(b"hello", &[]).await.unwrap();
        assert!(read_within(&mut stream, ms(5_000)).await.is_err(), "the answer is held back");
        net::heal(server, HARNESS);
        let (answer, took) = timed(read_exactly(&mut stream, 5)).await;
        assert_eq!(&answer.unwrap()[..], b"hello");
        assert!(took <= ms(3_010), "{took:?}");
    });
}

#[test]
fn order_survives_many_cuts() {
    run(3, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        let mut expected = Vec::new();
        for round in 0..40u8 {
            match round % 4 {
                0 => net::cut(HARNESS, server),
                1 => net::cut(server, HARNESS),
                2 => net::heal(HARNESS, server),
                _ => net::heal(server, HARNESS),
            }
            stream.send(&[round; 10], &[]).await.unwrap();
            expected.extend([round; 10]);
            time::sleep(ms(700)).await;
        }
        net::heal_all();
        assert_eq!(&read_exactly(&mut stream, 400).await.unwrap()[..], &expected[..]);
    });
}

#[test]
fn a_clogged_link_lets_everything_through_at_once() {
    run(1, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        net::clog(HARNESS, server);
        for _ in 0..10 {
            stream.send(b"0123456789", &[]).await.unwrap();
            time::sleep(ms(100)).await;
        }
        net::heal(HARNESS, server);
        let (all, took) = timed(read_exactly(&mut stream, 100)).await;
        assert_eq!(all.unwrap().len(), 100);
        assert!(took < ms(10), "{took:?}");
    });
}

#[test]
fn a_cut_way_back_keeps_the_window_shut() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            read_exactly(&mut stream, 1 << 20).await.unwrap();
            std::future::pending().await
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        net::cut(server, HARNESS);
        let body = [Slice::Bytes(vec![0; 1 << 20].into())];
        let sending = runtime::task::spawn(async move { stream.send(&[], &body).await });
        time::sleep(ms(10_000)).await;
        assert!(!sending.is_finished(), "bytes arrive, but no acknowledgement does");
        net::heal(server, HARNESS);
        sending.await.unwrap().unwrap();
    });
}

#[test]
fn a_kernel_gives_up_after_a_quarter_of_an_hour() {
    run(1, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        cut_both(HARNESS, server);
        stream.send(b"is anybody there?", &[]).await.unwrap();
        let (read, took) = timed(read_within(&mut stream, Duration::from_secs(2_000))).await;
        assert_eq!(failure(read.unwrap()), ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), net::GIVE_UP_NS / SECOND);
        net::heal_all();
        assert_eq!(failure(stream.send(b"x", &[]).await), ErrorKind::TimedOut);
    });
}

#[test]
fn a_loss_is_a_delay_and_total_loss_is_a_cut() {
    run(1, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        net::set_link(HARNESS, server, LinkSettings { loss: 300, ..LinkSettings::default() });
        let (mut quick, mut slow) = (0, 0);
        for _ in 0..200 {
            stream.send(b"x", &[]).await.unwrap();
            let (read, took) = timed(read_exactly(&mut stream, 1)).await;
            read.unwrap();
            if took >= ms(200) { slow += 1 } else { quick += 1 }
        }
        assert!(slow > 30 && quick > 100, "{slow} slow, {quick} quick");
        net::set_link(HARNESS, server, LinkSettings { loss: 1_000, ..LinkSettings::default() });
        stream.send(b"x", &[]).await.unwrap();
        assert!(read_within(&mut stream, ms(10_000)).await.is_err());
        net::set_link(HARNESS, server, LinkSettings::default());
        read_exactly(&mut stream, 1).await.unwrap();
    });
}

#[test]
fn delay_jitter_and_bandwidth_are_those_of_the_link() {
    run(1, || async {
        let server = echo_server().await;
        let settings =
            LinkSettings { delay: Delay::Constant(ms(40)), jitter: ms(20), loss: 0, bandwidth: Some(1 << 20) };
        let mut stream = connect().await.unwrap();
        net::set_link(HARNESS, server, settings);
        assert_eq!(net::link(HARNESS, server), settings);
        for _ in 0..20 {
            stream.send(b"x", &[]).await.unwrap();
            let (_, took) = timed(read_exactly(&mut stream, 1)).await;
            assert!(took >= ms(40) && took <= ms(62), "{took:?}");
        }
        let (_, took) = timed(async {
            stream.send(&[], &[Slice::Bytes(vec![0; 256 << 10].into())]).await.unwrap();
            read_exactly(&mut stream, 256 << 10).await.unwrap();
        })
        .await;
        assert!(took >= ms(290) && took <= ms(340), "a quarter of a second on the line: {took:?}");
    });
}

#[test]
fn a_dead_process_ends_quiet_connections_and_resets_those_with_unread_bytes() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, crate::deaf());
        time::sleep(ms(5)).await;
        let (mut quiet, mut unread) = (connect().await.unwrap(), connect().await.unwrap());
        unread.send(b"x", &[]).await.unwrap();
        time::sleep(ms(5)).await;
        simulation::crash(server, Crash::Process);
        assert_eq!(read_within(&mut quiet, ms(1_000)).await.unwrap().unwrap(), "");
        assert_eq!(failure(read_within(&mut unread, ms(1_000)).await.unwrap()), ErrorKind::ConnectionReset);
        assert_eq!(failure(connect().await), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_machine_without_power_says_nothing_until_it_is_back() {
    run(1, || async {
        let server = echo_server().await;
        let (mut writing, mut waiting) = (connect().await.unwrap(), connect().await.unwrap());
        simulation::crash(server, Crash::Power);
        assert!(read_within(&mut writing, ms(60_000)).await.is_err());
        writing.send(b"x", &[]).await.unwrap();
        assert_eq!(failure(connect().await), ErrorKind::TimedOut);
        simulation::start(server, echo());
        let (read, took) = timed(read_within(&mut writing, ms(60_000))).await;
        assert_eq!(failure(read.unwrap()), ErrorKind::ConnectionReset);
        assert!(took < ms(2_000), "{took:?}");
        // The other one had nothing to send again: it learns nothing until it writes.
        assert!(read_within(&mut waiting, ms(60_000)).await.is_err());
        waiting.send(b"x", &[]).await.unwrap();
        assert_eq!(failure(read_within(&mut waiting, ms(1_000)).await.unwrap()), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_writer_to_a_vanished_machine_fills_its_window_and_is_told_in_the_end() {
    run(1, || async {
        let server = echo_server().await;
        let mut stream = connect().await.unwrap();
        simulation::crash(server, Crash::Power);
        let (sent, took) = timed(stream.send(&[], &[Slice::Bytes(vec![0; 1 << 20].into())])).await;
        assert_eq!(failure(sent), ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), net::GIVE_UP_NS / SECOND);
    });
}

#[test]
fn bytes_of_a_dropped_connection_may_arrive_up_to_ten_seconds_late() {
    let (late, all) = run(1, || async {
        let listener = Listener::bind("0.0.0.0:80").await.unwrap();
        let (mut late, mut all) = (0, 0);
        for number in 0..100u8 {
            let client = simulation::add_node(&format!("client-{number}"), [10, 0, 1, number].into());
            simulation::start(client, async {
                let mut stream = Stream::connect("harness:80").await.unwrap();
                stream.send(b"late", &[]).await.unwrap();
                std::future::pending().await
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            simulation::crash(client, if number % 2 == 0 { Crash::Process } else { Crash::Power });
            let (read, took) = timed(read_exactly(&mut stream, 4)).await;
            all += u32::from(read.is_ok());
            late += u32::from(took > ms(100));
            assert!(took <= ms(10_100), "{took:?}");
        }
        (late, all)
    })
    .result
    .unwrap();
    assert_eq!(all, 100);
    assert!((5..40).contains(&late), "{late} of 100");
}

#[test]
fn both_ends_see_a_reset_of_their_connection() {
    run(1, || async {
        let server = node("server", 1);
        simulation::start(server, async {
            let listener = Listener::bind("0.0.0.0:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let error = stream.read(&mut BytesMut::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
        time::sleep(ms(5)).await;
        let mut stream = connect().await.unwrap();
        time::sleep(ms(5)).await;
        net::reset_connections(HARNESS, server);
        assert_eq!(failure(read_within(&mut stream, ms(1)).await.unwrap()), ErrorKind::ConnectionReset);
        time::sleep(ms(5)).await;
        assert!(!simulation::is_running(server), "the server's program saw it and returned");
    });
}

#[test]
fn a_paused_process_has_a_kernel_that_goes_on() {
    run(1, || async {
        let server = echo_server().await;
        let mut before = connect().await.unwrap();
        simulation::pause(server);
        let mut meanwhile = connect().await.expect("the backlog takes it");
        before.send(b"one", &[]).await.unwrap();
        meanwhile.send(b"two", &[]).await.unwrap();
        assert!(read_within(&mut before, ms(30_000)).await.is_err());
        assert!(simulation::is_running(server) && simulation::is_paused(server));
        simulation::resume(server);
        assert_eq!(&read_exactly(&mut before, 3).await.unwrap()[..], b"one");
        assert_eq!(&read_exactly(&mut meanwhile, 3).await.unwrap()[..], b"two");
    });
}
