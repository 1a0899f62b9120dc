//! Claims about JoinGroup, and about what ends the wait for it.

use super::*;

#[test]
fn an_empty_group_waits_for_more_members_before_its_first_generation() {
    let mut story = Story::new();
    let ann = story.join(newcomer("ann"));
    assert_eq!(story.group.state(), State::PreparingRebalance);
    story.pass(DELAY - 1);
    assert!(story.waits(ann));
    story.pass(1);
    let answer = story.joined(ann);
    assert_eq!(answer.generation, Generation(1));
    assert_eq!((answer.protocol_type.as_deref(), answer.protocol.as_deref()), (Some("consumer"), Some("range")));
    assert_eq!(&*answer.member, "ann-00000000-0000-0000-0000-000000000001");
    assert_eq!(answer.leader, answer.member);
    assert!(!answer.skip_assignment);
    assert_eq!(story.group.state(), State::CompletingRebalance);
    assert!(story.records.is_empty(), "a generation without an assignment is not recorded");
}

#[test]
fn the_first_wait_goes_on_while_members_come_but_no_longer_than_the_rebalance_timeout() {
    let mut story = Story::new();
    let brief = |name| JoinRequest { rebalance_timeout_ms: 7_000, ..newcomer(name) };
    let first = story.join(brief("0"));
    for name in ["1", "2", "3", "4", "5"] {
        story.pass(1_300);
        story.join(brief(name));
    }
    assert_eq!(story.now, 6_500);
    assert!(story.waits(first), "the second wait ends at 6000, and somebody had come");
    story.pass(499);
    assert!(story.waits(first), "the third wait ends with the rebalance timeout");
    story.pass(1);
    assert_eq!(story.joined(first).members.len(), 6);
}

#[test]
fn a_member_that_comes_in_the_first_wait_has_it_extended_once() {
    let mut story = Story::new();
    let ann = story.join(newcomer("ann"));
    story.pass(2_000);
    let bob = story.join(newcomer("bob"));
    story.pass(DELAY - 2_000);
    assert!(story.waits(ann));
    story.pass(DELAY);
    assert_eq!(story.joined(ann).generation, story.joined(bob).generation);
    assert_eq!(story.now, 2 * DELAY);
}

#[test]
fn only_the_leader_is_told_of_the_members() {
    let mut story = Story::new();
    let ann = story.join(newcomer("ann"));
    let bob = story.join(JoinRequest { protocols: vec![("range".to_owned(), "bob's".into())], ..newcomer("bob") });
    story.pass(2 * DELAY);
    let (ann, bob) = (story.joined(ann), story.joined(bob));
    assert_eq!(ann.leader, ann.member);
    assert_eq!(bob.leader, ann.member);
    assert!(bob.members.is_empty());
    let told: Vec<_> = ann.members.iter().map(|member| (&member.member, &member.metadata)).collect();
    assert_eq!(told, [(&ann.member, &subscription(&["orders"])), (&bob.member, &Bytes::from("bob's"))]);
}

#[test]
fn a_new_member_has_the_others_join_again_and_a_heartbeat_tells_them() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let bob = story.join(newcomer("bob"));
    assert_eq!(story.group.state(), State::PreparingRebalance);
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::RebalanceInProgress));
    assert!(story.waits(bob));
    let ann = story.join(consumer(&ids[0]));
    assert_eq!(story.joined(bob).generation, Generation(2));
    assert_eq!(story.joined(ann).members.len(), 2, "it led before, and has joined: it leads");
}

#[test]
fn who_does_not_join_before_the_rebalance_timeout_is_out() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let eve = story.join(newcomer("eve"));
    let bob = story.join(consumer(&ids[1]));
    story.pass_alive(REBALANCE - 1_000, &[&ids[0]]);
    assert!(story.waits(bob));
    assert_eq!(story.group.size(), 3);
    story.pass_alive(1_000, &[&ids[0]]);
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.group.size(), 2);
    assert_eq!(story.joined(bob).leader, ids[1], "the leader is out, and another leads");
    assert_eq!(story.joined(bob).members.len(), 2);
    assert!(story.joined(eve).members.is_empty());
}

#[test]
fn a_leader_that_joins_again_has_everybody_join_again() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let ann = story.join(consumer(&ids[0]));
    assert!(story.waits(ann));
    let bob = story.join(consumer(&ids[1]));
    assert_eq!(story.joined(ann).generation, Generation(2));
    assert_eq!(story.joined(bob).generation, Generation(2));
}

#[test]
fn a_follower_that_joins_again_unchanged_is_told_of_the_generation_there_is() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let bob = story.join(consumer(&ids[1]));
    let answer = story.joined(bob);
    assert_eq!((answer.generation, answer.leader), (Generation(1), ids[0].clone()));
    assert!(answer.members.is_empty());
    assert_eq!(story.group.state(), State::Stable);
    let bob = story.join(JoinRequest { protocols: speaking(&["range", "sticky"]), ..consumer(&ids[1]) });
    assert!(story.waits(bob));
    assert_eq!(story.group.state(), State::PreparingRebalance);
}

#[test]
fn a_join_again_while_the_assignment_is_made_repeats_the_answer_unless_something_changed() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let ann = story.join(consumer(&ids[0]));
    let bob = story.join(consumer(&ids[1]));
    let again = (story.join(consumer(&ids[0])), story.join(consumer(&ids[1])));
    assert_eq!(story.joined(again.0), story.joined(ann));
    assert_eq!(story.joined(again.1), story.joined(bob));
    let waiting = story.sync(&ids[1]);
    let changed = story.join(JoinRequest { protocols: speaking(&["sticky", "range"]), ..consumer(&ids[0]) });
    assert!(story.waits(changed));
    assert_eq!(story.refused_sync(waiting), ErrorCode::RebalanceInProgress);
}

#[test]
fn one_that_waits_for_its_assignment_and_joins_changed_is_sent_back_to_join() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    story.join(consumer(&ids[0]));
    story.join(consumer(&ids[1]));
    let sync = story.sync(&ids[1]);
    let join = story.join(JoinRequest { protocols: speaking(&["sticky", "range"]), ..consumer(&ids[1]) });
    assert_eq!(story.refused_sync(sync), ErrorCode::RebalanceInProgress);
    assert!(story.waits(join));
}

#[test]
fn of_two_joins_of_one_member_the_later_waits() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let first = story.join(consumer(&ids[0]));
    let second = story.join(consumer(&ids[0]));
    assert_eq!(story.refused_join(first), ErrorCode::RebalanceInProgress);
    assert_eq!(story.join_answer(first).member, ids[0]);
    assert!(story.waits(second));
    story.join(consumer(&ids[1]));
    assert_eq!(story.joined(second).generation, Generation(2));
}

#[test]
fn a_new_member_gets_its_id_first_and_joins_with_it() {
    let mut story = Story::new();
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("ann") });
    assert_eq!(story.refused_join(asked), ErrorCode::MemberIdRequired);
    let id = story.join_answer(asked).member.clone();
    assert_eq!((story.group.state(), story.group.size(), story.group.pending()), (State::Empty, 0, 1));
    assert!(!story.group.is_simple());
    let ann = story.join(JoinRequest { member_id_required: true, ..consumer(&id) });
    assert_eq!((story.group.size(), story.group.pending()), (1, 0));
    story.pass(DELAY);
    assert_eq!(story.joined(ann).member, id);
}

#[test]
fn who_does_not_come_back_with_its_id_within_its_session_is_forgotten() {
    let mut story = Story::new();
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("ann") });
    let id = story.join_answer(asked).member.clone();
    story.pass(SESSION - 1);
    assert_eq!(story.group.pending(), 1);
    story.pass(1);
    assert_eq!(story.group.pending(), 0);
    let late = story.join(consumer(&id));
    assert_eq!(story.refused_join(late), ErrorCode::UnknownMemberId);
    assert!(story.group.is_simple());
}

#[test]
fn a_rebalance_waits_for_one_that_is_on_its_way_until_it_is_forgotten() {
    let (mut story, ids) = Story::stable(&["ann"]);
    story.join(JoinRequest { member_id_required: true, ..newcomer("bob") });
    let ann = story.join(consumer(&ids[0]));
    assert!(story.waits(ann));
    story.pass(SESSION);
    assert_eq!(story.joined(ann).generation, Generation(2));
}

#[test]
fn the_first_join_of_a_member_waits_longer_than_its_session_but_not_for_ever() {
    let config = Config { new_member_join_timeout_ms: 50_000, ..Config::default() };
    let (mut story, ids) = Story::with(config).stabilized(vec![newcomer("ann")]);
    let bob = story.join(newcomer("bob"));
    story.pass_alive(49_000, &[&ids[0]]);
    assert!(story.waits(bob));
    story.pass_alive(1_000, &[&ids[0]]);
    assert_eq!(story.refused_join(bob), ErrorCode::UnknownMemberId);
    assert_eq!(story.join_answer(bob).member, MemberId::default());
}

#[test]
fn a_member_that_waits_does_not_expire_and_its_session_begins_anew_when_it_is_answered() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let bob = story.join(JoinRequest { protocols: speaking(&["range", "sticky"]), ..consumer(&ids[1]) });
    story.pass_alive(3 * SESSION, &[&ids[0]]);
    assert!(story.waits(bob));
    story.join(consumer(&ids[0]));
    assert_eq!(story.joined(bob).generation, Generation(2));
    story.pass(SESSION - 1);
    assert_eq!(story.group.size(), 2);
    story.pass(1);
    assert_eq!(story.group.size(), 0);
}

#[test]
fn a_silent_member_is_removed_and_the_others_join_again() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    story.pass(SESSION / 2);
    assert_eq!(story.heartbeat(&ids[1]), Ok(()));
    story.pass(SESSION / 2);
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.heartbeat(&ids[1]), Err(ErrorCode::RebalanceInProgress));
    let bob = story.join(consumer(&ids[1]));
    assert_eq!(story.joined(bob).leader, ids[1]);
}

#[test]
fn the_last_to_fall_silent_leaves_an_empty_generation_and_it_is_recorded() {
    let (mut story, _) = Story::stable(&["ann", "bob"]);
    story.pass(SESSION);
    assert_eq!((story.group.state(), story.group.generation()), (State::Empty, Generation(2)));
    let value = story.recorded();
    assert_eq!((&*value.protocol_type, &value.protocol, &value.leader), ("consumer", &None, &None));
    assert_eq!((value.generation, value.state_since), (Generation(2), Some(story.wall())));
    assert!(value.members.is_empty());
    assert_eq!(story.group.next_deadline(), None);
}

#[test]
fn the_protocol_is_what_most_like_best_of_what_all_speak() {
    let mut story = Story::new();
    let speak = |name, protocols: &[&str]| JoinRequest { protocols: speaking(protocols), ..newcomer(name) };
    let ann = story.join(speak("ann", &["only", "range", "sticky"]));
    story.join(speak("bob", &["sticky", "range"]));
    story.join(speak("eve", &["sticky", "range"]));
    story.pass(2 * DELAY);
    assert_eq!(story.joined(ann).protocol.as_deref(), Some("sticky"));
}

#[test]
fn a_member_that_shares_no_protocol_is_refused() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let refusals = [
        JoinRequest { protocols: speaking(&["sticky"]), ..newcomer("eve") },
        JoinRequest { protocols: Vec::new(), ..newcomer("eve") },
        JoinRequest { protocol_type: "connect".to_owned(), ..newcomer("eve") },
        JoinRequest { protocols: speaking(&["sticky"]), ..consumer(&ids[1]) },
    ];
    for refusal in refusals {
        let member = refusal.member.clone();
        let ticket = story.join(refusal);
        assert_eq!(story.refused_join(ticket), ErrorCode::InconsistentGroupProtocol);
        assert_eq!(story.join_answer(ticket).member, member);
    }
    assert_eq!(story.group.state(), State::Stable);
}

#[test]
fn the_first_member_of_an_empty_group_must_speak_something() {
    let mut story = Story::new();
    for mute in [
        JoinRequest { protocols: Vec::new(), ..newcomer("ann") },
        JoinRequest { protocol_type: String::new(), ..newcomer("ann") },
    ] {
        let ticket = story.join(mute);
        assert_eq!(story.refused_join(ticket), ErrorCode::InconsistentGroupProtocol);
    }
    story.join(JoinRequest { protocol_type: "connect".to_owned(), ..newcomer("ann") });
    assert_eq!(story.group.overview().protocol_type, "connect");
}

#[test]
fn a_protocol_that_is_named_twice_counts_once() {
    let mut story = Story::new();
    let twice = vec![("range".to_owned(), "first".into()), ("range".to_owned(), "second".into())];
    let ann = story.join(JoinRequest { protocols: twice, ..newcomer("ann") });
    story.pass(DELAY);
    assert_eq!(story.joined(ann).members[0].metadata, Bytes::from("first"));
}

#[test]
fn a_session_timeout_beyond_the_limits_is_refused() {
    let mut story = Story::new();
    for (session_timeout_ms, error) in [
        (5_999, Some(ErrorCode::InvalidSessionTimeout)),
        (1_800_001, Some(ErrorCode::InvalidSessionTimeout)),
        (6_000, None),
        (1_800_000, None),
    ] {
        let ticket = story.join(JoinRequest { session_timeout_ms, ..newcomer("ann") });
        assert_eq!(story.answers.get(&ticket).map(|_| story.refused_join(ticket)), error, "{session_timeout_ms}");
    }
}

#[test]
fn without_a_rebalance_timeout_the_session_timeout_is_it() {
    let old = JoinRequest { rebalance_timeout_ms: -1, ..newcomer("ann") };
    let (mut story, ids) = Story::new().stabilized(vec![old]);
    assert_eq!(story.recorded().members[0].rebalance_timeout_ms, i32::try_from(SESSION).unwrap());
    let old = JoinRequest { rebalance_timeout_ms: -1, ..newcomer("bob") };
    let bob = story.join(old);
    story.pass_alive(SESSION, &[&ids[0]]);
    assert_eq!(story.joined(bob).members.len(), 1);
}

#[test]
fn a_full_group_refuses_new_members_and_keeps_its_own() {
    let config = Config { max_size: 2, ..Config::default() };
    let (mut story, ids) = Story::with(config).stabilized(vec![newcomer("ann"), newcomer("bob")]);
    let eve = story.join(newcomer("eve"));
    assert_eq!(story.refused_join(eve), ErrorCode::GroupMaxSizeReached);
    assert_eq!(story.join_answer(eve).member, MemberId::default());
    assert_eq!(story.group.state(), State::Stable);
    let ann = story.join(consumer(&ids[0]));
    let eve = story.join(newcomer("eve"));
    assert!(story.waits(eve), "one place is not taken yet");
    let bob = story.join(consumer(&ids[1]));
    assert_eq!(story.refused_join(bob), ErrorCode::GroupMaxSizeReached);
    assert_eq!(story.joined(ann).members.len(), 2, "and with bob goes the reason to wait");
}

#[test]
fn one_on_its_way_that_finds_the_group_full_is_forgotten() {
    let config = Config { max_size: 1, ..Config::default() };
    let mut story = Story::with(config);
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("ann") });
    let id = story.join_answer(asked).member.clone();
    story.join(newcomer("bob"));
    let ann = story.join(consumer(&id));
    assert_eq!(story.refused_join(ann), ErrorCode::GroupMaxSizeReached);
    assert_eq!(story.group.pending(), 0);
}

#[test]
fn an_unknown_member_id_is_refused() {
    let (mut story, _) = Story::stable(&["ann"]);
    let ticket = story.join(consumer(&"nobody".into()));
    assert_eq!(story.refused_join(ticket), ErrorCode::UnknownMemberId);
    assert_eq!(&*story.join_answer(ticket).member, "nobody");
    let mut story = Story::new();
    let ticket = story.join(consumer(&"nobody".into()));
    assert_eq!(story.refused_join(ticket), ErrorCode::UnknownMemberId);
    assert_eq!(story.group.state(), State::Empty);
}

#[test]
fn past_the_last_generation_comes_the_first() {
    let (mut story, ids) = Story::stable(&["ann"]);
    story.group.generation = Generation(i32::MAX);
    let ann = story.join(consumer(&ids[0]));
    assert_eq!(story.joined(ann).generation, Generation(1));
}

#[test]
fn a_second_life_of_a_group_waits_for_more_members_again() {
    let (mut story, ids) = Story::stable(&["ann"]);
    assert_eq!(story.leave(&ids[0]), ErrorCode::None);
    let ann = story.join(newcomer("ann"));
    story.pass(DELAY - 1);
    assert!(story.waits(ann));
    story.pass(1);
    assert_eq!(story.joined(ann).generation, Generation(3));
}

#[test]
fn a_group_whose_only_member_leaves_before_the_first_generation_becomes_empty_in_its_time() {
    let mut story = Story::new();
    let ann = story.join(newcomer("ann"));
    let id = story.group.leader().cloned().expect("there is a member");
    assert_eq!(story.leave(&id), ErrorCode::None);
    assert_eq!(story.refused_join(ann), ErrorCode::UnknownMemberId);
    assert_eq!(story.group.state(), State::PreparingRebalance);
    let bob = story.join(newcomer("bob"));
    story.pass(2 * DELAY);
    assert_eq!(story.joined(bob).leader, story.joined(bob).member);
    let id = story.joined(bob).member;
    story.leave(&id);
    assert_eq!(story.group.state(), State::Empty);
}

#[test]
fn what_a_member_says_when_it_joins_again_counts_from_then_on() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let ann = story.join(consumer(&ids[0]));
    let protocols = vec![("range".to_owned(), "anew".into())];
    story.join(JoinRequest {
        protocols,
        session_timeout_ms: 20_000,
        rebalance_timeout_ms: 90_000,
        ..consumer(&ids[1])
    });
    assert_eq!(story.joined(ann).members[1].metadata, Bytes::from("anew"));
    story.sync_all(&ids);
    let recorded = &story.recorded().members[1];
    assert_eq!((recorded.session_timeout_ms, recorded.rebalance_timeout_ms), (20_000, 90_000));
    story.pass_alive(19_000, &[&ids[0]]);
    assert_eq!(story.group.size(), 2);
    story.pass_alive(1_000, &[&ids[0]]);
    assert_eq!(story.group.size(), 1);
}

#[test]
fn an_empty_group_takes_members_of_another_kind() {
    let (mut story, ids) = Story::stable(&["ann"]);
    story.leave(&ids[0]);
    let worker = JoinRequest { protocol_type: "connect".to_owned(), ..newcomer("ann") };
    let ann = story.join(worker);
    story.pass(DELAY);
    assert_eq!(story.joined(ann).protocol_type.as_deref(), Some("connect"));
}

#[test]
fn with_no_delay_the_first_member_is_answered_when_time_is_next_looked_at() {
    let mut story = Story::with(Config { initial_rebalance_delay_ms: 0, ..Config::default() });
    let ann = story.join(newcomer("ann"));
    assert_eq!(story.group.next_deadline(), Some(story.at()));
    story.pass(0);
    assert_eq!(story.joined(ann).generation, Generation(1));
}
