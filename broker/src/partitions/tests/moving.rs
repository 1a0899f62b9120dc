//! Replicas that move from one log directory to another, while they are written.

use super::*;
use crate::partition::context::Assignment;

/// A broker with two directories, and a replica that it leads in the first.
async fn two_directories() -> (Story, Arc<Partition>) {
    let mut story = Story::new();
    story.others = vec![simulated::Disk::new(2)];
    story.start().await;
    story.register();
    story.create_topic(1, 1);
    let partition = story.leading(1).await;
    assert_eq!(partition.directory(), 0);
    (story, partition)
}

/// What the broker asks the controller to note is noted.
pub(super) fn note_assignments(story: &mut Story) {
    while let Ok(assigned) = story.outgoing.as_mut().expect("it was started").assignments.try_recv() {
        let Assignment { partition: TopicPartition { topic_id, partition }, directory } = assigned;
        story.publish(&[Record::ReplicaDirectory { topic_id, partition, broker_id: LOCAL, directory }]);
    }
}

/// Writes, and notes, until the move is over.
async fn let_it_move(story: &mut Story, partition: &Arc<Partition>) -> i64 {
    let mut written = 0;
    for _ in 0..400 {
        if partition.directory() == 1 {
            return written;
        }
        note_assignments(story);
        if try_append(partition).is_ok() {
            written += 1;
        }
        time::sleep(Duration::from_millis(3)).await;
    }
    panic!("the replica did not move");
}

fn values(partition: &Arc<Partition>) -> i64 {
    let standing = partition.standing();
    standing.log_end_offset.0 - standing.log_start_offset.0
}

async fn at_rest() {
    time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn a_replica_moves_with_everything_while_it_is_written() {
    run(|| async {
        let (mut story, partition) = two_directories().await;
        for _ in 0..50 {
            append(&partition);
        }
        story.partitions().begin_move(partition.clone(), 1);
        assert_eq!(story.partitions().future_replicas(1).len(), 1);
        let written = let_it_move(&mut story, &partition).await;
        assert!(written > 0, "producers are served meanwhile");
        assert_eq!(values(&partition), 50 + written);
        append(&partition);
        at_rest().await;
        assert!(story.partitions().future_replicas(1).is_empty());
        note_assignments(&mut story);
        let assigned = story.partitions().directories[1].id;
        assert_eq!(story.image.partition(of(1)).expect("it exists").directories[0], assigned);
        // Nothing of it is left where it was, and the next start finds it where it is.
        story.partitions().shutdown(Some(BrokerEpoch(7))).await;
        assert_eq!(story.start().await, Some(BrokerEpoch(7)));
        let replicas = story.partitions().replicas.lock();
        assert_eq!(replicas.found[&of(1)].directory(), 1);
        assert_eq!(values(&replicas.found[&of(1)]), 51 + written);
    });
}

#[test]
fn a_power_loss_at_any_moment_of_a_move_leaves_one_whole_log() {
    for millis in 0..40 {
        run(move || async move {
            let (mut story, partition) = two_directories().await;
            let log = LogConfig { flush_messages: 1, ..LogConfig::default() };
            partition.set_config(Settings { log, min_insync_replicas: 1, throttled: Throttled::default() });
            for _ in 0..20 {
                let flush = try_append(&partition).unwrap().flush.expect("each record is flushed");
                flush.await.unwrap();
            }
            story.partitions().begin_move(partition.clone(), 1);
            for _ in 0..millis {
                note_assignments(&mut story);
                time::sleep(Duration::from_millis(1)).await;
            }
            story.platter.power_loss();
            story.others[0].power_loss();
            story.start().await;
            let found = {
                let replicas = story.partitions().replicas.lock();
                assert_eq!(values(&replicas.found[&of(1)]), 20, "after {millis} ms");
                replicas.found[&of(1)].clone()
            };
            // What was interrupted goes on.
            story.register();
            let resumed = story.leading(1).await;
            assert!(Arc::ptr_eq(&found, &resumed));
        });
    }
}

#[test]
fn a_move_that_is_called_off_leaves_nothing() {
    run(|| async {
        let (mut story, partition) = two_directories().await;
        append(&partition);
        story.partitions().begin_move(partition.clone(), 1);
        time::sleep(Duration::from_millis(30)).await;
        story.partitions().begin_move(partition.clone(), 0);
        at_rest().await;
        note_assignments(&mut story);
        at_rest().await;
        assert_eq!(partition.directory(), 0);
        assert!(story.partitions().future_replicas(1).is_empty());
        let listed = story.partitions().directories[1].disk.list("").expect("the disk works");
        assert!(listed.iter().all(|entry| !entry.name.contains("orders")), "{listed:?}");
        append(&partition);
        assert_eq!(
            story.image.partition(of(1)).expect("it exists").directories[0],
            story.partitions().directories[0].id
        );
    });
}

#[test]
fn a_deleted_topic_is_gone_from_both_directories() {
    run(|| async {
        let (mut story, partition) = two_directories().await;
        append(&partition);
        story.partitions().begin_move(partition.clone(), 1);
        time::sleep(Duration::from_millis(5)).await;
        story.publish(&[Record::RemoveTopic { topic_id: topic_id(1) }]);
        time::sleep(Duration::from_secs(90)).await;
        for directory in &story.partitions().directories {
            let listed = directory.disk.list("").expect("the disk works");
            assert!(listed.iter().all(|entry| !entry.name.contains("orders")), "{listed:?}");
        }
    });
}

#[test]
fn only_directories_that_are_there_are_moved_to() {
    run(|| async {
        let (story, _) = two_directories().await;
        let partitions = story.partitions();
        assert_eq!(partitions.move_replica(of(1), "nowhere"), Err(ErrorCode::LogDirNotFound));
        let there = partitions.directories[1].disk.root();
        assert_eq!(partitions.move_replica(of(9), &there), Err(ErrorCode::ReplicaNotAvailable));
        partitions.fail_directory(1);
        assert_eq!(partitions.move_replica(of(1), &there), Err(ErrorCode::KafkaStorageError));
    });
}
