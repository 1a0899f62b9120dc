//! Pure. The APIs about the logs that a broker keeps.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Kind, Schema, array, bool, int16, int32, int64, string, structs};

/// DeleteRecordsRequest, versions 0 to 2.
pub const DELETE_RECORDS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[
        structs("topics", &[string("name"), structs("partitions", &[int32("partition_index"), int64("offset")])]),
        int32("timeout_ms"),
    ],
};

/// DeleteRecordsResponse, versions 0 to 2.
pub const DELETE_RECORDS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "topics",
            &[
                string("name"),
                structs("partitions", &[int32("partition_index"), int64("low_watermark"), int16("error_code")]),
            ],
        ),
    ],
};

/// AlterReplicaLogDirsRequest, versions 1 to 2.
pub const ALTER_REPLICA_LOG_DIRS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[structs(
        "dirs",
        &[string("path"), structs("topics", &[string("name"), array("partitions", &Kind::Int32)])],
    )],
};

/// AlterReplicaLogDirsResponse, versions 1 to 2.
pub const ALTER_REPLICA_LOG_DIRS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "results",
            &[string("topic_name"), structs("partitions", &[int32("partition_index"), int16("error_code")])],
        ),
    ],
};

/// DescribeLogDirsRequest, versions 1 to 4.
pub const DESCRIBE_LOG_DIRS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[structs("topics", &[string("topic"), array("partitions", &Kind::Int32)]).nullable()],
};

/// DescribeLogDirsResponse, versions 1 to 4.
pub const DESCRIBE_LOG_DIRS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(3),
        structs(
            "results",
            &[
                int16("error_code"),
                string("log_dir"),
                structs(
                    "topics",
                    &[
                        string("name"),
                        structs(
                            "partitions",
                            &[
                                int32("partition_index"),
                                int64("partition_size"),
                                int64("offset_lag"),
                                bool("is_future_key"),
                            ],
                        ),
                    ],
                ),
                int64("total_bytes").since(4),
                int64("usable_bytes").since(4),
            ],
        ),
    ],
};

/// DescribeProducersRequest, version 0.
pub const DESCRIBE_PRODUCERS_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[structs("topics", &[string("name"), array("partition_indexes", &Kind::Int32)])],
};

/// DescribeProducersResponse, version 0.
pub const DESCRIBE_PRODUCERS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "topics",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        string("error_message").nullable(),
                        structs(
                            "active_producers",
                            &[
                                int64("producer_id"),
                                int32("producer_epoch"),
                                int32("last_sequence"),
                                int64("last_timestamp"),
                                int32("coordinator_epoch"),
                                int64("current_txn_start_offset"),
                            ],
                        ),
                    ],
                ),
            ],
        ),
    ],
};
