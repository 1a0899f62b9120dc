//! Decodes and encodes by key, for every API in the table.

use bytes::{Bytes, BytesMut};
use protocol::frame::{
    FrameError, RequestHead, decode_body, decode_response, encode_request, encode_response, response_correlation_id,
};
use protocol::internal::{BrokerProbeRequest, MetadataFetchRequest, RaftRequest};
use protocol::messages::*;

/// Calls `$call::<Message>($arguments)` with the request type of a key.
macro_rules! by_key {
    ($key:expr, $call:ident ( $($argument:expr),* )) => {
        match $key {
            0 => $call::<ProduceRequest>($($argument),*),
            1 => $call::<FetchRequest>($($argument),*),
            2 => $call::<ListOffsetsRequest>($($argument),*),
            3 => $call::<MetadataRequest>($($argument),*),
            8 => $call::<OffsetCommitRequest>($($argument),*),
            9 => $call::<OffsetFetchRequest>($($argument),*),
            10 => $call::<FindCoordinatorRequest>($($argument),*),
            11 => $call::<JoinGroupRequest>($($argument),*),
            12 => $call::<HeartbeatRequest>($($argument),*),
            13 => $call::<LeaveGroupRequest>($($argument),*),
            14 => $call::<SyncGroupRequest>($($argument),*),
            15 => $call::<DescribeGroupsRequest>($($argument),*),
            16 => $call::<ListGroupsRequest>($($argument),*),
            42 => $call::<DeleteGroupsRequest>($($argument),*),
            47 => $call::<OffsetDeleteRequest>($($argument),*),
            18 => $call::<ApiVersionsRequest>($($argument),*),
            19 => $call::<CreateTopicsRequest>($($argument),*),
            20 => $call::<DeleteTopicsRequest>($($argument),*),
            21 => $call::<DeleteRecordsRequest>($($argument),*),
            22 => $call::<InitProducerIdRequest>($($argument),*),
            23 => $call::<OffsetForLeaderEpochRequest>($($argument),*),
            32 => $call::<DescribeConfigsRequest>($($argument),*),
            37 => $call::<CreatePartitionsRequest>($($argument),*),
            43 => $call::<ElectLeadersRequest>($($argument),*),
            45 => $call::<AlterPartitionReassignmentsRequest>($($argument),*),
            46 => $call::<ListPartitionReassignmentsRequest>($($argument),*),
            34 => $call::<AlterReplicaLogDirsRequest>($($argument),*),
            35 => $call::<DescribeLogDirsRequest>($($argument),*),
            55 => $call::<DescribeQuorumRequest>($($argument),*),
            33 => $call::<AlterConfigsRequest>($($argument),*),
            44 => $call::<IncrementalAlterConfigsRequest>($($argument),*),
            56 => $call::<AlterPartitionRequest>($($argument),*),
            57 => $call::<UpdateFeaturesRequest>($($argument),*),
            58 => $call::<EnvelopeRequest>($($argument),*),
            60 => $call::<DescribeClusterRequest>($($argument),*),
            61 => $call::<DescribeProducersRequest>($($argument),*),
            62 => $call::<BrokerRegistrationRequest>($($argument),*),
            63 => $call::<BrokerHeartbeatRequest>($($argument),*),
            64 => $call::<UnregisterBrokerRequest>($($argument),*),
            68 => $call::<ConsumerGroupHeartbeatRequest>($($argument),*),
            69 => $call::<ConsumerGroupDescribeRequest>($($argument),*),
            67 => $call::<AllocateProducerIdsRequest>($($argument),*),
            73 => $call::<AssignReplicasToDirsRequest>($($argument),*),
            74 => $call::<ListConfigResourcesRequest>($($argument),*),
            75 => $call::<DescribeTopicPartitionsRequest>($($argument),*),
            20000 => $call::<RaftRequest>($($argument),*),
            20001 => $call::<MetadataFetchRequest>($($argument),*),
            20002 => $call::<BrokerProbeRequest>($($argument),*),
            other => panic!("api key {other} is in the table and not here"),
        }
    };
}

/// The request, decoded and encoded again.
pub fn request_again(head: &RequestHead) -> Result<BytesMut, FrameError> {
    by_key!(head.api_key.0, typed_request_again(head))
}

fn typed_request_again<T: Request>(head: &RequestHead) -> Result<BytesMut, FrameError> {
    let request: T = decode_body(head)?;
    encode_request(head.correlation_id, head.client_id.as_deref(), head.api_version, &request)
}

/// The response to a request of this key and version, decoded and encoded again.
pub fn response_again(key: i16, version: i16, frame: Bytes) -> Result<BytesMut, FrameError> {
    by_key!(key, typed_response_again(version, frame))
}

fn typed_response_again<T: Request>(version: i16, frame: Bytes) -> Result<BytesMut, FrameError> {
    let correlation_id = response_correlation_id(&frame)?;
    let response = decode_response::<T>(version, frame)?;
    encode_response(correlation_id, version, &response)
}
