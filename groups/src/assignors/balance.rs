//! Pure. Partitions spread as evenly as can be over members that ask for different topics:
//! `UniformHeterogeneousAssignmentBuilder`.
//!
//! What can stay stays; what is free goes to whoever has least; then partitions move, one topic at a time, from who has most to
//! who has least, until no single move makes anything more even.

use super::{GroupSpec, by_topic};
use crate::ids::MemberId;
use crate::record::TopicPartitions;
use protocol::ids::{PartitionIndex, TopicId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How often all topics are gone through to make things more even (`MAX_ITERATION_COUNT`): one round is nearly always enough,
/// and a bound is better than a coordinator that does nothing else.
const ROUNDS_MAX: usize = 16;

/// A member, by its place among the members.
type Member = usize;

/// An assignment in the making.
struct Shares {
    /// How many partitions each member has.
    loads: Vec<usize>,
    /// Whose each partition is.
    owners: BTreeMap<TopicId, BTreeMap<PartitionIndex, Member>>,
}

impl Shares {
    /// What can stay where it is.
    fn kept(group: &GroupSpec) -> Self {
        let kept = group.kept();
        let mut shares = Self { loads: vec![0; kept.len()], owners: BTreeMap::new() };
        for (member, partitions) in kept.into_iter().enumerate() {
            for (topic, partition) in partitions {
                shares.give(topic, partition, member);
            }
        }
        shares
    }

    fn give(&mut self, topic: TopicId, partition: PartitionIndex, member: Member) {
        self.loads[member] += 1;
        if let Some(before) = self.owners.entry(topic).or_default().insert(partition, member) {
            self.loads[before] -= 1;
        }
    }

    /// The members, ordered by how much they have.
    fn ranked(&self, members: impl IntoIterator<Item = Member>) -> BTreeSet<(usize, Member)> {
        members.into_iter().map(|member| (self.loads[member], member)).collect()
    }

    /// Gives the topic's partitions that nobody has to whoever has least.
    fn fill(&mut self, group: &GroupSpec, topic: TopicId, asking: &[Member]) {
        let mut ranked = self.ranked(asking.iter().copied());
        for partition in group.partitions(topic) {
            if self.owners.get(&topic).is_some_and(|owners| owners.contains_key(&partition)) {
                continue;
            }
            let (_, least) = ranked.pop_first().expect("a topic without subscribers is not assigned");
            self.give(topic, partition, least);
            ranked.insert((self.loads[least], least));
        }
    }

    /// Moves partitions of the topic from who has most to who has least while that makes things more even; whether any moved.
    fn even_out(&mut self, topic: TopicId, asking: &[Member]) -> bool {
        let mut held: BTreeMap<Member, Vec<PartitionIndex>> = BTreeMap::new();
        for (partition, member) in self.owners.get(&topic).into_iter().flatten() {
            held.entry(*member).or_default().push(*partition);
        }
        let mut takers = self.ranked(asking.iter().copied());
        let mut givers = self.ranked(held.keys().copied());
        let mut moved = false;
        while let (Some((least, to)), Some((most, from))) = (takers.first().copied(), givers.last().copied()) {
            if most <= least + 1 {
                break;
            }
            let partitions = held.get_mut(&from).expect("who gives holds some");
            let partition = partitions.pop().expect("who gives holds some");
            let gives_on = !partitions.is_empty();
            held.entry(to).or_default().push(partition);
            self.give(topic, partition, to);
            moved = true;
            givers.remove(&(most, from));
            givers.remove(&(least, to));
            takers.remove(&(most, from));
            takers.remove(&(least, to));
            takers.extend(self.ranked([from, to]));
            givers.extend(self.ranked(gives_on.then_some(from).into_iter().chain([to])));
        }
        moved
    }
}

/// As even a spread as the subscriptions allow.
pub(super) fn assign(group: &GroupSpec) -> BTreeMap<MemberId, TopicPartitions> {
    let mut shares = Shares::kept(group);
    let topics = ordered(group);
    for (topic, asking) in &topics {
        shares.fill(group, *topic, asking);
    }
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for (topic, asking) in &topics {
            moved |= shares.even_out(*topic, asking);
        }
        if !moved {
            break;
        }
    }
    let mut assignment: Vec<Vec<(TopicId, PartitionIndex)>> = vec![Vec::new(); group.members.len()];
    for (topic, owners) in shares.owners {
        for (partition, member) in owners {
            assignment[member].push((topic, partition));
        }
    }
    group.members.keys().cloned().zip(assignment.into_iter().map(by_topic)).collect()
}

/// The topics that somebody asks for, each with who does: first those with many partitions for each who asks, then those with
/// few who ask, so that what can go to many is left for the end.
fn ordered(group: &GroupSpec) -> Vec<(TopicId, Vec<Member>)> {
    let mut asking: BTreeMap<TopicId, Vec<Member>> = BTreeMap::new();
    for (member, spec) in group.members.values().enumerate() {
        for topic in spec.topics.iter().filter(|topic| group.partition_counts.contains_key(topic)) {
            asking.entry(*topic).or_default().push(member);
        }
    }
    let mut topics: Vec<_> = asking.into_iter().collect();
    let count = |topic: &TopicId| group.partition_counts.get(topic).copied().unwrap_or(0);
    topics.sort_by(|(a, asking_a), (b, asking_b)| {
        // Partitions a subscriber, compared without a division.
        let each_a = count(a) * asking_b.len();
        let each_b = count(b) * asking_a.len();
        Reverse(each_a).cmp(&Reverse(each_b)).then(asking_a.len().cmp(&asking_b.len())).then(a.cmp(b))
    });
    topics
}
