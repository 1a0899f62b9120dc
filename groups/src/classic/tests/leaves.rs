//! Claims about LeaveGroup.

use super::*;

#[test]
fn who_leaves_is_gone_and_the_others_join_again() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    assert_eq!(story.leave(&ids[0]), ErrorCode::None);
    assert_eq!(story.leave(&ids[0]), ErrorCode::UnknownMemberId);
    assert_eq!(story.group.state(), State::PreparingRebalance);
    let bob = story.join(consumer(&ids[1]));
    assert_eq!(story.joined(bob).leader, ids[1]);
}

#[test]
fn the_last_one_out_leaves_an_empty_group() {
    let (mut story, ids) = Story::stable(&["ann"]);
    assert_eq!(story.leave(&ids[0]), ErrorCode::None);
    assert_eq!((story.group.state(), story.group.generation()), (State::Empty, Generation(2)));
    assert!(story.recorded().members.is_empty());
}

#[test]
fn who_was_the_last_to_be_waited_for_lets_the_others_go_on() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let ann = story.join(consumer(&ids[0]));
    story.leave(&ids[1]);
    assert_eq!(story.joined(ann).generation, Generation(2));
}

#[test]
fn requests_of_one_that_leaves_are_answered() {
    let (mut story, ids) = Story::stable(&["ann", "bob", "eve"]);
    let ann = story.join(consumer(&ids[0]));
    story.leave(&ids[0]);
    assert_eq!(story.refused_join(ann), ErrorCode::UnknownMemberId);
    story.join(consumer(&ids[1]));
    story.join(consumer(&ids[2]));
    let eve = story.sync(&ids[2]);
    story.leave(&ids[2]);
    assert_eq!(story.refused_sync(eve), ErrorCode::UnknownMemberId);
}

#[test]
fn each_that_is_named_has_its_own_answer() {
    let (mut story, ids) = Story::new().stabilized(vec![restarted("i"), newcomer("ann"), restarted("j")]);
    let named = |member: &str, instance: Option<&str>| MemberIdentity {
        member: member.into(),
        instance: instance.map(InstanceId::from),
    };
    let leaving = vec![
        named("", None),
        named("", Some("nobody")),
        named("nobody", None),
        named(&ids[1], Some("i")),
        named("", Some("i")),
        named(&ids[2], Some("j")),
    ];
    let left = story.leave_all(leaving.clone());
    let errors: Vec<ErrorCode> = left.iter().map(|left| left.error).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(errors, [unknown, unknown, unknown, ErrorCode::FencedInstanceId, ErrorCode::None, ErrorCode::None]);
    assert!(left.into_iter().map(|left| left.identity).eq(leaving));
    assert_eq!(story.group.size(), 1);
}

#[test]
fn one_on_its_way_can_leave_and_nobody_joins_again_for_it() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("bob") });
    let pending = story.join_answer(asked).member.clone();
    assert_eq!(story.leave(&pending), ErrorCode::None);
    assert_eq!((story.group.pending(), story.group.state()), (0, State::Stable));
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("bob") });
    let pending = story.join_answer(asked).member.clone();
    let ann = story.join(consumer(&ids[0]));
    assert!(story.waits(ann));
    story.leave(&pending);
    assert_eq!(story.joined(ann).generation, Generation(2));
}

#[test]
fn leaving_in_vain_changes_nothing() {
    let (mut story, _) = Story::stable(&["ann"]);
    assert_eq!(story.leave(&"nobody".into()), ErrorCode::UnknownMemberId);
    assert_eq!(story.group.state(), State::Stable);
}
