//! Pure. The requests of consumer groups (KIP-848): one heartbeat for joining, staying and leaving.

use super::{Answer, Clock, Group, GroupShard};
use crate::{
    consumer::{self, ConsumerGroup, Described, HeartbeatError, HeartbeatRequest, Surroundings, Topics},
    effects::Effects,
    ids::{GroupId, MemberEpoch},
    record::Record,
};
use uuid::Uuid;

impl GroupShard {
    /// ConsumerGroupHeartbeat. `random` is what the id of a member is made of that brings none. A classic group of that name
    /// is given up if nobody is in it; else it is no consumer group
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
        let new = ConsumerGroup::new(group.clone());
        let there = match self.groups.get(group) {
            Some(Group::Consumer(there)) => there,
            Some(classic) if request.member_epoch != MemberEpoch::JOIN || !classic.is_unused() => {
                return (Err(HeartbeatError::GroupNotFound { group: group.clone() }), effects);
            }
            Some(Group::Classic(_)) | None => &new,
        };
        let surroundings = Surroundings { topics, config: &self.config.consumer, wall: clock.wall, random };
        let decided = match there.heartbeat(request, &surroundings) {
            Ok(decided) => decided,
            Err(error) => return (Err(error), effects),
        };
        if let Some(classic) = self.groups.get_mut(group).filter(|there| there.classic().is_some()) {
            effects.records = classic.delete(clock.wall);
        }
        effects.records.extend(decided.records);
        self.heard = decided.heard.map(|heard| (group.clone(), heard));
        (Ok(decided.answer), effects)
    }

    /// What was decided last is applied: the clocks of whoever was heard start again.
    pub fn decided(&mut self, clock: Clock) {
        let Some((group, heard)) = self.heard.take() else { return };
        if let Some(Group::Consumer(there)) = self.groups.get_mut(&group) {
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
