//! An operator who is never content: moves partitions, takes moves back, has leaders elected, changes settings, adds partitions,
//! deletes records, one thing after another with pauses between them, until the faults are over.

use crate::{
    event::WorldEvent,
    operations::Operation,
    scenario::{Topic, WorkloadKind},
};
use client::{PartitionName, cluster::Cluster};
use protocol::ids::{BrokerId, Offset, PartitionIndex};
use runtime::{observe, rand, sync::Shutdown, time};
use std::time::Duration;

/// The pause between two operations, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 1_000..5_000;
/// So many partitions are added at most.
const ADDED_MAX: i32 = 4;
/// How far the next deletion goes beyond the last one, at most.
const DELETED_AT_ONCE: u64 = 30;

pub(super) async fn run(cluster: Cluster, kind: WorkloadKind, topic: &Topic, brokers: i32, stopping: Shutdown) {
    let mut deleted = vec![0i64; topic.partitions as usize];
    let mut partitions = topic.partitions;
    loop {
        runtime::select! {
            () = stopping.requested() => break,
            () = time::sleep(Duration::from_millis(rand::range(PAUSE_MS))) => {}
        }
        let partition = PartitionIndex(rand::range(0..topic.partitions as u64) as i32);
        let name = PartitionName::new(&topic.name, partition);
        let operation = match kind {
            WorkloadKind::Reassign => move_or_elect(name, topic, brokers),
            WorkloadKind::Throttle => {
                let bytes_per_s = (rand::range(0..2) == 0).then(|| 1 << rand::range(8..16));
                Operation::Throttle(topic.name.clone(), bytes_per_s)
            }
            WorkloadKind::Reconfigure => {
                let least = 1 + rand::range(0..topic.replicas as u64);
                Operation::Set(topic.name.clone(), vec![("min.insync.replicas".into(), least.to_string())])
            }
            WorkloadKind::Grow if partitions >= topic.partitions + ADDED_MAX => return,
            WorkloadKind::Grow => {
                partitions += 1;
                Operation::Grow(topic.name.clone(), partitions)
            }
            _ => {
                let before = &mut deleted[partition.0 as usize];
                *before += rand::range(0..DELETED_AT_ONCE) as i64;
                Operation::Delete(name, (rand::range(0..8) > 0).then_some(Offset(*before)))
            }
        };
        observe::emit(|| WorldEvent::Operated { what: operation.to_string() });
        operation.carry_out(&cluster).await;
    }
    // Nothing is to be in the way of those who catch up now.
    while kind == WorkloadKind::Throttle && !Operation::Throttle(topic.name.clone(), None).carry_out(&cluster).await {
        time::sleep(Duration::from_millis(200)).await;
    }
}

/// Mostly a move to as many brokers as the topic was made for, chosen anew; a move is taken back, or the preferred leader
/// elected, now and then.
fn move_or_elect(name: PartitionName, topic: &Topic, brokers: i32) -> Operation {
    match rand::range(0..10) {
        0 | 1 => return Operation::Cancel(name),
        2 => return Operation::Elect(name),
        _ => {}
    }
    let mut left: Vec<BrokerId> = (1..=brokers).map(BrokerId).collect();
    let most = left.len();
    let wanted = match rand::range(0..6) {
        0 => (topic.replicas as usize + 1).min(most),
        1 => (topic.replicas as usize - 1).max(2),
        _ => topic.replicas as usize,
    };
    let chosen = (0..wanted.min(most)).map(|_| left.swap_remove(rand::range(0..left.len() as u64) as usize));
    Operation::Reassign(name, chosen.collect())
}
