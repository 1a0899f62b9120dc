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

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{delta, record::Record};
    use uuid::Uuid;

    fn topics() -> ClusterTopics {
        let mut image = Image::default();
        for (number, name) in ["orders", "orders-dead", "bills"].into_iter().enumerate() {
            let topic_id = TopicId(Uuid::from_u128(number as u128 + 1));
            delta::apply(&mut image, MetadataOffset(number as i64), &Record::Topic { name: name.into(), topic_id });
        }
        ClusterTopics::new(Arc::new(image))
    }

    #[test]
    fn an_expression_matches_whole_names() {
        let matching = |regex: &str| topics().matching(regex).map(|names| names.len()).ok();
        assert_eq!(matching("orders"), Some(1));
        assert_eq!(matching("orders.*"), Some(2));
        assert_eq!(matching("o|bills"), Some(1));
        assert_eq!(matching(""), Some(0));
    }

    #[test]
    fn what_is_no_expression_or_too_large_a_one_is_refused() {
        for hostile in ["(", "a)|(.*", "(?:a{1000}){1000}", "[[:alpha:", r"\p{L}{5000}{5000}"] {
            assert!(topics().matching(hostile).is_err(), "{hostile}");
        }
    }
}
