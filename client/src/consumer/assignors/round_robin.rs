//! Pure. The `roundrobin` assignor: all partitions in order, each to the next member that wants it (`RoundRobinAssignor`).
//!
//! Driven by `assignors`.

use super::{Assignments, Member, PartitionCounts, nothing, wanted_partitions};

/// Goes round the members, which are in order, once for all topics together.
pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignments {
    let mut assignments = nothing(members);
    let mut turn = 0;
    for partition in wanted_partitions(members, counts) {
        while !members[turn % members.len()].wants(&partition) {
            turn += 1;
        }
        let taker = &members[turn % members.len()].member_id;
        assignments.get_mut(taker).expect("every member is in it").insert(partition);
        turn += 1;
    }
    assignments
}
