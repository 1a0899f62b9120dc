//! Pure. The APIs that administer partitions: how many there are, who leads them, who keeps them.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Kind, Schema, array, bool, int8, int16, int32, string, structs};

/// CreatePartitionsRequest, versions 0 to 3.
pub const CREATE_PARTITIONS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[
        structs(
            "topics",
            &[string("name"), int32("count"), structs("assignments", &[array("broker_ids", &Kind::Int32)]).nullable()],
        ),
        int32("timeout_ms"),
        bool("validate_only"),
    ],
};

/// CreatePartitionsResponse, versions 0 to 3.
pub const CREATE_PARTITIONS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int32("throttle_time_ms"),
        structs("results", &[string("name"), int16("error_code"), string("error_message").nullable()]),
    ],
};

/// ElectLeadersRequest, versions 0 to 2.
pub const ELECT_LEADERS_REQUEST: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int8("election_type").since(1),
        structs("topic_partitions", &[string("topic"), array("partitions", &Kind::Int32)]).nullable(),
        int32("timeout_ms"),
    ],
};

/// ElectLeadersResponse, versions 0 to 2.
pub const ELECT_LEADERS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(1),
        structs(
            "replica_election_results",
            &[
                string("topic"),
                structs(
                    "partition_result",
                    &[int32("partition_id"), int16("error_code"), string("error_message").nullable()],
                ),
            ],
        ),
    ],
};

/// AlterPartitionReassignmentsRequest, versions 0 to 1.
pub const ALTER_PARTITION_REASSIGNMENTS_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("timeout_ms"),
        bool("allow_replication_factor_change").since(1),
        structs(
            "topics",
            &[
                string("name"),
                structs("partitions", &[int32("partition_index"), array("replicas", &Kind::Int32).nullable()]),
            ],
        ),
    ],
};

/// AlterPartitionReassignmentsResponse, versions 0 to 1.
pub const ALTER_PARTITION_REASSIGNMENTS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        bool("allow_replication_factor_change").since(1),
        int16("error_code"),
        string("error_message").nullable(),
        structs(
            "responses",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[int32("partition_index"), int16("error_code"), string("error_message").nullable()],
                ),
            ],
        ),
    ],
};

/// ListPartitionReassignmentsRequest, version 0.
pub const LIST_PARTITION_REASSIGNMENTS_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("timeout_ms"),
        structs("topics", &[string("name"), array("partition_indexes", &Kind::Int32)]).nullable(),
    ],
};

/// ListPartitionReassignmentsResponse, version 0.
pub const LIST_PARTITION_REASSIGNMENTS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        structs(
            "topics",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        array("replicas", &Kind::Int32),
                        array("adding_replicas", &Kind::Int32),
                        array("removing_replicas", &Kind::Int32),
                    ],
                ),
            ],
        ),
    ],
};
