//! Requests that make no sense, and members that are not who they say.

use super::harness::{Story, as_instance, join, request};
use crate::consumer::{HeartbeatRequest, Timeout};
use crate::ids::{MemberEpoch, MemberId};
use crate::record::TopicPartitions;
use protocol::error_code::ErrorCode;
use std::time::Duration;

#[test]
fn a_join_that_lacks_something_is_invalid() {
    let mut story = Story::new(&[("t", 3)]);
    let good = join("a", &["t"]);
    let owned = Some(story.partitions(&[("t", &[0])]));
    let poor = [
        HeartbeatRequest { member: MemberId::default(), ..good.clone() },
        HeartbeatRequest { rebalance_timeout_ms: None, ..good.clone() },
        HeartbeatRequest { topics: None, ..good.clone() },
        HeartbeatRequest { owned: None, ..good.clone() },
        HeartbeatRequest { owned, ..good.clone() },
        HeartbeatRequest { rack: Some(" ".to_owned()), ..good.clone() },
        as_instance(good.clone(), ""),
    ];
    for request in poor {
        assert_eq!(story.refused(&request), ErrorCode::InvalidRequest, "{request:?}");
    }
    assert_eq!(story.says(&good), "a @1 [t-0 t-1 t-2]");
}

#[test]
fn an_epoch_below_minus_two_is_invalid() {
    assert_eq!(Story::new(&[]).refused(&request("a", -3)), ErrorCode::InvalidRequest);
}

#[test]
fn who_leaves_for_a_while_needs_an_instance_id() {
    assert_eq!(Story::new(&[]).refused(&request("a", -2)), ErrorCode::InvalidRequest);
}

#[test]
fn an_assignor_that_is_not_configured_is_unsupported() {
    let mut story = Story::new(&[("t", 3)]);
    story.config.assignors.pop();
    for assignor in ["range", "sticky"] {
        let request = HeartbeatRequest { assignor: Some(assignor.to_owned()), ..join("a", &["t"]) };
        assert_eq!(story.refused(&request), ErrorCode::UnsupportedAssignor);
    }
}

#[test]
fn a_member_without_an_id_is_given_one_in_version_0() {
    let mut story = Story::new(&[("t", 1)]);
    let request = HeartbeatRequest { api_version: 0, member: MemberId::default(), ..join("", &["t"]) };
    assert_eq!(story.says(&request), "00000000-0000-0000-0000-000000000001 @1 [t-0]");
}

#[test]
fn who_does_not_join_must_be_there() {
    let mut story = Story::new(&[("t", 3)]);
    assert_eq!(story.refused(&request("a", 1)), ErrorCode::GroupIdNotFound);
    assert_eq!(story.refused(&request("a", -1)), ErrorCode::GroupIdNotFound);
    story.says(&join("a", &["t"]));
    assert_eq!(story.refused(&request("b", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(story.refused(&request("b", -1)), ErrorCode::UnknownMemberId);
    assert_eq!(story.refused(&as_instance(request("a", 1), "i")), ErrorCode::UnknownMemberId);
    assert_eq!(story.refused(&as_instance(request("a", -1), "i")), ErrorCode::UnknownMemberId);
}

#[test]
fn a_full_group_takes_nobody_new() {
    let mut story = Story::new(&[("t", 3)]);
    story.config.size_max = 1;
    story.says(&join("a", &["t"]));
    assert_eq!(story.refused(&join("b", &["t"])), ErrorCode::GroupMaxSizeReached);
    assert_eq!(story.says(&request("a", 1)), "a @1");
    assert_eq!(story.says(&join("a", &["t"])), "a @1 [t-0 t-1 t-2]");
}

#[test]
fn an_epoch_from_the_future_is_fenced() {
    let mut story = Story::new(&[("t", 3)]);
    story.says(&join("a", &["t"]));
    assert_eq!(story.refused(&request("a", 2)), ErrorCode::FencedMemberEpoch);
}

#[test]
fn the_epoch_before_is_fine_if_nothing_else_is_owned() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    assert_eq!(story.goes_on("a", 1, &[("t", &[0, 1])]), "a @1 [t-0]");
    assert_eq!(story.goes_on("a", 1, &[("t", &[0])]), "a @2");

    // The answer was lost: it speaks as before.
    assert_eq!(story.goes_on("a", 1, &[("t", &[0])]), "a @2");
    assert_eq!(story.goes_on("a", 1, &[]), "a @2");
    let all = HeartbeatRequest { owned: Some(story.partitions(&[("t", &[0, 1])])), ..request("a", 1) };
    assert_eq!(story.refused(&all), ErrorCode::FencedMemberEpoch);
    assert_eq!(story.refused(&request("a", 1)), ErrorCode::FencedMemberEpoch, "it does not say what it owns");
}

#[test]
fn an_epoch_before_the_one_before_is_fenced() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    for epoch in 1..3 {
        story.change("t", 2 + epoch as usize);
        story.goes_on("a", epoch, &[("t", &[0, 1])]);
    }
    let old = HeartbeatRequest { owned: Some(TopicPartitions::new()), ..request("a", 1) };
    assert_eq!(story.refused(&old), ErrorCode::FencedMemberEpoch);
}

#[test]
fn who_joins_again_goes_on_where_it_was() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.change("t", 3);
    assert_eq!(story.says(&join("a", &["t"])), "a @2 [t-0 t-1 t-2]");
    assert_eq!(story.says(&join("a", &["t"])), "a @2 [t-0 t-1 t-2]");
}

#[test]
fn the_answer_says_when_to_speak_again() {
    let mut story = Story::new(&[("t", 1)]);
    story.config.heartbeat_interval = Duration::from_millis(77);
    let joined = story.speak(&join("a", &["t"])).expect("it is in order");
    assert_eq!(joined.answer.heartbeat_interval, Duration::from_millis(77));
    let left = story.speak(&request("a", -1)).expect("it is in order");
    assert_eq!((left.answer.member_epoch, left.answer.heartbeat_interval), (MemberEpoch(-1), Duration::ZERO));
    assert_eq!(left.heard, None);
}

#[test]
fn the_answer_has_the_assignment_if_it_changed_or_if_all_was_said() {
    let mut story = Story::new(&[("t", 1)]);
    assert_eq!(story.says(&join("a", &["t"])), "a @1 [t-0]");
    assert_eq!(story.says(&request("a", 1)), "a @1");
    let full = HeartbeatRequest { member_epoch: MemberEpoch(1), ..join("a", &["t"]) };
    assert_eq!(story.says(&full), "a @1 [t-0]");
    story.change("t", 2);
    assert_eq!(story.says(&request("a", 1)), "a @2 [t-0 t-1]");
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    let heartbeat = story.decide(&request("a", 1)).expect("it is in order");
    assert_eq!(heartbeat.records, []);
}

#[test]
fn who_is_silent_for_too_long_is_removed() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.pass(30_000);
    story.says(&join("b", &["t"]));
    assert_eq!(story.pass(14_999), []);
    assert_eq!(story.pass(1), [("a".into(), Timeout::Session)]);
    assert_eq!(story.goes_on("b", 2, &[]), "b @3 [t-0 t-1]");
    assert_eq!(story.refused(&request("a", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn each_heartbeat_starts_the_session_again() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    for _ in 0..3 {
        assert_eq!(story.pass(44_999), []);
        story.says(&request("a", 1));
    }
    assert_eq!(story.pass(45_000), [("a".into(), Timeout::Session)]);
    story.check("Empty 1/2");
    assert_eq!(story.group.next_deadline(), None);
}
