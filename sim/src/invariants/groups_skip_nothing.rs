//! Pure. At least once: a group has committed no offset before its members had read everything below it, and in the end it has
//! read all that there is, but for what was deleted (Jepsen's `kafka` calls it a lost write; no. 71 as clients see it).

use super::{End, Invariant};
use crate::{
    event::{ClientEvent, MemberDid, MemberEvent, NamedPartition, Tag},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::record::Record;
use protocol::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody of a group has read of a partition.
#[derive(Default)]
struct Read {
    /// All below.
    below: Offset,
    /// And these.
    ahead: BTreeSet<Offset>,
}

impl Read {
    fn note(&mut self, offset: Offset) {
        self.ahead.insert(offset);
        self.go_on();
    }

    /// Nobody can read what was deleted, or what a cleaner took out.
    fn skip(&mut self, deleted: Offset, is_removed: impl Fn(Offset) -> bool) {
        self.below = self.below.max(deleted);
        self.go_on();
        while is_removed(self.below) {
            self.below = self.below.plus(1);
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.ahead = self.ahead.split_off(&self.below);
        while self.ahead.remove(&self.below) {
            self.below = self.below.plus(1);
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct GroupsSkipNothing {
    groups: BTreeMap<u32, String>,
    read: BTreeMap<String, BTreeMap<NamedPartition, Read>>,
    /// Partitions that are there when the first member of a group takes some, by group. What an operator adds later a group takes
    /// once its leader looks at its topics again, which may be after the run (`metadata.max.age.ms`).
    there: BTreeMap<String, BTreeSet<NamedPartition>>,
    /// The groups whose members commit first what they process then: they may leave records out.
    at_most_once: BTreeSet<String>,
    /// The last record of each partition: it was written after the groups had ended.
    last: BTreeMap<NamedPartition, Offset>,
}

impl GroupsSkipNothing {
    fn has_read(&mut self, ledger: &Ledger, group: &str, of: &NamedPartition) -> Option<Offset> {
        if self.at_most_once.contains(group) {
            return None;
        }
        let read = self.read.get_mut(group)?.entry(of.clone()).or_default();
        read.skip(ledger.deleted_by_name(of), |offset| ledger.is_removed(of, offset));
        Some(read.below)
    }
}

impl Invariant for GroupsSkipNothing {
    fn name(&self) -> &'static str {
        "groups_skip_nothing"
    }

    fn claim(&self) -> &'static str {
        "71: a group commits only what it has read all of, and reads everything in the end"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::Member(MemberEvent { member, what }) => {
                self.groups.entry(member.reader).or_insert_with(|| member.group.clone());
                self.read.entry(member.group.clone()).or_default();
                if *what == MemberDid::CommitsFirst {
                    self.at_most_once.insert(member.group.clone());
                }
                if let MemberDid::Took { partitions, .. } = what
                    && !self.there.contains_key(&member.group)
                {
                    let of_topics = partitions.iter().flat_map(|of| partitions_of(ledger, &of.topic)).collect();
                    self.there.insert(member.group.clone(), of_topics);
                }
            }
            Fact::Client(
                ClientEvent::Polled { from, offset, reader, .. } | ClientEvent::PolledForeign { from, offset, reader },
            ) => {
                if let Some(read) = self.groups.get(reader).and_then(|group| self.read.get_mut(group)) {
                    read.entry(from.clone()).or_default().note(*offset);
                }
            }
            Fact::Client(ClientEvent::SendAcknowledged { to, tag, offset: Some(offset), .. })
                if tag.writer == Tag::DRAIN_WRITER =>
            {
                self.last.insert(to.clone(), *offset);
            }
            Fact::Replica(ReplicaEvent::GroupsWritten { records, .. }) => {
                for record in records.iter() {
                    let Record::Offset { group, topic, partition, value: Some(value) } = record else { continue };
                    let of = NamedPartition { topic: topic.to_string(), partition: *partition };
                    if let Some(read) = self.has_read(ledger, group, &of).filter(|read| *read < value.offset) {
                        return Err(format!("{group} commits {} of {of}, and has not read {read}", value.offset));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, ledger: &mut Ledger, end: &End) -> Result<(), String> {
        if !end.drained {
            return Ok(());
        }
        for (group, there) in std::mem::take(&mut self.there) {
            for of in there {
                let Some(last) = self.last.get(&of).copied() else { continue };
                if let Some(read) = self.has_read(ledger, &group, &of).filter(|read| *read < last) {
                    return Err(format!("{group} never read {read} of {of}, which ends at {last}"));
                }
            }
        }
        Ok(())
    }
}

fn partitions_of(ledger: &Ledger, topic: &str) -> Vec<NamedPartition> {
    let found = ledger.image.topic_by_name(topic).into_iter().flat_map(|topic| topic.partitions());
    found.map(|(partition, _)| NamedPartition { topic: topic.to_owned(), partition }).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, member, named, tag},
        *,
    };

    fn began() -> Story<GroupsSkipNothing> {
        let took = MemberDid::Took { generation: 1, partitions: vec![named()] };
        Story::new(GroupsSkipNothing::default()).cluster().member(MemberEvent { member: member(1), what: took })
    }

    fn reads(story: Story<GroupsSkipNothing>, offset: i64) -> Story<GroupsSkipNothing> {
        let tag = tag(offset as u64);
        story.client(ClientEvent::Polled { from: named(), offset: Offset(offset), tag, reader: member(1).reader })
    }

    #[test]
    fn a_commit_of_what_was_not_read_is_found() {
        let both = || reads(reads(began(), 0), 1);
        assert!(both().groups(0, 1, vec![commit(2, "")]).verdict.is_ok());
        assert!(both().groups(0, 1, vec![commit(3, "")]).verdict.is_err());
        assert!(reads(began(), 1).groups(0, 1, vec![commit(2, "")]).verdict.is_err());
    }

    #[test]
    fn what_was_never_read_is_found_in_the_end() {
        let ends = |story: Story<GroupsSkipNothing>| {
            let tag = Tag { writer: Tag::DRAIN_WRITER, operation: 0 };
            let last = ClientEvent::SendAcknowledged { to: named(), tag, offset: Some(Offset(2)), safe: true };
            story.client(last).end(&End { unsettled: None, drained: true })
        };
        assert!(ends(reads(reads(began(), 1), 0)).is_ok());
        assert!(ends(reads(began(), 0)).is_err());
    }

    #[test]
    fn who_commits_first_may_leave_records_out() {
        let first = MemberEvent { member: member(1), what: MemberDid::CommitsFirst };
        assert!(began().member(first).groups(0, 1, vec![commit(2, "")]).verdict.is_ok());
        assert!(began().groups(0, 1, vec![commit(2, "")]).verdict.is_err());
    }

    #[test]
    fn what_an_operator_adds_later_need_not_be_read() {
        let ends = |partition| {
            let to = NamedPartition { topic: "orders".into(), partition: protocol::ids::PartitionIndex(partition) };
            let tag = Tag { writer: Tag::DRAIN_WRITER, operation: 0 };
            let last = ClientEvent::SendAcknowledged { to, tag, offset: Some(Offset(2)), safe: true };
            began().client(last).end(&End { unsettled: None, drained: true })
        };
        assert!(ends(0).is_err());
        assert!(ends(1).is_ok());
    }
}
