//! A cleaned log says of every key what it said before; and whatever is left of an interrupted cleaning, it opens.

use crate::support::*;
use proptest::prelude::*;
use protocol::{
    compression::Compression,
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, WallMillis},
    record_batch::{BatchBuilder, BatchHeader, Record, batches, check_crc, crc32c, patch, records},
};
use runtime::{
    disk::Disk,
    simulation::{self, disk::Damage, now_ns, sleep_until_ns},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};
use storage::{CleanError, CleanedSegment, CleanerConfig, Cleaning, Log, LogConfig, LogError, Recovery};

const DELETE_RETENTION_MS: i64 = 500;

fn compacted() -> LogConfig {
    LogConfig {
        compacts: true,
        deletes: false,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: DELETE_RETENTION_MS,
        ..tiny()
    }
}

/// A batch as it lies, with its records.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    header: BatchHeader,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

/// Everything in a log, every CRC checked.
fn contents(log: &Log) -> Vec<Kept> {
    let (mut kept, mut at) = (Vec::<Kept>::new(), log.log_start_offset());
    while at < log.log_end_offset() {
        let read = log.read(at, log.log_end_offset(), 300, true).expect("it is there");
        read.check().expect("it is sound");
        assert!(!read.slice.is_empty() && read.next_offset > at, "a read at {at} gives something");
        for batch in batches(&read.slice.read().expect("it can be read")) {
            let (header, bytes) = batch.expect("whole");
            check_crc(&header, bytes).expect("sound");
            assert!(kept.last().is_none_or(|last| last.header.next_offset() <= header.base_offset), "in order");
            kept.push(Kept { header, bytes: bytes.to_vec(), records: records(bytes, 1 << 20).expect("sound") });
        }
        at = read.next_offset;
    }
    kept
}

type Key = Vec<u8>;

/// Records of data, each with the producer of its batch.
fn data(kept: &[Kept]) -> impl Iterator<Item = (&Kept, &Record)> + Clone {
    let of_data = kept.iter().filter(|batch| !batch.header.is_control());
    of_data.flat_map(|batch| batch.records.iter().map(move |record| (batch, record)))
}

/// Which records were aborted, as a consumer finds out: by the marker that follows.
fn aborted(kept: &[Kept]) -> BTreeSet<Offset> {
    let (mut gone, mut open): (BTreeSet<Offset>, BTreeMap<ProducerId, Vec<Offset>>) = Default::default();
    for batch in kept.iter().filter(|batch| batch.header.is_transactional()) {
        let of = open.entry(batch.header.producer_id).or_default();
        if !batch.header.is_control() {
            of.extend(batch.records.iter().map(|record| record.offset));
        } else if let Some(record) = batch.records.first() {
            let offsets = std::mem::take(of);
            if record.key.as_deref().is_some_and(|key| key[3] == 0) {
                gone.extend(offsets);
            }
        }
    }
    gone
}

/// The newest record of each key, without what was aborted.
fn view(kept: &[Kept]) -> BTreeMap<Key, Record> {
    let aborted = aborted(kept);
    let told = data(kept).filter(|(_, record)| !aborted.contains(&record.offset));
    told.map(|(_, record)| (record.key.clone().expect("a key").to_vec(), record.clone())).collect()
}

/// What it says to whoever only wants values.
fn values(kept: &[Kept]) -> BTreeMap<Key, Record> {
    view(kept).into_iter().filter(|(_, record)| record.value.is_some()).collect()
}

fn keyed(
    codec: Compression,
    producer: (i64, i16, i32),
    transactional: bool,
    pairs: &[(u8, bool)],
    timestamp: i64,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    if transactional {
        builder = builder.transactional();
    }
    for (at, (key, has_value)) in pairs.iter().enumerate() {
        let value = format!("value {timestamp} {at}");
        builder.push(WallMillis(timestamp), Some(&[*key]), has_value.then_some(value.as_bytes()), &[]);
    }
    builder.finish(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(producer.2)).to_vec()
}

fn put(log: &mut Log, pairs: &[(u8, bool)], timestamp: i64) {
    lead(log, keyed(Compression::None, (-1, -1, -1), false, pairs, timestamp), 0).expect("a healthy disk");
}

fn marker(producer: (i64, i16), committed: bool, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None).transactional();
    builder.push(WallMillis(timestamp), Some(&[0, 0, 0, u8::from(committed)]), Some(&[0, 0, 0, 0, 0, 1]), &[]);
    let mut bytes = builder.finish(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(-1)).to_vec();
    let mut header = header(&bytes);
    header.attributes |= 0x20;
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[21..]);
    header.write(&mut bytes);
    bytes
}

/// Appends a batch at the end as it came from the leader.
fn follow(log: &mut Log, mut batch: Vec<u8>) {
    patch(&mut batch, log.log_end_offset(), LeaderEpoch(0));
    log.append_as_follower(&batch).expect("a healthy disk");
}

async fn swap(log: &mut Log, disk: &Disk, segment: CleanedSegment) -> Result<(), CleanError> {
    segment.sync().await?;
    log.swap_in(segment)?.remove(disk)?;
    Ok(())
}

/// What the broker does with a log that is due.
async fn clean(
    log: &mut Log,
    disk: &Disk,
    cleaner: CleanerConfig,
    high_watermark: Offset,
    now: i64,
) -> Option<Cleaning> {
    let mut cleaning = log.begin_cleaning(cleaner, high_watermark, WallMillis(now)).expect("it is compacted");
    if !cleaning.cleanable().is_due(log.config()) {
        return None;
    }
    cleaning.prepare().expect("it can be read");
    while let Some(segment) = cleaning.clean_next().expect("it can be written") {
        swap(log, disk, segment).await.expect("a healthy disk");
    }
    log.end_cleaning(&cleaning).expect("it is the same log").await.expect("a healthy disk");
    log.note_cleaned(&cleaning).expect("it is the same log");
    Some(cleaning)
}

/// As [`clean`], of a log that is committed to its end.
async fn clean_all(log: &mut Log, disk: &Disk, cleaner: CleanerConfig, now: i64) -> Option<Cleaning> {
    let high_watermark = log.log_end_offset();
    clean(log, disk, cleaner, high_watermark, now).await
}

#[derive(Clone, Debug)]
enum Step {
    Put { producer: i64, pairs: Vec<(u8, bool)>, codec: Compression },
    Transact { producer: i64, pairs: Vec<(u8, bool)> },
    EndTransaction { producer: i64, committed: bool },
    Roll,
    Clean { small: bool, percent: i64 },
    Reopen { clean: bool, without_snapshots: bool },
    Pass { ms: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pairs = || proptest::collection::vec((0..9u8, proptest::bool::weighted(0.75)), 1..5);
    let codec = prop::sample::select(vec![Compression::None, Compression::None, Compression::Lz4, Compression::Gzip]);
    let step = prop_oneof![
        8 => (-1..2i64, pairs(), codec).prop_map(|(producer, pairs, codec)| Step::Put { producer, pairs, codec }),
        3 => (10..12i64, pairs()).prop_map(|(producer, pairs)| Step::Transact { producer, pairs }),
        3 => (10..12i64, any::<bool>()).prop_map(|(producer, committed)| Step::EndTransaction { producer, committed }),
        2 => Just(Step::Roll),
        4 => (proptest::bool::weighted(0.2), 50..130i64).prop_map(|(small, percent)| Step::Clean { small, percent }),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(clean, without_snapshots)| Step::Reopen { clean, without_snapshots }),
        3 => (0..400i64).prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..70)
}

/// What is known of the log's past.
#[derive(Default)]
struct Past {
    now: i64,
    /// When each tombstone was first come across by a cleaning.
    deletion_begun: BTreeMap<Offset, i64>,
    cleanings: usize,
}

fn next_sequence(log: &Log, producer: i64) -> i32 {
    let last = log.producers().get(ProducerId(producer)).and_then(|entry| entry.last_batch().copied());
    last.map_or(0, |last| last.last_sequence.0 + 1)
}

async fn take_step(log: &mut Log, disk: &Disk, past: &mut Past, step: Step) {
    past.now += 1;
    match step {
        Step::Put { producer, pairs, codec } => {
            let of = if producer < 0 { (-1, -1, -1) } else { (producer, 0, next_sequence(log, producer)) };
            lead(log, keyed(codec, of, false, &pairs, past.now), 0).expect("a healthy disk");
        }
        Step::Transact { producer, pairs } => {
            let of = (producer, 0, next_sequence(log, producer));
            lead(log, keyed(Compression::None, of, true, &pairs, past.now), 0).expect("a healthy disk");
        }
        Step::EndTransaction { producer, committed } => {
            follow(log, marker((producer, 0), committed, past.now));
        }
        Step::Roll => assert!(log.roll(NOW).is_ok()),
        Step::Pass { ms } => past.now += ms,
        Step::Clean { small, percent } => {
            let high_watermark = Offset((log.log_end_offset().0 * percent / 100).min(log.log_end_offset().0));
            let memory = if small { 100 } else { 1 << 20 };
            let cleaner =
                CleanerConfig { dedupe_buffer_bytes: memory, io_buffer_bytes: 64, ..CleanerConfig::default() };
            let before = contents(log);
            let ends = (log.log_start_offset(), log.log_end_offset());
            if let Some(cleaning) = clean(log, disk, cleaner, high_watermark, past.now).await {
                assert_eq!((log.log_start_offset(), log.log_end_offset()), ends);
                check_cleaned(&before, &contents(log), &cleaning, past, high_watermark);
                past.cleanings += 1;
            }
        }
        Step::Reopen { clean, without_snapshots } => reopen(log, disk, clean, without_snapshots).await,
    }
}

async fn reopen(log: &mut Log, disk: &Disk, clean: bool, without_snapshots: bool) {
    let (before, producers) = (contents(log), log.producers().clone());
    let stable = log.last_stable_offset(log.log_end_offset());
    let first_dirty = log.first_dirty_offset();
    let recovery = if clean {
        log.close().expect("a healthy disk").await.expect("a healthy disk");
        Recovery::Clean
    } else {
        Recovery::Unclean { recovery_point: log.recovery_point() }
    };
    if without_snapshots {
        for entry in disk.list(DIRECTORY).expect("it is there") {
            if entry.name.ends_with(".snapshot") {
                disk.remove_file(&format!("{DIRECTORY}/{}", entry.name)).expect("it is there");
            }
        }
    }
    // The topic's settings are not known when a log is opened.
    let mut opened = open(disk, LogConfig { compacts: false, ..compacted() }, recovery).await.expect("it opens");
    assert_eq!(contents(&opened), before);
    assert_eq!(opened.last_stable_offset(opened.log_end_offset()), stable);
    let known = |state: &storage::ProducerState| -> Vec<_> {
        let entries = state.iter().map(|(id, entry)| {
            let last = entry.last_batch().map(|last| (last.last_sequence, last.last_offset, last.offset_delta));
            (id, entry.producer_epoch, entry.transaction_first_offset, last)
        });
        entries.filter(|(.., last)| last.is_some()).collect()
    };
    assert_eq!(known(opened.producers()), known(&producers), "a retry is known for one, and the next one for the next");
    opened.set_config(compacted());
    opened.set_first_dirty_offset(first_dirty);
    *log = opened;
}

fn check_cleaned(before: &[Kept], after: &[Kept], cleaning: &Cleaning, past: &mut Past, high_watermark: Offset) {
    let (bound, end) = (cleaning.cleanable().first_uncleanable, cleaning.end());
    assert!(bound <= high_watermark.max(cleaning.cleanable().first_dirty) && end <= bound, "{end} <= {bound}");
    // Nothing at the bound or beyond is touched.
    let beyond = |kept: &[Kept]| -> Vec<_> {
        let beyond = kept.iter().filter(|batch| batch.header.last_offset() >= bound);
        beyond.map(|batch| (batch.header.base_offset, batch.header.crc)).collect()
    };
    assert_eq!(beyond(after), beyond(before));
    // What is there was there, as it is.
    let records_before: BTreeMap<Offset, &Record> = data(before).map(|(_, record)| (record.offset, record)).collect();
    for (_, record) in data(after) {
        assert_eq!(records_before.get(&record.offset), Some(&record));
    }
    let headers: BTreeMap<Offset, &Kept> = before.iter().map(|batch| (batch.header.base_offset, batch)).collect();
    for batch in after {
        let was = headers[&batch.header.base_offset].header;
        let is = batch.header;
        assert_eq!(
            (is.last_offset(), is.leader_epoch, is.producer_id),
            (was.last_offset(), was.leader_epoch, was.producer_id)
        );
        assert_eq!((is.base_sequence, is.producer_epoch), (was.base_sequence, was.producer_epoch));
    }
    assert_eq!(values(after), values(before), "each key has the value that it had");
    check_duplicates(after, end);
    check_tombstones(before, after, end, past);
    check_transactions(before, after, end);
}

/// Below where the cleaning came to, a key has one record.
fn check_duplicates(after: &[Kept], end: Offset) {
    let mut seen = BTreeSet::new();
    for (_, record) in data(after).filter(|(_, record)| record.offset < end) {
        assert!(seen.insert(record.key.clone()), "{record:?} is the only one of its key");
    }
}

fn check_tombstones(before: &[Kept], after: &[Kept], end: Offset, past: &mut Past) {
    let (kept, aborted) = (data(after).map(|(_, record)| record.offset).collect::<BTreeSet<_>>(), aborted(before));
    let judged = data(before).filter(|(_, record)| record.offset < end && !aborted.contains(&record.offset));
    let newest: BTreeMap<_, _> = judged.clone().map(|(_, record)| (&record.key, record.offset)).collect();
    // A batch has one horizon, and so gets it once it was come across as a whole.
    let whole = judged.filter(|(batch, _)| batch.header.last_offset() < end);
    for (_, record) in whole.filter(|(_, record)| record.value.is_none()) {
        if kept.contains(&record.offset) {
            let begun = *past.deletion_begun.entry(record.offset).or_insert(past.now);
            let batch = after.iter().find(|batch| batch.records.contains(record)).expect("it is there");
            let horizon = batch.header.delete_horizon().expect("it was given one");
            assert!(past.now < horizon.0, "at {} it is over since {horizon}", past.now);
            assert_eq!(horizon.0, begun + DELETE_RETENTION_MS);
        } else if newest[&record.key] == record.offset {
            let begun = past.deletion_begun.get(&record.offset);
            let is_over = begun.is_some_and(|begun| past.now >= begun + DELETE_RETENTION_MS);
            assert!(is_over, "{record:?} goes at {} and was first seen at {begun:?}", past.now);
        }
    }
}

/// A transaction of which something is left has its marker, and nothing that was aborted is left.
fn check_transactions(before: &[Kept], after: &[Kept], end: Offset) {
    let gone = aborted(before);
    assert!(data(after).all(|(_, record)| record.offset >= end || !gone.contains(&record.offset)));
    let open = |kept: &[Kept]| {
        let mut open = BTreeMap::new();
        for batch in kept.iter().filter(|batch| batch.header.is_transactional()) {
            if !batch.header.is_control() {
                open.entry(batch.header.producer_id).or_insert(batch.header.base_offset);
            } else if !batch.records.is_empty() {
                open.remove(&batch.header.producer_id);
            }
        }
        open
    };
    assert_eq!(open(after), open(before), "a transaction that was over is over");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_cleaned_log_says_of_each_key_what_it_said(steps in steps(), seed: u64) {
        simulated(seed, |disk, _| async move {
            let (mut log, mut past) = (create(&disk, compacted()).await, Past::default());
            for step in steps {
                take_step(&mut log, &disk, &mut past, step).await;
            }
            reopen(&mut log, &disk, false, true).await;
        });
    }
}

/// A log of several segments in which keys were written again and again, durable, with an active segment that has records.
async fn busy(disk: &Disk, config: LogConfig) -> Log {
    let mut log = create(disk, config).await;
    for at in 0..60 {
        let other = if at % 10 == 3 { 100 + at } else { at % 3 + 10 };
        put(&mut log, &[(at % 7, at % 5 != 0), (other, true)], i64::from(at));
    }
    assert!(log.segment_count() > 5);
    log.flush().await.expect("a healthy disk");
    log
}

/// Cleans until the power goes, at the so-manieth wait for the device and so far into it. Notes what the log was after each
/// swap, and how many of those are certainly on the device.
async fn clean_until(
    log: &mut Log,
    now: i64,
    (goes_at, within): (u64, u64),
    states: &mut Vec<Vec<Kept>>,
) -> (usize, bool) {
    let mut waits = 0;
    let mut lasts = async |task: std::pin::Pin<Box<dyn Future<Output = Result<(), LogError>>>>| {
        waits += 1;
        if waits < goes_at {
            task.await.expect("a healthy disk");
            return true;
        }
        let until = now_ns() + within;
        runtime::select! {
            done = task => {
                done.expect("a healthy disk");
                false
            },
            () = sleep_until_ns(until) => false,
        }
    };
    let cleaner = CleanerConfig { io_buffer_bytes: 64, ..CleanerConfig::default() };
    let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(now)).expect("it is compacted");
    cleaning.prepare().expect("it can be read");
    while let Some(segment) = cleaning.clean_next().expect("it can be written") {
        let segment = std::rc::Rc::new(segment);
        let synced = segment.clone();
        if !lasts(Box::pin(async move { synced.sync().await })).await {
            return (0, true);
        }
        let segment = std::rc::Rc::into_inner(segment).expect("it is synced");
        log.swap_in(segment).expect("a healthy disk");
        states.push(contents(log));
    }
    let durable = log.end_cleaning(&cleaning).expect("it is the same log");
    if !lasts(Box::pin(durable)).await {
        return (0, true);
    }
    log.note_cleaned(&cleaning).expect("it is the same log");
    (states.len() - 1, false)
}

/// One cleaning with one power loss. Answers whether the power went before its end, and which state was found.
async fn survive(disk: Disk, platter: simulation::disk::Disk, seed: u64, goes_at: u64) -> (bool, usize, bool) {
    let mut log = busy(&disk, compacted()).await;
    // Each segment by itself, or some into one.
    if seed.is_multiple_of(2) {
        log.set_config(LogConfig { segment_bytes: 2200, ..compacted() });
    }
    let producers = log.producers().clone();
    let mut states = vec![contents(&log)];
    let within = simulation::draw("within", seed, 0) % 6_000_000;
    // What is not on the device may be there in part: the power may go right after a swap, too.
    let (durable, gone) = clean_until(&mut log, 5000, (goes_at, within), &mut states).await;
    let recovery = Recovery::Unclean { recovery_point: log.recovery_point() };
    drop(log);
    platter.power_loss();
    let interrupted = platter.files().iter().any(|path| path.ends_with(".log.swap"));
    let config = LogConfig { compacts: false, ..compacted() };
    if seed.is_multiple_of(3) {
        let until = now_ns() + simulation::draw("within", seed, 1) % 3_000_000;
        runtime::select! {
            log = open(&disk, config.clone(), recovery) => drop(log.expect("it opens")),
            () = sleep_until_ns(until) => {}
        }
        platter.power_loss();
    }
    let log = open(&disk, config.clone(), recovery).await.expect("it opens");
    let found = contents(&log);
    let state = states.iter().position(|state| *state == found).expect("the log as it was, with some segments cleaned");
    assert!(state >= durable);
    assert_eq!(log.producers(), &producers);
    let names = disk.list(DIRECTORY).expect("it is there");
    let left = |name: &str| [".swap", ".cleaned", ".deleted"].iter().any(|suffix| name.ends_with(suffix));
    assert!(!names.iter().any(|entry| left(&entry.name)), "{names:?}");
    drop(log);
    platter.power_loss();
    let mut log = open(&disk, config, recovery).await.expect("it opens");
    assert_eq!(contents(&log), found, "once more");

    // And the log goes on: it is cleaned to the end, and says what it said.
    log.set_config(compacted());
    put(&mut log, &[(0, true)], 9000);
    let before = values(&contents(&log));
    clean_all(&mut log, &disk, CleanerConfig::default(), 5001).await;
    assert_eq!(values(&contents(&log)), before);
    (gone, state, interrupted)
}

#[test]
fn an_interrupted_cleaning_leaves_each_segment_as_it_was_or_cleaned() {
    let (mut seed, mut found, mut interrupted) = (0, BTreeMap::new(), 0);
    for draw in 0..40 {
        for goes_at in 1.. {
            seed += 1;
            let (gone, state, swap) =
                simulated(seed * 31 + draw, move |disk, platter| survive(disk, platter, seed, goes_at));
            *found.entry(state).or_insert(0) += 1;
            interrupted += u32::from(swap);
            if !gone {
                break;
            }
        }
    }
    assert!(found.len() >= 4 && found.values().all(|count| *count > 3), "{found:?}");
    assert!(interrupted > 5, "{interrupted} of them lay between two renames");
}

#[test]
fn whoever_reads_a_segment_goes_on_when_it_is_cleaned() {
    simulated(1, |disk, _| async move {
        let mut log = busy(&disk, compacted()).await;
        let slice = log.read(Offset(0), log.log_end_offset(), 400, true).expect("in range");
        let before = slice.slice.read().expect("it can be read");
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        slice.check().expect("it is as it was");
        assert_eq!(slice.slice.read().expect("it can be read"), before);
        let again = log.read(Offset(0), log.log_end_offset(), 400, true).expect("in range");
        assert_ne!(again.slice.read().expect("it can be read"), before);
    });
}

#[test]
fn segments_that_became_small_are_merged() {
    simulated(1, |disk, _| async move {
        let mut log = busy(&disk, compacted()).await;
        let before = (log.segment_count(), log.size());
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        let once = (log.segment_count(), log.size());
        assert!(once.1 * 2 < before.1, "{once:?} of {before:?}");
        put(&mut log, &[(1, true)], 101);
        log.roll(NOW).expect("a healthy disk");
        clean_all(&mut log, &disk, CleanerConfig::default(), 102).await.expect("it is dirty");
        // Each keeps its last batch, if without records.
        assert!(log.segment_count() * 3 <= before.0 * 2, "{} of {}", log.segment_count(), before.0);
        let indexes = |log: &Log| (log.offset_for_timestamp(WallMillis(58), log.log_end_offset()), contents(log));
        let (found, kept) = indexes(&log);
        assert_eq!(found.expect("it can be read").expect("a record").offset, Offset(116));
        log.close().expect("a healthy disk").await.expect("a healthy disk");
        let log = open(&disk, compacted(), Recovery::Clean).await.expect("it opens");
        assert_eq!(contents(&log), kept);
    });
}

#[test]
fn keys_for_which_there_is_no_room_wait_for_the_next_cleaning() {
    simulated(1, |disk, _| async move {
        let mut log = busy(&disk, compacted()).await;
        let said = values(&contents(&log));
        let small = CleanerConfig { dedupe_buffer_bytes: 24 * 6, ..CleanerConfig::default() };
        let (mut rounds, mut ends) = (0, vec![Offset(0)]);
        while let Some(cleaning) = clean_all(&mut log, &disk, small, 100).await {
            assert!(cleaning.end() > *ends.last().expect("the first"), "it gets further");
            ends.push(cleaning.end());
            assert_eq!(values(&contents(&log)), said);
            rounds += 1;
        }
        assert!(rounds > 3, "{ends:?}");
        assert_eq!(log.first_dirty_offset(), *ends.last().expect("the last"));
        check_duplicates(&contents(&log), log.first_dirty_offset());
    });
}

#[test]
fn a_log_that_was_cut_or_begun_anew_is_not_touched_by_its_cleaning() {
    for anew in [false, true] {
        simulated(1, move |disk, _| async move {
            let mut log = busy(&disk, compacted()).await;
            let cleaner = CleanerConfig::default();
            let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(100)).expect("compacted");
            cleaning.prepare().expect("it can be read");
            let segment = cleaning.clean_next().expect("it can be written").expect("it is dirty");
            segment.sync().await.expect("a healthy disk");
            let task = if anew { log.truncate_fully_and_start_at(Offset(50)) } else { log.truncate_to(Offset(70)) };
            task.expect("a healthy disk").await.expect("a healthy disk");
            assert!(matches!(log.swap_in(segment), Err(CleanError::Changed)));
            assert!(matches!(cleaning.clean_next(), Err(CleanError::Changed)));
            assert!(matches!(log.end_cleaning(&cleaning), Err(CleanError::Changed)));
            assert!(matches!(log.note_cleaned(&cleaning), Err(CleanError::Changed)));
            let names = disk.list(DIRECTORY).expect("it is there");
            assert!(!names.iter().any(|entry| entry.name.ends_with(".cleaned")), "{names:?}");
            assert!(log.first_dirty_offset() <= log.log_end_offset());
        });
    }
}

#[test]
fn a_cut_makes_dirty_what_follows() {
    simulated(1, |disk, _| async move {
        let mut log = busy(&disk, compacted()).await;
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        assert!(log.first_dirty_offset() > Offset(60));
        log.truncate_to(Offset(60)).expect("a healthy disk").await.expect("a healthy disk");
        assert_eq!(log.first_dirty_offset(), Offset(60));
    });
}

#[test]
fn a_deleted_log_ends_its_cleaning() {
    simulated(1, |disk, _| async move {
        let log = busy(&disk, compacted()).await;
        let cleaner = CleanerConfig::default();
        let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(100)).expect("compacted");
        let name = log.mark_deleted().expect("a healthy disk");
        assert!(matches!(cleaning.prepare(), Err(CleanError::Changed)));
        storage::directory::remove(&disk, &name).expect("a healthy disk");
        // Another one of the same name has nothing to do with it.
        let mut log = busy(&disk, compacted()).await;
        let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(100)).expect("compacted");
        cleaning.prepare().expect("it can be read");
        let segment = cleaning.clean_next().expect("it can be written").expect("it is dirty");
        log.close().expect("a healthy disk").await.expect("a healthy disk");
        let mut other = open(&disk, compacted(), Recovery::Clean).await.expect("it opens");
        assert!(matches!(other.swap_in(segment), Err(CleanError::Changed)));
    });
}

#[test]
fn damage_is_not_covered_up() {
    for position in [5, 14, 30, 70] {
        simulated(1, move |disk, platter| async move {
            let mut log = busy(&disk, compacted()).await;
            log.close().expect("a healthy disk").await.expect("a healthy disk");
            drop(log);
            let path = format!("{DIRECTORY}/{:020}.log", 0);
            assert!(platter.damage(&path, Damage::FlipBit { position, bit: 0 }));
            let log = open(&disk, compacted(), Recovery::Clean).await.expect("it opens");
            let cleaner = CleanerConfig::default();
            let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(100)).expect("compacted");
            let done = cleaning.prepare().and_then(|()| cleaning.clean_next());
            let Err(CleanError::Log(error)) = done else { panic!("byte {position}: {done:?}") };
            assert!(error.is_damage(), "{error}");
            let names = disk.list(DIRECTORY).expect("it is there");
            assert!(!names.iter().any(|entry| entry.name.ends_with(".cleaned")), "{names:?}");
        });
    }
}

#[test]
fn a_follower_takes_gaps_where_the_topic_is_compacted_and_remembers_it() {
    simulated(1, |disk, platter| async move {
        let mut leader = busy(&disk, compacted()).await;
        clean_all(&mut leader, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        let all = contents(&leader);
        assert!(all.windows(2).any(|pair| pair[0].header.next_offset() < pair[1].header.base_offset), "it has gaps");
        let bytes: Vec<u8> = all.iter().flat_map(|batch| batch.bytes.clone()).collect();

        let name = "orders-4";
        let partition = protocol::ids::PartitionIndex(4);
        let made = Log::create(&disk, name, topic_id(), partition, tiny(), NOW).await;
        let mut follower = made.expect("an empty disk takes a log");
        let refused = follower.append_as_follower(&bytes).expect_err("its topic is not compacted, as far as it knows");
        assert_eq!(refused.error_code(), ErrorCode::CorruptMessage);
        follower.set_config(compacted());
        follower.append_as_follower(&bytes).expect("it is");
        assert_eq!(contents(&follower), all);
        assert!(follower.has_gaps());
        follower.flush().await.expect("a healthy disk");
        let recovery = Recovery::Unclean { recovery_point: follower.recovery_point() };
        drop(follower);
        platter.power_loss();
        for recovery in [recovery, Recovery::Unclean { recovery_point: Offset(0) }] {
            let follower = Log::open(&disk, name, tiny(), recovery, NOW).await.expect("it opens");
            assert_eq!(contents(&follower), all, "whatever the topic's settings are by then");
        }
    });
}

#[test]
fn what_never_reached_the_device_is_not_taken_for_cleaned() {
    for (recovery_point, end) in [(0, 1), (2, 3)] {
        simulated(1, move |disk, _| async move {
            let mut log = create(&disk, compacted()).await;
            put(&mut log, &[(1, true)], 1);
            put(&mut log, &[(2, true)], 2);
            assert!(log.roll(NOW).expect("a healthy disk"));
            put(&mut log, &[(3, true)], 3);
            drop(log);
            // The second batch is lost whole: what is left of its segment is sound.
            let path = format!("{DIRECTORY}/{:020}.log", 0);
            let first = disk.open(&path, runtime::disk::Open::Existing).expect("it is there");
            first.truncate(first.len().expect("it is there") / 2).expect("a healthy disk");
            let recovery = Recovery::Unclean { recovery_point: Offset(recovery_point) };
            let log = open(&disk, compacted(), recovery).await.expect("it opens");
            assert_eq!(log.log_end_offset(), Offset(end), "with the recovery point {recovery_point}");
        });
    }
}

#[test]
fn a_cut_within_a_gap_takes_nothing_before_it() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        let mut at = |base: i64, records: usize| {
            let mut batch = anonymous(records, base);
            patch(&mut batch, Offset(base), LeaderEpoch(0));
            log.append_as_follower(&batch).expect("a healthy disk");
        };
        at(0, 3);
        at(10, 2);
        let read = log.read(Offset(5), Offset(12), 1000, true).expect("in range");
        assert_eq!((read.base_offset, read.next_offset), (Offset(10), Offset(12)), "what follows the gap");
        let read = log.read(Offset(0), Offset(5), 1000, true).expect("in range");
        assert_eq!((read.base_offset, read.next_offset), (Offset(0), Offset(5)), "up to the bound within the gap");
        log.truncate_to(Offset(5)).expect("a healthy disk").await.expect("a healthy disk");
        assert_eq!(log.log_end_offset(), Offset(3));
        let left = contents(&log);
        assert_eq!(left.iter().map(|batch| batch.header.last_offset()).collect::<Vec<_>>(), [Offset(2)]);
    });
}

#[test]
fn an_epoch_whose_first_records_are_gone_still_begins_where_it_did() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, compacted()).await;
        for at in 0..60 {
            let epoch = at / 10;
            let batch = keyed(Compression::None, (-1, -1, -1), false, &[(0, true)], i64::from(at));
            lead(&mut log, batch, epoch).expect("a healthy disk");
        }
        let epochs = log.epochs().to_vec();
        log.flush().await.expect("a healthy disk");
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        assert_eq!(log.epochs(), epochs);
        let recovery = Recovery::Unclean { recovery_point: log.recovery_point() };
        drop(log);
        platter.power_loss();
        let log = open(&disk, tiny(), recovery).await.expect("it opens");
        assert_eq!(log.epochs(), epochs);
    });
}

#[test]
fn an_offset_that_rotted_is_no_gap() {
    simulated(1, |disk, platter| async move {
        let mut log = create(&disk, compacted()).await;
        put(&mut log, &[(1, true)], 1);
        put(&mut log, &[(2, true)], 2);
        assert!(log.roll(NOW).expect("a healthy disk"));
        put(&mut log, &[(3, true)], 3);
        let second = contents(&log)[0].bytes.len() as u64;
        drop(log);
        // 1 becomes 257: no checksum covers it, and it is larger than what was expected.
        let damage = runtime::simulation::disk::Damage::FlipBit { position: second + 6, bit: 0 };
        assert!(platter.damage(&format!("{DIRECTORY}/{:020}.log", 0), damage));
        let recovery = Recovery::Unclean { recovery_point: Offset(0) };
        let log = open(&disk, compacted(), recovery).await.expect("it opens");
        assert_eq!(log.log_end_offset(), Offset(1));
    });
}

#[test]
fn the_epochs_of_an_older_log_do_not_come_back_in_a_gap() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        for at in 0..60 {
            let batch = keyed(Compression::None, (-1, -1, -1), false, &[(0, true)], i64::from(at));
            lead(&mut log, batch, 1).expect("a healthy disk");
        }
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        let first = contents(&log)[0].header.base_offset;
        assert!(first > Offset(0));
        drop(log);
        // What a log was that began anew: the file of the new one never reached the device.
        let path = format!("{DIRECTORY}/leader-epoch-checkpoint");
        if disk.exists(&path) {
            disk.remove_file(&path).expect("it is there");
        }
        let file = disk.open(&path, runtime::disk::Open::CreateNew).expect("a healthy disk");
        file.append(b"0\n1\n0 0\n").expect("a healthy disk");
        let recovery = Recovery::Unclean { recovery_point: Offset(0) };
        let log = open(&disk, tiny(), recovery).await.expect("it opens");
        let epochs: Vec<_> = log.epochs().iter().map(|entry| (entry.leader_epoch, entry.start_offset)).collect();
        assert_eq!(epochs, [(LeaderEpoch(1), first)]);
    });
}

#[test]
fn the_last_batch_of_a_producer_stays_without_its_records() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        lead(&mut log, keyed(Compression::None, (7, 3, 0), false, &[(0, true), (1, true)], 1), 0).expect("healthy");
        lead(&mut log, keyed(Compression::None, (7, 3, 2), false, &[(0, true)], 2), 0).expect("healthy");
        put(&mut log, &[(0, true), (1, true)], 3);
        log.roll(NOW).expect("a healthy disk");
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        let all: Vec<_> = contents(&log).iter().map(|kept| (kept.header.base_offset.0, kept.records.len())).collect();
        assert_eq!(all, [(2, 0), (3, 2)]);
        reopen(&mut log, &disk, false, true).await;
        lead(&mut log, keyed(Compression::None, (7, 3, 3), false, &[(0, true)], 4), 0).expect("the next sequence");
    });
}

#[test]
fn a_log_that_is_only_compacted_loses_nothing_to_its_age() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { retention_ms: 1000, retention_bytes: 100, ..compacted() };
        let mut log = busy(&disk, config.clone()).await;
        let high_watermark = log.log_end_offset();
        assert_eq!(delete_old_segments(&mut log, NOW, high_watermark), 0);
        log.set_config(LogConfig { deletes: true, ..config });
        assert!(delete_old_segments(&mut log, NOW, high_watermark) > 0);
    });
}

#[test]
fn records_that_retention_took_meanwhile_end_the_cleaning() {
    simulated(1, |disk, _| async move {
        let config = LogConfig { retention_ms: 1000, deletes: true, ..compacted() };
        let mut log = busy(&disk, config).await;
        let cleaner = CleanerConfig::default();
        let mut cleaning = log.begin_cleaning(cleaner, log.log_end_offset(), WallMillis(100)).expect("compacted");
        cleaning.prepare().expect("it can be read");
        let segment = cleaning.clean_next().expect("it can be written").expect("it is dirty");
        segment.sync().await.expect("a healthy disk");
        let high_watermark = log.log_end_offset();
        assert!(delete_old_segments(&mut log, WallMillis(1030), high_watermark) > 0);
        let kept = contents(&log);
        assert!(matches!(log.swap_in(segment), Err(CleanError::Changed)));
        assert_eq!(contents(&log), kept);
    });
}

#[test]
fn the_marker_of_an_aborted_transaction_stays_as_long_as_a_batch_of_it() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        put(&mut log, &[(1, true)], 1);
        lead(&mut log, keyed(Compression::None, (10, 0, 0), true, &[(1, true)], 2), 0).expect("a healthy disk");
        follow(&mut log, marker((10, 0), false, 3));
        log.roll(NOW).expect("a healthy disk");
        // The first gives what may go a horizon, and the next one comes when that has passed.
        for (now, key) in [(100, 2), (1000, 3), (2000, 4)] {
            put(&mut log, &[(key, true)], now);
            clean_all(&mut log, &disk, CleanerConfig::default(), now).await.expect("it is dirty");
            let all: Vec<_> =
                contents(&log).iter().map(|kept| (kept.header.base_offset.0, kept.records.len())).collect();
            assert_eq!(all[..3], [(0, 1), (1, 0), (2, 1)], "at {now}");
            log.roll(NOW).expect("a healthy disk");
        }
        // Once its producer is at a later batch, first what is left of the transaction goes, and then its marker.
        lead(&mut log, keyed(Compression::None, (10, 0, 1), true, &[(5, true)], 3000), 0).expect("a healthy disk");
        follow(&mut log, marker((10, 0), true, 3000));
        let mut left = Vec::new();
        for (now, key) in [(4000, 6), (4100, 7), (5000, 8)] {
            log.roll(NOW).expect("a healthy disk");
            put(&mut log, &[(key, true)], now);
            clean_all(&mut log, &disk, CleanerConfig::default(), now).await.expect("it is dirty");
            let of = contents(&log).into_iter().filter(|kept| (1..=2).contains(&kept.header.base_offset.0));
            left.push(of.map(|kept| (kept.header.base_offset.0, kept.records.len())).collect::<Vec<_>>());
        }
        assert_eq!(left, [vec![(2, 1)], vec![(2, 1)], vec![]]);
        reopen(&mut log, &disk, false, true).await;
    });
}

#[test]
fn a_marker_is_no_record_of_the_key_that_it_seems_to_have() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        lead(&mut log, keyed(Compression::None, (10, 0, 0), true, &[(1, true)], 2), 0).expect("a healthy disk");
        follow(&mut log, marker((10, 0), true, 3));
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(WallMillis(4), Some(&[0, 0, 0, 1]), Some(b"a client's"), &[]);
        let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE).to_vec();
        lead(&mut log, batch, 0).expect("a healthy disk");
        log.roll(NOW).expect("a healthy disk");
        put(&mut log, &[(2, true)], 5);
        clean_all(&mut log, &disk, CleanerConfig::default(), 100).await.expect("it is dirty");
        let all: Vec<_> = contents(&log).iter().map(|kept| (kept.header.base_offset.0, kept.records.len())).collect();
        assert_eq!(all, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    });
}

#[test]
fn the_last_batch_below_the_bound_stays_without_its_records() {
    simulated(1, |disk, _| async move {
        let mut log = create(&disk, compacted()).await;
        put(&mut log, &[(1, true)], 1);
        lead(&mut log, keyed(Compression::None, (-1, -1, -1), false, &[(2, false)], 2), 0).expect("a healthy disk");
        log.roll(NOW).expect("a healthy disk");
        put(&mut log, &[(3, true)], 3);
        for now in [100, 1000] {
            log.set_first_dirty_offset(Offset(0));
            clean_all(&mut log, &disk, CleanerConfig::default(), now).await.expect("it is dirty");
        }
        let all: Vec<_> = contents(&log).iter().map(|kept| (kept.header.base_offset.0, kept.records.len())).collect();
        assert_eq!(all, [(0, 1), (1, 0), (2, 1)], "where the segment ends is known");
    });
}
