//! What the assignors give to whom.

use super::*;
use proptest::prelude::*;

fn counts(topics: &[(&str, i32)]) -> PartitionCounts {
    topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

fn partitions(names: &str) -> BTreeSet<PartitionName> {
    let parse = |name: &str| {
        let (topic, index) = name.rsplit_once('-').expect("topic-index");
        PartitionName::new(topic, PartitionIndex(index.parse().expect("a number")))
    };
    names.split_whitespace().map(parse).collect()
}

fn member(id: &str, topics: &str) -> Member {
    let topics = topics.split_whitespace().map(Arc::from).collect();
    let subscription = Subscription { topics, ..Subscription::default() };
    Member { member_id: MemberId::from(id), instance_id: None, subscription }
}

fn owning(id: &str, topics: &str, owned: &str, generation: i32) -> Member {
    let mut member = member(id, topics);
    member.subscription.owned = partitions(owned);
    member.subscription.generation = Some(Generation(generation));
    member
}

fn shown(assignments: &Assignments) -> String {
    let line = |(member, partitions): (&MemberId, &BTreeSet<PartitionName>)| {
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{}: {}", member.0, partitions.join(" "))
    };
    assignments.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same members, owning what they were assigned.
fn after(members: &[Member], assignments: &Assignments, generation: i32) -> Vec<Member> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.subscription.owned = assignments[&member.member_id].clone();
        member.subscription.generation = Some(Generation(generation));
    }
    members
}

#[test]
fn range_gives_runs_of_each_topic_and_the_rest_to_the_first() {
    let members = [member("c", "s t"), member("a", "s t"), member("b", "t")];
    insta::assert_snapshot!(shown(&Assignor::Range.assign(&members, &counts(&[("s", 3), ("t", 7)]))), @"
    a: s-0 s-1 t-0 t-1 t-2
    b: t-3 t-4
    c: s-2 t-5 t-6
    ");
}

#[test]
fn members_with_an_instance_id_come_first() {
    let mut members = [member("a", "t"), member("b", "t"), member("c", "t")];
    members[2].instance_id = Some(Arc::from("z"));
    insta::assert_snapshot!(shown(&Assignor::Range.assign(&members, &counts(&[("t", 4)]))), @"
    a: t-2
    b: t-3
    c: t-0 t-1
    ");
}

#[test]
fn round_robin_goes_on_from_topic_to_topic_and_passes_by_who_does_not_want_it() {
    let members = [member("a", "s t"), member("b", "t")];
    insta::assert_snapshot!(shown(&Assignor::RoundRobin.assign(&members, &counts(&[("s", 1), ("t", 3), ("u", 1)]))), @"
    a: s-0 t-1
    b: t-0 t-2
    ");
}

#[test]
fn a_topic_that_does_not_exist_gives_nobody_anything() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        let assigned = assignor.assign(&[member("a", "nowhere")], &counts(&[("t", 2)]));
        assert_eq!(shown(&assigned), "a: ", "{}", assignor.name());
    }
}

#[test]
fn cooperative_sticky_holds_back_what_another_has_until_it_is_given_up() {
    let members = [owning("a", "t", "t-0 t-1 t-2 t-3", 1), member("b", "t")];
    let counts = counts(&[("t", 4)]);
    let first = Assignor::CooperativeSticky.assign(&members, &counts);
    insta::assert_snapshot!(shown(&first), @"
    a: t-2 t-3
    b: 
    ");
    let second = Assignor::CooperativeSticky.assign(&after(&members, &first, 2), &counts);
    insta::assert_snapshot!(shown(&second), @"
    a: t-2 t-3
    b: t-0 t-1
    ");
    assert_eq!(Assignor::CooperativeSticky.assign(&after(&members, &second, 3), &counts), second);
}

#[test]
fn a_partition_claimed_twice_is_the_later_generations_to_give_up() {
    let members = [owning("a", "t", "t-0", 4), owning("b", "t", "t-0 t-1", 5)];
    let assigned = Assignor::CooperativeSticky.assign(&members, &counts(&[("t", 2)]));
    insta::assert_snapshot!(shown(&assigned), @"
    a: 
    b: t-1
    ");
}

#[test]
fn an_older_subscription_tells_its_generation_in_its_user_data() {
    let mut old = owning("b", "t", "t-0", 0);
    old.subscription.generation = None;
    old.subscription.user_data = Assignor::CooperativeSticky.user_data(Some(Generation(9)));
    let members = [owning("a", "t", "t-0", 4), old];
    let assigned = Assignor::CooperativeSticky.assign(&members, &counts(&[("t", 1)]));
    assert_eq!(assigned[&MemberId::from("b")], partitions("t-0"));
}

#[test]
fn one_eager_assignor_makes_the_group_eager() {
    assert_eq!(rebalance_protocol(&[Assignor::CooperativeSticky]), RebalanceProtocol::Cooperative);
    assert_eq!(rebalance_protocol(&[Assignor::CooperativeSticky, Assignor::Range]), RebalanceProtocol::Eager);
}

/// Members that want some of three topics, and what those have.
fn groups() -> impl Strategy<Value = (Vec<Member>, PartitionCounts)> {
    let topics = ["s", "t", "u"];
    let wants = prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..6);
    (wants, prop::collection::vec(0i32..9, 3)).prop_map(move |(wants, sizes)| {
        let members = wants.iter().enumerate().map(|(at, wants)| {
            let wanted: Vec<&str> =
                topics.iter().zip(wants).filter(|(_, want)| **want).map(|(topic, _)| *topic).collect();
            member(&format!("m{at}"), &wanted.join(" "))
        });
        let sizes = topics.iter().zip(sizes).map(|(topic, size)| (Arc::from(*topic), size)).collect();
        (members.collect(), sizes)
    })
}

/// Each partition that somebody wants is read by one member, who wants it.
fn check_shared(members: &[Member], counts: &PartitionCounts, assignments: &Assignments) {
    let all: Vec<PartitionName> = assignments.values().flatten().cloned().collect();
    let distinct: BTreeSet<PartitionName> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "nothing twice: {}", shown(assignments));
    let sorted: Vec<&Member> = members.iter().collect();
    assert_eq!(
        distinct,
        wanted_partitions(&sorted, counts).into_iter().collect(),
        "everything: {}",
        shown(assignments)
    );
    for member in members {
        assert!(assignments[&member.member_id].iter().all(|partition| member.wants(partition)));
    }
}

proptest! {
    #[test]
    fn everything_is_shared_once((members, counts) in groups()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            check_shared(&members, &counts, &assignor.assign(&members, &counts));
        }
    }

    #[test]
    fn cooperative_sticky_comes_to_rest_even_and_unowned_twice((members, counts) in groups(), leaver in 0usize..6) {
        let settle = |mut members: Vec<Member>| {
            for generation in 1..6 {
                let before: BTreeMap<PartitionName, MemberId> = members.iter()
                    .flat_map(|member| member.subscription.owned.iter().map(|owned| (owned.clone(), member.member_id.clone())))
                    .collect();
                let assigned = Assignor::CooperativeSticky.assign(&members, &counts);
                for (member, partitions) in &assigned {
                    for partition in partitions {
                        assert!(before.get(partition).is_none_or(|owner| owner == member), "{partition} has two owners");
                    }
                }
                let next = after(&members, &assigned, generation);
                let rests = next.iter().zip(&members).all(|(next, before)| next.subscription.owned == before.subscription.owned);
                members = next;
                if rests {
                    break;
                }
            }
            members
        };
        let check = |members: &[Member]| {
            let rested: Assignments = members.iter().map(|member| (member.member_id.clone(), member.subscription.owned.clone())).collect();
            check_shared(members, &counts, &rested);
            for rich in members {
                for poor in members {
                    let movable = rich.subscription.owned.iter().any(|partition| poor.wants(partition));
                    let (rich, poor) = (rich.subscription.owned.len(), poor.subscription.owned.len());
                    assert!(!movable || rich <= poor + 1, "{rich} and {poor}: {}", shown(&rested));
                }
            }
        };
        let mut members = settle(members);
        check(&members);
        let kept = members.clone();
        members.remove(leaver % members.len());
        if !members.is_empty() {
            members = settle(members);
            check(&members);
            // Nobody who stays gives anything up when somebody leaves, if all want the same.
            let alike = kept.iter().all(|member| member.subscription.topics == kept[0].subscription.topics);
            for member in members.iter().filter(|_| alike) {
                let before = kept.iter().find(|kept| kept.member_id == member.member_id).expect("it was there");
                assert!(member.subscription.owned.is_superset(&before.subscription.owned));
            }
        }
    }
}
