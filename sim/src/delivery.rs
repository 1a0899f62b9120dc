//! Pure. How often the members of groups processed what was written: some records again, where somebody went on from the last
//! commit of another (at least once), and some never, where somebody had committed them before (at most once).

use crate::{
    event::{ClientEvent, Member, MemberEvent, NamedPartition, Tag},
    observed::Fact,
};
use protocol::ids::Offset;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Which records, by where they are.
type Records = BTreeSet<(NamedPartition, Offset)>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    groups: BTreeMap<u32, String>,
    processed: BTreeMap<String, Records>,
    /// Of the topics that groups read, when all was read from its beginning in the end.
    there: Records,
    /// How many records were processed again by members of the same group.
    pub again: u64,
}

impl Delivery {
    /// Counts one event.
    pub fn count(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Member(MemberEvent { member: Member { group, reader }, .. }) if !self.groups.contains_key(reader) => {
                self.groups.insert(*reader, group.clone());
            }
            // The last record of each partition is written when the groups have gone, and is none of theirs.
            Fact::Client(ClientEvent::Polled { reader: ClientEvent::DRAIN, tag, .. })
                if tag.writer == Tag::DRAIN_WRITER => {}
            Fact::Client(ClientEvent::Polled { from, offset, reader: ClientEvent::DRAIN, .. }) => {
                self.there.insert((from.clone(), *offset));
            }
            Fact::Client(ClientEvent::Polled { from, offset, reader, .. }) => {
                if let Some(group) = self.groups.get(reader) {
                    let processed = self.processed.entry(group.clone()).or_default();
                    self.again += u64::from(!processed.insert((from.clone(), *offset)));
                }
            }
            _ => {}
        }
    }

    /// Whether there were groups.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many records no member of a group has processed, of the partitions of which somebody in it has processed any.
    pub fn left_out(&self) -> u64 {
        let of_group = |processed: &Records| {
            let partitions: BTreeSet<&NamedPartition> = processed.iter().map(|(partition, _)| partition).collect();
            self.there.difference(processed).filter(|(partition, _)| partitions.contains(partition)).count() as u64
        };
        self.processed.values().map(of_group).sum()
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "processed again {}  left out {}", self.again, self.left_out())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::MemberDid,
        invariants::stories::{member, named},
    };

    fn polled(delivery: &mut Delivery, reader: u32, offset: i64) {
        let writer = if offset < 4 { 1 } else { Tag::DRAIN_WRITER };
        let tag = Tag { writer, operation: offset as u64 };
        let event = ClientEvent::Polled { from: named(), offset: Offset(offset), tag, reader };
        delivery.count(&Fact::Client(&event));
    }

    #[test]
    fn what_two_members_process_is_processed_again_and_what_none_did_is_left_out() {
        let mut delivery = Delivery::default();
        for number in [1, 2] {
            delivery.count(&Fact::Member(&MemberEvent { member: member(number), what: MemberDid::Ended }));
        }
        polled(&mut delivery, 77, 0);
        assert_eq!((delivery.again, delivery.left_out()), (0, 0));
        polled(&mut delivery, member(1).reader, 0);
        polled(&mut delivery, member(1).reader, 1);
        polled(&mut delivery, member(2).reader, 1);
        (0..5).for_each(|offset| polled(&mut delivery, ClientEvent::DRAIN, offset));
        assert_eq!(delivery.to_string(), "processed again 1  left out 2");
    }
}
