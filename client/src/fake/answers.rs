//! What the brokers of a test's cluster answer.

use super::{FakeCluster, Fault, TOPIC, group, group_admin};
use bytes::BytesMut;
use protocol::api::{self, FinalizedFeatures, Plane, api_versions_response};
use protocol::error_code::ErrorCode;
use protocol::frame::{RequestHead, decode_body, encode_response};
use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, Encodable, FetchRequest, FetchResponse,
    HeaderVersion, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, Request, StrBytes,
    WireBrokerId, topic_name,
};
use runtime::time;
use std::pin::pin;
use std::time::Duration;

/// Partitions on one page of a description: few, so that there is more than one page.
const PAGE: usize = 2;

/// The answer, or nothing where none is due. A refusal goes into every place that has an error code for a partition or topic.
pub(super) async fn answer(
    cluster: &FakeCluster,
    broker: BrokerId,
    head: &RequestHead,
    fault: Option<Fault>,
) -> Option<BytesMut> {
    let refusal = match fault {
        Some(Fault::Refuse(code) | Fault::DoAndRefuse(code)) => Some(code),
        _ => None,
    };
    let is_done = !matches!(fault, Some(Fault::Refuse(_)));
    match head.api_key {
        api::API_VERSIONS => Some(versions(cluster, head)),
        api::METADATA => Some(encode(head, &metadata(cluster, &body(head)))),
        api::PRODUCE => {
            let request: ProduceRequest = body(head);
            let response = produce(cluster, broker, &request, refusal, is_done);
            (request.acks != 0).then(|| encode(head, &response))
        }
        api::FETCH => Some(encode(head, &fetch(cluster, broker, body(head), refusal).await)),
        api::LIST_OFFSETS => Some(encode(head, &list_offsets(cluster, broker, body(head), refusal))),
        api::OFFSET_FOR_LEADER_EPOCH => Some(encode(head, &epoch_ends(cluster, broker, body(head), refusal))),
        api::INIT_PRODUCER_ID => {
            let _: InitProducerIdRequest = body(head);
            let mut state = cluster.shared.state.lock();
            state.producer_ids += 1;
            let response = InitProducerIdResponse::default()
                .with_error_code(refusal.map_or(0, ErrorCode::code))
                .with_producer_id(state.producer_ids.into());
            Some(encode(head, &response))
        }
        api::CREATE_TOPICS => Some(encode(head, &create_topics(cluster, body(head), refusal, is_done))),
        api::DELETE_TOPICS => Some(encode(head, &delete_topics(cluster, body(head)))),
        api::CREATE_PARTITIONS => Some(encode(head, &create_partitions(cluster, body(head), refusal))),
        api::DESCRIBE_CLUSTER => {
            let _: DescribeClusterRequest = body(head);
            Some(encode(head, &describe_cluster(cluster)))
        }
        api::INCREMENTAL_ALTER_CONFIGS => Some(encode(head, &alter_configs(broker, &body(head)))),
        api::DESCRIBE_TOPIC_PARTITIONS => Some(encode(head, &describe_topics(cluster, body(head)))),
        other => {
            let answer = match group_admin::answer(cluster, broker, head, fault) {
                Some(answer) => Some(answer),
                None => group::answer(cluster, broker, head, fault).await,
            };
            Some(answer.unwrap_or_else(|| panic!("no test asks for {other:?}")))
        }
    }
}

/// Takes any change of a topic, and of the broker that is asked.
fn alter_configs(broker: BrokerId, request: &IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let outcome = |resource: &AlterConfigsResource| {
        let own = resource.resource_type != 4 || resource.resource_name.as_str() == broker.to_string();
        let code = if own { ErrorCode::None } else { ErrorCode::InvalidRequest };
        AlterConfigsResourceResponse::default()
            .with_error_code(code.code())
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    };
    IncrementalAlterConfigsResponse::default().with_responses(request.resources.iter().map(outcome).collect())
}

pub(super) fn body<T: Request>(head: &RequestHead) -> T {
    decode_body(head).expect("our own requests are sound")
}

pub(super) fn encode<T: Encodable + HeaderVersion>(head: &RequestHead, response: &T) -> BytesMut {
    encode_response(head.correlation_id, head.api_version, response).expect("an answer fits its version")
}

fn versions(cluster: &FakeCluster, head: &RequestHead) -> BytesMut {
    let newest = cluster.shared.state.lock().api_versions_max;
    if head.api_version <= newest {
        let mut response = api_versions_response(head.api_version, Plane::Client, &FinalizedFeatures::default(), &[]);
        for (api, version_max) in &cluster.shared.state.lock().versions_max {
            let is_kept = |served: &ApiVersion| served.api_key != api.0 || version_max.is_some();
            response.api_keys.retain(is_kept);
            for served in response.api_keys.iter_mut().filter(|served| served.api_key == api.0) {
                served.max_version = version_max.unwrap_or(served.max_version);
            }
        }
        return encode(head, &response);
    }
    let range = ApiVersion::default().with_api_key(ApiVersionsRequest::KEY).with_max_version(newest);
    let response =
        ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()).with_api_keys(vec![range]);
    encode_response(head.correlation_id, 0, &response).expect("an error fits version 0")
}

fn metadata(cluster: &FakeCluster, request: &MetadataRequest) -> MetadataResponse {
    let mut state = cluster.shared.state.lock();
    let is_behind = request.topics.is_none() && state.listings_without > 0;
    state.listings_without -= u32::from(is_behind);
    let brokers = state.brokers.iter().map(|(broker, running)| {
        MetadataResponseBroker::default()
            .with_node_id((*broker).into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(running.port))
    });
    let partitions = state.partitions.iter().map(|(index, partition)| {
        MetadataResponsePartition::default()
            .with_partition_index(index.0)
            .with_leader_id(partition.leader.unwrap_or(BrokerId::NONE).into())
            .with_leader_epoch(partition.leader_epoch.0)
    });
    let orders = MetadataResponseTopic::default()
        .with_name(Some(topic_name(TOPIC)))
        .with_topic_id(state.topic_id.0)
        .with_partitions(partitions.collect());
    let topics = match &request.topics {
        None => {
            let created = state.created.keys().map(|name| {
                MetadataResponseTopic::default()
                    .with_name(Some(topic_name(name)))
                    .with_topic_id(uuid::Uuid::from_u128(1))
            });
            Some(orders).filter(|_| !is_behind).into_iter().chain(created).collect()
        }
        Some(asked) => {
            let asked = asked.iter().filter_map(|topic| topic.name.as_ref());
            let answer = asked.map(|name| match name.as_str() {
                TOPIC => orders.clone(),
                _ => MetadataResponseTopic::default()
                    .with_name(Some(name.clone()))
                    .with_error_code(ErrorCode::UnknownTopicOrPartition.code()),
            });
            answer.collect()
        }
    };
    MetadataResponse::default()
        .with_cluster_id(Some(StrBytes::from_static_str("fake")))
        .with_controller_id(WireBrokerId(1))
        .with_brokers(brokers.collect())
        .with_topics(topics)
}

fn produce(
    cluster: &FakeCluster,
    broker: BrokerId,
    request: &ProduceRequest,
    refusal: Option<ErrorCode>,
    is_done: bool,
) -> ProduceResponse {
    let mut state = cluster.shared.state.lock();
    let mut topics = Vec::new();
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            let partition = state.partitions.get_mut(&PartitionIndex(data.index)).expect("the partition exists");
            let records = data.records.as_ref().expect("a batch");
            let appended = match partition.refusal(broker, LeaderEpoch::UNKNOWN) {
                Some(code) => Err(code),
                None if is_done => partition.append(records),
                None => Ok(Offset::UNKNOWN),
            };
            // An error after the append cannot hide one before it.
            let answer = appended.and_then(|offset| refusal.map_or(Ok(offset), Err));
            partitions.push(
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(answer.err().map_or(0, ErrorCode::code))
                    .with_base_offset(answer.map_or(-1, |offset| offset.0)),
            );
        }
        topics.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    drop(state);
    cluster.shared.appended.notify_waiters();
    ProduceResponse::default().with_responses(topics)
}

async fn fetch(
    cluster: &FakeCluster,
    broker: BrokerId,
    request: FetchRequest,
    refusal: Option<ErrorCode>,
) -> FetchResponse {
    let deadline = time::now() + Duration::from_millis(request.max_wait_ms as u64);
    loop {
        let mut appended = pin!(cluster.shared.appended.notified());
        appended.as_mut().enable();
        let (response, has_something) = fetch_now(cluster, broker, &request, refusal);
        if has_something || time::timeout_at(deadline, appended).await.is_err() {
            return response;
        }
    }
}

fn fetch_now(
    cluster: &FakeCluster,
    broker: BrokerId,
    request: &FetchRequest,
    refusal: Option<ErrorCode>,
) -> (FetchResponse, bool) {
    let state = cluster.shared.state.lock();
    let mut has_something = false;
    let mut topics = Vec::new();
    for topic in &request.topics {
        let is_known = topic.topic.as_str() == TOPIC || TopicId(topic.topic_id) == state.topic_id;
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let partition = &state.partitions[&PartitionIndex(asked.partition)];
            let refused = match is_known {
                true => refusal.or(partition.refusal(broker, LeaderEpoch(asked.current_leader_epoch))),
                false => Some(ErrorCode::UnknownTopicId),
            };
            let read = match refused {
                Some(code) => Err(code),
                None => partition.read(Offset(asked.fetch_offset), asked.partition_max_bytes as usize),
            };
            has_something |= read.as_ref().map_or(true, |bytes| !bytes.is_empty());
            partitions.push(
                PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_error_code(read.as_ref().err().map_or(0, |code| code.code()))
                    .with_high_watermark(partition.end().0)
                    .with_records(read.ok()),
            );
        }
        topics.push(
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions),
        );
    }
    (FetchResponse::default().with_responses(topics), has_something)
}

fn list_offsets(
    cluster: &FakeCluster,
    broker: BrokerId,
    request: ListOffsetsRequest,
    refusal: Option<ErrorCode>,
) -> ListOffsetsResponse {
    let state = cluster.shared.state.lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = &state.partitions[&PartitionIndex(asked.partition_index)];
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let refused = refusal.or(partition.refusal(broker, LeaderEpoch(asked.current_leader_epoch)));
            match (refused, asked.timestamp) {
                (Some(code), _) => answer.with_error_code(code.code()),
                (None, -2) => answer.with_offset(partition.start().0),
                (None, -1) => answer.with_offset(partition.end().0),
                // Every record of a test has the timestamp of its offset.
                (None, timestamp) if timestamp < partition.end().0 => {
                    answer.with_offset(timestamp.max(0)).with_timestamp(timestamp.max(0))
                }
                (None, _) => answer.with_offset(-1),
            }
        });
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn epoch_ends(
    cluster: &FakeCluster,
    broker: BrokerId,
    request: OffsetForLeaderEpochRequest,
    refusal: Option<ErrorCode>,
) -> OffsetForLeaderEpochResponse {
    let state = cluster.shared.state.lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = &state.partitions[&PartitionIndex(asked.partition)];
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            let refused = refusal.or(partition.refusal(broker, LeaderEpoch(asked.current_leader_epoch)));
            match (refused, partition.epoch_end(LeaderEpoch(asked.leader_epoch))) {
                (Some(code), _) => answer.with_error_code(code.code()),
                (None, Some((leader_epoch, end))) => answer.with_leader_epoch(leader_epoch.0).with_end_offset(end.0),
                (None, None) => answer,
            }
        });
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn create_topics(
    cluster: &FakeCluster,
    request: CreateTopicsRequest,
    refusal: Option<ErrorCode>,
    is_done: bool,
) -> CreateTopicsResponse {
    let mut state = cluster.shared.state.lock();
    let topics = request.topics.iter().map(|topic| {
        let answer = CreatableTopicResult::default().with_name(topic.name.clone());
        let exists = topic.name.as_str() == TOPIC || state.created.contains_key(topic.name.as_str());
        let code = refusal.or(exists.then_some(ErrorCode::TopicAlreadyExists));
        if is_done && code.is_none() && !request.validate_only {
            state.created.insert(topic.name.to_string(), topic.num_partitions);
        }
        let answer = answer.with_num_partitions(topic.num_partitions).with_replication_factor(topic.replication_factor);
        answer.with_error_code(code.map_or(0, ErrorCode::code)).with_topic_id(uuid::Uuid::from_u128(1))
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn create_partitions(
    cluster: &FakeCluster,
    request: CreatePartitionsRequest,
    refusal: Option<ErrorCode>,
) -> CreatePartitionsResponse {
    let mut state = cluster.shared.state.lock();
    let results = request.topics.iter().map(|topic| {
        let code = match state.created.get_mut(topic.name.as_str()) {
            _ if refusal.is_some() => refusal.unwrap_or(ErrorCode::None),
            None => ErrorCode::UnknownTopicOrPartition,
            Some(partitions) if *partitions >= topic.count => ErrorCode::InvalidPartitions,
            Some(partitions) => {
                *partitions = topic.count;
                ErrorCode::None
            }
        };
        CreatePartitionsTopicResult::default().with_name(topic.name.clone()).with_error_code(code.code())
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn delete_topics(cluster: &FakeCluster, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut state = cluster.shared.state.lock();
    let named = request.topics.iter().filter_map(|topic| topic.name.clone());
    let responses = named.chain(request.topic_names.iter().cloned()).map(|name| {
        let code = match state.created.remove(name.as_str()) {
            Some(_) => ErrorCode::None,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        DeletableTopicResult::default().with_name(Some(name)).with_error_code(code.code())
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn describe_cluster(cluster: &FakeCluster) -> DescribeClusterResponse {
    let state = cluster.shared.state.lock();
    let brokers = state.brokers.iter().map(|(broker, running)| {
        DescribeClusterBroker::default()
            .with_broker_id((*broker).into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(running.port))
    });
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_static_str("fake"))
        .with_controller_id(WireBrokerId(1))
        .with_brokers(brokers.collect())
}

fn describe_topics(cluster: &FakeCluster, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let state = cluster.shared.state.lock();
    let from = request.cursor.as_ref().map_or(0, |cursor| cursor.partition_index as usize);
    let page = state.partitions.iter().skip(from).take(PAGE).map(|(index, partition)| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index.0)
            .with_leader_id(partition.leader.unwrap_or(BrokerId::NONE).into())
            .with_leader_epoch(partition.leader_epoch.0)
    });
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(TOPIC)))
        .with_topic_id(state.topic_id.0)
        .with_partitions(page.collect());
    let next = (from + PAGE < state.partitions.len())
        .then(|| Cursor::default().with_topic_name(topic_name(TOPIC)).with_partition_index((from + PAGE) as i32));
    DescribeTopicPartitionsResponse::default().with_topics(vec![topic]).with_next_cursor(next)
}
