//! Pure. No. 54: in one generation nobody reads what another member reads, and no coordinator gives a member what another has not
//! given back (KAFKA-16147 broke it for consumer groups; Kafka's `ConsumerCoordinator` for classic ones).

use super::Invariant;
use crate::{
    event::{Member, MemberDid, MemberEvent, NamedPartition},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::record::Record;
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

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if let Fact::Replica(ReplicaEvent::GroupsWritten { records, .. }) = observed.fact {
            let given = records.iter().filter(|record| matches!(record, Record::CurrentAssignment { .. }));
            let groups: BTreeSet<&str> = given.map(|record| &**record.group()).collect();
            // A group that was deleted, or goes over to the other protocol, counts anew.
            let begins_anew = |record: &&Record| {
                matches!(record, Record::ConsumerGroup { value: None, .. } | Record::ClassicGroup { value: None, .. })
            };
            for gone in records.iter().filter(begins_anew) {
                self.owners.retain(|(group, _), _| **group != **gone.group());
            }
            return groups.into_iter().try_for_each(|group| nobody_has_anothers(ledger, group));
        }
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

/// Judges what the coordinator of a consumer group says that its members have.
fn nobody_has_anothers(ledger: &Ledger, group: &str) -> Result<(), String> {
    let mut members = BTreeMap::new();
    for (_, member, value) in ledger.groups.given(group) {
        members.insert(member, value);
    }
    let mut owners = BTreeMap::new();
    for (member, value) in members.into_iter().filter_map(|(member, value)| Some((member, value?))) {
        for (topic, partitions) in value.assigned.iter().chain(&value.pending_revocation) {
            for partition in partitions {
                if let Some(other) = owners.insert((topic, partition), member) {
                    return Err(format!(
                        "the coordinator of {group} gave {topic}-{partition} to {member} and to {other}"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, given, member, named},
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
    fn a_partition_that_is_given_before_it_was_given_back_is_found() {
        let story = || Story::new(OneOwner::default()).cluster().groups(0, 1, vec![given("a", 3, &[0, 1], &[])]);
        let to_be_given_back = || story().groups(1, 1, vec![given("a", 3, &[0], &[1])]);
        assert!(to_be_given_back().groups(2, 1, vec![given("b", 4, &[1], &[])]).verdict.is_err());
        let given_back = || to_be_given_back().groups(2, 1, vec![given("a", 4, &[0], &[])]);
        assert!(given_back().groups(3, 1, vec![given("b", 4, &[1], &[])]).verdict.is_ok());
        assert!(given_back().groups(3, 1, vec![given("b", 4, &[0], &[])]).verdict.is_err());
        // The next coordinator never had the first of these.
        assert!(story().groups(0, 2, vec![given("b", 4, &[1], &[])]).verdict.is_ok());
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
