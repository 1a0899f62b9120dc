//! Reads all partitions of a topic from the beginning to where they end, and begins anew: whoever reads what is old.

use super::{failed, polled};
use crate::scenario::Workload;
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{Consumer, ConsumerOptions},
};
use protocol::ids::PartitionIndex;
use runtime::{sync::Shutdown, time};
use std::time::Duration;

/// How long to wait for records, or for where they end, and between two passes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Each pass is another reader: the ids of clients are far below.
const PASS: u32 = 1_000;

pub(super) async fn run(cluster: Cluster, workload: &Workload, partitions: i32, reader: u32, stopping: Shutdown) {
    let all = (0..partitions).map(|partition| PartitionName::new(&workload.topic, PartitionIndex(partition)));
    let all: Vec<PartitionName> = all.collect();
    for pass in 0.. {
        let consumer = Consumer::new(cluster.clone(), ConsumerOptions::default());
        consumer.assign(all.iter().cloned());
        for partition in &all {
            consumer.seek_to_beginning(partition);
        }
        let mut left = consumer.end_offsets(&all, PATIENCE).await.unwrap_or_default();
        while !left.is_empty() && !stopping.is_requested() {
            match consumer.poll(PATIENCE).await {
                Ok(records) => records.iter().for_each(|record| polled(record, reader + pass * PASS)),
                Err(error) => failed(&error).await,
            }
            left.retain(|partition, end| consumer.position(partition).is_none_or(|at| at.offset < *end));
        }
        if stopping.is_requested() {
            return;
        }
        time::sleep(PATIENCE).await;
    }
}
