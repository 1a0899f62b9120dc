//! The power goes, at every sync in turn: what comes back is a sound beginning of the log with everything that was synced.

use crate::support::*;
use protocol::ids::{LeaderEpoch, Offset};
use runtime::{
    disk::Disk,
    simulation::{self, now_ns, sleep_until_ns},
};
use std::future::Future;
use storage::{Log, LogError, Recovery};

/// What the log was, since it was last wholly on the device.
struct History {
    states: Vec<Model>,
    /// What is certainly on the device: no state since has less than this in common with it.
    durable: Model,
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
        self.durable.truncate(offset);
        self.states.push(next);
    }

    fn flushed(&mut self, model: Model) {
        self.states.retain(|state| model.is_prefix_of(state));
        self.durable = model;
    }
}

/// Awaits the tasks of a script until the one at which the power goes.
struct Power {
    goes_at: u64,
    tasks: u64,
    gone: bool,
    /// How far into that task, in nanoseconds.
    within: u64,
}

impl Power {
    /// Whether the task came to its end; the power may go instead.
    async fn lasts(&mut self, task: impl Future<Output = Result<(), LogError>>) -> bool {
        self.tasks += 1;
        if self.tasks < self.goes_at {
            task.await.expect("a healthy disk");
            return true;
        }
        let until = now_ns() + self.within;
        let done = runtime::select! {
            done = task => { done.expect("a healthy disk"); true }
            () = sleep_until_ns(until) => false,
        };
        self.gone = true;
        done
    }
}

/// A busy follower and leader: appends, rolls, flushes, truncations. Ends early when the power goes.
async fn script(disk: &Disk, seed: u64, power: &mut Power) -> History {
    let mut log = create(disk, tiny()).await;
    let empty = Model::default();
    let mut history = History { states: vec![empty.clone()], durable: empty, stored_recovery_point: Offset(0) };
    let mut epoch = 0;
    let mut sequence = 0;
    for step in 0..60 {
        match simulation::draw("script", seed, 0) % 12 {
            0..=5 => {
                let batch = produced((7, 0, sequence), 3, step);
                let appended = lead(&mut log, batch.clone(), epoch).expect("a healthy disk");
                assert!(!appended.duplicate);
                history.appended(&batch, epoch);
                sequence += 3;
            }
            6..=7 => {
                let mut model = history.model().clone();
                let bytes: Vec<u8> = (0..3).flat_map(|_| model.append(&anonymous(2, step), epoch)).collect();
                for (_, batch) in &model.batches[model.batches.len() - 3..] {
                    history.appended(batch, epoch);
                }
                log.append_as_follower(&bytes).expect("a healthy disk");
            }
            8..=9 => {
                let task = log.flush();
                let model = history.model().clone();
                if power.lasts(task).await {
                    history.flushed(model);
                    assert_eq!(log.recovery_point(), log.log_end_offset());
                    if step % 2 == 0 {
                        history.stored_recovery_point = log.recovery_point();
                        log.recovery_point_stored(log.recovery_point());
                    }
                }
            }
            10 => {
                let end = log.log_end_offset().0;
                let back = simulation::draw("script", seed, 1) % 25;
                let to = Offset((end - back as i64).max(0));
                let task = log.truncate_to(to).expect("a healthy disk");
                history.truncated(to);
                sequence = log.producers().get(protocol::ids::ProducerId(7)).and_then(|entry| entry.last_batch().copied()).map_or(0, |last| last.last_sequence.0 + 1);
                epoch += 1;
                if !task.is_done() {
                    power.lasts(task).await;
                }
            }
            _ => {
                epoch += 1;
                let task = log.assign_epoch(LeaderEpoch(epoch), log.log_end_offset());
                power.lasts(task).await;
            }
        }
        if power.gone {
            return history;
        }
    }
    power.gone = false;
    history
}

fn check(log: &Log, history: &History) -> Model {
    let found = Model::of(log);
    assert!(
        history.states.iter().any(|state| found.is_prefix_of(state)),
        "offsets up to {} are a beginning of what was written",
        found.end()
    );
    assert!(history.durable.is_prefix_of(&found), "{} >= {}", found.end(), history.durable.end());
    assert_same(log, &found);
    found
}

/// One run of the script with one power loss. Answers whether the power went before the script ended.
async fn survive(disk: Disk, platter: simulation::disk::Disk, seed: u64, goes_at: u64) -> bool {
    let within = simulation::draw("within", seed, 0) % 8_000_000;
    let mut power = Power { goes_at, tasks: 0, gone: false, within };
    let history = script(&disk, seed, &mut power).await;
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
    for seed in 0..12 {
        let mut goes_at = 1;
        while simulated(seed * 1000 + goes_at, move |disk, platter| survive(disk, platter, seed, goes_at)) {
            goes_at += 1;
        }
        assert!(goes_at > 5, "the script syncs often: {goes_at}");
    }
}

#[test]
fn a_crash_of_the_process_loses_nothing() {
    for seed in 0..20 {
        simulated(seed, move |disk, _| async move {
            let mut power = Power { goes_at: 10, tasks: 0, gone: false, within: 1_000_000 };
            let history = script(&disk, seed, &mut power).await;
            let recovery = Recovery::Unclean { recovery_point: history.stored_recovery_point };
            let log = open(&disk, tiny(), recovery).await.expect("it opens");
            assert_same(&log, history.model());
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
