//! An operator who is never content: moves partitions, takes moves back, has leaders elected, changes settings, deletes
//! records, one thing after another with pauses between them, until the faults are over.

use super::ADMIN_TIMEOUT;
use crate::{
    event::WorldEvent,
    operations::Operation,
    scenario::{Topic, WorkloadKind},
};
use client::{PartitionName, admin::Admin, cluster::Cluster};
use protocol::ids::{BrokerId, Offset, PartitionIndex};
use runtime::{observe, rand, sync::Shutdown, time};
use std::time::Duration;

/// The pause between two operations, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 1_000..5_000;
/// How far the next deletion goes beyond the last one, at most.
const DELETED_AT_ONCE: u64 = 30;

pub(super) async fn run(cluster: Cluster, kind: WorkloadKind, topic: &Topic, brokers: i32, stopping: Shutdown) {
    let admin = Admin::new(cluster, ADMIN_TIMEOUT);
    let mut deleted = vec![0i64; topic.partitions as usize];
    loop {
        runtime::select! {
            () = stopping.requested() => return,
            () = time::sleep(Duration::from_millis(rand::range(PAUSE_MS))) => {}
        }
        let partition = PartitionIndex(rand::range(0..topic.partitions as u64) as i32);
        let name = PartitionName::new(&topic.name, partition);
        let operation = match kind {
            WorkloadKind::Reassign => move_or_elect(name, topic, brokers),
            WorkloadKind::Reconfigure => {
                let least = 1 + rand::range(0..topic.replicas as u64);
                Operation::Set(topic.name.clone(), vec![("min.insync.replicas".into(), least.to_string())])
            }
            _ => {
                let before = &mut deleted[partition.0 as usize];
                *before += rand::range(0..DELETED_AT_ONCE) as i64;
                Operation::Delete(name, (rand::range(0..8) > 0).then_some(Offset(*before)))
            }
        };
        observe::emit(|| WorldEvent::Operated { what: operation.to_string() });
        operation.carry_out(&admin).await;
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
