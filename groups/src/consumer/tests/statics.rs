//! Members that keep their place over a restart (KIP-345 as KIP-848 has it).

use super::harness::{Story, as_instance, join, request};
use crate::consumer::{HeartbeatRequest, Timeout};
use protocol::error_code::ErrorCode;

fn two() -> Story {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&as_instance(join("a", &["t"]), "i1"));
    story.says(&as_instance(join("b", &["t"]), "i2"));
    story.goes_on("a", 1, &[("t", &[0])]);
    story.goes_on("b", 2, &[]);
    story.check("Stable 2/2\na @2 stable [t-0]\nb @2 stable [t-1]");
    story
}

#[test]
fn who_leaves_for_a_while_keeps_its_place() {
    let mut story = two();
    assert_eq!(story.says(&as_instance(request("b", -2), "i2")), "b @-2");
    story.check("Reconciling 2/2\na @2 stable [t-0]\nb @-2 stable [t-1]");
    // Nothing changes for the others, and nothing when it is back, under whichever id.
    assert_eq!(story.goes_on("a", 2, &[("t", &[0])]), "a @2");
    assert_eq!(story.says(&as_instance(join("c", &["t"]), "i2")), "c @2 [t-1]");
    story.check("Stable 2/2\na @2 stable [t-0]\nc @2 stable [t-1]");
    assert_eq!(story.refused(&as_instance(request("b", 2), "i2")), ErrorCode::FencedInstanceId);
    assert_eq!(story.refused(&as_instance(request("b", -1), "i2")), ErrorCode::FencedInstanceId);
    assert_eq!(story.refused(&request("b", 2)), ErrorCode::UnknownMemberId);
}

#[test]
fn who_comes_back_under_its_old_id_goes_on_too() {
    let mut story = two();
    story.says(&as_instance(request("b", -2), "i2"));
    assert_eq!(story.says(&as_instance(join("b", &["t"]), "i2")), "b @2 [t-1]");
    story.check("Stable 2/2\na @2 stable [t-0]\nb @2 stable [t-1]");
}

#[test]
fn who_is_away_cannot_speak_as_before() {
    let mut story = two();
    story.says(&as_instance(request("b", -2), "i2"));
    assert_eq!(story.refused(&as_instance(request("b", 2), "i2")), ErrorCode::FencedMemberEpoch);
}

#[test]
fn nobody_takes_the_place_of_who_is_there() {
    let mut story = two();
    assert_eq!(story.refused(&as_instance(join("c", &["t"]), "i2")), ErrorCode::UnreleasedInstanceId);
}

#[test]
fn who_was_fenced_joins_again_under_its_own_id() {
    let mut story = two();
    assert_eq!(story.says(&as_instance(join("b", &["t"]), "i2")), "b @2 [t-1]");
}

#[test]
fn who_stays_away_for_too_long_is_removed() {
    let mut story = two();
    story.pass(40_000);
    story.goes_on("a", 2, &[("t", &[0])]);
    story.says(&as_instance(request("b", -2), "i2"));
    // Its session is the one that it had.
    assert_eq!(story.pass(5_000), [("b".into(), Timeout::Session)]);
    assert_eq!(story.goes_on("a", 2, &[("t", &[0])]), "a @3 [t-0 t-1]");
    assert_eq!(story.says(&as_instance(join("c", &["t"]), "i2")), "c @4 []");
}

#[test]
fn who_leaves_for_good_frees_its_place() {
    let mut story = two();
    story.says(&as_instance(request("b", -1), "i2"));
    assert_eq!(story.goes_on("a", 2, &[("t", &[0])]), "a @3 [t-0 t-1]");
}

#[test]
fn who_leaves_while_it_gives_back_has_given_back() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&as_instance(join("a", &["t"]), "i1"));
    story.says(&join("b", &["t"]));
    story.goes_on("a", 1, &[("t", &[0, 1])]);
    story.says(&as_instance(request("a", -2), "i1"));
    assert_eq!(story.goes_on("b", 2, &[]), "b @2 [t-1]");
    // It has no time to give anything back in any more.
    story.pass(31_000);
    story.goes_on("b", 2, &[("t", &[1])]);
    assert_eq!(story.says(&as_instance(join("c", &["t"]), "i1")), "c @2 [t-0]");
}

#[test]
fn who_comes_back_asking_for_something_else_gets_that() {
    let mut story = Story::new(&[("t", 2), ("u", 1)]);
    story.says(&as_instance(join("a", &["t"]), "i1"));
    story.says(&as_instance(request("a", -2), "i1"));
    assert_eq!(story.says(&as_instance(join("c", &["u"]), "i1")), "c @2 [u-0]");
    story.check("Stable 2/2\nc @2 stable [u-0]");
}

#[test]
fn a_new_id_keeps_what_was_said_before() {
    let mut story = Story::new(&[("t", 2)]);
    let rack = Some("r".to_owned());
    story.says(&as_instance(HeartbeatRequest { rack, assignor: Some("range".to_owned()), ..join("a", &["t"]) }, "i1"));
    story.says(&as_instance(request("a", -2), "i1"));
    story.says(&as_instance(join("c", &["t"]), "i1"));
    let member = &story.state().members()["c"];
    assert_eq!((member.rack.as_deref(), member.assignor.as_deref()), (Some("r"), Some("range")));
    assert_eq!(story.state().members().len(), 1);
    assert_eq!(story.state().static_member(&"i1".into()), Some(&"c".into()));
}
