//! The power goes, at every sync in turn: what comes back is a sound beginning of the log with everything that was synced.

use crate::support::*;
use protocol::ids::{LeaderEpoch, Offset, ProducerId, WallMillis};
use runtime::{
    disk::Disk,
    simulation::{self, disk::Faults, now_ns, sleep_until_ns},
};
use std::future::Future;
use storage::{AppendError, Log, LogConfig, LogError, Recovery};

/// What the log was, since it was last wholly on the device.
struct History {
    states: Vec<Model>,
    /// What is certainly on the device: no state since has less than this in common with it. Nothing while the log begins
    /// anew.
    durable: Option<Model>,
    /// What the broker's checkpoint file says.
    stored_recovery_point: Offset,
}

impl History {
    fn model(&self) -> &Model {
        self.states.last().expect("there is always a state")
    }

    fn appended(&mut self, batch: &[u8], leader_epoch: i32) {
        let mut next = self.model().clone();
        next.append(batch, leader_epoch);
        self.states.push(next);
    }

    fn truncated(&mut self, offset: Offset) {
        let mut next = self.model().clone();
        next.truncate(offset);
        if let Some(durable) = &mut self.durable {
            durable.truncate(offset);
        }
        self.states.push(next);
    }

    fn flushed(&mut self, model: Model) {
        self.states.retain(|state| model.is_prefix_of(state));
        self.durable = Some(model);
    }

    fn restarts(&mut self, at: Offset) {
        self.states.push(Model { batches: Vec::new(), begins_at: at });
        self.durable = None;
    }

    fn restarted(&mut self) {
        self.flushed(self.model().clone());
    }
}

/// Awaits the tasks of a script until the one at which the power goes, or the disk fails.
struct Power {
    goes_at: u64,
    tasks: u64,
    gone: bool,
    /// How far into that task, in nanoseconds.
    within: u64,
}

impl Power {
    /// Whether the task came to its end; the power may go instead, or the disk may fail.
    async fn lasts(&mut self, task: impl Future<Output = Result<(), LogError>>) -> bool {
        self.tasks += 1;
        if self.tasks < self.goes_at {
            let done = task.await.is_ok();
            self.gone |= !done;
            return done;
        }
        let until = now_ns() + self.within;
        self.gone = true;
        runtime::select! {
            done = task => done.is_ok(),
            () = sleep_until_ns(until) => false,
        }
    }
}

/// A busy follower and leader: appends, rolls, flushes, truncations. Ends early when the power goes or the disk fails.
async fn script(disk: &Disk, platter: &simulation::disk::Disk, seed: u64, power: &mut Power) -> History {
    let mut log = create(disk, tiny()).await;
    if seed % 4 == 1 {
        platter.set_faults(Faults {
            sync_error: 50,
            short_write: 10,
            append_error: 10,
            slow_sync: 100,
            ..Faults::default()
        });
    }
    let empty = Model::default();
    let mut history = History { states: vec![empty.clone()], durable: Some(empty), stored_recovery_point: Offset(0) };
    let mut epoch = 0;
    for step in 0..60 {
        let done = take_step(&mut log, &mut history, &mut epoch, step, seed, power).await;
        if power.gone || done.is_err() {
            power.gone = true;
            break;
        }
    }
    platter.set_faults(Faults::default());
    history
}

async fn take_step(
    log: &mut Log,
    history: &mut History,
    epoch: &mut i32,
    step: i64,
    seed: u64,
    power: &mut Power,
) -> Result<(), AppendError> {
    match simulation::draw("script", seed, 0) % 26 {
        0..=11 => {
            let last = log.producers().get(ProducerId(7)).and_then(|entry| entry.last_batch().copied());
            let batch = produced((7, 0, last.map_or(0, |last| last.last_sequence.0 + 1)), 3, step);
            assert!(!lead(log, batch.clone(), *epoch)?.duplicate);
            history.appended(&batch, *epoch);
        }
        12..=15 => {
            let mut model = history.model().clone();
            let bytes: Vec<u8> = (0..3).flat_map(|_| model.append(&anonymous(2, step), *epoch)).collect();
            for (_, batch) in &model.batches[model.batches.len() - 3..] {
                history.appended(batch, *epoch);
            }
            log.append_as_follower(&bytes)?;
        }
        16..=19 => {
            let (task, model) = (log.flush(), history.model().clone());
            if power.lasts(task).await {
                history.flushed(model);
                assert_eq!(log.recovery_point(), log.log_end_offset());
                if step % 2 == 0 {
                    history.stored_recovery_point = log.recovery_point();
                    log.recovery_point_stored(log.recovery_point());
                }
            }
        }
        20..=21 => {
            let back = simulation::draw("script", seed, 1) % 25;
            let to = Offset((log.log_end_offset().0 - back as i64).max(log.log_start_offset().0));
            let task = log.truncate_to(to)?;
            history.truncated(to);
            *epoch += 1;
            if !task.is_done() {
                power.lasts(task).await;
            }
        }
        22..=24 => {
            *epoch += 1;
            let task = log.assign_epoch(LeaderEpoch(*epoch), log.log_end_offset());
            power.lasts(task).await;
        }
        _ => {
            let at = log.log_end_offset().plus(100);
            let task = log.truncate_fully_and_start_at(at)?;
            history.restarts(at);
            if power.lasts(task).await {
                history.restarted();
            }
        }
    }
    Ok(())
}

fn check(log: &Log, history: &History) -> Model {
    let found = Model::of(log);
    // A log that was about to begin anew may be found empty, before it got its new beginning.
    let emptied = history.durable.is_none() && found.batches.is_empty();
    assert!(
        emptied || history.states.iter().any(|state| found.is_prefix_of(state)),
        "offsets up to {} are a beginning of what was written",
        found.end()
    );
    if let Some(durable) = &history.durable {
        assert!(durable.is_prefix_of(&found), "{} >= {}", found.end(), durable.end());
    }
    assert_same(log, &found);
    found
}

/// One run of the script with one power loss. Answers whether the power went before the script ended.
async fn survive(disk: Disk, platter: simulation::disk::Disk, seed: u64, goes_at: u64) -> bool {
    let within = simulation::draw("within", seed, 0) % 8_000_000;
    let mut power = Power { goes_at, tasks: 0, gone: false, within };
    let history = script(&disk, &platter, seed, &mut power).await;
    platter.power_loss();
    let recovery = Recovery::Unclean { recovery_point: history.stored_recovery_point };

    // The power goes again somewhere in the recovery, perhaps.
    if seed.is_multiple_of(3) {
        let until = now_ns() + simulation::draw("within", seed, 1) % 4_000_000;
        runtime::select! {
            log = open(&disk, tiny(), recovery) => drop(log.expect("it opens")),
            () = sleep_until_ns(until) => {}
        }
        platter.power_loss();
    }
    let log = open(&disk, tiny(), recovery).await.expect("it opens");
    let found = check(&log, &history);
    drop(log);

    // A second recovery changes nothing, and nor does another power loss after it.
    let log = open(&disk, tiny(), recovery).await.expect("it opens");
    assert_eq!(check(&log, &history), found);
    drop(log);
    platter.power_loss();
    let mut log = open(&disk, tiny(), recovery).await.expect("it opens");
    assert_eq!(check(&log, &history), found);

    // It goes on, stops cleanly, and is the same.
    let mut model = found;
    let batch = anonymous(4, 0);
    let epoch = log.latest_epoch().map_or(0, |epoch| epoch.0);
    model.append(&batch, epoch);
    lead(&mut log, batch, epoch).expect("a healthy disk");
    log.close().expect("a healthy disk").await.expect("a healthy disk");
    platter.power_loss();
    let log = open(&disk, tiny(), Recovery::Clean).await.expect("it opens");
    assert_same(&log, &model);
    power.gone
}

#[test]
fn what_was_synced_survives_a_power_loss_at_every_sync() {
    for seed in 0..48 {
        let mut goes_at = 1;
        while simulated(seed * 1000 + goes_at, move |disk, platter| survive(disk, platter, seed, goes_at)) {
            goes_at += 1;
        }
        assert!(goes_at > 5, "the script syncs often: {goes_at}");
    }
}

#[test]
fn a_crash_of_the_process_loses_nothing() {
    for seed in 0..48 {
        simulated(seed, move |disk, platter| async move {
            let mut power = Power { goes_at: 10, tasks: 0, gone: false, within: 1_000_000 };
            let history = script(&disk, &platter, seed, &mut power).await;
            let recovery = Recovery::Unclean { recovery_point: history.stored_recovery_point };
            let log = open(&disk, tiny(), recovery).await.expect("it opens");
            // A truncation that was under way may have left what it was to remove, and nothing else may differ.
            let found = check(&log, &history);
            let failed = seed % 4 == 1;
            assert!(failed || history.model().is_prefix_of(&found));
        });
    }
}

#[test]
fn a_partition_is_whole_or_not_there_when_the_power_goes_at_its_creation() {
    let mut created = [0; 2];
    for seed in 0..60 {
        let there = simulated(seed, move |disk, platter| async move {
            let until = now_ns() + simulation::draw("within", seed, 0) % 12_000_000;
            let done = runtime::select! {
                log = Log::create(&disk, DIRECTORY, topic_id(), protocol::ids::PartitionIndex(3), tiny(), NOW) => {
                    log.expect("a healthy disk");
                    true
                }
                () = sleep_until_ns(until) => false,
            };
            platter.power_loss();
            match open(&disk, tiny(), Recovery::Unclean { recovery_point: Offset(0) }).await {
                Ok(log) => {
                    assert_eq!((log.topic_id(), log.log_end_offset()), (topic_id(), Offset(0)));
                    true
                }
                Err(error) => {
                    assert!(!done, "{error}");
                    create(&disk, tiny()).await;
                    false
                }
            }
        });
        created[usize::from(there)] += 1;
    }
    assert!(created.iter().all(|count| *count > 5), "{created:?}");
}

#[test]
fn segments_that_retention_removed_come_back_in_order_or_not_at_all() {
    for seed in 0..60 {
        simulated(seed, |disk, platter| async move {
            let config = LogConfig { retention_ms: 1000, ..tiny() };
            let (mut log, mut model) = (create(&disk, config.clone()).await, Model::default());
            for at in 0..60 {
                let batch = anonymous(3, at);
                model.append(&batch, 0);
                lead(&mut log, batch, 0).expect("a healthy disk");
            }
            log.flush().await.expect("a healthy disk");
            let recovery_point = log.recovery_point();
            let high_watermark = log.log_end_offset();
            delete_old_segments(&mut log, WallMillis(1030), high_watermark);
            let start = log.log_start_offset();
            assert!(start > Offset(50));
            platter.power_loss();
            let log =
                Log::open(&disk, DIRECTORY, config, Recovery::Unclean { recovery_point }, NOW).await.expect("it opens");
            assert!(log.log_start_offset() <= start);
            let found = Model::of(&log);
            assert!(model.batches.ends_with(&found.batches));
            assert_eq!(found.end(), model.end());
        });
    }
}
