//! Pure. Elections that an operator asks for (`ReplicationControlManager.electLeaders`, KIP-183, KIP-460).

use super::{Election, change_of, difference};
use crate::control::configs::Refusal;
use crate::control::draft::Draft;
use protocol::error_code::ErrorCode;
use protocol::ids::{PartitionIndex, TopicPartition};
use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, StrBytes, TopicName, topic_name};

/// The election types of the wire (`ElectionType.java`).
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// How many leaders one request may change (`QuorumController.MAX_RECORDS_PER_USER_OP`).
const ELECTIONS_PER_REQUEST: usize = 10_000;

/// Elects the preferred leader, or anybody where nobody leads, of the partitions that are named, or of all: then partitions
/// that need no election are left out of the answer.
///
/// A partition's refusal is one of UNKNOWN_TOPIC_OR_PARTITION (3), ELECTION_NOT_NEEDED (84),
/// PREFERRED_LEADER_NOT_AVAILABLE (80), ELIGIBLE_LEADERS_NOT_AVAILABLE (83). The request's is INVALID_REQUEST (42) for a
/// type of election that there is not, and POLICY_VIOLATION (44) where it would change too many leaders at once.
pub(in crate::control) fn elect(
    draft: &mut Draft<'_>,
    request: &ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Unclean,
        other => {
            let why = format!("Unknown election type {other}");
            return refused(request, version, ErrorCode::InvalidRequest, &why);
        }
    };
    let all = request.topic_partitions.is_none();
    let asked: Vec<(TopicName, Vec<i32>)> = match &request.topic_partitions {
        Some(topics) => topics.iter().map(|topic| (topic.topic.clone(), topic.partitions.clone())).collect(),
        None => {
            let image = draft.image();
            let indexes = |topic: &metadata::image::TopicImage| topic.partitions().map(|(index, _)| index.0).collect();
            image.topics_by_name().map(|topic| (topic_name(&topic.name), indexes(topic))).collect()
        }
    };
    let mut results = Vec::with_capacity(asked.len());
    for (name, partitions) in asked {
        let mut told = Vec::new();
        for partition in partitions {
            let result = PartitionResult::default().with_partition_id(partition);
            told.push(match elect_one(draft, name.as_str(), partition, election) {
                Err((ErrorCode::ElectionNotNeeded, _)) if all => continue,
                Ok(()) => result.with_error_message(None),
                Err((code, why)) => {
                    result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(why)))
                }
            });
        }
        results.push(ReplicaElectionResult::default().with_topic(name).with_partition_result(told));
    }
    if draft.len() > ELECTIONS_PER_REQUEST {
        draft.discard();
        let why = "Unable to perform excessively large batch operation.";
        return refused(request, version, ErrorCode::PolicyViolation, why);
    }
    ElectLeadersResponse::default().with_replica_election_results(results)
}

fn elect_one(draft: &mut Draft<'_>, name: &str, partition: i32, election: Election) -> Result<(), Refusal> {
    let image = draft.image().clone();
    let unknown = |why: String| (ErrorCode::UnknownTopicOrPartition, why);
    let told = |code: ErrorCode| (code, code.message().to_owned());
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
    let index = PartitionIndex(partition);
    let state = topic.partition(index).ok_or_else(|| unknown(format!("No such partition as {name}-{partition}")))?;
    let (needed, not_available) = match election {
        Election::Unclean => (state.leader.is_none(), ErrorCode::EligibleLeadersNotAvailable),
        Election::Online | Election::Preferred => {
            (state.leader.is_none() || state.leader != state.preferred_leader(), ErrorCode::PreferredLeaderNotAvailable)
        }
    };
    if !needed {
        return Err(told(ErrorCode::ElectionNotNeeded));
    }
    let acceptable = |replica| image.is_active(replica);
    let mut change = change_of(draft.election_config(name), state, &acceptable);
    change.election = election;
    let of = TopicPartition { topic_id: topic.id, partition: index };
    let record = difference(of, state, &change.outcome()).ok_or_else(|| told(not_available))?;
    draft.push(record);
    Ok(())
}

/// The same refusal for the request and for every partition that it names (`ElectLeadersRequest.getErrorResponse`). Before
/// version 1 an answer has no error of its own.
fn refused(request: &ElectLeadersRequest, version: i16, code: ErrorCode, why: &str) -> ElectLeadersResponse {
    let result = |partition: &i32| {
        PartitionResult::default()
            .with_partition_id(*partition)
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(why.to_owned())))
    };
    let results = request.topic_partitions.iter().flatten().map(|topic| {
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(topic.partitions.iter().map(result).collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= 1 { code.code() } else { 0 })
        .with_replica_election_results(results.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stories::Story;
    use crate::control::{ControlRequest, ControlResponse};
    use protocol::messages::elect_leaders_request::TopicPartitions;

    fn named(election_type: i8, topics: &[(&str, &[i32])]) -> ElectLeadersRequest {
        let topic = |(name, partitions): &(&str, &[i32])| {
            TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_election_type(election_type)
            .with_topic_partitions(Some(topics.iter().map(topic).collect()))
    }

    fn all(election_type: i8) -> ElectLeadersRequest {
        ElectLeadersRequest::default().with_election_type(election_type).with_topic_partitions(None)
    }

    /// The outcome of each partition of a request, a line each, after the outcome of the whole.
    fn outcomes(story: &mut Story, request: ElectLeadersRequest, version: i16) -> String {
        let decided = story.decide(ControlRequest::ElectLeaders { request, version });
        let ControlResponse::ElectLeaders(response) = decided else { panic!("another request's response") };
        let code = |code| ErrorCode::from_code(code).expect("a code of Kafka's");
        let mut lines = vec![code(response.error_code).to_string()];
        for topic in &response.replica_election_results {
            for result in &topic.partition_result {
                let message = result.error_message.as_deref().unwrap_or_default();
                let (name, told) = (topic.topic.as_str(), code(result.error_code));
                lines.push(format!("{name}-{} {told} {message}", result.partition_id).trim_end().to_owned());
            }
        }
        lines.join("\n")
    }

    #[test]
    fn the_preferred_leader_is_elected_if_it_is_in_sync() {
        let mut story = Story::with_brokers(&[], 3);
        story.topic("orders", &[&[1, 2, 3], &[2, 1, 3]], &[]);
        story.fence(1);
        story.beat(1);
        let request = || named(PREFERRED, &[("orders", &[0, 1, 2]), ("gone", &[0])]);
        insta::assert_snapshot!(outcomes(&mut story, request(), 2), @"
        NONE
        orders-0 PREFERRED_LEADER_NOT_AVAILABLE The preferred leader was not available.
        orders-1 ELECTION_NOT_NEEDED Leader election not needed for topic partition.
        orders-2 UNKNOWN_TOPIC_OR_PARTITION No such partition as orders-2
        gone-0 UNKNOWN_TOPIC_OR_PARTITION No such topic as gone
        ");
        story.isr("orders", &[2, 3, 1]);
        insta::assert_snapshot!(outcomes(&mut story, request(), 2), @"
        NONE
        orders-0 NONE
        orders-1 ELECTION_NOT_NEEDED Leader election not needed for topic partition.
        orders-2 UNKNOWN_TOPIC_OR_PARTITION No such partition as orders-2
        gone-0 UNKNOWN_TOPIC_OR_PARTITION No such topic as gone
        ");
        insta::assert_snapshot!(story.show(), @"
        broker 1  unfenced
        broker 2  unfenced
        broker 3  unfenced
        orders-0  leader 1 epoch 2  isr 2,3,1
        orders-1  leader 2 epoch 0  isr 2,3
        ");
    }

    #[test]
    fn all_partitions_are_meant_where_none_is_named_and_those_that_are_well_are_not_told() {
        let mut story = Story::with_brokers(&[], 2);
        story.topic("audit", &[&[2, 1]], &[]);
        story.topic("orders", &[&[1, 2], &[2, 1]], &[]);
        story.fence(1);
        story.beat(1);
        story.isr("orders", &[2, 1]);
        insta::assert_snapshot!(outcomes(&mut story, all(PREFERRED), 2), @"
        NONE
        orders-0 NONE
        ");
        insta::assert_snapshot!(outcomes(&mut story, all(UNCLEAN), 2), @"NONE");
    }

    #[test]
    fn an_unclean_election_needs_a_partition_without_leader_and_somebody_who_lives() {
        let mut story = Story::with_brokers(&[], 2);
        story.topic("orders", &[&[1, 2]], &[]);
        let request = || named(UNCLEAN, &[("orders", &[0])]);
        insta::assert_snapshot!(outcomes(&mut story, request(), 1), @"
        NONE
        orders-0 ELECTION_NOT_NEEDED Leader election not needed for topic partition.
        ");
        story.fence(2);
        story.fence(1);
        insta::assert_snapshot!(outcomes(&mut story, request(), 1), @"
        NONE
        orders-0 ELIGIBLE_LEADERS_NOT_AVAILABLE Eligible topic partition leaders are not available.
        ");
        story.beat(2);
        assert_eq!(story.partition("orders").leader, None);
        insta::assert_snapshot!(outcomes(&mut story, request(), 1), @"
        NONE
        orders-0 NONE
        ");
        insta::assert_snapshot!(story.show(), @"
        broker 1  fenced
        broker 2  unfenced
        orders-0  leader 2 epoch 2  isr 2  recovering
        ");
    }

    #[test]
    fn an_unknown_election_type_is_refused_and_version_0_is_told_in_each_partition() {
        let mut story = Story::with_brokers(&[], 1);
        story.topic("orders", &[&[1]], &[]);
        insta::assert_snapshot!(outcomes(&mut story, named(7, &[("orders", &[0])]), 2), @"
        INVALID_REQUEST
        orders-0 INVALID_REQUEST Unknown election type 7
        ");
        insta::assert_snapshot!(outcomes(&mut story, named(7, &[("orders", &[0])]), 0), @"
        NONE
        orders-0 INVALID_REQUEST Unknown election type 7
        ");
    }
}
