//! Pure. The APIs of consumer groups: who coordinates, joining and leaving, committing, describing.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Field, Kind, NEVER, Schema};
use super::{array, bool, bytes, int8, int16, int32, int64, one, string, structs, uuid};

/// FindCoordinatorRequest, versions 0 to 6.
pub const FIND_COORDINATOR_REQUEST: Schema = Schema {
    flexible_since: 3,
    fields: &[string("key").until(3), int8("key_type").since(1), array("coordinator_keys", &Kind::String).since(4)],
};

/// FindCoordinatorResponse, versions 0 to 6.
pub const FIND_COORDINATOR_RESPONSE: Schema = Schema {
    flexible_since: 3,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code").until(3),
        string("error_message").since(1).until(3).nullable(),
        int32("node_id").until(3),
        string("host").until(3),
        int32("port").until(3),
        structs(
            "coordinators",
            &[
                string("key").since(4),
                int32("node_id").since(4),
                string("host").since(4),
                int32("port").since(4),
                int16("error_code").since(4),
                string("error_message").since(4).nullable(),
            ],
        )
        .since(4),
    ],
};

/// JoinGroupRequest, versions 0 to 9.
pub const JOIN_GROUP_REQUEST: Schema = Schema {
    flexible_since: 6,
    fields: &[
        string("group_id"),
        int32("session_timeout_ms"),
        int32("rebalance_timeout_ms").since(1),
        string("member_id"),
        string("group_instance_id").since(5).nullable(),
        string("protocol_type"),
        structs("protocols", &[string("name"), bytes("metadata")]),
        string("reason").since(8).nullable(),
    ],
};

/// JoinGroupResponse, versions 0 to 9.
pub const JOIN_GROUP_RESPONSE: Schema = Schema {
    flexible_since: 6,
    fields: &[
        int32("throttle_time_ms").since(2),
        int16("error_code"),
        int32("generation_id"),
        string("protocol_type").since(7).nullable(),
        string("protocol_name").nullable_since(7),
        string("leader"),
        bool("skip_assignment").since(9),
        string("member_id"),
        structs("members", &[string("member_id"), string("group_instance_id").since(5).nullable(), bytes("metadata")]),
    ],
};

/// SyncGroupRequest, versions 0 to 5.
pub const SYNC_GROUP_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        string("group_id"),
        int32("generation_id"),
        string("member_id"),
        string("group_instance_id").since(3).nullable(),
        string("protocol_type").since(5).nullable(),
        string("protocol_name").since(5).nullable(),
        structs("assignments", &[string("member_id"), bytes("assignment")]),
    ],
};

/// SyncGroupResponse, versions 0 to 5.
pub const SYNC_GROUP_RESPONSE: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        string("protocol_type").since(5).nullable(),
        string("protocol_name").since(5).nullable(),
        bytes("assignment"),
    ],
};

/// HeartbeatRequest, versions 0 to 4.
pub const HEARTBEAT_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        string("group_id"),
        int32("generation_id"),
        string("member_id"),
        string("group_instance_id").since(3).nullable(),
    ],
};

/// HeartbeatResponse, versions 0 to 4.
pub const HEARTBEAT_RESPONSE: Schema =
    Schema { flexible_since: 4, fields: &[int32("throttle_time_ms").since(1), int16("error_code")] };

/// LeaveGroupRequest, versions 0 to 5.
pub const LEAVE_GROUP_REQUEST: Schema = Schema {
    flexible_since: 4,
    fields: &[
        string("group_id"),
        string("member_id").until(2),
        structs(
            "members",
            &[
                string("member_id").since(3),
                string("group_instance_id").since(3).nullable(),
                string("reason").since(5).nullable(),
            ],
        )
        .since(3),
    ],
};

/// LeaveGroupResponse, versions 0 to 5.
pub const LEAVE_GROUP_RESPONSE: Schema = Schema {
    flexible_since: 4,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        structs(
            "members",
            &[
                string("member_id").since(3),
                string("group_instance_id").since(3).nullable(),
                int16("error_code").since(3),
            ],
        )
        .since(3),
    ],
};

/// OffsetCommitRequest, versions 2 to 9.
pub const OFFSET_COMMIT_REQUEST: Schema = Schema {
    flexible_since: 8,
    fields: &[
        string("group_id"),
        int32("generation_id_or_member_epoch"),
        string("member_id"),
        string("group_instance_id").since(7).nullable(),
        int64("retention_time_ms").until(4),
        structs(
            "topics",
            &[
                string("name"),
                structs(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int64("committed_offset"),
                        int32("committed_leader_epoch").since(6),
                        string("committed_metadata").nullable(),
                    ],
                ),
            ],
        ),
    ],
};

/// OffsetCommitResponse, versions 2 to 9.
pub const OFFSET_COMMIT_RESPONSE: Schema = Schema {
    flexible_since: 8,
    fields: &[
        int32("throttle_time_ms").since(3),
        structs("topics", &[string("name"), structs("partitions", &[int32("partition_index"), int16("error_code")])]),
    ],
};

/// OffsetFetchRequest, versions 1 to 9.
pub const OFFSET_FETCH_REQUEST: Schema = Schema {
    flexible_since: 6,
    fields: &[
        string("group_id").until(7),
        structs("topics", &[string("name").until(7), array("partition_indexes", &Kind::Int32).until(7)])
            .until(7)
            .nullable_since(2),
        structs(
            "groups",
            &[
                string("group_id").since(8),
                string("member_id").since(9).nullable(),
                int32("member_epoch").since(9),
                structs("topics", &[string("name").since(8), array("partition_indexes", &Kind::Int32).since(8)])
                    .since(8)
                    .nullable(),
            ],
        )
        .since(8),
        bool("require_stable").since(7),
    ],
};

/// OffsetFetchResponse, versions 1 to 9.
pub const OFFSET_FETCH_RESPONSE: Schema = Schema {
    flexible_since: 6,
    fields: &[
        int32("throttle_time_ms").since(3),
        structs(
            "topics",
            &[
                string("name").until(7),
                structs(
                    "partitions",
                    &[
                        int32("partition_index").until(7),
                        int64("committed_offset").until(7),
                        int32("committed_leader_epoch").since(5).until(7),
                        string("metadata").until(7).nullable(),
                        int16("error_code").until(7),
                    ],
                )
                .until(7),
            ],
        )
        .until(7),
        int16("error_code").since(2).until(7),
        structs(
            "groups",
            &[
                string("group_id").since(8),
                structs(
                    "topics",
                    &[
                        string("name").since(8),
                        structs(
                            "partitions",
                            &[
                                int32("partition_index").since(8),
                                int64("committed_offset").since(8),
                                int32("committed_leader_epoch").since(8),
                                string("metadata").since(8).nullable(),
                                int16("error_code").since(8),
                            ],
                        )
                        .since(8),
                    ],
                )
                .since(8),
                int16("error_code").since(8),
            ],
        )
        .since(8),
    ],
};

/// DescribeGroupsRequest, versions 0 to 6.
pub const DESCRIBE_GROUPS_REQUEST: Schema = Schema {
    flexible_since: 5,
    fields: &[array("groups", &Kind::String), bool("include_authorized_operations").since(3)],
};

/// DescribeGroupsResponse, versions 0 to 6.
pub const DESCRIBE_GROUPS_RESPONSE: Schema = Schema {
    flexible_since: 5,
    fields: &[
        int32("throttle_time_ms").since(1),
        structs(
            "groups",
            &[
                int16("error_code"),
                string("error_message").since(6).nullable(),
                string("group_id"),
                string("group_state"),
                string("protocol_type"),
                string("protocol_data"),
                structs(
                    "members",
                    &[
                        string("member_id"),
                        string("group_instance_id").since(4).nullable(),
                        string("client_id"),
                        string("client_host"),
                        bytes("member_metadata"),
                        bytes("member_assignment"),
                    ],
                ),
                int32("authorized_operations").since(3),
            ],
        ),
    ],
};

/// ListGroupsRequest, versions 0 to 5.
pub const LIST_GROUPS_REQUEST: Schema = Schema {
    flexible_since: 3,
    fields: &[array("states_filter", &Kind::String).since(4), array("types_filter", &Kind::String).since(5)],
};

/// ListGroupsResponse, versions 0 to 5.
pub const LIST_GROUPS_RESPONSE: Schema = Schema {
    flexible_since: 3,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        structs(
            "groups",
            &[
                string("group_id"),
                string("protocol_type"),
                string("group_state").since(4),
                string("group_type").since(5),
            ],
        ),
    ],
};

/// DeleteGroupsRequest, versions 0 to 2.
pub const DELETE_GROUPS_REQUEST: Schema = Schema { flexible_since: 2, fields: &[array("groups_names", &Kind::String)] };

/// DeleteGroupsResponse, versions 0 to 2.
pub const DELETE_GROUPS_RESPONSE: Schema = Schema {
    flexible_since: 2,
    fields: &[int32("throttle_time_ms"), structs("results", &[string("group_id"), int16("error_code")])],
};

/// OffsetDeleteRequest, version 0.
pub const OFFSET_DELETE_REQUEST: Schema = Schema {
    flexible_since: NEVER,
    fields: &[
        string("group_id"),
        structs("topics", &[string("name"), structs("partitions", &[int32("partition_index")])]),
    ],
};

/// OffsetDeleteResponse, version 0.
pub const OFFSET_DELETE_RESPONSE: Schema = Schema {
    flexible_since: NEVER,
    fields: &[
        int16("error_code"),
        int32("throttle_time_ms"),
        structs("topics", &[string("name"), structs("partitions", &[int32("partition_index"), int16("error_code")])]),
    ],
};

/// ConsumerGroupHeartbeatRequest, versions 0 to 1.
pub const CONSUMER_GROUP_HEARTBEAT_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        string("group_id"),
        string("member_id"),
        int32("member_epoch"),
        string("instance_id").nullable(),
        string("rack_id").nullable(),
        int32("rebalance_timeout_ms"),
        array("subscribed_topic_names", &Kind::String).nullable(),
        string("subscribed_topic_regex").since(1).nullable(),
        string("server_assignor").nullable(),
        structs("topic_partitions", TOPIC_PARTITIONS).nullable(),
    ],
};

const TOPIC_PARTITIONS: &[Field] = &[uuid("topic_id"), array("partitions", &Kind::Int32)];

/// ConsumerGroupHeartbeatResponse, versions 0 to 1.
pub const CONSUMER_GROUP_HEARTBEAT_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        string("member_id").nullable(),
        int32("member_epoch"),
        int32("heartbeat_interval_ms"),
        one("assignment", &[structs("topic_partitions", TOPIC_PARTITIONS)]).nullable(),
    ],
};

/// ConsumerGroupDescribeRequest, versions 0 to 1.
pub const CONSUMER_GROUP_DESCRIBE_REQUEST: Schema =
    Schema { flexible_since: 0, fields: &[array("group_ids", &Kind::String), bool("include_authorized_operations")] };

const ASSIGNMENT: &[Field] =
    &[structs("topic_partitions", &[uuid("topic_id"), string("topic_name"), array("partitions", &Kind::Int32)])];

/// ConsumerGroupDescribeResponse, versions 0 to 1.
pub const CONSUMER_GROUP_DESCRIBE_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int32("throttle_time_ms"),
        structs(
            "groups",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                string("group_id"),
                string("group_state"),
                int32("group_epoch"),
                int32("assignment_epoch"),
                string("assignor_name"),
                structs(
                    "members",
                    &[
                        string("member_id"),
                        string("instance_id").nullable(),
                        string("rack_id").nullable(),
                        int32("member_epoch"),
                        string("client_id"),
                        string("client_host"),
                        array("subscribed_topic_names", &Kind::String),
                        string("subscribed_topic_regex").nullable(),
                        one("assignment", ASSIGNMENT),
                        one("target_assignment", ASSIGNMENT),
                        int8("member_type").since(1),
                    ],
                ),
                int32("authorized_operations"),
            ],
        ),
    ],
};
