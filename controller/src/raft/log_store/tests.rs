//! The log store on simulated disks: what it said was durable is there after any crash, and nothing else is made up.

use super::*;
use crate::raft::types::{Batch, Encoded, log_id};
use bytes::Bytes;
use openraft::{EntryPayload, type_config::TypeConfigExt};
use protocol::ids::{BrokerId, MetadataOffset};
use runtime::{
    simulation::{
        self, Crash,
        disk::{self, Damage, Faults},
    },
    time,
};
use std::{collections::BTreeMap, time::Duration};

const PATH: &str = "__cluster_metadata-0";
/// Small enough for several segments in each test.
const SEGMENT_BYTES: u64 = 700;

fn owner() -> Identity {
    Identity { cluster_id: "c".into(), node_id: BrokerId(1) }
}

fn entry(term: u64, index: u64) -> Entry {
    let records = vec![Encoded(Bytes::from(vec![index as u8; 20 + (index % 5) as usize * 30]))];
    let batch = Batch { term, first: MetadataOffset(index as i64), records };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(batch) }
}

async fn open(disk: &disk::Disk) -> Result<LogStore, OpenError> {
    LogStore::open(&Disk::simulated(disk.clone()), PATH, &owner(), SEGMENT_BYTES).await
}

/// Appends, and waits for the callback.
async fn append(log: &mut LogStore, entries: Vec<Entry>) -> io::Result<()> {
    let (sender, receiver) = Types::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    receiver.await.map_err(io::Error::other)?
}

/// What a log says, for comparison.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, String>,
    last: Option<LogId>,
}

impl Said {
    async fn by(log: &mut LogStore) -> Self {
        let entries = log.try_get_log_entries(..).await.unwrap();
        let entries = entries.iter().map(|entry| (entry.log_id.index, format!("{entry:?}"))).collect();
        let LogState { last_purged_log_id, last_log_id } = log.get_log_state().await.unwrap();
        Self { vote: log.read_vote().await.unwrap(), purged: last_purged_log_id, entries, last: last_log_id }
    }

    fn push(&mut self, entry: &Entry) {
        self.entries.insert(entry.log_id.index, format!("{entry:?}"));
        self.last = Some(entry.log_id);
    }

    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }
}

/// One thing that openraft asks of a log.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Entry>),
    Vote(Vote),
    Truncate(Option<LogId>),
    Purge(LogId),
    Committed(Option<LogId>),
}

/// Steps as a node lives through them: terms rise, uncommitted tails are truncated, what is committed may be purged.
fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut draws = 0;
    let mut draw = |below: u64| {
        draws += 1;
        simulation::prf(seed, &[draws]) % below
    };
    let (mut term, mut log, mut committed, mut purged) = (1, Vec::<LogId>::new(), 0, 0);
    let mut steps = Vec::new();
    for _ in 0..count {
        let next = log.len() as u64;
        steps.push(match draw(10) {
            0 | 1 => {
                term += 1;
                Step::Vote(Vote::new(term, BrokerId(1)))
            }
            2 if committed < next => {
                let keep = committed + draw(next - committed);
                log.truncate(keep as usize);
                Step::Truncate(log.last().copied())
            }
            3 if committed > purged + 1 => {
                purged += 1 + draw(committed - purged - 1);
                Step::Purge(log[purged as usize - 1])
            }
            4 | 5 if committed < next => {
                committed += 1 + draw(next - committed);
                Step::Committed(Some(log[committed as usize - 1]))
            }
            _ => {
                let entries: Vec<Entry> = (next..=next + draw(4)).map(|index| entry(term, index)).collect();
                log.extend(entries.iter().map(|entry| entry.log_id));
                Step::Append(entries)
            }
        });
    }
    steps
}

/// What a log may say after some steps: after each frame of the last one, too.
fn outcomes(said: &Said, step: &Step) -> Vec<Said> {
    let mut said = said.clone();
    match step {
        Step::Append(entries) => {
            let after = |entry: &Entry| {
                said.push(entry);
                said.clone()
            };
            return entries.iter().map(after).collect();
        }
        Step::Vote(vote) => said.vote = Some(*vote),
        Step::Truncate(after) => {
            said.entries.retain(|index, _| after.is_some_and(|after| *index <= after.index));
            said.last = *after;
        }
        Step::Purge(upto) => {
            said.entries.retain(|index, _| *index > upto.index);
            said.purged = Some(*upto);
        }
        Step::Committed(_) => {}
    }
    vec![said]
}

async fn take(log: &mut LogStore, step: Step) -> io::Result<()> {
    match step {
        Step::Append(entries) => append(log, entries).await,
        Step::Vote(vote) => log.save_vote(&vote).await,
        Step::Truncate(after) => log.truncate_after(after).await,
        Step::Purge(upto) => log.purge(upto).await,
        Step::Committed(committed) => log.save_committed(committed).await,
    }
}

/// Runs all steps, breaks the power while step `victim` is on its way, and checks what is left.
async fn crash_during(seed: u64, victim: usize) {
    let steps = steps(seed, 60);
    let disk = disk::Disk::new(seed);
    let node = simulation::add_node("controller", [10, 0, 0, 1].into());
    let progress = Arc::new(Lock::new(1, (0, false)));
    let (program_disk, program_steps, told) = (disk.clone(), steps.clone(), progress.clone());
    simulation::start(node, async move {
        let mut log = open(&program_disk).await.unwrap();
        for (at, step) in program_steps.into_iter().enumerate() {
            *told.lock() = (at, false);
            if at == victim {
                *told.lock() = (at, true);
            }
            take(&mut log, step).await.unwrap();
        }
    });
    while simulation::is_running(node) && !progress.lock().1 {
        time::sleep(Duration::from_micros(20)).await;
    }
    time::sleep(Duration::from_micros(simulation::prf(seed, &[u64::MAX]) % 4_000)).await;
    simulation::crash(node, Crash::Power);
    disk.power_loss();
    let (begun, _) = *progress.lock();

    let mut said = Said::default();
    for step in &steps[..begun] {
        said = outcomes(&said, step).pop().unwrap_or(said);
    }
    let mut possible = outcomes(&said, &steps[begun]);
    possible.insert(0, said);
    let mut log = open(&disk).await.unwrap();
    let left = Said::by(&mut log).await;
    assert!(possible.contains(&left), "after step {begun} ({:?}) the log says {left:?}", steps[begun]);

    // It goes on from there, and a second reading says the same.
    let next = left.next();
    append(&mut log, vec![entry(1_000, next), entry(1_000, next + 1)]).await.unwrap();
    let before = Said::by(&mut log).await;
    drop(log);
    disk.power_loss();
    assert_eq!(Said::by(&mut open(&disk).await.unwrap()).await, before);
}

fn run<F: Future<Output = ()> + 'static>(seed: u64, scenario: impl FnOnce() -> F + Send + 'static) {
    if let Err(failure) = simulation::run(seed, simulation::Options::default(), scenario).result {
        panic!("seed {seed}: {failure}");
    }
}

#[test]
fn what_was_durable_survives_a_power_loss_at_any_step() {
    for victim in 0..60 {
        for seed in [1, 2] {
            run(seed * 1_000 + victim as u64, move || crash_during(seed * 1_000 + victim as u64, victim));
        }
    }
}

#[test]
fn a_process_that_dies_loses_nothing_it_wrote() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        let mut log = open(&disk).await.unwrap();
        log.append((0..5).map(|index| entry(1, index)), IOFlushed::noop()).await.unwrap();
        log.save_committed(Some(log_id(1, 3))).await.unwrap();
        drop(log);
        let mut log = open(&disk).await.unwrap();
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 3)));
        assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 4)));
        // And what was read is on the device by now.
        drop(log);
        disk.power_loss();
        assert_eq!(open(&disk).await.unwrap().get_log_state().await.unwrap().last_log_id, Some(log_id(1, 4)));
    });
}

#[test]
fn appends_share_a_sync_and_are_readable_before_it() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        disk.set_faults(Faults { slow_sync: 0, ..Faults::default() });
        let mut log = LogStore::open(&Disk::simulated(disk), PATH, &owner(), 1 << 20).await.unwrap();
        let begun = time::now();
        let mut flushed = Vec::new();
        for index in 0..100 {
            let (sender, receiver) = Types::oneshot();
            log.append([entry(1, index)], IOFlushed::signal(sender)).await.unwrap();
            flushed.push(receiver);
        }
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 100);
        assert_eq!(time::now(), begun, "an append does not wait for the device");
        for receiver in flushed {
            receiver.await.unwrap().unwrap();
        }
        let taken = time::now() - begun;
        assert!(taken < Duration::from_millis(10), "two syncs of at most 3 ms each, not a hundred: {taken:?}");
    });
}

#[test]
fn a_failed_sync_ends_the_log() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        let mut log = open(&disk).await.unwrap();
        append(&mut log, vec![entry(1, 0)]).await.unwrap();
        disk.set_faults(Faults { sync_error: 1000, ..Faults::default() });
        assert!(append(&mut log, vec![entry(1, 1)]).await.is_err());
        disk.set_faults(Faults::default());
        assert!(append(&mut log, vec![entry(1, 2)]).await.is_err());
        assert!(log.save_vote(&Vote::new(2, BrokerId(1))).await.is_err());
        drop(log);
        disk.power_loss();
        let last = open(&disk).await.unwrap().get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, Some(log_id(1, 0)));
    });
}

#[test]
fn damage_to_what_was_durable_is_found_and_not_repaired() {
    run(1, || async {
        for (key, file, position) in [(1, 0, 100), (2, 1, 300), (3, -1, 40)] {
            let disk = disk::Disk::new(key);
            let mut log = open(&disk).await.unwrap();
            // The last segment holds more than its opening.
            for index in 0..23 {
                append(&mut log, vec![entry(1, index)]).await.unwrap();
            }
            drop(log);
            let segments: Vec<String> = disk.files().into_iter().filter(|name| name.ends_with(".raft")).collect();
            let file = if file < 0 { &segments[segments.len() - 1] } else { &segments[file as usize] };
            assert!(disk.damage(file, Damage::FlipBit { position, bit: 3 }));
            assert!(matches!(open(&disk).await, Err(OpenError::Damaged { .. })), "{file} at {position}");
        }
    });
}

#[test]
fn a_missing_segment_is_found() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        let mut log = open(&disk).await.unwrap();
        for index in 0..20 {
            append(&mut log, vec![entry(1, index)]).await.unwrap();
        }
        drop(log);
        let segments: Vec<String> = disk.files().into_iter().filter(|name| name.ends_with(".raft")).collect();
        assert!(segments.len() > 3);
        assert!(disk.damage(&segments[0], Damage::Remove));
        assert!(matches!(open(&disk).await, Err(OpenError::Inconsistent { .. })));
    });
}

#[test]
fn a_purge_removes_files() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        let mut log = open(&disk).await.unwrap();
        for index in 0..40 {
            append(&mut log, vec![entry(1, index)]).await.unwrap();
        }
        let before = disk.files().len();
        log.purge(log_id(1, 35)).await.unwrap();
        assert!(disk.files().len() < before / 2, "{before} files became {}", disk.files().len());
        drop(log);
        let mut log = open(&disk).await.unwrap();
        let entries = log.try_get_log_entries(..).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [36, 37, 38, 39]);
    });
}

#[test]
fn another_nodes_directory_is_refused() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        drop(open(&disk).await.unwrap());
        let other = Identity { cluster_id: "other".into(), ..owner() };
        let opened = LogStore::open(&Disk::simulated(disk), PATH, &other, SEGMENT_BYTES).await;
        assert!(matches!(opened, Err(OpenError::Inconsistent { .. })));
    });
}

#[test]
fn a_message_to_a_follower_has_a_bounded_size() {
    run(1, || async {
        let disk = disk::Disk::new(1);
        let mut log = LogStore::open(&Disk::simulated(disk), PATH, &owner(), 1 << 30).await.unwrap();
        let big = |index| {
            let records = vec![Encoded(Bytes::from(vec![0; 700_000]))];
            Entry {
                log_id: log_id(1, index),
                payload: EntryPayload::Normal(Batch { term: 1, first: MetadataOffset(0), records }),
            }
        };
        append(&mut log, (0..4).map(big).collect()).await.unwrap();
        assert_eq!(log.limited_get_log_entries(0, 4).await.unwrap().len(), 1);
        assert_eq!(log.try_get_log_entries(0..4).await.unwrap().len(), 4);
    });
}
