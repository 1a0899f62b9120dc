//! The settings of topics as a request needs them, resolved once for each image of the metadata.
//!
//! It never changes a setting. Read by Produce for every batch, so a look-up must cost little: resolving a topic reads some
//! thirty keys.

use metadata::{
    config::{Properties, TopicConfig},
    image::{Image, TopicImage},
};
use protocol::ids::TopicId;
use runtime::sync::Lock;
use std::{collections::BTreeMap, sync::Arc};

/// The rank of the list: taken under no other lock, and no other under it.
const RANK: u8 = 57;

/// The settings of the topics that were asked for since the metadata last changed.
pub struct TopicConfigs {
    properties: Arc<Properties>,
    resolved: Lock<Resolved>,
}

#[derive(Default)]
struct Resolved {
    image: Arc<Image>,
    by_topic: BTreeMap<TopicId, Arc<TopicConfig>>,
}

impl TopicConfigs {
    /// Nothing resolved yet.
    pub fn new(properties: Arc<Properties>) -> Self {
        Self { properties, resolved: Lock::new(RANK, Resolved::default()) }
    }

    /// The settings of a topic of this image.
    pub fn get(&self, image: &Arc<Image>, topic: &TopicImage) -> Arc<TopicConfig> {
        let mut resolved = self.resolved.lock();
        if !Arc::ptr_eq(&resolved.image, image) {
            *resolved = Resolved { image: image.clone(), by_topic: BTreeMap::new() };
        }
        let config = resolved
            .by_topic
            .entry(topic.id)
            .or_insert_with(|| Arc::new(TopicConfig::resolve(image, &self.properties, &topic.name)));
        config.clone()
    }
}
