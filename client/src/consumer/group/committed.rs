//! Asks a group's coordinator where the group is: for partitions that were just assigned, and for whoever wants to know.
//!
//! Only what is settled counts: offsets of a transaction that is open are waited for (`require_stable`, KIP-447). Driven by
//! `fetching` and the user of a `Consumer`.

use super::committing::{CommitError, OffsetAndMetadata, Offsets};
use super::coordinator;
use crate::PartitionName;
use crate::cluster::Lane;
use crate::consumer::membership::{MemberEpoch, MemberId};
use crate::consumer::offsets::{Answers, code_of};
use crate::consumer::positions::{Position, Ticket};
use crate::consumer::{Consumer, Shared, now};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{LeaderEpoch, Offset};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, StrBytes, topic_name};
use runtime::{rand, time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The first version of OffsetFetch that asks for several groups at once (KIP-709).
const BATCHES_FROM: i16 = 8;
/// The last version that names topics by name.
const NAMES_UNTIL: i16 = 9;
/// The first version that waits for open transactions.
const STABLE_FROM: i16 = 7;
/// The first version that says which member asks (KIP-848).
const MEMBERS_FROM: i16 = 9;

impl Consumer {
    /// What the group has committed for these partitions; one for which it has not is left out.
    ///
    /// # Errors
    /// [`CommitError::NoGroup`], [`CommitError::Refused`], and the last error when no coordinator has answered by the timeout.
    pub async fn committed(
        &self,
        partitions: &BTreeSet<PartitionName>,
        timeout: Duration,
    ) -> Result<Offsets, CommitError> {
        let shared = &self.shared;
        if shared.options.group.is_none() {
            return Err(CommitError::NoGroup);
        }
        let deadline = time::now() + timeout;
        let mut failures = 0u32;
        let mut last = CommitError::Client(ClientError::NoBroker { last: "no coordinator in time".to_owned() });
        loop {
            match time::timeout_at(deadline, fetch(shared, partitions)).await {
                Err(_) => return Err(last),
                Ok(Err(error)) if error.code().is_some_and(is_final) => return Err(error.into()),
                Ok(Err(error)) => last = error.into(),
                Ok(Ok(answers)) => match settled(answers) {
                    Ok(offsets) => return Ok(offsets),
                    Err((partition, code)) => {
                        last = CommitError::Refused { partition: Some(partition), code };
                        if is_final(code) {
                            return Err(last);
                        }
                    }
                },
            }
            failures = failures.saturating_add(1);
            let wait = shared.options.retry_backoff.after(failures, rand::next());
            time::sleep_until(deadline.min(time::now() + wait)).await;
        }
    }
}

/// Whether the coordinator would say the same again. A member that is behind, or that was thrown out, is told so by its heartbeat,
/// and asks as who it is then.
fn is_final(code: ErrorCode) -> bool {
    !code.is_retriable() && !matches!(code, ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId)
}

fn settled(answers: Answers<Option<OffsetAndMetadata>>) -> Result<Offsets, (PartitionName, ErrorCode)> {
    let mut offsets = Offsets::new();
    for (partition, answer) in answers {
        match answer {
            Ok(Some(committed)) => drop(offsets.insert(partition, committed)),
            Ok(None) => {}
            Err(code) => return Err((partition, code)),
        }
    }
    Ok(offsets)
}

/// Asks where assigned partitions begin, and hands that in.
pub(in crate::consumer) async fn ask_committed(shared: Arc<Shared>, awaiting: Vec<(PartitionName, Ticket)>) {
    let partitions = awaiting.iter().map(|(partition, _)| partition.clone()).collect();
    let answers = fetch(&shared, &partitions).await;
    let (mut answers, refusal) = match answers {
        Ok(answers) => (answers, None),
        Err(error) => {
            tracing::debug!(%error, "no committed offsets from the coordinator");
            (BTreeMap::new(), error.code().filter(|code| is_final(*code)))
        }
    };
    {
        let mut state = shared.state.lock();
        let wait = shared.options.retry_backoff.after(1, rand::next());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        for (partition, ticket) in awaiting {
            let code = match answers.remove(&partition) {
                Some(Ok(committed)) => {
                    let position = committed
                        .map(|committed| Position { offset: committed.offset, leader_epoch: committed.leader_epoch });
                    state.positions.committed_told(&partition, ticket, position);
                    continue;
                }
                Some(Err(code)) => Some(code),
                None => refusal,
            };
            state.positions.failed(&partition, ticket, code, now(), wait_ms);
        }
    }
    shared.arrived.notify_one();
}

/// Asks once. An answer of the whole group's error is an error.
async fn fetch(
    shared: &Shared,
    partitions: &BTreeSet<PartitionName>,
) -> Result<Answers<Option<OffsetAndMetadata>>, ClientError> {
    let broker = coordinator::known_or_found(shared).await?;
    let fetched = fetch_from(shared, broker, partitions).await;
    let is_gone = match &fetched {
        Ok(_) => false,
        Err(error) => match error.code() {
            Some(code) => matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
            None => true,
        },
    };
    if is_gone {
        shared.state.lock().group().membership.contact_mut().lost_coordinator(broker);
        shared.group_wanted.notify_one();
    }
    fetched
}

async fn fetch_from(
    shared: &Shared,
    broker: protocol::ids::BrokerId,
    partitions: &BTreeSet<PartitionName>,
) -> Result<Answers<Option<OffsetAndMetadata>>, ClientError> {
    let timeout = shared.options.request_timeout;
    let connection = shared.cluster.connection(broker, Lane::Ask, timeout).await?;
    let version = connection.version_of::<OffsetFetchRequest>()?.min(NAMES_UNTIL);
    let request = {
        let mut state = shared.state.lock();
        let membership = &state.group().membership;
        request(&membership.contact().options().group_id, membership.asks_as(), version, partitions)
    };
    let answer = connection.submit(version, &request, timeout)?.wait().await;
    answers(answer.inspect_err(|error| error.close(&connection))?, version)
}

fn request(
    group_id: &str,
    member: Option<(MemberId, MemberEpoch)>,
    version: i16,
    partitions: &BTreeSet<PartitionName>,
) -> OffsetFetchRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    let group_id = GroupId(StrBytes::from_string(group_id.to_owned()));
    let request = OffsetFetchRequest::default().with_require_stable(version >= STABLE_FROM);
    if version < BATCHES_FROM {
        let topics = topics.into_iter().map(|(topic, indexes)| {
            OffsetFetchRequestTopic::default().with_name(topic_name(topic)).with_partition_indexes(indexes)
        });
        return request.with_group_id(group_id).with_topics(Some(topics.collect()));
    }
    let topics = topics.into_iter().map(|(topic, indexes)| {
        OffsetFetchRequestTopics::default().with_name(topic_name(topic)).with_partition_indexes(indexes)
    });
    let mut group = OffsetFetchRequestGroup::default().with_group_id(group_id).with_topics(Some(topics.collect()));
    if let Some((member_id, member_epoch)) = member.filter(|_| version >= MEMBERS_FROM) {
        group.member_id = Some(StrBytes::from_string(member_id.to_string()));
        group.member_epoch = member_epoch.0;
    }
    request.with_groups(vec![group])
}

fn answers(response: OffsetFetchResponse, version: i16) -> Result<Answers<Option<OffsetAndMetadata>>, ClientError> {
    let mut answers = BTreeMap::new();
    let mut take = |topic: &str, index: i32, offset: i64, leader_epoch: i32, metadata: Option<StrBytes>, code: i16| {
        let committed = (offset >= 0).then(|| OffsetAndMetadata {
            offset: Offset(offset),
            leader_epoch: (leader_epoch >= 0).then_some(LeaderEpoch(leader_epoch)),
            metadata: metadata.map(|metadata| metadata.to_string()).unwrap_or_default(),
        });
        answers.insert(PartitionName::new(topic, index.into()), code_of(code).map_or(Ok(committed), Err));
    };
    let code = if version < BATCHES_FROM {
        for topic in response.topics {
            for told in topic.partitions {
                let (offset, leader_epoch) = (told.committed_offset, told.committed_leader_epoch);
                take(&topic.name, told.partition_index, offset, leader_epoch, told.metadata, told.error_code);
            }
        }
        response.error_code
    } else {
        let mut code = ErrorCode::None.code();
        for group in response.groups {
            code = group.error_code;
            for topic in group.topics {
                for told in topic.partitions {
                    let (offset, leader_epoch) = (told.committed_offset, told.committed_leader_epoch);
                    take(&topic.name, told.partition_index, offset, leader_epoch, told.metadata, told.error_code);
                }
            }
        }
        code
    };
    match ClientError::from_code(code, None) {
        Some(error) => Err(error),
        None => Ok(answers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::encode_request;
    use protocol::ids::PartitionIndex;
    use protocol::messages::Message;
    use protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};

    #[test]
    fn a_question_fits_every_version() {
        let partitions = [0, 1].map(|index| PartitionName::new("t", PartitionIndex(index))).into();
        for version in OffsetFetchRequest::VERSIONS.min..=NAMES_UNTIL {
            let member = Some((MemberId::from("m"), MemberEpoch(3)));
            let request = request("g", member, version, &partitions);
            encode_request(0, None, version, &request).unwrap_or_else(|error| panic!("version {version}: {error}"));
        }
    }

    #[test]
    fn an_answer_about_one_group_is_read() {
        let told = OffsetFetchResponsePartition::default()
            .with_committed_offset(7)
            .with_committed_leader_epoch(3)
            .with_metadata(Some(StrBytes::from_static_str("m")));
        let none = OffsetFetchResponsePartition::default().with_partition_index(1).with_committed_offset(-1);
        let topic = OffsetFetchResponseTopic::default().with_name(topic_name("t")).with_partitions(vec![told, none]);
        let response = OffsetFetchResponse::default().with_topics(vec![topic]);
        let read = answers(response.clone(), 5).expect("no error");
        let (leader_epoch, metadata) = (Some(LeaderEpoch(3)), "m".to_owned());
        let committed = OffsetAndMetadata { offset: Offset(7), leader_epoch, metadata };
        let expected = [(0, Ok(Some(committed))), (1, Ok(None))];
        let expected = expected.map(|(index, answer)| (PartitionName::new("t", PartitionIndex(index)), answer));
        assert_eq!(read, expected.into());
        let refused = answers(response.with_error_code(ErrorCode::NotCoordinator.code()), 5);
        assert_eq!(refused.map_err(|error| error.code()), Err(Some(ErrorCode::NotCoordinator)));
    }
}
