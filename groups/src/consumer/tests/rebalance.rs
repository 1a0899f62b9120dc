//! Partitions on their way from one member to another.

use super::harness::{Story, join, request};
use crate::assignors::Assignor;
use crate::consumer::{HeartbeatRequest, Timeout};
use crate::record::{CurrentAssignmentValue, MemberState, Record, TopicPartitions};
use protocol::error_code::ErrorCode;

#[test]
fn a_partition_moves_once_it_was_given_back() {
    let mut story = Story::new(&[("t", 2)]);
    assert_eq!(story.says(&join("a", &["t"])), "a @1 [t-0 t-1]");
    assert_eq!(story.says(&join("b", &["t"])), "b @2 []");
    story.check(
        "Reconciling 2/2
         a @1 stable [t-0 t-1]
         b @2 unreleased []",
    );
    // It is told to give one back, and does not say yet that it did.
    assert_eq!(story.goes_on("a", 1, &[("t", &[0, 1])]), "a @1 [t-0]");
    assert_eq!(story.says(&request("a", 1)), "a @1");
    assert_eq!(story.goes_on("b", 2, &[]), "b @2");
    story.check(
        "Reconciling 2/2
         a @1 unrevoked [t-0] gives back [t-1]
         b @2 unreleased []",
    );
    assert_eq!(story.goes_on("a", 1, &[("t", &[0])]), "a @2");
    assert_eq!(story.goes_on("b", 2, &[]), "b @2 [t-1]");
    story.check(
        "Stable 2/2
         a @2 stable [t-0]
         b @2 stable [t-1]",
    );
}

#[test]
fn who_has_given_back_already_is_not_asked() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    assert_eq!(story.goes_on("a", 1, &[]), "a @2 [t-0]");
    assert_eq!(story.goes_on("b", 2, &[]), "b @2 [t-1]");
}

#[test]
fn a_partition_that_is_free_is_taken_while_another_is_waited_for() {
    let mut story = Story::new(&[("t", 4)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    story.says(&join("c", &["t"]));
    // a: 0,1,2 of 4 at most; whatever it is to give back is given in two steps.
    story.goes_on("a", 1, &[("t", &[0, 1, 2, 3])]);
    story.check(
        "Reconciling 3/3
         a @1 unrevoked [t-0 t-1] gives back [t-2 t-3]
         b @2 unreleased []
         c @3 unreleased []",
    );
    story.goes_on("a", 1, &[("t", &[0, 1])]);
    assert_eq!(story.goes_on("b", 2, &[]), "b @3 [t-2]");
    assert_eq!(story.goes_on("c", 3, &[]), "c @3 [t-3]");
}

/// KAFKA-16147: what a member is to give back is to be its own again before it gave it back. Nobody else may get it in between,
/// and it is known whose it is throughout.
#[test]
fn a_partition_that_comes_back_to_who_is_giving_it_back_stays_held() {
    let mut story = Story::with_range(&[("t", 3)]);
    story.says(&join("b", &["t"]));
    story.says(&join("c", &["t"]));
    assert_eq!(story.goes_on("b", 1, &[("t", &[0, 1, 2])]), "b @1 [t-0 t-1]");
    story.check(
        "Reconciling 2/2
         b @1 unrevoked [t-0 t-1] gives back [t-2]
         c @2 unreleased []",
    );
    // One goes and another comes in between: what is given back is to be its own again, and then not.
    story.says(&request("c", -1));
    assert_eq!(story.goes_on("b", 1, &[("t", &[0, 1, 2])]), "b @1");
    story.says(&join("d", &["t"]));
    story.check(
        "Reconciling 4/4
         b @1 unrevoked [t-0 t-1] gives back [t-2]
         d @4 unreleased []",
    );
    assert_eq!(story.goes_on("d", 4, &[]), "d @4", "b has not given it back");
    story.says(&request("d", -1));
    // Now it has, and at once gets it again.
    assert_eq!(story.goes_on("b", 1, &[("t", &[0, 1])]), "b @5 [t-0 t-1 t-2]");
    let owner = story.state().owner(story.world.id("t"), 2.into()).expect("it is held");
    assert_eq!((&*owner.member, owner.member_epoch.0), ("b", 5));
    story.check("Stable 5/5\nb @5 stable [t-0 t-1 t-2]");
}

#[test]
fn what_was_given_back_for_an_old_target_is_taken_again_at_once() {
    let mut story = Story::with_range(&[("t", 3)]);
    story.says(&join("b", &["t"]));
    story.says(&join("c", &["t"]));
    story.goes_on("b", 1, &[("t", &[0, 1, 2])]);
    story.says(&request("c", -1));
    // Somebody else's heartbeat computes that all is b's.
    story.says(&join("z", &[]));
    assert_eq!(story.goes_on("b", 1, &[("t", &[0, 1])]), "b @3 [t-0 t-1 t-2]");
    story.check("Stable 3/3\nb @3 stable [t-0 t-1 t-2]\nz @3 stable []");
}

#[test]
fn who_does_not_give_back_in_time_is_removed() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    story.goes_on("a", 1, &[("t", &[0, 1])]);
    for _ in 0..2 {
        assert_eq!(story.pass(14_000), []);
        story.goes_on("a", 1, &[("t", &[0, 1])]);
        story.goes_on("b", 2, &[]);
    }
    assert_eq!(story.pass(2_000), [("a".into(), Timeout::Revocation)]);
    assert_eq!(story.goes_on("b", 2, &[]), "b @3 [t-0 t-1]");
    assert_eq!(story.refused(&request("a", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn who_gave_back_in_time_may_stay() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    story.goes_on("a", 1, &[("t", &[0, 1])]);
    story.pass(29_999);
    story.goes_on("a", 1, &[("t", &[0])]);
    story.goes_on("b", 2, &[]);
    assert_eq!(story.pass(10_000), []);
}

#[test]
fn whoever_is_asked_for_more_has_all_its_time_again() {
    let mut story = Story::new(&[("t", 4), ("u", 2)]);
    story.says(&join("a", &["t", "u"]));
    story.says(&join("b", &["t", "u"]));
    story.goes_on("a", 1, &[("t", &[0, 1, 2, 3]), ("u", &[0, 1])]);
    story.pass(20_000);
    let fewer = HeartbeatRequest { topics: Some(vec!["u".into()]), ..request("a", 1) };
    story.says(&fewer);
    story.goes_on("b", 2, &[]);
    assert_eq!(story.pass(29_999), []);
    assert_eq!(story.pass(1), [("a".into(), Timeout::Revocation)]);
}

#[test]
fn who_leaves_frees_what_it_had_at_once() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    story.says(&request("a", -1));
    story.check("Assigning 2/3\nb @2 unreleased []");
    assert_eq!(story.goes_on("b", 2, &[]), "b @3 [t-0 t-1]");
}

#[test]
fn the_last_to_leave_leaves_an_empty_group() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&request("a", -1));
    story.check("Empty 1/2");
    assert_eq!(story.state().metadata_hash(), 0);
    assert!(story.state().subscribed_topics().next().is_none());
    assert_eq!(story.says(&join("a", &["t"])), "a @3 [t-0 t-1]");
}

#[test]
fn most_members_choose_the_assignor() {
    let mut story = Story::new(&[("t", 3)]);
    let choosing =
        |member, assignor: &str| HeartbeatRequest { assignor: Some(assignor.to_owned()), ..join(member, &["t"]) };
    story.says(&join("a", &["t"]));
    let assignor = |story: &Story| story.group.describe(&story.world, &story.config).assignor;
    assert_eq!(assignor(&story), Assignor::Uniform);
    story.says(&choosing("b", "range"));
    assert_eq!(assignor(&story), Assignor::Range);
    story.says(&choosing("c", "uniform"));
    assert_eq!(assignor(&story), Assignor::Uniform);
    story.says(&choosing("a", "range"));
    assert_eq!(assignor(&story), Assignor::Range);
}

#[test]
fn a_member_in_an_unknown_state_starts_from_nothing() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    let value = CurrentAssignmentValue { state: MemberState::Unknown, ..story.state().currents()["a"].clone() };
    story.append(&[Record::CurrentAssignment { group: "g".into(), member: "a".into(), value: Some(value) }]);
    let owned = Some(story.partitions(&[("t", &[0])]));
    assert_eq!(story.refused(&HeartbeatRequest { owned, ..request("a", 1) }), ErrorCode::FencedMemberEpoch);
    assert_eq!(story.refused(&request("a", 1)), ErrorCode::FencedMemberEpoch);
    let nothing = Some(TopicPartitions::new());
    story.says(&HeartbeatRequest { owned: nothing, ..request("a", 1) });
    story.check("Stable 1/1\na @1 stable [t-0 t-1]");
}
