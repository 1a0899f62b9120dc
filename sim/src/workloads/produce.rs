//! Writes tagged records to the partitions of a topic in turn, at a rate, and tells what became of each.

use super::{TAG_HEADER, named};
use crate::{
    event::{ClientEvent, Keyed, Tag},
    scenario::{Acks, Workload},
};
use client::{
    PartitionName,
    cluster::Cluster,
    producer::{self, ProduceErrorKind, Producer, ProducerOptions, ProducerRecord},
};
use protocol::{ids::PartitionIndex, record_batch::Header};
use runtime::{observe, sync::Shutdown, task, time};
use std::time::Duration;

/// A record whose fate is not known by then is unknown.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) async fn run(cluster: Cluster, workload: &Workload, partitions: i32, writer: u32, stopping: Shutdown) {
    let safe = workload.acks == Acks::All && workload.idempotent;
    let delivery_timeout = workload.gives_up.map_or(DELIVERY_TIMEOUT, |span| span.0);
    let options = ProducerOptions {
        acks: match workload.acks {
            Acks::All => producer::Acks::All,
            Acks::One => producer::Acks::Leader,
            Acks::Zero => producer::Acks::None,
        },
        idempotent: workload.idempotent,
        delivery_timeout,
        request_timeout: REQUEST_TIMEOUT.min(delivery_timeout),
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster.clone(), options);
    let pause = Duration::from_nanos(1_000_000_000 / u64::from(workload.rate_per_s.max(1)));
    for operation in 0..workload.records.unwrap_or(u64::MAX) {
        if stopping.is_requested() {
            break;
        }
        // Whoever hears of partitions that an operator has added writes to them too.
        let known = cluster.known_topic(&workload.topic).map_or(0, |topic| topic.partitions.len() as i32);
        let partitions = partitions.max(known);
        let partition = PartitionIndex((operation % partitions as u64) as i32);
        let to = PartitionName::new(&workload.topic, partition);
        let tag = Tag { writer, operation };
        let keyed = workload.keys.map(|keys| Keyed::of(tag, keys));
        observe::emit(|| ClientEvent::SendInvoked { to: named(&to), tag, safe, keyed });
        let record = record(tag, keyed);
        match producer.enqueue(&workload.topic, Some(partition), record).await {
            Ok(delivery) if workload.waits => settle(to, tag, safe, delivery).await,
            Ok(delivery) => drop(task::spawn(settle(to, tag, safe, delivery))),
            Err(error) => ended(&to, tag, &error),
        }
        runtime::select! {
            () = stopping.requested() => break,
            () = time::sleep(pause) => {}
        }
    }
    producer.flush().await;
}

/// The record of a tag. One that deletes its key has no value to say whose it is.
fn record(tag: Tag, keyed: Option<Keyed>) -> ProducerRecord {
    let value = tag.to_value().to_vec();
    match keyed {
        None => ProducerRecord::value(value),
        Some(Keyed { key, deletes: false }) => ProducerRecord::value(value).with_key(key.to_be_bytes().to_vec()),
        Some(Keyed { key, deletes: true }) => {
            let tag = Header { key: TAG_HEADER.into(), value: Some(value.into()) };
            ProducerRecord { headers: vec![tag], ..ProducerRecord::default() }.with_key(key.to_be_bytes().to_vec())
        }
    }
}

async fn settle(to: PartitionName, tag: Tag, safe: bool, delivery: producer::Delivery) {
    match delivery.await {
        Ok(metadata) => {
            let offset = metadata.offset;
            observe::emit(|| ClientEvent::SendAcknowledged { to: named(&to), tag, offset, safe });
        }
        Err(error) => ended(&to, tag, &error),
    }
}

fn ended(to: &PartitionName, tag: Tag, error: &producer::ProduceError) {
    observe::emit(|| match error.kind {
        ProduceErrorKind::Refused => ClientEvent::SendRefused { to: named(to), tag, error: error.to_string() },
        ProduceErrorKind::Unknown => ClientEvent::SendUnknown { to: named(to), tag },
    });
}
