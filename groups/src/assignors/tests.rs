//! What is true of every assignment, and a few by hand.

use super::{Assignor, GroupSpec, MemberSpec};
use crate::ids::{InstanceId, MemberId};
use crate::record::TopicPartitions;
use proptest::prelude::*;
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uuid::Uuid;

type Assignment = BTreeMap<MemberId, TopicPartitions>;

fn topic(id: u128) -> TopicId {
    TopicId(Uuid::from_u128(id))
}

/// A group of members by name and topics, over topics with so many partitions.
fn group(counts: &[(u128, usize)], members: &[(&str, &[u128])]) -> GroupSpec {
    GroupSpec {
        members: members
            .iter()
            .map(|(member, topics)| {
                let topics = topics.iter().map(|id| topic(*id)).collect();
                (MemberId::from(*member), MemberSpec { topics, ..MemberSpec::default() })
            })
            .collect(),
        partition_counts: counts.iter().map(|(id, count)| (topic(*id), *count)).collect(),
    }
}

/// The group once it is to have that.
fn then(mut group: GroupSpec, assignment: &Assignment) -> GroupSpec {
    for (member, spec) in &mut group.members {
        spec.target = assignment.get(member).cloned().unwrap_or_default();
    }
    group
}

fn load(assignment: &Assignment, member: &MemberId) -> usize {
    assignment[member].values().map(BTreeSet::len).sum()
}

fn owners(assignment: &Assignment) -> BTreeMap<(TopicId, PartitionIndex), MemberId> {
    let mut owners = BTreeMap::new();
    for (member, topics) in assignment {
        for (topic, partitions) in topics {
            for partition in partitions {
                let before = owners.insert((*topic, *partition), member.clone());
                assert_eq!(before, None, "{topic}-{partition} is given twice");
            }
        }
    }
    owners
}

fn check(assignor: Assignor, group: &GroupSpec, expected: &str) {
    let mut text = String::new();
    for (member, topics) in assignor.assign(group) {
        write!(text, "{member}:").expect("a string takes all");
        for (topic, partitions) in topics {
            let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            write!(text, " {}[{}]", topic.0.as_u128(), partitions.join(",")).expect("a string takes all");
        }
        text.push('\n');
    }
    assert_eq!(text.trim(), expected.trim());
}

#[test]
fn range_reads_topics_of_equal_size_together() {
    let group = group(&[(1, 5), (2, 5)], &[("a", &[1, 2]), ("b", &[1, 2]), ("c", &[1, 2])]);
    check(Assignor::Range, &group, "a: 1[0,1] 2[0,1]\nb: 1[2,3] 2[2,3]\nc: 1[4] 2[4]");
}

#[test]
fn range_leaves_members_without_where_there_are_too_few() {
    let group = group(&[(1, 2), (2, 1)], &[("a", &[1]), ("b", &[1, 2]), ("c", &[1])]);
    check(Assignor::Range, &group, "a: 1[0]\nb: 1[1] 2[0]\nc:");
}

#[test]
fn range_puts_static_members_first() {
    let mut group = group(&[(1, 3)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]);
    for (member, instance) in [("c", "i1"), ("b", "i2")] {
        group.members.get_mut(member).expect("it is there").instance = Some(InstanceId::from(instance));
    }
    check(Assignor::Range, &group, "a: 1[2]\nb: 1[1]\nc: 1[0]");
}

#[test]
fn uniform_fills_who_has_less() {
    let group = group(&[(1, 3), (2, 2)], &[("a", &[1, 2]), ("b", &[1, 2])]);
    check(Assignor::Uniform, &group, "a: 1[0,1,2]\nb: 2[0,1]");
}

#[test]
fn uniform_moves_no_more_than_a_newcomer_gets() {
    let before = group(&[(1, 7)], &[("b", &[1]), ("c", &[1])]);
    let assignment = Assignor::Uniform.assign(&before);
    let joined = then(group(&[(1, 7)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]), &assignment);
    check(Assignor::Uniform, &joined, "a: 1[3,6]\nb: 1[0,1,2]\nc: 1[4,5]");
}

#[test]
fn uniform_gives_who_asks_for_more_less_of_what_others_ask_for() {
    let group = group(&[(1, 4), (2, 2)], &[("a", &[1]), ("b", &[1, 2])]);
    check(Assignor::Uniform, &group, "a: 1[0,1,2]\nb: 1[3] 2[0,1]");
}

#[test]
fn uniform_takes_back_what_is_no_longer_asked_for() {
    let before = group(&[(1, 2), (2, 2)], &[("a", &[1, 2]), ("b", &[1, 2])]);
    let assignment = Assignor::Uniform.assign(&before);
    let changed = then(group(&[(1, 2), (2, 2)], &[("a", &[2]), ("b", &[1, 2])]), &assignment);
    check(Assignor::Uniform, &changed, "a: 2[0,1]\nb: 1[0,1]");
}

#[test]
fn a_topic_that_is_unknown_has_no_partitions() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        check(assignor, &group(&[(1, 1)], &[("a", &[1, 9])]), "a: 1[0]");
    }
}

#[test]
fn nobody_gets_nothing() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert_eq!(assignor.assign(&GroupSpec::default()), Assignment::new());
    }
}

#[test]
fn a_name_names_its_assignor() {
    assert_eq!(Assignor::from_name("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::from_name("range"), Some(Assignor::Range));
    assert_eq!(Assignor::from_name("Range"), None);
}

/// Up to seven members over up to five topics, with whatever targets, even impossible ones.
fn groups(homogeneous: bool) -> impl Strategy<Value = GroupSpec> {
    let counts = prop::collection::vec(0usize..9, 1..6);
    let members = prop::collection::vec((any::<u8>(), prop::collection::vec((0u128..6, 0i32..10), 0..12)), 1..8);
    (counts, members).prop_map(move |(counts, members)| {
        let mask = members[0].0;
        let member = |(own, target): (u8, Vec<(u128, i32)>)| {
            let bits = if homogeneous { mask } else { own };
            let topics = (0..counts.len()).filter(|index| bits & (1 << index) != 0).map(|index| topic(index as u128));
            let target = super::by_topic(target.into_iter().map(|(id, index)| (topic(id), PartitionIndex(index))));
            MemberSpec { instance: None, topics: topics.collect(), target }
        };
        GroupSpec {
            partition_counts: counts.iter().enumerate().map(|(id, count)| (topic(id as u128), *count)).collect(),
            members: members
                .into_iter()
                .enumerate()
                .map(|(i, m)| (MemberId::from(format!("m{i}")), member(m)))
                .collect(),
        }
    })
}

/// Each partition that somebody asks for is given to one who asks for it, and nothing else is given.
fn complete(group: &GroupSpec, assignment: &Assignment) {
    assert_eq!(group.members.keys().collect::<Vec<_>>(), assignment.keys().collect::<Vec<_>>());
    let owners = owners(assignment);
    for ((topic, partition), owner) in &owners {
        assert!(group.members[owner].topics.contains(topic), "{owner} did not ask for {topic}");
        assert!((partition.0 as usize) < group.partition_counts[topic], "{topic}-{partition} does not exist");
    }
    for (topic, count) in &group.partition_counts {
        let asked = group.members.values().any(|member| member.topics.contains(topic));
        let given = owners.keys().filter(|(of, _)| of == topic).count();
        assert_eq!(given, if asked { *count } else { 0 }, "of {topic}");
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner_who_asked((group, range) in (any::<bool>().prop_flat_map(groups), any::<bool>())) {
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        complete(&group, &assignor.assign(&group));
    }

    #[test]
    fn range_gives_each_topic_in_equal_ranges(group in any::<bool>().prop_flat_map(groups)) {
        for topics in Assignor::Range.assign(&group).values() {
            for (topic, partitions) in topics {
                let asking = group.members.values().filter(|member| member.topics.contains(topic)).count();
                let least = group.partition_counts[topic] / asking;
                prop_assert!(partitions.len() == least || partitions.len() == least + 1);
                let (first, last) = (partitions.first().expect("none is empty"), partitions.last().expect("none is empty"));
                prop_assert_eq!((last.0 - first.0) as usize + 1, partitions.len());
            }
        }
    }

    #[test]
    fn uniform_is_even_where_all_ask_for_the_same(group in groups(true)) {
        let assignment = Assignor::Uniform.assign(&group);
        let loads: Vec<_> = assignment.keys().map(|member| load(&assignment, member)).collect();
        prop_assert!(loads.iter().max().expect("somebody") - loads.iter().min().expect("somebody") <= 1, "{:?}", loads);
    }

    #[test]
    fn uniform_leaves_no_move_that_would_help(group in groups(false)) {
        let assignment = Assignor::Uniform.assign(&group);
        for ((topic, _), owner) in owners(&assignment) {
            for (other, spec) in &group.members {
                let helps = spec.topics.contains(&topic) && load(&assignment, &owner) > load(&assignment, other) + 1;
                prop_assert!(!helps, "{} could give of {} to {}", owner, topic, other);
            }
        }
    }

    #[test]
    fn nothing_moves_while_nothing_changes(group in any::<bool>().prop_flat_map(groups)) {
        for assignor in [Assignor::Range, Assignor::Uniform] {
            let assignment = assignor.assign(&group);
            let again = assignor.assign(&then(group.clone(), &assignment));
            prop_assert_eq!(&assignment, &again, "{:?}", assignor);
        }
    }

    #[test]
    fn whoever_comes_or_goes_moves_nothing_between_the_others(group in groups(true), newcomer in any::<bool>(), which in 0usize..8) {
        let mut changed = then(group.clone(), &Assignor::Uniform.assign(&group));
        let topics = changed.members.values().next().expect("somebody").topics.clone();
        let absent = if newcomer {
            // Between the others, so that no order of members helps.
            let member = MemberId::from(format!("m{which}+"));
            changed.members.insert(member.clone(), MemberSpec { topics, ..MemberSpec::default() });
            member
        } else {
            let member = changed.members.keys().nth(which % changed.members.len()).expect("it is below").clone();
            changed.members.remove(&member);
            member
        };
        prop_assume!(!changed.members.is_empty());
        let before = owners(&Assignor::Uniform.assign(&group));
        for (partition, owner) in owners(&Assignor::Uniform.assign(&changed)) {
            let was = before.get(&partition).expect("all are owned");
            prop_assert!(owner == *was || *was == absent || owner == absent, "{:?}: {} to {}", partition, was, owner);
        }
    }
}
