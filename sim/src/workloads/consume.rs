//! Reads all partitions of a topic from the beginning, and goes on reading.

use super::{failed, polled};
use crate::scenario::Workload;
use client::{
    PartitionName,
    cluster::Cluster,
    consumer::{Consumer, ConsumerOptions},
};
use protocol::ids::PartitionIndex;
use runtime::sync::Shutdown;
use std::time::Duration;

pub(super) async fn run(cluster: Cluster, workload: &Workload, partitions: i32, reader: u32, stopping: Shutdown) {
    let consumer = Consumer::new(cluster, ConsumerOptions::default());
    let all = (0..partitions).map(|partition| PartitionName::new(&workload.topic, PartitionIndex(partition)));
    let all: Vec<PartitionName> = all.collect();
    consumer.assign(all.iter().cloned());
    for partition in &all {
        consumer.seek_to_beginning(partition);
    }
    while !stopping.is_requested() {
        match consumer.poll(Duration::from_millis(500)).await {
            Ok(records) => records.iter().for_each(|record| polled(record, reader)),
            // A truncation is what the checkers look for in what was read.
            Err(error) => failed(&error).await,
        }
    }
}
