//! Pure. What each member of a group is to have: its subscriptions put to its assignor (`TargetAssignmentBuilder`).

use super::ConsumerGroupConfig;
use super::state::State;
use super::topics::Topics;
use crate::assignors::{Assignor, GroupSpec, MemberSpec};
use crate::ids::MemberId;
use crate::record::TopicPartitions;
use std::collections::BTreeMap;

/// The assignor that most members choose, of those that choose one (`computePreferredServerAssignor`). Where several are chosen
/// equally often it is the one that comes first in the configuration, which Kafka leaves to chance.
pub(super) fn preferred(state: &State, config: &ConsumerGroupConfig) -> Assignor {
    let votes = |assignor: &Assignor| {
        state.members().values().filter(|member| member.assignor.as_deref() == Some(assignor.name())).count()
    };
    let chosen = config.assignors.iter().rev().max_by_key(|assignor| votes(assignor));
    *chosen.expect("a broker has at least one assignor")
}

/// What is new about what members are to have, and for whom.
pub(super) fn changes(
    state: &State,
    topics: &dyn Topics,
    config: &ConsumerGroupConfig,
) -> BTreeMap<MemberId, TopicPartitions> {
    let known = state.known_topics(topics);
    let spec = |member: &MemberId| {
        let value = &state.members()[member];
        MemberSpec {
            instance: value.instance.clone(),
            topics: state.asked(value, &known),
            target: state.targets().get(member).cloned().unwrap_or_default(),
        }
    };
    let group = GroupSpec {
        members: state.members().keys().map(|member| (member.clone(), spec(member))).collect(),
        partition_counts: known.values().map(|topic| (topic.id, topic.partitions)).collect(),
    };
    let mut targets = preferred(state, config).assign(&group);
    targets.retain(|member, target| state.targets().get(member) != Some(target));
    targets
}
