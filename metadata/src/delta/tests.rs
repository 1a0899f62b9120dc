//! Claims about records applied to images.

use super::*;
use crate::image::tests::{Story, partition_record, registration, topic_id};
use proptest::prelude::*;
use protocol::ids::{IncarnationId, LeaderEpoch, PartitionEpoch, PartitionIndex};
use uuid::Uuid;

fn change(partition: i32, leader: Option<Option<i32>>, isr: Option<&[i32]>) -> Record {
    Record::PartitionChange {
        topic_id: topic_id(7),
        partition: PartitionIndex(partition),
        isr: isr.map(|isr| isr.iter().copied().map(BrokerId).collect()),
        elr: None,
        last_known_elr: None,
        leader: leader.map(|leader| leader.map(BrokerId)),
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    }
}

fn epochs(image: &Image) -> (LeaderEpoch, PartitionEpoch) {
    let of = TopicPartition { topic_id: topic_id(7), partition: PartitionIndex(0) };
    let state = image.partition(of).expect("the story has it");
    (state.leader_epoch, state.partition_epoch)
}

#[test]
fn the_leader_epoch_rises_with_the_leader_and_the_partition_epoch_always() {
    let story = Story::default().topic("orders", 7, 1).record(change(0, None, Some(&[1, 2])));
    assert_eq!(epochs(&story.0), (LeaderEpoch(0), PartitionEpoch(1)));
    let story = story.record(change(0, Some(Some(2)), Some(&[2])));
    assert_eq!(epochs(&story.0), (LeaderEpoch(1), PartitionEpoch(2)));
    let story = story.record(change(0, Some(None), Some(&[])));
    assert_eq!(epochs(&story.0), (LeaderEpoch(2), PartitionEpoch(3)));
}

#[test]
fn a_broker_epoch_is_the_offset_of_the_registration() {
    let story = Story::default().record(Record::NoOp).broker(1, 11);
    assert_eq!(story.0.broker(BrokerId(1)).map(|broker| broker.epoch), Some(BrokerEpoch(1)));
    let story = story.record(Record::NoOp).broker(1, 12);
    assert_eq!(story.0.broker(BrokerId(1)).map(|broker| broker.epoch), Some(BrokerEpoch(3)));
}

#[test]
fn the_same_incarnation_keeps_its_epoch() {
    let story = Story::default().record(Record::NoOp).broker(1, 11).record(Record::NoOp).broker(1, 11);
    let broker = story.0.broker(BrokerId(1)).expect("registered");
    assert_eq!((broker.epoch, broker.incarnation_id), (BrokerEpoch(1), IncarnationId(Uuid::from_u128(11))));
}

#[test]
fn the_offset_of_a_controlled_shutdown_is_remembered_until_the_next_life() {
    let leaving = Record::BrokerControlledShutdown { broker_id: BrokerId(1), broker_epoch: BrokerEpoch(0) };
    let story = Story::default().broker(1, 11).record(Record::NoOp).record(leaving);
    let broker = story.0.broker(BrokerId(1)).expect("registered");
    assert_eq!((broker.controlled_shutdown, broker.controlled_shutdown_offset), (true, Some(MetadataOffset(2))));
    let story = story.broker(1, 12);
    let broker = story.0.broker(BrokerId(1)).expect("registered");
    assert_eq!((broker.controlled_shutdown, broker.controlled_shutdown_offset), (false, None));
}

#[test]
fn changes_name_what_differs_and_nothing_else() {
    let base = Story::default().broker(1, 11).broker(2, 12).topic("orders", 7, 2).topic("audit", 9, 1).0;
    let mut delta = Delta::new(&base);
    delta.apply(&Record::UnfenceBroker { broker_id: BrokerId(2), broker_epoch: BrokerEpoch(1) });
    delta.apply(&change(1, Some(Some(2)), None));
    delta.apply(&Record::RemoveTopic { topic_id: topic_id(9) });
    delta.apply(&Record::Topic { name: "new".into(), topic_id: topic_id(5) });
    delta.apply(&partition_record(topic_id(5), 0, &[1]));
    let (image, changes) = delta.finish();
    assert_eq!(changes.brokers, [BrokerId(2)].into());
    assert_eq!(changes.topics_created, [topic_id(5)].into());
    assert_eq!(changes.topics_removed.values().map(|topic| &*topic.name).collect::<Vec<_>>(), ["audit"]);
    let of = |topic, partition| TopicPartition { topic_id: topic_id(topic), partition: PartitionIndex(partition) };
    assert_eq!(changes.partitions, [of(5, 0), of(7, 1)].into());
    assert!(changes.configs.is_empty() && !changes.features && !changes.producer_ids);
    assert_eq!(Changes::between(&base, &image), changes, "a snapshot tells the same");
}

#[test]
fn a_topic_that_comes_and_goes_in_one_delta_is_no_change() {
    let mut delta = Delta::new(&Image::default());
    delta.apply(&Record::Topic { name: "brief".into(), topic_id: topic_id(1) });
    delta.apply(&Record::RemoveTopic { topic_id: topic_id(1) });
    assert!(delta.finish().1.is_empty());
}

#[test]
fn a_recreated_topic_is_one_removed_and_one_created() {
    let base = Story::default().topic("orders", 7, 1).0;
    let mut delta = Delta::new(&base);
    delta.apply(&Record::RemoveTopic { topic_id: topic_id(7) });
    delta.apply(&Record::Topic { name: "orders".into(), topic_id: topic_id(8) });
    let (image, changes) = delta.finish();
    assert_eq!(changes.topics_created, [topic_id(8)].into());
    assert!(changes.topics_removed.contains_key(&topic_id(7)));
    assert_eq!(image.topic_by_name("orders").map(|topic| topic.id), Some(topic_id(8)));
}

#[test]
#[should_panic(expected = "FenceBroker names another registration of broker 1")]
fn a_record_of_an_earlier_registration_does_not_fit() {
    let fence = Record::FenceBroker { broker_id: BrokerId(1), broker_epoch: BrokerEpoch(0) };
    let _ = Story::default().broker(1, 11).broker(1, 12).record(fence);
}

#[test]
#[should_panic(expected = "is not the image's next")]
fn a_record_out_of_turn_does_not_fit() {
    apply(&mut Image::default(), MetadataOffset(1), &Record::NoOp);
}

#[test]
#[should_panic(expected = "are given away")]
fn producer_ids_are_never_given_away_twice() {
    let block =
        Record::ProducerIds { broker_id: BrokerId(1), broker_epoch: BrokerEpoch(0), next_producer_id: 1000.into() };
    let _ = Story::default().record(block.clone()).record(block);
}

proptest! {
    /// The records of a plausible log, some brokers and topics of few ids, applied in one go and in two with a snapshot
    /// between.
    #[test]
    fn a_snapshot_and_the_tail_give_the_same_image_as_the_whole_log(
        steps in proptest::collection::vec((0..7_u8, 0..3_i32, 0..100_u128), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut image = Image::default();
        let mut records = Vec::new();
        for (what, which, fresh) in steps {
            let candidate = plausible(&image, what, which, fresh);
            let offset = image.offset();
            apply(&mut image, offset, &candidate);
            records.push(candidate);
        }
        let cut = cut.index(records.len());
        let head = records[..cut].iter().fold(Story::default(), |story, record| story.record(record.clone())).0;
        let restored = Image::decode(&head.encode()).expect("its own bytes");
        let end = records[cut..].iter().fold(Story(restored), |story, record| story.record(record.clone())).0;
        prop_assert_eq!(end.digest(), image.digest());
        prop_assert_eq!(end, image);
    }
}

/// A record of the wanted sort that fits the image.
fn plausible(image: &Image, what: u8, which: i32, fresh: u128) -> Record {
    let broker = image.broker(BrokerId(which));
    let topic = image.topics().nth(which as usize);
    match (what, broker, topic) {
        (0, _, _) => registration(which, fresh),
        (1, Some(broker), _) => Record::FenceBroker { broker_id: BrokerId(which), broker_epoch: broker.epoch },
        (2, Some(broker), _) => Record::UnfenceBroker { broker_id: BrokerId(which), broker_epoch: broker.epoch },
        (3, _, _) if image.topic(topic_id(fresh)).is_none() => {
            Record::Topic { name: format!("topic-{fresh}"), topic_id: topic_id(fresh) }
        }
        (4, _, Some(topic)) => partition_record(topic.id, topic.partition_count() as i32, &[0, 1, 2]),
        (5, _, Some(topic)) if topic.partition_count() > 0 => Record::PartitionChange {
            topic_id: topic.id,
            partition: PartitionIndex(0),
            isr: Some(vec![BrokerId(which)]),
            elr: None,
            last_known_elr: None,
            leader: fresh.is_multiple_of(2).then_some(Some(BrokerId(which))),
            leader_recovery_state: None,
            replicas: None,
            adding_replicas: None,
            removing_replicas: None,
        },
        (6, _, Some(topic)) => Record::RemoveTopic { topic_id: topic.id },
        _ => Record::NoOp,
    }
}
