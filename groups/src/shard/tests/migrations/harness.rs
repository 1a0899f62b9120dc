//! A shard, its log, and members of both protocols that speak to it.

use super::super::{ORDERS, Orders, clock};
use crate::{
    classic::{ClassicGroup, State},
    consumer::HeartbeatRequest,
    effects::{Effects, Ticket},
    embedded,
    ids::{Generation, InstanceId, MemberEpoch, MemberId},
    migration::MigrationPolicy,
    record::{Record, TopicPartitions},
    shard::{Answer, Config, Group, GroupShard, GroupType, JoinRequest, Left, MemberIdentity, SyncRequest},
};
use bytes::{BufMut, Bytes, BytesMut};
use protocol::{error_code::ErrorCode, ids::PartitionIndex};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(super) const SESSION: u64 = 10_000;
pub(super) const REBALANCE: u64 = 20_000;

/// Partitions of the one topic.
pub(super) fn orders(indexes: &[i32]) -> TopicPartitions {
    let set: BTreeSet<PartitionIndex> = indexes.iter().map(|index| PartitionIndex(*index)).collect();
    if set.is_empty() { TopicPartitions::new() } else { TopicPartitions::from([(ORDERS, set)]) }
}

/// What a member says that reads these topics and owns these partitions of `orders`.
pub(super) fn says(version: i16, topics: &[&str], owned: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    let name = |bytes: &mut BytesMut, name: &str| {
        bytes.put_i16(i16::try_from(name.len()).unwrap());
        bytes.put_slice(name.as_bytes());
    };
    bytes.put_i16(version);
    bytes.put_i32(i32::try_from(topics.len()).unwrap());
    topics.iter().for_each(|topic| name(&mut bytes, topic));
    bytes.put_i32(-1);
    if version >= 1 {
        bytes.put_i32(1);
        name(&mut bytes, "orders");
        bytes.put_i32(i32::try_from(owned.len()).unwrap());
        owned.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    if version >= 2 {
        bytes.put_i32(-1);
    }
    if version >= 3 {
        bytes.put_i16(-1);
    }
    bytes.freeze()
}

/// A JoinGroup of a consumer.
pub(super) fn joining(member: &str, owned: &[i32]) -> JoinRequest {
    JoinRequest {
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/10.0.0.1".into(),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), says(1, &["orders"], owned))],
        session_timeout_ms: SESSION as i32,
        rebalance_timeout_ms: REBALANCE as i32,
        member_id_required: false,
        may_skip_assignment: true,
    }
}

/// The same with an instance id.
pub(super) fn as_instance(request: JoinRequest, instance: &str) -> JoinRequest {
    JoinRequest { instance: Some(instance.into()), ..request }
}

/// What somebody was told, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Joined(i32),
    Synced(Vec<i32>),
    Refused(ErrorCode),
}

pub(super) struct Story {
    pub shard: GroupShard,
    pub config: Config,
    pub log: Vec<Record>,
    pub now: u64,
    answers: BTreeMap<Ticket, Answer>,
    tickets: u64,
}

impl Story {
    pub fn new() -> Self {
        Self::with(MigrationPolicy::Bidirectional)
    }

    pub fn with(migration: MigrationPolicy) -> Self {
        let mut config = Config { migration, ..Config::default() };
        config.classic.initial_rebalance_delay_ms = 0;
        let mut shard = GroupShard::new(config.clone());
        let _ = shard.loaded(clock(0));
        Self { shard, config, log: Vec::new(), now: 0, answers: BTreeMap::new(), tickets: 0 }
    }

    /// Takes a decision as the coordinator does, and looks whether the log says the same.
    pub fn take(&mut self, effects: Effects<Answer>) {
        effects.records.iter().for_each(|record| self.shard.apply(record));
        self.log.extend(effects.records);
        self.shard.decided(clock(self.now));
        for (ticket, answer) in effects.answers {
            assert_eq!(self.answers.insert(ticket, answer), None, "{ticket:?} is answered twice");
        }
        self.look();
    }

    fn look(&self) {
        let loaded = self.loaded();
        match (self.shard.groups.get("g"), loaded.groups.get("g")) {
            (Some(Group::Consumer(group)), Some(Group::Consumer(loaded))) => assert_eq!(group.state(), loaded.state()),
            (Some(Group::Classic(group)), Some(Group::Classic(loaded))) if group.state() == State::Stable => {
                assert_eq!(shown(group), shown(loaded));
            }
            (Some(Group::Consumer(_)), _) | (_, Some(Group::Consumer(_))) => panic!("the log says otherwise"),
            _ => {}
        }
    }

    fn loaded(&self) -> GroupShard {
        let mut other = GroupShard::new(self.config.clone());
        self.log.iter().cloned().for_each(|record| other.load(record));
        let _ = other.loaded(clock(self.now));
        other
    }

    /// The coordinator moves.
    pub fn reload(&mut self) {
        self.shard = self.loaded();
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub fn join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        let fresh = Uuid::from_u128(u128::from(ticket.0));
        let effects = self.shard.join(&"g".into(), request, ticket, fresh, &Orders, clock(self.now));
        self.take(effects);
        ticket
    }

    /// Joins a group that answers at once.
    pub fn joins(&mut self, request: JoinRequest) -> Told {
        let ticket = self.join(request);
        self.told(ticket)
    }

    pub fn syncs(&mut self, member: &str, generation: i32) -> Told {
        self.syncs_with(member, generation, &[])
    }

    pub fn syncs_with(&mut self, member: &str, generation: i32, given: &[(&str, &[i32])]) -> Told {
        let ticket = self.sync(member, generation, given);
        self.told(ticket)
    }

    pub fn sync(&mut self, member: &str, generation: i32, given: &[(&str, &[i32])]) -> Ticket {
        let assignment = |(member, indexes): &(&str, &[i32])| {
            (MemberId::from(*member), embedded::assign(&orders(indexes), 1, &Orders))
        };
        let request = SyncRequest {
            member: member.into(),
            instance: None,
            generation: Generation(generation),
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: given.iter().map(assignment).collect(),
        };
        let ticket = self.ticket();
        let effects = self.shard.sync(&"g".into(), request, ticket, &Orders, clock(self.now));
        self.take(effects);
        ticket
    }

    pub fn beats(&mut self, member: &str, generation: i32) -> Result<(), ErrorCode> {
        self.shard.heartbeat(&"g".into(), &member.into(), None, Generation(generation), clock(self.now))
    }

    pub fn leaves(&mut self, identities: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let identity = |(member, instance): &(&str, Option<&str>)| MemberIdentity {
            member: (*member).into(),
            instance: instance.map(InstanceId::from),
        };
        let leaving = identities.iter().map(identity).collect();
        let (left, effects) = self.shard.leave(&"g".into(), leaving, &Orders, clock(self.now));
        self.take(effects);
        left.expect("there is a group").iter().map(|Left { error, .. }| *error).collect()
    }

    /// A ConsumerGroupHeartbeat: the epoch and what it is given.
    pub fn hears(&mut self, request: &HeartbeatRequest) -> Result<(i32, Option<TopicPartitions>), ErrorCode> {
        let fresh = Uuid::from_u128(1_000);
        let (told, effects) = self.shard.consumer_heartbeat(&"g".into(), request, &Orders, fresh, clock(self.now));
        self.take(effects);
        told.map(|answer| (answer.member_epoch.0, answer.assignment)).map_err(|error| error.code())
    }

    /// Goes on as a member by ConsumerGroupHeartbeat that owns this.
    pub fn goes_on(&mut self, member: &str, epoch: i32, owned: &[i32]) -> (i32, Option<TopicPartitions>) {
        let request = HeartbeatRequest {
            api_version: 1,
            member: member.into(),
            member_epoch: MemberEpoch(epoch),
            owned: Some(orders(owned)),
            ..HeartbeatRequest::default()
        };
        self.hears(&request).expect("it is in order")
    }

    pub fn told(&self, ticket: Ticket) -> Told {
        match self.answers.get(&ticket).expect("it is answered") {
            Answer::Join(join) if join.error == ErrorCode::None => Told::Joined(join.generation.0),
            Answer::Join(join) => Told::Refused(join.error),
            Answer::Sync(sync) if sync.error == ErrorCode::None => {
                let given = embedded::assignment(&sync.assignment, &Orders).expect("it is sound").partitions;
                Told::Synced(given.values().flatten().map(|partition| partition.0).collect())
            }
            Answer::Sync(sync) => Told::Refused(sync.error),
        }
    }

    pub fn answer(&self, ticket: Ticket) -> Option<&Answer> {
        self.answers.get(&ticket)
    }

    /// The id that a JoinGroup was answered with.
    pub fn member(&self, ticket: Ticket) -> String {
        match self.answers.get(&ticket) {
            Some(Answer::Join(join)) => join.member.to_string(),
            other => panic!("{ticket:?} got {other:?}"),
        }
    }

    pub fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(due) = self.shard.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            let effects = self.shard.expire(clock(self.now), &Orders);
            self.take(effects);
        }
        self.now = end;
    }

    /// The group's kind and state.
    pub fn is(&self) -> (GroupType, &'static str) {
        let listed = &self.shard.list()[0];
        (listed.group_type, listed.state)
    }

    pub fn classic(&self) -> &ClassicGroup {
        self.shard.groups["g"].classic().expect("it is classic")
    }

    /// What a member of a consumer group has.
    pub fn has(&self, member: &str) -> TopicPartitions {
        let group = self.shard.groups["g"].consumer().expect("it is a consumer group");
        group.state().currents()[member].assigned.clone()
    }

    /// A stable classic group of two, the first with partitions 0 and 1 and the second with 2; their ids.
    pub fn stable(&mut self, requests: [JoinRequest; 2]) -> [String; 2] {
        let tickets = requests.map(|request| self.join(request));
        self.pass(0);
        // One that came while the other's generation was complete already joins with it again.
        for _ in 0..2 {
            if self.answer(tickets[1]).is_none() {
                let again = JoinRequest { member: self.member(tickets[0]).as_str().into(), ..joining("", &[]) };
                let again = JoinRequest { instance: self.instance_of(&again.member), ..again };
                self.join(again);
            }
        }
        let ids = tickets.map(|ticket| self.member(ticket));
        let generation = self.classic().generation().0;
        let leader = self.classic().leader().expect("one leads").to_string();
        let follower = ids.iter().find(|id| **id != leader).expect("there are two").clone();
        let waits = self.sync(&follower, generation, &[]);
        let given = [(ids[0].as_str(), &[0, 1][..]), (ids[1].as_str(), &[2][..])];
        self.syncs_with(&leader, generation, &given);
        assert!(matches!(self.told(waits), Told::Synced(_)));
        assert_eq!(self.is(), (GroupType::Classic, "Stable"));
        ids
    }

    fn instance_of(&self, member: &MemberId) -> Option<InstanceId> {
        let value = self.classic().to_value();
        value.members.into_iter().find(|known| known.member == *member).and_then(|known| known.instance)
    }
}

/// What of a classic group is recorded, but for who leads.
fn shown(group: &ClassicGroup) -> impl PartialEq + std::fmt::Debug {
    let value = group.to_value();
    (value.protocol_type, value.generation, value.protocol, value.members)
}
