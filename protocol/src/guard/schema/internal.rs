//! Pure. The calls among gregor's own nodes: see [`crate::internal`].

use super::{Kind, Schema, array, bytes, int8, int16, int32, int64, one, string, uuid};

/// RaftRequest, version 0.
pub const RAFT_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[string("principal"), string("cluster_id"), int8("kind"), int32("target"), bytes("body")],
};

/// RaftResponse, version 0.
pub const RAFT_RESPONSE: Schema = Schema { flexible_since: 0, fields: &[int16("error_code"), bytes("body")] };

/// MetadataFetchRequest, version 0.
pub const METADATA_FETCH_REQUEST: Schema = Schema {
    flexible_since: 0,
    fields: &[
        string("principal"),
        string("cluster_id"),
        int32("broker_id"),
        int64("from"),
        int32("max_wait_ms"),
        int32("max_bytes"),
    ],
};

/// MetadataFetchResponse, version 0.
pub const METADATA_FETCH_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[
        int16("error_code"),
        int32("leader_id"),
        int64("end"),
        one("snapshot", &[int64("offset"), bytes("image")]).nullable(),
        int64("first"),
        array("records", &Kind::Bytes),
    ],
};

/// BrokerProbeRequest, version 0.
pub const BROKER_PROBE_REQUEST: Schema =
    Schema { flexible_since: 0, fields: &[string("principal"), string("cluster_id"), int32("controller_id")] };

/// BrokerProbeResponse, version 0.
pub const BROKER_PROBE_RESPONSE: Schema = Schema {
    flexible_since: 0,
    fields: &[int16("error_code"), int32("broker_id"), int64("broker_epoch"), uuid("incarnation_id")],
};
