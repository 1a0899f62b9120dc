//! Deletes a topic and creates it again, over and over, and writes to it while it is there.
//!
//! Each life of the topic is another topic, so nothing is claimed of its records: they have no tags, and are there to be
//! mistaken for those of another life.

use super::{ADMIN_TIMEOUT, create};
use crate::scenario::{Topic, Workload};
use client::{
    admin::Admin,
    cluster::Cluster,
    producer::{Producer, ProducerOptions, ProducerRecord},
};
use protocol::ids::PartitionIndex;
use runtime::{sync::Shutdown, time};
use std::time::Duration;

/// How long a life of the topic is written to.
const LIFE: Duration = Duration::from_secs(3);
/// What is not written by then is given up, with the topic.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn run(cluster: Cluster, workload: &Workload, topic: &Topic, stopping: Shutdown) {
    let admin = Admin::new(cluster.clone(), ADMIN_TIMEOUT);
    let pause = Duration::from_nanos(1_000_000_000 / u64::from(workload.rate_per_s.max(1)));
    let names = [topic.name.clone()];
    while !stopping.is_requested() {
        // Whether it was deleted, or an answer was lost, the next creation shows.
        let _ = admin.delete_topics(&names).await;
        create(&admin, topic).await;
        // A producer of its own for each life: one that knows the old life's ids would wait for it.
        let options = ProducerOptions {
            delivery_timeout: WRITTEN_WITHIN,
            request_timeout: WRITTEN_WITHIN,
            ..ProducerOptions::default()
        };
        let producer = Producer::new(cluster.clone(), options);
        let until = time::now() + LIFE;
        let mut partitions = (0..topic.partitions).cycle().map(PartitionIndex);
        while time::now() < until && !stopping.is_requested() {
            let record = ProducerRecord::value(b"of one life only".to_vec());
            // Nobody asks what became of it.
            drop(producer.enqueue(&topic.name, partitions.next(), record).await);
            runtime::select! {
                () = stopping.requested() => break,
                () = time::sleep(pause) => {}
            }
        }
    }
}
