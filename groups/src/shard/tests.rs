mod migrations;

use super::*;
use crate::{
    classic::State,
    consumer::{HeartbeatRequest, InvalidRegex, Topic},
    ids::MemberEpoch,
};
use protocol::ids::{MetadataOffset, Offset, PartitionIndex, TopicId};

fn clock(now: u64) -> Clock {
    Clock { now: MonotonicMillis(now), wall: WallMillis(1_000_000 + now as i64) }
}

fn shard() -> GroupShard {
    let config =
        Config { offsets_retention_ms: 60_000, offsets_retention_check_interval_ms: 1_000, ..Config::default() };
    let mut shard = GroupShard::new(config);
    let effects = shard.loaded(clock(0));
    assert_eq!(effects, Effects::default());
    shard
}

fn commit(partition: i32, offset: i64) -> Commit {
    Commit {
        topic: "orders".into(),
        partition: PartitionIndex(partition),
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
    }
}

fn nobody() -> Committer {
    Committer { member: MemberId::default(), instance: None, generation_or_member_epoch: -1, api_version: 8 }
}

/// Commits for whoever assigns its partitions by itself, and applies what comes of it.
fn committed(shard: &mut GroupShard, group: &str, now: u64) -> Vec<Record> {
    let (told, effects) = shard.commit(&group.into(), &nobody(), vec![commit(0, 7)], None, clock(now));
    assert_eq!(told, Ok(vec![ErrorCode::None]));
    effects.records.iter().for_each(|record| shard.apply(record));
    effects.records
}

fn join(member: &str) -> JoinRequest {
    JoinRequest {
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/10.0.0.1".into(),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id_required: true,
        may_skip_assignment: true,
    }
}

#[test]
fn whoever_only_commits_has_a_group_until_its_offsets_are_too_old() {
    let mut shard = shard();
    committed(&mut shard, "g", 500);
    assert_eq!(shard.list().len(), 1);
    assert_eq!(shard.describe("g").map(|described| described.state), Some(State::Empty));
    let forgotten = |shard: &mut GroupShard, now| {
        let effects = shard.expire(clock(now), &Orders);
        effects.records.iter().for_each(|record| shard.apply(record));
        effects.records.len()
    };
    assert_eq!(forgotten(&mut shard, 60_000), 0);
    // The offset, and the group of which nothing is left.
    assert_eq!(forgotten(&mut shard, 61_000), 2);
    assert_eq!((shard.list(), shard.offsets_of("g")), (vec![], None));
}

#[test]
fn a_group_that_is_not_there_takes_no_commit_of_a_member() {
    let mut shard = shard();
    let claim = Committer { member: "m".into(), generation_or_member_epoch: 3, ..nobody() };
    let (told, effects) = shard.commit(&"g".into(), &claim, vec![commit(0, 7)], None, clock(0));
    assert_eq!(told, Err(ErrorCode::IllegalGeneration));
    assert_eq!((effects, shard.list()), (Effects::default(), vec![]));
}

#[test]
fn a_text_that_is_too_long_is_refused_by_itself() {
    let mut shard = shard();
    let long = Commit { metadata: "x".repeat(4_097), ..commit(1, 8) };
    let (told, effects) = shard.commit(&"g".into(), &nobody(), vec![commit(0, 7), long], None, clock(0));
    assert_eq!(told, Ok(vec![ErrorCode::None, ErrorCode::OffsetMetadataTooLarge]));
    assert_eq!(effects.records.len(), 1);
}

#[test]
fn what_was_recorded_is_loaded_in_any_order() {
    let mut first = shard();
    let records = committed(&mut first, "g", 500);
    let mut other = GroupShard::new(Config::default());
    other.load(Record::Offset { group: "g".into(), topic: "orders".into(), partition: PartitionIndex(9), value: None });
    other.load(Record::ClassicGroup { group: "never".into(), value: None });
    records.into_iter().for_each(|record| other.load(record));
    let _ = other.loaded(clock(0));
    assert_eq!(other.offsets_of("g"), first.offsets_of("g"));
    assert_eq!(other.list(), first.list());
}

#[test]
fn a_group_that_only_keeps_offsets_is_deleted_with_them() {
    let mut shard = shard();
    committed(&mut shard, "g", 500);
    let (told, effects) = shard.delete("g", clock(600));
    assert_eq!((told, effects.records.len()), (Ok(()), 2));
    effects.records.iter().for_each(|record| shard.apply(record));
    assert_eq!(shard.delete("g", clock(700)).0, Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn whoever_is_given_an_id_and_never_comes_back_leaves_nothing_behind() {
    let mut shard = shard();
    for number in 0..50_u128 {
        let group = GroupId::from(format!("g{number}"));
        let effects = shard.join(&group, join(""), Ticket(number as u64), Uuid::from_u128(number), &Orders, clock(0));
        assert!(matches!(&effects.answers[..], [(_, Answer::Join(told))] if told.error == ErrorCode::MemberIdRequired));
    }
    assert_eq!(shard.groups.len(), 50);
    let _ = shard.expire(clock(10_001), &Orders);
    assert_eq!((shard.groups.len(), shard.due.len(), shard.due_of.len()), (0, 0, 0));
}

#[test]
fn a_member_of_nothing_is_unknown() {
    let mut shard = shard();
    let effects = shard.join(&"g".into(), join("somebody"), Ticket(1), Uuid::nil(), &Orders, clock(0));
    assert!(matches!(&effects.answers[..], [(_, Answer::Join(told))] if told.error == ErrorCode::UnknownMemberId));
    let beat = shard.heartbeat(&"g".into(), &"somebody".into(), None, Generation(1), clock(0));
    assert_eq!(beat, Err(ErrorCode::UnknownMemberId));
    assert_eq!(shard.leave(&"g".into(), vec![], &Orders, clock(0)).0, Err(ErrorCode::UnknownMemberId));
    assert!(shard.list().is_empty());
}

/// One topic, `orders`, of three partitions.
struct Orders;

const ORDERS: TopicId = TopicId(Uuid::from_u128(7));

impl Topics for Orders {
    fn topic(&self, name: &TopicName) -> Option<Topic> {
        (&**name == "orders").then_some(Topic { id: ORDERS, partitions: 3 })
    }

    fn name(&self, id: TopicId) -> Option<TopicName> {
        (id == ORDERS).then(|| "orders".into())
    }

    fn matching(&self, _regex: &str) -> Result<BTreeSet<TopicName>, InvalidRegex> {
        Ok(BTreeSet::new())
    }

    fn version(&self) -> MetadataOffset {
        MetadataOffset(1)
    }

    fn last_created_at(&self) -> MetadataOffset {
        MetadataOffset(1)
    }
}

fn beat(member: &str, epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        api_version: 1,
        member: member.into(),
        member_epoch: MemberEpoch(epoch),
        instance: None,
        rack: None,
        rebalance_timeout_ms: Some(30_000),
        topics: Some(vec!["orders".into()]),
        regex: None,
        assignor: None,
        owned: (epoch == 0).then(Default::default),
        client_id: "client".into(),
        client_host: "/10.0.0.1".into(),
    }
}

/// Decides a heartbeat as the coordinator does: records are applied before clocks start.
fn heard(shard: &mut GroupShard, request: &HeartbeatRequest, now: u64) -> (Result<i32, ErrorCode>, Vec<Record>) {
    let (told, effects) = shard.consumer_heartbeat(&"g".into(), request, &Orders, Uuid::nil(), clock(now));
    effects.records.iter().for_each(|record| shard.apply(record));
    shard.decided(clock(now));
    (told.map(|answer| answer.member_epoch.0).map_err(|error| error.code()), effects.records)
}

#[test]
fn a_consumer_group_is_joined_listed_missed_and_deleted() {
    let mut shard = shard();
    let (epoch, records) = heard(&mut shard, &beat("m", 0), 0);
    assert_eq!(epoch, Ok(1));
    assert!(records.len() >= 4, "{records:?}");
    let listed = &shard.list()[0];
    assert_eq!((&*listed.group, listed.state, listed.group_type), ("g", "Stable", GroupType::Consumer));
    assert_eq!(shard.describe("g"), None);
    assert_eq!(shard.describe_consumer("g", &Orders).map(|described| described.members.len()), Some(1));
    assert_eq!(shard.delete("g", clock(1)).0, Err(ErrorCode::NonEmptyGroup));
    // A member that falls silent is removed when its session is over.
    assert_eq!(shard.next_deadline(), Some(MonotonicMillis(1_000)));
    let effects = shard.expire(clock(45_000), &Orders);
    effects.records.iter().for_each(|record| shard.apply(record));
    assert_eq!(shard.list().first().map(|listed| listed.state), Some("Empty"));
    let (told, effects) = shard.delete("g", clock(45_001));
    assert_eq!(told, Ok(()));
    effects.records.iter().for_each(|record| shard.apply(record));
    assert!(shard.list().is_empty() && shard.due.is_empty());
}

#[test]
fn a_commit_names_the_epoch_of_its_member() {
    let mut shard = shard();
    assert_eq!(heard(&mut shard, &beat("m", 0), 0).0, Ok(1));
    let commits = |shard: &mut GroupShard, epoch| {
        let who = Committer { member: "m".into(), generation_or_member_epoch: epoch, api_version: 9, ..nobody() };
        shard.commit(&"g".into(), &who, vec![commit(0, 7)], None, clock(1)).0
    };
    assert_eq!(commits(&mut shard, 1), Ok(vec![ErrorCode::None]));
    assert_eq!(commits(&mut shard, 0), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(shard.check_fetch("g", Some(&"m".into()), MemberEpoch(0)), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(shard.check_fetch("g", Some(&"m".into()), MemberEpoch(1)), Ok(()));
    assert_eq!(shard.check_fetch("g", None, MemberEpoch(-1)), Ok(()));
}

#[test]
fn a_group_changes_its_protocol_while_it_is_empty() {
    let mut shard = shard();
    committed(&mut shard, "g", 0);
    assert_eq!(heard(&mut shard, &beat("m", 5), 1).0, Err(ErrorCode::GroupIdNotFound));
    let (epoch, records) = heard(&mut shard, &beat("m", 0), 2);
    assert_eq!(epoch, Ok(1));
    assert!(matches!(records[0], Record::ClassicGroup { value: None, .. }));
    assert_eq!(shard.list()[0].group_type, GroupType::Consumer);
    assert_eq!(heard(&mut shard, &HeartbeatRequest { topics: None, ..beat("m", -1) }, 4).0, Ok(-1));
    let joined = shard.join(&"g".into(), join(""), Ticket(2), Uuid::from_u128(2), &Orders, clock(5));
    joined.records.iter().for_each(|record| shard.apply(record));
    assert!(matches!(&joined.answers[..], [(_, Answer::Join(told))] if told.error == ErrorCode::MemberIdRequired));
    assert_eq!(shard.list()[0].group_type, GroupType::Classic);
    assert_eq!(shard.offsets_of("g").map(|topics| topics.len()), Some(1));
}

#[test]
fn a_consumer_group_is_loaded_as_it_was() {
    let mut first = shard();
    let mut records = heard(&mut first, &beat("m", 0), 0).1;
    records.extend(heard(&mut first, &beat("n", 0), 1).1);
    let mut other = GroupShard::new(Config::default());
    records.into_iter().for_each(|record| other.load(record));
    let _ = other.loaded(clock(9));
    assert_eq!(other.list(), first.list());
    let state = |shard: &GroupShard| shard.groups["g"].consumer().map(|group| group.state().clone());
    assert_eq!(state(&other), state(&first));
    assert!(other.due_of.contains_key("g"));
}
