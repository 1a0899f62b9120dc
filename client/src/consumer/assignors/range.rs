//! Pure. The `range` assignor: of each topic a run of partitions to each member, the first ones one longer (`RangeAssignor`).
//!
//! Racks are not looked at. Driven by `assignors`.

use super::{Assignments, Member, PartitionCounts, named, nothing, wanted_topics};

/// Shares each topic among those that want it. `members` are in order.
pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignments {
    let mut assignments = nothing(members);
    for (topic, count) in wanted_topics(members, counts) {
        let takers: Vec<&&Member> =
            members.iter().filter(|member| member.subscription.topics.contains(topic)).collect();
        let takers_count = i32::try_from(takers.len()).expect("fewer members than 2^31");
        let (share, longer) = (count / takers_count, count % takers_count);
        let mut next = 0;
        for (place, taker) in (0..).zip(takers) {
            let end = next + share + i32::from(place < longer);
            let assigned = assignments.get_mut(&taker.member_id).expect("every member is in it");
            assigned.extend((next..end).map(|index| named(topic, index)));
            next = end;
        }
    }
    assignments
}
