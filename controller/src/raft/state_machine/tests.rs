//! The state machine on a simulated disk: what it applies, what it refuses, and its snapshots.

use super::*;
use crate::raft::types::{Encoded, Entry, log_id};
use futures_util::stream;
use protocol::ids::TopicId;
use runtime::{
    simulation::{self, disk},
    sync::oneshot,
};
use uuid::Uuid;

const DIRECTORY: &str = "__cluster_metadata-0";

fn run<F: Future<Output = ()> + 'static>(scenario: impl FnOnce() -> F + Send + 'static) {
    if let Err(failure) = simulation::run(1, simulation::Options::default(), scenario).result {
        panic!("{failure}");
    }
}

fn machine(disk: &disk::Disk) -> StateMachine {
    let disk = Disk::simulated(disk.clone());
    disk.create_directory(DIRECTORY).unwrap();
    StateMachine::open(&disk, DIRECTORY, 0).unwrap()
}

fn topic(number: u128) -> Record {
    Record::Topic { name: format!("topic-{number}"), topic_id: TopicId(Uuid::from_u128(number)) }
}

fn entry(index: u64, term: u64, batch: Option<(u64, i64, Vec<Record>)>) -> Entry {
    let payload = batch.map_or(EntryPayload::Blank, |(term, first, records)| {
        let records = records.iter().map(|record| Encoded(record.encode())).collect();
        EntryPayload::Normal(Batch { term, first: MetadataOffset(first), records })
    });
    Entry { log_id: log_id(term, index), payload }
}

async fn apply(machine: &mut StateMachine, entries: Vec<Entry>) {
    machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await.unwrap();
}

#[test]
fn offsets_count_records_and_not_entries() {
    run(|| async {
        let mut machine = machine(&disk::Disk::new(1));
        let two = entry(1, 1, Some((1, 0, vec![topic(1), topic(2)])));
        apply(&mut machine, vec![entry(0, 1, None), two, entry(2, 1, None), entry(3, 1, Some((1, 2, vec![topic(3)])))])
            .await;
        assert_eq!(machine.applied().end(), MetadataOffset(3));
        assert_eq!(machine.applied_state().await.unwrap().0, Some(log_id(1, 3)));
        assert_eq!(machine.applied().read(MetadataOffset(1), 1_000).records, [topic(2).encode(), topic(3).encode()]);
    });
}

#[test]
fn a_decision_of_another_term_or_for_another_offset_changes_nothing() {
    run(|| async {
        let mut machine = machine(&disk::Disk::new(1));
        apply(&mut machine, vec![entry(0, 1, Some((1, 0, vec![topic(1)])))]).await;
        let image = machine.applied().image();
        let other_term = entry(1, 2, Some((1, 1, vec![topic(2)])));
        let other_offset = entry(2, 2, Some((2, 0, vec![topic(3)])));
        apply(&mut machine, vec![other_term, other_offset]).await;
        assert_eq!(machine.applied().image(), image);
        assert_eq!(machine.applied_state().await.unwrap().0, Some(log_id(2, 2)));
    });
}

#[test]
fn a_follower_of_the_log_is_woken_by_what_is_applied() {
    run(|| async {
        let mut machine = machine(&disk::Disk::new(1));
        let mut end = machine.applied().watch_end();
        let (sender, receiver) = oneshot::channel();
        runtime::task::spawn(async move {
            let known = *end.wait_for(|end| *end > MetadataOffset(0)).await.unwrap();
            sender.send(known).unwrap();
        });
        apply(&mut machine, vec![entry(0, 1, None), entry(1, 1, Some((1, 0, vec![topic(1)])))]).await;
        assert_eq!(receiver.await.unwrap(), MetadataOffset(1));
    });
}

#[test]
fn a_snapshot_and_the_log_after_it_are_the_whole_log() {
    run(|| async {
        let all: Vec<Entry> =
            (0..10).map(|index| entry(index, 1, Some((1, index as i64, vec![topic(u128::from(index))])))).collect();
        let mut whole = machine(&disk::Disk::new(1));
        apply(&mut whole, all.clone()).await;

        let disk = disk::Disk::new(2);
        let mut first = machine(&disk);
        Disk::simulated(disk.clone()).sync_directory("").await.unwrap();
        apply(&mut first, all[..6].to_vec()).await;
        let taken = first.get_snapshot_builder().await.build_snapshot().await.unwrap();
        disk.power_loss();

        // Restored from the disk, as openraft does it.
        let mut restarted = machine(&disk);
        let found = restarted.get_current_snapshot().await.unwrap().unwrap();
        assert_eq!((&found.meta, &found.snapshot), (&taken.meta, &taken.snapshot));
        restarted.install_snapshot(&found.meta, found.snapshot).await.unwrap();
        apply(&mut restarted, all[6..].to_vec()).await;
        assert_eq!(restarted.applied().image().digest(), whole.applied().image().digest());
        assert_eq!(restarted.applied().image(), whole.applied().image());

        // Received from a leader.
        let mut follower = machine(&disk::Disk::new(3));
        apply(&mut follower, all[..2].to_vec()).await;
        follower.install_snapshot(&taken.meta, taken.snapshot.clone()).await.unwrap();
        apply(&mut follower, all[6..].to_vec()).await;
        assert_eq!(follower.applied().image(), whole.applied().image());
        assert!(follower.applied().read(MetadataOffset(0), 1_000).snapshot.is_some());
    });
}

#[test]
fn an_older_snapshot_never_replaces_a_newer_one() {
    run(|| async {
        let disk = disk::Disk::new(1);
        let mut machine = machine(&disk);
        apply(&mut machine, vec![entry(0, 1, Some((1, 0, vec![topic(1)])))]).await;
        let mut slow = machine.get_snapshot_builder().await;
        apply(&mut machine, vec![entry(1, 1, Some((1, 1, vec![topic(2)])))]).await;
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        slow.build_snapshot().await.unwrap();
        let kept = machine.get_current_snapshot().await.unwrap().unwrap();
        assert_eq!(kept.meta.last_log_id, Some(log_id(1, 1)));
    });
}

#[test]
fn a_damaged_snapshot_is_refused() {
    run(|| async {
        let disk = disk::Disk::new(1);
        let mut machine = machine(&disk);
        apply(&mut machine, vec![entry(0, 1, Some((1, 0, vec![topic(1)])))]).await;
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        let file = format!("{DIRECTORY}/snapshot");
        assert!(disk.damage(&file, disk::Damage::FlipBit { position: 60, bit: 1 }));
        assert!(machine.get_current_snapshot().await.is_err());
        assert!(StateMachine::open(&Disk::simulated(disk), DIRECTORY, 0).is_err());
    });
}

#[test]
#[should_panic(expected = "entries are applied in order")]
fn an_entry_is_applied_once() {
    run(|| async {
        let mut machine = machine(&disk::Disk::new(1));
        apply(&mut machine, vec![entry(0, 1, None), entry(0, 1, None)]).await;
    });
}
