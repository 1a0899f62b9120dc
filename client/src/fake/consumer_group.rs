//! The members by KIP-848 of a test's group: who has which partitions of the one topic, who is to have them, and who has yet to
//! give some back.

use super::{FakeCluster, TOPIC};
use protocol::error_code::ErrorCode;
use protocol::ids::TopicId;
use protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use std::collections::{BTreeMap, BTreeSet};

const HEARTBEAT_INTERVAL_MS: i32 = 100;

#[derive(Clone, Debug, Default)]
struct Member {
    instance_id: Option<String>,
    member_epoch: i32,
    /// The one before: the answer with the present one may have been lost.
    previous_member_epoch: i32,
    /// It left, and will be back.
    is_away: bool,
    wants_topic: bool,
    /// What it says that it has.
    owned: BTreeSet<i32>,
    /// What it was told to have.
    assigned: BTreeSet<i32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Members {
    group_epoch: i32,
    members: BTreeMap<String, Member>,
    /// What the last member that gave one wanted for an assignor.
    assignor: Option<String>,
}

impl Members {
    pub(super) fn ids(&self) -> impl Iterator<Item = String> + '_ {
        self.members.iter().filter(|(_, member)| !member.is_away).map(|(id, _)| id.clone())
    }

    pub(super) fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_some() {
            self.group_epoch += 1;
        }
    }

    /// What a commit of this member under this epoch is told; nothing of one that is none.
    pub(super) fn check(&self, id: &str, member_epoch: i32) -> Option<ErrorCode> {
        let member = self.members.get(id)?;
        Some(if member.member_epoch == member_epoch { ErrorCode::None } else { ErrorCode::StaleMemberEpoch })
    }

    fn admit(&mut self, id: &str, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
        let instance_id = request.instance_id.as_ref().map(ToString::to_string);
        if request.member_epoch != 0 {
            let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
            let missed_an_answer =
                member.previous_member_epoch == request.member_epoch && request.topic_partitions.is_some();
            let may_speak = member.member_epoch == request.member_epoch || missed_an_answer;
            return if may_speak { Ok(()) } else { Err(ErrorCode::FencedMemberEpoch) };
        }
        let same = self.members.iter().find(|(_, member)| instance_id.is_some() && member.instance_id == instance_id);
        let before = match same.map(|(before, member)| (before.clone(), member.clone())) {
            Some((before, member)) if !member.is_away && before != id => return Err(ErrorCode::UnreleasedInstanceId),
            Some((before, member)) => {
                self.members.remove(&before);
                member
            }
            None => {
                self.group_epoch += 1;
                Member::default()
            }
        };
        let owned = BTreeSet::new();
        self.members.insert(id.to_owned(), Member { instance_id, is_away: false, owned, ..before });
        Ok(())
    }

    /// Partition by partition to the next member that wants them.
    fn target(&self, id: &str, partitions: i32) -> BTreeSet<i32> {
        let wanting = self.members.iter().filter(|(_, member)| member.wants_topic);
        // Whoever takes over an instance id takes over its place.
        let wanting: BTreeSet<_> = wanting.map(|(id, member)| (&member.instance_id, id.as_str())).collect();
        let next = wanting.iter().cycle().take(partitions as usize);
        (0..partitions).zip(next).filter(|(_, (_, next))| *next == id).map(|(index, _)| index).collect()
    }

    /// The member's next step: it keeps what is still its own, and gets the rest once it has given back what is not.
    fn advance(&mut self, id: &str, partitions: i32) {
        let target = self.target(id, partitions);
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let held: BTreeSet<i32> = others.flat_map(|(_, other)| other.owned.union(&other.assigned)).copied().collect();
        let member = self.members.get_mut(id).expect("it was just admitted");
        member.assigned.retain(|partition| target.contains(partition));
        if member.owned.is_subset(&member.assigned) {
            member.assigned.extend(target.difference(&held));
            if member.member_epoch != self.group_epoch {
                member.previous_member_epoch = std::mem::replace(&mut member.member_epoch, self.group_epoch);
            }
        }
    }
}

impl super::group::FakeGroup {
    /// How a member by KIP-848 wanted the partitions shared.
    pub(crate) fn assignor(&self) -> Option<&str> {
        self.modern.assignor.as_deref()
    }

    /// The member epoch of a member by KIP-848.
    pub(crate) fn member_epoch(&self, id: &str) -> i32 {
        self.modern.members[id].member_epoch
    }

    /// Something changes that concerns all members by KIP-848.
    pub(crate) fn raise_group_epoch(&mut self) {
        self.modern.group_epoch += 1;
    }
}

pub(super) fn heartbeat(
    cluster: &FakeCluster,
    request: &ConsumerGroupHeartbeatRequest,
    refusal: Option<ErrorCode>,
) -> ConsumerGroupHeartbeatResponse {
    let refused = |code: ErrorCode| ConsumerGroupHeartbeatResponse::default().with_error_code(code.code());
    if let Some(code) = refusal {
        return refused(code);
    }
    let (topic_id, partitions) = {
        let state = cluster.shared.state.lock();
        (state.topic_id, state.partitions.len() as i32)
    };
    let id = request.member_id.to_string();
    cluster.group(|group| match decide(&mut group.modern, &id, request, topic_id, partitions) {
        Ok(response) => response.with_member_id(Some(request.member_id.clone())),
        Err(code) => refused(code),
    })
}

fn decide(
    members: &mut Members,
    id: &str,
    request: &ConsumerGroupHeartbeatRequest,
    topic_id: TopicId,
    partitions: i32,
) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
    let response = ConsumerGroupHeartbeatResponse::default();
    if request.member_epoch < 0 {
        let member = members.members.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        member.is_away = request.member_epoch == -2;
        if !member.is_away {
            members.remove(id);
        }
        return Ok(response.with_member_epoch(request.member_epoch));
    }
    members.admit(id, request)?;
    if let Some(assignor) = &request.server_assignor {
        members.assignor = Some(assignor.to_string());
    }
    let member = members.members.get_mut(id).expect("it was just admitted");
    let (assigned_before, wanted_before) = (member.assigned.clone(), member.wants_topic);
    if let Some(topics) = &request.subscribed_topic_names {
        member.wants_topic = topics.iter().any(|topic| topic.as_str() == TOPIC);
    }
    if let Some(pattern) = request.subscribed_topic_regex.as_ref().filter(|pattern| !pattern.is_empty()) {
        let pattern = regex::Regex::new(pattern).map_err(|_| ErrorCode::InvalidRegularExpression)?;
        member.wants_topic = pattern.is_match(TOPIC);
    }
    if member.wants_topic != wanted_before {
        members.group_epoch += 1;
    }
    let member = members.members.get_mut(id).expect("it was just admitted");
    if let Some(topics) = &request.topic_partitions {
        let own = topics.iter().filter(|topic| topic.topic_id == topic_id.0);
        member.owned = own.flat_map(|topic| topic.partitions.iter().copied()).collect();
    }
    members.advance(id, partitions);
    let member = &members.members[id];
    let is_full = request.member_epoch == 0 || request.rebalance_timeout_ms != -1;
    let assignment = (is_full || member.assigned != assigned_before).then(|| {
        let topic = TopicPartitions::default()
            .with_topic_id(topic_id.0)
            .with_partitions(member.assigned.iter().copied().collect());
        Assignment::default().with_topic_partitions(vec![topic])
    });
    Ok(response
        .with_member_epoch(member.member_epoch)
        .with_heartbeat_interval_ms(HEARTBEAT_INTERVAL_MS)
        .with_assignment(assignment))
}
