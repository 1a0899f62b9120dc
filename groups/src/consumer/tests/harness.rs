//! A group, its log, the topics around it, and members that speak. After each step it is checked that what is replicated is
//! what the log says, and that nothing has gone back.

use crate::assignors::Assignor;
use crate::consumer::{
    ConsumerGroup, ConsumerGroupConfig, Heartbeat, HeartbeatError, HeartbeatRequest, InvalidRegex, State, Surroundings,
    Timeout, Topic, Topics,
};
use crate::ids::{GroupId, InstanceId, MemberEpoch, MemberId, TopicName};
use crate::record::{MemberState, Record, TopicPartitions};
use protocol::error_code::ErrorCode;
use protocol::ids::{MetadataOffset, MonotonicMillis, PartitionIndex, TopicId, WallMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uuid::Uuid;

/// The topics of a small cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub topics: BTreeMap<TopicName, Topic>,
    pub version: i64,
    pub last_created_at: i64,
    next_id: u128,
}

impl World {
    /// Sets how many partitions a topic has: creates it, adds some, or with zero deletes it.
    pub fn set(&mut self, name: &str, partitions: usize) {
        self.version += 1;
        let name = TopicName::from(name);
        if partitions == 0 {
            self.topics.remove(&name);
        } else if let Some(topic) = self.topics.get_mut(&name) {
            topic.partitions = partitions;
        } else {
            self.next_id += 1;
            self.last_created_at = self.version;
            self.topics.insert(name, Topic { id: TopicId(Uuid::from_u128(self.next_id)), partitions });
        }
    }

    pub fn id(&self, name: &str) -> TopicId {
        self.topics[name].id
    }
}

impl Topics for World {
    fn topic(&self, name: &TopicName) -> Option<Topic> {
        self.topics.get(name).copied()
    }

    fn name(&self, id: TopicId) -> Option<TopicName> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone())
    }

    /// Understands `prefix*`, and takes brackets for an error.
    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, InvalidRegex> {
        if regex.contains('[') {
            return Err(InvalidRegex { reason: "missing ]".to_owned() });
        }
        let prefix = regex.trim_end_matches('*');
        Ok(self.topics.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn version(&self) -> MetadataOffset {
        MetadataOffset(self.version)
    }

    fn last_created_at(&self) -> MetadataOffset {
        MetadataOffset(self.last_created_at)
    }
}

/// All that a member has, to keep or to give back.
pub(super) fn held(state: &State, member: &MemberId) -> BTreeSet<(TopicId, PartitionIndex)> {
    let current = state.currents().get(member);
    let topics = current.into_iter().flat_map(|current| current.assigned.iter().chain(&current.pending_revocation));
    topics.flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition))).collect()
}

/// The story.
#[derive(Debug)]
pub(super) struct Story {
    pub group: ConsumerGroup,
    pub log: Vec<Record>,
    pub world: World,
    pub config: ConsumerGroupConfig,
    pub now: u64,
    randoms: u128,
}

/// What a member asks.
pub(super) fn request(member: &str, member_epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        api_version: 1,
        member: member.into(),
        member_epoch: MemberEpoch(member_epoch),
        client_id: "client".to_owned(),
        client_host: "/host".to_owned(),
        ..HeartbeatRequest::default()
    }
}

/// What a member asks that joins.
pub(super) fn join(member: &str, topics: &[&str]) -> HeartbeatRequest {
    HeartbeatRequest {
        rebalance_timeout_ms: Some(30_000),
        topics: Some(topics.iter().map(|topic| TopicName::from(*topic)).collect()),
        owned: Some(TopicPartitions::new()),
        ..request(member, 0)
    }
}

/// The same with an instance id.
pub(super) fn as_instance(request: HeartbeatRequest, instance: &str) -> HeartbeatRequest {
    HeartbeatRequest { instance: Some(InstanceId::from(instance)), ..request }
}

impl Story {
    pub fn new(topics: &[(&str, usize)]) -> Self {
        let mut world = World::default();
        for (name, partitions) in topics {
            world.set(name, *partitions);
        }
        Self {
            group: ConsumerGroup::new(GroupId::from("g")),
            log: Vec::new(),
            world,
            config: ConsumerGroupConfig::default(),
            now: 1_000_000,
            randoms: 0,
        }
    }

    /// The same with an assignor that puts members in order.
    pub fn with_range(topics: &[(&str, usize)]) -> Self {
        let mut story = Self::new(topics);
        story.config.assignors = vec![Assignor::Range, Assignor::Uniform];
        story
    }

    pub fn now(&self) -> MonotonicMillis {
        MonotonicMillis(self.now)
    }

    pub fn state(&self) -> &State {
        self.group.state()
    }

    /// Decides without consequences.
    pub fn decide(&mut self, request: &HeartbeatRequest) -> Result<Heartbeat, HeartbeatError> {
        self.randoms += 1;
        let around = Surroundings {
            topics: &self.world,
            config: &self.config,
            wall: WallMillis(i64::try_from(self.now).expect("it is early")),
            random: Uuid::from_u128(self.randoms),
        };
        self.group.heartbeat(request, &around)
    }

    /// A member speaks; what it is told.
    pub fn speak(&mut self, request: &HeartbeatRequest) -> Result<Heartbeat, HeartbeatError> {
        let heartbeat = self.decide(request)?;
        self.append(&heartbeat.records);
        if let Some(heard) = &heartbeat.heard {
            self.group.on_heard(heard, self.now(), &self.config);
        }
        Ok(heartbeat)
    }

    /// A member speaks that nobody refuses; how it is told.
    pub fn says(&mut self, request: &HeartbeatRequest) -> String {
        let heartbeat = self.speak(request).expect("it is in order");
        let answer = &heartbeat.answer;
        match &answer.assignment {
            Some(assignment) => format!("{} @{} {}", answer.member, answer.member_epoch, self.names(assignment)),
            None => format!("{} @{}", answer.member, answer.member_epoch),
        }
    }

    /// A member speaks whom somebody refuses; why.
    pub fn refused(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        self.speak(request).expect_err("it is not in order").code()
    }

    /// Members speak that are to go on, each with what it owns.
    pub fn goes_on(&mut self, member: &str, member_epoch: i32, owned: &[(&str, &[i32])]) -> String {
        let owned = Some(self.partitions(owned));
        self.says(&HeartbeatRequest { owned, ..request(member, member_epoch) })
    }

    pub fn partitions(&self, partitions: &[(&str, &[i32])]) -> TopicPartitions {
        let set = |indexes: &[i32]| indexes.iter().map(|index| PartitionIndex(*index)).collect();
        partitions.iter().map(|(topic, indexes)| (self.world.id(topic), set(indexes))).collect()
    }

    fn names(&self, partitions: &TopicPartitions) -> String {
        let mut text = String::from("[");
        for (topic, partitions) in partitions {
            let name = self.world.name(*topic).map_or_else(|| "?".to_owned(), |name| name.to_string());
            for partition in partitions {
                let space = if text.len() > 1 { " " } else { "" };
                write!(text, "{space}{name}-{partition}").expect("a string takes all");
            }
        }
        text + "]"
    }

    /// How the group stands.
    pub fn shown(&self) -> String {
        let state = self.state();
        let mut text = format!("{} {}/{}\n", self.group.group_state(), state.target_epoch(), state.group_epoch());
        for member in state.members().keys() {
            let current = state.current(member);
            let (name, epoch) = (member, current.member_epoch);
            let kind = match current.state {
                MemberState::Stable => "stable",
                MemberState::UnrevokedPartitions => "unrevoked",
                MemberState::UnreleasedPartitions => "unreleased",
                MemberState::Unknown => "unknown",
            };
            write!(text, "{name} @{epoch} {kind} {}", self.names(&current.assigned)).expect("a string takes all");
            if !current.pending_revocation.is_empty() {
                write!(text, " gives back {}", self.names(&current.pending_revocation)).expect("a string takes all");
            }
            text.push('\n');
        }
        text.trim_end().to_owned()
    }

    #[track_caller]
    pub fn check(&self, expected: &str) {
        let expected: Vec<_> = expected.trim().lines().map(str::trim).collect();
        assert_eq!(self.shown(), expected.join("\n"));
    }

    /// Appends and applies, and looks whether all is as it must be.
    pub fn append(&mut self, records: &[Record]) {
        let before = self.state().clone();
        for record in records {
            self.group.apply(record);
        }
        self.log.extend_from_slice(records);
        let removed = records.iter().filter_map(|record| match record {
            Record::Member { member, value: None, .. } => Some(member.clone()),
            _ => None,
        });
        self.look(&before, &removed.collect());
    }

    fn look(&self, before: &State, removed: &BTreeSet<MemberId>) {
        let state = self.state();
        for member in state.targets().keys() {
            assert!(state.members().contains_key(member), "{member} is to have something and is not there");
        }
        let mut owners = BTreeMap::new();
        for member in state.currents().keys() {
            assert!(state.members().contains_key(member), "{member} has something and is not there");
            for partition in held(state, member) {
                let other = owners.insert(partition, member.clone());
                assert_eq!(other, None, "{partition:?} is held twice, by {member} too");
                let owner = state.owner(partition.0, partition.1).expect("somebody holds it");
                assert_eq!((&owner.member, owner.member_epoch), (member, state.member_epoch(member)));
            }
        }
        for name in state.members().keys() {
            let (was, is) = (before.member_epoch(name), state.member_epoch(name));
            let stays = before.members().contains_key(name) && !removed.contains(name);
            assert!(!stays || is >= was || is == MemberEpoch::LEAVE_STATIC, "{name} went from {was} back to {is}");
            assert!(is.0 <= state.target_epoch().0, "{name} is at {is}");
        }
        if !state.is_absent() {
            assert!(before.group_epoch() <= state.group_epoch());
            assert!(before.target_epoch() <= state.target_epoch());
        }
        assert!(state.target_epoch() <= state.group_epoch());
        assert_eq!(replay(&self.log).state(), state, "the log says otherwise");
    }

    /// Time passes, in steps no longer than the next deadline; who was removed.
    pub fn pass(&mut self, millis: u64) -> Vec<(MemberId, Timeout)> {
        let end = self.now + millis;
        let mut removed = Vec::new();
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| deadline.0 <= end) {
            self.now = self.now.max(deadline.0);
            let expired = self.group.expire(self.now(), &self.world);
            assert!(!expired.members.is_empty(), "a deadline without anybody");
            self.append(&expired.records);
            removed.extend(expired.members);
        }
        self.now = end;
        removed
    }

    /// The cluster changes; whether the group cares.
    pub fn change(&mut self, topic: &str, partitions: usize) -> bool {
        self.world.set(topic, partitions);
        self.group.on_metadata_change(&BTreeSet::from([TopicName::from(topic)]))
    }

    /// The coordinator moves: the group is read from its log.
    pub fn reload(&mut self) {
        self.group = replay(&self.log);
        let now = self.now();
        self.group.on_loaded(now, &self.config);
    }
}

/// A group that is read from records.
pub(super) fn replay(records: &[Record]) -> ConsumerGroup {
    let mut group = ConsumerGroup::new(GroupId::from("g"));
    for record in records {
        group.apply(record);
    }
    group
}
