//! Tells the controller in which log directory a replica of this broker is, all that wait in one request
//! (`AssignmentsManager`, KIP-858).
//!
//! It never decides where a replica is. Where the controller does not take an assignment, the metadata does not show it, and
//! whoever waits for that goes on waiting; what is out of date is dropped.

use crate::controller_link::ControllerLink;
use crate::partition::context::Assignment;
use crate::partition::context::ReplicaContext;
use crate::partition::isr::Brokers;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, TopicPartition};
use protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData},
};
use runtime::sync::{Shutdown, mpsc};
use runtime::time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take before it is sent again.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long to wait before that.
const PAUSE: Duration = Duration::from_millis(500);
/// Partitions in one request (`AssignmentsManager.MAX_ASSIGNMENTS_PER_REQUEST`).
const PARTITIONS_MAX: usize = 2_250;

/// What is still to be told.
type Waiting = BTreeMap<TopicPartition, DirectoryId>;

/// Brings assignments to the controller until the shutdown is requested.
pub async fn run(
    context: Arc<ReplicaContext>,
    controller: Arc<ControllerLink>,
    mut assignments: mpsc::UnboundedReceiver<Assignment>,
    shutdown: Shutdown,
) {
    let mut waiting = Waiting::new();
    loop {
        if waiting.is_empty() {
            runtime::select! {
                () = shutdown.requested() => return,
                assignment = assignments.recv() => match assignment {
                    Some(assignment) => waiting.insert(assignment.partition, assignment.directory),
                    None => return,
                }
            };
        }
        while let Ok(assignment) = assignments.try_recv() {
            waiting.insert(assignment.partition, assignment.directory);
        }
        runtime::select! {
            () = shutdown.requested() => return,
            told = tell(&context, &controller, &mut waiting) => if !told {
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// Sends what fits one request. Returns whether it was answered; what was is not waiting any more.
async fn tell(context: &ReplicaContext, controller: &ControllerLink, waiting: &mut Waiting) -> bool {
    let sent: Waiting = waiting.iter().take(PARTITIONS_MAX).map(|(of, directory)| (*of, *directory)).collect();
    let broker_epoch = context.image.broker_epoch(context.local).unwrap_or(BrokerEpoch::UNKNOWN);
    match controller.call(&request(context.local, broker_epoch, &sent), time::now() + CALL_MAX).await {
        Ok(response) if response.error_code == ErrorCode::None.code() => {
            refusals(&response).for_each(|(topic_id, partition, code)| {
                tracing::warn!(%topic_id, partition, code, "the controller does not take a replica's directory");
            });
            waiting.retain(|of, directory| sent.get(of) != Some(directory));
            true
        }
        Ok(response) => {
            tracing::debug!(code = response.error_code, "the controller takes no assignments");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "no answer to an assignment");
            false
        }
    }
}

fn refusals(response: &AssignReplicasToDirsResponse) -> impl Iterator<Item = (uuid::Uuid, i32, i16)> {
    let topics = response.directories.iter().flat_map(|directory| &directory.topics);
    let each = topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, partition)));
    let refused = each.filter(|(_, partition)| partition.error_code != ErrorCode::None.code());
    refused.map(|(topic_id, partition)| (topic_id, partition.partition_index, partition.error_code))
}

fn request(local: BrokerId, broker_epoch: BrokerEpoch, waiting: &Waiting) -> AssignReplicasToDirsRequest {
    let mut directories: BTreeMap<DirectoryId, Vec<TopicData>> = BTreeMap::new();
    for (of, directory) in waiting {
        let topics = directories.entry(*directory).or_default();
        let partition = PartitionData::default().with_partition_index(of.partition.0);
        match topics.last_mut().filter(|topic| topic.topic_id == of.topic_id.0) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicData::default().with_topic_id(of.topic_id.0).with_partitions(vec![partition])),
        }
    }
    let directory =
        |(id, topics): (DirectoryId, Vec<TopicData>)| DirectoryData::default().with_id(id.0).with_topics(topics);
    AssignReplicasToDirsRequest::default()
        .with_broker_id(local.into())
        .with_broker_epoch(broker_epoch.0)
        .with_directories(directories.into_iter().map(directory).collect())
}
