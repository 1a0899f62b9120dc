//! Pure. Who is registered as a broker, and how it is reached.

use crate::record::{Endpoint, FeatureRange};
use imbl::OrdMap;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, IncarnationId, MetadataOffset};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One broker's registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerImage {
    /// The metadata offset of the registration.
    pub epoch: BrokerEpoch,
    /// Which start of its process registered.
    pub incarnation_id: IncarnationId,
    /// Where it is reached, one for each listener name.
    pub listeners: Vec<Endpoint>,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// Its online log directories.
    pub directories: Vec<DirectoryId>,
    /// Whether it may not lead nor be in an ISR, because it is not yet, or no longer, in touch.
    pub fenced: bool,
    /// Whether it is leaving in good order.
    pub controlled_shutdown: bool,
    /// While it is leaving, the offset of the record that said so: others may rely on it until they have passed this.
    pub controlled_shutdown_offset: Option<MetadataOffset>,
    /// The feature levels that it can run at.
    pub features: BTreeMap<String, FeatureRange>,
}

impl BrokerImage {
    /// Whether it may lead and be in an ISR: unfenced and not in controlled shutdown.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.controlled_shutdown
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

/// Every registered broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokersImage {
    by_id: OrdMap<BrokerId, Arc<BrokerImage>>,
}

impl BrokersImage {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BrokerId, &BrokerImage)> {
        self.by_id.iter().map(|(id, broker)| (*id, &**broker))
    }

    pub(crate) fn get(&self, broker_id: BrokerId) -> Option<&BrokerImage> {
        self.by_id.get(&broker_id).map(|broker| &**broker)
    }

    pub(crate) fn get_mut(&mut self, broker_id: BrokerId) -> Option<&mut BrokerImage> {
        self.by_id.get_mut(&broker_id).map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, broker_id: BrokerId, broker: BrokerImage) {
        self.by_id.insert(broker_id, Arc::new(broker));
    }

    pub(crate) fn remove(&mut self, broker_id: BrokerId) -> bool {
        self.by_id.remove(&broker_id).is_some()
    }

    /// The brokers that are registered on one side only, or differently.
    pub(crate) fn changed_since(&self, old: &Self) -> Vec<BrokerId> {
        super::topics::changed_keys(&old.by_id, &self.by_id)
    }
}
