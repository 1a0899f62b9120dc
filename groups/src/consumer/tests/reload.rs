//! What is read from a log, whole or compacted.

use super::harness::{Story, as_instance, join, replay, request};
use crate::consumer::Timeout;
use crate::ids::{GroupEpoch, GroupId, MemberEpoch};
use crate::record::{CurrentAssignmentValue, MemberState, Record, TopicPartitions};
use protocol::ids::PartitionIndex;

fn busy() -> Story {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&as_instance(join("a", &["t"]), "i"));
    story.says(&join("b", &["t"]));
    story.goes_on("a", 1, &[("t", &[0, 1])]);
    story
}

#[test]
fn all_clocks_start_anew() {
    let mut story = busy();
    story.pass(29_000);
    story.reload();
    assert_eq!(story.pass(29_999), []);
    assert_eq!(story.pass(1), [("a".into(), Timeout::Revocation)]);
    assert_eq!(story.pass(14_999), []);
    assert_eq!(story.pass(1), [("b".into(), Timeout::Session)]);
}

#[test]
fn deletions_of_what_is_not_there_change_nothing() {
    let group = || GroupId::from("g");
    let records = [
        Record::CurrentAssignment { group: group(), member: "a".into(), value: None },
        Record::TargetAssignment { group: group(), member: "a".into(), value: None },
        Record::Member { group: group(), member: "a".into(), value: None },
        Record::RegularExpression { group: group(), regex: "a*".to_owned(), value: None },
        Record::PartitionMetadata { group: group() },
        Record::TargetEpoch { group: group(), value: None },
        Record::ConsumerGroup { group: group(), value: None },
    ];
    assert!(replay(&records).is_absent());
    let mut story = busy();
    story.log.splice(0..0, records);
    assert_eq!(replay(&story.log).state(), story.state());
}

#[test]
fn records_of_different_keys_may_come_in_any_order() {
    let story = busy();
    let mut last: Vec<&Record> = Vec::new();
    for record in story.log.iter().rev() {
        if !last.iter().any(|later| key(later) == key(record)) {
            last.push(record);
        }
    }
    let mut group = replay(&[]);
    for record in last {
        group.apply(record);
    }
    assert_eq!(group.state(), story.state());
}

/// A name for a record's key.
pub(super) fn key(record: &Record) -> String {
    match record {
        Record::ConsumerGroup { .. } => "group".to_owned(),
        Record::TargetEpoch { .. } => "target".to_owned(),
        Record::Member { member, .. } => format!("member {member}"),
        Record::TargetAssignment { member, .. } => format!("target {member}"),
        Record::CurrentAssignment { member, .. } => format!("current {member}"),
        Record::RegularExpression { regex, .. } => format!("regex {regex}"),
        Record::PartitionMetadata { .. } | Record::Offset { .. } | Record::ClassicGroup { .. } => "other".to_owned(),
    }
}

fn current(story: &Story, member: &str, epoch: i32, partitions: &[i32]) -> Record {
    let assigned: TopicPartitions =
        if partitions.is_empty() { TopicPartitions::new() } else { story.partitions(&[("t", partitions)]) };
    let value = CurrentAssignmentValue {
        member_epoch: MemberEpoch(epoch),
        previous_member_epoch: MemberEpoch(epoch - 1),
        state: MemberState::Stable,
        assigned,
        pending_revocation: TopicPartitions::new(),
    };
    Record::CurrentAssignment { group: "g".into(), member: member.into(), value: Some(value) }
}

/// KAFKA-19862: compaction took away that the first gave the partition up before the second got it.
#[test]
fn a_record_of_who_had_a_partition_does_not_take_it_from_who_has_it() {
    let story = Story::new(&[("t", 2)]);
    let records = [current(&story, "a", 1, &[0, 1]), current(&story, "b", 2, &[1]), current(&story, "a", 3, &[0])];
    let group = replay(&records);
    let owner = |partition| {
        let owner = group.state().owner(story.world.id("t"), PartitionIndex(partition)).expect("somebody has it");
        (owner.member.to_string(), owner.member_epoch.0)
    };
    assert_eq!((owner(0), owner(1)), (("a".to_owned(), 3), ("b".to_owned(), 2)));
}

#[test]
fn the_end_of_who_had_an_instance_id_does_not_take_it_from_who_has_it() {
    let story = busy();
    let member = |id: &str, value| Record::Member { group: "g".into(), member: id.into(), value };
    let value = story.state().members()["a"].clone();
    let group = replay(&[member("a", Some(value.clone())), member("c", Some(value)), member("a", None)]);
    assert_eq!(group.state().static_member(&"i".into()), Some(&"c".into()));
}

#[test]
#[should_panic(expected = "a record of group h came to group g")]
fn a_record_of_another_group_is_not_taken() {
    replay(&[Record::TargetEpoch { group: GroupId::from("h"), value: Some(GroupEpoch(1)) }]);
}

#[test]
fn a_decision_that_is_not_appended_changes_nothing() {
    let mut story = busy();
    let before = (story.state().clone(), story.group.next_deadline());
    let _ = story.decide(&join("c", &["t"])).expect("it is in order");
    let _ = story.decide(&request("b", -1)).expect("it is in order");
    assert_eq!((story.state().clone(), story.group.next_deadline()), before);
}
