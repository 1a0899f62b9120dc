//! Pure. Committing offsets and forgetting them, for those who may.

use super::{Answer, Clock, Group, GroupShard};
use crate::{
    classic::CommitClaim,
    effects::Effects,
    ids::{Generation, GroupId, InstanceId, MemberEpoch, MemberId, TopicName},
    offsets::forget,
    record::{CommittedOffset, Record},
};
use protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset, PartitionIndex, WallMillis},
};

/// What is to be committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of which topic.
    pub topic: TopicName,
    /// Of which partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// Of the last record that was read, if the client says.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the client wants to be told again.
    pub metadata: String,
}

/// Who commits, by what the request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// Which member: empty for one that is none.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// Its generation, or its member epoch in a consumer group; -1 for one that claims none.
    pub generation_or_member_epoch: i32,
    /// The version of the request: old ones cannot be told everything.
    pub api_version: i16,
}

/// The first version of OffsetCommit that knows of groups that are not there (KIP-848).
const GROUP_NOT_FOUND_SINCE: i16 = 9;

impl GroupShard {
    /// OffsetCommit: says for each partition whether it is committed, once the records are. `retention_ms` is what clients of
    /// old versions may ask for (version 2 to 4).
    ///
    /// # Errors
    /// Where whoever asks may not commit at all (`OffsetMetadataManager.validateOffsetCommit`). Without such a group, whoever
    /// claims no generation assigns its partitions by itself, and begins a group that only keeps offsets.
    pub fn commit(
        &mut self,
        group: &GroupId,
        who: &Committer,
        commits: Vec<Commit>,
        retention_ms: Option<i64>,
        clock: Clock,
    ) -> (Result<Vec<ErrorCode>, ErrorCode>, Effects<Answer>) {
        let mut effects = Effects::default();
        if let Err(error) = self.check_commit(group, who, clock) {
            return (Err(error), effects);
        }
        let too_large = |commit: &Commit| commit.metadata.len() > self.config.offset_metadata_bytes_max;
        let expires_at = retention_ms.map(|retention_ms| WallMillis(clock.wall.0.saturating_add(retention_ms)));
        let mut codes = Vec::with_capacity(commits.len());
        for commit in commits {
            if too_large(&commit) {
                codes.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            codes.push(ErrorCode::None);
            let value = CommittedOffset {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata,
                committed_at: clock.wall,
                expires_at,
            };
            let (topic, partition) = (commit.topic, commit.partition);
            effects.records.push(Record::Offset { group: group.clone(), topic, partition, value: Some(value) });
        }
        if !effects.records.is_empty() {
            self.or_create(group, clock.wall);
        }
        self.note_due(group);
        (Ok(codes), effects)
    }

    fn check_commit(&mut self, group: &GroupId, who: &Committer, clock: Clock) -> Result<(), ErrorCode> {
        match self.groups.get_mut(group) {
            Some(Group::Classic(there)) => {
                let claim = CommitClaim {
                    member: who.member.clone(),
                    instance: who.instance.clone(),
                    generation: Generation(who.generation_or_member_epoch),
                    is_transactional: false,
                };
                there.offset_commit(&claim, clock.now)
            }
            Some(Group::Consumer(there)) => {
                let epoch = MemberEpoch(who.generation_or_member_epoch);
                there.validate_commit(&who.member, epoch, who.api_version, false).map_err(|error| error.code())
            }
            None if who.generation_or_member_epoch < 0 => Ok(()),
            None if who.api_version >= GROUP_NOT_FOUND_SINCE => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Whether whoever fetches offsets may: a member of a consumer group in its epoch, or anybody who claims to be none
    /// (`OffsetMetadataManager.validateOffsetFetch`).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`, or `GROUP_ID_NOT_FOUND` for a member of nothing.
    pub fn check_fetch(&self, group: &str, member: Option<&MemberId>, epoch: MemberEpoch) -> Result<(), ErrorCode> {
        match self.groups.get(group) {
            Some(Group::Consumer(there)) => there.validate_fetch(member, epoch).map_err(|error| error.code()),
            Some(Group::Classic(there)) => there.check_offset_fetch(),
            None if member.is_none() && epoch.0 < 0 => Ok(()),
            None => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// OffsetDelete: says for each partition whether what was committed is forgotten (KIP-496).
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP` where the group's members are not consumers.
    pub fn forget(
        &self,
        group: &GroupId,
        places: &[(TopicName, PartitionIndex)],
    ) -> (Result<Vec<ErrorCode>, ErrorCode>, Effects<Answer>) {
        let mut effects = Effects::default();
        let Some(found) = self.groups.get(group) else { return (Err(ErrorCode::GroupIdNotFound), effects) };
        if let Err(error) = found.classic().map_or(Ok(()), |classic| classic.check_offset_delete()) {
            return (Err(error), effects);
        }
        let mut codes = Vec::with_capacity(places.len());
        for (topic, partition) in places {
            if found.is_subscribed(topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            codes.push(ErrorCode::None);
            if self.offsets.get(group, topic, *partition).is_some() {
                effects.records.push(forget(group, topic, *partition));
            }
        }
        (Ok(codes), effects)
    }
}
