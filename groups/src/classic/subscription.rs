//! Pure. What consumers say when they join: the topics to which they are subscribed.

use super::ClassicGroup;
use crate::ids::TopicName;
use crate::record::ClassicMemberValue;
use bytes::{Buf, Bytes};
use std::collections::BTreeSet;

impl ClassicGroup {
    /// The topics to which members are subscribed: nothing if they are not consumers, or if what one of them says cannot be
    /// read (`ClassicGroup.computeSubscribedTopics`).
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<TopicName>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for (_, member) in self.roster.iter() {
            read_topics(self.metadata(member), &mut topics)?;
        }
        Some(topics)
    }
}

impl ClassicMemberValue {
    /// Whether it was subscribed to a topic, if it was a consumer.
    pub fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        let mut topics = BTreeSet::new();
        read_topics(self.subscription.clone(), &mut topics).is_some() && topics.contains(topic)
    }
}

/// Adds the topics of a `ConsumerProtocolSubscription`. Every version begins with what version 0 is, and nothing else of it
/// is read. Returns nothing if it is not even that.
fn read_topics(mut from: Bytes, topics: &mut BTreeSet<TopicName>) -> Option<()> {
    let _version = from.try_get_i16().ok()?;
    let count = usize::try_from(from.try_get_i32().ok()?).ok()?;
    for _ in 0..count {
        let length = usize::try_from(from.try_get_i16().ok()?).ok()?;
        let name = take(&mut from, length)?;
        let name = String::from_utf8_lossy(&name);
        if !topics.contains(&*name) {
            topics.insert(TopicName::from(&*name));
        }
    }
    let user_data = from.try_get_i32().ok()?;
    match usize::try_from(user_data) {
        Ok(length) => take(&mut from, length).map(drop),
        Err(_) => (user_data == -1).then_some(()),
    }
}

fn take(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= from.len()).then(|| from.split_to(length))
}

/// What a consumer says that is subscribed to these topics.
#[cfg(test)]
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    use bytes::BufMut;
    let mut bytes = bytes::BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(i32::try_from(topics.len()).unwrap());
    for topic in topics {
        bytes.put_i16(i16::try_from(topic.len()).unwrap());
        bytes.put_slice(topic.as_bytes());
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topics(bytes: impl Into<Bytes>) -> Option<Vec<String>> {
        let mut topics = BTreeSet::new();
        read_topics(bytes.into(), &mut topics)?;
        Some(topics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_topics_are_read_and_what_later_versions_add_is_not() {
        let mut bytes = subscription(&["orders", "bills"]).to_vec();
        assert_eq!(topics(bytes.clone()), Some(vec!["bills".to_owned(), "orders".to_owned()]));
        bytes[1] = 3;
        bytes.extend(b"owned partitions, a generation, a rack");
        assert_eq!(topics(bytes), Some(vec!["bills".to_owned(), "orders".to_owned()]));
    }

    #[test]
    fn user_data_may_be_there_and_must_be_whole() {
        let mut bytes = subscription(&["orders"]).to_vec();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&2i32.to_be_bytes());
        assert_eq!(topics(bytes.clone()), None);
        bytes.extend(b"ab");
        assert_eq!(topics(bytes.clone()), Some(vec!["orders".to_owned()]));
        bytes[at..at + 4].copy_from_slice(&(-2i32).to_be_bytes());
        assert_eq!(topics(bytes), None);
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_anything_is_kept_for_it() {
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff][..]), None);
        assert_eq!(topics(&[0, 0, 0xff, 0xff, 0xff, 0xff][..]), None);
        assert_eq!(topics(&[][..]), None);
    }

    proptest! {
        #[test]
        fn every_part_of_a_subscription_is_refused(
            names in proptest::collection::vec("[a-z]{0,9}", 0..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let bytes = subscription(&names);
            prop_assert!(topics(bytes.clone()).is_some());
            prop_assert_eq!(topics(bytes.slice(..cut.index(bytes.len()))), None);
        }

        #[test]
        fn nothing_is_so_odd_that_it_panics(bytes: Vec<u8>) {
            let _ = topics(bytes);
        }
    }
}
