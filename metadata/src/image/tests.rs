//! Claims about images and their snapshots.

use super::*;
use crate::delta::apply;
use crate::record::{ConfigResource, LeaderRecoveryState, Record};
use proptest::prelude::*;
use protocol::ids::{BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId};
use uuid::Uuid;

/// An image to which records are applied in turn.
#[derive(Default)]
pub(crate) struct Story(pub Image);

impl Story {
    pub fn record(mut self, record: Record) -> Self {
        let offset = self.0.offset();
        apply(&mut self.0, offset, &record);
        self
    }

    pub fn broker(self, id: i32, incarnation: u128) -> Self {
        self.record(registration(id, incarnation))
    }

    pub fn topic(self, name: &str, id: u128, partitions: i32) -> Self {
        let topic_id = topic_id(id);
        let created = self.record(Record::Topic { name: name.into(), topic_id });
        (0..partitions)
            .fold(created, |story, partition| story.record(partition_record(topic_id, partition, &[1, 2, 3])))
    }
}

pub(crate) fn topic_id(id: u128) -> TopicId {
    TopicId(Uuid::from_u128(id))
}

pub(crate) fn registration(id: i32, incarnation: u128) -> Record {
    Record::RegisterBroker {
        broker_id: BrokerId(id),
        incarnation_id: IncarnationId(Uuid::from_u128(incarnation)),
        listeners: Vec::new(),
        rack: None,
        directories: vec![DirectoryId(Uuid::from_u128(1000 + id as u128))],
        fenced: true,
        controlled_shutdown: false,
        features: Default::default(),
    }
}

pub(crate) fn partition_record(topic_id: TopicId, partition: i32, replicas: &[i32]) -> Record {
    let replicas: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
    Record::Partition {
        topic_id,
        partition: PartitionIndex(partition),
        directories: vec![DirectoryId::ZERO; replicas.len()],
        isr: replicas.clone(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: replicas.first().copied(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        leader_recovery_state: LeaderRecoveryState::Recovered,
        replicas,
    }
}

fn whole() -> Image {
    Story::default()
        .record(Record::FeatureLevel { name: METADATA_VERSION.into(), level: METADATA_VERSION_LEVEL })
        .broker(1, 11)
        .broker(2, 12)
        .topic("orders", 7, 3)
        .topic("audit", 3, 1)
        .record(Record::Config {
            resource: ConfigResource::Topic("orders".into()),
            name: "retention.ms".into(),
            value: Some("1000".into()),
        })
        .record(Record::ProducerIds {
            broker_id: BrokerId(1),
            broker_epoch: BrokerEpoch(1),
            next_producer_id: ProducerId(1000),
        })
        .record(Record::NoOp)
        .0
}

#[test]
fn a_snapshot_holds_the_whole_image() {
    let image = whole();
    let read = Image::decode(&image.encode()).expect("its own bytes");
    assert_eq!(read, image);
    assert_eq!(read.digest(), image.digest());
    assert_eq!(read.offset(), image.offset());
}

#[test]
fn a_record_more_is_another_digest_even_if_it_says_nothing() {
    let image = whole();
    let mut next = image.clone();
    apply(&mut next, image.offset(), &Record::NoOp);
    assert_ne!(next.digest(), image.digest());
}

#[test]
fn a_clone_does_not_see_later_records() {
    let image = whole();
    let kept = image.clone();
    let after = Story(image).record(Record::RemoveTopic { topic_id: topic_id(7) }).0;
    assert!(after.topic_by_name("orders").is_none());
    assert_eq!(kept, whole());
}

#[test]
fn topics_are_found_by_name_by_id_and_in_both_orders() {
    let image = whole();
    let names =
        |topics: &mut dyn Iterator<Item = &TopicImage>| topics.map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&mut image.topics_by_name()), ["audit", "orders"]);
    assert_eq!(names(&mut image.topics()), ["audit", "orders"], "in the order of ids: 3, then 7");
    assert_eq!(image.topic_by_name("orders").map(|topic| topic.id), Some(topic_id(7)));
    assert_eq!(image.topic(topic_id(7)).map(TopicImage::partition_count), Some(3));
    assert_eq!(image.topic_names_from("b").collect::<Vec<_>>(), ["orders"]);
    assert_eq!(image.partitions().count(), 4);
}

#[test]
fn a_deleted_topic_leaves_no_settings_for_its_next_life() {
    let image = Story(whole()).record(Record::RemoveTopic { topic_id: topic_id(7) }).topic("orders", 8, 1).0;
    assert_eq!(image.configs.get(&ConfigResource::Topic("orders".into()), "retention.ms"), None);
}

#[test]
fn a_setting_that_is_taken_back_leaves_nothing() {
    let set = |value: Option<&str>| Record::Config {
        resource: ConfigResource::Broker(None),
        name: "log.retention.ms".into(),
        value: value.map(str::to_owned),
    };
    let image = Story::default().record(set(Some("5"))).record(set(None)).0;
    assert_eq!(image.configs, ConfigsImage::default());
}

#[test]
fn what_is_being_moved_is_in_the_snapshot_and_costs_nothing_where_nothing_moves() {
    let moved = |adding: &[i32], removing: &[i32]| Record::PartitionChange {
        topic_id: topic_id(7),
        partition: PartitionIndex(1),
        isr: None,
        elr: None,
        last_known_elr: None,
        leader: None,
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: Some(adding.iter().copied().map(BrokerId).collect()),
        removing_replicas: Some(removing.iter().copied().map(BrokerId).collect()),
    };
    let image = Story(whole()).record(moved(&[2], &[1])).0;
    assert_eq!(image.encode()[..2], [0, 1]);
    assert_eq!(Image::decode(&image.encode()).expect("its own bytes"), image);
    let image = Story(image).record(moved(&[], &[])).0;
    assert_eq!(image.encode()[..2], [0, 0], "every node reads it");
    assert_eq!(Image::decode(&image.encode()).expect("its own bytes"), image);
}

#[test]
fn an_unknown_snapshot_version_is_an_error_that_names_it() {
    let error = Image::decode(&[0, 9]).expect_err("no such version");
    insta::assert_snapshot!(error, @"metadata snapshot of unknown version 9, the newest known is 1");
}

proptest! {
    #[test]
    fn any_bytes_are_an_image_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = Image::decode(&[&[0, 0], &bytes[..]].concat());
        let _ = Image::decode(&[&[0, 1], &bytes[..]].concat());
    }

    #[test]
    fn a_cut_snapshot_is_refused(cut in any::<prop::sample::Index>()) {
        let bytes = whole().encode();
        prop_assert!(Image::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
