//! The end of every story: nothing grows old any more, each partition takes one more record with acks=all, and is then read
//! from the beginning to it.

use super::{ADMIN_TIMEOUT, failed, named, polled};
use crate::event::{ClientEvent, Tag};
use client::{
    PartitionName,
    admin::{Admin, ConfigChange, ConfigResource},
    cluster::Cluster,
    consumer::{Consumer, ConsumerOptions},
    producer::{Producer, ProducerOptions, ProducerRecord},
};
use protocol::ids::Offset;
use runtime::{observe, time};
use std::{collections::BTreeMap, time::Duration};

/// How long brokers may take to hear that nothing grows old any more.
const SETTINGS_ARRIVE_WITHIN: Duration = Duration::from_secs(1);

/// `topics` are those that keep their records for a while only.
pub(super) async fn run(cluster: Cluster, topics: Vec<String>, partitions: Vec<PartitionName>) -> Result<(), String> {
    // A broker that loses its controller in the middle says that it does not know: then it is asked again.
    let deadline = time::now() + ADMIN_TIMEOUT;
    while !topics.is_empty() {
        match keep_everything(&cluster, topics.clone()).await {
            Ok(()) => break,
            Err(error) if time::now() >= deadline => return Err(error),
            Err(_) => time::sleep(Duration::from_millis(200)).await,
        }
    }
    let producer = Producer::new(cluster.clone(), ProducerOptions::default());
    let mut ends: BTreeMap<PartitionName, Offset> = BTreeMap::new();
    for (operation, partition) in partitions.iter().enumerate() {
        let tag = Tag { writer: Tag::DRAIN_WRITER, operation: operation as u64 };
        observe::emit(|| ClientEvent::SendInvoked { to: named(partition), tag, safe: true, keyed: None });
        // Where records are kept by their keys, one has to have a key.
        let record = ProducerRecord::value(tag.to_value().to_vec()).with_key(&b"drain"[..]);
        let metadata = producer
            .send(&partition.topic, Some(partition.partition), record)
            .await
            .map_err(|error| format!("a fresh record to {partition}: {error}"))?;
        observe::emit(|| ClientEvent::SendAcknowledged {
            to: named(partition),
            tag,
            offset: metadata.offset,
            safe: true,
        });
        ends.insert(partition.clone(), metadata.offset.ok_or_else(|| format!("{partition} told no offset"))?);
    }
    let consumer = Consumer::new(cluster, ConsumerOptions::default());
    consumer.assign(partitions.iter().cloned());
    for partition in &partitions {
        consumer.seek_to_beginning(partition);
    }
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(500)).await {
            Ok(records) => {
                for record in records {
                    polled(&record, ClientEvent::DRAIN);
                    let partition = PartitionName { topic: record.topic, partition: record.partition };
                    if ends.get(&partition).is_some_and(|end| *end <= record.offset) {
                        ends.remove(&partition);
                    }
                }
            }
            Err(error) => failed(&error).await,
        }
    }
    Ok(())
}

/// What is there now is to be read, so retention ends.
async fn keep_everything(cluster: &Cluster, topics: Vec<String>) -> Result<(), String> {
    let for_ever = ["retention.ms", "retention.bytes"].map(|key| (key.to_string(), ConfigChange::Set("-1".into())));
    let changes = topics.into_iter().map(|topic| (ConfigResource::Topic(topic), for_ever.iter().cloned().collect()));
    let changes: BTreeMap<ConfigResource, _> = changes.collect();
    let altered = Admin::new(cluster.clone(), ADMIN_TIMEOUT).alter_configs(&changes, false).await;
    match altered
        .map_err(|error| error.to_string())?
        .into_iter()
        .find_map(|(topic, altered)| Some((topic, altered.err()?)))
    {
        Some((topic, error)) => Err(format!("the settings of {topic:?}: {error}")),
        None => {
            time::sleep(SETTINGS_ARRIVE_WITHIN).await;
            Ok(())
        }
    }
}
