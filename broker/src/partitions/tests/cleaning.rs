//! Compacted topics: what is cleaned, what is written down of it, and what survives.

use super::*;
use crate::report::{self, Sample};
use metadata::record::ConfigResource;
use protocol::record_batch::{HEADER_BYTES, crc32c};

fn set(name: &str, value: &str) -> Record {
    let resource = ConfigResource::Topic("orders".to_owned());
    Record::Config { resource, name: name.to_owned(), value: Some(value.to_owned()) }
}

/// A broker that leads a compacted topic of many small segments, alone in the ISR.
async fn compacted(directories: u64) -> (Story, Arc<Partition>) {
    let mut story = Story::new();
    story.others = (2..=directories).map(simulated::Disk::new).collect();
    story.start().await;
    story.register();
    story.publish(&[
        set("cleanup.policy", "compact"),
        set("internal.segment.bytes", "400"),
        set("min.cleanable.dirty.ratio", "0.1"),
    ]);
    story.create_topic(1, 1);
    let partition = story.leading(1).await;
    for at in 0..60 {
        append_keyed(&partition, at % 4);
    }
    (story, partition)
}

fn append_keyed(partition: &Arc<Partition>, key: u8) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(WallMillis(0), Some(&[key]), Some(b"value"), &[]);
    let mut batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
    let header = BatchHeader::parse(&batch).unwrap();
    partition.append_as_leader(&mut batch, &[header], Acks::Leader).unwrap();
}

/// The file of the first directory that says up to where logs are clean.
fn written_down(story: &Story) -> String {
    String::from_utf8(story.platter.durable("cleaner-offset-checkpoint").unwrap_or_default()).unwrap()
}

#[test]
fn a_compacted_log_is_cleaned_and_what_is_clean_is_written_down() {
    run(|| async {
        let (mut story, partition) = compacted(1).await;
        let before = partition.standing();
        assert!(partition.due_cleaning().is_some());
        story.partitions().clean_due_logs().await;
        let after = partition.standing();
        assert!(after.size * 3 < before.size, "{} of {}", after.size, before.size);
        assert_eq!((after.log_start_offset, after.log_end_offset), (before.log_start_offset, before.log_end_offset));
        assert!(partition.due_cleaning().is_none());
        let first_dirty = partition.first_dirty_offset().unwrap();
        assert_eq!(written_down(&story), format!("0\n1\norders 0 {first_dirty}\n"));
        assert!(waiting_to_be_removed(&story) > 0);
        time::sleep(Duration::from_secs(61)).await;
        assert_eq!(waiting_to_be_removed(&story), 0);

        // After a crash it is opened before its topic's settings are known.
        story.partitions().checkpoint_recovery_points().await;
        drop(partition);
        story.platter.power_loss();
        story.start().await;
        let found = story.partitions().replicas.lock().found[&of(1)].clone();
        assert_eq!(found.first_dirty_offset(), Some(first_dirty));
        assert!(found.standing().log_end_offset >= first_dirty);
        drop(found);
        story.register();
        story.delete_topic(1);
        story.create_topic(2, 1);
        let next = story.leading(2).await;
        assert_eq!((written_down(&story).as_str(), next.first_dirty_offset()), ("0\n0\n", None), "it is another one's");
    });
}

#[test]
fn a_broker_cleans_by_itself() {
    run(|| async {
        let (story, partition) = compacted(1).await;
        let before = partition.standing().size;
        let (trigger, stop) = runtime::sync::shutdown();
        let cleaner = task::spawn(story.partitions().clone().run_cleaner(stop));
        time::sleep(Duration::from_secs(16)).await;
        assert!(partition.standing().size * 3 < before);
        trigger.request();
        cleaner.await.unwrap();
    });
}

#[test]
fn nothing_is_deleted_for_its_age_where_the_policy_is_compact_alone() {
    run(|| async {
        let (mut story, partition) = compacted(1).await;
        // The records are from 1970.
        story.partitions().delete_old_segments().await;
        assert_eq!(partition.standing().log_start_offset, Offset(0));
        story.publish(&[set("cleanup.policy", "compact,delete")]);
        story.partitions().delete_old_segments().await;
        assert_eq!(partition.standing().log_start_offset, Offset(60));
    });
}

#[test]
fn a_log_with_gaps_moves_to_another_directory() {
    run(|| async {
        let (mut story, partition) = compacted(2).await;
        story.partitions().clean_due_logs().await;
        // What was cleaned has gaps whatever its topic says now.
        story.publish(&[set("cleanup.policy", "delete"), set("retention.ms", "-1")]);
        let before = partition.standing();
        story.partitions().begin_move(partition.clone(), 1);
        for _ in 0..400 {
            moving::note_assignments(&mut story);
            time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(partition.directory(), 1);
        let after = partition.standing();
        assert_eq!((after.size, after.log_start_offset), (before.size, before.log_start_offset));
        assert_eq!(after.log_end_offset, before.log_end_offset);
    });
}

#[test]
fn what_is_not_committed_is_not_cleaned() {
    run(|| async {
        let (mut story, partition) = compacted(1).await;
        story.publish(&[changed(1, Some(1), &[1, 2])]);
        let partition = {
            drop(partition);
            story.leading(1).await
        };
        let high_watermark = partition.standing().high_watermark;
        for at in 0..60 {
            append_keyed(&partition, at % 4);
        }
        assert!(partition.standing().high_watermark == high_watermark, "broker 2 has not fetched");
        story.partitions().clean_due_logs().await;
        assert!(partition.first_dirty_offset().unwrap() <= high_watermark);
        let bytes = partition.standing().size;
        assert!(bytes > 60 * 70, "{bytes}: the later half is as it was");
    });
}

/// What the cleaner says of itself, by the end of the metric's name.
fn said(story: &Story, name: &str) -> Option<f64> {
    let samples = report::cleaner(story.partitions());
    let mut found = samples.iter().filter(|sample: &&Sample| sample.name.ends_with(name)).map(|sample| sample.value);
    found.next().inspect(|_| assert!(found.next().is_none(), "there is one directory"))
}

/// A batch that is what was sent, and whose records nobody can read.
fn append_unreadable(partition: &Arc<Partition>) {
    let mut builder = BatchBuilder::new(Compression::Gzip);
    builder.push(WallMillis(0), Some(b"key"), Some(&[7; 100]), &[]);
    let mut batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
    batch[HEADER_BYTES..].fill(0xee);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let header = BatchHeader::parse(&batch).unwrap();
    partition.append_as_leader(&mut batch, &[header], Acks::Leader).unwrap();
}

#[test]
fn a_log_that_cannot_be_cleaned_is_told_of_and_not_tried_again() {
    run(|| async {
        let (story, partition) = compacted(1).await;
        assert_eq!((said(&story, "time_since_last_run_ms"), said(&story, "recopy_percent")), (None, None));
        append_unreadable(&partition);
        for at in 0..60 {
            append_keyed(&partition, at % 4);
        }
        story.partitions().clean_due_logs().await;
        assert!(said(&story, "max_dirty_percent").unwrap() > 99.0);
        assert_eq!(said(&story, "uncleanable_partitions_count"), Some(1.0));
        assert!(said(&story, "uncleanable_bytes").unwrap() > 60.0 * 70.0);
        assert!(partition.due_cleaning().is_some() && !partition.is_damaged(), "it serves as before");
        time::sleep(Duration::from_secs(2)).await;
        story.partitions().clean_due_logs().await;
        assert_eq!((said(&story, "max_dirty_percent"), said(&story, "recopy_percent")), (Some(0.0), None));
        assert_eq!(said(&story, "time_since_last_run_ms"), Some(0.0));
    });
}

#[test]
fn what_a_cleaning_did_is_told() {
    run(|| async {
        let (story, partition) = compacted(1).await;
        story.partitions().clean_due_logs().await;
        let recopied = said(&story, "recopy_percent").unwrap();
        assert!(recopied > 0.0 && recopied < 33.0, "{recopied}");
        assert_eq!(said(&story, "uncleanable_partitions_count"), Some(0.0));
        assert!(partition.due_cleaning().is_none());
    });
}
