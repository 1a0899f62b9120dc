//! Directories that Kafka 4.1.0 wrote, read by us; and ours, file by file as Kafka names and lays them out.

use crate::support::*;
use protocol::ids::{LeaderEpoch, Offset, ProducerId, WallMillis};
use runtime::disk::{Disk, Open};
use storage::{Log, LogConfig, Recovery};

/// The files of one partition's directory, as they lie in `tests/fixtures`.
macro_rules! fixture {
    ($directory:literal, $($file:literal),* $(,)?) => {
        ($directory, &[$(($file, include_bytes!(concat!("../fixtures/", $directory, "/", $file)).as_slice())),*])
    };
}

type Fixture = (&'static str, &'static [(&'static str, &'static [u8])]);

const T1: Fixture = fixture!(
    "t1-1",
    "00000000000000000000.index",
    "00000000000000000000.log",
    "00000000000000000000.timeindex",
    "00000000000000000002.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
);

const TRANSACTIONS: Fixture = fixture!(
    "__transaction_state-0",
    "00000000000000000000.index",
    "00000000000000000000.log",
    "00000000000000000000.timeindex",
    "00000000000000000043.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
);

fn place(disk: &Disk, (directory, files): Fixture) {
    disk.create_directory(directory).expect("created");
    for (name, bytes) in files {
        disk.open(&format!("{directory}/{name}"), Open::CreateNew).expect("created").append(bytes).expect("written");
    }
}

async fn opened(disk: &Disk, fixture: Fixture, recovery: Recovery) -> Log {
    place(disk, fixture);
    Log::open(disk, fixture.0, LogConfig::default(), recovery, WallMillis(1_795_252_300_000))
        .await
        .expect("it is a log")
}

#[test]
fn a_partition_that_kafka_left_cleanly_is_opened() {
    for recovery in [Recovery::Clean, Recovery::Unclean { recovery_point: Offset(0) }] {
        simulated(1, move |disk, _| async move {
            let log = opened(&disk, T1, recovery).await;
            assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size()), (Offset(0), Offset(2), 89));
            assert_eq!((log.latest_epoch(), log.epochs().len()), (Some(LeaderEpoch(0)), 1));
            let producer = log.producers().get(ProducerId(0)).expect("an idempotent producer");
            assert_eq!(producer.last_batch().map(|batch| batch.last_offset), Some(Offset(1)));
            let found =
                log.offset_for_timestamp(WallMillis(1_795_251_960_960), Offset(2)).expect("sound").expect("found");
            assert_eq!(found.offset, Offset(1));
            assert_eq!(Model::of(&log).bytes(), T1.1[1].1);
        });
    }
}

#[test]
fn our_indexes_of_kafkas_log_are_kafkas() {
    simulated(1, |disk, platter| async move {
        let mut log = opened(&disk, TRANSACTIONS, Recovery::Unclean { recovery_point: Offset(0) }).await;
        assert_eq!((log.log_end_offset(), log.size()), (Offset(43), 5150));
        log.close().expect("healthy").await.expect("healthy");
        for (name, bytes) in TRANSACTIONS.1.iter().filter(|(name, _)| !name.ends_with("snapshot")) {
            let ours = platter.written(&format!("__transaction_state-0/{name}"));
            assert_eq!(ours.as_deref(), Some(*bytes), "{name}");
        }
    });
}

#[test]
fn our_directory_has_kafkas_files() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        assert_eq!(
            platter.durable("orders-3/partition.metadata").as_deref(),
            Some(&b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAKg"[..])
        );
        for at in 0..10 {
            lead(&mut log, produced((1, 0, at * 3), 3, i64::from(at)), 0).expect("a healthy disk");
        }
        log.close().expect("healthy").await.expect("healthy");
        let files: Vec<String> = platter.files().iter().map(|path| path.replace("orders-3/", "")).collect();
        assert_eq!(
            files,
            [
                "00000000000000000000.index",
                "00000000000000000000.log",
                "00000000000000000000.timeindex",
                "00000000000000000015.index",
                "00000000000000000015.log",
                "00000000000000000015.snapshot",
                "00000000000000000015.timeindex",
                "00000000000000000030.snapshot",
                "leader-epoch-checkpoint",
                "partition.metadata",
            ]
        );
    });
}
