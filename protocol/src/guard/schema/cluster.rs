//! Pure. The APIs by which a client learns what there is.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Kind, Schema, array, bool, int8, int16, int32, int64, one, string, structs, uuid};

/// MetadataRequest, versions 0 to 13.
pub const METADATA_REQUEST: Schema = Schema {
    flexible_since: 9,
    fields: &[
        structs("topics", &[uuid("topic_id").since(10), string("name").nullable_since(10)]).nullable_since(1),
        bool("allow_auto_topic_creation").since(4),
        bool("include_cluster_authorized_operations").since(8).until(10),
        bool("include_topic_authorized_operations").since(8),
    ],
};

/// MetadataResponse, versions 0 to 13.
pub const METADATA_RESPONSE: Schema = Schema {
    flexible_since: 9,
    fields: &[
        int32("throttle_time_ms").since(3),
        structs("brokers", &[int32("node_id"), string("host"), int32("port"), string("rack").since(1).nullable()]),
        string("cluster_id").since(2).nullable(),
        int32("controller_id").since(1),
        structs(
            "topics",
            &[
                int16("error_code"),
                string("name").nullable_since(12),
                uuid("topic_id").since(10),
                bool("is_internal").since(1),
                structs(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition_index"),
                        int32("leader_id"),
                        int32("leader_epoch").since(7),
                        array("replica_nodes", &Kind::Int32),
                        array("isr_nodes", &Kind::Int32),
                        array("offline_replicas", &Kind::Int32).since(5),
                    ],
                ),
                int32("topic_authorized_operations").since(8),
            ],
        ),
        int32("cluster_authorized_operations").since(8).until(10),
        int16("error_code").since(13),
    ],
};

/// ApiVersionsRequest, versions 0 to 4.
pub const API_VERSIONS_REQUEST: Schema = Schema {
    flexible_since: 3,
    fields: &[string("client_software_name").since(3), string("client_software_version").since(3)],
};

/// ApiVersionsResponse, versions 0 to 4.
pub const API_VERSIONS_RESPONSE: Schema = Schema {
    flexible_since: 3,
    fields: &[
        int16("error_code"),
        structs("api_keys", &[int16("api_key"), int16("min_version"), int16("max_version")]),
        int32("throttle_time_ms").since(1),
        structs("supported_features", &[string("name"), int16("min_version"), int16("max_version")]).since(3).tagged(0),
        int64("finalized_features_epoch").since(3).tagged(1),
        structs("finalized_features", &[string("name"), int16("max_version_level"), int16("min_version_level")])
            .since(3)
            .tagged(2),
        bool("zk_migration_ready").since(3).tagged(3),
    ],
};

/// DescribeClusterRequest, versions 0 to 2.
pub const DESCRIBE_CLUSTER_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        bool("include_cluster_authorized_operations"),
        int8("endpoint_type").since(1),
        bool("include_fenced_brokers").since(2),
    ],
};

/// DescribeClusterResponse, versions 0 to 2.
pub const DESCRIBE_CLUSTER_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        int8("endpoint_type").since(1),
        string("cluster_id"),
        int32("controller_id"),
        structs(
            "brokers",
            &[int32("broker_id"), string("host"), int32("port"), string("rack").nullable(), bool("is_fenced").since(2)],
        ),
        int32("cluster_authorized_operations"),
    ],
};

/// DescribeTopicPartitionsRequest, version 0.
pub const DESCRIBE_TOPIC_PARTITIONS_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        structs("topics", &[string("name")]),
        int32("response_partition_limit"),
        one("cursor", &[string("topic_name"), int32("partition_index")]).nullable(),
    ],
};

/// DescribeTopicPartitionsResponse, version 0.
pub const DESCRIBE_TOPIC_PARTITIONS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "topics",
            &[
                int16("error_code"),
                string("name").nullable(),
                uuid("topic_id"),
                bool("is_internal"),
                structs(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition_index"),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        array("replica_nodes", &Kind::Int32),
                        array("isr_nodes", &Kind::Int32),
                        array("eligible_leader_replicas", &Kind::Int32).nullable(),
                        array("last_known_elr", &Kind::Int32).nullable(),
                        array("offline_replicas", &Kind::Int32),
                    ],
                ),
                int32("topic_authorized_operations"),
            ],
        ),
        one("next_cursor", &[string("topic_name"), int32("partition_index")]).nullable(),
    ],
};
