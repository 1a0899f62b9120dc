//! Members that ask for other topics, topics that come and go, and regular expressions.

use super::harness::{Story, join, request};
use crate::consumer::HeartbeatRequest;
use crate::ids::TopicName;
use protocol::error_code::ErrorCode;
use std::collections::BTreeSet;

fn asking(member: &str, member_epoch: i32, topics: &[&str]) -> HeartbeatRequest {
    let topics = topics.iter().map(|topic| TopicName::from(*topic)).collect();
    HeartbeatRequest { topics: Some(topics), ..request(member, member_epoch) }
}

fn join_regex(member: &str, regex: &str) -> HeartbeatRequest {
    HeartbeatRequest { regex: Some(regex.to_owned()), topics: None, ..join(member, &[]) }
}

#[test]
fn who_asks_for_more_gets_it() {
    let mut story = Story::new(&[("t", 1), ("u", 1)]);
    story.says(&join("a", &["t"]));
    assert_eq!(story.says(&asking("a", 1, &["u", "t", "u"])), "a @2 [t-0 u-0]");
    assert_eq!(story.says(&asking("a", 2, &["t", "u"])), "a @2", "it is the same");
}

#[test]
fn who_asks_for_less_gives_back() {
    let mut story = Story::new(&[("t", 1), ("u", 1)]);
    story.says(&join("a", &["t", "u"]));
    assert_eq!(story.says(&asking("a", 1, &["t"])), "a @1 [t-0]");
    assert_eq!(story.goes_on("a", 1, &[("t", &[0])]), "a @2");
}

#[test]
fn who_asks_for_nothing_is_in_the_group() {
    let mut story = Story::new(&[("t", 1)]);
    assert_eq!(story.says(&join("a", &[])), "a @1 []");
    assert_eq!(story.says(&join("b", &["t"])), "b @2 [t-0]");
    story.check("Reconciling 2/2\na @1 stable []\nb @2 stable [t-0]");
    assert_eq!(story.says(&request("a", 1)), "a @2");
}

/// Whoever is to give something back and asks for yet less is to give that back too, at once.
#[test]
fn who_asks_for_less_while_it_gives_back_gives_back_more() {
    let mut story = Story::with_range(&[("t", 2), ("u", 2)]);
    story.says(&join("a", &["t", "u"]));
    story.says(&join("b", &["t"]));
    assert_eq!(story.says(&request("a", 1)), "a @1 [t-0 u-0 u-1]");
    assert_eq!(story.says(&asking("a", 1, &["t"])), "a @1 [t-0]");
    story.check("Reconciling 3/3\na @1 unrevoked [t-0] gives back [t-1 u-0 u-1]\nb @2 unreleased []");
    assert_eq!(story.goes_on("a", 1, &[("t", &[0])]), "a @3");
}

#[test]
fn a_topic_that_grows_is_assigned_anew_by_the_next_heartbeat() {
    let mut story = Story::new(&[("t", 1), ("u", 1)]);
    story.says(&join("a", &["t"]));
    assert!(!story.change("u", 2), "nobody reads it");
    assert_eq!(story.says(&request("a", 1)), "a @1");
    assert!(story.change("t", 2));
    assert_eq!(story.says(&request("a", 1)), "a @2 [t-0 t-1]");
    assert_eq!(story.says(&request("a", 2)), "a @2");
}

#[test]
fn a_topic_that_does_not_exist_is_read_once_it_does() {
    let mut story = Story::new(&[]);
    assert_eq!(story.says(&join("a", &["t"])), "a @1 []");
    assert!(story.change("t", 1));
    assert_eq!(story.says(&request("a", 1)), "a @2 [t-0]");
}

#[test]
fn a_topic_that_is_deleted_is_given_back() {
    let mut story = Story::new(&[("t", 1), ("u", 1)]);
    story.says(&join("a", &["t", "u"]));
    let left = story.partitions(&[("u", &[0])]);
    assert!(story.change("t", 0));
    assert_eq!(story.says(&request("a", 1)), "a @1 [u-0]");
    assert_eq!(story.says(&HeartbeatRequest { owned: Some(left), ..request("a", 1) }), "a @2");
    assert!(story.state().is_subscribed_to(&"t".into()));
}

#[test]
fn nobody_waits_for_a_topic_that_is_gone() {
    let mut story = Story::new(&[("t", 2)]);
    story.says(&join("a", &["t"]));
    story.says(&join("b", &["t"]));
    // The group has yet to be told, and its target still has the topic.
    story.world.set("t", 0);
    story.says(&request("b", 2));
    story.check("Reconciling 2/2\na @1 stable [?-0 ?-1]\nb @2 stable []");
}

#[test]
fn a_topic_that_is_created_again_is_another() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    let old = story.partitions(&[("t", &[0])]);
    story.change("t", 0);
    story.change("t", 1);
    assert_eq!(story.says(&HeartbeatRequest { owned: Some(old), ..request("a", 1) }), "a @1 []");
    assert_eq!(story.goes_on("a", 1, &[]), "a @2 [t-0]");
}

#[test]
fn a_change_that_was_missed_is_found_after_a_reload() {
    let mut story = Story::new(&[("t", 1)]);
    story.says(&join("a", &["t"]));
    story.world.set("t", 2);
    assert_eq!(story.says(&request("a", 1)), "a @1", "nobody said that it changed");
    story.reload();
    assert_eq!(story.says(&request("a", 1)), "a @2 [t-0 t-1]");
}

#[test]
fn a_regex_stands_for_the_topics_that_match() {
    let mut story = Story::new(&[("aa", 1), ("ab", 1), ("b", 1)]);
    assert_eq!(story.says(&join_regex("m", "a*")), "m @1 [aa-0 ab-0]");
    assert!(story.state().is_subscribed_to(&"ab".into()));
    assert!(!story.state().is_subscribed_to(&"b".into()));
    let more = HeartbeatRequest { topics: Some(vec!["b".into()]), ..request("m", 1) };
    assert_eq!(story.says(&more), "m @2 [aa-0 ab-0 b-0]");
    let named = HeartbeatRequest { regex: Some(String::new()), ..request("m", 2) };
    assert_eq!(story.says(&named), "m @2 [b-0]");
    assert_eq!(story.state().regexes().len(), 0);
    assert!(!story.state().is_subscribed_to(&"ab".into()));
}

#[test]
fn a_regex_that_is_none_is_refused() {
    let mut story = Story::new(&[("aa", 1)]);
    assert_eq!(story.refused(&join_regex("m", "[")), ErrorCode::InvalidRegularExpression);
    assert!(story.group.is_absent());
}

#[test]
fn a_regex_sees_a_new_topic_no_sooner_than_after_ten_seconds() {
    let mut story = Story::new(&[("aa", 1)]);
    story.says(&join_regex("m", "a*"));
    story.change("ab", 1);
    story.pass(10_000);
    assert_eq!(story.says(&request("m", 1)), "m @1");
    story.pass(1);
    assert_eq!(story.says(&request("m", 1)), "m @2 [aa-0 ab-0]");
}

#[test]
fn a_regex_is_resolved_again_after_long_enough() {
    let mut story = Story::new(&[("aa", 1), ("ab", 1)]);
    story.says(&join_regex("m", "a*"));
    story.world.topics.remove("ab");
    for _ in 0..15 {
        story.pass(40_000);
        assert_eq!(story.says(&request("m", 1)), "m @1");
    }
    story.pass(1);
    let aa = Some(story.partitions(&[("aa", &[0])]));
    assert_eq!(story.says(&HeartbeatRequest { owned: aa, ..request("m", 1) }), "m @2 [aa-0]");
}

#[test]
fn a_regex_goes_with_the_last_who_gave_it() {
    let mut story = Story::new(&[("aa", 2)]);
    story.says(&join_regex("m", "a*"));
    story.says(&join_regex("n", "a*"));
    story.says(&request("m", -1));
    assert_eq!(story.state().regexes().keys().collect::<Vec<_>>(), ["a*"]);
    assert_eq!(story.goes_on("n", 2, &[]), "n @3 [aa-0 aa-1]");
    story.says(&request("n", -1));
    assert_eq!(story.state().regexes().len(), 0);
    assert_eq!(story.state().subscribed_topics().collect::<BTreeSet<_>>(), BTreeSet::new());
}

#[test]
fn two_who_ask_differently_share_what_both_ask_for() {
    let mut story = Story::new(&[("aa", 2), ("ab", 2)]);
    assert_eq!(story.says(&join("m", &["aa"])), "m @1 [aa-0 aa-1]");
    assert_eq!(story.says(&join_regex("n", "a*")), "n @2 [ab-0 ab-1]");
    story.says(&request("m", 1));
    story.check("Stable 2/2\nm @2 stable [aa-0 aa-1]\nn @2 stable [ab-0 ab-1]");
}
