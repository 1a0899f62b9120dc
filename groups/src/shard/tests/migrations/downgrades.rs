//! A consumer group in which only members are left that speak the classic protocol becomes a classic group.

use super::super::beat;
use super::harness::{REBALANCE, SESSION, Story, Told, as_instance, joining, orders, says};
use crate::{consumer::HeartbeatRequest, embedded, migration::MigrationPolicy, record::Record, shard::*};

/// Two classic members and `new` by ConsumerGroupHeartbeat, each with one partition; the classic ones' ids, and the generation.
fn mixed(policy: MigrationPolicy) -> (Story, [String; 2], i32) {
    let mut story = Story::with(MigrationPolicy::Bidirectional);
    let ids = story.stable([as_instance(joining("", &[]), "i1"), joining("", &[])]);
    let generation = story.hears(&beat("new", 0)).unwrap().0;
    for id in &ids {
        let instance = (*id == ids[0]).then(|| "i1".into());
        let ask = JoinRequest { instance, ..joining(id, &[]) };
        assert_eq!(story.joins(ask), Told::Joined(generation));
        assert!(matches!(story.syncs(id, generation), Told::Synced(given) if given.len() == 1));
    }
    assert!(story.goes_on("new", generation, &[]).1.is_some());
    assert_eq!(story.is(), (GroupType::Consumer, "Stable"));
    story.config.migration = policy;
    story.shard.config.migration = policy;
    (story, ids, generation)
}

fn leaves(story: &mut Story, member: &str, instance: Option<&str>) -> Result<i32, ErrorCode> {
    let request = HeartbeatRequest { topics: None, instance: instance.map(Into::into), ..beat(member, -1) };
    story.hears(&request).map(|(epoch, _)| epoch)
}

/// The classic group rebalances: all join and sync; what each is given.
fn settles(story: &mut Story, ids: &[String; 2]) {
    let generation = story.classic().generation().0 + 1;
    let instance = (story.classic().to_value().members.iter())
        .find(|member| *member.member == *ids[0])
        .and_then(|member| member.instance.clone());
    let first = story.join(JoinRequest { instance, ..joining(&ids[0], &[]) });
    assert_eq!(story.answer(first), None);
    let second = story.join(joining(&ids[1], &[]));
    assert_eq!((story.told(first), story.told(second)), (Told::Joined(generation), Told::Joined(generation)));
    let leader = story.classic().leader().unwrap().to_string();
    let follower = if leader == ids[0] { &ids[1] } else { &ids[0] };
    story.sync(follower, generation, &[]);
    assert!(matches!(
        story.syncs_with(&leader, generation, &[(&leader, &[0, 1]), (follower, &[2])]),
        Told::Synced(given) if given == [0, 1]
    ));
    assert_eq!(story.is(), (GroupType::Classic, "Stable"));
}

#[test]
fn the_last_that_speaks_the_consumer_protocol_leaves() {
    let (mut story, ids, generation) = mixed(MigrationPolicy::Bidirectional);
    let before = story.log.len();
    assert_eq!(leaves(&mut story, "new", None), Ok(-1));
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    let last = story.log.last().unwrap();
    let Record::ClassicGroup { value: Some(value), .. } = last else { panic!("{last:?}") };
    assert_eq!((value.generation.0, value.members.len(), &value.leader), (generation, 2, &None));
    let tombstones = story.log[before..story.log.len() - 1].iter();
    assert!(tombstones.clone().any(|record| matches!(record, Record::ConsumerGroup { value: None, .. })));
    assert_eq!(tombstones.filter(|record| matches!(record, Record::Member { value: None, .. })).count(), 3);
    // Each still has what it had.
    let given = |at: usize| embedded::assignment(&value.members[at].assignment, &super::super::Orders).unwrap();
    assert_ne!(given(0).partitions, given(1).partitions);
    assert!((0..2).all(|at| given(at).partitions.values().flatten().count() == 1));
    for id in &ids {
        assert_eq!(story.beats(id, generation), Err(ErrorCode::RebalanceInProgress));
    }
    settles(&mut story, &ids);
    // And back.
    assert_eq!(story.hears(&beat("new", 0)).map(|(epoch, _)| epoch), Ok(generation + 2));
    assert_eq!(story.is().0, GroupType::Consumer);
}

#[test]
fn the_last_that_speaks_the_consumer_protocol_falls_silent() {
    let (mut story, ids, generation) = mixed(MigrationPolicy::Downgrade);
    for _ in 0..45 {
        story.pass(1_000);
        for id in &ids {
            let _ = story.beats(id, generation);
        }
    }
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    settles(&mut story, &ids);
}

#[test]
fn a_static_member_that_leaves_for_a_while_keeps_the_group_what_it_is() {
    let mut story = Story::new();
    let request = HeartbeatRequest { instance: Some("i".into()), ..beat("m", 0) };
    story.hears(&request).unwrap();
    let ticket = story.join(joining("", &[]));
    let id = story.member(ticket);
    story.syncs(&id, 2);
    let away = HeartbeatRequest { topics: None, instance: Some("i".into()), ..beat("m", -2) };
    assert_eq!(story.hears(&away).map(|(epoch, _)| epoch), Ok(-2));
    assert_eq!(story.is().0, GroupType::Consumer);
    assert_eq!(story.leaves(&[("", Some("i"))]), [ErrorCode::None]);
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
}

#[test]
fn an_administrator_sends_away_members_of_both_protocols() {
    let (mut story, ids, _) = mixed(MigrationPolicy::Bidirectional);
    let told = story.leaves(&[("new", None), ("nobody", None), ("x", Some("i1")), ("", Some("i1"))]);
    assert_eq!(told, [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId, ErrorCode::None]);
    assert_eq!(story.is().0, GroupType::Classic);
    let members = story.classic().to_value().members;
    assert_eq!(members.iter().map(|member| member.member.to_string()).collect::<Vec<_>>(), [ids[1].clone()]);
}

#[test]
fn as_long_as_somebody_speaks_the_consumer_protocol_the_group_stays_what_it_is() {
    let (mut story, ids, generation) = mixed(MigrationPolicy::Bidirectional);
    assert_eq!(story.leaves(&[(&ids[0], None)]), [ErrorCode::None]);
    assert_eq!(story.is().0, GroupType::Consumer);
    assert_eq!(story.beats(&ids[1], generation), Err(ErrorCode::RebalanceInProgress));
    let before = story.log.len();
    assert_eq!(story.leaves(&[("nobody", None)]), [ErrorCode::UnknownMemberId]);
    assert_eq!(story.log.len(), before);
    // Nobody is left at all.
    assert_eq!(story.leaves(&[(&ids[1], None), ("new", None)]), [ErrorCode::None; 2]);
    assert_eq!(story.is(), (GroupType::Consumer, "Empty"));
}

#[test]
fn only_some_policies_let_a_consumer_group_become_a_classic_group() {
    for (policy, kind) in [
        (MigrationPolicy::Bidirectional, GroupType::Classic),
        (MigrationPolicy::Upgrade, GroupType::Consumer),
        (MigrationPolicy::Downgrade, GroupType::Classic),
        (MigrationPolicy::Disabled, GroupType::Consumer),
    ] {
        let (mut story, ids, generation) = mixed(policy);
        assert_eq!(leaves(&mut story, "new", None), Ok(-1));
        assert_eq!(story.is().0, kind, "{policy:?}");
        if kind == GroupType::Consumer {
            assert_eq!(story.joins(joining(&ids[1], &[])), Told::Joined(generation + 1));
        }
    }
}

#[test]
fn a_group_that_is_too_large_for_the_other_protocol_stays_what_it_is() {
    let (mut story, _, _) = mixed(MigrationPolicy::Bidirectional);
    story.shard.config.classic.max_size = 1;
    assert_eq!(leaves(&mut story, "new", None), Ok(-1));
    assert_eq!(story.is().0, GroupType::Consumer);
}

/// A static member `i` by ConsumerGroupHeartbeat and a classic member, both with all that they are to have.
fn with_static() -> (Story, String, i32) {
    let mut story = Story::new();
    let request = HeartbeatRequest { instance: Some("i".into()), ..beat("m", 0) };
    story.hears(&request).unwrap();
    let ticket = story.join(joining("", &[]));
    let id = story.member(ticket);
    let heard = HeartbeatRequest { owned: Some(orders(&[])), topics: None, ..beat("m", 1) };
    assert_eq!(story.hears(&heard).map(|(epoch, _)| epoch), Ok(2));
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(2));
    assert!(matches!(story.syncs(&id, 2), Told::Synced(given) if !given.is_empty()));
    assert_eq!(story.is(), (GroupType::Consumer, "Stable"));
    (story, id, 2)
}

#[test]
fn a_classic_member_that_takes_the_place_of_the_last_other_has_what_that_had() {
    let (mut story, id, generation) = with_static();
    let had: Vec<i32> = story.has("m").values().flatten().map(|partition| partition.0).collect();
    let ticket = story.join(as_instance(joining("", &[]), "i"));
    assert_eq!(story.told(ticket), Told::Joined(generation));
    let Some(Answer::Join(told)) = story.answer(ticket) else { panic!("it is answered") };
    assert_eq!((&*told.leader, told.members.len()), ("", 0));
    // Nothing changes for the other.
    assert_eq!(story.is(), (GroupType::Classic, "Stable"));
    assert_eq!(story.beats(&id, generation), Ok(()));
    let joined = story.member(ticket);
    assert_eq!(story.syncs(&joined, generation), Told::Synced(had));
    assert_eq!(story.classic().to_value().members.len(), 2);
}

#[test]
fn one_that_asks_for_something_else_waits_for_the_others() {
    let (mut story, id, generation) = with_static();
    let protocols = vec![("range".to_owned(), says(1, &["bills"], &[]))];
    let waits = story.join(as_instance(JoinRequest { protocols, ..joining("", &[]) }, "i"));
    assert_eq!(story.answer(waits), None);
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(generation + 1));
    assert_eq!(story.told(waits), Told::Joined(generation + 1));
}

#[test]
fn one_waits_too_where_others_hold_what_is_to_be_its_own() {
    let (mut story, id, generation) = with_static();
    // One more comes and goes, so that the others are on their way.
    story.hears(&beat("n", 0)).unwrap();
    assert_eq!(leaves(&mut story, "n", None), Ok(-1));
    let waits = story.join(as_instance(joining("", &[]), "i"));
    assert_eq!(story.answer(waits), None);
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::IllegalGeneration));
    story.join(joining(&id, &[]));
    assert!(matches!(story.told(waits), Told::Joined(_)));
}

#[test]
fn the_only_member_may_change_its_protocol_by_its_name() {
    let mut story = Story::new();
    story.hears(&HeartbeatRequest { instance: Some("i".into()), ..beat("m", 0) }).unwrap();
    let ticket = story.join(as_instance(joining("", &[]), "i"));
    assert_eq!(story.told(ticket), Told::Joined(1));
    assert_eq!(story.is(), (GroupType::Classic, "Stable"));
    let id = story.member(ticket);
    assert_eq!(story.syncs(&id, 1), Told::Synced(vec![0, 1, 2]));
}

#[test]
fn a_coordinator_that_takes_over_in_between_goes_on_with_the_rebalance() {
    let (mut story, ids, generation) = mixed(MigrationPolicy::Bidirectional);
    assert_eq!(leaves(&mut story, "new", None), Ok(-1));
    story.reload();
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    assert_eq!(story.beats(&ids[0], generation), Err(ErrorCode::RebalanceInProgress));
    settles(&mut story, &ids);
    story.reload();
    assert_eq!(story.is(), (GroupType::Classic, "Stable"));
}

#[test]
fn members_of_a_group_that_went_over_are_missed_in_time() {
    let (mut story, ids, generation) = mixed(MigrationPolicy::Bidirectional);
    assert_eq!(leaves(&mut story, "new", None), Ok(-1));
    assert_eq!(story.beats(&ids[1], generation), Err(ErrorCode::RebalanceInProgress));
    story.pass(SESSION - 1);
    assert_eq!(story.classic().size(), 2);
    story.pass(REBALANCE);
    assert_eq!(story.is(), (GroupType::Classic, "Empty"));
}
