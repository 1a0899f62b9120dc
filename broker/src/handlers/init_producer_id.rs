//! InitProducerId (22): a producer id for an idempotent producer (KIP-98, KIP-360).

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    producer_ids::ProducerIdError,
};
use protocol::{
    error_code::ErrorCode,
    ids::{ProducerEpoch, ProducerId},
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};
use runtime::time;
use std::{sync::Arc, time::Duration};

/// How long an answer waits for a block of producer ids.
const BLOCK_MAX: Duration = Duration::from_secs(5);

/// An idempotent producer gets a new id at epoch 0, whatever id it had (`TransactionCoordinator.handleInitProducerId`, null
/// transactional id). While there is none to give: `COORDINATOR_LOAD_IN_PROGRESS`, as in Kafka; clients ask again.
///
/// A transactional id gets `UNSUPPORTED_VERSION`: this broker has no transaction coordinator, and that is what Kafka says of
/// a coordinator that is not there to be found (`KafkaApis`, group protocols that are switched off). It is final and tells
/// the user why at once, where `NOT_COORDINATOR` and `COORDINATOR_NOT_AVAILABLE` would have clients search for ever. An
/// empty one, and an id without an epoch or the reverse, gets `INVALID_REQUEST`.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: InitProducerIdRequest) -> Outcome {
    if let Some(error) = refusal(&request) {
        return Outcome::Done(answer(context, Err(error)));
    }
    if let Some(id) = services.producer_ids.take() {
        return Outcome::Done(answer(context, Ok(id)));
    }
    let (services, context) = (services.clone(), context.clone());
    Outcome::Waiting(Box::pin(async move {
        let deadline = (time::now() + BLOCK_MAX).min(context.deadline);
        let Some(broker_epoch) = services.lifecycle.broker_epoch() else {
            return answer(&context, Err(ErrorCode::CoordinatorLoadInProgress));
        };
        let id = services.producer_ids.next(&services.controllers, broker_epoch, deadline).await;
        answer(
            &context,
            id.map_err(|error| {
                tracing::warn!(%error, "no producer id to give");
                match error {
                    ProducerIdError::NoController(_) | ProducerIdError::Refused(_) => {
                        ErrorCode::CoordinatorLoadInProgress
                    }
                }
            }),
        )
    }))
}

fn refusal(request: &InitProducerIdRequest) -> Option<ErrorCode> {
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Some(ErrorCode::InvalidRequest),
        Some(_) => return Some(ErrorCode::UnsupportedVersion),
        None => {}
    }
    let no_id = request.producer_id.0 == ProducerId::NONE.0;
    let no_epoch = request.producer_epoch == ProducerEpoch::NONE.0;
    (no_id != no_epoch).then_some(ErrorCode::InvalidRequest)
}

fn answer(context: &RequestContext, id: Result<ProducerId, ErrorCode>) -> Answer {
    let response = InitProducerIdResponse::default().with_throttle_time_ms(context.throttle_time_ms());
    context.answer(&match id {
        Ok(id) => response.with_producer_id(id.into()).with_producer_epoch(0),
        Err(error) => response
            .with_error_code(error.code())
            .with_producer_id(ProducerId::NONE.into())
            .with_producer_epoch(ProducerEpoch::NONE.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::messages::{StrBytes, TransactionalId};

    #[test]
    fn only_an_idempotent_producer_gets_an_id() {
        let transactional = |id: &'static str| {
            InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(StrBytes::from_static_str(id))))
        };
        assert_eq!(refusal(&InitProducerIdRequest::default().with_transactional_id(None)), None);
        assert_eq!(refusal(&transactional("payments")), Some(ErrorCode::UnsupportedVersion));
        assert_eq!(refusal(&transactional("")), Some(ErrorCode::InvalidRequest));
        let half = InitProducerIdRequest::default().with_transactional_id(None).with_producer_epoch(3);
        assert_eq!(refusal(&half), Some(ErrorCode::InvalidRequest));
    }
}
