use super::*;
use crate::messages::{MetadataRequest, MetadataResponse, ProduceRequest};
use proptest::prelude::*;

fn fed(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}

#[test]
fn a_frame_comes_out_once_all_of_it_is_there() {
    let reader = FrameReader::new(100);
    let mut buffer = BytesMut::new();
    assert_eq!(reader.missing(&buffer).unwrap(), 4);
    for byte in [0, 0, 0, 3, b'a', b'b'] {
        buffer.extend_from_slice(&[byte]);
        assert!(reader.next(&mut buffer).unwrap().is_none());
    }
    assert_eq!(reader.missing(&buffer).unwrap(), 1);
    buffer.extend_from_slice(b"c\x00\x00");
    assert_eq!(reader.next(&mut buffer).unwrap().unwrap(), &b"abc"[..]);
    assert!(reader.next(&mut buffer).unwrap().is_none());
    assert_eq!(&buffer[..], [0, 0]);
}

#[test]
fn a_length_out_of_bounds_is_refused_before_its_bytes_arrive() {
    let reader = FrameReader::new(100);
    for announced in [-1, i32::MIN, 101, i32::MAX] {
        let refused = reader.next(&mut fed(&announced.to_be_bytes()));
        assert!(matches!(refused, Err(FrameError::BadLength { limit: 100, .. })), "{announced}");
    }
    assert!(reader.next(&mut fed(&100i32.to_be_bytes())).unwrap().is_none());
}

/// A request's header of version 1, then whatever follows.
fn request(key: i16, version: i16, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(9);
    frame.put_i16(2);
    frame.put_slice(b"me");
    frame.put_slice(rest);
    frame.freeze()
}

#[test]
fn what_is_not_served_here_closes_the_connection() {
    let refused = |key, version, plane| parse_request_head(request(key, version, &[0]), plane).unwrap_err();
    assert!(matches!(refused(24, 0, Plane::Client), FrameError::UnknownApi(ApiKey(24))));
    assert!(matches!(refused(56, 3, Plane::Client), FrameError::UnknownApi(ApiKey(56))));
    assert!(matches!(refused(20_000, 0, Plane::InterBroker), FrameError::UnknownApi(_)));
    assert!(matches!(refused(0, 9, Plane::Controller), FrameError::UnknownApi(_)));
    for version in [-1, 0, 2, 14] {
        assert!(matches!(refused(0, version, Plane::Client), FrameError::UnsupportedVersion { .. }), "{version}");
    }
}

#[test]
fn api_versions_of_any_version_has_a_head() {
    for version in [-5, 5, i16::MAX] {
        let head = parse_request_head(request(18, version, b"whatever"), Plane::Client).unwrap();
        assert!(head.is_unsupported_api_versions());
        assert_eq!(head.correlation_id, 9);
        assert!(matches!(decode_body::<ApiVersionsRequest>(&head), Err(FrameError::UnsupportedVersion { .. })));
    }
    let head = parse_request_head(request(18, 0, &[]), Plane::Controller).unwrap();
    assert!(!head.is_unsupported_api_versions());
    assert_eq!(head.client_id.as_deref(), Some("me"));
}

#[test]
fn a_header_that_is_cut_off_or_no_text_is_refused() {
    let whole = request(3, 9, &[0]);
    for length in 0..whole.len() {
        assert!(parse_request_head(whole.slice(..length), Plane::Client).is_err(), "{length}");
    }
    let mut not_text = BytesMut::from(&whole[..]);
    not_text[10] = 0xff;
    assert!(matches!(parse_request_head(not_text.freeze(), Plane::Client), Err(FrameError::BadHeader)));
}

#[test]
fn tagged_fields_of_a_header_are_skipped() {
    // One tag, 5, of two bytes; then MetadataRequest version 9 for all topics, creating none.
    let frame = request(3, 9, &[1, 5, 2, 0xaa, 0xbb, 0, 0, 0, 0, 0]);
    let head = parse_request_head(frame, Plane::Client).unwrap();
    let request: MetadataRequest = decode_body(&head).unwrap();
    assert_eq!(request.topics, None);
}

#[test]
fn what_follows_the_message_of_a_request_is_not_read() {
    // What librdkafka 2.16.0 sends to list all topics: no topics, no creation, and three bytes of a count that it took back.
    let head = parse_request_head(request(3, 13, &[0, 0, 0, 0, 0, 1, 0, 0]), Plane::Client).unwrap();
    let request: MetadataRequest = decode_body(&head).unwrap();
    assert_eq!((request.topics, request.allow_auto_topic_creation), (None, false));
}

#[test]
fn a_response_with_bytes_left_over_is_refused() {
    let mut frame = encode_response(1, 7, &MetadataResponse::default()).unwrap();
    frame.put_u8(0);
    let refused = decode_response::<MetadataRequest>(7, frame.freeze().slice(LENGTH_BYTES..)).unwrap_err();
    assert!(matches!(refused, FrameError::Refused { cause: GuardError::LeftOver { count: 1 }, .. }), "{refused}");
}

#[test]
fn records_of_a_produce_request_are_not_copied() {
    let records = Bytes::from(vec![7; 10_000]);
    let mut request = ProduceRequest::default();
    let mut topic = crate::messages::produce_request::TopicProduceData::default();
    topic
        .partition_data
        .push(crate::messages::produce_request::PartitionProduceData::default().with_records(Some(records)));
    request.topic_data.push(topic);
    let frame = encode_request(1, None, 9, &request).unwrap().freeze();
    let range = frame.as_ptr_range();
    let head = parse_request_head(frame.slice(LENGTH_BYTES..), Plane::Client).unwrap();
    let decoded: ProduceRequest = decode_body(&head).unwrap();
    let slice = decoded.topic_data[0].partition_data[0].records.as_ref().unwrap();
    assert!(range.contains(&slice.as_ptr()), "the records are a slice of the frame");
}

#[test]
fn a_response_with_a_field_that_its_version_lacks_is_an_error_and_no_panic() {
    let answer = MetadataResponse::default().with_error_code(41);
    assert!(encode_response(1, 13, &answer).is_ok());
    let too_long = StrBytes::from_string("x".repeat(40_000));
    let answer = MetadataResponse::default().with_cluster_id(Some(too_long));
    assert!(matches!(encode_response(1, 2, &answer), Err(FrameError::Unencodable { version: 2, .. })));
}

#[test]
fn an_answer_to_a_version_too_new_is_read_in_the_layout_of_version_0() {
    let frame = encode_unsupported_api_versions(5).freeze();
    let answer = decode_response::<ApiVersionsRequest>(4, frame.slice(LENGTH_BYTES..)).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!(answer.api_keys.len(), 1);
    let api = api::find(api::API_VERSIONS).unwrap();
    assert_eq!(common_version(api, &answer), Some(4));
}

#[test]
fn the_highest_version_that_both_sides_speak_is_taken() {
    let answer = |min, max| {
        let range = crate::messages::api_versions_response::ApiVersion::default();
        ApiVersionsResponse::default()
            .with_api_keys(vec![range.with_api_key(api::FETCH.0).with_min_version(min).with_max_version(max)])
    };
    let fetch = api::find(api::FETCH).unwrap();
    assert_eq!(common_version(fetch, &answer(0, 30)), Some(18));
    assert_eq!(common_version(fetch, &answer(4, 11)), Some(11));
    assert_eq!(common_version(fetch, &answer(0, 3)), None);
    assert_eq!(common_version(fetch, &answer(19, 30)), None);
    assert_eq!(common_version(api::find(api::PRODUCE).unwrap(), &answer(0, 9)), None);
}

#[test]
fn a_count_of_billions_in_a_response_allocates_nothing() {
    // Correlation id, throttle time, brokers: 2^31 - 1 of them.
    let mut frame = BytesMut::new();
    frame.put_i32(1);
    frame.put_i32(0);
    frame.put_i32(i32::MAX);
    let refused = decode_response::<MetadataRequest>(4, frame.freeze()).unwrap_err();
    assert!(
        matches!(refused, FrameError::Refused { cause: GuardError::Truncated { field: "brokers" }, .. }),
        "{refused}"
    );
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_arrive(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10),
        step in 1usize..40,
    ) {
        let mut sent = Vec::new();
        for body in &bodies {
            sent.extend_from_slice(&(body.len() as i32).to_be_bytes());
            sent.extend_from_slice(body);
        }
        let reader = FrameReader::new(50);
        let mut buffer = BytesMut::new();
        let mut got = Vec::new();
        for piece in sent.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = reader.next(&mut buffer).unwrap() {
                got.push(frame.to_vec());
            }
        }
        prop_assert_eq!(got, bodies);
        prop_assert!(buffer.is_empty());
    }
}
