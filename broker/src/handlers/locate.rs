//! From what a request names to the replica on this broker, or to the error that says why there is none.

use super::{Services, view::View};
use crate::partition::Partition;
use metadata::image::{Image, TopicImage};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicPartition},
};
use std::{collections::BTreeSet, sync::Arc};

/// A topic as a request names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    /// By its name, in older versions.
    Name(&'a str),
    /// By its identity (KIP-516).
    Id(TopicId),
}

impl Named<'_> {
    /// The topic, if the metadata has it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` and `UNKNOWN_TOPIC_ID`.
    pub(super) fn find(self, image: &Image) -> Result<&TopicImage, ErrorCode> {
        match self {
            Self::Name(name) => image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition),
            Self::Id(id) => image.topic(id).ok_or(ErrorCode::UnknownTopicId),
        }
    }
}

/// This broker's replica of a partition.
///
/// # Errors
/// `NOT_LEADER_OR_FOLLOWER` where the partition exists and has no replica here, or not yet, so that the client looks at the
/// metadata again; `UNKNOWN_TOPIC_OR_PARTITION` where it does not exist (`ReplicaManager.getPartitionOrError`).
pub(super) fn replica(
    services: &Services,
    topic: &TopicImage,
    partition: PartitionIndex,
) -> Result<Arc<Partition>, ErrorCode> {
    let of = TopicPartition { topic_id: topic.id, partition };
    match services.partitions.get(of) {
        Some(replica) => Ok(replica),
        None if topic.partition(partition).is_some() => Err(ErrorCode::NotLeaderOrFollower),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// Who leads, for clients that asked somebody else (KIP-951), and where these leaders are found.
pub(super) struct CurrentLeaders<'a> {
    view: View<'a>,
    named: BTreeSet<BrokerId>,
}

impl<'a> CurrentLeaders<'a> {
    /// Nobody named yet.
    pub(super) fn new(view: View<'a>) -> Self {
        Self { view, named: BTreeSet::new() }
    }

    /// Whom to ask instead after this error, if another broker leads and clients can reach it.
    pub(super) fn after(&mut self, error: ErrorCode, of: TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let state = self.view.image.partition(of)?;
        let leader = self.view.leader(state).filter(|leader| *leader != self.view.node_id)?;
        self.named.insert(leader);
        Some((leader, state.leader_epoch))
    }

    /// The leaders that were named: id, host, port, rack.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (BrokerId, &'a str, u16, Option<&'a str>)> {
        let view = self.view;
        view.alive()
            .filter(|(id, ..)| self.named.contains(id))
            .map(|(id, broker, endpoint)| (id, endpoint.host.as_str(), endpoint.port, broker.rack.as_deref()))
    }
}
