//! One group of a test's cluster: a coordinator that knows the rules a member relies on, and no timeouts but the shortest.

use super::consumer_group::{self, Members};
use super::{FakeCluster, Fault};
use bytes::{Bytes, BytesMut};
use protocol::api;
use protocol::error_code::ErrorCode;
use protocol::frame::RequestHead;
use protocol::ids::BrokerId;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, StrBytes, SyncGroupRequest, SyncGroupResponse, topic_name,
};
use runtime::time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a rebalance waits for a member before it goes on without.
const REBALANCE_MS: u64 = 3000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Joining,
    Syncing,
    Stable,
}

#[derive(Clone, Debug, Default)]
struct FakeMember {
    instance_id: Option<StrBytes>,
    metadata: Bytes,
    has_joined: bool,
    assignment: Bytes,
}

/// The group, whatever it is called.
#[derive(Debug)]
pub(crate) struct FakeGroup {
    /// Who coordinates it.
    pub(crate) coordinator: BrokerId,
    phase: Phase,
    generation: i32,
    protocol: StrBytes,
    /// Ids that were given out (KIP-394).
    given: BTreeSet<String>,
    members: BTreeMap<String, FakeMember>,
    /// Its members by KIP-848.
    pub(super) modern: Members,
    joining_since: u64,
    /// Offset, leader epoch and metadata of each partition.
    pub(crate) committed: BTreeMap<(String, i32), (i64, i32, String)>,
}

impl FakeGroup {
    pub(crate) fn new() -> Self {
        Self {
            coordinator: BrokerId(1),
            phase: Phase::Joining,
            generation: 0,
            protocol: StrBytes::default(),
            given: BTreeSet::new(),
            members: BTreeMap::new(),
            modern: Members::default(),
            joining_since: 0,
            committed: BTreeMap::new(),
        }
    }

    /// The members, by id.
    pub(crate) fn members(&self) -> Vec<String> {
        self.members.keys().cloned().chain(self.modern.ids()).collect()
    }

    /// What each member has, by id.
    pub(crate) fn assignments(&self) -> BTreeMap<String, Bytes> {
        self.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone())).collect()
    }

    /// The generation, once all its members are in it.
    pub(crate) fn settled(&self) -> Option<i32> {
        (self.phase == Phase::Stable).then_some(self.generation)
    }

    /// Ends a member's session.
    pub(crate) fn evict(&mut self, member_id: &str) {
        self.given.remove(member_id);
        self.modern.remove(member_id);
        if self.members.remove(member_id).is_some() {
            self.rebalance();
        }
    }

    fn rebalance(&mut self) {
        if self.phase != Phase::Joining {
            self.phase = Phase::Joining;
            self.joining_since = time::now().as_millis();
            self.members.values_mut().for_each(|member| member.has_joined = false);
        }
    }

    fn check(&self, member_id: &str, generation: i32) -> ErrorCode {
        if let Some(code) = self.modern.check(member_id, generation) {
            code
        } else if !self.members.contains_key(member_id) {
            ErrorCode::UnknownMemberId
        } else if generation != self.generation {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::None
        }
    }

    /// Begins the next generation, when everybody is there or has been waited for.
    fn complete(&mut self) {
        let is_over = time::now().as_millis() >= self.joining_since + REBALANCE_MS;
        if self.phase != Phase::Joining || !(is_over || self.members.values().all(|member| member.has_joined)) {
            return;
        }
        self.members.retain(|_, member| member.has_joined);
        self.generation += 1;
        self.phase = Phase::Syncing;
    }
}

impl FakeCluster {
    /// Looks at the group, or changes it.
    pub(crate) fn group<T>(&self, look: impl FnOnce(&mut FakeGroup) -> T) -> T {
        look(&mut self.shared.state.lock().group)
    }
}

/// The answer to a request about groups; nothing for any other.
pub(super) async fn answer(
    cluster: &FakeCluster,
    broker: BrokerId,
    head: &RequestHead,
    fault: Option<Fault>,
) -> Option<BytesMut> {
    let refusal = match fault {
        Some(Fault::Refuse(code) | Fault::DoAndRefuse(code)) => Some(code),
        _ if head.api_key != api::FIND_COORDINATOR && cluster.group(|group| group.coordinator) != broker => {
            Some(ErrorCode::NotCoordinator)
        }
        _ => None,
    };
    let code = |done: ErrorCode| refusal.unwrap_or(done).code();
    use super::answers::{body, encode};
    Some(match head.api_key {
        api::FIND_COORDINATOR => encode(head, &find(cluster, &body(head), refusal)),
        api::JOIN_GROUP => match refusal {
            Some(refused) => encode(head, &JoinGroupResponse::default().with_error_code(refused.code())),
            None => encode(head, &join(cluster, &body(head)).await),
        },
        api::SYNC_GROUP => match refusal {
            Some(refused) => encode(head, &SyncGroupResponse::default().with_error_code(refused.code())),
            None => encode(head, &sync(cluster, &body(head)).await),
        },
        api::HEARTBEAT => {
            let request: HeartbeatRequest = body(head);
            let told = cluster.group(|group| match group.check(&request.member_id, request.generation_id) {
                ErrorCode::None if group.phase == Phase::Joining => ErrorCode::RebalanceInProgress,
                other => other,
            });
            encode(head, &HeartbeatResponse::default().with_error_code(code(told)))
        }
        api::LEAVE_GROUP => {
            let request: LeaveGroupRequest = body(head);
            cluster.group(|group| request.members.iter().for_each(|member| group.evict(&member.member_id)));
            encode(head, &LeaveGroupResponse::default().with_error_code(code(ErrorCode::None)))
        }
        api::CONSUMER_GROUP_HEARTBEAT => encode(head, &consumer_group::heartbeat(cluster, &body(head), refusal)),
        api::OFFSET_COMMIT => encode(head, &commit(cluster, &body(head), refusal)),
        api::OFFSET_FETCH => encode(head, &committed(cluster, &body(head), refusal)),
        _ => return None,
    })
}

fn find(
    cluster: &FakeCluster,
    request: &FindCoordinatorRequest,
    refusal: Option<ErrorCode>,
) -> FindCoordinatorResponse {
    let broker = cluster.group(|group| group.coordinator);
    let coordinator = |key: &StrBytes| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(broker.into())
            .with_error_code(refusal.map_or(0, ErrorCode::code))
    };
    FindCoordinatorResponse::default().with_coordinators(request.coordinator_keys.iter().map(coordinator).collect())
}

async fn join(cluster: &FakeCluster, request: &JoinGroupRequest) -> JoinGroupResponse {
    let refused = |code: ErrorCode, id: &str| {
        JoinGroupResponse::default().with_error_code(code.code()).with_member_id(StrBytes::from_string(id.to_owned()))
    };
    let id = request.member_id.to_string();
    let mut joined_in = 0;
    let early = cluster.group(|group| {
        if id.is_empty() {
            let given = format!("member-{}", group.given.len() + 1);
            group.given.insert(given.clone());
            return Some(refused(ErrorCode::MemberIdRequired, &given));
        }
        if !group.given.contains(&id) {
            return Some(refused(ErrorCode::UnknownMemberId, &id));
        }
        group.rebalance();
        group.protocol = request.protocols[0].name.clone();
        let member = FakeMember {
            instance_id: request.group_instance_id.clone(),
            metadata: request.protocols[0].metadata.clone(),
            has_joined: true,
            assignment: Bytes::new(),
        };
        group.members.insert(id.clone(), member);
        joined_in = group.generation;
        None
    });
    if let Some(early) = early {
        return early;
    }
    loop {
        let answer = cluster.group(|group| {
            group.complete();
            match group.members.get(&id) {
                None => Some(refused(ErrorCode::UnknownMemberId, &id)),
                // Whoever joined is told of the generation that came of it, though the next one is in the making.
                Some(_) => (group.generation > joined_in).then(|| generation(group, &id)),
            }
        });
        if let Some(answer) = answer {
            return answer;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn generation(group: &FakeGroup, id: &str) -> JoinGroupResponse {
    let leader = group.members.keys().next().expect("whoever asks is one").clone();
    let listed = group.members.iter().filter(|_| leader == id).map(|(id, member)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(id.clone()))
            .with_group_instance_id(member.instance_id.clone())
            .with_metadata(member.metadata.clone())
    });
    JoinGroupResponse::default()
        .with_generation_id(group.generation)
        .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
        .with_protocol_name(Some(group.protocol.clone()))
        .with_member_id(StrBytes::from_string(id.to_owned()))
        .with_members(listed.collect())
        .with_leader(StrBytes::from_string(leader))
}

async fn sync(cluster: &FakeCluster, request: &SyncGroupRequest) -> SyncGroupResponse {
    let refused = |code: ErrorCode| SyncGroupResponse::default().with_error_code(code.code());
    let id = request.member_id.to_string();
    loop {
        let answer = cluster.group(|group| {
            let code = group.check(&id, request.generation_id);
            if !code.is_none() {
                return Some(refused(code));
            }
            if group.phase == Phase::Syncing && !request.assignments.is_empty() {
                for assigned in &request.assignments {
                    if let Some(member) = group.members.get_mut(assigned.member_id.as_str()) {
                        member.assignment = assigned.assignment.clone();
                    }
                }
                group.phase = Phase::Stable;
            }
            match group.phase {
                Phase::Joining => Some(refused(ErrorCode::RebalanceInProgress)),
                Phase::Syncing => None,
                Phase::Stable => {
                    Some(SyncGroupResponse::default().with_assignment(group.members[&id].assignment.clone()))
                }
            }
        });
        if let Some(answer) = answer {
            return answer;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn commit(cluster: &FakeCluster, request: &OffsetCommitRequest, refusal: Option<ErrorCode>) -> OffsetCommitResponse {
    cluster.group(|group| {
        let is_member = !request.member_id.is_empty();
        let told = match is_member {
            true => group.check(&request.member_id, request.generation_id_or_member_epoch),
            // Nobody in particular may commit while nobody is there.
            false if !group.members.is_empty() => ErrorCode::UnknownMemberId,
            false => ErrorCode::None,
        };
        let code = refusal.unwrap_or(told);
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                if code.is_none() {
                    let metadata = partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default();
                    let told = (partition.committed_offset, partition.committed_leader_epoch, metadata);
                    group.committed.insert((topic.name.to_string(), partition.partition_index), told);
                }
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code.code())
            });
            OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    })
}

fn committed(cluster: &FakeCluster, request: &OffsetFetchRequest, refusal: Option<ErrorCode>) -> OffsetFetchResponse {
    let groups = request.groups.iter().map(|asked| {
        let checked = asked.member_id.as_ref().map(|id| cluster.group(|group| group.check(id, asked.member_epoch)));
        let code = refusal.or(checked).unwrap_or(ErrorCode::None);
        let topics = match &asked.topics {
            Some(topics) => {
                topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect()
            }
            None => cluster.group(|group| {
                let mut all: BTreeMap<String, Vec<i32>> = BTreeMap::new();
                group.committed.keys().for_each(|(topic, index)| all.entry(topic.clone()).or_default().push(*index));
                all
            }),
        };
        let topics = topics.into_iter().map(|(topic, indexes)| {
            let partitions = indexes.iter().map(|index| told(cluster, &topic, *index)).collect();
            OffsetFetchResponseTopics::default().with_name(topic_name(&topic)).with_partitions(partitions)
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(GroupId(asked.group_id.0.clone()))
            .with_topics(topics.collect())
            .with_error_code(code.code())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn told(cluster: &FakeCluster, topic: &str, index: i32) -> OffsetFetchResponsePartitions {
    let known = cluster.group(|group| group.committed.get(&(topic.to_owned(), index)).cloned());
    let (offset, leader_epoch, metadata) = known.unwrap_or((-1, -1, String::new()));
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch)
        .with_metadata(Some(StrBytes::from_string(metadata)))
}
