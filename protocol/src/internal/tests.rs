use super::*;
use crate::api::Plane;
use crate::frame::{LENGTH_BYTES, decode_body, decode_response, encode_request, encode_response, parse_request_head};
use proptest::prelude::*;
use std::fmt::Debug;

fn request_survives<T: Request + PartialEq + Debug>(plane: Plane, request: &T) {
    let frame = encode_request(3, Some("b1"), 0, request).unwrap().freeze();
    let head = parse_request_head(frame.slice(LENGTH_BYTES..), plane).unwrap();
    assert_eq!(&decode_body::<T>(&head).unwrap(), request);
    let mut body = bytes::BytesMut::new();
    request.encode(&mut body, 0).unwrap();
    assert_eq!(request.compute_size(0).unwrap(), body.len());
}

fn response_survives<T: Request>(response: &T::Response)
where
    T::Response: PartialEq + Debug,
{
    let frame = encode_response(3, 0, response).unwrap().freeze();
    assert_eq!(&decode_response::<T>(0, frame.slice(LENGTH_BYTES..)).unwrap(), response);
    let mut body = bytes::BytesMut::new();
    response.encode(&mut body, 0).unwrap();
    assert_eq!(response.compute_size(0).unwrap(), body.len());
}

#[test]
fn a_kind_leads_back_to_itself() {
    for wire in i8::MIN..=i8::MAX {
        if let Some(kind) = RaftKind::from_wire(wire) {
            assert_eq!(kind as i8, wire);
        }
    }
    assert_eq!(RaftKind::from_wire(1), Some(RaftKind::PreVote));
}

#[test]
fn an_unknown_kind_is_refused() {
    let known = RaftRequest {
        principal: "User:c1".to_owned(),
        cluster_id: "c".to_owned(),
        kind: RaftKind::Vote,
        target: BrokerId(1),
        body: Bytes::new(),
    };
    let mut frame = encode_request(3, None, 0, &known).unwrap();
    let at = LENGTH_BYTES + 10 + 1 + 8 + 2;
    assert_eq!(frame[at], RaftKind::Vote as u8);
    frame[at] = 99;
    let head = parse_request_head(frame.freeze().slice(LENGTH_BYTES..), Plane::Controller).unwrap();
    assert!(decode_body::<RaftRequest>(&head).is_err());
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

proptest! {
    #[test]
    fn consensus_calls_survive_the_wire(
        principal: String, cluster_id: String, wire in 0i8..4, target: i32, body in some_bytes(), error_code: i16,
    ) {
        let kind = RaftKind::from_wire(wire).unwrap();
        let request = RaftRequest { principal, cluster_id, kind, target: BrokerId(target), body: body.clone() };
        request_survives(Plane::Controller, &request);
        response_survives::<RaftRequest>(&RaftResponse { error_code, body });
    }

    #[test]
    fn metadata_fetches_survive_the_wire(
        names: (String, String), ids: (i32, i64), limits: (i32, i32),
        error_code: i16, leader: i32, end: i64,
        snapshot in proptest::option::of((any::<i64>(), some_bytes())),
        first: i64, records in proptest::collection::vec(some_bytes(), 0..200),
    ) {
        request_survives(Plane::Controller, &MetadataFetchRequest {
            principal: names.0,
            cluster_id: names.1,
            broker_id: BrokerId(ids.0),
            from: MetadataOffset(ids.1),
            max_wait_ms: limits.0,
            max_bytes: limits.1,
        });
        response_survives::<MetadataFetchRequest>(&MetadataFetchResponse {
            error_code,
            leader_id: BrokerId(leader),
            end: MetadataOffset(end),
            snapshot: snapshot.map(|(offset, image)| (MetadataOffset(offset), image)),
            first: MetadataOffset(first),
            records,
        });
    }

    #[test]
    fn probes_survive_the_wire(names: (String, String), id: i32, error_code: i16, epoch: i64, incarnation: u128) {
        request_survives(Plane::InterBroker, &BrokerProbeRequest {
            principal: names.0,
            cluster_id: names.1,
            controller_id: BrokerId(id),
        });
        response_survives::<BrokerProbeRequest>(&BrokerProbeResponse {
            error_code,
            broker_id: BrokerId(id),
            broker_epoch: BrokerEpoch(epoch),
            incarnation_id: IncarnationId(uuid::Uuid::from_u128(incarnation)),
        });
    }
}
