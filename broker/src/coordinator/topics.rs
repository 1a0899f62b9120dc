//! The cluster's topics, as consumer groups ask about them.

use groups::{
    consumer::{InvalidRegex, Topic, Topics},
    ids::TopicName,
};
use metadata::image::Image;
use protocol::ids::{MetadataOffset, TopicId};
use regex::RegexBuilder;
use std::{collections::BTreeSet, sync::Arc};

/// How large a compiled expression may be, in bytes: what is hostile is refused, and matching takes time linear in the name
/// (Kafka uses RE2/J for the same reason, KIP-848).
const REGEX_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub struct ClusterTopics {
    image: Arc<Image>,
}

impl ClusterTopics {
    /// By this image.
    pub(super) fn new(image: Arc<Image>) -> Self {
        Self { image }
    }
}

impl Topics for ClusterTopics {
    fn topic(&self, name: &TopicName) -> Option<Topic> {
        let topic = self.image.topic_by_name(name)?;
        Some(Topic { id: topic.id, partitions: topic.partition_count() })
    }

    fn name(&self, id: TopicId) -> Option<TopicName> {
        self.image.topic(id).map(|topic| TopicName::from(&*topic.name))
    }

    /// The whole name must match.
    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, InvalidRegex> {
        let compiled = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
        // By itself first: one that closes what it did not open would get out of the brackets.
        let whole = compiled(regex).and_then(|_| compiled(&format!("^(?:{regex})$")));
        let whole = whole.map_err(|error| InvalidRegex { reason: error.to_string() })?;
        let names = self.image.topics().map(|topic| &*topic.name);
        Ok(names.filter(|name| whole.is_match(name)).map(TopicName::from).collect())
    }

    fn version(&self) -> MetadataOffset {
        self.image.offset()
    }

    /// Not known: any change may have been one.
    fn last_created_at(&self) -> MetadataOffset {
        self.image.offset()
    }
}
