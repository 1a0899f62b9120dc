//! Pure. The APIs that carry records, or positions in a log.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Kind, Schema, array, int8, int16, int32, int64, one, records, string, structs, uuid};

/// ProduceRequest, versions 3 to 13.
pub const PRODUCE_REQUEST: Schema = Schema {
    flexible_since: 9,
    fields: &[
        string("transactional_id").nullable(),
        int16("acks"),
        int32("timeout_ms"),
        structs(
            "topic_data",
            &[
                string("name").until(12),
                uuid("topic_id").since(13),
                structs("partition_data", &[int32("index"), records("records").nullable()]),
            ],
        ),
    ],
};

/// ProduceResponse, versions 3 to 13.
pub const PRODUCE_RESPONSE: Schema = Schema {
    flexible_since: 9,
    fields: &[
        structs(
            "responses",
            &[
                string("name").until(12),
                uuid("topic_id").since(13),
                structs(
                    "partition_responses",
                    &[
                        int32("index"),
                        int16("error_code"),
                        int64("base_offset"),
                        int64("log_append_time_ms"),
                        int64("log_start_offset").since(5),
                        structs(
                            "record_errors",
                            &[int32("batch_index"), string("batch_index_error_message").nullable()],
                        )
                        .since(8),
                        string("error_message").since(8).nullable(),
                        one("current_leader", &[int32("leader_id"), int32("leader_epoch")]).since(10).tagged(0),
                    ],
                ),
            ],
        ),
        int32("throttle_time_ms"),
        structs("node_endpoints", &[int32("node_id"), string("host"), int32("port"), string("rack").nullable()])
            .since(10)
            .tagged(0),
    ],
};

/// FetchRequest, versions 4 to 18.
pub const FETCH_REQUEST: Schema = Schema {
    flexible_since: 12,
    fields: &[
        string("cluster_id").since(12).nullable().tagged(0),
        int32("replica_id").until(14),
        one("replica_state", &[int32("replica_id"), int64("replica_epoch")]).since(15).tagged(1),
        int32("max_wait_ms"),
        int32("min_bytes"),
        int32("max_bytes"),
        int8("isolation_level"),
        int32("session_id").since(7),
        int32("session_epoch").since(7),
        structs(
            "topics",
            &[
                string("topic").until(12),
                uuid("topic_id").since(13),
                structs(
                    "partitions",
                    &[
                        int32("partition"),
                        int32("current_leader_epoch").since(9),
                        int64("fetch_offset"),
                        int32("last_fetched_epoch").since(12),
                        int64("log_start_offset").since(5),
                        int32("partition_max_bytes"),
                        uuid("replica_directory_id").since(17).tagged(0),
                        int64("high_watermark").since(18).tagged(1),
                    ],
                ),
            ],
        ),
        structs(
            "forgotten_topics_data",
            &[string("topic").until(12), uuid("topic_id").since(13), array("partitions", &Kind::Int32)],
        )
        .since(7),
        string("rack_id").since(11),
    ],
};

/// FetchResponse, versions 4 to 18.
pub const FETCH_RESPONSE: Schema = Schema {
    flexible_since: 12,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(7),
        int32("session_id").since(7),
        structs(
            "responses",
            &[
                string("topic").until(12),
                uuid("topic_id").since(13),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("high_watermark"),
                        int64("last_stable_offset"),
                        int64("log_start_offset").since(5),
                        one("diverging_epoch", &[int32("epoch"), int64("end_offset")]).since(12).tagged(0),
                        one("current_leader", &[int32("leader_id"), int32("leader_epoch")]).since(12).tagged(1),
                        one("snapshot_id", &[int64("end_offset"), int32("epoch")]).since(12).tagged(2),
                        structs("aborted_transactions", &[int64("producer_id"), int64("first_offset")]).nullable(),
                        int32("preferred_read_replica").since(11),
                        records("records").nullable(),
                    ],
                ),
            ],
        ),
        structs("node_endpoints", &[int32("node_id"), string("host"), int32("port"), string("rack").nullable()])
            .since(16)
            .tagged(0),
    ],
};

/// ListOffsetsRequest, versions 1 to 10.
pub const LIST_OFFSETS_REQUEST: Schema = Schema {
    flexible_since: 6,
    fields: &[
        int32("replica_id"),
        int8("isolation_level").since(2),
        structs(
            "topics",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[int32("partition_index"), int32("current_leader_epoch").since(4), int64("timestamp")],
                ),
            ],
        ),
        int32("timeout_ms").since(10),
    ],
};

/// ListOffsetsResponse, versions 1 to 10.
pub const LIST_OFFSETS_RESPONSE: Schema = Schema {
    flexible_since: 6,
    fields: &[
        int32("throttle_time_ms").since(2),
        structs(
            "topics",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("timestamp"),
                        int64("offset"),
                        int32("leader_epoch").since(4),
                    ],
                ),
            ],
        ),
    ],
};

/// InitProducerIdRequest, versions 0 to 5.
pub const INIT_PRODUCER_ID_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[
        string("transactional_id").nullable(),
        int32("transaction_timeout_ms"),
        int64("producer_id").since(3),
        int16("producer_epoch").since(3),
    ],
};

/// InitProducerIdResponse, versions 0 to 5.
pub const INIT_PRODUCER_ID_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[int32("throttle_time_ms"), int16("error_code"), int64("producer_id"), int16("producer_epoch")],
};

/// OffsetForLeaderEpochRequest, versions 2 to 4.
pub const OFFSET_FOR_LEADER_EPOCH_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("replica_id").since(3),
        structs(
            "topics",
            &[
                string("topic"),
                structs("partitions", &[int32("partition"), int32("current_leader_epoch"), int32("leader_epoch")]),
            ],
        ),
    ],
};

/// OffsetForLeaderEpochResponse, versions 2 to 4.
pub const OFFSET_FOR_LEADER_EPOCH_RESPONSE: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "topics",
            &[
                string("topic"),
                structs(
                    "partitions",
                    &[int16("error_code"), int32("partition"), int32("leader_epoch"), int64("end_offset")],
                ),
            ],
        ),
    ],
};
