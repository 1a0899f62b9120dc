//! Replicas of which a bit flipped on the disk.

use super::*;
use crate::partition::fetching::{Arrival, FetchError, FetchLimits, Fetched};
use crate::partition::state::{FetchPosition, Isolation, Reader};
use metadata::record::ConfigResource;
use simulated::Damage;

/// The first segment of topic 1.
const CLOSED: &str = "orders-0/00000000000000000000.log";

fn read(partition: &Arc<Partition>, from: i64) -> Result<Fetched, FetchError> {
    let position = FetchPosition { current_leader_epoch: None, fetch_offset: Offset(from), last_fetched_epoch: None };
    let reader = Reader::Consumer { isolation: Isolation::ReadUncommitted, leader_only: true };
    partition.fetch(&position, &reader, FetchLimits { bytes_max: 1 << 20, at_least_one: true }, Arrival::First)
}

/// A broker that leads topic 1, alone in sync, with a bit flipped in the first of several segments.
async fn damaged() -> (Story, Arc<Partition>) {
    let mut story = Story::new();
    story.start().await;
    story.register();
    let resource = ConfigResource::Topic("orders".into());
    story.publish(&[Record::Config { resource, name: "segment.bytes".into(), value: Some("1024".into()) }]);
    story.create_topic(1, 1);
    let partition = story.leading(1).await;
    (0..60).for_each(|_| append(&partition));
    read(&partition, 0).expect("it is sound");
    story.platter.damage(CLOSED, Damage::FlipBit { position: 200, bit: 3 });
    (story, partition)
}

fn follows_2(story: &mut Story) {
    story.publish(&[changed(1, Some(2), &[2])]);
}

fn lost() -> Record {
    let TopicPartition { topic_id, partition } = of(1);
    Record::ReplicaDirectory { topic_id, partition, broker_id: LOCAL, directory: DirectoryId::LOST }
}

/// What the broker told the controller since it was asked last.
fn told(story: &mut Story) -> Vec<DirectoryId> {
    let assignments = &mut story.outgoing.as_mut().expect("it was started").assignments;
    std::iter::from_fn(|| assignments.try_recv().ok()).map(|assigned| assigned.directory).collect()
}

async fn a_while() {
    time::sleep(Duration::from_millis(500)).await;
}

#[test]
fn a_damaged_leader_serves_what_is_sound_and_asks_to_be_relieved_once_a_second() {
    run(|| async {
        let (mut story, partition) = damaged().await;
        for _ in 0..2 {
            for _ in 0..5 {
                let refused = read(&partition, 0).expect_err("it is damaged");
                assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
            }
            assert_eq!(told(&mut story), [DirectoryId::LOST]);
            time::sleep(Duration::from_secs(1)).await;
        }
        assert!(partition.standing().leads);
        append(&partition);
        assert!(read(&partition, 58).expect("that is sound").records.is_some());
        assert!(told(&mut story).is_empty() && story.partitions().failed_directories().is_empty());
    });
}

#[test]
fn a_damaged_replica_is_copied_anew_once_another_leads() {
    run(|| async {
        let (mut story, partition) = damaged().await;
        read(&partition, 0).expect_err("it is damaged");
        // In two steps, as a broker may hear of it.
        story.publish(&[lost()]);
        assert!(partition.standing().leads);
        told(&mut story);
        follows_2(&mut story);
        a_while().await;
        let anew = story.partitions().get(of(1)).expect("it has a log again");
        assert!(!Arc::ptr_eq(&anew, &partition) && anew.standing().log_end_offset == Offset(0));
        assert_eq!(told(&mut story), story.partitions().online_directories());
        let directories = story.directories();
        assert!(directories.len() == 2 && directories[1].ends_with("-stray"), "{directories:?}");
        // As long as the metadata does not say where it is, it says so again; it stays what it is.
        follows_2(&mut story);
        a_while().await;
        assert_eq!(told(&mut story), story.partitions().online_directories());
        assert!(Arc::ptr_eq(&anew, &story.partitions().get(of(1)).expect("it stays")));
    });
}

#[test]
fn a_broker_that_stops_before_that_copies_it_anew_after_its_start() {
    run(|| async {
        let (mut story, partition) = damaged().await;
        read(&partition, 0).expect_err("it is damaged");
        story.partitions().shutdown(None).await;
        story.start().await;
        story.publish(&[lost()]);
        follows_2(&mut story);
        story.register();
        a_while().await;
        let anew = story.partitions().get(of(1)).expect("it has a log");
        assert_eq!(anew.standing().log_end_offset, Offset(0));
    });
}

#[test]
fn a_log_that_cannot_be_opened_is_kept_while_nobody_else_leads() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        append(&story.leading(1).await);
        story.partitions().shutdown(Some(BrokerEpoch(7))).await;
        story.platter.damage("orders-0/partition.metadata", Damage::FlipBit { position: 3, bit: 1 });
        story.start().await;
        story.publish(&[changed(1, None, &[])]);
        story.register();
        a_while().await;
        assert!(story.partitions().get(of(1)).is_none());
        assert_eq!(story.directories(), ["orders-0"], "it may be all that there is");
        assert_eq!(told(&mut story), [DirectoryId::LOST]);
    });
}
