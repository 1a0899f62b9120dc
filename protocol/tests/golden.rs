//! Bytes on the wire: frames captured from unmodified clients and from Apache Kafka 4.3.1, and frames that Kafka's own Java
//! classes wrote (`kafka-java`, one for each version), are decoded through the guard and encoded back to the same bytes.
//!
//! A file is `golden/WHO/KEY-vVERSION-N.req.bin` or `.resp.bin`: one frame without its length.
#![allow(clippy::disallowed_methods, reason = "reads fixtures from the disk, outside any simulation")]

#[path = "golden/dispatch.rs"]
mod dispatch;
#[path = "golden/files.rs"]
mod files;

use bytes::{Bytes, BytesMut};
use dispatch::{request_again, response_again};
use files::{Direction, Golden, all};
use protocol::api::{API_TABLE, API_VERSIONS, Plane};
use protocol::error_code::ErrorCode;
use protocol::fetch_response::{
    Chunk, EpochEndOffset, FetchAnswer, FetchResponseEncoder, FetchedPartition, FetchedTopic, NodeEndpoint,
};
use protocol::frame::{self, encode_unsupported_api_versions, parse_request_head};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::record_batch::{ProduceLimits, TimestampRule, batches, check_crc, records, validate_produced};

fn frames(direction: Direction) -> impl Iterator<Item = Golden> {
    all().into_iter().filter(move |golden| golden.direction == direction)
}

/// The frame with its length in front, as it is sent.
fn framed(frame: &Bytes) -> BytesMut {
    let mut bytes = BytesMut::from(&(frame.len() as i32).to_be_bytes()[..]);
    bytes.extend_from_slice(frame);
    bytes
}

#[test]
fn every_captured_request_is_decoded_and_encoded_to_the_same_bytes() {
    let mut seen = 0;
    for golden in frames(Direction::Request) {
        let head = parse_request_head(golden.bytes.clone(), golden.plane()).expect(&golden.path);
        assert_eq!(head.api_key.0, golden.key, "{}", golden.path);
        if head.is_unsupported_api_versions() {
            continue;
        }
        let again = request_again(&head).unwrap_or_else(|error| panic!("{}: {error}", golden.path));
        assert_eq!(again, framed(&golden.bytes), "{}", golden.path);
        seen += 1;
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn every_captured_response_is_decoded_and_encoded_to_the_same_bytes() {
    let mut seen = 0;
    for golden in frames(Direction::Response) {
        let version = if golden.is_unsupported_api_versions() { 0 } else { golden.version };
        let again = response_again(golden.key, version, golden.bytes.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", golden.path));
        assert_eq!(again, framed(&golden.bytes), "{}", golden.path);
        seen += 1;
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn an_api_versions_request_from_the_future_is_answered_as_kafka_answers_it() {
    let mut seen = 0;
    for golden in all().into_iter().filter(Golden::is_unsupported_api_versions) {
        match golden.direction {
            Direction::Request => {
                let head = parse_request_head(golden.bytes.clone(), Plane::Client).expect(&golden.path);
                assert!(head.is_unsupported_api_versions(), "{}", golden.path);
            }
            Direction::Response => {
                let correlation_id = frame::response_correlation_id(&golden.bytes).unwrap();
                assert_eq!(encode_unsupported_api_versions(correlation_id), framed(&golden.bytes), "{}", golden.path);
            }
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen}");
}

#[test]
fn every_served_version_of_every_kafka_api_has_golden_bytes() {
    let golden = all();
    for api in API_TABLE.iter().filter(|api| api.key.0 < 20_000) {
        for version in api.min..=api.max {
            for direction in [Direction::Request, Direction::Response] {
                let there =
                    |file: &&Golden| (file.key, file.version, file.direction) == (api.key.0, version, direction);
                assert!(golden.iter().any(|file| there(&file)), "{} v{version} {direction:?}", api.name);
            }
        }
    }
}

#[test]
fn client_frames_do_not_pass_on_planes_where_their_api_does_not_exist() {
    for golden in frames(Direction::Request) {
        for plane in [Plane::Client, Plane::InterBroker, Plane::Controller] {
            let there = API_TABLE.iter().any(|api| api.key.0 == golden.key && api.is_on(plane));
            assert_eq!(parse_request_head(golden.bytes.clone(), plane).is_ok(), there, "{} on {plane:?}", golden.path);
        }
    }
    assert!(API_TABLE.iter().any(|api| api.key == API_VERSIONS && api.planes.len() == 3));
}

fn partition_of(data: PartitionData, version: i16) -> FetchedPartition<Bytes> {
    // Half of the records as one slice and half as another: the bytes must not depend on how they are sliced.
    let mut records = data.records.expect("Kafka writes empty records, not null");
    let first = records.split_to(records.len() / 2);
    let epoch = data.diverging_epoch;
    let leader = data.current_leader;
    FetchedPartition {
        partition: PartitionIndex(data.partition_index),
        error_code: ErrorCode::from_code(data.error_code).expect("a code of Kafka's"),
        high_watermark: Offset(data.high_watermark),
        last_stable_offset: Offset(data.last_stable_offset),
        log_start_offset: Offset(data.log_start_offset),
        diverging_epoch: (version >= 12 && (epoch.epoch, epoch.end_offset) != (-1, -1))
            .then_some(EpochEndOffset { leader_epoch: LeaderEpoch(epoch.epoch), end_offset: Offset(epoch.end_offset) }),
        current_leader: (version >= 12 && (leader.leader_id.0, leader.leader_epoch) != (-1, -1))
            .then_some((BrokerId(leader.leader_id.0), LeaderEpoch(leader.leader_epoch))),
        aborted_transactions: data
            .aborted_transactions
            .map(|aborted| aborted.into_iter().map(|one| (one.producer_id.into(), Offset(one.first_offset))).collect()),
        preferred_read_replica: data.preferred_read_replica.into(),
        records: vec![first, records],
    }
}

fn answer_of(response: FetchResponse, version: i16) -> FetchAnswer<Bytes> {
    FetchAnswer {
        throttle_time_ms: response.throttle_time_ms,
        error_code: ErrorCode::from_code(response.error_code).expect("a code of Kafka's"),
        session_id: response.session_id,
        topics: response
            .responses
            .into_iter()
            .map(|topic| FetchedTopic {
                name: topic.topic.to_string(),
                topic_id: TopicId(topic.topic_id),
                partitions: topic.partitions.into_iter().map(|data| partition_of(data, version)).collect(),
            })
            .collect(),
        node_endpoints: response
            .node_endpoints
            .into_iter()
            .map(|endpoint| NodeEndpoint {
                node_id: endpoint.node_id.into(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
                rack: endpoint.rack.map(|rack| rack.to_string()),
            })
            .collect(),
    }
}

#[test]
fn our_own_fetch_response_is_byte_for_byte_kafkas() {
    let mut seen = 0;
    for golden in frames(Direction::Response).filter(|golden| golden.key == 1) {
        let version = golden.version;
        let decoded = frame::decode_response::<FetchRequest>(version, golden.bytes.clone()).expect(&golden.path);
        let snapshots = |data: &PartitionData| data.snapshot_id.end_offset != -1;
        if decoded.responses.iter().flat_map(|topic| &topic.partitions).any(snapshots) {
            // Only a follower of Kafka's own controller log is sent to a snapshot.
            continue;
        }
        let correlation_id = frame::response_correlation_id(&golden.bytes).unwrap();
        let chunks = FetchResponseEncoder::encode(correlation_id, version, answer_of(decoded, version), Bytes::len);
        let mut written = BytesMut::new();
        for chunk in chunks {
            match chunk {
                Chunk::Bytes(bytes) | Chunk::Slice(bytes) => written.extend_from_slice(&bytes),
            }
        }
        assert_eq!(written, framed(&golden.bytes), "{}", golden.path);
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn batches_of_real_clients_pass_validation_and_their_records_decode() {
    let mut seen = 0;
    for golden in frames(Direction::Request).filter(|golden| golden.key == 0 && !golden.path.starts_with("kafka-java/"))
    {
        let head = parse_request_head(golden.bytes.clone(), Plane::Client).expect(&golden.path);
        let request: protocol::messages::ProduceRequest = frame::decode_body(&head).expect(&golden.path);
        let limits = ProduceLimits {
            max_message_bytes: 1 << 20,
            produce_version: golden.version,
            keys_required: false,
            timestamps: TimestampRule::LogAppendTime,
        };
        for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let batch = partition.records.as_ref().expect(&golden.path);
            let header = validate_produced(batch, &limits).unwrap_or_else(|error| panic!("{}: {error}", golden.path));
            let decoded = records(batch, 64 << 20).unwrap_or_else(|error| panic!("{}: {error}", golden.path));
            assert_eq!(decoded.len(), header.record_count as usize, "{}", golden.path);
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn batches_that_a_real_broker_sends_are_sound() {
    let mut seen = 0;
    for golden in
        frames(Direction::Response).filter(|golden| golden.key == 1 && !golden.path.starts_with("kafka-java/"))
    {
        let decoded = frame::decode_response::<FetchRequest>(golden.version, golden.bytes.clone()).expect(&golden.path);
        for partition in decoded.responses.iter().flat_map(|topic| &topic.partitions) {
            for batch in batches(partition.records.as_deref().unwrap_or_default()) {
                let (header, batch) = batch.expect(&golden.path);
                check_crc(&header, batch).expect(&golden.path);
                let decoded = records(batch, 64 << 20).unwrap_or_else(|error| panic!("{}: {error}", golden.path));
                assert_eq!(decoded.len(), header.record_count as usize, "{}", golden.path);
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "{seen}");
}
