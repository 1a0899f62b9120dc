//! A connection against brokers that answer late, wrongly, or not at all, over real and simulated sockets.

use super::*;
use crate::fake::{FakeCluster, Fault, TOPIC, in_both_worlds, until};
use bytes::BytesMut;
use protocol::ids::BrokerId;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{ApiVersionsRequest, MetadataRequest, topic_name};
use runtime::net::Listener;

const BROKER: BrokerId = BrokerId(1);

async fn connect(cluster: &FakeCluster) -> Connection {
    Connection::connect(&cluster.address(BROKER), ConnectionOptions::default()).await.expect("the broker listens")
}

fn metadata() -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

const SOON: Duration = Duration::from_millis(50);

#[test]
fn versions_are_negotiated_once_at_the_newest() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        assert_eq!(connection.version_of::<MetadataRequest>(), Ok(13));
        let response = connection.call(&metadata()).await.expect("an answer");
        assert_eq!(response.topics[0].name, Some(topic_name(TOPIC)));
        assert_eq!(cluster.versions_seen(api::API_VERSIONS), [4]);
        assert_eq!(cluster.versions_seen(api::METADATA), [13]);
    });
}

#[test]
fn an_older_broker_is_asked_in_its_own_version() {
    in_both_worlds(|| async {
        for (newest, asked) in [(3, vec![4, 3]), (0, vec![4, 0])] {
            let cluster = FakeCluster::start(1, 1).await;
            cluster.set_api_versions_max(newest);
            let connection = connect(&cluster).await;
            assert_eq!(cluster.versions_seen(api::API_VERSIONS), asked);
            connection.call(&metadata()).await.expect("an answer");
        }
    });
}

#[test]
fn many_calls_are_under_way_at_once() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        let version = connection.version_of::<MetadataRequest>().expect("it is served");
        let submitted: Vec<_> =
            (0..100).map(|_| connection.submit(version, &metadata(), Duration::from_secs(5)).expect("open")).collect();
        // Whoever waits for them in another order gets each one's own answer.
        for pending in submitted.into_iter().rev() {
            pending.wait().await.expect("an answer");
        }
    });
}

#[test]
fn a_late_answer_is_dropped_and_the_connection_goes_on() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        cluster.script(api::METADATA, [Fault::Wait(SOON * 4)]);
        let late = connection.call_with_timeout(&metadata(), SOON).await;
        assert!(matches!(late, Err(ClientError::Timeout { sent: true, .. })), "{late:?}");
        connection.call(&metadata()).await.expect("the next answer is its own");
        assert!(!connection.is_closed());
    });
}

#[test]
fn whoever_answers_nothing_for_as_long_as_any_request_may_take_is_not_asked_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let options = ConnectionOptions { request_timeout: SOON * 4, ..ConnectionOptions::default() };
        let connection = Connection::connect(&cluster.address(BROKER), options).await.expect("the broker listens");
        cluster.script(api::METADATA, [Fault::Wait(Duration::from_secs(500))]);
        let version = connection.version_of::<MetadataRequest>().expect("it is served");
        // Nobody waits for this one.
        drop(connection.submit(version, &metadata(), SOON).expect("open"));
        let asked = connection.call_with_timeout(&metadata(), SOON).await;
        assert!(matches!(asked, Err(ClientError::Timeout { sent: true, .. })), "{asked:?}");
        time::sleep(SOON * 4).await;
        let closed = connection.call(&metadata()).await.expect_err("it is silent");
        assert!(matches!(closed, ClientError::Closed { sent: false, cause: CloseCause::Silent, .. }), "{closed:?}");
        assert!(connection.is_closed());
    });
}

#[test]
fn a_close_by_the_peer_fails_every_waiting_call_at_once() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        cluster.script(api::METADATA, [Fault::Wait(SOON), Fault::Drop]);
        let version = connection.version_of::<MetadataRequest>().expect("it is served");
        let submitted: Vec<_> =
            (0..4).map(|_| connection.submit(version, &metadata(), Duration::from_secs(500)).expect("open")).collect();
        let started = time::now();
        let mut failed = 0;
        for (at, pending) in submitted.into_iter().enumerate() {
            match pending.wait().await {
                Err(ClientError::Closed { sent: true, .. }) => failed += 1,
                // Answered before the close, unless the close was a reset.
                Ok(_) if at == 0 => {}
                other => panic!("{other:?} is no close"),
            }
        }
        assert!(failed >= 3, "only {failed} calls failed");
        assert!(started.elapsed() < Duration::from_secs(5), "nobody waited for the deadline");
        assert!(connection.is_closed());
        let after = connection.call(&metadata()).await.expect_err("it is closed");
        assert!(after.is_unsent() && after.is_retriable(), "{after:?}");
    });
}

#[test]
fn closing_wakes_those_who_watch_for_it() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        let closed = connection.closed();
        let copy = connection.clone();
        drop(connection);
        assert!(!copy.is_closed(), "there is another handle");
        drop(copy);
        assert_eq!(closed.await, CloseCause::Local);
    });
}

#[test]
fn nobody_listens_is_said_at_once() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        let address = cluster.address(BrokerId(2));
        cluster.stop_broker(BrokerId(2));
        time::sleep(SOON).await;
        let refused = Connection::connect(&address, ConnectionOptions::default()).await.expect_err("nobody listens");
        assert!(
            matches!(refused, ClientError::Connect { kind: std::io::ErrorKind::ConnectionRefused, .. }),
            "{refused:?}"
        );
    });
}

/// Listens, and hands each connection's stream to `serve`.
async fn listen<F>(serve: fn(Stream) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = Listener::bind("127.0.0.1:0").await.expect("the system has a port");
    let address = format!("127.0.0.1:{}", listener.local_address().port());
    task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            task::spawn(serve(stream));
        }
    });
    address
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    in_both_worlds(|| async {
        let address = listen(|stream| async move {
            let _held = stream;
            time::sleep(Duration::from_secs(600)).await;
        });
        let options = ConnectionOptions { connect_timeout: SOON, ..ConnectionOptions::default() };
        let silent = Connection::connect(&address.await, options).await.expect_err("nobody answers");
        assert!(matches!(silent, ClientError::ConnectTimedOut { .. }), "{silent:?}");
    });
}

#[test]
fn a_frame_larger_than_allowed_is_not_waited_for() {
    in_both_worlds(|| async {
        let address = listen(|mut stream| async move {
            let mut buffer = BytesMut::new();
            let _ = stream.read(&mut buffer).await;
            let _ = stream.send(&[0x7f, 0xff, 0xff, 0xff], &[]).await;
            time::sleep(Duration::from_secs(600)).await;
        });
        let refused = Connection::connect(&address.await, ConnectionOptions::default()).await.expect_err("no broker");
        assert!(matches!(refused, ClientError::Protocol { .. }), "{refused:?}");
    });
}

#[test]
fn a_peer_that_reads_nothing_holds_nobody_up() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        cluster.script(api::METADATA, [Fault::Wait(Duration::from_secs(600))]);
        let version = connection.version_of::<MetadataRequest>().expect("it is served");
        // More than any socket's buffers hold.
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&"x".repeat(200))));
        let large = MetadataRequest::default().with_topics(Some(vec![topic; 5000]));
        let submitted: Vec<_> = (0..40).map(|_| connection.submit(version, &large, SOON * 4).expect("open")).collect();
        let mut unsent = 0;
        for pending in submitted {
            let failed = pending.wait().await.expect_err("nobody answers");
            unsent += usize::from(failed.is_unsent());
        }
        assert!(unsent > 0, "what never left was taken back");
        connection.close();
        let closed = connection.closed().await;
        assert_eq!(closed, CloseCause::Local);
    });
}

#[test]
fn a_dropped_call_leaves_nothing_behind() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        cluster.script(api::METADATA, [Fault::Wait(SOON * 2)]);
        let version = connection.version_of::<MetadataRequest>().expect("it is served");
        drop(connection.submit(version, &metadata(), Duration::from_secs(5)).expect("open"));
        assert!(connection.handle.shared.state.lock().waiting.is_empty());
        until("the answer was read and dropped", || cluster.versions_seen(api::METADATA).len() == 1).await;
        connection.call(&metadata()).await.expect("an answer");
    });
}

#[test]
fn an_api_that_the_peer_lacks_is_not_asked() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let connection = connect(&cluster).await;
        let request = protocol::messages::AlterPartitionRequest::default();
        let refused = connection.call(&request).await.expect_err("not on a client's listener");
        assert!(matches!(refused, ClientError::UnsupportedVersion { .. }), "{refused:?}");
        assert!(connection.call(&ApiVersionsRequest::default()).await.is_ok());
    });
}
