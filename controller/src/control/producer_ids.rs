//! Pure. Blocks of producer ids for brokers to give away (KIP-730, `ProducerIdControlManager`).

use super::brokers::check_epoch;
use super::draft::Draft;
use metadata::record::Record;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, ProducerId};
use protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

/// How many ids a broker gets at once (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
const BLOCK_SIZE: i32 = 1000;

/// Gives the next block to a broker. STALE_BROKER_EPOCH if it is not the registered one; UNKNOWN_SERVER_ERROR when no
/// block is left in 2^63.
pub(super) fn allocate(draft: &mut Draft<'_>, request: &AllocateProducerIdsRequest) -> AllocateProducerIdsResponse {
    let (broker_id, broker_epoch) = (BrokerId::from(request.broker_id), BrokerEpoch(request.broker_epoch));
    let refuse = |code: ErrorCode| AllocateProducerIdsResponse::default().with_error_code(code as i16);
    if let Err(code) = check_epoch(draft.image(), broker_id, broker_epoch) {
        return refuse(code);
    }
    let first = draft.image().producer_ids.next_producer_id;
    let Some(next) = first.0.checked_add(i64::from(BLOCK_SIZE)) else {
        return refuse(ErrorCode::UnknownServerError);
    };
    draft.push(Record::ProducerIds { broker_id, broker_epoch, next_producer_id: ProducerId(next) });
    AllocateProducerIdsResponse::default().with_producer_id_start(first.into()).with_producer_id_len(BLOCK_SIZE)
}
