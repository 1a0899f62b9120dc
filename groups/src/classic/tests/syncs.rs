//! Claims about SyncGroup and Heartbeat.

use super::*;

/// Two members that have joined generation 1 and not asked for their assignments; the first leads.
fn completing() -> (Story, Vec<MemberId>) {
    let mut story = Story::new();
    let tickets = [story.join(newcomer("ann")), story.join(newcomer("bob"))];
    story.pass(2 * DELAY);
    let ids = tickets.map(|ticket| story.joined(ticket).member).to_vec();
    (story, ids)
}

fn asking(member: &MemberId) -> SyncRequest {
    SyncRequest {
        member: member.clone(),
        instance: None,
        generation: Generation(1),
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: Vec::new(),
    }
}

#[test]
fn a_follower_waits_for_the_leader_and_what_it_gives_is_recorded() {
    let (mut story, ids) = completing();
    let bob = story.sync(&ids[1]);
    assert!(story.waits(bob));
    assert!(story.records.is_empty());
    let ann = story.sync(&ids[0]);
    assert_eq!(story.synced(ann).assignment, share(&ids[0], Generation(1)));
    assert_eq!(story.synced(bob).assignment, share(&ids[1], Generation(1)));
    let told = story.synced(bob);
    assert_eq!((told.protocol_type.as_deref(), told.protocol.as_deref()), (Some("consumer"), Some("range")));
    assert_eq!(story.records.len(), 1);
    let value = story.recorded();
    assert_eq!((value.generation, value.leader.as_ref()), (Generation(1), Some(&ids[0])));
    assert_eq!(value.members[1].assignment, share(&ids[1], Generation(1)));
    assert_eq!(value.members[1].subscription, subscription(&["orders"]));
}

#[test]
fn a_follower_that_asks_late_is_answered_at_once() {
    let (mut story, ids) = completing();
    story.sync(&ids[0]);
    assert_eq!(story.group.state(), State::Stable);
    let bob = story.sync(&ids[1]);
    assert_eq!(story.synced(bob).assignment, share(&ids[1], Generation(1)));
    assert_eq!(story.records.len(), 1);
}

#[test]
fn whom_the_leader_forgets_has_nothing_and_whom_it_invents_is_nobody() {
    let (mut story, ids) = completing();
    let assignments = vec![(ids[0].clone(), "all".into()), ("nobody".into(), "much".into())];
    let ann = story.sync_as(SyncRequest { assignments, ..asking(&ids[0]) });
    assert_eq!(story.synced(ann).assignment, Bytes::from("all"));
    let bob = story.sync(&ids[1]);
    assert_eq!(story.synced(bob).assignment, Bytes::new());
    assert_eq!(story.recorded().members.len(), 2);
}

#[test]
fn what_a_follower_assigns_is_ignored() {
    let (mut story, ids) = completing();
    let bob = story.sync_as(SyncRequest { assignments: vec![(ids[1].clone(), "all".into())], ..asking(&ids[1]) });
    assert!(story.waits(bob));
    story.sync(&ids[0]);
    assert_eq!(story.synced(bob).assignment, share(&ids[1], Generation(1)));
}

#[test]
fn each_thing_that_can_be_wrong_with_a_sync_has_its_code() {
    let (mut story, ids) = completing();
    for (request, error) in [
        (asking(&"nobody".into()), ErrorCode::UnknownMemberId),
        (SyncRequest { instance: Some("i".into()), ..asking(&ids[1]) }, ErrorCode::UnknownMemberId),
        (SyncRequest { generation: Generation(0), ..asking(&ids[1]) }, ErrorCode::IllegalGeneration),
        (SyncRequest { generation: Generation(2), ..asking(&ids[1]) }, ErrorCode::IllegalGeneration),
        (
            SyncRequest { protocol_type: Some("connect".to_owned()), ..asking(&ids[1]) },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (SyncRequest { protocol: Some("sticky".to_owned()), ..asking(&ids[1]) }, ErrorCode::InconsistentGroupProtocol),
    ] {
        let ticket = story.sync_as(request);
        assert_eq!(story.refused_sync(ticket), error);
    }
    let ticket = story.sync_as(SyncRequest { protocol_type: None, protocol: None, ..asking(&ids[1]) });
    assert!(story.waits(ticket));
    story.join(newcomer("eve"));
    let ticket = story.sync_as(asking(&ids[0]));
    assert_eq!(story.refused_sync(ticket), ErrorCode::RebalanceInProgress);
}

#[test]
fn who_waits_for_an_assignment_is_sent_back_when_another_comes() {
    let (mut story, ids) = completing();
    let bob = story.sync(&ids[1]);
    story.join(newcomer("eve"));
    assert_eq!(story.refused_sync(bob), ErrorCode::RebalanceInProgress);
    assert_eq!(story.group.state(), State::PreparingRebalance);
}

#[test]
fn of_two_syncs_of_one_member_the_later_waits() {
    let (mut story, ids) = completing();
    let first = story.sync(&ids[1]);
    let second = story.sync(&ids[1]);
    assert_eq!(story.refused_sync(first), ErrorCode::RebalanceInProgress);
    story.sync(&ids[0]);
    assert_eq!(story.synced(second).assignment, share(&ids[1], Generation(1)));
}

#[test]
fn a_leader_that_does_not_sync_within_the_rebalance_timeout_is_removed() {
    let (mut story, ids) = completing();
    let bob = story.sync(&ids[1]);
    story.pass_alive(REBALANCE - 1_000, &[&ids[0]]);
    assert!(story.waits(bob));
    story.pass_alive(1_000, &[]);
    assert_eq!(story.refused_sync(bob), ErrorCode::RebalanceInProgress);
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.group.leader(), Some(&ids[1]));
    assert_eq!(story.group.state(), State::PreparingRebalance);
}

#[test]
fn a_follower_of_a_stable_group_that_never_syncs_is_removed_too() {
    let (mut story, ids) = completing();
    story.sync(&ids[0]);
    story.pass_alive(REBALANCE, &[&ids[0], &ids[1]]);
    assert_eq!(story.heartbeat(&ids[1]), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn once_all_have_synced_nobody_is_removed_for_it() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    story.pass_alive(2 * REBALANCE, &[&ids[0], &ids[1]]);
    assert_eq!((story.group.state(), story.group.size()), (State::Stable, 2));
    assert_eq!(story.group.next_deadline(), Some(MonotonicMillis(story.now + SESSION)));
}

#[test]
fn a_member_that_leaves_is_not_waited_for_any_more() {
    let (mut story, ids) = completing();
    story.sync(&ids[0]);
    story.leave(&ids[1]);
    let ann = story.join(consumer(&ids[0]));
    assert_eq!(story.joined(ann).generation, Generation(2));
}

#[test]
fn a_member_that_waits_for_its_assignment_does_not_expire() {
    let (mut story, ids) = completing();
    let bob = story.sync(&ids[1]);
    story.pass_alive(3 * SESSION, &[&ids[0]]);
    assert!(story.waits(bob));
    story.sync(&ids[0]);
    assert_eq!(story.group.size(), 2);
    story.pass_alive(SESSION, &[&ids[0]]);
    assert_eq!(story.heartbeat(&ids[1]), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn each_thing_that_can_be_wrong_with_a_heartbeat_has_its_code() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let now = story.at();
    let mut beat = |member: &MemberId, instance: Option<&str>, generation| {
        let instance = instance.map(InstanceId::from);
        story.group.heartbeat(member, instance.as_ref(), Generation(generation), now)
    };
    assert_eq!(beat(&ids[0], None, 1), Ok(()));
    assert_eq!(beat(&"nobody".into(), None, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(beat(&ids[0], Some("i"), 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(beat(&ids[0], None, 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(beat(&ids[0], None, 2), Err(ErrorCode::IllegalGeneration));
    let mut story = Story::new();
    let asked = story.join(JoinRequest { member_id_required: true, ..newcomer("bob") });
    let pending = story.join_answer(asked).member.clone();
    assert_eq!(story.heartbeat(&pending), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_wrong_heartbeat_is_no_sign_of_life() {
    let (mut story, ids) = Story::stable(&["ann"]);
    story.pass(SESSION - 1);
    let now = story.at();
    assert_eq!(story.group.heartbeat(&ids[0], None, Generation(7), now), Err(ErrorCode::IllegalGeneration));
    story.pass(1);
    assert_eq!(story.group.size(), 0);
}

#[test]
fn a_group_is_described_with_metadata_once_it_is_stable() {
    let (mut story, ids) = completing();
    let described = story.group.describe();
    assert_eq!(
        (described.state.name(), &*described.protocol_type, &*described.protocol),
        ("CompletingRebalance", "consumer", "")
    );
    assert_eq!(described.members[0].metadata, Bytes::new());
    story.sync_all(&ids);
    let described = story.group.describe();
    assert_eq!((described.state.name(), &*described.protocol), ("Stable", "range"));
    assert_eq!(
        described.members[1],
        MemberDescription {
            member: ids[1].clone(),
            instance: None,
            client_id: "bob".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            metadata: subscription(&["orders"]),
            assignment: share(&ids[1], Generation(1)),
        }
    );
    let overview = story.group.overview();
    assert_eq!((&*overview.group, &*overview.protocol_type, overview.state), ("g", "consumer", State::Stable));
}

#[test]
fn who_did_not_ask_for_an_assignment_owes_nothing_once_all_join_again() {
    let (mut story, ids) = completing();
    story.sync(&ids[0]);
    story.pass_alive(REBALANCE / 2, &[&ids[0], &ids[1]]);
    let eve = story.join(newcomer("eve"));
    story.pass_alive(REBALANCE / 2, &[&ids[0], &ids[1]]);
    assert!(story.waits(eve));
    assert_eq!(story.group.size(), 3, "the wait for its sync ended with the generation");
}

#[test]
fn assignments_that_were_not_complete_are_void() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let assigned =
        |story: &Story| story.group.describe().members.iter().filter(|member| !member.assignment.is_empty()).count();
    story.join(consumer(&ids[0]));
    assert_eq!(assigned(&story), 2, "members keep what they have until all have joined");
    story.join(consumer(&ids[1]));
    story.join(newcomer("eve"));
    assert_eq!(story.group.state(), State::PreparingRebalance);
    assert_eq!(assigned(&story), 0);
}
