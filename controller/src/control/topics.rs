//! Pure. Topics come and go: names, partitions and their replicas, settings.
//!
//! As `ReplicationControlManager.createTopics`, `ControllerApis.createTopics` and `ControllerApis.deleteTopics`. Each topic
//! of a request succeeds or fails alone. Identities and the start of the placement come in with the request.

mod expansion;

pub(super) use expansion::expand;

use super::configs::{self, Refusal};
use super::directories::Loads;
use super::draft::Draft;
use super::placement;
use metadata::image::Image;
use metadata::record::{LeaderRecoveryState, Record};
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, DirectoryId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, TopicName,
};
use protocol::topic_name;
use std::collections::{BTreeMap, BTreeSet};

/// The topic that Kafka keeps its metadata in, and that nobody may create here either.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// How many partitions one request may create (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
const PARTITIONS_PER_REQUEST: usize = 10_000;
/// "As the broker is set up" for a count in CreateTopics.
const DEFAULT_COUNT: i32 = -1;
/// From this version on, a client knows that deletion can be disabled.
const DELETION_DISABLED_SINCE: i16 = 3;

/// Creates topics. `topic_ids` has a fresh identity for each topic of the request.
///
/// A topic's refusal is one of INVALID_REQUEST (42) for a name given twice, INVALID_TOPIC_EXCEPTION (17),
/// TOPIC_ALREADY_EXISTS (36), INVALID_CONFIG (40), INVALID_PARTITIONS (37), INVALID_REPLICATION_FACTOR (38),
/// INVALID_REPLICA_ASSIGNMENT (39), POLICY_VIOLATION (44) for a request of more than ten thousand partitions.
pub(super) fn create(
    draft: &mut Draft<'_>,
    request: &CreateTopicsRequest,
    topic_ids: &[TopicId],
    placement_seed: u64,
) -> CreateTopicsResponse {
    assert!(topic_ids.len() >= request.topics.len(), "{} ids for {} topics", topic_ids.len(), request.topics.len());
    let twice = names_given_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let asked: usize = request.topics.iter().map(|topic| partitions_asked(draft, topic)).fold(0, usize::saturating_add);
    let mut results = Vec::with_capacity(request.topics.len());
    let mut reported = BTreeSet::new();
    for (at, (topic, topic_id)) in request.topics.iter().zip(topic_ids).enumerate() {
        let name = topic.name.as_str();
        let created = if twice.contains(name) {
            if !reported.insert(name) {
                continue;
            }
            Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else if asked > PARTITIONS_PER_REQUEST {
            let why = "Excessively large number of partitions per request.";
            Err((ErrorCode::PolicyViolation, why.to_owned()))
        } else {
            create_one(draft, topic, *topic_id, placement_seed.wrapping_add(at as u64))
        };
        results.push(created.unwrap_or_else(|(code, message)| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code as i16)
                .with_error_message(Some(StrBytes::from_string(message)))
        }));
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// The names that stand in a list more than once.
fn names_given_twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut once = BTreeSet::new();
    names.filter(|name| !once.insert(*name)).collect()
}

/// How many partitions a topic of a request would have.
fn partitions_asked(draft: &Draft<'_>, topic: &CreatableTopic) -> usize {
    match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        DEFAULT_COUNT => usize::try_from(draft.properties().int("num.partitions")).unwrap_or(0),
        partitions => usize::try_from(partitions).unwrap_or(0),
    }
}

fn create_one(
    draft: &mut Draft<'_>,
    topic: &CreatableTopic,
    topic_id: TopicId,
    placement_seed: u64,
) -> Result<CreatableTopicResult, Refusal> {
    let name = topic.name.as_str();
    check_name(draft.image(), name)?;
    let settings = configs::read(&topic.configs)?;
    let assignments = if topic.assignments.is_empty() {
        place(draft, topic, placement_seed)?
    } else {
        read_assignments(draft.image(), topic)?
    };
    let isrs = assignments.iter().map(|replicas| active(draft.image(), replicas)).collect::<Vec<_>>();
    if let Some(partition) = isrs.iter().position(Vec::is_empty) {
        return Err(nobody_leads(!topic.assignments.is_empty(), partition, &assignments[partition]));
    }
    let replication_factor = assignments.first().map_or(0, Vec::len);
    draft.push(Record::Topic { name: name.to_owned(), topic_id });
    configs::record(draft, name, settings);
    let mut loads = Loads::of(draft.image());
    for (partition, (replicas, isr)) in (0..).map(PartitionIndex).zip(assignments.iter().zip(isrs)) {
        let placed = loads.place(draft.image(), new_partition(topic_id, partition, replicas, isr));
        draft.push(placed);
    }
    Ok(CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_topic_id(topic_id.0)
        .with_error_message(None)
        .with_num_partitions(assignments.len() as i32)
        .with_replication_factor(replication_factor as i16)
        .with_configs(Some(configs::described(draft, name))))
}

fn check_name(image: &Image, name: &str) -> Result<(), Refusal> {
    if name == METADATA_TOPIC {
        let why = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return Err((ErrorCode::InvalidRequest, why));
    }
    if image.topic_by_name(name).is_some() {
        return Err((ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    topic_name::validate(name)
        .map_err(|why| (ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}")))?;
    if name.contains(['.', '_'])
        && let Some(other) = image.topics_by_name().find(|other| topic_name::collides(name, &other.name))
    {
        let why = format!("Topic '{name}' collides with existing topic: {}", other.name);
        return Err((ErrorCode::InvalidTopicException, why));
    }
    Ok(())
}

/// The replicas of each partition, where the client leaves that to the cluster.
fn place(draft: &Draft<'_>, topic: &CreatableTopic, seed: u64) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let replication_factor = match topic.replication_factor {
        -1 => draft.properties().int("default.replication.factor") as i16,
        given if given < 1 => {
            let why = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err((ErrorCode::InvalidReplicationFactor, why.to_owned()));
        }
        given => given,
    };
    if topic.num_partitions != DEFAULT_COUNT && topic.num_partitions < 1 {
        let why = "Number of partitions was set to an invalid non-positive value.";
        return Err((ErrorCode::InvalidPartitions, why.to_owned()));
    }
    let brokers = placement::usable_brokers(draft.image());
    placement::place(&brokers, seed, partitions_asked(draft, topic), replication_factor).map_err(|error| {
        let why = format!("Unable to replicate the partition {replication_factor} time(s): {error}");
        (ErrorCode::InvalidReplicationFactor, why)
    })
}

/// The replicas of each partition as the client wants them, checked
/// (`ReplicationControlManager.validateManualPartitionAssignment`).
fn read_assignments(image: &Image, topic: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let request =
        |why: &str| Err((ErrorCode::InvalidRequest, format!("A manual partition assignment was specified, but {why}")));
    let assignment = |why: String| Err((ErrorCode::InvalidReplicaAssignment, why));
    if topic.replication_factor != -1 {
        return request("replication factor was not set to -1.");
    }
    if topic.num_partitions != DEFAULT_COUNT {
        return request("numPartitions was not set to -1.");
    }
    let mut by_partition: BTreeMap<i32, Vec<BrokerId>> = BTreeMap::new();
    let mut expected = None;
    for CreatableReplicaAssignment { partition_index, broker_ids, .. } in &topic.assignments {
        if by_partition.contains_key(partition_index) {
            return assignment(format!("Found multiple manual partition assignments for partition {partition_index}"));
        }
        let replicas: Vec<BrokerId> = broker_ids.iter().map(|id| BrokerId::from(*id)).collect();
        check_replicas(image, &replicas, *expected.get_or_insert(replicas.len()))?;
        by_partition.insert(*partition_index, replicas);
    }
    if !by_partition.keys().copied().eq(0..by_partition.len() as i32) {
        return assignment("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(by_partition.into_values().collect())
}

/// Whether these brokers may keep one partition, whose siblings have `expected` replicas.
pub(super) fn check_replicas(image: &Image, replicas: &[BrokerId], expected: usize) -> Result<(), Refusal> {
    let refuse =
        |why: String| Err((ErrorCode::InvalidReplicaAssignment, format!("The manual partition assignment {why}")));
    if replicas.is_empty() {
        return refuse("includes an empty replica list.".to_owned());
    }
    let mut seen = BTreeSet::new();
    for replica in replicas {
        if image.broker(*replica).is_none() {
            return refuse(format!("includes broker {replica}, but no such broker is registered."));
        }
        if !seen.insert(replica) {
            return refuse(format!("includes the broker {replica} more than once."));
        }
    }
    if replicas.len() != expected {
        return refuse(format!(
            "includes a partition with {} replica(s), but this is not consistent with previous partitions, which have \
             {expected} replica(s).",
            replicas.len()
        ));
    }
    Ok(())
}

fn active(image: &Image, replicas: &[BrokerId]) -> Vec<BrokerId> {
    replicas.iter().copied().filter(|replica| image.is_active(*replica)).collect()
}

/// The refusal of a partition none of whose replicas could lead.
fn nobody_leads(assigned: bool, partition: usize, replicas: &[BrokerId]) -> Refusal {
    if !assigned {
        let why = format!(
            "Unable to replicate the partition {} time(s): All brokers are currently fenced or in controlled shutdown.",
            replicas.len()
        );
        (ErrorCode::InvalidReplicationFactor, why)
    } else {
        let why = format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        );
        (ErrorCode::InvalidReplicaAssignment, why)
    }
}

fn new_partition(topic_id: TopicId, partition: PartitionIndex, replicas: &[BrokerId], isr: Vec<BrokerId>) -> Record {
    Record::Partition {
        topic_id,
        partition,
        replicas: replicas.to_vec(),
        directories: vec![DirectoryId::ZERO; replicas.len()],
        leader: isr.first().copied(),
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    }
}

/// Deletes topics, each named or given by its identity. A topic's refusal is one of TOPIC_DELETION_DISABLED (73, to older
/// clients INVALID_REQUEST), INVALID_REQUEST (42) for a topic given twice or not at all, UNKNOWN_TOPIC_OR_PARTITION (3),
/// UNKNOWN_TOPIC_ID (100).
pub(super) fn delete(draft: &mut Draft<'_>, request: &DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let asked = topics_to_delete(request);
    let enabled = draft.properties().boolean("delete.topic.enable");
    let twice = given_twice(draft.image(), &asked);
    let mut results = Vec::with_capacity(asked.len());
    let mut reported = BTreeSet::new();
    for topic in asked {
        let deleted = if !enabled {
            Err(deletion_disabled(version))
        } else if twice.contains(&topic) {
            if !reported.insert(topic.clone()) {
                continue;
            }
            Err(topic.twice())
        } else {
            topic.find(draft.image())
        };
        let result = match deleted {
            Ok((name, topic_id)) => {
                draft.push(Record::RemoveTopic { topic_id });
                DeletableTopicResult::default().with_name(Some(topic_name_of(&name))).with_topic_id(topic_id.0)
            }
            Err((code, message)) => topic.refused(code, message),
        };
        results.push(result);
    }
    DeleteTopicsResponse::default().with_responses(results)
}

fn deletion_disabled(version: i16) -> Refusal {
    if version < DELETION_DISABLED_SINCE {
        (ErrorCode::InvalidRequest, "Topic deletion is disabled.".to_owned())
    } else {
        (ErrorCode::TopicDeletionDisabled, ErrorCode::TopicDeletionDisabled.message().to_owned())
    }
}

/// A topic as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicGiven {
    ByName(String),
    ById(TopicId),
    Both(String, TopicId),
    Neither,
}

impl TopicGiven {
    fn find(&self, image: &Image) -> Result<(String, TopicId), Refusal> {
        let unknown = |code: ErrorCode| (code, code.message().to_owned());
        let invalid = |why: &str| Err((ErrorCode::InvalidRequest, why.to_owned()));
        let topic = match self {
            Self::ByName(name) => {
                image.topic_by_name(name).ok_or_else(|| unknown(ErrorCode::UnknownTopicOrPartition))?
            }
            Self::ById(topic_id) => image.topic(*topic_id).ok_or_else(|| unknown(ErrorCode::UnknownTopicId))?,
            Self::Both(..) => return invalid("You may not specify both topic name and topic id."),
            Self::Neither => return invalid("Neither topic name nor id were specified."),
        };
        Ok((topic.name.to_string(), topic.id))
    }

    fn twice(&self) -> Refusal {
        let why = match self {
            Self::ByName(_) => "Duplicate topic name.",
            Self::ById(_) | Self::Both(..) | Self::Neither => "Duplicate topic id.",
        };
        (ErrorCode::InvalidRequest, why.to_owned())
    }

    fn refused(&self, code: ErrorCode, message: String) -> DeletableTopicResult {
        let (name, topic_id) = match self {
            Self::ByName(name) => (Some(name), TopicId::ZERO),
            Self::ById(topic_id) => (None, *topic_id),
            Self::Both(name, topic_id) => (Some(name), *topic_id),
            Self::Neither => (None, TopicId::ZERO),
        };
        DeletableTopicResult::default()
            .with_name(name.map(|name| topic_name_of(name)))
            .with_topic_id(topic_id.0)
            .with_error_code(code as i16)
            .with_error_message(Some(StrBytes::from_string(message)))
    }
}

fn topic_name_of(name: &str) -> TopicName {
    protocol::messages::topic_name(name)
}

/// What a request names, in order: by name alone before version 6, by name or identity since.
fn topics_to_delete(request: &DeleteTopicsRequest) -> Vec<TopicGiven> {
    let by_name = request.topic_names.iter().map(|name| TopicGiven::ByName(name.to_string()));
    let by_either = request.topics.iter().map(|topic| {
        let topic_id = TopicId(topic.topic_id);
        match (&topic.name, topic_id) {
            (Some(name), TopicId::ZERO) => TopicGiven::ByName(name.to_string()),
            (Some(name), _) => TopicGiven::Both(name.to_string(), topic_id),
            (None, TopicId::ZERO) => TopicGiven::Neither,
            (None, _) => TopicGiven::ById(topic_id),
        }
    });
    by_name.chain(by_either).collect()
}

/// The topics that a request names more than once: by the same name, the same identity, or one by each.
fn given_twice(image: &Image, asked: &[TopicGiven]) -> BTreeSet<TopicGiven> {
    let mut by_id: BTreeMap<TopicId, Vec<&TopicGiven>> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    let mut once = BTreeSet::new();
    for topic in asked {
        if matches!(topic, TopicGiven::ByName(_) | TopicGiven::ById(_)) {
            if !once.insert(topic) {
                twice.insert(topic.clone());
            } else if let Ok((_, topic_id)) = topic.find(image) {
                by_id.entry(topic_id).or_default().push(topic);
            }
        }
    }
    twice.extend(by_id.into_values().filter(|topics| topics.len() > 1).flatten().cloned());
    twice
}

#[cfg(test)]
mod tests;
