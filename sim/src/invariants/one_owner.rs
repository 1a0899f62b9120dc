//! Pure. No. 54: in one generation nobody reads what another member reads (KAFKA-16147 broke it for consumer groups; Kafka's
//! `ConsumerCoordinator` for classic ones).

use super::Invariant;
use crate::{
    event::{Member, MemberDid, MemberEvent, NamedPartition},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub struct OneOwner {
    has: BTreeMap<Member, BTreeSet<NamedPartition>>,
    owners: BTreeMap<(String, i32), BTreeMap<NamedPartition, Member>>,
    /// What a member still had when another took it in a generation: it is no member of that one, or has it for itself no more.
    overtaken: BTreeMap<(Member, i32), (NamedPartition, Member)>,
}

impl Invariant for OneOwner {
    fn name(&self) -> &'static str {
        "one_owner"
    }

    fn claim(&self) -> &'static str {
        "54: in one generation a partition is read by one member"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Member(MemberEvent { member, what }) = observed.fact else { return Ok(()) };
        match what {
            MemberDid::Took { generation, partitions } => {
                if let Some((of, taker)) = self.overtaken.get(&(member.clone(), *generation)) {
                    return Err(format!(
                        "{member} is in generation {generation}, in which {taker} took {of} while it had it"
                    ));
                }
                let others = self.has.iter().filter(|(other, _)| *other != member && other.group == member.group);
                for (other, theirs) in others {
                    if let Some(of) = partitions.iter().find(|of| theirs.contains(of)) {
                        self.overtaken.insert((other.clone(), *generation), (of.clone(), member.clone()));
                    }
                }
                let has = self.has.entry(member.clone()).or_default();
                has.extend(partitions.iter().cloned());
                let owners = self.owners.entry((member.group.clone(), *generation)).or_default();
                for of in has.iter() {
                    let owner = owners.entry(of.clone()).or_insert_with(|| member.clone());
                    if owner != member {
                        return Err(format!("{member} has {of} in generation {generation}, and so has {owner}"));
                    }
                }
            }
            MemberDid::GaveUp { partitions, lost } => {
                // It has learned that it was thrown out. A static member stays in the generations that it misses, and comes back
                // to the latest of them.
                if *lost {
                    self.overtaken.retain(|(overtaken, _), _| overtaken != member);
                }
                let has = self.has.entry(member.clone()).or_default();
                has.retain(|of| !partitions.contains(of));
            }
            // Whoever comes back by the name that it kept has what it had, in the same generation (KIP-345).
            MemberDid::Ended => {
                self.has.remove(member);
                self.owners.values_mut().for_each(|owners| owners.retain(|_, owner| owner != member));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, member, named},
        *,
    };

    fn took(reader: u32, generation: i32, partitions: Vec<NamedPartition>) -> MemberEvent {
        MemberEvent { member: member(reader), what: MemberDid::Took { generation, partitions } }
    }

    #[test]
    fn a_partition_with_two_owners_is_found() {
        let story = || Story::new(OneOwner::default()).member(took(1, 3, vec![named()]));
        assert!(story().member(took(2, 4, vec![named()])).verdict.is_ok());
        assert!(story().member(took(2, 3, vec![])).verdict.is_ok());
        assert!(story().member(took(2, 3, vec![named()])).verdict.is_err());
    }

    #[test]
    fn whoever_takes_what_another_member_has_not_given_up_is_found() {
        let gave_up = MemberDid::GaveUp { partitions: vec![named()], lost: false };
        let taken = Story::new(OneOwner::default()).member(took(1, 3, vec![named()])).member(took(2, 4, vec![named()]));
        let given_up = taken.member(MemberEvent { member: member(1), what: gave_up });
        assert!(given_up.member(took(1, 4, vec![])).verdict.is_err());
        let lost = MemberDid::GaveUp { partitions: vec![named()], lost: true };
        let taken = Story::new(OneOwner::default()).member(took(1, 3, vec![named()])).member(took(2, 4, vec![named()]));
        let lost = taken.member(MemberEvent { member: member(1), what: lost });
        assert!(lost.member(took(1, 4, vec![])).verdict.is_ok());
    }

    #[test]
    fn what_a_member_keeps_is_its_own_in_the_next_generation_too() {
        let gave_up = MemberDid::GaveUp { partitions: vec![named()], lost: false };
        let story = || Story::new(OneOwner::default()).member(took(1, 3, vec![named()]));
        let keeps = story().member(took(1, 4, vec![])).member(took(2, 4, vec![named()]));
        assert!(keeps.verdict.is_err());
        let gives = story().member(MemberEvent { member: member(1), what: gave_up });
        assert!(gives.member(took(1, 4, vec![])).member(took(2, 4, vec![named()])).verdict.is_ok());
    }
}
