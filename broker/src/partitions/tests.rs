//! A broker's replicas over starts, stops and changes of the metadata, on simulated disks.

mod cleaning;
mod damage;
mod moving;

use super::*;
use crate::partition::appending::{Acks, AppendError, Appended};
use crate::partition::refusal::AppendRefusal;
use metadata::delta::Delta;
use metadata::record::{LeaderRecoveryState, Record};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::ids::{
    BrokerEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, WallMillis,
};
use protocol::record_batch::{BatchBuilder, BatchHeader};
use runtime::simulation::{self, Options, disk as simulated};
use runtime::time;
use std::future::Future;
use std::time::Duration;

const LOCAL: BrokerId = BrokerId(1);
const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

fn run<F: Future<Output = ()> + 'static>(story: impl FnOnce() -> F + Send + 'static) {
    simulation::run(1, Options::default(), story).result.expect("the story holds");
}

fn incarnation(start: u128) -> IncarnationId {
    IncarnationId(uuid::Uuid::from_u128(start))
}

fn topic_id(topic: u128) -> TopicId {
    TopicId(uuid::Uuid::from_u128(topic))
}

fn of(topic: u128) -> TopicPartition {
    TopicPartition { topic_id: topic_id(topic), partition: PartitionIndex(0) }
}

/// A broker that starts again and again on the same disk, and the metadata that it hears of.
struct Story {
    platter: simulated::Disk,
    /// Log directories beside the first.
    others: Vec<simulated::Disk>,
    starts: u128,
    image: Image,
    partitions: Option<Arc<Partitions>>,
    outgoing: Option<Outgoing>,
}

impl Story {
    fn new() -> Self {
        let platter = simulated::Disk::new(1);
        Self { platter, others: Vec::new(), starts: 0, image: Image::default(), partitions: None, outgoing: None }
    }

    /// Loads, and says with which proof of a clean stop.
    async fn start(&mut self) -> Option<BrokerEpoch> {
        // A process that is gone holds no lock on its directory.
        (self.partitions, self.outgoing) = (None, None);
        self.starts += 1;
        let loaded = self.load(CLUSTER).await.expect("the directory is this broker's");
        self.partitions = Some(loaded.partitions);
        self.outgoing = Some(loaded.outgoing);
        loaded.previous_broker_epoch
    }

    async fn load(&self, cluster_id: &str) -> Result<Loaded, LoadError> {
        let config = PartitionsConfig {
            node_id: LOCAL,
            cluster_id: cluster_id.to_owned(),
            incarnation_id: incarnation(self.starts),
            properties: Arc::new(Properties::new()),
        };
        let disks = [&self.platter].into_iter().chain(&self.others).cloned().map(Disk::simulated).collect();
        Partitions::load(config, disks).await
    }

    fn partitions(&self) -> &Arc<Partitions> {
        self.partitions.as_ref().expect("it was started")
    }

    /// The metadata goes on, and the broker hears of it.
    fn publish(&mut self, records: &[Record]) {
        let mut delta = Delta::new(&self.image);
        records.iter().for_each(|record| delta.apply(record));
        let (image, changes) = delta.finish();
        self.image = image;
        self.partitions().apply(&self.image, &changes);
    }

    fn register(&mut self) {
        self.publish(&[Record::RegisterBroker {
            broker_id: LOCAL,
            incarnation_id: incarnation(self.starts),
            listeners: Vec::new(),
            rack: None,
            directories: Vec::new(),
            fenced: false,
            controlled_shutdown: false,
            features: BTreeMap::new(),
        }]);
    }

    fn create_topic(&mut self, topic: u128, leader: i32) {
        self.create_named(topic, "orders", leader);
    }

    fn create_named(&mut self, topic: u128, name: &str, leader: i32) {
        let replicas = vec![LOCAL, BrokerId(2)];
        self.publish(&[
            Record::Topic { name: name.to_owned(), topic_id: topic_id(topic) },
            Record::Partition {
                topic_id: topic_id(topic),
                partition: PartitionIndex(0),
                replicas,
                directories: Vec::new(),
                isr: vec![BrokerId(leader)],
                elr: Vec::new(),
                last_known_elr: Vec::new(),
                leader: Some(BrokerId(leader)),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
                leader_recovery_state: LeaderRecoveryState::Recovered,
            },
        ]);
    }

    fn delete_topic(&mut self, topic: u128) {
        self.publish(&[Record::RemoveTopic { topic_id: topic_id(topic) }]);
    }

    /// The replica of a topic once it leads.
    async fn leading(&self, topic: u128) -> Arc<Partition> {
        for _ in 0..1_000 {
            let found = self.partitions().get(of(topic));
            if let Some(found) = found.filter(|partition| partition.standing().leads) {
                return found;
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        panic!("topic {topic} is never led");
    }

    fn directories(&self) -> Vec<String> {
        let kept = directory::list(&Disk::simulated(self.platter.clone())).unwrap();
        kept.into_iter().map(|(name, _)| name).collect()
    }
}

use storage::directory;

/// Partition 0 of a topic has this leader and these replicas in sync now; with nobody in sync this broker was the last.
fn changed(topic: u128, leader: Option<i32>, isr: &[i32]) -> Record {
    Record::PartitionChange {
        topic_id: topic_id(topic),
        partition: PartitionIndex(0),
        isr: Some(isr.iter().copied().map(BrokerId).collect()),
        elr: None,
        last_known_elr: isr.is_empty().then(|| vec![LOCAL]),
        leader: Some(leader.map(BrokerId)),
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    }
}

fn append(partition: &Arc<Partition>) {
    try_append(partition).unwrap();
}

fn try_append(partition: &Arc<Partition>) -> Result<Appended, AppendError> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(WallMillis(0), None, Some(b"value"), &[]);
    let mut batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
    let header = BatchHeader::parse(&batch).unwrap();
    partition.append_as_leader(&mut batch, &[header], Acks::Leader)
}

#[test]
fn a_broker_keeps_what_the_metadata_assigns_once_it_holds_this_start_of_the_broker() {
    run(|| async {
        let mut story = Story::new();
        assert_eq!(story.start().await, None);
        // History: before this start of the broker was registered.
        story.create_topic(1, 1);
        time::sleep(Duration::from_secs(1)).await;
        assert!(story.partitions().get(of(1)).is_none());
        story.register();
        let partition = story.leading(1).await;
        append(&partition);
        assert_eq!(partition.standing().high_watermark, Offset(1));
    });
}

#[test]
fn a_follower_is_given_to_the_fetchers_and_taken_from_them_when_it_is_elected() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 2);
        let mut fetching = story.outgoing.take().unwrap().fetching;
        match fetching.recv().await {
            Some(FetchChange::Follow { leader, leader_epoch, .. }) => {
                assert_eq!((leader, leader_epoch), (BrokerId(2), LeaderEpoch(0)));
            }
            other => panic!("{other:?}"),
        }
        story.publish(&[changed(1, Some(1), &[1, 2])]);
        assert!(matches!(fetching.recv().await, Some(FetchChange::Stop { .. })));
        assert_eq!(story.leading(1).await.standing().leader_epoch, LeaderEpoch(1));
    });
}

/// The topic's `min.insync.replicas` is this now.
fn min_insync_replicas(value: i32) -> Record {
    let name = "min.insync.replicas".to_owned();
    Record::Config { resource: ConfigResource::Topic("orders".into()), name, value: Some(value.to_string()) }
}

#[test]
fn a_leader_that_learns_at_once_that_fewer_are_enough_and_that_it_leads_no_more_commits_nothing() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        story.publish(&[min_insync_replicas(2)]);
        let partition = story.leading(1).await;
        append(&partition);
        assert_eq!(partition.standing().high_watermark, Offset(0), "one of two");
        // It was cut off: another, who may not have its record, leads already.
        story.publish(&[changed(1, Some(2), &[2]), min_insync_replicas(1)]);
        let standing = partition.standing();
        assert_eq!((standing.leads, standing.high_watermark), (false, Offset(0)));
        // Where it still leads they are enough.
        story.publish(&[min_insync_replicas(2)]);
        story.publish(&[changed(1, Some(1), &[1])]);
        let partition = story.leading(1).await;
        assert_eq!(partition.standing().high_watermark, Offset(0));
        story.publish(&[min_insync_replicas(1)]);
        assert_eq!(partition.standing().high_watermark, Offset(1));
    });
}

#[test]
fn a_clean_stop_is_proof_once() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        append(&story.leading(1).await);
        story.partitions().shutdown(Some(BrokerEpoch(7))).await;
        assert_eq!(story.start().await, Some(BrokerEpoch(7)));
        let found = |story: &Story| {
            let replicas = story.partitions().replicas.lock();
            let standing = replicas.found[&of(1)].standing();
            (standing.log_end_offset, standing.high_watermark)
        };
        assert_eq!(found(&story), (Offset(1), Offset(1)), "with its high watermark");
        assert_eq!(story.start().await, None, "that one crashed");
        assert_eq!(found(&story).0, Offset(1));
    });
}

#[test]
fn a_high_watermark_that_was_written_down_is_known_after_a_crash() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        let partition = story.leading(1).await;
        append(&partition);
        partition.close().unwrap().await.unwrap();
        story.partitions().checkpoint_high_watermarks().await;
        drop(partition);
        story.platter.power_loss();
        story.start().await;
        let replicas = story.partitions().replicas.lock();
        assert_eq!(replicas.found[&of(1)].standing().high_watermark, Offset(1));
    });
}

fn waiting_to_be_removed(story: &Story) -> usize {
    story.platter.files().iter().filter(|path| path.ends_with(".deleted")).count()
}

#[test]
fn what_is_not_retained_is_deleted_and_does_not_come_back_with_a_power_loss() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        let partition = story.leading(1).await;
        (0..3).for_each(|_| append(&partition));
        // The records are from 1970.
        story.partitions().delete_old_segments().await;
        assert_eq!(partition.standing().log_start_offset, Offset(3));
        assert!(waiting_to_be_removed(&story) > 0);
        time::sleep(Duration::from_secs(61)).await;
        assert_eq!(waiting_to_be_removed(&story), 0);
        append(&partition);
        drop(partition);
        story.platter.power_loss();
        story.start().await;
        let replicas = story.partitions().replicas.lock();
        assert_eq!(replicas.found[&of(1)].standing().log_start_offset, Offset(3));
    });
}

#[test]
fn nothing_that_was_written_down_of_a_topic_is_believed_of_the_next_one_of_its_name() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        let old = story.leading(1).await;
        (0..3).for_each(|_| append(&old));
        story.partitions().delete_old_segments().await;
        story.partitions().checkpoint_high_watermarks().await;
        assert_eq!(old.standing().log_start_offset, Offset(3));
        story.delete_topic(1);
        story.create_topic(2, 1);
        let new = story.leading(2).await;
        append(&new);
        new.close().unwrap().await.unwrap();
        drop((old, new));
        story.platter.power_loss();
        story.start().await;
        let replicas = story.partitions().replicas.lock();
        let standing = replicas.found[&of(2)].standing();
        assert_eq!((standing.log_start_offset, standing.log_end_offset), (Offset(0), Offset(1)));
        assert_eq!(standing.high_watermark, Offset(0), "nothing is written down of it yet");
    });
}

#[test]
fn a_topic_of_the_same_name_gets_a_log_of_its_own() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        let old = story.leading(1).await;
        append(&old);
        story.delete_topic(1);
        let refused = old.append_as_leader(&mut [], &[], Acks::Leader).map(|_| ());
        assert!(matches!(refused, Err(crate::partition::appending::AppendError::Refused(AppendRefusal::Offline))));
        story.create_topic(2, 1);
        let new = story.leading(2).await;
        assert_eq!(new.standing().log_end_offset, Offset(0));
        assert_eq!(story.directories().len(), 2, "the old one waits to be removed: {:?}", story.directories());
        time::sleep(Duration::from_secs(61)).await;
        assert_eq!(story.directories(), ["orders-0"]);
    });
}

#[test]
fn a_topic_that_is_deleted_while_its_log_is_created_leaves_nothing() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        for topic in 1..20 {
            story.create_topic(topic, 1);
            story.delete_topic(topic);
            time::sleep(Duration::from_millis(topic as u64 % 3)).await;
        }
        story.create_topic(20, 1);
        assert_eq!(story.leading(20).await.standing().log_end_offset, Offset(0));
        time::sleep(Duration::from_secs(61)).await;
        assert_eq!(story.directories(), ["orders-0"]);
    });
}

#[test]
fn a_log_that_the_metadata_does_not_assign_here_is_set_aside() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        append(&story.leading(1).await);
        story.start().await;
        // The topic was deleted and created again while the broker was away.
        story.delete_topic(1);
        story.create_topic(2, 1);
        story.register();
        assert_eq!(story.leading(2).await.standing().log_end_offset, Offset(0));
        assert!(story.partitions().get(of(1)).is_none());
        let directories = story.directories();
        assert!(directories.len() == 2 && directories[1].ends_with("-stray"), "{directories:?}");
    });
}

#[test]
fn a_log_that_cannot_be_opened_is_copied_anew_by_a_follower_and_no_stop_was_clean() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        append(&story.leading(1).await);
        story.partitions().shutdown(Some(BrokerEpoch(7))).await;
        story.platter.damage("orders-0/partition.metadata", simulated::Damage::FlipBit { position: 3, bit: 1 });
        assert_eq!(story.start().await, None);
        story.publish(&[changed(1, Some(2), &[2])]);
        story.register();
        for _ in 0..100 {
            time::sleep(Duration::from_millis(5)).await;
        }
        let anew = story.partitions().get(of(1)).expect("it has a log again");
        assert_eq!(anew.standing().log_end_offset, Offset(0));
    });
}

#[test]
fn a_directory_of_another_cluster_or_of_a_process_that_lives_is_refused() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        assert!(matches!(story.load(CLUSTER).await, Err(LoadError::Log { .. })), "it is locked");
        (story.partitions, story.outgoing) = (None, None);
        assert!(matches!(story.load("AAAAAAAAAAAAAAAAAAAAAg").await, Err(LoadError::Foreign { .. })));
    });
}

#[test]
fn broken_checkpoint_files_are_left_out_of_account() {
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"] {
        for length in [0, 1, 9] {
            run(move || async move {
                let mut story = Story::new();
                story.start().await;
                story.register();
                story.create_topic(1, 1);
                append(&story.leading(1).await);
                // The record is from 1970: the log begins after it now.
                story.partitions().delete_old_segments().await;
                append(&story.leading(1).await);
                story.partitions().shutdown(Some(BrokerEpoch(7))).await;
                assert!(story.platter.damage(name, simulated::Damage::LoseTail { length }), "{name}");
                assert_eq!(story.start().await, Some(BrokerEpoch(7)));
                let replicas = story.partitions().replicas.lock();
                let standing = replicas.found[&of(1)].standing();
                assert_eq!((standing.log_start_offset, standing.log_end_offset), (Offset(1), Offset(2)));
            });
        }
    }
}

#[test]
fn a_disk_that_fails_takes_its_own_replicas_offline_and_new_ones_go_to_another() {
    run(|| async {
        let mut story = Story::new();
        story.others = vec![simulated::Disk::new(2)];
        story.start().await;
        story.register();
        story.create_named(1, "orders", 1);
        let first = story.leading(1).await;
        story.create_named(2, "audit", 1);
        let second = story.leading(2).await;
        assert_eq!((first.directory(), second.directory()), (0, 1), "each where there are fewest");
        let (_trigger, stop) = runtime::sync::shutdown();
        task::spawn(story.partitions().clone().run(stop));
        story.platter.set_faults(simulated::Faults { offline: true, ..simulated::Faults::default() });
        let refused = first.append_as_leader(&mut [], &[], Acks::Leader).map(|_| ()).unwrap_err();
        assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
        for _ in 0..100 {
            time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(story.partitions().failed_directories().len(), 1);
        append(&second);
        assert_eq!(second.standing().log_end_offset, Offset(1));
        for topic in 3..6 {
            story.create_named(topic, &format!("new-{topic}"), 1);
            assert_eq!(story.leading(topic).await.directory(), 1);
        }
    });
}

#[test]
fn a_disk_that_fails_takes_every_replica_on_it_offline() {
    run(|| async {
        let mut story = Story::new();
        story.start().await;
        story.register();
        story.create_topic(1, 1);
        let partition = story.leading(1).await;
        let (_trigger, stop) = runtime::sync::shutdown();
        task::spawn(story.partitions().clone().run(stop));
        story.platter.set_faults(simulated::Faults { offline: true, ..simulated::Faults::default() });
        let mut batch = [0; 0];
        let failed = partition.append_as_leader(&mut batch, &[], Acks::Leader).map(|_| ());
        assert!(failed.is_err(), "{failed:?}");
        time::timeout(Duration::from_secs(1), story.partitions().all_directories_failed()).await.expect("it failed");
        assert!(story.partitions().online_directories().is_empty());
    });
}

/// A broker with one topic in each of two log directories, stopped.
async fn stopped_with_two_directories() -> Story {
    let mut story = Story::new();
    story.others.push(simulated::Disk::new(2));
    story.start().await;
    story.register();
    for topic in 1..=2 {
        story.create_named(topic, &format!("topic-{topic}"), 1);
        append(&story.leading(topic).await);
    }
    story.partitions().shutdown(Some(BrokerEpoch(9))).await;
    story
}

const OFFLINE: simulated::Faults = simulated::Faults {
    read_error: 0,
    append_error: 0,
    short_write: 0,
    sync_error: 0,
    slow_sync: 0,
    stalled_sync: false,
    slow_read: 0,
    slow_append: 0,
    no_space: false,
    offline: true,
};

#[test]
fn a_directory_that_fails_at_the_start_is_left_out_and_there_is_no_proof_of_a_clean_stop() {
    run(|| async {
        let mut story = stopped_with_two_directories().await;
        story.platter.set_faults(OFFLINE);
        assert_eq!(story.start().await, None, "what was in the other directory may be lost");
        assert_eq!(story.partitions().online_directories().len(), 1);
        let described = story.partitions().describe_directories();
        assert_eq!(described.iter().map(|directory| directory.failed).collect::<Vec<_>>(), [false, true]);
        story.publish(&[changed(1, None, &[]), changed(2, None, &[])]);
        story.register();
        story.create_named(3, "topic-3", 1);
        story.leading(3).await;
        assert_eq!(story.partitions().get(of(2)).expect("it was found").standing().log_end_offset, Offset(1));
        assert!(story.partitions().get(of(1)).is_none(), "its only log may lie in the directory that is left out");
    });
}

#[test]
fn a_broker_none_of_whose_directories_works_does_not_start() {
    run(|| async {
        let story = stopped_with_two_directories().await;
        story.platter.set_faults(OFFLINE);
        story.others[0].set_faults(OFFLINE);
        assert!(matches!(story.load(CLUSTER).await, Err(LoadError::Log { .. })));
    });
}

#[test]
fn a_directory_that_cannot_be_read_while_its_logs_are_opened_has_failed() {
    run(|| async {
        let mut story = stopped_with_two_directories().await;
        let mut failed_late = false;
        story.platter.set_faults(simulated::Faults { read_error: 60, ..simulated::Faults::default() });
        for _ in 0..60 {
            story.start().await;
            failed_late |= !story.partitions().failed_directories().is_empty();
            assert!(story.partitions().replicas.lock().found.contains_key(&of(2)), "its disk is sound");
            let files = story.platter.files();
            assert!(files.iter().any(|path| path.starts_with("topic-1-0/")), "it is left where it is: {files:?}");
        }
        assert!(failed_late, "in no start was the failure found by the logs");
    });
}
