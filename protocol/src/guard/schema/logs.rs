//! Pure. The APIs about the logs that a broker keeps.
//!
//! Source: the message definitions of Apache Kafka 4.1, `clients/src/main/resources/common/message/*.json`.

use super::{Schema, int16, int32, int64, string, structs};

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
