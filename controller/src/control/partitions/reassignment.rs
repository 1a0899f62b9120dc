//! Pure. Replicas that move to other brokers (KIP-455).
//!
//! A move begins with the new replicas beside the old ones, is over when every replica that is to stay is in sync
//! ([`Change::outcome`] sees to that, wherever the ISR changes), and can be cancelled until then. As
//! `ReplicationControlManager.alterPartitionReassignments`. Each partition of a request succeeds or fails alone.

use super::{change_of, difference};
use crate::control::configs::Refusal;
use crate::control::draft::Draft;
use crate::control::topics::check_replicas;
use metadata::image::{Image, PartitionImage, TopicImage};
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, PartitionIndex, TopicPartition};
use protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, StrBytes, WireBrokerId, topic_name,
};

/// Begins, changes and cancels moves: a partition without replicas in the request is left, or put back, as it was.
///
/// A partition's refusal is one of UNKNOWN_TOPIC_OR_PARTITION (3), INVALID_REPLICA_ASSIGNMENT (39),
/// INVALID_REPLICATION_FACTOR (38) where the request wants that kept (KIP-860), NO_REASSIGNMENT_IN_PROGRESS (85).
pub(in crate::control) fn reassign(
    draft: &mut Draft<'_>,
    request: &AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let any_factor = request.allow_replication_factor_change;
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result = ReassignablePartitionResponse::default().with_partition_index(asked.partition_index);
            partitions.push(match reassign_one(draft, topic.name.as_str(), asked, any_factor) {
                Ok(()) => result.with_error_message(None),
                Err((code, why)) => {
                    result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(why)))
                }
            });
        }
        responses.push(ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(any_factor)
        .with_error_message(None)
        .with_responses(responses)
}

fn reassign_one(
    draft: &mut Draft<'_>,
    name: &str,
    asked: &ReassignablePartition,
    any_factor: bool,
) -> Result<(), Refusal> {
    let image = draft.image().clone();
    let unknown = |why: String| (ErrorCode::UnknownTopicOrPartition, why);
    let index = PartitionIndex(asked.partition_index);
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let state = topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let acceptable = |replica| image.is_active(replica);
    let mut change = change_of(draft.election_config(name), state, &acceptable);
    match &asked.replicas {
        Some(target) => {
            let target: Vec<BrokerId> = target.iter().map(|id| BrokerId::from(*id)).collect();
            check_replicas(&image, &target, target.len())?;
            check_factor(state, target.len(), any_factor)?;
            let Moved { replicas, adding, removing } = moved(state, target);
            (change.replicas, change.adding_replicas, change.removing_replicas) = (replicas, adding, removing);
        }
        None if !state.is_reassigning() => {
            let code = ErrorCode::NoReassignmentInProgress;
            return Err((code, code.message().to_owned()));
        }
        None => {
            change.replicas.retain(|replica| !state.adding_replicas.contains(replica));
            change.isr.retain(|replica| !state.adding_replicas.contains(replica));
            change.adding_replicas.clear();
            change.removing_replicas.clear();
        }
    }
    let outcome = change.outcome();
    // Whoever led last would be no replica any more, and nobody who stays is known to hold all that is committed.
    if outcome.last_known_elr.iter().any(|last| !outcome.replicas.contains(last)) {
        let why = format!(
            "Unable to revert partition assignment for {name}:{index} because it would require an unclean leader election."
        );
        return Err((ErrorCode::InvalidReplicaAssignment, why));
    }
    let of = TopicPartition { topic_id: topic.id, partition: index };
    if let Some(record) = difference(of, state, &outcome) {
        draft.push(record);
    }
    Ok(())
}

/// Replicas at the beginning of a move.
struct Moved {
    replicas: Vec<BrokerId>,
    adding: Vec<BrokerId>,
    removing: Vec<BrokerId>,
}

/// The target, and after it whoever is a replica and does not stay. A replica that an earlier move brought and that this one
/// keeps is still coming; one that this move does not keep leaves like any other (`PartitionReassignmentReplicas`).
fn moved(state: &PartitionImage, target: Vec<BrokerId>) -> Moved {
    let mut removing: Vec<BrokerId> =
        state.replicas.iter().copied().filter(|replica| !target.contains(replica)).collect();
    removing.sort_unstable();
    let is_new = |replica: &BrokerId| !state.replicas.contains(replica) || state.adding_replicas.contains(replica);
    let mut adding: Vec<BrokerId> = target.iter().copied().filter(is_new).collect();
    adding.sort_unstable();
    let replicas = target.into_iter().chain(removing.iter().copied()).collect();
    Moved { replicas, adding, removing }
}

/// Whether as many replicas are wanted as there are, or will be when the present move is over (KIP-860).
fn check_factor(state: &PartitionImage, wanted: usize, any_factor: bool) -> Result<(), Refusal> {
    let present = state.replicas.len() - state.removing_replicas.len();
    if any_factor || present == wanted {
        return Ok(());
    }
    let why = format!("The replication factor is changed from {present} to {wanted}");
    Err((ErrorCode::InvalidReplicationFactor, why))
}

/// What is being moved, of the partitions that are named, or of all (`ReplicationControlManager.listPartitionReassignments`).
pub(in crate::control) fn list(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => {
            let all = |topic: &TopicImage| ongoing(topic, topic.partitions().map(|(index, _)| index));
            image.topics_by_name().filter_map(all).collect()
        }
        Some(topics) => {
            let named = topics.iter().filter_map(|asked| {
                let topic = image.topic_by_name(asked.name.as_str())?;
                ongoing(topic, asked.partition_indexes.iter().copied().map(PartitionIndex))
            });
            named.collect()
        }
    };
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
}

/// The partitions of a topic that are being moved; none if there is none.
fn ongoing(topic: &TopicImage, partitions: impl Iterator<Item = PartitionIndex>) -> Option<OngoingTopicReassignment> {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| WireBrokerId(broker.0)).collect();
    let moving = partitions.filter_map(|index| {
        let state = topic.partition(index).filter(|state| state.is_reassigning())?;
        let reassignment = OngoingPartitionReassignment::default()
            .with_partition_index(index.0)
            .with_replicas(ids(&state.replicas))
            .with_adding_replicas(ids(&state.adding_replicas))
            .with_removing_replicas(ids(&state.removing_replicas));
        Some(reassignment)
    });
    let moving: Vec<OngoingPartitionReassignment> = moving.collect();
    (!moving.is_empty())
        .then(|| OngoingTopicReassignment::default().with_name(topic_name(&topic.name)).with_partitions(moving))
}

#[cfg(test)]
mod tests;
