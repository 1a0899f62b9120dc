//! Pure. The requests of consumer groups (KIP-848): one heartbeat for joining, staying and leaving.

use super::{Answer, Clock, Group, GroupShard};
use crate::{
    classic::State,
    consumer::{self, ConsumerGroup, Described, HeartbeatError, HeartbeatRequest, Surroundings, Topics},
    effects::Effects,
    ids::{GroupId, MemberEpoch},
    record::Record,
};
use std::collections::BTreeSet;
use uuid::Uuid;

impl GroupShard {
    /// ConsumerGroupHeartbeat. `random` is what the id of a member is made of that brings none. For a member that joins, a
    /// classic group of that name is given up if nobody is in it, and else becomes a consumer group if it may
    /// (`GroupMetadataManager.getOrMaybeCreateConsumerGroup`).
    pub fn consumer_heartbeat(
        &mut self,
        group: &GroupId,
        request: &HeartbeatRequest,
        topics: &dyn Topics,
        random: Uuid,
        clock: Clock,
    ) -> (Result<consumer::Answer, HeartbeatError>, Effects<Answer>) {
        let mut effects = Effects::default();
        let (new, mut upgrade) = (ConsumerGroup::new(group.clone()), None);
        let there = match self.groups.get(group) {
            Some(Group::Consumer(there)) => there,
            Some(Group::Classic(_)) if request.member_epoch != MemberEpoch::JOIN => {
                return (Err(HeartbeatError::GroupNotFound { group: group.clone() }), effects);
            }
            Some(Group::Classic(classic)) if classic.state() != State::Empty => {
                match self.upgrade(group, classic, topics) {
                    Ok(upgraded) => &upgrade.insert(upgraded).group,
                    Err(error) => return (Err(error), effects),
                }
            }
            Some(Group::Classic(_)) | None => &new,
        };
        let surroundings = Surroundings { topics, config: &self.config.consumer, wall: clock.wall, random };
        let decided = match there.heartbeat(request, &surroundings) {
            Ok(decided) => decided,
            Err(error) => return (Err(error), effects),
        };
        if let Some(classic) = self.groups.get_mut(group).and_then(Group::classic_mut) {
            effects = classic.give_up(clock.wall);
        }
        self.upgraded = upgrade.is_some();
        effects.records.extend(upgrade.into_iter().flat_map(|upgrade| upgrade.records));
        self.heard = decided.heard.map(|heard| (group.clone(), heard));
        if request.member_epoch == MemberEpoch::LEAVE {
            let going = BTreeSet::from([request.member.clone()]);
            effects.extend(self.fence(group, &going, decided.records, topics, clock));
        } else {
            effects.records.extend(decided.records);
        }
        (Ok(decided.answer), effects)
    }

    /// What was decided last is applied: the clocks of whoever was heard start again; where the group was a
    /// classic group until now, everybody's do.
    pub fn decided(&mut self, clock: Clock) {
        let Some((group, heard)) = self.heard.take() else { return };
        let is_upgraded = std::mem::take(&mut self.upgraded);
        if let Some(Group::Consumer(there)) = self.groups.get_mut(&group) {
            if is_upgraded {
                there.on_loaded(clock.now, &self.config.consumer);
            }
            there.on_heard(&heard, clock.now, &self.config.consumer);
        }
        self.note_due(&group);
    }

    /// ConsumerGroupDescribe, of one group, if there is such a consumer group.
    pub fn describe_consumer(&self, group: &str, topics: &dyn Topics) -> Option<Described> {
        let there = self.groups.get(group).and_then(Group::consumer)?;
        Some(there.describe(topics, &self.config.consumer))
    }

    pub(super) fn apply_to_consumer_group(&mut self, record: &Record) {
        let group = match record {
            Record::ConsumerGroup { group, .. }
            | Record::PartitionMetadata { group }
            | Record::Member { group, .. }
            | Record::TargetEpoch { group, .. }
            | Record::TargetAssignment { group, .. }
            | Record::CurrentAssignment { group, .. }
            | Record::RegularExpression { group, .. } => group.clone(),
            Record::Offset { .. } | Record::ClassicGroup { .. } => return,
        };
        let new = || Group::Consumer(ConsumerGroup::new(group.clone()));
        if let Group::Consumer(there) = self.groups.entry(group.clone()).or_insert_with(new) {
            there.apply(record);
            if there.is_absent() {
                self.groups.remove(&group);
            }
        }
        self.note_due(&group);
    }
}
