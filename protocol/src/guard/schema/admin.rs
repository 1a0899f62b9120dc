//! Pure. The APIs that administer topics and configurations.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Field, Kind, Schema, array, bool, int8, int16, int32, string, structs, uuid};

/// CreateTopicsRequest, versions 2 to 7.
pub const CREATE_TOPICS_REQUEST: Schema = Schema {
    flexible_since: 5,
    fields: &[
        structs(
            "topics",
            &[
                string("name"),
                int32("num_partitions"),
                int16("replication_factor"),
                structs("assignments", &[int32("partition_index"), array("broker_ids", &Kind::Int32)]),
                structs("configs", &[string("name"), string("value").nullable()]),
            ],
        ),
        int32("timeout_ms"),
        bool("validate_only"),
    ],
};

/// CreateTopicsResponse, versions 2 to 7.
pub const CREATE_TOPICS_RESPONSE: Schema = Schema {
    flexible_since: 5,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "topics",
            &[
                string("name"),
                uuid("topic_id").since(7),
                int16("error_code"),
                string("error_message").nullable(),
                int16("topic_config_error_code").since(5).tagged(0),
                int32("num_partitions").since(5),
                int16("replication_factor").since(5),
                structs(
                    "configs",
                    &[
                        string("name"),
                        string("value").nullable(),
                        bool("read_only"),
                        int8("config_source"),
                        bool("is_sensitive"),
                    ],
                )
                .since(5)
                .nullable(),
            ],
        ),
    ],
};

/// DeleteTopicsRequest, versions 1 to 6.
pub const DELETE_TOPICS_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        structs("topics", &[string("name").nullable(), uuid("topic_id")]).since(6),
        array("topic_names", &Kind::String).until(5),
        int32("timeout_ms"),
    ],
};

/// DeleteTopicsResponse, versions 1 to 6.
pub const DELETE_TOPICS_RESPONSE: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "responses",
            &[
                string("name").nullable_since(6),
                uuid("topic_id").since(6),
                int16("error_code"),
                string("error_message").since(5).nullable(),
            ],
        ),
    ],
};

/// AlterConfigsRequest, versions 0 to 2.
pub const ALTER_CONFIGS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[
        structs(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                structs("configs", &[string("name"), string("value").nullable()]),
            ],
        ),
        bool("validate_only"),
    ],
};

/// AlterConfigsResponse, versions 0 to 2.
pub const ALTER_CONFIGS_RESPONSE: Schema = Schema { flexible_since: 2, fields: ALTERED_CONFIGS };

/// IncrementalAlterConfigsRequest, versions 0 to 1.
pub const INCREMENTAL_ALTER_CONFIGS_REQUEST: Schema = Schema {
    flexible_since: 1,
    fields: &[
        structs(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                structs("configs", &[string("name"), int8("config_operation"), string("value").nullable()]),
            ],
        ),
        bool("validate_only"),
    ],
};

/// IncrementalAlterConfigsResponse, versions 0 to 1.
pub const INCREMENTAL_ALTER_CONFIGS_RESPONSE: Schema = Schema { flexible_since: 1, fields: ALTERED_CONFIGS };

/// What both ways of altering configurations answer.
const ALTERED_CONFIGS: &[Field] = &[
    int32("throttle_time_ms"),
    structs(
        "responses",
        &[int16("error_code"), string("error_message").nullable(), int8("resource_type"), string("resource_name")],
    ),
];

/// DescribeConfigsRequest, versions 1 to 4.
pub const DESCRIBE_CONFIGS_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        structs(
            "resources",
            &[int8("resource_type"), string("resource_name"), array("configuration_keys", &Kind::String).nullable()],
        ),
        bool("include_synonyms"),
        bool("include_documentation").since(3),
    ],
};

/// DescribeConfigsResponse, versions 1 to 4.
pub const DESCRIBE_CONFIGS_RESPONSE: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "results",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                int8("resource_type"),
                string("resource_name"),
                structs(
                    "configs",
                    &[
                        string("name"),
                        string("value").nullable(),
                        bool("read_only"),
                        int8("config_source"),
                        bool("is_sensitive"),
                        structs("synonyms", &[string("name"), string("value").nullable(), int8("source")]),
                        int8("config_type").since(3),
                        string("documentation").since(3).nullable(),
                    ],
                ),
            ],
        ),
    ],
};

/// ListConfigResourcesRequest, versions 0 to 1.
pub const LIST_CONFIG_RESOURCES_REQUEST: Schema =
    Schema { flexible_since: 0, fields: &[array("resource_types", &Kind::Int8).since(1)] };

/// ListConfigResourcesResponse, versions 0 to 1.
pub const LIST_CONFIG_RESOURCES_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        structs("config_resources", &[string("resource_name"), int8("resource_type").since(1)]),
    ],
};
