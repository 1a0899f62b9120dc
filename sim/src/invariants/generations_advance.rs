//! Pure. No. 56: the generation of a classic group never goes back, whoever coordinates it, and no member is given partitions in
//! one that is not committed (A18: the assignment is persisted before SyncGroup is answered).

use super::Invariant;
use crate::{
    event::{MemberDid, MemberEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::record::Record;
use protocol::ids::Offset;

/// See the module.
pub struct GenerationsAdvance;

impl Invariant for GenerationsAdvance {
    fn name(&self) -> &'static str {
        "generations_advance"
    }

    fn claim(&self) -> &'static str {
        "56: a group's generation never goes back, and is committed before anybody is told"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Replica(ReplicaEvent::GroupsWritten { base_offset, records, .. }) => {
                records.iter().try_for_each(|record| goes_on(ledger, *base_offset, record))
            }
            Fact::Member(MemberEvent { member, what: MemberDid::Took { generation, .. } }) => {
                let committed = ledger.group_committed(&member.group);
                let mut recorded = ledger.groups.classic(&member.group).peekable();
                // A consumer group has no generations.
                let is_classic = recorded.peek().is_some() || ledger.groups.of(&member.group).next().is_none();
                let mut known = recorded.filter(|(end, _)| *end <= committed);
                if is_classic && !known.any(|(_, value)| value.is_some_and(|value| value.generation.0 == *generation)) {
                    return Err(format!("{member} is in generation {generation}, which is not committed"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn goes_on(ledger: &Ledger, base_offset: Offset, record: &Record) -> Result<(), String> {
    let Record::ClassicGroup { group, value: Some(value) } = record else { return Ok(()) };
    let before = ledger.groups.classic(group).rev().find(|(end, _)| *end <= base_offset);
    match before.and_then(|(_, value)| value) {
        Some(before) if before.generation > value.generation => {
            Err(format!("{group} was in generation {} and is in {} now", before.generation, value.generation))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, generation, member},
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
    fn a_generation_is_committed_before_a_member_is_in_it() {
        let written = || Story::new(GenerationsAdvance).cluster().groups(0, 1, vec![generation(4)]);
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(4)).verdict.is_ok());
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(took(5)).verdict.is_err());
        assert!(written().member(took(4)).verdict.is_err());
    }
}
