//! Pure. Which producer ids were given away.

use protocol::ids::ProducerId;
use serde::{Deserialize, Serialize};

/// Producer ids are given to brokers in blocks (KIP-730), and never twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdsImage {
    /// The first id that nobody has.
    pub next_producer_id: ProducerId,
}
