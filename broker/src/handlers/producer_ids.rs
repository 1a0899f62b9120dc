//! Producer ids to give away: a block of them at a time, from the controller, so that none is given twice (KIP-730).
//!
//! It never gives an id of a block that the controller has not committed, and forgets what is left of one at a restart.
//! Driven by InitProducerId.

use crate::controller_link::{ControllerLink, ControllerLinkError};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerEpoch, BrokerId, ProducerId},
    messages::AllocateProducerIdsRequest,
};
use runtime::{
    sync::{AsyncMutex, Lock},
    time::Instant,
};

/// The rank of the block's lock: taken under no other, and no other under it.
const RANK: u8 = 56;

/// Ids that are this broker's to give away.
pub struct ProducerIds {
    node_id: BrokerId,
    block: Lock<Block>,
    /// Held by whoever asks the controller for the next block.
    asking: AsyncMutex<()>,
}

/// Why there is no id to give.
#[derive(Debug, thiserror::Error)]
pub enum ProducerIdError {
    /// The controller did not answer.
    #[error(transparent)]
    NoController(#[from] ControllerLinkError),
    /// The controller refused.
    #[error("the controller gives no producer ids: {0}")]
    Refused(ErrorCode),
}

/// A range of ids that shrinks from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Block {
    next: i64,
    end: i64,
}

impl Block {
    fn take(&mut self) -> Option<ProducerId> {
        (self.next < self.end).then(|| {
            self.next += 1;
            ProducerId(self.next - 1)
        })
    }
}

impl ProducerIds {
    /// No block yet: the first id waits for one.
    pub fn new(node_id: BrokerId) -> Self {
        Self { node_id, block: Lock::new(RANK, Block::default()), asking: AsyncMutex::new(()) }
    }

    /// An id from the block at hand; `None` when it is used up.
    pub fn take(&self) -> Option<ProducerId> {
        self.block.lock().take()
    }

    /// An id, from the next block if need be, for which the controller is asked.
    ///
    /// # Errors
    /// When the controller gives none by the deadline.
    pub async fn next(
        &self,
        controllers: &ControllerLink,
        broker_epoch: BrokerEpoch,
        deadline: Instant,
    ) -> Result<ProducerId, ProducerIdError> {
        let _asking = self.asking.lock().await;
        loop {
            // Somebody else may have brought a block while we waited for our turn.
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let request = AllocateProducerIdsRequest::default()
                .with_broker_id(self.node_id.into())
                .with_broker_epoch(broker_epoch.0);
            let answer = controllers.call(&request, deadline).await?;
            match ErrorCode::from_wire(answer.error_code) {
                ErrorCode::None => {
                    let start = answer.producer_id_start.0;
                    *self.block.lock() = Block { next: start, end: start + i64::from(answer.producer_id_len) };
                }
                error => return Err(ProducerIdError::Refused(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_each_of_its_ids_once() {
        let ids = ProducerIds::new(BrokerId(1));
        assert_eq!(ids.take(), None);
        *ids.block.lock() = Block { next: 1_000, end: 1_003 };
        let given: Vec<_> = std::iter::from_fn(|| ids.take()).map(|id| id.0).collect();
        assert_eq!(given, [1_000, 1_001, 1_002]);
        assert_eq!(ids.take(), None);
    }
}
