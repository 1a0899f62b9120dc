//! Pure. No. 56: the generation of a classic group, and the epochs of a consumer group and of its members, never go back, whoever
//! coordinates it, and no member is given partitions in one that is not committed (A18: the assignment is persisted before
//! SyncGroup is answered; KIP-848: so is what a member has before its heartbeat is).

use super::Invariant;
use crate::{
    event::{MemberDid, MemberEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::{ids::MemberEpoch, record::Record};
use protocol::ids::Offset;

/// See the module.
pub struct GenerationsAdvance;

impl Invariant for GenerationsAdvance {
    fn name(&self) -> &'static str {
        "generations_advance"
    }

    fn claim(&self) -> &'static str {
        "56: a group's generation or epoch never goes back, and is committed before anybody is told"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Replica(ReplicaEvent::GroupsWritten { base_offset, records, .. }) => {
                records.iter().try_for_each(|record| goes_on(ledger, *base_offset, record))
            }
            // One that has learned meanwhile that it is no member is in none.
            Fact::Member(MemberEvent { member, what: MemberDid::Took { generation, .. } }) if *generation >= 0 => {
                let committed = ledger.group_committed(&member.group);
                let classic = ledger.groups.classic(&member.group).filter(|(end, _)| *end <= committed);
                let given = ledger.groups.given(&member.group).filter(|(end, _, _)| *end <= committed);
                let generations = classic.filter_map(|(_, value)| Some(value?.generation.0));
                let mut known = generations.chain(given.filter_map(|(_, _, value)| Some(value?.member_epoch.0)));
                if !known.any(|known| known == *generation) {
                    return Err(format!("{member} is in generation {generation}, which is not committed"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn goes_on(ledger: &Ledger, base_offset: Offset, record: &Record) -> Result<(), String> {
    let groups = &ledger.groups;
    let (what, before, after) = match record {
        Record::ClassicGroup { group, value: Some(value) } => {
            let before = groups.classic(group).rev().find(|(end, _)| *end <= base_offset);
            (
                format!("the generation of {group}"),
                before.and_then(|(_, value)| Some(value?.generation.0)),
                value.generation.0,
            )
        }
        Record::ConsumerGroup { group, value: Some(value) } => {
            let before = groups.epochs(group).rev().find(|(end, _)| *end <= base_offset);
            (format!("the epoch of {group}"), before.and_then(|(_, epoch)| Some(epoch?.0)), value.epoch.0)
        }
        // One that leaves for a while, by the name that it keeps, has no epoch until it is back.
        Record::CurrentAssignment { group, member, value: Some(value) } if value.member_epoch >= MemberEpoch::JOIN => {
            let before = groups.given(group).rev().find(|(end, id, _)| *end <= base_offset && *id == member);
            let before = before.and_then(|(_, _, value)| Some(value?.member_epoch.0));
            (format!("the epoch of {member} in {group}"), before, value.member_epoch.0)
        }
        _ => return Ok(()),
    };
    match before {
        Some(before) if before > after => Err(format!("{what} was {before} and is {after} now")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, epoch, generation, given, member},
        *,
    };

    fn took(generation: i32) -> MemberEvent {
        MemberEvent { member: member(1), what: MemberDid::Took { generation, partitions: vec![] } }
    }

    #[test]
    fn a_generation_that_goes_back_is_found() {
        let story = || Story::new(GenerationsAdvance).cluster().groups(0, 1, vec![generation(4)]);
        assert!(story().groups(1, 1, vec![generation(4)]).groups(2, 1, vec![generation(5)]).verdict.is_ok());
        assert!(story().groups(1, 1, vec![generation(3)]).verdict.is_err());
        // The next coordinator never had it, and nobody was told.
        assert!(story().groups(0, 2, vec![generation(3)]).verdict.is_ok());
    }

    #[test]
    fn an_epoch_that_goes_back_is_found() {
        let of_a = |epoch| given("a", epoch, &[], &[]);
        let story = || Story::new(GenerationsAdvance).cluster().groups(0, 1, vec![epoch(4), of_a(4)]);
        assert!(story().groups(2, 1, vec![epoch(5), of_a(5)]).groups(4, 1, vec![of_a(-2)]).verdict.is_ok());
        assert!(story().groups(2, 1, vec![epoch(3)]).verdict.is_err());
        assert!(story().groups(2, 1, vec![of_a(3)]).verdict.is_err());
        assert!(story().groups(2, 1, vec![given("b", 3, &[], &[])]).verdict.is_ok());
    }

    #[test]
    fn an_epoch_is_committed_before_a_member_is_in_it() {
        let written = || Story::new(GenerationsAdvance).cluster().groups(0, 1, vec![given("a", 4, &[], &[])]);
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(4)).verdict.is_ok());
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(5)).verdict.is_err());
        assert!(written().member(took(4)).verdict.is_err());
    }

    #[test]
    fn a_generation_is_committed_before_a_member_is_in_it() {
        let written = || Story::new(GenerationsAdvance).cluster().groups(0, 1, vec![generation(4)]);
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(4)).verdict.is_ok());
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(5)).verdict.is_err());
        assert!(written().member(took(4)).verdict.is_err());
    }
}
