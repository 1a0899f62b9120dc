//! Pure. At most once: where members commit what they are about to process, and process it only if that was accepted, nobody in
//! their group processes it again, as long as what they committed is remembered (no. 71 from the other side).

use super::Invariant;
use crate::{
    event::{ClientEvent, MemberDid, MemberEvent, NamedPartition},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::record::Record;
use protocol::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub struct ProcessedOnce {
    /// The groups whose members do so, by reader.
    groups: BTreeMap<u32, String>,
    processed: BTreeMap<String, BTreeMap<NamedPartition, BTreeSet<Offset>>>,
}

impl Invariant for ProcessedOnce {
    fn name(&self) -> &'static str {
        "processed_once"
    }

    fn claim(&self) -> &'static str {
        "71: what a member commits before it processes it, its group processes once"
    }

    fn check(&mut self, _ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Member(MemberEvent { member, what: MemberDid::CommitsFirst }) => {
                self.groups.insert(member.reader, member.group.clone());
            }
            Fact::Client(ClientEvent::Polled { from, offset, reader, .. }) => {
                let Some(group) = self.groups.get(reader) else { return Ok(()) };
                let processed = self.processed.entry(group.clone()).or_default();
                if !processed.entry(from.clone()).or_default().insert(*offset) {
                    return Err(format!("{group} processes the record at {offset} of {from} again"));
                }
            }
            Fact::Replica(ReplicaEvent::GroupsWritten { records, .. }) => {
                for record in records.iter() {
                    if let Record::Offset { group, topic, partition, value: None } = record
                        && let Some(processed) = self.processed.get_mut(&**group)
                    {
                        processed.remove(&NamedPartition { topic: topic.to_string(), partition: *partition });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, member, named, tag},
        *,
    };

    fn story(readers: &[u32]) -> Story<ProcessedOnce> {
        let first = |story: Story<_>, number: &u32| {
            story.member(MemberEvent { member: member(*number), what: MemberDid::CommitsFirst })
        };
        readers.iter().fold(Story::new(ProcessedOnce::default()).cluster(), first)
    }

    fn processes(story: Story<ProcessedOnce>, number: u32, offset: i64) -> Story<ProcessedOnce> {
        let (offset, tag, reader) = (Offset(offset), tag(offset as u64), member(number).reader);
        story.client(ClientEvent::Polled { from: named(), offset, tag, reader })
    }

    #[test]
    fn what_is_processed_twice_is_found() {
        assert!(processes(processes(story(&[1, 2]), 1, 4), 2, 5).verdict.is_ok());
        assert!(processes(processes(story(&[1, 2]), 1, 4), 2, 4).verdict.is_err());
        assert!(processes(processes(story(&[1]), 1, 4), 1, 4).verdict.is_err());
        // Who commits what it has processed may.
        assert!(processes(processes(story(&[]), 1, 4), 2, 4).verdict.is_ok());
    }

    #[test]
    fn what_a_group_forgets_it_may_process_again() {
        let Record::Offset { group, topic, partition, .. } = commit(5, "") else { unreachable!("it is an offset") };
        let forget = Record::Offset { group, topic, partition, value: None };
        let story = processes(story(&[1, 2]), 1, 4).groups(0, 1, vec![forget]);
        assert!(processes(story, 2, 4).verdict.is_ok());
    }
}
