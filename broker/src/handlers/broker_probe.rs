//! BrokerProbe (20002): a new active controller asks whether this broker lives, and which life it is.

use super::{
    Services,
    context::{Outcome, RequestContext},
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerEpoch, IncarnationId},
    internal::{BrokerProbeRequest, BrokerProbeResponse},
};
use std::sync::Arc;

/// Answers at once, whatever the broker is busy with. A controller of another cluster learns nothing:
/// `INCONSISTENT_CLUSTER_ID`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: BrokerProbeRequest) -> Outcome {
    let broker_id = services.config.node_id;
    let response = if request.cluster_id == services.config.cluster_id {
        BrokerProbeResponse {
            error_code: ErrorCode::None.code(),
            broker_id,
            broker_epoch: services.lifecycle.broker_epoch().unwrap_or(BrokerEpoch::UNKNOWN),
            incarnation_id: services.lifecycle.incarnation_id(),
        }
    } else {
        BrokerProbeResponse {
            error_code: ErrorCode::InconsistentClusterId.code(),
            broker_id,
            broker_epoch: BrokerEpoch::UNKNOWN,
            incarnation_id: IncarnationId::ZERO,
        }
    };
    context.done(&response)
}
