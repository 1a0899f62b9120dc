//! A classic group with members becomes a consumer group.

use super::super::beat;
use super::harness::{Story, Told, as_instance, joining, orders, says};
use crate::{consumer::HeartbeatRequest, ids::TopicName, migration::MigrationPolicy, record::Record, shard::*};

#[test]
fn members_keep_what_they_have_and_learn_that_they_are_to_join_again() {
    let mut story = Story::new();
    let [one, two] = story.stable([joining("", &[]), joining("", &[])]);
    let generation = story.classic().generation().0;
    let before = story.log.len();
    let (epoch, given) = story.hears(&beat("new", 0)).unwrap();
    // Nothing is free yet.
    assert_eq!((epoch, given), (generation + 1, Some(orders(&[]))));
    assert!(matches!(&story.log[before], Record::ClassicGroup { value: None, .. }));
    assert_eq!(story.is(), (GroupType::Consumer, "Reconciling"));
    assert_eq!((story.has(&one), story.has(&two)), (orders(&[0, 1]), orders(&[2])));
    assert_eq!(story.beats(&one, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.syncs(&one, generation), Told::Refused(ErrorCode::RebalanceInProgress));

    // Who is to keep what it has goes on with it; the other gives one back by joining without it.
    assert_eq!(story.joins(joining(&two, &[2])), Told::Joined(generation + 1));
    assert_eq!(story.syncs(&two, generation + 1), Told::Synced(vec![2]));
    assert_eq!(story.beats(&two, generation + 1), Ok(()));
    assert_eq!(story.joins(joining(&one, &[0, 1])), Told::Joined(generation));
    let Told::Synced(keeps) = story.syncs(&one, generation) else { panic!("it has something") };
    assert_eq!(keeps.len(), 1);
    assert_eq!(story.beats(&one, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.joins(joining(&one, &keeps)), Told::Joined(generation + 1));
    assert_eq!(story.syncs(&one, generation + 1), Told::Synced(keeps.clone()));
    let free = 1 - keeps[0];
    assert_eq!(story.goes_on("new", generation + 1, &[]), (generation + 1, Some(orders(&[free]))));
    assert_eq!(story.is(), (GroupType::Consumer, "Stable"));
}

#[test]
fn whoever_gives_everything_back_before_it_joins_gets_its_share_at_once() {
    let mut story = Story::new();
    let [one, _] = story.stable([joining("", &[]), joining("", &[])]);
    let generation = story.classic().generation().0;
    story.hears(&beat("new", 0)).unwrap();
    assert_eq!(story.joins(joining(&one, &[])), Told::Joined(generation + 1));
    assert!(matches!(story.syncs(&one, generation + 1), Told::Synced(keeps) if keeps.len() == 1));
}

#[test]
fn static_members_keep_their_names_and_one_takes_its_own_place() {
    let mut story = Story::new();
    let [one, two] = story.stable([as_instance(joining("", &[]), "i1"), as_instance(joining("", &[]), "i2")]);
    let generation = story.classic().generation().0;
    let request = HeartbeatRequest { instance: Some("i1".into()), ..beat("one", 0) };
    // It has what it had; the other keeps what it has too, once it has joined again.
    assert_eq!(story.hears(&request), Ok((generation + 1, Some(orders(&[0, 1])))));
    assert_eq!(story.beats(&one, generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.beats(&two, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.joins(as_instance(joining(&two, &[2]), "i2")), Told::Joined(generation + 1));
    assert_eq!(story.syncs(&two, generation + 1), Told::Synced(vec![2]));
    assert_eq!(story.is(), (GroupType::Consumer, "Stable"));
    let again = as_instance(joining("", &[]), "i2");
    assert_eq!(story.joins(again), Told::Joined(generation + 1));
    assert_eq!(story.beats(&two, generation + 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_rebalance_that_was_on_is_not_forgotten() {
    let mut story = Story::new();
    let first = story.join(as_instance(joining("", &[]), "i1"));
    story.pass(0);
    let one = story.member(first);
    assert_eq!((story.told(first), story.is()), (Told::Joined(1), (GroupType::Classic, "CompletingRebalance")));
    let request = HeartbeatRequest { instance: Some("i1".into()), ..beat("one", 0) };
    assert_eq!(story.hears(&request), Ok((2, Some(orders(&[0, 1, 2])))));
    assert_eq!(story.beats(&one, 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn what_members_own_in_the_middle_of_a_rebalance_is_nobody_elses() {
    let mut story = Story::new();
    let [one, two] = story.stable([joining("", &[]), joining("", &[])]);
    // A generation begins, and another before anybody was given anything in it.
    story.join(joining(&one, &[0, 1]));
    story.join(joining(&two, &[2]));
    assert_eq!(story.is(), (GroupType::Classic, "CompletingRebalance"));
    story.join(joining("", &[]));
    story.join(joining(&one, &[0, 1]));
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    assert_eq!(story.hears(&beat("new", 0)).map(|(_, given)| given), Ok(Some(orders(&[]))));
    assert_eq!((story.has(&one), story.has(&two)), (orders(&[0, 1]), orders(&[2])));
}

#[test]
fn whoever_waits_in_a_rebalance_is_told_to_join_again() {
    let mut story = Story::new();
    let waits = story.join(joining("", &[]));
    assert_eq!(story.is(), (GroupType::Classic, "PreparingRebalance"));
    // It has never had a generation, and is told which epoch it has none of.
    assert_eq!(story.hears(&beat("new", 0)).map(|(epoch, _)| epoch), Ok(1));
    assert_eq!(story.told(waits), Told::Refused(ErrorCode::RebalanceInProgress));
    let one = story.member(waits);
    assert_eq!(story.joins(joining(&one, &[])), Told::Joined(1));

    let mut story = Story::new();
    let joins = story.join(joining("", &[]));
    story.pass(0);
    let one = story.member(joins);
    let second = story.join(joining("", &[]));
    story.join(joining(&one, &[]));
    let two = story.member(second);
    let generation = story.classic().generation().0;
    let waits = story.sync(&two, generation, &[]);
    assert_eq!(story.answer(waits), None);
    story.hears(&beat("new", 0)).unwrap();
    assert_eq!(story.told(waits), Told::Refused(ErrorCode::RebalanceInProgress));
    assert_eq!(story.syncs(&one, generation), Told::Refused(ErrorCode::RebalanceInProgress));
}

#[test]
fn every_member_has_its_session_from_then_on() {
    let mut story = Story::new();
    let [one, two] = story.stable([joining("", &[]), joining("", &[])]);
    let generation = story.classic().generation().0;
    story.pass(9_000);
    story.hears(&beat("new", 0)).unwrap();
    story.pass(9_999);
    assert_eq!(story.beats(&two, generation), Err(ErrorCode::RebalanceInProgress));
    story.pass(1);
    assert_eq!(story.beats(&one, generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.beats(&two, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.goes_on("new", generation + 1, &[]).0, generation + 2);
}

#[test]
fn only_some_policies_let_a_classic_group_become_a_consumer_group() {
    for (policy, may) in [
        (MigrationPolicy::Bidirectional, true),
        (MigrationPolicy::Upgrade, true),
        (MigrationPolicy::Downgrade, false),
        (MigrationPolicy::Disabled, false),
    ] {
        let mut story = Story::with(policy);
        let [one, _] = story.stable([joining("", &[]), joining("", &[])]);
        let (generation, before) = (story.classic().generation().0, story.log.len());
        let told = story.hears(&beat("new", 0));
        assert_eq!(told.as_ref().map_err(|error| *error).is_ok(), may, "{policy:?}");
        if !may {
            assert_eq!((told, story.log.len()), (Err(ErrorCode::GroupIdNotFound), before));
            assert_eq!(story.beats(&one, generation), Ok(()));
        }
    }
}

#[test]
fn a_group_that_cannot_be_understood_stays_what_it_is() {
    let refused = |change: &dyn Fn(&mut JoinRequest), given: &[u8]| {
        let mut story = Story::new();
        let mut request = joining("", &[]);
        change(&mut request);
        let ticket = story.join(request);
        story.pass(0);
        let member = story.member(ticket);
        let assignments = vec![(member.as_str().into(), bytes::Bytes::copy_from_slice(given))];
        let sync = SyncRequest {
            member: member.as_str().into(),
            instance: None,
            generation: Generation(1),
            protocol_type: None,
            protocol: None,
            assignments,
        };
        let effects = story.shard.sync(&"g".into(), sync, Ticket(99), &super::super::Orders, super::super::clock(0));
        story.take(effects);
        let told = story.hears(&beat("new", 0)).map(|(epoch, _)| epoch);
        assert_eq!(story.beats(&member, 1).is_ok(), told.is_err());
        told
    };
    let gives = [0, 1, 0, 0, 0, 0];
    assert_eq!(refused(&|_| {}, &[&gives[..], &[255; 4]].concat()), Ok(2));
    // An assignor that has something to say beside, bytes that are nothing, and members that are not consumers.
    assert_eq!(refused(&|_| {}, &[&gives[..], &[0, 0, 0, 1, 7]].concat()), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(refused(&|_| {}, &[0, 1, 0]), Err(ErrorCode::GroupIdNotFound));
    let malformed = |request: &mut JoinRequest| request.protocols[0].1 = bytes::Bytes::from_static(b"?");
    assert_eq!(refused(&malformed, &[]), Err(ErrorCode::GroupIdNotFound));
    let connect = |request: &mut JoinRequest| request.protocol_type = "connect".into();
    assert_eq!(refused(&connect, &[]), Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn one_partition_of_two_members_is_not_taken_over() {
    let mut story = Story::new();
    let [one, two] = story.stable([joining("", &[]), joining("", &[])]);
    let generation = story.classic().generation().0;
    let leader = story.classic().leader().unwrap().to_string();
    let follower = if leader == one { &two } else { &one };
    story.join(joining(&leader, &[]));
    story.join(joining(follower, &[]));
    story.sync(follower, generation + 1, &[]);
    story.syncs_with(&leader, generation + 1, &[(&one, &[0]), (&two, &[0])]);
    assert_eq!(story.hears(&beat("new", 0)).map(|(epoch, _)| epoch), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(story.beats(&one, generation + 1), Ok(()));
}

#[test]
fn a_group_may_be_too_large_for_the_other_protocol() {
    let mut story = Story::new();
    story.config.consumer.size_max = 1;
    story.shard = GroupShard::new(story.config.clone());
    story.stable([joining("", &[]), joining("", &[])]);
    assert_eq!(story.hears(&beat("new", 0)).map(|(epoch, _)| epoch), Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn who_was_given_an_id_by_the_classic_group_joins_the_consumer_group_with_it() {
    let mut story = Story::new();
    story.stable([joining("", &[]), joining("", &[])]);
    let pending = story.join(JoinRequest { member_id_required: true, ..joining("", &[]) });
    assert_eq!(story.told(pending), Told::Refused(ErrorCode::MemberIdRequired));
    let id = story.member(pending);
    let epoch = story.hears(&beat("new", 0)).unwrap().0;
    let topics = vec![("range".to_owned(), says(3, &["orders", "bills"], &[]))];
    assert_eq!(story.joins(JoinRequest { protocols: topics, ..joining(&id, &[]) }), Told::Joined(epoch + 1));
    let group = story.shard.groups["g"].consumer().unwrap();
    assert_eq!(group.state().members()[&*id].topics, ["bills", "orders"].map(TopicName::from));
    assert!(group.state().members()[&*id].classic.is_some());
}
