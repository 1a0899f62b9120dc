//! Claims about groups that are loaded, unloaded and deleted.

use super::*;

fn load(value: &ClassicGroupValue, config: Config, now: u64) -> Story {
    let group = ClassicGroup::from_value("g".into(), value, config, MonotonicMillis(now), WallMillis(1_000_000));
    let mut story = Story::of(group);
    story.now = now;
    story
}

#[test]
fn a_group_goes_on_where_its_record_left_it() {
    let (story, ids) = Story::new().stabilized(vec![restarted("i"), newcomer("ann")]);
    let value = story.recorded().clone();
    assert_eq!(story.group.to_value(), value);
    let mut loaded = load(&value, Config::default(), 500_000);
    assert_eq!(loaded.group.to_value(), value);
    assert_eq!(loaded.group.describe(), story.group.describe());
    assert_eq!(loaded.heartbeat(&ids[1]), Ok(()));
    let sync = loaded.sync(&ids[1]);
    assert_eq!(loaded.synced(sync).assignment, share(&ids[1], Generation(1)));
    assert!(loaded.group.is_subscribed("orders"));
    assert!(!loaded.group.is_subscribed("bills"));
    let fenced = loaded.join(JoinRequest { instance: Some("i".into()), ..consumer(&ids[1]) });
    assert_eq!(loaded.refused_join(fenced), ErrorCode::FencedInstanceId);
}

#[test]
fn sessions_begin_anew_when_a_group_is_loaded() {
    let (story, ids) = Story::stable(&["ann"]);
    let mut loaded = load(story.recorded(), Config::default(), 500_000);
    loaded.pass(SESSION - 1);
    assert_eq!(loaded.heartbeat(&ids[0]), Ok(()));
    loaded.pass(SESSION);
    assert_eq!(loaded.heartbeat(&ids[0]), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn of_two_members_that_claim_one_name_in_a_record_the_first_has_it() {
    let (story, ids) = Story::new().stabilized(vec![restarted("i"), newcomer("ann")]);
    let mut value = story.recorded().clone();
    let twin = value.members.iter().find(|member| member.instance.is_some()).expect("one has a name").clone();
    let impostor = crate::record::ClassicMemberValue { member: "impostor".into(), ..twin.clone() };
    value.members.extend([twin, impostor]);
    let loaded = load(&value, Config::default(), 500_000);
    assert_eq!(loaded.group.size(), ids.len());
    assert_eq!(loaded.group.to_value(), *story.recorded());
}

#[test]
fn an_empty_group_is_loaded_empty_and_since_when() {
    let (mut story, ids) = Story::stable(&["ann"]);
    story.leave(&ids[0]);
    let value = story.recorded().clone();
    let mut loaded = load(&value, Config::default(), 500_000);
    assert_eq!((loaded.group.state(), loaded.group.generation()), (State::Empty, Generation(2)));
    assert_eq!(loaded.group.to_value(), value);
    let ann = loaded.join(newcomer("ann"));
    assert!(loaded.waits(ann));
}

#[test]
fn a_group_that_is_loaded_with_too_many_members_loses_the_last_to_join() {
    let (story, ids) = Story::stable(&["ann", "bob", "eve"]);
    let mut loaded = load(story.recorded(), Config { max_size: 2, ..Config::default() }, 0);
    assert_eq!(loaded.heartbeat(&ids[0]), Err(ErrorCode::RebalanceInProgress));
    let tickets = [2, 1, 0].map(|at| loaded.join(consumer(&ids[at])));
    assert_eq!(loaded.refused_join(tickets[2]), ErrorCode::GroupMaxSizeReached);
    assert_eq!(loaded.joined(tickets[0]).generation, Generation(2));
    assert_eq!(loaded.group.size(), 2);
    assert_eq!(loaded.joined(tickets[1]).leader, loaded.group.leader().cloned().expect("one leads"));
}

#[test]
fn a_record_that_lacks_what_later_ones_have_is_loaded() {
    let (story, ids) = Story::stable(&["ann"]);
    let mut value = story.recorded().clone();
    value.members[0].rebalance_timeout_ms = -1;
    value.leader = Some("nobody".into());
    value.state_since = None;
    let loaded = load(&value, Config::default(), 0);
    assert_eq!(loaded.group.leader(), Some(&ids[0]));
    assert_eq!(loaded.group.to_value().members[0].rebalance_timeout_ms, i32::try_from(SESSION).unwrap());
    value.protocol = None;
    value.members.clear();
    let loaded = load(&value, Config::default(), 0);
    assert_eq!(loaded.group.offset_expiration(), Some(OffsetExpiration::SinceCommit));
}

#[test]
fn a_record_that_holds_members_and_no_protocol_is_loaded_all_the_same() {
    let (story, ids) = Story::stable(&["ann"]);
    let mut value = story.recorded().clone();
    value.protocol = None;
    value.protocol_type = String::new();
    let mut loaded = load(&value, Config::default(), 0);
    assert_eq!(loaded.heartbeat(&ids[0]), Ok(()));
    assert_eq!(loaded.leave(&ids[0]), ErrorCode::None);
    assert_eq!(loaded.group.state(), State::Empty);
}

#[test]
fn whoever_waits_is_told_to_look_elsewhere_when_a_group_is_unloaded() {
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    let join = story.join(consumer(&ids[0]));
    let effects = story.group.unload(story.wall());
    story.take(effects);
    assert_eq!(story.refused_join(join), ErrorCode::NotCoordinator);
    assert_eq!(story.join_answer(join).member, ids[0]);
    let (mut story, ids) = Story::stable(&["ann", "bob"]);
    story.join(consumer(&ids[0]));
    story.join(consumer(&ids[1]));
    let sync = story.sync(&ids[1]);
    let effects = story.group.unload(story.wall());
    story.take(effects);
    assert_eq!(story.refused_sync(sync), ErrorCode::NotCoordinator);
    assert_eq!(story.group.next_deadline(), None);
    assert!(story.records.len() == 1, "nothing is recorded of an end that is none");
}

#[test]
fn a_dead_group_sends_everybody_to_look_for_the_coordinator() {
    let (mut story, ids) = Story::stable(&["ann"]);
    let effects = story.group.unload(story.wall());
    story.take(effects);
    for request in [newcomer("bob"), consumer(&ids[0])] {
        let ticket = story.join(request);
        assert_eq!(story.refused_join(ticket), ErrorCode::CoordinatorNotAvailable);
    }
    let sync = story.sync(&ids[0]);
    assert_eq!(story.refused_sync(sync), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(story.heartbeat(&ids[0]), Err(ErrorCode::CoordinatorNotAvailable));
    let (now, wall) = (story.at(), story.wall());
    assert_eq!(story.group.leave(Vec::new(), now, wall), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(story.group.check_delete(), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(story.group.check_offset_fetch(), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(story.group.check_offset_delete(), Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn only_an_empty_group_is_deleted_and_its_record_with_it() {
    let (mut story, ids) = Story::stable(&["ann"]);
    assert_eq!(story.group.check_delete(), Err(ErrorCode::NonEmptyGroup));
    story.leave(&ids[0]);
    assert_eq!(story.group.check_delete(), Ok(()));
    let wall = story.wall();
    assert_eq!(story.group.delete(wall), Record::ClassicGroup { group: "g".into(), value: None });
    assert_eq!(story.group.state(), State::Dead);
}
