//! Pure. The `cooperative-sticky` assignor: as even as can be, with few moves, and never two owners at a time (KIP-54, KIP-429).
//!
//! Its outcome has the properties of `CooperativeStickyAssignor`'s, which is all that members rely on: who gets which partition
//! may differ. Driven by `assignors`.

use super::{Assignments, Member, PartitionCounts, nothing, wanted_partitions};
use crate::PartitionName;
use crate::consumer::membership::Generation;
use std::collections::{BTreeMap, BTreeSet};

/// Shares the partitions, then holds back those that somebody else has to give up first.
pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignments {
    let partitions = wanted_partitions(members, counts);
    let before = owners(members, &partitions);
    let mut sharing = Sharing { members, loads: vec![0; members.len()], owner: BTreeMap::new() };
    for (partition, owner) in &before {
        sharing.give(partition, *owner);
    }
    for partition in &partitions {
        if !before.contains_key(partition)
            && let Some(taker) = sharing.least_loaded(partition)
        {
            sharing.give(partition, taker);
        }
    }
    sharing.even_out(&partitions);
    let mut assignments = nothing(members);
    for (partition, owner) in sharing.owner {
        assignments.get_mut(&members[owner].member_id).expect("every member is in it").insert(partition);
    }
    if runtime::mutant!("S23") {
        runtime::mutant_diverged!("S23");
        return assignments;
    }
    hold_back(members, &before, &mut assignments);
    assignments
}

/// Who has each partition now. Of several that claim it the one of the latest generation does; of two in the same, neither
/// (`AbstractStickyAssignor`).
fn owners(members: &[&Member], partitions: &[PartitionName]) -> BTreeMap<PartitionName, usize> {
    let mut claims: BTreeMap<&PartitionName, Vec<(Generation, usize)>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        let generation = generation_of(member);
        for partition in member.subscription.owned.iter().filter(|partition| member.wants(partition)) {
            claims.entry(partition).or_default().push((generation, place));
        }
    }
    let mut owners = BTreeMap::new();
    for partition in partitions {
        let Some(claims) = claims.get(partition) else { continue };
        let latest = claims.iter().map(|(generation, _)| *generation).max();
        let mut rightful = claims.iter().filter(|(generation, _)| Some(*generation) == latest);
        if let (Some((_, place)), None) = (rightful.next(), rightful.next()) {
            owners.insert(partition.clone(), *place);
        }
    }
    owners
}

/// The generation of what a member owns: from its subscription, or from the user data of an older one.
fn generation_of(member: &Member) -> Generation {
    let told = || {
        let bytes = member.subscription.user_data.as_ref()?.first_chunk()?;
        Some(Generation(i32::from_be_bytes(*bytes)))
    };
    member.subscription.generation.or_else(told).unwrap_or(Generation::NONE)
}

/// A sharing in the making. Members are known by their place in the order.
struct Sharing<'a> {
    members: &'a [&'a Member],
    loads: Vec<usize>,
    owner: BTreeMap<PartitionName, usize>,
}

impl Sharing<'_> {
    fn give(&mut self, partition: &PartitionName, taker: usize) {
        if let Some(before) = self.owner.insert(partition.clone(), taker) {
            self.loads[before] -= 1;
        }
        self.loads[taker] += 1;
    }

    /// Of those that want it the one with the fewest, the first in the order if there are several.
    fn least_loaded(&self, partition: &PartitionName) -> Option<usize> {
        let takers = (0..self.members.len()).filter(|place| self.members[*place].wants(partition));
        takers.min_by_key(|place| (self.loads[*place], *place))
    }

    /// Moves partitions from who has more to who has at least two fewer. Each move makes the loads more even, so it ends.
    ///
    /// Partitions move from the most loaded member first, so that none moves twice on its way.
    fn even_out(&mut self, partitions: &[PartitionName]) {
        loop {
            let mut moved = false;
            let mut order: Vec<&PartitionName> = partitions.iter().collect();
            order.sort_by_key(|partition| {
                std::cmp::Reverse(self.owner.get(*partition).map_or(0, |owner| self.loads[*owner]))
            });
            for partition in order {
                let (Some(owner), Some(taker)) = (self.owner.get(partition).copied(), self.least_loaded(partition))
                else {
                    continue;
                };
                if self.loads[owner] > self.loads[taker] + 1 {
                    self.give(partition, taker);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }
}

/// Takes out of the assignments what moves from one member to another: its owner learns that it has lost the partition, and
/// the next rebalance gives it away (`CooperativeStickyAssignor.adjustAssignment`). What several claim without a rightful owner
/// is given up by all of them first.
fn hold_back(members: &[&Member], owners: &BTreeMap<PartitionName, usize>, assignments: &mut Assignments) {
    let mut claims: BTreeMap<&PartitionName, BTreeSet<usize>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        for partition in &member.subscription.owned {
            claims.entry(partition).or_default().insert(place);
        }
    }
    for (place, member) in members.iter().enumerate() {
        let is_free = |partition: &PartitionName| match (owners.get(partition), claims.get(partition)) {
            (Some(owner), _) => *owner == place,
            (None, Some(claims)) => claims.iter().all(|claimant| *claimant == place),
            (None, None) => true,
        };
        assignments.get_mut(&member.member_id).expect("every member is in it").retain(is_free);
    }
}
