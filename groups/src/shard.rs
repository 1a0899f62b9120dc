//! Pure. All groups of one partition of `__consumer_offsets`: which there are, which request goes to which, and what time does
//! to them.
//!
//! Requests are decided one after another. The records of a decision are appended and then brought back by
//! [`GroupShard::apply`]; if that fails the shard is thrown away and made anew from the log by [`GroupShard::load`]. Driven by
//! the broker's coordinator. Source: Kafka's `GroupCoordinatorShard`.

mod committing;
mod group;
mod migrating;
mod modern;
mod recorded;
#[cfg(test)]
mod tests;

pub use crate::classic::{Answer, Description, JoinRequest, Left, MemberIdentity, SyncRequest};
pub use committing::{Commit, Committer};
pub use group::{Group, GroupType, Listed};
pub use recorded::Recorded;

use crate::{
    classic::{self, ClassicGroup, JoinAnswer, SyncAnswer},
    consumer::{ConsumerGroupConfig, Heard, Topics},
    effects::{Effects, Ticket},
    ids::{Generation, GroupId, InstanceId, MemberId, TopicName},
    migration::MigrationPolicy,
    offsets::{GroupOffsets, Offsets},
    record::{ClassicGroupValue, Record},
};
use protocol::{
    error_code::ErrorCode,
    ids::{MonotonicMillis, WallMillis},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The instant at which something is decided, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// For timeouts.
    pub now: MonotonicMillis,
    /// For what is written down.
    pub wall: WallMillis,
}

/// What a broker's settings say of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of classic groups.
    pub classic: classic::Config,
    /// Of consumer groups (KIP-848).
    pub consumer: ConsumerGroupConfig,
    /// Which way groups with members may go over from one protocol to the other.
    pub migration: MigrationPolicy,
    /// How long the offsets of a group without members are kept, in milliseconds: `offsets.retention.minutes`.
    pub offsets_retention_ms: i64,
    /// How often that is looked at: `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// How long the text beside a committed offset may be, in bytes: `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            classic: classic::Config::default(),
            consumer: ConsumerGroupConfig::default(),
            migration: MigrationPolicy::default(),
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_bytes_max: 4_096,
        }
    }
}

/// See the module.
pub struct GroupShard {
    config: Config,
    groups: BTreeMap<GroupId, Group>,
    offsets: Offsets,
    /// What the log says of classic groups, while it is read.
    loading: BTreeMap<GroupId, ClassicGroupValue>,
    /// Whose heartbeat was decided, until its records are applied.
    heard: Option<(GroupId, Heard)>,
    /// Whether by that a classic group became a consumer group.
    upgraded: bool,
    /// When which group has something to do, and the other way round.
    due: BTreeSet<(MonotonicMillis, GroupId)>,
    due_of: BTreeMap<GroupId, MonotonicMillis>,
    /// When old offsets are looked for.
    expiry_at: Option<MonotonicMillis>,
}

impl GroupShard {
    /// One without groups.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            loading: BTreeMap::new(),
            heard: None,
            upgraded: false,
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            expiry_at: None,
        }
    }

    // -------------------------------------------------------------------------------------------------- from the log

    /// Takes the next record of the log, before [`Self::loaded`]. Any order is good: what a compaction has left begins
    /// anywhere.
    pub fn load(&mut self, record: Record) {
        match record {
            Record::Offset { group, topic, partition, value } => {
                self.offsets.apply(&group, &topic, partition, value.as_ref());
            }
            Record::ClassicGroup { group, value: Some(value) } => drop(self.loading.insert(group, value)),
            Record::ClassicGroup { group, value: None } => drop(self.loading.remove(&group)),
            Record::ConsumerGroup { .. }
            | Record::PartitionMetadata { .. }
            | Record::Member { .. }
            | Record::TargetEpoch { .. }
            | Record::TargetAssignment { .. }
            | Record::CurrentAssignment { .. }
            | Record::RegularExpression { .. } => self.apply_to_consumer_group(&record),
        }
    }

    /// The log was read to its end: groups are what it says, and the sessions of their members begin.
    pub fn loaded(&mut self, clock: Clock) -> Effects<Answer> {
        for (group, value) in std::mem::take(&mut self.loading) {
            // What is recorded of a consumer group was written after the classic group of that name was given up.
            if self.groups.contains_key(&group) {
                continue;
            }
            let loaded = ClassicGroup::from_value(group.clone(), &value, self.config.classic, clock.now, clock.wall);
            self.groups.insert(group, Group::Classic(loaded));
        }
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group {
                group.on_loaded(clock.now, &self.config.consumer);
            }
        }
        let all: Vec<GroupId> = self.groups.keys().cloned().collect();
        all.iter().for_each(|group| self.note_due(group));
        let simple: Vec<GroupId> =
            self.offsets.groups().filter(|group| !self.groups.contains_key(*group)).cloned().collect();
        for group in &simple {
            self.or_create(group, clock.wall);
        }
        self.expiry_at = Some(self.next_expiry(clock.now));
        Effects::default()
    }

    /// Takes a record that was decided here and is in the log now. What a classic group is has changed already when it was
    /// decided.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Offset { group, topic, partition, value } => {
                self.offsets.apply(group, topic, *partition, value.as_ref());
            }
            Record::ClassicGroup { group, value: None } => {
                if matches!(self.groups.get(group), Some(Group::Classic(_))) {
                    self.groups.remove(group);
                }
                self.note_due(group);
            }
            Record::ClassicGroup { value: Some(_), .. } => {}
            Record::ConsumerGroup { .. }
            | Record::PartitionMetadata { .. }
            | Record::Member { .. }
            | Record::TargetEpoch { .. }
            | Record::TargetAssignment { .. }
            | Record::CurrentAssignment { .. }
            | Record::RegularExpression { .. } => self.apply_to_consumer_group(record),
        }
    }

    // ------------------------------------------------------------------------------------------------------- members

    /// JoinGroup. `fresh` is what a new member's id is made of. A consumer group that has members takes it, and stays what it is.
    pub fn join(
        &mut self,
        group: &GroupId,
        request: JoinRequest,
        ticket: Ticket,
        fresh: Uuid,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Effects<Answer> {
        let refused = |member, error| Effects::answer(ticket, Answer::Join(JoinAnswer::refused(member, error)));
        let mut effects = Effects::default();
        match self.groups.get(group) {
            None if !request.member.is_empty() => return refused(request.member, ErrorCode::UnknownMemberId),
            Some(Group::Consumer(there)) if there.validate_delete().is_err() => {
                return self.join_consumer_group(group, request, ticket, fresh, topics, clock);
            }
            // Nobody is left in it, and whoever comes now speaks the other protocol (`maybeDeleteEmptyConsumerGroup`).
            Some(Group::Consumer(there)) => {
                effects.records = there.delete();
                self.groups.remove(group);
            }
            None | Some(Group::Classic(_)) => {}
        }
        let joining = self.or_create(group, clock.wall).classic_mut().expect("any other was given up above");
        effects.extend(joining.join(request, ticket, fresh, clock.now, clock.wall));
        self.note_due(group);
        self.drop_if_unused(group);
        effects
    }

    /// SyncGroup.
    pub fn sync(
        &mut self,
        group: &GroupId,
        request: SyncRequest,
        ticket: Ticket,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Effects<Answer> {
        let found = match self.groups.get_mut(group) {
            Some(Group::Classic(found)) => found,
            Some(Group::Consumer(_)) => return self.sync_consumer_group(group, &request, ticket, topics, clock),
            None => return Effects::answer(ticket, Answer::Sync(SyncAnswer::refused(ErrorCode::UnknownMemberId))),
        };
        let effects = found.sync(request, ticket, clock.now, clock.wall);
        self.note_due(group);
        effects
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// What the member is told (`GroupMetadataManager.classicGroupHeartbeat`).
    pub fn heartbeat(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
        clock: Clock,
    ) -> Result<(), ErrorCode> {
        let outcome = match self.groups.get_mut(group).ok_or(ErrorCode::UnknownMemberId)? {
            Group::Classic(found) => found.heartbeat(member, instance, generation, clock.now),
            Group::Consumer(found) => found.classic_heartbeat(member, instance, generation, clock.now),
        };
        self.note_due(group);
        outcome
    }

    /// LeaveGroup.
    ///
    /// # Errors
    /// Where there is no such group.
    pub fn leave(
        &mut self,
        group: &GroupId,
        leaving: Vec<MemberIdentity>,
        topics: &dyn Topics,
        clock: Clock,
    ) -> (Result<Vec<Left>, ErrorCode>, Effects<Answer>) {
        let found = match self.groups.get_mut(group) {
            Some(Group::Classic(found)) => found,
            Some(Group::Consumer(_)) => {
                let (left, effects) = self.leave_consumer_group(group, leaving, topics, clock);
                return (Ok(left), effects);
            }
            None => return (Err(ErrorCode::UnknownMemberId), Effects::default()),
        };
        let left = found.leave(leaving, clock.now, clock.wall);
        self.note_due(group);
        self.drop_if_unused(group);
        match left {
            Ok((left, effects)) => (Ok(left), effects),
            Err(error) => (Err(error), Effects::default()),
        }
    }

    // -------------------------------------------------------------------------------------------------------- groups

    /// Every group.
    pub fn list(&self) -> Vec<Listed> {
        self.groups.values().map(Group::list).collect()
    }

    /// One classic group, if there is one.
    pub fn describe(&self, group: &str) -> Option<Description> {
        self.groups.get(group).and_then(Group::classic).map(ClassicGroup::describe)
    }

    /// DeleteGroups, of one group: it is forgotten with all that it has committed.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`.
    pub fn delete(&mut self, group: &str, clock: Clock) -> (Result<(), ErrorCode>, Effects<Answer>) {
        let mut effects = Effects::default();
        let Some(found) = self.groups.get_mut(group) else { return (Err(ErrorCode::GroupIdNotFound), effects) };
        if let Err(error) = found.check_delete() {
            return (Err(error), effects);
        }
        effects.records = self.offsets.forget_group(group);
        effects.records.extend(found.delete(clock.wall));
        (Ok(()), effects)
    }

    /// Topics are gone.
    pub fn forget_topics(&self, gone: &BTreeSet<TopicName>) -> Effects<Answer> {
        Effects { records: self.offsets.forget_topics(gone), answers: Vec::new() }
    }

    /// Topics are new, gone, or have more partitions: the consumer groups that read them look at their assignments again.
    pub fn on_topics_changed(&mut self, changed: &BTreeSet<TopicName>) {
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group {
                group.on_metadata_change(changed);
            }
        }
    }

    /// Everything that a group has committed.
    pub fn offsets_of(&self, group: &str) -> Option<&GroupOffsets> {
        self.offsets.of(group)
    }

    // ---------------------------------------------------------------------------------------------------------- time

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<MonotonicMillis> {
        let first = self.due.first().map(|(due, _)| *due);
        first.into_iter().chain(self.expiry_at).min()
    }

    /// Time has passed.
    pub fn expire(&mut self, clock: Clock, topics: &dyn Topics) -> Effects<Answer> {
        let mut effects = Effects::default();
        while let Some((due, group)) = self.due.first().cloned()
            && due <= clock.now
        {
            match self.groups.get_mut(&group) {
                Some(Group::Classic(found)) => effects.extend(found.expire(clock.now, clock.wall)),
                // Its clocks stop when what is decided here is applied.
                Some(Group::Consumer(found)) => {
                    let expired = found.expire(clock.now, topics);
                    let going = expired.members.into_keys().collect();
                    effects.extend(self.fence(&group, &going, expired.records, topics, clock));
                }
                None => {}
            }
            self.forget_due(&group);
            if matches!(self.groups.get(&group), Some(Group::Classic(_))) {
                self.note_due(&group);
                self.drop_if_unused(&group);
            }
        }
        if self.expiry_at.is_some_and(|at| at <= clock.now) {
            self.expiry_at = Some(self.next_expiry(clock.now));
            effects.records.extend(self.forget_old(clock));
        }
        effects
    }

    /// Offsets that have grown too old, and groups of which nothing is left (`cleanupGroupMetadata`).
    fn forget_old(&mut self, clock: Clock) -> Vec<Record> {
        let mut records = Vec::new();
        let retention = (clock.wall, self.config.offsets_retention_ms);
        for (id, group) in &mut self.groups {
            let reads = |topic: &str| group.is_subscribed(topic);
            let (old, all) = self.offsets.forget_old(id, group.ageing(), reads, retention);
            records.extend(old);
            if all && group.is_unused() {
                records.extend(group.delete(clock.wall));
            }
        }
        records
    }

    fn next_expiry(&self, now: MonotonicMillis) -> MonotonicMillis {
        MonotonicMillis(now.0.saturating_add(self.config.offsets_retention_check_interval_ms.max(1)))
    }

    /// Keeps in mind when a group has something to do next.
    fn note_due(&mut self, group: &GroupId) {
        let next = self.groups.get(group).and_then(Group::next_deadline);
        if self.due_of.get(group).copied() == next {
            return;
        }
        self.forget_due(group);
        if let Some(due) = next {
            self.due_of.insert(group.clone(), due);
            self.due.insert((due, group.clone()));
        }
    }

    fn forget_due(&mut self, group: &GroupId) {
        if let Some(before) = self.due_of.remove(group) {
            self.due.remove(&(before, group.clone()));
        }
    }

    fn or_create(&mut self, group: &GroupId, wall: WallMillis) -> &mut Group {
        let config = self.config.classic;
        let new = || Group::Classic(ClassicGroup::new(group.clone(), config, wall));
        self.groups.entry(group.clone()).or_insert_with(new)
    }

    /// A group that nobody has ever joined and that keeps nothing takes no room: whoever was refused leaves none behind.
    fn drop_if_unused(&mut self, group: &GroupId) {
        let unused = |found: &ClassicGroup| found.is_simple() && found.generation() == Generation(0);
        if self.groups.get(group).and_then(Group::classic).is_some_and(unused) && self.offsets.of(group).is_none() {
            self.groups.remove(group);
            self.note_due(group);
        }
    }
}
