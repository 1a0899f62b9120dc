//! Pure. The APIs between brokers and controllers that are Kafka's own.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Kind, Schema, array, bool, bytes, int8, int16, int32, int64, string, structs, uint16, uuid};

/// AlterPartitionRequest, versions 2 to 3.
pub const ALTER_PARTITION_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("broker_id"),
        int64("broker_epoch"),
        structs(
            "topics",
            &[
                uuid("topic_id"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int32("leader_epoch"),
                        array("new_isr", &Kind::Int32).until(2),
                        structs("new_isr_with_epochs", &[int32("broker_id"), int64("broker_epoch")]).since(3),
                        int8("leader_recovery_state"),
                        int32("partition_epoch"),
                    ],
                ),
            ],
        ),
    ],
};

/// AlterPartitionResponse, versions 2 to 3.
pub const ALTER_PARTITION_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        structs(
            "topics",
            &[
                uuid("topic_id"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        array("isr", &Kind::Int32),
                        int8("leader_recovery_state"),
                        int32("partition_epoch"),
                    ],
                ),
            ],
        ),
    ],
};

/// EnvelopeRequest, version 0.
pub const ENVELOPE_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[bytes("request_data"), bytes("request_principal").nullable(), bytes("client_host_address")],
};

/// EnvelopeResponse, version 0.
pub const ENVELOPE_RESPONSE: Schema =
    Schema { flexible_since: 0, fields: &[bytes("response_data").nullable(), int16("error_code")] };

/// BrokerRegistrationRequest, versions 0 to 4.
pub const BROKER_REGISTRATION_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("broker_id"),
        string("cluster_id"),
        uuid("incarnation_id"),
        structs("listeners", &[string("name"), string("host"), uint16("port"), int16("security_protocol")]),
        structs("features", &[string("name"), int16("min_supported_version"), int16("max_supported_version")]),
        string("rack").nullable(),
        bool("is_migrating_zk_broker").since(1),
        array("log_dirs", &Kind::Uuid).since(2),
        int64("previous_broker_epoch").since(3),
    ],
};

/// BrokerRegistrationResponse, versions 0 to 4.
pub const BROKER_REGISTRATION_RESPONSE: Schema =
    Schema { flexible_since: 0, fields: &[int32("throttle_time_ms"), int16("error_code"), int64("broker_epoch")] };

/// BrokerHeartbeatRequest, versions 0 to 1.
pub const BROKER_HEARTBEAT_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("broker_id"),
        int64("broker_epoch"),
        int64("current_metadata_offset"),
        bool("want_fence"),
        bool("want_shut_down"),
        array("offline_log_dirs", &Kind::Uuid).since(1).tagged(0),
    ],
};

/// BrokerHeartbeatResponse, versions 0 to 1.
pub const BROKER_HEARTBEAT_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        bool("is_caught_up"),
        bool("is_fenced"),
        bool("should_shut_down"),
    ],
};

/// AllocateProducerIdsRequest, version 0.
pub const ALLOCATE_PRODUCER_IDS_REQUEST: Schema =
    Schema { flexible_since: 0, fields: &[int32("broker_id"), int64("broker_epoch")] };

/// AllocateProducerIdsResponse, version 0.
pub const ALLOCATE_PRODUCER_IDS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[int32("throttle_time_ms"), int16("error_code"), int64("producer_id_start"), int32("producer_id_len")],
};

/// AssignReplicasToDirsRequest, version 0.
pub const ASSIGN_REPLICAS_TO_DIRS_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("broker_id"),
        int64("broker_epoch"),
        structs(
            "directories",
            &[uuid("id"), structs("topics", &[uuid("topic_id"), structs("partitions", &[int32("partition_index")])])],
        ),
    ],
};

/// AssignReplicasToDirsResponse, version 0.
pub const ASSIGN_REPLICAS_TO_DIRS_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        structs(
            "directories",
            &[
                uuid("id"),
                structs(
                    "topics",
                    &[uuid("topic_id"), structs("partitions", &[int32("partition_index"), int16("error_code")])],
                ),
            ],
        ),
    ],
};
