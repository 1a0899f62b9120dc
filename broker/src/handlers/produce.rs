//! Produce (0): batches into the logs of partitions that this broker leads.
//!
//! Everything that can be refused is refused before anything is appended to that partition; partitions do not depend on one
//! another. With acks=all the answer waits for the high watermark, and other requests of the connection go on meanwhile.

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    locate::{self, CurrentLeaders, Named},
    view::{View, is_internal, text},
};
use crate::partition::{
    Partition,
    appending::{AckError, Acks, AppendError, Ticket},
};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use metadata::{
    config::{CompressionType, TimestampType, TopicConfig},
    image::Image,
};
use protocol::{
    compression::Compression,
    error_code::ErrorCode,
    ids::{BrokerId, Offset, PartitionIndex, ProducerId, TopicId, TopicPartition, WallMillis},
    messages::{
        ProduceRequest, ProduceResponse, StrBytes, TopicName,
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    record_batch::{BatchError, BatchHeader, ProduceLimits, TimestampRule, recompress, validate_produced},
};
use runtime::{
    buggify, rand,
    time::{self, Instant},
};
use std::{sync::Arc, time::Duration};
use storage::SyncTask;

/// The first version that names topics by their ids (KIP-516).
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version that says why, and which record.
const REASONS_SINCE: i16 = 8;
/// The first version that says who leads instead (KIP-951).
const CURRENT_LEADER_SINCE: i16 = 10;
/// Who may write to Kafka's own topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// How long a batch waits for the metadata to tell of its producer's id: another broker may have given it just now.
const PRODUCER_ID_MAX: Duration = Duration::from_secs(1);
/// "No timestamp" on the wire.
const NO_TIMESTAMP: i64 = -1;

/// The batches of one topic of a request. Nothing in it but the records is a part of the request's own memory, so that a
/// request of one batch can be stamped where it lies.
struct TopicBatches {
    /// As the answer names it.
    name: StrBytes,
    topic_id: TopicId,
    /// Why the topic as a whole is refused.
    refused: Option<ErrorCode>,
    batches: Vec<(PartitionIndex, Bytes)>,
}

/// A batch that is in the log, and whose answer is still open.
struct Waiting {
    /// Its place in the response: topic, partition.
    at: (usize, usize),
    replica: Arc<Partition>,
    flush: Option<SyncTask>,
    ticket: Option<Ticket>,
}

/// Why a batch is refused.
enum Refusal {
    Code(ErrorCode),
    Batch(BatchError),
    Append(AppendError),
}

/// Appends, and answers at once unless something must be waited for: other replicas (acks=all), the device (topics that
/// flush), or metadata that tells of a new producer id.
///
/// With acks=0 there is no answer; an error closes the connection, so that the client notices (`KafkaApis`).
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: ProduceRequest) -> Outcome {
    let image = services.metadata.image();
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let topics = gather(&image, request, context.api_version, context.client_id.as_deref());
    if producer_ids_are_known(&image, &topics) {
        return append(services, context, &image, acks, timeout_ms, topics);
    }
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let known = |image: &Image| producer_ids_are_known(image, &topics);
        services.metadata.wait_until(time::now() + PRODUCER_ID_MAX, known).await;
        let image = services.metadata.image();
        match append(&services, &context, &image, acks, timeout_ms, topics) {
            Outcome::Done(answer) => answer,
            Outcome::Parked(answer) | Outcome::Waiting(answer) => answer.await,
        }
    }))
}

/// What the request holds, without the memory that it came in but for the records.
fn gather(image: &Image, request: ProduceRequest, version: i16, client_id: Option<&str>) -> Vec<TopicBatches> {
    let topics = request.topic_data.into_iter().map(|topic| {
        let named = if version >= TOPIC_IDS_SINCE {
            Named::Id(TopicId(topic.topic_id))
        } else {
            Named::Name(topic.name.as_str())
        };
        let found = named.find(image);
        let (name, topic_id, refused) = match found {
            Ok(topic) if is_internal(&topic.name) && client_id != Some(ADMIN_CLIENT_ID) => {
                (text(&topic.name), topic.id, Some(ErrorCode::InvalidTopicException))
            }
            Ok(topic) => (text(&topic.name), topic.id, None),
            Err(error) => (text(topic.name.as_str()), TopicId(topic.topic_id), Some(error)),
        };
        let batch = |data: protocol::messages::produce_request::PartitionProduceData| {
            (PartitionIndex(data.index), data.records.unwrap_or_default())
        };
        TopicBatches { name, topic_id, refused, batches: topic.partition_data.into_iter().map(batch).collect() }
    });
    topics.collect()
}

/// Whether every producer id of the request was given away, as far as the metadata tells.
fn producer_ids_are_known(image: &Image, topics: &[TopicBatches]) -> bool {
    let given = image.producer_ids.next_producer_id;
    let unknown = |records: &Bytes| BatchHeader::parse(records).is_ok_and(|header| header.producer_id >= given);
    !topics.iter().any(|topic| topic.batches.iter().any(|(_, records)| unknown(records)))
}

fn append(
    services: &Arc<Services>,
    context: &RequestContext,
    image: &Arc<Image>,
    acks: i16,
    timeout_ms: i32,
    topics: Vec<TopicBatches>,
) -> Outcome {
    let mut waiting = Vec::new();
    let mut response = ProduceResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    for topic in topics {
        let at = response.responses.len();
        let mut partitions = Vec::with_capacity(topic.batches.len());
        for (partition, records) in topic.batches {
            let of = TopicPartition { topic_id: topic.topic_id, partition };
            let appended = match (Acks::from_wire(acks), topic.refused) {
                (None, _) => Err(Refusal::Code(ErrorCode::InvalidRequiredAcks)),
                (Some(_), Some(error)) => Err(Refusal::Code(error)),
                (Some(acks), None) => append_one(services, image, of, records, acks, context.api_version),
            };
            partitions.push(match appended {
                Ok((answer, open)) => {
                    let at = (at, partitions.len());
                    waiting.extend(open.map(|(replica, flush, ticket)| Waiting { at, replica, flush, ticket }));
                    answer
                }
                Err(refusal) => refused(partition, refusal, context.api_version),
            });
        }
        let answer = TopicProduceResponse::default()
            .with_name(TopicName(topic.name))
            .with_topic_id(topic.topic_id.0)
            .with_partition_responses(partitions);
        response.responses.push(answer);
    }
    if waiting.is_empty() {
        return Outcome::Done(finish(services, context, response, acks));
    }
    let (services, context) = (services.clone(), context.clone());
    let deadline = context.deadline_within(timeout_ms);
    Outcome::Parked(Box::pin(async move {
        for ((topic, partition), error) in settle(waiting, deadline).await {
            response.responses[topic].partition_responses[partition].error_code = error.code();
        }
        finish(&services, &context, response, acks)
    }))
}

type Open = (Arc<Partition>, Option<SyncTask>, Option<Ticket>);

/// Validates one batch and appends it.
fn append_one(
    services: &Services,
    image: &Arc<Image>,
    of: TopicPartition,
    records: Bytes,
    acks: Acks,
    version: i16,
) -> Result<(PartitionProduceResponse, Option<Open>), Refusal> {
    let topic = image.topic(of.topic_id).ok_or(Refusal::Code(ErrorCode::UnknownTopicOrPartition))?;
    let replica = locate::replica(services, topic, of.partition).map_err(Refusal::Code)?;
    let config = services.topic_configs.get(image, topic);
    let header = validate_produced(&records, &limits(&config, version)).map_err(Refusal::Batch)?;
    if header.is_transactional() {
        // Nobody can have begun a transaction: there is no coordinator (see `init_producer_id`).
        return Err(Refusal::Code(ErrorCode::InvalidTxnState));
    }
    if header.producer_id != ProducerId::NONE && header.producer_id >= image.producer_ids.next_producer_id {
        return Err(Refusal::Code(ErrorCode::UnknownProducerId));
    }
    let (mut batch, header) = match codec(&config) {
        Some((codec, level)) if header.compression() != Some(codec) => {
            let kept = recompress(&records, codec, level, config.max_message_bytes as usize);
            let kept = kept.map_err(Refusal::Batch)?;
            let header = BatchHeader::parse(&kept).map_err(Refusal::Batch)?;
            (kept, header)
        }
        // Offsets and epoch are stamped in place when the request's memory holds nothing else; otherwise in a copy.
        _ => (records.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..])), header),
    };
    let appended = replica.append_as_leader(&mut batch, &[header], acks);
    let appended = appended.inspect_err(|_| replica.traffic().failed_produces.add(1)).map_err(Refusal::Append)?;
    let answer = answer(of.partition)
        .with_base_offset(appended.base_offset.0)
        .with_log_append_time_ms(appended.log_append_time.map_or(NO_TIMESTAMP, |time| time.0))
        .with_log_start_offset(appended.log_start_offset.0);
    let flush = appended.flush.filter(|_| acks != Acks::None);
    let open = flush.is_some() || appended.ticket.is_some();
    Ok((answer, open.then_some((replica, flush, appended.ticket))))
}

/// The codec in which the topic keeps its batches, and at which level, unless it keeps them as they come.
fn codec(config: &TopicConfig) -> Option<(Compression, Option<i32>)> {
    match config.compression_type {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some((Compression::None, None)),
        CompressionType::Gzip => Some((Compression::Gzip, Some(config.compression_gzip_level))),
        CompressionType::Snappy => Some((Compression::Snappy, None)),
        CompressionType::Lz4 => Some((Compression::Lz4, None)),
        CompressionType::Zstd => Some((Compression::Zstd, Some(config.compression_zstd_level))),
    }
}

fn limits(config: &TopicConfig, version: i16) -> ProduceLimits {
    let bounded = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    ProduceLimits {
        max_message_bytes: config.max_message_bytes as usize,
        produce_version: version,
        keys_required: config.cleanup_policy.compact,
        timestamps: match config.message_timestamp_type {
            TimestampType::LogAppendTime => TimestampRule::LogAppendTime,
            TimestampType::CreateTime => TimestampRule::CreateTime {
                now: WallMillis(time::wall_now()),
                before_ms_max: bounded(config.message_timestamp_before_max_ms),
                after_ms_max: bounded(config.message_timestamp_after_max_ms),
            },
        },
    }
}

/// Waits for every batch, and says which are not acknowledged and why.
async fn settle(waiting: Vec<Waiting>, deadline: Instant) -> Vec<((usize, usize), ErrorCode)> {
    if buggify!("a produce looks late whether its records are committed") {
        time::sleep(Duration::from_millis(rand::range(1..300))).await;
    }
    let settle_one = |waiting: Waiting| async move {
        let at = waiting.at;
        waiting.outcome(deadline).await.err().map(|error| (at, error))
    };
    join_all(waiting.into_iter().map(settle_one)).await.into_iter().flatten().collect()
}

impl Waiting {
    async fn outcome(self, deadline: Instant) -> Result<(), ErrorCode> {
        if let Some(flush) = self.flush {
            flush.await.map_err(|error| {
                self.replica.on_failure(&error);
                error.error_code()
            })?;
        }
        match self.ticket {
            Some(ticket) => ticket.wait_until(deadline).await.map_err(AckError::error_code),
            None => Ok(()),
        }
    }
}

/// A partition's answer of which nothing is known yet.
fn answer(partition: PartitionIndex) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(partition.0)
        .with_base_offset(Offset::UNKNOWN.0)
        .with_log_append_time_ms(NO_TIMESTAMP)
        .with_log_start_offset(Offset::UNKNOWN.0)
}

fn refused(partition: PartitionIndex, refusal: Refusal, version: i16) -> PartitionProduceResponse {
    let (code, message, record) = match &refusal {
        Refusal::Code(code) => (*code, None, None),
        Refusal::Batch(error) => {
            let record = match error {
                BatchError::NoKey { index } | BatchError::BadRecord { index, .. } => Some(*index),
                _ => None,
            };
            (error.error_code(), Some(error.to_string()), record)
        }
        Refusal::Append(error) => (error.error_code(), Some(error.to_string()), None),
    };
    let answer = answer(partition).with_error_code(code.code());
    if version < REASONS_SINCE {
        return answer;
    }
    let message = message.map(StrBytes::from_string);
    let record = record.map(|index| {
        BatchIndexAndErrorMessage::default().with_batch_index(index).with_batch_index_error_message(message.clone())
    });
    answer.with_error_message(message).with_record_errors(record.into_iter().collect())
}

fn finish(services: &Services, context: &RequestContext, mut response: ProduceResponse, acks: i16) -> Answer {
    let answers = response.responses.iter_mut();
    let refused = answers.flat_map(|topic| {
        let topic_id = TopicId(topic.topic_id);
        topic.partition_responses.iter_mut().map(move |answer| (topic_id, answer))
    });
    let mut refused = refused.filter(|(_, answer)| answer.error_code != ErrorCode::None.code()).peekable();
    if acks == 0 {
        return match refused.next() {
            Some((_, answer)) => {
                let error = ErrorCode::from_wire(answer.error_code);
                tracing::info!(peer = %context.connection.peer, %error, "a produce with acks=0 is refused");
                Answer::Close("a produce with acks=0 was refused")
            }
            None => Answer::Nothing,
        };
    }
    if context.api_version >= CURRENT_LEADER_SINCE && refused.peek().is_some() {
        let image = services.metadata.image();
        let view = View { image: &image, listener: &context.connection.listener, node_id: services.config.node_id };
        let mut leaders = CurrentLeaders::new(view);
        for (topic_id, answer) in refused {
            let of = TopicPartition { topic_id, partition: PartitionIndex(answer.index) };
            if let Some((leader, leader_epoch)) = leaders.after(ErrorCode::from_wire(answer.error_code), of) {
                answer.current_leader =
                    LeaderIdAndEpoch::default().with_leader_id(leader.into()).with_leader_epoch(leader_epoch.0);
            }
        }
        let endpoint = |(id, host, port, rack): (BrokerId, &str, u16, Option<&str>)| {
            NodeEndpoint::default()
                .with_node_id(id.into())
                .with_host(text(host))
                .with_port(i32::from(port))
                .with_rack(rack.map(text))
        };
        response.node_endpoints = leaders.endpoints().map(endpoint).collect();
    }
    context.answer(&response)
}
