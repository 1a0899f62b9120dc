//! Pure. More partitions for topics that exist.
//!
//! As `ReplicationControlManager.createPartitions` and `ControllerApis.createPartitions`. A count only rises: records keep
//! their partitions. Each topic of a request succeeds or fails alone; the start of the placement comes in with the request.

use super::{PARTITIONS_PER_REQUEST, active, check_replicas, names_given_twice, new_partition, nobody_leads};
use crate::control::configs::Refusal;
use crate::control::directories::Loads;
use crate::control::draft::Draft;
use crate::control::placement;
use metadata::image::{Image, TopicImage};
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, PartitionIndex};
use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, StrBytes};
use std::collections::BTreeSet;

/// Adds partitions to topics.
///
/// A topic's refusal is one of INVALID_REQUEST (42) for a name given twice, UNKNOWN_TOPIC_OR_PARTITION (3),
/// INVALID_PARTITIONS (37) for a count that is no increase, INVALID_REPLICA_ASSIGNMENT (39), INVALID_REPLICATION_FACTOR
/// (38), POLICY_VIOLATION (44) for a request of more than ten thousand partitions.
pub(in crate::control) fn expand(
    draft: &mut Draft<'_>,
    request: &CreatePartitionsRequest,
    placement_seed: u64,
) -> CreatePartitionsResponse {
    let twice = names_given_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let asked = request.topics.iter().map(|topic| additional(draft.image(), topic)).fold(0, usize::saturating_add);
    let mut results = Vec::with_capacity(request.topics.len());
    let mut reported = BTreeSet::new();
    for (at, topic) in request.topics.iter().enumerate() {
        let expanded = if twice.contains(topic.name.as_str()) {
            if !reported.insert(topic.name.as_str()) {
                continue;
            }
            Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else if asked > PARTITIONS_PER_REQUEST {
            let why = "Excessively large number of partitions per request.";
            Err((ErrorCode::PolicyViolation, why.to_owned()))
        } else {
            expand_one(draft, topic, placement_seed.wrapping_add(at as u64))
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match expanded {
            Ok(()) => result.with_error_message(None),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        });
    }
    if request.validate_only {
        draft.discard();
    }
    CreatePartitionsResponse::default().with_results(results)
}

/// How many partitions a topic of a request would gain.
fn additional(image: &Image, asked: &CreatePartitionsTopic) -> usize {
    let there = image.topic_by_name(asked.name.as_str()).map_or(0, TopicImage::partition_count);
    usize::try_from(asked.count).unwrap_or(0).saturating_sub(there)
}

fn expand_one(draft: &mut Draft<'_>, asked: &CreatePartitionsTopic, placement_seed: u64) -> Result<(), Refusal> {
    let image = draft.image().clone();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let topic = image.topic_by_name(asked.name.as_str()).ok_or_else(|| (unknown, unknown.message().to_owned()))?;
    let there = topic.partition_count();
    let additional = check_count(topic, asked.count)?;
    let first = topic.partition(PartitionIndex(0)).expect("partitions are counted from zero, and no topic has none");
    let replication_factor = first.replication_factor();
    let assignments = match &asked.assignments {
        Some(given) => read_assignments(&image, given, additional, replication_factor)?,
        None => {
            let brokers = placement::usable_brokers(&image);
            let replicas = i16::try_from(replication_factor).unwrap_or(i16::MAX);
            placement::place(&brokers, placement_seed, additional, replicas).map_err(|error| {
                let why = format!("Unable to replicate the partition {replication_factor} time(s): {error}");
                (ErrorCode::InvalidReplicationFactor, why)
            })?
        }
    };
    let isrs = assignments.iter().map(|replicas| active(&image, replicas)).collect::<Vec<_>>();
    if let Some(at) = isrs.iter().position(Vec::is_empty) {
        return Err(nobody_leads(asked.assignments.is_some(), there + at, &assignments[at]));
    }
    let mut loads = Loads::of(&image);
    for (partition, (replicas, isr)) in (there as i32..).map(PartitionIndex).zip(assignments.iter().zip(isrs)) {
        draft.push(loads.place(&image, new_partition(topic.id, partition, replicas, isr)));
    }
    Ok(())
}

/// How many partitions are to be added.
fn check_count(topic: &TopicImage, count: i32) -> Result<usize, Refusal> {
    let there = topic.partition_count();
    let wanted = usize::try_from(count).unwrap_or(0);
    if wanted > there {
        return Ok(wanted - there);
    }
    let why = if wanted == there {
        format!("Topic already has {there} partition(s).")
    } else {
        let name = &topic.name;
        format!("The topic {name} currently has {there} partition(s); {count} would not be an increase.")
    };
    Err((ErrorCode::InvalidPartitions, why))
}

/// The replicas of each new partition as the client wants them, checked.
fn read_assignments(
    image: &Image,
    given: &[CreatePartitionsAssignment],
    additional: usize,
    replication_factor: usize,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    if given.len() != additional {
        let why = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            given.len()
        );
        return Err((ErrorCode::InvalidReplicaAssignment, why));
    }
    let read = |assignment: &CreatePartitionsAssignment| {
        let replicas: Vec<BrokerId> = assignment.broker_ids.iter().map(|id| BrokerId::from(*id)).collect();
        check_replicas(image, &replicas, replication_factor)?;
        Ok(replicas)
    };
    given.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stories::{Story, line};
    use crate::control::{ControlRequest, ControlResponse};
    use protocol::messages::{WireBrokerId, topic_name};

    fn to(name: &str, count: i32) -> CreatePartitionsTopic {
        CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(None)
    }

    fn onto(name: &str, count: i32, replicas: &[&[i32]]) -> CreatePartitionsTopic {
        let assignment = |replicas: &&[i32]| {
            let ids = replicas.iter().copied().map(WireBrokerId).collect();
            CreatePartitionsAssignment::default().with_broker_ids(ids)
        };
        to(name, count).with_assignments(Some(replicas.iter().map(assignment).collect()))
    }

    /// The outcome of each topic of a request, a line each.
    fn outcomes(story: &mut Story, topics: Vec<CreatePartitionsTopic>, validate_only: bool) -> String {
        let request = CreatePartitionsRequest::default().with_topics(topics).with_validate_only(validate_only);
        let decided = story.decide(ControlRequest::CreatePartitions { request, placement_seed: 1 });
        let ControlResponse::CreatePartitions(response) = decided else { panic!("another request's response") };
        let line = |result: CreatePartitionsTopicResult| {
            let code = ErrorCode::from_code(result.error_code).expect("a code of Kafka's");
            let message = result.error_message.map(|message| message.to_string()).unwrap_or_default();
            format!("{} {code} {message}", result.name.as_str()).trim_end().to_owned()
        };
        response.results.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn partitions(story: &Story, name: &str) -> String {
        let topic = story.image.topic_by_name(name).expect("the story has it");
        topic.partitions().map(|(_, state)| line(state)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_topic_gains_partitions_with_as_many_replicas_as_it_has() {
        let mut story = Story::with_brokers(&[], 3);
        story.topic("orders", &[&[1, 2]], &[]);
        assert_eq!(outcomes(&mut story, vec![to("orders", 3)], false), "orders NONE");
        let topic = story.image.topic_by_name("orders").expect("it is there");
        assert_eq!(topic.partitions().map(|(_, state)| state.replicas.len()).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(topic.partitions().map(|(index, _)| index.0).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn who_is_fenced_is_placed_and_not_in_sync() {
        let mut story = Story::with_brokers(&[], 3);
        story.topic("orders", &[&[1, 2]], &[]);
        story.fence(3);
        assert_eq!(outcomes(&mut story, vec![onto("orders", 3, &[&[3, 1], &[2, 3]])], false), "orders NONE");
        insta::assert_snapshot!(partitions(&story, "orders"), @"
        leader 1 epoch 0  isr 1,2
        leader 1 epoch 0  isr 1
        leader 2 epoch 0  isr 2
        ");
    }

    #[test]
    fn to_validate_only_changes_nothing() {
        let mut story = Story::with_brokers(&[], 1);
        story.topic("orders", &[&[1]], &[]);
        let asked = || vec![to("orders", 3), to("gone", 3)];
        let told = outcomes(&mut story, asked(), true);
        assert!(story.records.is_empty());
        assert_eq!(outcomes(&mut story, asked(), false), told);
        assert_eq!(story.records.len(), 2);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut story = Story::with_brokers(&[], 3);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            story.topic(name, &[&[1, 2], &[2, 1]], &[]);
        }
        story.fence(3);
        let topics = vec![
            to("gone", 3),
            to("a", 2),
            to("b", 1),
            to("c", -1),
            onto("d", 4, &[&[1, 2]]),
            onto("e", 3, &[&[]]),
            onto("f", 3, &[&[1, 9]]),
            onto("g", 3, &[&[1, 1]]),
            onto("h", 3, &[&[1]]),
            to("i", 3),
            to("i", 4),
        ];
        insta::assert_snapshot!(outcomes(&mut story, topics, false), @"
        gone UNKNOWN_TOPIC_OR_PARTITION This server does not host this topic-partition.
        a INVALID_PARTITIONS Topic already has 2 partition(s).
        b INVALID_PARTITIONS The topic b currently has 2 partition(s); 1 would not be an increase.
        c INVALID_PARTITIONS The topic c currently has 2 partition(s); -1 would not be an increase.
        d INVALID_REPLICA_ASSIGNMENT Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.
        e INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes an empty replica list.
        f INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes broker 9, but no such broker is registered.
        g INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes the broker 1 more than once.
        h INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s).
        i INVALID_REQUEST Duplicate topic name.
        ");
        assert!(story.records.is_empty());
        story.topic("alone", &[&[1]], &[]);
        insta::assert_snapshot!(outcomes(&mut story, vec![onto("alone", 2, &[&[3]])], false), @"alone INVALID_REPLICA_ASSIGNMENT All brokers specified in the manual partition assignment for partition 1 are fenced or in controlled shutdown.");
        insta::assert_snapshot!(outcomes(&mut story, vec![to("alone", 10_002)], false), @"alone POLICY_VIOLATION Excessively large number of partitions per request.");
        story.fence(1);
        story.fence(2);
        insta::assert_snapshot!(outcomes(&mut story, vec![to("alone", 2)], false), @"alone INVALID_REPLICATION_FACTOR Unable to replicate the partition 1 time(s): All brokers are currently fenced.");
    }
}
