//! Who may commit and fetch; what is told to admin clients; deletion.

use super::harness::{Story, as_instance, join, request};
use crate::consumer::{ConsumerGroup, GroupState, MemberType};
use crate::ids::{MemberEpoch, MemberId};
use crate::record::{ClassicMember, Record};
use protocol::error_code::ErrorCode;

fn commit(story: &Story, member: &str, epoch: i32, version: i16, transactional: bool) -> Option<ErrorCode> {
    story.group.validate_commit(&member.into(), MemberEpoch(epoch), version, transactional).err().map(|e| e.code())
}

fn fetch(story: &Story, member: Option<&str>, epoch: i32) -> Option<ErrorCode> {
    let member = member.map(MemberId::from);
    story.group.validate_fetch(member.as_ref(), MemberEpoch(epoch)).err().map(|e| e.code())
}

#[test]
fn only_a_member_in_its_epoch_commits() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    assert_eq!(commit(&story, "a", 1, 9, false), None);
    assert_eq!(commit(&story, "a", 0, 9, false), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&story, "a", 2, 9, false), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&story, "b", 1, 9, false), Some(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&story, "", -1, 9, false), Some(ErrorCode::UnknownMemberId), "the group has members");
    assert_eq!(commit(&story, "a", 1, 8, false), Some(ErrorCode::UnsupportedVersion));
    assert_eq!(commit(&story, "a", 1, 3, true), None, "a transaction has versions of its own");
    assert_eq!(commit(&story, "b", 1, 8, false), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn anybody_commits_for_a_group_without_members() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    story.says(&request("a", -1));
    assert_eq!(commit(&story, "", -1, 2, false), None);
    assert_eq!(commit(&story, "a", 1, 9, false), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn a_member_fetches_in_its_epoch_and_who_is_none_always() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    assert_eq!(fetch(&story, None, -1), None);
    assert_eq!(fetch(&story, Some("a"), 1), None);
    assert_eq!(fetch(&story, Some("a"), 2), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(&story, Some("b"), 1), Some(ErrorCode::UnknownMemberId));
    assert_eq!(fetch(&story, None, 1), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn a_classic_member_has_a_generation() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    let mut value = story.state().members()["a"].clone();
    value.classic = Some(ClassicMember { session_timeout_ms: 6_000, protocols: Vec::new() });
    story.append(&[Record::Member { group: "g".into(), member: "a".into(), value: Some(value) }]);
    assert_eq!(commit(&story, "a", 1, 2, false), None);
    assert_eq!(commit(&story, "a", 2, 2, false), Some(ErrorCode::IllegalGeneration));
    let described = story.group.describe(&story.world, &story.config);
    assert_eq!(described.members[0].member_type, MemberType::Classic);
    // Its session is its own.
    story.reload();
    assert_eq!(story.pass(5_999), []);
    assert_eq!(story.pass(1).len(), 1);
}

#[test]
fn a_description_has_what_a_member_has_and_is_to_have() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&as_instance(join("a", &["t"]), "i"));
    story.says(&join("b", &["t"]));
    let described = story.group.describe(&story.world, &story.config);
    assert_eq!((described.state, described.group_epoch.0, described.target_epoch.0), (GroupState::Reconciling, 2, 2));
    let a = &described.members[0];
    assert_eq!((&*a.member, a.member_epoch, a.member_type), ("a", MemberEpoch(1), MemberType::Consumer));
    assert_eq!(a.value.instance, Some("i".into()));
    let counts: Vec<_> = described
        .members
        .iter()
        .map(|m| [&m.assignment, &m.target].map(|of| of.iter().map(|t| t.partitions.len()).sum::<usize>()))
        .collect();
    assert_eq!(counts, [[2, 1], [0, 1]]);
    assert_eq!(&*a.assignment[0].topic, "t");
    story.world.set("t", 0);
    let described = story.group.describe(&story.world, &story.config);
    assert!(described.members[0].assignment.is_empty(), "the topic has no name any more");
}

#[test]
fn a_group_is_listed_with_its_state() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    let overview = story.group.overview();
    assert_eq!((&*overview.group, overview.protocol_type, overview.group_type), ("g", "consumer", "consumer"));
    assert_eq!(overview.state.name(), "Stable");
}

#[test]
fn only_an_empty_group_is_deleted_and_nothing_is_left() {
    let mut story = Story::new(&[("t", 1)]);
    let code = |group: &ConsumerGroup| group.validate_delete().err().map(|e| e.code());
    assert_eq!(code(&story.group), Some(ErrorCode::GroupIdNotFound));
    story.says(&join("a", &["t"]));
    assert_eq!(code(&story.group), Some(ErrorCode::NonEmptyGroup));
    story.says(&request("a", -1));
    assert_eq!(code(&story.group), None);
    assert!(!story.group.is_absent());
    story.append(&story.group.delete());
    assert!(story.group.is_absent());
    assert_eq!(story.group.group_state(), GroupState::Dead);
}
