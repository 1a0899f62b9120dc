//! Claims about what a group says of offsets.

use super::*;

fn claim(member: &str, generation: i32) -> CommitClaim {
    CommitClaim { member: member.into(), instance: None, generation: Generation(generation), is_transactional: false }
}

fn in_transaction(claim: CommitClaim) -> CommitClaim {
    CommitClaim { is_transactional: true, ..claim }
}

#[test]
fn a_member_of_this_generation_commits_and_nobody_else() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let ann = &*ids[0];
    let now = story.at();
    let mut commit = |claim: CommitClaim| {
        let plain = story.group.offset_commit(&claim, now);
        let transactional = story.group.offset_commit(&in_transaction(claim), now);
        (plain, transactional)
    };
    let both = |error| (Err(error), Err(error));
    assert_eq!(commit(claim(ann, 1)), (Ok(()), Ok(())));
    assert_eq!(commit(claim(ann, 0)), both(ErrorCode::IllegalGeneration));
    assert_eq!(commit(claim(ann, 2)), both(ErrorCode::IllegalGeneration));
    assert_eq!(commit(claim(ann, -1)), both(ErrorCode::IllegalGeneration));
    assert_eq!(commit(claim("nobody", 1)), both(ErrorCode::UnknownMemberId));
    assert_eq!(commit(claim("", 1)), both(ErrorCode::UnknownMemberId));
    let named = CommitClaim { instance: Some("i".into()), ..claim(ann, 1) };
    assert_eq!(commit(named), both(ErrorCode::UnknownMemberId));
    // Who commits in a transaction need not say who it is: old versions cannot.
    assert_eq!(commit(claim("", -1)), (Err(ErrorCode::UnknownMemberId), Ok(())));
}

#[test]
fn whoever_assigns_its_partitions_by_itself_commits_while_the_group_is_empty() {
    let story = Story::new();
    assert_eq!(story.group.check_offset_commit(&claim("", -1)), Ok(()));
    assert_eq!(story.group.check_offset_commit(&claim("whoever", -1)), Ok(()));
    assert_eq!(story.group.check_offset_commit(&claim("whoever", 0)), Err(ErrorCode::UnknownMemberId));
    assert!(story.group.is_simple());
}

#[test]
fn a_fenced_member_does_not_commit() {
    let (mut story, ids) = Story::new().stabilized(vec![restarted("i")]);
    story.join(restarted("i"));
    let fenced = CommitClaim { instance: Some("i".into()), ..claim(&ids[0], 1) };
    assert_eq!(story.group.check_offset_commit(&fenced), Err(ErrorCode::FencedInstanceId));
}

#[test]
fn commits_go_on_until_the_next_generation_and_wait_for_its_assignment() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    story.join(consumer(&ids[0]));
    assert_eq!(story.group.check_offset_commit(&claim(&ids[1], 1)), Ok(()), "before it joins again");
    story.join(consumer(&ids[1]));
    assert_eq!(story.group.check_offset_commit(&claim(&ids[1], 1)), Err(ErrorCode::IllegalGeneration));
    assert_eq!(story.group.check_offset_commit(&claim(&ids[1], 2)), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.group.check_offset_commit(&in_transaction(claim(&ids[1], 2))), Ok(()));
}

#[test]
fn a_commit_is_a_sign_of_life_unless_it_is_in_a_transaction() {
    for (is_transactional, size) in [(false, 1), (true, 0)] {
        let (mut story, ids) = Story::stable(&["ann"]);
        story.pass(SESSION - 1);
        let claim = CommitClaim { is_transactional, ..claim(&ids[0], 1) };
        let now = story.at();
        assert_eq!(story.group.offset_commit(&claim, now), Ok(()));
        story.pass(1);
        assert_eq!(story.group.size(), size);
    }
}

#[test]
fn offsets_of_a_topic_are_kept_while_a_consumer_is_subscribed_to_it() {
    let (mut story, ids) = Story::stable(&["ann"]);
    assert!(story.group.is_subscribed("orders"));
    assert!(!story.group.is_subscribed("bills"));
    assert_eq!(story.group.check_offset_delete(), Ok(()));
    assert_eq!(story.group.offset_expiration(), Some(OffsetExpiration::SinceCommit));
    story.join(consumer(&ids[0]));
    assert_eq!(story.group.offset_expiration(), None, "not while the members are not settled");
    story.pass(1_000);
    story.leave(&ids[0]);
    assert!(!story.group.is_subscribed("orders"));
    assert_eq!(story.group.offset_expiration(), Some(OffsetExpiration::Since(story.wall())));
}

#[test]
fn consumers_that_cannot_be_read_may_be_subscribed_to_anything() {
    let odd = JoinRequest { protocols: vec![("range".to_owned(), "?".into())], ..newcomer("ann") };
    let (story, _) = Story::new().stabilized(vec![odd]);
    assert!(story.group.is_subscribed("whatever"));
    assert_eq!(story.group.offset_expiration(), None);
}

#[test]
fn what_is_no_consumer_is_subscribed_to_nothing_and_its_offsets_are_not_deleted_while_it_is_there() {
    let worker = JoinRequest { protocol_type: "connect".to_owned(), ..newcomer("ann") };
    let (mut story, ids) = Story::new().stabilized(vec![worker]);
    assert!(!story.group.is_subscribed("orders"));
    assert_eq!(story.group.check_offset_delete(), Err(ErrorCode::NonEmptyGroup));
    assert_eq!(story.group.offset_expiration(), None);
    story.leave(&ids[0]);
    assert_eq!(story.group.check_offset_delete(), Ok(()));
}

#[test]
fn offsets_without_a_group_expire_by_themselves() {
    let story = Story::new();
    assert_eq!(story.group.offset_expiration(), Some(OffsetExpiration::SinceCommit));
    assert!(!story.group.is_subscribed("orders"));
    assert_eq!(story.group.check_offset_fetch(), Ok(()));
}
