//! Claims about static members (KIP-345).

use super::*;

/// A stable group of static members `i`, which leads, and `j`.
fn pair() -> (Story, Vec<MemberId>) {
    Story::new().stabilized(vec![restarted("i"), restarted("j")])
}

#[test]
fn a_static_member_is_named_for_its_instance() {
    let (_, ids) = pair();
    assert_eq!(&*ids[0], "i-00000000-0000-0000-0000-000000000001");
}

#[test]
fn a_static_member_needs_no_id_first() {
    let mut story = Story::new();
    let ticket = story.join(JoinRequest { member_id_required: true, ..restarted("i") });
    assert!(story.waits(ticket));
}

#[test]
fn a_static_member_that_starts_again_takes_its_place_without_a_rebalance_and_that_is_recorded() {
    let (mut story, ids) = pair();
    let ticket = story.join(restarted("j"));
    let answer = story.joined(ticket);
    assert_ne!(answer.member, ids[1]);
    assert_eq!((answer.generation, answer.leader), (Generation(1), ids[0].clone()));
    assert!(answer.members.is_empty());
    assert!(!answer.skip_assignment);
    assert_eq!(story.group.state(), State::Stable);
    assert_eq!(story.records.len(), 2);
    let value = story.recorded();
    let recorded = value.members.iter().find(|member| member.member == answer.member).expect("it is recorded");
    assert_eq!(recorded.assignment, share(&ids[1], Generation(1)));
    assert_eq!(value.members.len(), 2);
    let sync = story.sync(&answer.member);
    assert_eq!(story.synced(sync).assignment, share(&ids[1], Generation(1)));
}

#[test]
fn a_static_leader_that_starts_again_leads_and_need_not_assign() {
    let (mut story, ids) = pair();
    let ticket = story.join(restarted("i"));
    let answer = story.joined(ticket);
    assert!(answer.skip_assignment);
    assert_eq!((&answer.leader, answer.members.len()), (&answer.member, 2));
    assert_eq!(story.group.leader(), Some(&answer.member));
    assert_eq!(story.recorded().leader.as_ref(), Some(&answer.member));
    let again = story.join(consumer(&ids[1]));
    assert_eq!(story.joined(again).leader, answer.member);
}

#[test]
fn a_static_leader_that_cannot_be_told_to_skip_is_told_that_the_old_one_leads() {
    let (mut story, ids) = pair();
    let ticket = story.join(JoinRequest { may_skip_assignment: false, ..restarted("i") });
    let answer = story.joined(ticket);
    assert_eq!((answer.leader, answer.members.len(), answer.skip_assignment), (ids[0].clone(), 0, false));
    assert_eq!(story.group.leader(), Some(&answer.member));
}

#[test]
fn who_was_replaced_is_fenced_wherever_it_says_its_name() {
    let (mut story, ids) = pair();
    story.join(restarted("j"));
    let now = story.at();
    let instance = InstanceId::from("j");
    let beat = story.group.heartbeat(&ids[1], Some(&instance), Generation(1), now);
    assert_eq!(beat, Err(ErrorCode::FencedInstanceId));
    assert_eq!(story.heartbeat(&ids[1]), Err(ErrorCode::UnknownMemberId), "without its name it is nobody");
    let join = story.join(JoinRequest { instance: Some("j".into()), ..consumer(&ids[1]) });
    assert_eq!(story.refused_join(join), ErrorCode::FencedInstanceId);
    assert_eq!(story.join_answer(join).member, ids[1]);
    let sync = story.sync_as(SyncRequest {
        member: ids[1].clone(),
        instance: Some("j".into()),
        generation: Generation(1),
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    });
    assert_eq!(story.refused_sync(sync), ErrorCode::FencedInstanceId);
}

#[test]
fn a_join_that_waits_is_fenced_by_the_next_life_of_its_member() {
    let (mut story, ids) = pair();
    let old = story.join(JoinRequest { instance: Some("i".into()), ..consumer(&ids[0]) });
    let new = story.join(restarted("i"));
    assert_eq!(story.refused_join(old), ErrorCode::FencedInstanceId);
    assert_eq!(story.join_answer(old).member, ids[0]);
    assert!(story.waits(new));
    story.join(consumer(&ids[1]));
    assert_eq!(story.joined(new).generation, Generation(2));
    assert_eq!(story.group.size(), 2);
}

#[test]
fn a_static_member_that_starts_again_while_the_assignment_is_made_has_it_made_again() {
    let (mut story, ids) = pair();
    story.join(consumer(&ids[0]));
    story.join(consumer(&ids[1]));
    let sync = story.sync(&ids[1]);
    let new = story.join(restarted("j"));
    assert_eq!(story.refused_sync(sync), ErrorCode::FencedInstanceId);
    assert!(story.waits(new));
    assert_eq!(story.group.state(), State::PreparingRebalance);
}

#[test]
fn a_static_member_that_would_change_the_protocol_has_all_join_again() {
    let speak = |instance, protocols: &[&str]| JoinRequest { protocols: speaking(protocols), ..restarted(instance) };
    let joins = vec![speak("i", &["range", "sticky"]), speak("j", &["range", "sticky"])];
    let (mut story, _) = Story::new().stabilized(joins);
    let new = story.join(speak("j", &["sticky"]));
    assert!(story.waits(new));
    assert_eq!(story.group.state(), State::PreparingRebalance);
    assert_eq!(story.records.len(), 1, "what is not stable is not recorded");
}

#[test]
fn a_static_member_that_is_subscribed_to_more_is_known_to_be() {
    let (mut story, _) = pair();
    assert!(!story.group.is_subscribed("bills"));
    let protocols = vec![("range".to_owned(), subscription(&["orders", "bills"]))];
    story.join(JoinRequest { protocols, ..restarted("j") });
    assert_eq!(story.group.state(), State::Stable);
    assert!(story.group.is_subscribed("bills"));
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_until_its_session_ends() {
    let long = JoinRequest { session_timeout_ms: 600_000, ..restarted("j") };
    let (mut story, ids) = Story::new().stabilized(vec![newcomer("ann"), long]);
    let ann = story.join(consumer(&ids[0]));
    story.pass(REBALANCE);
    assert_eq!(story.joined(ann).members.len(), 2, "whoever is dynamic would be out");
    assert_eq!(story.group.size(), 2);
    story.sync(&ids[0]);
    story.pass_alive(REBALANCE - 1_000, &[&ids[0]]);
    assert_eq!(story.group.size(), 2);
    story.pass_alive(1_000, &[&ids[0]]);
    assert_eq!(story.group.size(), 1, "it did not ask for its assignment either");
}

#[test]
fn when_nobody_but_absent_static_members_is_left_the_rebalance_waits_on() {
    let long = JoinRequest { session_timeout_ms: 600_000, ..restarted("j") };
    let (mut story, ids) = Story::new().stabilized(vec![newcomer("ann"), long]);
    story.leave(&ids[0]);
    story.pass(5 * REBALANCE);
    assert_eq!((story.group.state(), story.group.generation()), (State::PreparingRebalance, Generation(1)));
    let new = story.join(restarted("j"));
    assert_eq!(story.joined(new).generation, Generation(2));
}

#[test]
fn a_rebalance_that_nobody_joins_ends_with_the_last_session_even_if_it_does_not_wait() {
    let hasty = JoinRequest { session_timeout_ms: 600_000, rebalance_timeout_ms: 0, ..restarted("j") };
    let mut story = Story::new();
    let ticket = story.join(hasty);
    story.pass(DELAY);
    let id = story.joined(ticket).member;
    assert_eq!(story.group.size(), 0, "no time to sync");
    assert_eq!(story.heartbeat(&id), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.group.state(), State::Empty);
}

#[test]
fn a_static_member_that_was_not_waited_for_yet_can_be_late_under_its_new_id() {
    let mut story = Story::new();
    let tickets = [story.join(restarted("i")), story.join(restarted("j"))];
    story.pass(2 * DELAY);
    let ids = tickets.map(|ticket| story.joined(ticket).member);
    story.sync(&ids[0]);
    let new = story.join(restarted("j"));
    let new = story.joined(new).member;
    story.sync(&new);
    story.pass_alive(2 * REBALANCE, &[&ids[0], &new]);
    assert_eq!((story.group.state(), story.group.size()), (State::Stable, 2));
}

#[test]
fn the_session_of_the_next_life_begins_when_it_joins() {
    let (mut story, ids) = pair();
    story.pass_alive(SESSION - 1_000, &[&ids[0]]);
    let new = story.join(restarted("j"));
    let new = story.joined(new).member;
    story.pass_alive(SESSION - 1_000, &[&ids[0]]);
    assert_eq!(story.heartbeat(&new), Ok(()));
}

#[test]
fn a_static_leader_that_is_away_does_not_lead_those_that_have_joined() {
    let long = JoinRequest { session_timeout_ms: 600_000, ..restarted("i") };
    let (mut story, ids) = Story::new().stabilized(vec![long, newcomer("zoe")]);
    assert_eq!(story.group.leader(), Some(&ids[0]));
    let bob = story.join(newcomer("bob"));
    let zoe = story.join(consumer(&ids[1]));
    story.pass(REBALANCE);
    let bob = story.joined(bob);
    assert_eq!((&bob.leader, bob.members.len()), (&bob.member, 3));
    assert_eq!(story.joined(zoe).leader, bob.member);
}

#[test]
fn one_that_starts_again_before_its_first_generation_waits_like_an_old_member() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let first = story.join(restarted("i"));
    let second = story.join(restarted("i"));
    assert_eq!(story.refused_join(first), ErrorCode::FencedInstanceId);
    story.pass_alive(2 * SESSION, &[&ids[0]]);
    assert!(story.waits(second));
}

#[test]
fn absent_members_that_want_no_wait_are_not_looked_for_all_the_time() {
    let (story, ids) = Story::new().stabilized(vec![restarted("i"), newcomer("ann")]);
    let mut value = story.recorded().clone();
    for member in &mut value.members {
        (member.session_timeout_ms, member.rebalance_timeout_ms) = (600_000, 0);
    }
    let at = MonotonicMillis(0);
    let mut story = Story::of(ClassicGroup::from_value("g".into(), &value, Config::default(), at, WallMillis(0)));
    assert_eq!(story.leave(&ids[1]), ErrorCode::None);
    assert_eq!(story.group.next_deadline(), Some(at));
    story.pass(0);
    assert_eq!(story.group.next_deadline(), Some(MonotonicMillis(1_000)));
    story.pass(600_000);
    assert_eq!(story.group.state(), State::Empty);
}

/// Kafka counts one that has no member id as one more, though it only takes its own place.
#[test]
fn a_static_member_that_starts_again_in_a_full_group_is_refused_as_in_kafka() {
    let config = Config { max_size: 2, ..Config::default() };
    let (mut story, ids) = Story::with(config).stabilized(vec![restarted("i"), restarted("j")]);
    let new = story.join(restarted("j"));
    assert_eq!(story.refused_join(new), ErrorCode::GroupMaxSizeReached);
    assert_eq!(story.heartbeat(&ids[1]), Ok(()));
}
