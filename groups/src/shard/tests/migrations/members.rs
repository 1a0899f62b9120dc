//! Members that speak the classic protocol in a consumer group.

use super::super::{Orders, beat, clock};
use super::harness::{REBALANCE, SESSION, Story, Told, as_instance, joining, orders, says};
use crate::{consumer::HeartbeatRequest, shard::*};

/// A consumer group with one member of each protocol; the generation, and the id of the classic one.
fn mixed() -> (Story, i32, String) {
    let mut story = Story::new();
    assert_eq!(story.hears(&beat("m", 0)), Ok((1, Some(orders(&[0, 1, 2])))));
    let joined = story.join(JoinRequest { member_id_required: true, ..joining("", &[]) });
    assert_eq!(story.told(joined), Told::Refused(ErrorCode::MemberIdRequired));
    let id = story.member(joined);
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(2));
    assert_eq!(story.syncs(&id, 2), Told::Synced(vec![]));
    (story, 2, id)
}

#[test]
fn a_classic_member_waits_for_what_the_others_give_back() {
    let (mut story, generation, id) = mixed();
    assert_eq!(story.beats(&id, generation), Ok(()));
    let (epoch, keeps) = story.goes_on("m", 1, &[0, 1, 2]);
    let keeps: Vec<i32> = keeps.unwrap().values().flatten().map(|partition| partition.0).collect();
    assert_eq!((epoch, keeps.len()), (1, 2));
    assert_eq!(story.beats(&id, generation), Ok(()));
    assert_eq!(story.goes_on("m", 1, &keeps).0, generation);
    // What it waits for is free: it joins again, in the same epoch.
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(generation));
    let Told::Synced(given) = story.syncs(&id, generation) else { panic!("it is given something") };
    assert_eq!(given.len(), 1);
    assert!(!keeps.contains(&given[0]));
    assert_eq!(story.beats(&id, generation), Ok(()));
}

#[test]
fn a_member_is_told_that_it_follows_and_in_which_protocol() {
    let (mut story, generation, id) = mixed();
    let ticket = story.join(joining(&id, &[]));
    let Some(Answer::Join(told)) = story.answer(ticket) else { panic!("it is answered at once") };
    assert_eq!((told.generation.0, &*told.leader, told.members.len()), (generation, "", 0));
    assert_eq!((told.protocol_type.as_deref(), told.protocol.as_deref()), (Some("consumer"), Some("range")));
    assert!(!told.skip_assignment);
}

#[test]
fn an_assignment_is_in_the_version_that_the_member_speaks() {
    for version in [0, 1, 2, 3, 9] {
        let (mut story, generation, id) = mixed();
        story.goes_on("m", 1, &[0]);
        let protocols = vec![("range".to_owned(), says(version, &["orders"], &[]))];
        story.joins(JoinRequest { protocols, ..joining(&id, &[]) });
        let ticket = story.sync(&id, generation, &[]);
        let Some(Answer::Sync(told)) = story.answer(ticket) else { panic!("it is answered at once") };
        assert_eq!(told.assignment[..2], version.min(3).to_be_bytes(), "{version}");
    }
}

#[test]
fn what_is_wrong_with_a_classic_member_is_said() {
    let (mut story, generation, id) = mixed();
    for (member, generation, error) in [
        ("nobody", generation, ErrorCode::UnknownMemberId),
        ("m", 1, ErrorCode::UnknownMemberId),
        (&id, generation - 1, ErrorCode::IllegalGeneration),
    ] {
        assert_eq!(story.beats(member, generation), Err(error));
        assert_eq!(story.syncs(member, generation), Told::Refused(error));
    }
    let sync = |story: &mut Story, kind: &str, protocol: &str, instance: Option<&str>, ticket| {
        let request = SyncRequest {
            member: id.as_str().into(),
            instance: instance.map(Into::into),
            generation: Generation(generation),
            protocol_type: Some(kind.into()),
            protocol: Some(protocol.into()),
            assignments: vec![],
        };
        let effects = story.shard.sync(&"g".into(), request, Ticket(ticket), &Orders, clock(0));
        story.take(effects);
        story.told(Ticket(ticket))
    };
    let inconsistent = Told::Refused(ErrorCode::InconsistentGroupProtocol);
    assert_eq!(sync(&mut story, "connect", "range", None, 90), inconsistent);
    assert_eq!(sync(&mut story, "consumer", "sticky", None, 91), inconsistent);
    assert_eq!(sync(&mut story, "consumer", "range", Some("i"), 92), Told::Refused(ErrorCode::UnknownMemberId));
    let refused = |story: &mut Story, change: &dyn Fn(&mut JoinRequest)| {
        let mut request = joining("", &[]);
        change(&mut request);
        match story.joins(request) {
            Told::Refused(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = refused(&mut story, &|join| join.protocols = vec![("sticky".into(), says(1, &[], &[]))]);
    assert_eq!(error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(&mut story, &|join| join.protocols.clear()), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(&mut story, &|join| join.protocol_type = "x".into()), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(&mut story, &|join| join.session_timeout_ms = 1), ErrorCode::InvalidSessionTimeout);
    let unread = |join: &mut JoinRequest| join.protocols[0].1 = bytes::Bytes::from_static(b"?");
    assert_eq!(refused(&mut story, &unread), ErrorCode::UnknownServerError);
    let lost = |join: &mut JoinRequest| (join.member, join.instance) = ("x".into(), Some("i".into()));
    assert_eq!(refused(&mut story, &lost), ErrorCode::UnknownMemberId);
}

#[test]
fn whoever_was_thrown_out_and_holds_partitions_is_told_before_it_joins() {
    let (mut story, generation, id) = mixed();
    story.pass(SESSION);
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(story.joins(joining(&id, &[2])), Told::Refused(ErrorCode::UnknownMemberId));
    // One that holds nothing may have been given its id just now.
    assert!(matches!(story.joins(joining(&id, &[])), Told::Joined(_)));
}

#[test]
fn a_full_group_takes_nobody() {
    let mut story = Story::new();
    story.config.consumer.size_max = 1;
    story.shard = GroupShard::new(story.config.clone());
    assert_eq!(story.hears(&beat("m", 0)).map(|(epoch, _)| epoch), Ok(1));
    assert_eq!(story.joins(joining("", &[])), Told::Refused(ErrorCode::GroupMaxSizeReached));
}

#[test]
fn whoever_is_silent_or_late_is_removed() {
    // Silent.
    let (mut story, generation, id) = mixed();
    story.pass(SESSION);
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::UnknownMemberId));
    // It lives and does not join again.
    let alive = |story: &mut Story, id: &str, generation: i32, millis: u64| {
        for _ in 0..millis / 1_000 {
            story.pass(1_000);
            let _ = story.beats(id, generation);
        }
        story.beats(id, generation)
    };
    let (mut story, generation, id) = mixed();
    story.hears(&beat("n", 0)).unwrap();
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::RebalanceInProgress));
    let told = alive(&mut story, &id, generation, REBALANCE - 1_000);
    assert_eq!(told, Err(ErrorCode::RebalanceInProgress));
    assert_eq!(alive(&mut story, &id, generation, 1_000), Err(ErrorCode::UnknownMemberId));
    // It has joined and does not ask for its assignment.
    let (mut story, generation, id) = mixed();
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(generation));
    assert_eq!(alive(&mut story, &id, generation, REBALANCE - 1_000), Ok(()));
    assert_eq!(alive(&mut story, &id, generation, 1_000), Err(ErrorCode::UnknownMemberId));
    // Who has asked has all the time of the world.
    let (mut story, generation, id) = mixed();
    assert_eq!(alive(&mut story, &id, generation, 2 * REBALANCE), Ok(()));
}

#[test]
fn a_member_that_changes_its_protocol_has_no_clock_of_the_other() {
    let (mut story, generation, id) = mixed();
    assert_eq!(story.joins(joining(&id, &[])), Told::Joined(generation));
    assert_eq!(story.hears(&beat(&id, 0)).map(|(epoch, _)| epoch), Ok(generation));
    story.pass(REBALANCE + 1_000);
    assert_eq!(story.goes_on(&id, generation, &[]).0, generation);
    assert_eq!(story.beats(&id, generation), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_commit_names_the_generation_of_a_classic_member() {
    let (mut story, generation, id) = mixed();
    let mut commits = |generation| {
        let who = Committer {
            member: id.as_str().into(),
            instance: None,
            generation_or_member_epoch: generation,
            api_version: 2,
        };
        story.shard.commit(&"g".into(), &who, vec![], None, clock(0)).0
    };
    assert_eq!(commits(generation), Ok(vec![]));
    assert_eq!(commits(generation - 1), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn a_classic_member_takes_the_place_of_a_static_one() {
    let mut story = Story::new();
    let request = HeartbeatRequest { instance: Some("i".into()), ..beat("m", 0) };
    let by_regex = HeartbeatRequest { topics: None, regex: Some("ord.*".into()), ..beat("n", 0) };
    assert_eq!(story.hears(&request).map(|(epoch, _)| epoch), Ok(1));
    story.hears(&HeartbeatRequest { instance: Some("j".into()), ..by_regex }).unwrap();
    let ticket = story.join(as_instance(joining("", &[]), "j"));
    assert!(matches!(story.told(ticket), Told::Joined(_)));
    let group = story.shard.groups["g"].consumer().unwrap();
    let member = &group.state().members()[&*story.member(ticket)];
    assert_eq!((member.regex.as_ref(), &*member.topics[0]), (None, "orders"));
    assert!(group.state().regexes().is_empty() && !group.state().members().contains_key("n"));
    let fenced = as_instance(joining("n", &[]), "j");
    assert_eq!(story.joins(fenced), Told::Refused(ErrorCode::FencedInstanceId));
}

#[test]
fn clocks_begin_anew_with_the_next_coordinator() {
    let (mut story, generation, id) = mixed();
    story.pass(9_000);
    story.reload();
    story.pass(9_999);
    assert_eq!(story.beats(&id, generation), Ok(()));
}
