//! Pure. A consumer group out of a classic group that has members: `ConsumerGroup.fromClassicGroup`.

use super::topics::Topics;
use crate::embedded;
use crate::ids::{Generation, GroupEpoch, GroupId, MemberEpoch};
use crate::migration::Migrant;
use crate::record::{
    ClassicMember, ConsumerGroupValue, CurrentAssignmentValue, MemberState, MemberValue, Record, TopicPartitions,
};
use std::collections::BTreeSet;

/// What is wrong with what a member says.
const MALFORMED: &str = "the embedded consumer protocol is malformed";
/// What an assignor of the members' own would lose.
const CUSTOM: &str = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default \
                      assignor before re-attempting the upgrade";
/// What an assignor did that would have a partition read twice.
const TWICE: &str = "a partition is assigned to several members";

/// The records of a consumer group in which everybody has what it had in the classic group: its epoch, and that of each member,
/// is the generation (`ConsumerGroup.fromClassicGroup`, `createConsumerGroupRecords`).
///
/// Nobody knows which topics the leader knew, or whether all that it knew is assigned: a rebalance may have been on. By the hash of
/// nothing the next heartbeat, which is that of whoever made it a consumer group, has all assigned anew. Kafka counts on that one
/// to ask for other topics than before, which a static member in its own place does not.
///
/// In the middle of a rebalance what was assigned may be forgotten already, and members still hold it: what they said that they
/// own, and nobody was given, is theirs until they give it back. Kafka gives it to others while they read it.
///
/// What a member says for the first of its protocols is what is read. A group whose leader gave one partition to several members
/// is left as it is; Kafka fails there too, as if by accident.
///
/// # Errors
/// Why there can be none.
pub(crate) fn upgraded(
    group: &GroupId,
    generation: Generation,
    members: &[Migrant],
    topics: &dyn Topics,
) -> Result<Vec<Record>, &'static str> {
    let (mut values, mut targets, mut currents) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    let mut parsed = Vec::new();
    for migrant in members {
        let (value, owned) = value(migrant, topics)?;
        let assigned = assigned(migrant, topics)?;
        for (topic, partitions) in &assigned {
            if partitions.iter().any(|partition| !taken.insert((*topic, *partition))) {
                return Err(TWICE);
            }
        }
        parsed.push((migrant, value, assigned, owned));
    }
    for (migrant, value, mut assigned, owned) in parsed {
        for (topic, partitions) in owned {
            let free = partitions.into_iter().filter(|partition| taken.insert((topic, *partition)));
            let free: BTreeSet<_> = free.collect();
            if !free.is_empty() {
                assigned.entry(topic).or_default().extend(free);
            }
        }
        let (group, member) = (group.clone(), migrant.member.clone());
        values.push(Record::Member { group: group.clone(), member: member.clone(), value: Some(value) });
        targets.push(Record::TargetAssignment {
            group: group.clone(),
            member: member.clone(),
            value: Some(assigned.clone()),
        });
        currents.push(Record::CurrentAssignment { group, member, value: Some(current(generation, assigned)) });
    }
    let epoch = GroupEpoch(generation.0);
    let value = Some(ConsumerGroupValue { epoch, metadata_hash: 0 });
    let mut records = values;
    records.push(Record::ConsumerGroup { group: group.clone(), value });
    records.extend(targets);
    records.push(Record::TargetEpoch { group: group.clone(), value: Some(epoch) });
    records.extend(currents);
    Ok(records)
}

/// What the member said of itself, and what it owns.
fn value(migrant: &Migrant, topics: &dyn Topics) -> Result<(MemberValue, TopicPartitions), &'static str> {
    let (_, said) = migrant.protocols.first().ok_or(MALFORMED)?;
    let subscription = embedded::subscription(said, topics).map_err(|_| MALFORMED)?;
    let value = MemberValue {
        instance: migrant.instance.clone(),
        rack: subscription.rack,
        client_id: migrant.client_id.clone(),
        client_host: migrant.client_host.clone(),
        topics: subscription.topics.into_iter().collect(),
        regex: None,
        rebalance_timeout_ms: migrant.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicMember {
            session_timeout_ms: migrant.session_timeout_ms,
            protocols: migrant.protocols.clone(),
        }),
    };
    Ok((value, subscription.owned))
}

/// What the leader last gave it.
fn assigned(migrant: &Migrant, topics: &dyn Topics) -> Result<TopicPartitions, &'static str> {
    let assignment = embedded::assignment(&migrant.assignment, topics).map_err(|_| MALFORMED)?;
    if assignment.has_user_data { Err(CUSTOM) } else { Ok(assignment.partitions) }
}

fn current(generation: Generation, assigned: TopicPartitions) -> CurrentAssignmentValue {
    CurrentAssignmentValue {
        member_epoch: MemberEpoch(generation.0),
        previous_member_epoch: MemberEpoch(generation.0),
        state: MemberState::Stable,
        assigned,
        pending_revocation: TopicPartitions::new(),
    }
}
