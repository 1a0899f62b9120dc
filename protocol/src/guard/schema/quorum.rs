//! Pure. The APIs that administer the cluster's nodes: its quorum, its brokers, its features.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Field, Schema, bool, int8, int16, int32, int64, string, structs, uint16, uuid};

/// DescribeQuorumRequest, versions 0 to 2.
pub const DESCRIBE_QUORUM_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[structs("topics", &[string("topic_name"), structs("partitions", &[int32("partition_index")])])],
};

const REPLICA_STATE: &[Field] = &[
    int32("replica_id"),
    uuid("replica_directory_id").since(2),
    int64("log_end_offset"),
    int64("last_fetch_timestamp").since(1),
    int64("last_caught_up_timestamp").since(1),
];

/// DescribeQuorumResponse, versions 0 to 2.
pub const DESCRIBE_QUORUM_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int16("error_code"),
        string("error_message").since(2).nullable(),
        structs(
            "topics",
            &[
                string("topic_name"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        string("error_message").since(2).nullable(),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        int64("high_watermark"),
                        structs("current_voters", REPLICA_STATE),
                        structs("observers", REPLICA_STATE),
                    ],
                ),
            ],
        ),
        structs("nodes", &[int32("node_id"), structs("listeners", &[string("name"), string("host"), uint16("port")])])
            .since(2),
    ],
};

/// UpdateFeaturesRequest, versions 0 to 2.
pub const UPDATE_FEATURES_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("timeout_ms"),
        structs(
            "feature_updates",
            &[
                string("feature"),
                int16("max_version_level"),
                bool("allow_downgrade").until(0),
                int8("upgrade_type").since(1),
            ],
        ),
        bool("validate_only").since(1),
    ],
};

/// UpdateFeaturesResponse, versions 0 to 2.
pub const UPDATE_FEATURES_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        structs("results", &[string("feature"), int16("error_code"), string("error_message").nullable()]).until(1),
    ],
};

/// UnregisterBrokerRequest, version 0.
pub const UNREGISTER_BROKER_REQUEST: Schema = Schema { flexible_since: 0, fields: &[int32("broker_id")] };

/// UnregisterBrokerResponse, version 0.
pub const UNREGISTER_BROKER_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[int32("throttle_time_ms"), int16("error_code"), string("error_message").nullable()],
};
