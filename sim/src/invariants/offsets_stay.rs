//! Pure. No. 58: what a group has committed of a topic is not forgotten while members of it read the topic, however long ago that
//! was and whatever the clocks say (KIP-211; `OffsetMetadataManager.cleanupExpiredOffsets`, KAFKA-13636).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::{
    ids::{GroupId, TopicName},
    record::Record as GroupRecord,
};
use metadata::record::Record;
use protocol::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub struct OffsetsStay {
    /// The topics that were ever deleted: what was committed of them goes with them, sooner or later.
    gone: BTreeSet<String>,
}

impl Invariant for OffsetsStay {
    fn name(&self) -> &'static str {
        "offsets_stay"
    }

    fn claim(&self) -> &'static str {
        "58: what a group has committed of a topic stays while members of it read the topic"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        if let Some((_, Record::RemoveTopic { topic_id }, before)) = &ledger.new_record
            && let Some(topic) = before.topic(*topic_id)
        {
            self.gone.insert(topic.name.to_string());
        }
        let Fact::Replica(ReplicaEvent::GroupsWritten { base_offset, records, .. }) = observed.fact else {
            return Ok(());
        };
        let forgotten: BTreeSet<(&GroupId, &TopicName)> = records.iter().filter_map(forgets).collect();
        for (group, topic) in forgotten {
            if !self.gone.contains(&**topic)
                && let Some(reader) = reader(ledger, group, topic, *base_offset)
            {
                return Err(format!("{group} forgets what it committed of {topic}, which {reader} reads"));
            }
        }
        Ok(())
    }
}

fn forgets(record: &GroupRecord) -> Option<(&GroupId, &TopicName)> {
    match record {
        GroupRecord::Offset { group, topic, value: None, .. } => Some((group, topic)),
        _ => None,
    }
}

/// Somebody in the group who reads the topic, by what was written below an offset.
fn reader(ledger: &Ledger, group: &GroupId, topic: &TopicName, below: Offset) -> Option<String> {
    let (mut classic, mut members, mut regexes) = (None, BTreeMap::new(), BTreeMap::new());
    for (_, record) in ledger.groups.of(group).filter(|(end, _)| *end <= below) {
        match record {
            GroupRecord::ClassicGroup { value, .. } => classic = value.as_ref(),
            GroupRecord::Member { member, value, .. } => drop(members.insert(member, value.as_ref())),
            GroupRecord::RegularExpression { regex, value, .. } => drop(regexes.insert(regex, value.as_ref())),
            _ => {}
        }
    }
    let by_regex =
        |regex: &String| regexes.get(regex).is_some_and(|found| found.is_some_and(|it| it.topics.contains(topic)));
    let of_consumers = members.iter().filter_map(|(member, value)| Some((*member, (*value)?)));
    let mut of_consumers =
        of_consumers.filter(|(_, value)| value.topics.contains(topic) || value.regex.as_ref().is_some_and(by_regex));
    if let Some((member, _)) = of_consumers.next() {
        return Some(member.to_string());
    }
    let members = classic.into_iter().flat_map(|group| &group.members);
    members.filter(|member| member.is_subscribed_to(topic)).map(|member| member.member.to_string()).next()
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, named},
        *,
    };
    use groups::{
        ids::Generation,
        record::{ClassicGroupValue, ClassicMemberValue, MemberValue, RegularExpressionValue},
    };
    use protocol::ids::WallMillis;

    fn forget() -> GroupRecord {
        let GroupRecord::Offset { group, topic, partition, .. } = commit(5, "") else {
            unreachable!("it is an offset")
        };
        GroupRecord::Offset { group, topic, partition, value: None }
    }

    /// A consumer that says which topic it reads, in version 0 of `ConsumerProtocolSubscription`.
    fn classic(topics: &[&str]) -> GroupRecord {
        let member = |topic: &&str| ClassicMemberValue {
            member: "m".into(),
            instance: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: 1,
            session_timeout_ms: 1,
            subscription: [&[0, 0, 0, 0, 0, 1, 0, topic.len() as u8], topic.as_bytes(), &[255; 4]].concat().into(),
            assignment: Default::default(),
        };
        let value = ClassicGroupValue {
            protocol_type: "consumer".into(),
            generation: Generation(1),
            protocol: Some("range".into()),
            leader: None,
            state_since: None,
            members: topics.iter().map(member).collect(),
        };
        GroupRecord::ClassicGroup { group: "readers".into(), value: Some(value) }
    }

    fn consumer(topics: &[&str], regex: Option<&str>) -> GroupRecord {
        let value = MemberValue {
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: topics.iter().map(|topic| TopicName::from(*topic)).collect(),
            regex: regex.map(str::to_owned),
            rebalance_timeout_ms: 1,
            assignor: None,
            classic: None,
        };
        GroupRecord::Member { group: "readers".into(), member: "m".into(), value: Some(value) }
    }

    fn matches(topics: &[&str]) -> GroupRecord {
        let topics = topics.iter().map(|topic| TopicName::from(*topic)).collect();
        let value = Some(RegularExpressionValue { topics, version: 1, resolved_at: WallMillis(0) });
        GroupRecord::RegularExpression { group: "readers".into(), regex: "o.*".into(), value }
    }

    fn forgotten(before: Vec<GroupRecord>) -> Result<(), String> {
        let count = before.len() as i64;
        let story = Story::new(OffsetsStay::default()).cluster().groups(0, 1, before);
        story.groups(count, 1, vec![forget()]).verdict
    }

    #[test]
    fn what_a_member_reads_is_not_forgotten() {
        let topic = &*named().topic;
        assert!(forgotten(vec![commit(5, "")]).is_ok());
        assert!(forgotten(vec![classic(&["bills"]), commit(5, "")]).is_ok());
        assert!(forgotten(vec![classic(&["bills", topic]), commit(5, "")]).is_err());
        assert!(forgotten(vec![classic(&[topic]), classic(&[])]).is_ok());
        assert!(forgotten(vec![consumer(&["bills"], None), matches(&[topic])]).is_ok());
        assert!(forgotten(vec![consumer(&[topic], None)]).is_err());
        assert!(forgotten(vec![consumer(&[], Some("o.*")), matches(&[topic])]).is_err());
        let left = GroupRecord::Member { group: "readers".into(), member: "m".into(), value: None };
        assert!(forgotten(vec![consumer(&[topic], None), left]).is_ok());
    }

    #[test]
    fn of_a_topic_that_is_gone_everything_is_forgotten() {
        let topic_id = super::super::stories::orders().topic_id;
        let story = Story::new(OffsetsStay::default()).cluster().record(Record::RemoveTopic { topic_id });
        assert!(
            story.groups(0, 1, vec![consumer(&[&named().topic], None)]).groups(1, 1, vec![forget()]).verdict.is_ok()
        );
    }
}
