//! How far groups have come: what they have committed, and how an administrator changes and forgets that.

use super::{Outcomes, Question, is_of_coordinator, text};
use crate::PartitionName;
use crate::admin::Admin;
use crate::consumer::OffsetAndMetadata;
use crate::consumer::group::committing::Offsets;
use crate::error::ClientError;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex};
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, StrBytes, topic_name,
};
use runtime::time;
use std::collections::{BTreeMap, BTreeSet};

/// The last versions of OffsetCommit and OffsetFetch that name topics by name.
const NAMES_UNTIL: i16 = 9;
/// The first version of OffsetFetch that asks for several groups at once (KIP-709).
const SEVERAL_FROM: i16 = 8;
/// Who commits for a group without being in it: a generation that is none, and a member without a name.
const NO_GENERATION: i32 = -1;

/// What became of each of several partitions.
pub type PartitionOutcomes = BTreeMap<PartitionName, Result<(), ClientError>>;

impl Admin {
    /// What groups have committed, of all their partitions (OffsetFetch, KIP-709). A group that is not there has committed
    /// nothing.
    ///
    /// # Errors
    /// Each group has an outcome of its own.
    pub async fn group_offsets(&self, groups: &BTreeSet<String>) -> Outcomes<Offsets> {
        self.ask_coordinators(&Committed, groups, time::now() + self.timeout).await
    }

    /// Puts a group where it is to go on (OffsetCommit by nobody, as `Admin.alterConsumerGroupOffsets`); a group that is not
    /// there is made. Only while it has no members.
    ///
    /// # Errors
    /// When the coordinator refuses as a whole, or nobody answers. What it says against one partition is that partition's
    /// outcome: `UNKNOWN_MEMBER_ID` for each, while there are members.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &Offsets) -> Result<PartitionOutcomes, ClientError> {
        self.ask_about_one(&Alter { offsets }, group).await
    }

    /// Forgets what a group has committed of partitions (OffsetDelete, KIP-496). Of a group with members, only of topics that
    /// none of them reads.
    ///
    /// # Errors
    /// When the coordinator refuses as a whole (`GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`), or nobody answers. What it says against one
    /// partition is that partition's outcome: `GROUP_SUBSCRIBED_TO_TOPIC`, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<PartitionName>,
    ) -> Result<PartitionOutcomes, ClientError> {
        self.ask_about_one(&Forget { partitions }, group).await
    }

    async fn ask_about_one<Q: Question>(&self, question: &Q, group: &str) -> Result<Q::Answer, ClientError> {
        let deadline = time::now() + self.timeout;
        let mut outcomes = self.ask_coordinators(question, &BTreeSet::from([group.to_owned()]), deadline).await;
        outcomes.remove(group).expect("every group that was asked about has an outcome")
    }
}

struct Committed;

impl Question for Committed {
    type Request = OffsetFetchRequest;
    type Answer = Offsets;
    const VERSION_MAX: i16 = NAMES_UNTIL;
    const SEVERAL_FROM: i16 = SEVERAL_FROM;

    fn request(&self, groups: &[&str], version: i16) -> OffsetFetchRequest {
        let request = OffsetFetchRequest::default();
        if version < SEVERAL_FROM {
            let group = groups.first().copied().unwrap_or_default();
            return request.with_group_id(GroupId(text(group))).with_topics(None);
        }
        let all =
            |group: &&str| OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(None);
        request.with_groups(groups.iter().map(all).collect())
    }

    fn answers(&self, _broker: BrokerId, groups: &[&str], response: OffsetFetchResponse) -> Outcomes<Offsets> {
        if response.groups.is_empty() {
            let topics = response.topics.iter();
            let told = topics.flat_map(|topic| topic.partitions.iter().map(|one| (topic.name.as_str(), one)));
            let told = told.map(|(topic, one)| {
                let committed = committed(one.committed_offset, one.committed_leader_epoch, &one.metadata);
                (topic, one.partition_index, one.error_code, committed)
            });
            let outcome = offsets(response.error_code, told);
            return groups.iter().map(|group| ((*group).to_owned(), outcome.clone())).collect();
        }
        let group = |group: &protocol::messages::offset_fetch_response::OffsetFetchResponseGroup| {
            let topics = group.topics.iter();
            let told = topics.flat_map(|topic| topic.partitions.iter().map(|one| (topic.name.as_str(), one)));
            let told = told.map(|(topic, one)| {
                let committed = committed(one.committed_offset, one.committed_leader_epoch, &one.metadata);
                (topic, one.partition_index, one.error_code, committed)
            });
            (group.group_id.to_string(), offsets(group.error_code, told))
        };
        response.groups.iter().map(group).collect()
    }
}

/// What is committed; nothing where nothing is.
fn committed(offset: i64, leader_epoch: i32, metadata: &Option<StrBytes>) -> Option<OffsetAndMetadata> {
    (offset >= 0).then(|| OffsetAndMetadata {
        offset: Offset(offset),
        leader_epoch: (leader_epoch >= 0).then_some(LeaderEpoch(leader_epoch)),
        metadata: metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

fn offsets<'a>(
    code: i16,
    told: impl Iterator<Item = (&'a str, i32, i16, Option<OffsetAndMetadata>)>,
) -> Result<Offsets, ClientError> {
    if let Some(error) = ClientError::from_code(code, None) {
        return Err(error);
    }
    let mut offsets = Offsets::new();
    for (topic, index, code, committed) in told {
        if let Some(error) = ClientError::from_code(code, Some(format!("{topic}-{index}"))) {
            return Err(error);
        }
        if let Some(committed) = committed {
            offsets.insert(PartitionName::new(topic, PartitionIndex(index)), committed);
        }
    }
    Ok(offsets)
}

/// Each topic with what `make` makes of its partitions.
fn by_topic<'a, T, P>(
    partitions: impl Iterator<Item = (&'a PartitionName, T)>,
    make: impl Fn(i32, T) -> P,
) -> BTreeMap<&'a str, Vec<P>> {
    let mut topics: BTreeMap<&str, Vec<P>> = BTreeMap::new();
    for (name, value) in partitions {
        topics.entry(&name.topic).or_default().push(make(name.partition.0, value));
    }
    topics
}

/// The outcomes of partitions; an error that says the broker does not coordinate the group is the group's.
fn outcomes_of(codes: impl Iterator<Item = (PartitionName, i16)>) -> Result<PartitionOutcomes, ClientError> {
    let mut outcomes = PartitionOutcomes::new();
    for (name, code) in codes {
        let refused = ClientError::from_code(code, None);
        if let Some(error) = &refused
            && error.code().is_some_and(is_of_coordinator)
        {
            return Err(error.clone());
        }
        outcomes.insert(name, refused.map_or(Ok(()), Err));
    }
    Ok(outcomes)
}

struct Alter<'a> {
    offsets: &'a Offsets,
}

impl Question for Alter<'_> {
    type Request = OffsetCommitRequest;
    type Answer = PartitionOutcomes;
    const VERSION_MAX: i16 = NAMES_UNTIL;
    const SEVERAL_FROM: i16 = i16::MAX;

    fn request(&self, groups: &[&str], _version: i16) -> OffsetCommitRequest {
        let topics = by_topic(self.offsets.iter(), |index, committed| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(committed.offset.0)
                .with_committed_leader_epoch(committed.leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0)
                .with_committed_metadata(Some(text(&committed.metadata)))
        });
        let topic = |(name, partitions)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text(groups.first().copied().unwrap_or_default())))
            .with_generation_id_or_member_epoch(NO_GENERATION)
            .with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(
        &self,
        _broker: BrokerId,
        groups: &[&str],
        response: OffsetCommitResponse,
    ) -> Outcomes<PartitionOutcomes> {
        let codes = response.topics.iter().flat_map(|topic| {
            let name = |index| PartitionName::new(topic.name.as_str(), PartitionIndex(index));
            topic.partitions.iter().map(move |one| (name(one.partition_index), one.error_code))
        });
        let outcome = outcomes_of(codes);
        groups.iter().map(|group| ((*group).to_owned(), outcome.clone())).collect()
    }
}

struct Forget<'a> {
    partitions: &'a BTreeSet<PartitionName>,
}

impl Question for Forget<'_> {
    type Request = OffsetDeleteRequest;
    type Answer = PartitionOutcomes;
    const SEVERAL_FROM: i16 = i16::MAX;

    fn request(&self, groups: &[&str], _version: i16) -> OffsetDeleteRequest {
        let topics = by_topic(self.partitions.iter().map(|name| (name, ())), |index, ()| {
            OffsetDeleteRequestPartition::default().with_partition_index(index)
        });
        let topic = |(name, partitions)| {
            OffsetDeleteRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(groups.first().copied().unwrap_or_default())))
            .with_topics(topics.into_iter().map(topic).collect())
    }

    fn answers(
        &self,
        _broker: BrokerId,
        groups: &[&str],
        response: OffsetDeleteResponse,
    ) -> Outcomes<PartitionOutcomes> {
        let outcome = match ClientError::from_code(response.error_code, None) {
            Some(error) => Err(error),
            None => outcomes_of(response.topics.iter().flat_map(|topic| {
                let name = |index| PartitionName::new(topic.name.as_str(), PartitionIndex(index));
                topic.partitions.iter().map(move |one| (name(one.partition_index), one.error_code))
            })),
        };
        groups.iter().map(|group| ((*group).to_owned(), outcome.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::error_code::ErrorCode;
    use protocol::frame::encode_request;
    use protocol::messages::Message;

    fn fits_every_version<Q: Question>(question: &Q) {
        let (min, max) = (Q::Request::VERSIONS.min, Q::Request::VERSIONS.max.min(Q::VERSION_MAX));
        for version in min..=max {
            let request = question.request(&["g"], version);
            encode_request(0, None, version, &request).unwrap_or_else(|error| panic!("version {version}: {error}"));
        }
    }

    #[test]
    fn questions_fit_every_version() {
        let partitions = BTreeSet::from([PartitionName::new("t", PartitionIndex(1))]);
        let committed = OffsetAndMetadata { offset: Offset(7), leader_epoch: None, metadata: String::new() };
        let offsets = Offsets::from([(PartitionName::new("t", PartitionIndex(1)), committed)]);
        fits_every_version(&Alter { offsets: &offsets });
        fits_every_version(&Forget { partitions: &partitions });
        // "All partitions" is said from version 2 on.
        let request = Committed.request(&["g"], 2);
        encode_request(0, None, 2, &request).expect("version 2");
        let request = Committed.request(&["g", "h"], NAMES_UNTIL);
        encode_request(0, None, NAMES_UNTIL, &request).expect("version 9");
        assert!(encode_request(0, None, OffsetFetchRequest::VERSIONS.min, &request).is_err());
    }

    #[test]
    fn a_partition_whose_coordinator_moved_away_makes_the_group_be_asked_about_again() {
        let name = |index| PartitionName::new("t", PartitionIndex(index));
        let moved = [(name(0), 0), (name(1), ErrorCode::NotCoordinator.code())];
        let outcome = outcomes_of(moved.into_iter());
        assert_eq!(outcome.map_err(|error| error.code()), Err(Some(ErrorCode::NotCoordinator)));
        let refused = [(name(0), 0), (name(1), ErrorCode::UnknownMemberId.code())];
        let outcomes = outcomes_of(refused.into_iter()).expect("each for itself");
        assert_eq!(outcomes[&name(0)], Ok(()));
        assert!(outcomes[&name(1)].is_err());
    }
}
