//! Records in and out.

use crate::support::{
    Cluster, Raw, batch, batch_of, connect, connect_to_leader, create_topic, eventually, leader, list_offset, metadata,
    produce, produce_request, run,
};
use protocol::{
    compression::Compression,
    error_code::ErrorCode,
    ids::{ProducerEpoch, ProducerId, Sequence, TopicId},
    messages::{
        FetchRequest, FetchResponse, InitProducerIdRequest, OffsetForLeaderEpochRequest, StrBytes, TransactionalId,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        topic_name,
    },
    record_batch::{BatchHeader, check_crc, records},
};
use runtime::{task, time};
use std::time::Duration;

/// A fetch of one partition, by name and by id, so that it fits every version.
fn fetch_request(topic: &str, topic_id: TopicId, offset: i64, min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition::default().with_partition(0).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_topic_id(topic_id.0).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(min_bytes)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The values of the records in an answer of one partition.
fn values(response: &FetchResponse) -> Vec<String> {
    let data = &response.responses[0].partitions[0];
    assert_eq!(ErrorCode::from_wire(data.error_code), ErrorCode::None);
    let mut bytes = data.records.clone().unwrap_or_default();
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let header = protocol::record_batch::BatchHeader::parse(&bytes).unwrap();
        let batch = bytes.split_to(header.size());
        for record in records(&batch, 1 << 20).unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

#[test]
fn records_are_read_as_they_were_written_in_every_version() {
    run(1, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 3, &[]).await;
        let connection = connect_to_leader(&connection, "orders").await;
        let mut written = Vec::new();
        for version in 3..=13 {
            let value = format!("version {version}");
            let data = PartitionProduceData::default().with_index(0).with_records(Some(batch(&[&value])));
            let topic = TopicProduceData::default()
                .with_name(topic_name("orders"))
                .with_topic_id(id.0)
                .with_partition_data(vec![data]);
            let acks = if version % 2 == 0 { 1 } else { -1 };
            let request = protocol::messages::ProduceRequest::default()
                .with_acks(acks)
                .with_timeout_ms(10_000)
                .with_topic_data(vec![topic]);
            let answer = connection.call_at(version, &request).await.unwrap();
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!((answer.error_code, answer.base_offset), (0, written.len() as i64), "version {version}");
            written.push(value);
        }
        eventually("the high watermark", async || {
            list_offset(&connection, "orders", -1, 10).await == (0, written.len() as i64)
        })
        .await;
        for version in 4..=18 {
            let answer = connection.call_at(version, &fetch_request("orders", id, 0, 1, 1_000)).await.unwrap();
            assert_eq!(values(&answer), written, "version {version}");
            let answer = connection.call_at(version, &fetch_request("orders", id, 9, 1, 1_000)).await.unwrap();
            assert_eq!(values(&answer), written[9..], "version {version}");
        }
        for version in 1..=10 {
            assert_eq!(list_offset(&connection, "orders", -2, version).await, (0, 0));
            assert_eq!(list_offset(&connection, "orders", -1, version).await, (0, 11));
        }
    });
}

#[test]
fn a_fetch_waits_for_a_record_and_for_no_longer_than_it_may() {
    run(2, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let begun = time::now();
        let empty = connection.call_at(13, &fetch_request("orders", id, 0, 1, 300)).await.unwrap();
        assert_eq!(values(&empty), [""; 0]);
        assert!(time::now() - begun >= Duration::from_millis(300));

        let other = Cluster::connect(1).await;
        let request = fetch_request("orders", id, 0, 1, 20_000);
        let waiting = task::spawn(async move { (other.call_at(13, &request).await.unwrap(), time::now()) });
        time::sleep(Duration::from_millis(500)).await;
        let written = time::now();
        produce(&connection, "orders", 0, batch(&["at last"]), 1).await;
        let (answer, at) = waiting.await.unwrap();
        assert_eq!(values(&answer), ["at last"]);
        assert!(at - written < Duration::from_millis(100), "an append wakes the fetch: {:?}", at - written);

        let begun = time::now();
        let answer = connection.call_at(13, &fetch_request("orders", id, 0, 10_000, 300)).await.unwrap();
        assert_eq!(values(&answer), ["at last"], "too little is better than nothing");
        assert!(time::now() - begun >= Duration::from_millis(300));
    });
}

#[test]
fn what_is_refused_says_why_and_leaves_nothing() {
    run(3, || async {
        let cluster = Cluster::start_with(3, &[("auto.create.topics.enable", "false")]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[("max.message.bytes", "200")]).await;
        create_topic(&connection, "keyed", 1, 1, &[("cleanup.policy", "compact")]).await;
        let connection = connect_to_leader(&connection, "orders").await;
        let mut torn = batch(&["torn"]).to_vec();
        *torn.last_mut().unwrap() ^= 1;
        let large = "x".repeat(300);
        let cases = [
            ("acks", batch(&["a"]), 2, ErrorCode::InvalidRequiredAcks),
            ("crc", torn.into(), 1, ErrorCode::CorruptMessage),
            ("size", batch(&[&large]), 1, ErrorCode::MessageTooLarge),
            ("nothing", bytes::Bytes::new(), 1, ErrorCode::InvalidRecord),
            (
                "a producer id that nobody was given",
                batch_of(&["a"], ProducerId(999_999), ProducerEpoch(0), Sequence(0)),
                1,
                ErrorCode::UnknownProducerId,
            ),
        ];
        for (what, records, acks, expected) in cases {
            let answer = produce(&connection, "orders", 0, records, acks).await;
            assert_eq!((ErrorCode::from_wire(answer.error_code), answer.base_offset), (expected, -1), "{what}");
        }
        let unknown = produce(&connection, "none", 0, batch(&["a"]), 1).await;
        assert_eq!(ErrorCode::from_wire(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
        let unknown = produce(&connection, "orders", 5, batch(&["a"]), 1).await;
        assert_eq!(ErrorCode::from_wire(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
        assert_eq!(list_offset(&connection, "orders", -1, 7).await, (0, 0));

        let keyed = connect_to_leader(&connection, "keyed").await;
        let answer = produce(&keyed, "keyed", 0, batch(&["no key"]), 1).await;
        assert_eq!(ErrorCode::from_wire(answer.error_code), ErrorCode::InvalidRecord);
        assert_eq!(answer.record_errors[0].batch_index, 0);
    });
}

#[test]
fn a_broker_that_does_not_lead_says_who_does() {
    run(4, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let at = leader(&connection, "orders", 0).await;
        let other = Cluster::connect(at % 3 + 1).await;
        eventually("the topic on another broker", async || leader(&other, "orders", 0).await == at).await;
        let request = produce_request("orders", 0, batch(&["a"]), 1);
        let answer = other.call_at(12, &request).await.unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(ErrorCode::from_wire(partition.error_code), ErrorCode::NotLeaderOrFollower);
        assert_eq!(partition.current_leader.leader_id.0, at);
        let endpoint = &answer.node_endpoints[0];
        assert_eq!((endpoint.node_id.0, endpoint.port), (at, 9092));
        let answer = other.call_at(16, &fetch_request("orders", id, 0, 1, 100)).await.unwrap();
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(ErrorCode::from_wire(partition.error_code), ErrorCode::NotLeaderOrFollower);
        assert_eq!((partition.current_leader.leader_id.0, answer.node_endpoints[0].node_id.0), (at, at));
    });
}

#[test]
fn a_produce_without_acks_is_not_answered_and_closes_the_connection_when_refused() {
    run(5, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let mut raw = Raw::connect(&Cluster::address(1)).await;
        raw.ask(1, 9, &produce_request("orders", 0, batch(&["a"]), 0)).await;
        raw.ask(2, 9, &produce_request("orders", 0, batch(&["b"]), 1)).await;
        let answer = protocol::frame::response_correlation_id(&raw.next().await.unwrap()).unwrap();
        assert_eq!(answer, 2, "the first has no answer");
        raw.ask(3, 9, &produce_request("none", 0, batch(&["c"]), 0)).await;
        assert_eq!(raw.next().await, None);
        assert_eq!(list_offset(&connection, "orders", -1, 7).await, (0, 2));
    });
}

#[test]
fn an_idempotent_producer_writes_each_batch_once() {
    run(6, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let connection = connect_to_leader(&connection, "orders").await;
        let mut ids = Vec::new();
        for node in [1, 2, 3, 1] {
            let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(0);
            let answer = Cluster::connect(node).await.call(&request).await.unwrap();
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            ids.push(answer.producer_id.0);
        }
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "no id is given twice: {ids:?}");

        let producer_id = ProducerId(ids[0]);
        let send = async |sequence: i32| {
            let records = batch_of(&["a", "b"], producer_id, ProducerEpoch(0), Sequence(sequence));
            let answer = produce(&connection, "orders", 0, records, -1).await;
            (ErrorCode::from_wire(answer.error_code), answer.base_offset)
        };
        assert_eq!(send(0).await, (ErrorCode::None, 0));
        assert_eq!(send(2).await, (ErrorCode::None, 2));
        assert_eq!(send(0).await, (ErrorCode::None, 0), "told again where it is");
        assert_eq!(send(7).await, (ErrorCode::OutOfOrderSequenceNumber, -1));
        assert_eq!(list_offset(&connection, "orders", -1, 7).await, (0, 4));

        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("payments"))))
            .with_transaction_timeout_ms(1_000);
        let answer = connection.call(&request).await.unwrap();
        assert_eq!(ErrorCode::from_wire(answer.error_code), ErrorCode::UnsupportedVersion);
    });
}

#[test]
fn a_fetch_session_tells_only_what_is_new() {
    run(7, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        let whole = |session_id, epoch| {
            fetch_request("orders", id, 0, 0, 0).with_session_id(session_id).with_session_epoch(epoch)
        };
        // Names nothing: what the session knows is asked for.
        let goes_on = |session_id, epoch| whole(session_id, epoch).with_topics(Vec::new());
        let told = async |request: FetchRequest| {
            let answer = connection.call_at(12, &request).await.unwrap();
            let told = answer.responses.iter().flat_map(|topic| &topic.partitions);
            let sizes: Vec<bool> =
                told.map(|told| told.records.as_ref().is_some_and(|bytes| !bytes.is_empty())).collect();
            (ErrorCode::from_wire(answer.error_code), answer.session_id, sizes)
        };
        let (error, session, sizes) = told(whole(0, 0)).await;
        assert_eq!((error, sizes), (ErrorCode::None, vec![false]));
        assert!(session > 0, "{session}");
        assert_eq!(told(goes_on(session, 1)).await, (ErrorCode::None, session, vec![]));
        produce(&connection, "orders", 0, batch(&["a"]), -1).await;
        assert_eq!(told(goes_on(session, 2)).await, (ErrorCode::None, session, vec![true]));
        assert_eq!(told(goes_on(session, 2)).await, (ErrorCode::InvalidFetchSessionEpoch, 0, vec![]));
        assert_eq!(told(goes_on(session + 1, 1)).await, (ErrorCode::FetchSessionIdNotFound, 0, vec![]));
        let with_ids = connection.call_at(13, &goes_on(session, 3)).await.unwrap();
        assert_eq!(ErrorCode::from_wire(with_ids.error_code), ErrorCode::FetchSessionTopicIdError);
        assert_eq!(told(whole(session, -1)).await, (ErrorCode::None, 0, vec![true]));
        assert_eq!(told(goes_on(session, 3)).await, (ErrorCode::FetchSessionIdNotFound, 0, vec![]));
    });
}

#[test]
fn fetches_are_refused_as_kafka_refuses_them() {
    run(8, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        produce(&connection, "orders", 0, batch(&["a"]), -1).await;
        let error = async |request: FetchRequest, version: i16| {
            let answer = connection.call_at(version, &request).await.unwrap();
            ErrorCode::from_wire(answer.responses[0].partitions[0].error_code)
        };
        let good = || fetch_request("orders", id, 0, 1, 5_000);
        assert_eq!(
            error(fetch_request("none", TopicId(id.0), 0, 1, 5_000), 12).await,
            ErrorCode::UnknownTopicOrPartition
        );
        let unknown = TopicId(uuid::Uuid::from_u128(77));
        assert_eq!(error(fetch_request("orders", unknown, 0, 1, 5_000), 13).await, ErrorCode::UnknownTopicId);
        assert_eq!(error(fetch_request("orders", id, 9, 1, 5_000), 13).await, ErrorCode::OffsetOutOfRange);
        let mut epoch = good();
        epoch.topics[0].partitions[0].current_leader_epoch = 7;
        assert_eq!(error(epoch, 13).await, ErrorCode::UnknownLeaderEpoch);
        let follower = good().with_replica_state(ReplicaState::default().with_replica_id(2.into()));
        assert_eq!(error(follower, 15).await, ErrorCode::TopicAuthorizationFailed);
        assert_eq!(error(good(), 13).await, ErrorCode::None);
    });
}

#[test]
fn a_leader_says_where_an_epoch_ends() {
    run(9, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        produce(&connection, "orders", 0, batch(&["a", "b"]), -1).await;
        let leader_epoch = metadata(&connection, &["orders"]).await.topics[0].partitions[0].leader_epoch;
        for version in 2..=4 {
            let ask = async |epoch: i32| {
                let partition = OffsetForLeaderPartition::default()
                    .with_partition(0)
                    .with_current_leader_epoch(leader_epoch)
                    .with_leader_epoch(epoch);
                let topic =
                    OffsetForLeaderTopic::default().with_topic(topic_name("orders")).with_partitions(vec![partition]);
                let request =
                    OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
                let answer = connection.call_at(version, &request).await.unwrap();
                let end = &answer.topics[0].partitions[0];
                (end.error_code, end.leader_epoch, end.end_offset)
            };
            assert_eq!(ask(leader_epoch).await, (0, leader_epoch, 2), "version {version}");
            assert_eq!(ask(leader_epoch + 5).await, (0, -1, -1), "version {version}");
        }
    });
}

#[test]
fn followers_fetch_on_the_brokers_listener_only_there() {
    run(10, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let at = leader(&connection, "orders", 0).await;
        produce(&connect_to_leader(&connection, "orders").await, "orders", 0, batch(&["a"]), -1).await;
        let in_sync = metadata(&connection, &["orders"]).await.topics[0].partitions[0].isr_nodes.len();
        assert_eq!(in_sync, 3);
        let brokers = connect(&Cluster::inter_broker_address(at)).await;
        let request = produce_request("orders", 0, batch(&["b"]), 1);
        assert!(brokers.call(&request).await.is_err(), "clients' requests do not exist there");
    });
}

#[test]
fn a_topic_keeps_its_batches_in_the_codec_that_it_names() {
    run(1, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[("compression.type", "gzip")]).await;
        let to_leader = connect_to_leader(&connection, "orders").await;
        let answer = produce(&to_leader, "orders", 0, batch(&[&"x".repeat(2_000)]), -1).await;
        assert_eq!(ErrorCode::from_wire(answer.error_code), ErrorCode::None);
        let answer = to_leader.call(&fetch_request("orders", id, 0, 0, 0)).await.unwrap();
        let records = answer.responses[0].partitions[0].records.clone().unwrap();
        let header = BatchHeader::parse(&records).unwrap();
        assert!(header.compression() == Some(Compression::Gzip) && header.size() < 500, "{header:?}");
        check_crc(&header, &records).unwrap();
    });
}
