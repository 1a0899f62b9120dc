//! A log does what a list of batches would.

use crate::support::*;
use proptest::prelude::*;
use protocol::{
    ids::{LeaderEpoch, Offset, WallMillis},
    record_batch::{TimestampType, check_crc},
};
use storage::{LogConfig, ReadError, Recovery};

#[derive(Clone, Debug)]
enum Step {
    Lead { producer: i64, records: usize, timestamp: i64 },
    Follow { batches: Vec<usize>, rise: i32, timestamp: i64 },
    Truncate { percent: i64 },
    Roll,
    Flush,
    Reopen { clean: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (-1..3i64, 1..6usize, 0..500i64).prop_map(|(producer, records, timestamp)| Step::Lead { producer, records, timestamp }),
        3 => (proptest::collection::vec(1..6usize, 1..5), 0..2i32, 0..500i64)
            .prop_map(|(batches, rise, timestamp)| Step::Follow { batches, rise, timestamp }),
        1 => (0..100i64).prop_map(|percent| Step::Truncate { percent }),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Carries out steps on a log and on the model; they agree after each.
async fn carry_out(disk: runtime::disk::Disk, steps: Vec<Step>) {
    let (mut log, mut model) = (create(&disk, tiny()).await, Model::default());
    let mut epoch = 0;
    for step in steps {
        match step {
            Step::Lead { producer, records, timestamp } => {
                let last = log
                    .producers()
                    .get(protocol::ids::ProducerId(producer))
                    .and_then(|entry| entry.last_batch().copied());
                let sequence = if producer < 0 { -1 } else { last.map_or(0, |batch| batch.last_sequence.0 + 1) };
                let batch = produced((producer, if producer < 0 { -1 } else { 0 }, sequence), records, timestamp);
                let base_offset = model.end();
                model.append(&batch, epoch);
                let appended = lead(&mut log, batch.clone(), epoch).expect("a healthy disk");
                assert_eq!((appended.base_offset, appended.last_offset), (base_offset, model.end().plus(-1)));
                if producer >= 0 {
                    let again = lead(&mut log, batch, epoch).expect("a retry");
                    assert_eq!(
                        (again.base_offset, again.last_offset, again.duplicate),
                        (base_offset, appended.last_offset, true)
                    );
                }
            }
            Step::Follow { batches, rise, timestamp } => {
                epoch += rise;
                let written: Vec<u8> =
                    batches.iter().flat_map(|records| model.append(&anonymous(*records, timestamp), epoch)).collect();
                log.append_as_follower(&written).expect("a healthy disk");
            }
            Step::Truncate { percent } => {
                let offset = Offset(model.end().0 * percent / 100);
                model.truncate(offset);
                log.truncate_to(offset).expect("a healthy disk").await.expect("a healthy disk");
                epoch += 1;
            }
            Step::Roll => {
                log.roll(NOW).expect("a healthy disk");
            }
            Step::Flush => {
                log.flush().await.expect("a healthy disk");
                assert_eq!(log.recovery_point(), model.end());
            }
            Step::Reopen { clean } => {
                let recovery = if clean {
                    log.close().expect("a healthy disk").await.expect("a healthy disk");
                    Recovery::Clean
                } else {
                    Recovery::Unclean { recovery_point: log.recovery_point() }
                };
                drop(log);
                log = open(&disk, tiny(), recovery).await.expect("it opens");
            }
        }
        assert_same(&log, &model);
    }
    check_reads(&log, &model);
}

/// Every way to read from every offset agrees with the model.
fn check_reads(log: &storage::Log, model: &Model) {
    let end = model.end();
    for from in 0..=end.0 {
        let from = Offset(from);
        for (bound, max_bytes) in
            [(end, 1), (end, 250), (end, 1 << 20), (Offset(from.0 + 3), 1 << 20), (Offset(end.0 * 2 / 3), 400)]
        {
            let read = log.read(from, bound, max_bytes, true).expect("in range");
            let bytes = read.slice.read().expect("a healthy disk");
            let holds = model
                .batches
                .iter()
                .position(|(header, _)| header.last_offset() >= from)
                .unwrap_or(model.batches.len());
            let wanted = model.batches[holds..].iter().take_while(|(header, _)| header.last_offset() < bound);
            let wanted: Vec<u8> = wanted.flat_map(|(_, bytes)| bytes.clone()).collect();
            assert!(wanted.starts_with(&bytes), "from {from} to {bound}: a prefix of what is there");
            assert_eq!(
                bytes.is_empty(),
                wanted.is_empty(),
                "from {from} to {bound}: at least one batch if there is one"
            );
            let first = model.batches.get(holds).map_or(0, |(_, bytes)| bytes.len());
            assert!(bytes.len() <= max_bytes.max(first));
            assert!(read.next_offset <= bound.max(from));
        }
    }
    assert!(matches!(log.read(end.plus(1), end.plus(2), 10, true), Err(ReadError::OutOfRange { .. })));
    for timestamp in [0, 100, 250, 499, 600] {
        let first = model.batches.iter().find_map(|(header, bytes)| {
            let records = protocol::record_batch::records(bytes, 1 << 20).expect("sound");
            let found = records.into_iter().find(|record| record.timestamp >= WallMillis(timestamp))?;
            Some((found.offset, found.timestamp, header.leader_epoch))
        });
        let found = log.offset_for_timestamp(WallMillis(timestamp), end).expect("a healthy disk");
        assert_eq!(
            found.map(|found| (found.offset, found.timestamp, found.leader_epoch)),
            first,
            "timestamp {timestamp}"
        );
    }
    let largest = model.batches.iter().map(|(header, _)| header.max_timestamp).max();
    let found = log.offset_of_max_timestamp(end).expect("a healthy disk");
    assert_eq!(found.map(|found| found.timestamp), largest);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn a_log_is_a_list_of_batches(steps in steps(), seed: u64) {
        simulated(seed, |disk, _| carry_out(disk, steps));
    }
}

#[test]
fn many_segments_are_read_through_their_index_files() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { segment_bytes: 20_000, index_interval_bytes: 300, ..LogConfig::default() };
        let (mut log, mut model) = (create(&disk, config.clone()).await, Model::default());
        for at in 0..1500 {
            let batch = anonymous(1 + at % 3, at as i64 % 500);
            model.append(&batch, 0);
            lead(&mut log, batch, 0).expect("a healthy disk");
        }
        assert!(log.segment_count() > 5);
        for step in (0..model.end().0).step_by(37) {
            let read = log.read(Offset(step), model.end(), 5000, true).expect("in range");
            assert!(read.base_offset <= Offset(step) && Offset(step) < read.next_offset);
            assert!(
                read.slice.length <= 5000 && read.slice.length > 1000
                    || read.next_offset == model.end()
                    || read.slice.length > 0
            );
        }
        assert_same(&log, &model);
        log.close().expect("healthy").await.expect("healthy");
        let log = open(&disk, config, Recovery::Clean).await.expect("it opens");
        assert_same(&log, &model);
    });
}

#[test]
fn log_append_time_is_stamped_and_summed() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..tiny() };
        let mut log = create(&disk, config).await;
        let appended = lead(&mut log, anonymous(3, 5), 0).expect("a healthy disk");
        assert_eq!(appended.log_append_time, Some(NOW));
        let (header, bytes) = Model::of(&log).batches.remove(0);
        assert_eq!((header.max_timestamp, header.timestamp_type()), (NOW, TimestampType::LogAppendTime));
        check_crc(&header, &bytes).expect("summed again");
        let found = log.offset_for_timestamp(NOW, Offset(3)).expect("a healthy disk").expect("a record");
        assert_eq!((found.offset, found.timestamp), (Offset(0), NOW));
    });
}

#[test]
fn a_new_leader_notes_its_epoch_at_the_logs_end() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, anonymous(3, 5), 1).expect("a healthy disk");
        log.assign_epoch(LeaderEpoch(4), Offset(3)).await.expect("a healthy disk");
        assert_eq!(platter.durable("orders-3/leader-epoch-checkpoint").as_deref(), Some(&b"0\n2\n1 0\n4 3\n"[..]));
        assert_eq!(log.end_offset_for(LeaderEpoch(1)).map(|end| end.end_offset), Some(Offset(3)));
        assert_eq!(log.end_offset_for(LeaderEpoch(4)).map(|end| end.end_offset), Some(Offset(3)));
        // Nothing was appended in it: a truncation to the log's end or past it takes it away.
        assert!(log.truncate_to(Offset(10)).expect("a healthy disk").is_done());
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    });
}

#[test]
fn old_segments_go_but_never_past_the_high_watermark() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { retention_ms: 1000, ..tiny() };
        let mut log = create(&disk, config).await;
        for at in 0..30 {
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        assert!(log.segment_count() > 3);
        let high_watermark = Offset(20);
        let gone = delete_old_segments(&mut log, WallMillis(5000), high_watermark);
        assert!(gone > 0 && log.log_start_offset() > Offset(0) && log.log_start_offset() <= high_watermark);
        assert_eq!(log.epochs()[0].start_offset, log.log_start_offset(), "the first epoch begins where the log does");
        assert!(matches!(log.read(Offset(0), Offset(90), 100, true), Err(ReadError::OutOfRange { .. })));
        delete_old_segments(&mut log, WallMillis(5000), Offset(90));
        assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size()), (Offset(90), Offset(90), 0));
        lead(&mut log, anonymous(3, 5000), 0).expect("it goes on");
        assert_eq!(log.log_end_offset(), Offset(93));
    });
}

#[test]
fn the_size_that_is_to_be_retained_is_retained() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { retention_bytes: 1500, ..tiny() };
        let mut log = create(&disk, config).await;
        for at in 0..60 {
            lead(&mut log, anonymous(3, at), 0).expect("a healthy disk");
        }
        let high_watermark = log.log_end_offset();
        delete_old_segments(&mut log, NOW, high_watermark);
        assert!((1500..1500 + 700).contains(&log.size()), "{}", log.size());
    });
}

#[test]
fn a_log_begins_anew_at_any_offset() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        for at in 0..20 {
            lead(&mut log, produced((1, 0, at * 3), 3, 0), 2).expect("a healthy disk");
        }
        log.truncate_fully_and_start_at(Offset(500)).expect("a healthy disk").await.expect("a healthy disk");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(500), Offset(500)));
        assert_eq!((log.latest_epoch(), log.producers().iter().count()), (None, 0));
        let mut model = Model { begins_at: Offset(500), ..Model::default() };
        let batch = model.append(&anonymous(2, 0), 5);
        log.append_as_follower(&batch).expect("a healthy disk");
        assert_same(&log, &model);
        let log = open(&disk, tiny(), Recovery::Unclean { recovery_point: Offset(0) }).await.expect("it opens");
        assert_same(&log, &model);
    });
}

#[test]
fn a_deleted_partition_waits_under_another_name() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, tiny()).await;
        lead(&mut log, anonymous(2, 0), 0).expect("a healthy disk");
        let name = log.mark_deleted().expect("a healthy disk");
        assert!(lead(&mut log, anonymous(2, 0), 0).is_err());
        let listed = storage::directory::list(&disk).expect("a healthy disk");
        assert_eq!(listed, [(name.clone(), storage::directory::Kind::Deleted)]);
        storage::directory::remove(&disk, &name).expect("a healthy disk");
        storage::directory::remove(&disk, &name).expect("twice is no error");
        assert_eq!(storage::directory::list(&disk).expect("a healthy disk"), []);
        create(&disk, tiny()).await;
    });
}
