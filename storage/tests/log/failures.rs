//! A failing disk, broken files, broken batches.

use crate::support::*;
use protocol::{
    ids::{LeaderEpoch, Offset, ProducerId},
    record_batch::BatchError,
};
use runtime::{
    disk::Open,
    simulation::{
        Options,
        disk::{Damage, Faults},
    },
};
use storage::{AppendError, Log, LogError, LogSlice, ReadError, Recovery, producer_state::ProducerError};

#[test]
fn after_a_failed_append_no_other_is_attempted() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, anonymous(2, 0), 0).expect("a healthy disk");
        platter.set_faults(Faults { short_write: 1000, ..Faults::default() });
        assert!(matches!(lead(&mut log, anonymous(2, 0), 0), Err(AppendError::Log(LogError::Io { .. }))));
        platter.set_faults(Faults::default());
        assert!(log.is_offline());
        assert!(matches!(lead(&mut log, anonymous(2, 0), 0), Err(AppendError::Log(LogError::Offline { .. }))));
        assert!(matches!(log.append_as_follower(&anonymous(2, 0)), Err(AppendError::Log(LogError::Offline { .. }))));
        assert!(matches!(log.truncate_to(Offset(0)), Err(LogError::Offline { .. })));
        assert!(matches!(log.close(), Err(LogError::Offline { .. })));
        assert_eq!(log.log_end_offset(), Offset(2), "what was appended before can be read");
        assert_eq!(Model::of(&log).batches.len(), 1);
        let log = open(&disk, tiny(), Recovery::Unclean { recovery_point: Offset(0) }).await.expect("it opens");
        assert_eq!(log.log_end_offset(), Offset(2));
    });
}

#[test]
fn a_log_that_cannot_begin_anew_goes_offline_as_it_was() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, anonymous(2, 0), 0).expect("a healthy disk");
        platter.set_faults(Faults { offline: true, ..Faults::default() });
        assert!(log.truncate_fully_and_start_at(Offset(50)).is_err());
        assert!(log.is_offline());
        assert_eq!(log.log_end_offset(), Offset(2));
    });
}

#[test]
fn a_failed_sync_takes_the_log_offline() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, anonymous(2, 0), 0).expect("a healthy disk");
        platter.set_faults(Faults { sync_error: 1000, ..Faults::default() });
        assert!(matches!(log.flush().await, Err(LogError::Io { .. })));
        platter.set_faults(Faults::default());
        assert!(lead(&mut log, anonymous(2, 0), 0).is_err());
        assert_eq!(log.recovery_point(), Offset(0));
    });
}

#[test]
fn a_refused_batch_changes_nothing() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        let mut model = Model::default();
        let first = produced((1, 0, 0), 2, 0);
        model.append(&first, 3);
        lead(&mut log, first, 3).expect("a healthy disk");

        let gap = lead(&mut log, produced((1, 0, 5), 2, 0), 3);
        let expected = ProducerError::OutOfOrderSequence {
            producer_id: ProducerId(1),
            last: protocol::ids::Sequence(1),
            got: protocol::ids::Sequence(5),
        };
        assert!(matches!(gap, Err(AppendError::Producer(error)) if error == expected));
        assert!(matches!(lead(&mut log, anonymous(200, 0), 3), Err(AppendError::TooLarge { limit: 700, .. })));

        let mut elsewhere = model.clone();
        elsewhere.append(&anonymous(1, 0), 3);
        let ahead = elsewhere.append(&anonymous(1, 0), 3);
        let out_of_order = BatchError::OutOfOrderOffset { expected: Offset(2), got: Offset(3) };
        assert!(matches!(log.append_as_follower(&ahead), Err(AppendError::Invalid(error)) if error == out_of_order));
        let mut flipped = model.clone().append(&anonymous(1, 0), 3);
        *flipped.last_mut().expect("bytes") ^= 1;
        assert!(matches!(log.append_as_follower(&flipped), Err(AppendError::Invalid(BatchError::BadCrc { .. }))));
        let older = model.clone().append(&anonymous(1, 0), 2);
        let went_back = log.append_as_follower(&older);
        assert!(matches!(
            went_back,
            Err(AppendError::LeaderEpochWentBack { last: LeaderEpoch(3), got: LeaderEpoch(2) })
        ));
        assert_same(&log, &model);
    });
}

#[test]
fn nothing_is_appended_before_a_removal_of_segments_is_durable() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        for at in 0..20 {
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        let task = log.truncate_to(Offset(6)).expect("a healthy disk");
        assert!(matches!(lead(&mut log, anonymous(3, 0), 0), Err(AppendError::Log(LogError::Unsettled { .. }))));
        task.await.expect("a healthy disk");
        lead(&mut log, anonymous(3, 0), 0).expect("settled");
    });
}

#[test]
fn missing_and_broken_indexes_are_built_again() {
    let damages = [
        Damage::Remove,
        Damage::LoseTail { length: 9 },
        Damage::LoseTail { length: 0 },
        Damage::FlipBit { position: 0, bit: 6 },
        Damage::FlipBit { position: 5, bit: 3 },
        Damage::FlipBit { position: 2, bit: 1 },
    ];
    for damage in damages {
        for suffix in ["index", "timeindex"] {
            for recovery in [Recovery::Clean, Recovery::Unclean { recovery_point: Offset(0) }] {
                simulated(1, move |disk, platter| async move {
                    let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
                    for at in 0..40 {
                        let batch = produced((1, 0, at * 2), 2, i64::from(at));
                        model.append(&batch, 0);
                        lead(&mut log, batch, 0).expect("a healthy disk");
                    }
                    log.close().expect("a healthy disk").await.expect("a healthy disk");
                    let files: Vec<_> = platter.files().into_iter().filter(|path| path.ends_with(suffix)).collect();
                    assert!(files.iter().filter(|path| platter.damage(path, damage)).count() > 3);
                    let log = open(&disk, tiny(), recovery).await.expect("it opens");
                    assert_same(&log, &model);
                    for timestamp in 0..40 {
                        let found = log.offset_for_timestamp(protocol::ids::WallMillis(timestamp), model.end());
                        // A time index that lies too early costs time, one that lies too late is found out or rebuilt.
                        if suffix == "index" || damage == Damage::Remove {
                            assert!(found.expect("sound").is_some());
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn bit_rot_after_the_recovery_point_is_cut_and_a_hole_before_it_is_refused() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        for at in 0..40 {
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        log.flush().await.expect("a healthy disk");
        let segments: Vec<_> = platter.files().into_iter().filter(|path| path.ends_with(".log")).collect();
        let end = log.log_end_offset();
        drop(log);

        assert!(platter.damage(segments.last().expect("segments"), Damage::FlipBit { position: 100, bit: 0 }));
        let log = open(&disk, tiny(), Recovery::Unclean { recovery_point: end }).await.expect("it opens");
        assert!(log.log_end_offset() < end);
        drop(log);

        assert!(platter.damage(&segments[1], Damage::Remove));
        let hole = open(&disk, tiny(), Recovery::Unclean { recovery_point: end }).await;
        assert!(matches!(hole, Err(LogError::Corrupt { .. })), "{hole:?}");
    });
}

#[test]
fn damage_to_what_was_on_the_device_is_refused_and_nothing_is_cut() {
    simulated(1, |disk, platter| async move {
        let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
        for at in 0..40 {
            model.append(&anonymous(3, at), 0);
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        log.flush().await.expect("a healthy disk");
        drop(log);
        let segments: Vec<_> = platter.files().into_iter().filter(|path| path.ends_with(".log")).collect();
        let base = |path: &str| Offset(path[DIRECTORY.len() + 1..][..20].parse().expect("an offset"));
        // A record in the first of several batches of a closed segment.
        let flip = Damage::FlipBit { position: 80, bit: 2 };
        assert!(platter.damage(&segments[3], flip));
        let recovery = Recovery::Unclean { recovery_point: base(&segments[4]).plus(-1) };
        for _ in 0..2 {
            let refused = open(&disk, tiny(), recovery).await;
            assert!(matches!(&refused, Err(LogError::Corrupt { path, .. }) if *path == segments[3]), "{refused:?}");
        }
        assert!(platter.damage(&segments[3], flip), "undone");
        assert_same(&open(&disk, tiny(), recovery).await.expect("it opens"), &model);

        // Above the recovery point it may be a torn write.
        assert!(platter.damage(&segments[3], flip));
        let recovery = Recovery::Unclean { recovery_point: base(&segments[3]) };
        let log = open(&disk, tiny(), recovery).await.expect("it opens");
        assert_eq!(log.log_end_offset(), base(&segments[3]));
    });
}

#[test]
fn broken_small_files_are_built_again_and_what_is_not_kafkas_is_left_alone() {
    for damage in [Damage::Remove, Damage::LoseTail { length: 0 }, Damage::LoseTail { length: 3 }] {
        for recovery in [Recovery::Clean, Recovery::Unclean { recovery_point: Offset(0) }] {
            simulated(1, move |disk, platter| async move {
                let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
                for at in 0..40 {
                    let batch = produced((1, 0, at * 2), 2, i64::from(at));
                    model.append(&batch, at / 10);
                    lead(&mut log, batch, at / 10).expect("a healthy disk");
                }
                log.close().expect("a healthy disk").await.expect("a healthy disk");
                drop(log);
                let strange = [format!("{DIRECTORY}/notes.txt"), format!("{DIRECTORY}/0.log.bak"), "README".to_owned()];
                for path in &strange {
                    disk.open(path, Open::CreateNew).expect("a healthy disk").append(b"mine").expect("a healthy disk");
                }
                disk.create_directory(&format!("{DIRECTORY}/00000000000000000000.log.d")).expect("a healthy disk");
                let small = |path: &String| path.ends_with(".snapshot") || path.ends_with("leader-epoch-checkpoint");
                let files: Vec<_> = platter.files().into_iter().filter(small).collect();
                assert!(files.iter().filter(|path| platter.damage(path, damage)).count() > 3);
                for _ in 0..2 {
                    assert_same(&open(&disk, tiny(), recovery).await.expect("it opens"), &model);
                    assert!(strange.iter().all(|path| disk.read(path).expect("it is there") == b"mine"));
                    assert!(disk.exists(&format!("{DIRECTORY}/00000000000000000000.log.d")));
                }
            });
        }
    }
}

#[test]
fn segments_below_a_log_start_that_was_written_down_may_be_there_in_any_state() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        for at in 0..40 {
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        log.flush().await.expect("a healthy disk");
        let recovery_point = log.recovery_point();
        let segments: Vec<_> = platter.files().into_iter().filter(|path| path.ends_with(".log")).collect();
        drop(log);
        let base = |path: &str| Offset(path[DIRECTORY.len() + 1..][..20].parse().expect("an offset"));
        let start = base(&segments[3]).plus(1);
        assert!(
            platter.damage(&segments[1], Damage::Remove)
                && platter.damage(&segments[2], Damage::LoseTail { length: 7 })
        );
        let begins = (Recovery::Unclean { recovery_point }, start);
        for _ in 0..2 {
            let log = Log::open_from(&disk, DIRECTORY, tiny(), begins, NOW).await.expect("it opens");
            assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, Offset(120)));
            assert_eq!(log.segment_count(), segments.len() - 3);
        }
    });
}

#[test]
fn a_lost_epochs_file_is_read_from_the_log() {
    for recovery in [Recovery::Clean, Recovery::Unclean { recovery_point: Offset(60) }] {
        simulated(1, move |disk, platter| async move {
            let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
            for at in 0..40 {
                let batch = anonymous(2, at);
                model.append(&batch, at as i32 / 9);
                lead(&mut log, batch, at as i32 / 9).expect("a healthy disk");
            }
            log.close().expect("a healthy disk").await.expect("a healthy disk");
            assert!(platter.damage("orders-3/leader-epoch-checkpoint", Damage::Remove));
            let log = open(&disk, tiny(), recovery).await.expect("it opens");
            assert_same(&log, &model);
        });
    }
}

#[test]
fn a_log_without_its_topic_is_not_opened() {
    simulated(1, |disk, platter| async move {
        create(&disk, tiny()).await;
        assert!(platter.damage("orders-3/partition.metadata", Damage::FlipBit { position: 0, bit: 0 }));
        let opened = open(&disk, tiny(), Recovery::Clean).await;
        assert!(matches!(opened, Err(LogError::Malformed { .. })));
        let again =
            storage::Log::create(&disk, DIRECTORY, topic_id(), protocol::ids::PartitionIndex(3), tiny(), NOW).await;
        assert!(matches!(again, Err(LogError::AlreadyExists { .. })));
    });
}

#[test]
fn a_restart_remembers_all_five_batches_of_a_producer() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        for at in 0..9 {
            lead(&mut log, produced((1, 0, at), 1, 0), 0).expect("a healthy disk");
        }
        log.close().expect("a healthy disk").await.expect("a healthy disk");
        let mut log = open(&disk, tiny(), Recovery::Clean).await.expect("it opens");
        for at in 4..9 {
            let again = lead(&mut log, produced((1, 0, at), 1, 0), 0).expect("a retry");
            assert_eq!((again.base_offset, again.duplicate), (Offset(i64::from(at)), true));
        }
    });
}

#[test]
fn the_mutant_z13_forgets_what_the_last_snapshot_does_not_hold() {
    let options = Options { mutant: Some("Z13".to_owned()), ..Options::default() };
    let outcome = run_with(1, options, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, produced((1, 0, 0), 1, 0), 0).expect("a healthy disk");
        let mut log = {
            drop(log);
            open(&disk, tiny(), Recovery::Unclean { recovery_point: Offset(0) }).await.expect("it opens")
        };
        assert_eq!(log.producers().get(ProducerId(1)), None);
        lead(&mut log, produced((2, 0, 0), 1, 0), 0).expect("a healthy disk");
        log.assign_epoch(LeaderEpoch(1), log.log_end_offset()).await.expect("a healthy disk");
        assert_eq!(log.producers().iter().count(), 0);
    });
    outcome.result.expect("the scenario holds");
    assert_eq!(outcome.diverged.get("Z13"), Some(&2));
}

/// Every batch from the beginning, read and checked in pieces of so many bytes; or the first damage.
fn read_all(log: &Log, piece: usize) -> Result<Vec<u8>, ReadError> {
    let (mut bytes, mut at) = (Vec::new(), Offset(0));
    while at < log.log_end_offset() {
        let found = log.read(at, log.log_end_offset(), piece, true)?;
        found.check()?;
        assert!(found.next_offset > at, "{found:?}");
        bytes.extend(found.slice.read().expect("a healthy disk"));
        at = found.next_offset;
    }
    Ok(bytes)
}

/// The one batch that a reader at an offset gets.
fn batch_of(log: &Log, at: i64) -> Result<LogSlice, ReadError> {
    let found = log.read(Offset(at), log.log_end_offset(), 1, true)?;
    found.check()?;
    Ok(found)
}

#[test]
fn whatever_bit_of_a_closed_segment_is_flipped_nothing_is_read_that_was_not_written() {
    simulated(1, |disk, platter| async move {
        let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
        for (at, epoch) in (0..20).map(|at| (at, if at < 3 { 0 } else { 2 + at / 10 })) {
            let batch = produced((1, 0, at * 2), 2, i64::from(at));
            model.append(&batch, epoch);
            lead(&mut log, batch, epoch).expect("a healthy disk");
        }
        log.flush().await.expect("a healthy disk");
        assert!(log.segment_count() > 1, "{} bytes", log.size());
        assert_eq!(read_all(&log, 1).expect("it is sound"), model.bytes());
        assert_eq!(read_all(&log, 1 << 20).expect("it is sound"), model.bytes());
        let whole: Vec<LogSlice> = (0..40).map(|at| batch_of(&log, at).expect("it is sound")).collect();
        let bytes: Vec<Vec<u8>> = whole.iter().map(|batch| batch.slice.read().expect("a healthy disk")).collect();
        let files = platter.files().into_iter().filter(|path| path.ends_with(".log"));
        let mut closed: Vec<String> = files.collect();
        closed.pop().expect("one is active");
        let bits = closed.iter().flat_map(|path| {
            let size = platter.written(path).expect("it is there").len() as u64;
            (0..size * 8).map(move |bit| (path, bit / 8, (bit % 8) as u8))
        });
        for (path, position, bit) in bits {
            platter.damage(path, Damage::FlipBit { position, bit });
            for piece in [1, 1 << 20] {
                match read_all(&log, piece) {
                    Err(ReadError::Log(error)) => assert!(error.is_damage(), "{error}"),
                    other => panic!("bit {bit} of byte {position} of {path}: {other:?}"),
                }
            }
            // Whoever asks for any offset gets the batch that holds it as it was, or nothing.
            for (at, (sound, bytes)) in (0..).zip(whole.iter().zip(&bytes)) {
                let Ok(found) = batch_of(&log, at) else { continue };
                let offsets = |batch: &LogSlice| (batch.base_offset, batch.next_offset);
                assert_eq!(offsets(&found), offsets(sound), "bit {bit} of byte {position} of {path}, offset {at}");
                assert_eq!(&found.slice.read().expect("a healthy disk"), bytes);
            }
            platter.damage(path, Damage::FlipBit { position, bit });
        }
        assert_eq!(read_all(&log, 1).expect("it is sound again"), model.bytes());
    });
}
