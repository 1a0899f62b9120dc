//! Frames, order, and what closes a connection.

use crate::support::{Cluster, Raw, batch, connect_to_leader, create_topic, leader, metadata, produce_request, run};
use bytes::{Buf, BufMut, BytesMut};
use protocol::{
    error_code::ErrorCode,
    frame::{decode_response, response_correlation_id},
    messages::{
        ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest, StrBytes,
        fetch_request::{FetchPartition, FetchTopic},
        topic_name,
    },
};
use runtime::time;
use std::time::Duration;

/// A request header of any key and version, and a body.
fn frame(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(10 + 2 + body.len() as i32 - 2);
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("raw"))
        .with_client_software_version(StrBytes::from_static_str("1"))
}

#[test]
fn an_api_versions_request_from_the_future_is_answered_in_the_oldest_layout() {
    run(1, || async {
        let _cluster = Cluster::start(1);
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        raw.send(&frame(18, 99, &[1, 2, 3])).await;
        let mut answer = raw.next().await.unwrap();
        assert_eq!((answer.get_i32(), answer.get_i16()), (7, ErrorCode::UnsupportedVersion.code()));
        assert_eq!((answer.get_i32(), answer.get_i16(), answer.get_i16(), answer.get_i16()), (1, 18, 0, 4));
        assert!(answer.is_empty());
        raw.ask(8, 4, &api_versions()).await;
        let answer = decode_response::<ApiVersionsRequest>(4, raw.next().await.unwrap()).unwrap();
        assert_eq!(answer.error_code, 0, "the connection goes on");
    });
}

#[test]
fn what_is_not_served_closes_the_connection() {
    run(2, || async {
        let _cluster = Cluster::start(1);
        let bad = [
            ("an unknown key", frame(9_999, 0, &[])),
            ("a key of the controllers", frame(62, 0, &[])),
            ("a version that is not served", frame(3, 99, &[])),
            ("a body that is cut off", frame(3, 9, &[5])),
            ("a length that is too large", BytesMut::from(&i32::MAX.to_be_bytes()[..])),
            ("a length that is negative", BytesMut::from(&(-1i32).to_be_bytes()[..])),
        ];
        for (what, bytes) in bad {
            let mut raw = Raw::connect(&Cluster::address(1)).await;
            raw.send(&bytes).await;
            assert_eq!(raw.next().await, None, "{what}");
        }
    });
}

#[test]
fn a_client_that_gives_no_name_is_told_so() {
    run(3, || async {
        let _cluster = Cluster::start(1);
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        raw.ask(1, 3, &ApiVersionsRequest::default()).await;
        let answer = decode_response::<ApiVersionsRequest>(3, raw.next().await.unwrap()).unwrap();
        assert_eq!(ErrorCode::from_wire(answer.error_code), ErrorCode::InvalidRequest);
    });
}

#[test]
fn requests_that_arrive_at_once_are_answered_in_their_order() {
    run(4, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let leader = leader(&connection, "orders", 0).await;
        connect_to_leader(&connection, "orders").await;
        let mut raw = Raw::connect(&Cluster::address(leader)).await;
        let mut bytes = BytesMut::new();
        let encode = |id, version, request: &ProduceRequest| {
            protocol::frame::encode_request(id, Some("raw"), version, request).unwrap()
        };
        // Three that wait for followers, and between them others that do not.
        for id in 0..3 {
            bytes.extend_from_slice(&encode(10 * id, 9, &produce_request("orders", 0, batch(&["a"]), -1)));
            let metadata = MetadataRequest::default().with_topics(None);
            bytes.extend_from_slice(&protocol::frame::encode_request(10 * id + 1, None, 9, &metadata).unwrap());
        }
        // In two pieces, the second of which begins inside a frame.
        let (one, two) = bytes.split_at(bytes.len() - 7);
        raw.send(one).await;
        time::sleep(Duration::from_millis(30)).await;
        raw.send(two).await;
        let mut order = Vec::new();
        for _ in 0..6 {
            let answer = raw.next().await.unwrap();
            let id = response_correlation_id(&answer).unwrap();
            if id % 10 == 0 {
                let produced = decode_response::<ProduceRequest>(9, answer).unwrap();
                let partition = &produced.responses[0].partition_responses[0];
                assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(id) / 10));
            }
            order.push(id);
        }
        assert_eq!(order, [0, 1, 10, 11, 20, 21]);
    });
}

#[test]
fn a_parked_fetch_holds_what_is_behind_it() {
    run(5, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic_name("orders")).with_partitions(vec![partition]);
        let fetch = FetchRequest::default()
            .with_max_wait_ms(400)
            .with_min_bytes(1)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let begun = time::now();
        raw.ask(1, 12, &fetch).await;
        raw.ask(2, 9, &MetadataRequest::default().with_topics(None)).await;
        assert_eq!(response_correlation_id(&raw.next().await.unwrap()).unwrap(), 1);
        assert!(time::now() - begun >= Duration::from_millis(400));
        assert_eq!(response_correlation_id(&raw.next().await.unwrap()).unwrap(), 2);
    });
}

#[test]
fn connections_beyond_the_limit_of_an_address_are_closed() {
    run(6, || async {
        let _cluster = Cluster::start_with(1, &[("max.connections.per.ip", "3")]);
        // The harness's address; the broker's own connections come from its own.
        let mut raw = Vec::new();
        for _ in 0..3 {
            let mut one = Raw::connect(&Cluster::address(1)).await;
            one.ask(1, 4, &api_versions()).await;
            assert!(one.next().await.is_some());
            raw.push(one);
        }
        let mut fourth = runtime::net::Stream::connect(&Cluster::address(1)).await.unwrap();
        let mut buffer = BytesMut::new();
        assert!(matches!(fourth.read(&mut buffer).await, Ok(0) | Err(_)));
        drop(raw);
        metadata(&Cluster::connect(1).await, &[]).await;
    });
}

#[test]
fn a_connection_that_asks_nothing_is_closed() {
    run(7, || async {
        let _cluster = Cluster::start_with(1, &[("connections.max.idle.ms", "2000")]);
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        raw.ask(1, 4, &api_versions()).await;
        assert!(raw.next().await.is_some());
        let begun = time::now();
        assert_eq!(raw.next().await, None);
        let silent = time::now() - begun;
        assert!(silent >= Duration::from_millis(1_900) && silent < Duration::from_secs(4), "{silent:?}");
    });
}

#[test]
fn requests_larger_than_the_memory_for_all_of_them_still_get_through() {
    run(8, || async {
        let cluster = Cluster::start_with(1, &[("queued.max.request.bytes", "1000")]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let large = "x".repeat(200_000);
        let mut writers = Vec::new();
        for _ in 0..6 {
            let mut raw = Raw::connect(&Cluster::address(1)).await;
            let request = produce_request("orders", 0, batch(&[&large]), 1);
            writers.push(runtime::task::spawn(async move {
                raw.ask(1, 9, &request).await;
                let answer = decode_response::<ProduceRequest>(9, raw.next().await.unwrap()).unwrap();
                answer.responses[0].partition_responses[0].base_offset
            }));
        }
        let mut offsets = Vec::new();
        for writer in writers {
            offsets.push(writer.await.unwrap());
        }
        offsets.sort_unstable();
        assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_is_let_go() {
    run(9, || async {
        let cluster = Cluster::start_with(1, &[("connections.max.idle.ms", "3000")]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let large = "x".repeat(900_000);
        let answer = connection.call_at(9, &produce_request("orders", 0, batch(&[&large]), 1)).await.unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic_name("orders")).with_partitions(vec![partition]);
        let fetch = FetchRequest::default().with_min_bytes(1).with_session_epoch(-1).with_topics(vec![topic]);
        for id in 0..4 {
            raw.ask(id, 12, &fetch).await;
        }
        time::sleep(Duration::from_secs(8)).await;
        let mut answers = 0;
        while raw.next().await.is_some() {
            answers += 1;
        }
        assert!(answers < 4, "the broker did not wait for ever to send {answers} answers");
    });
}
