//! Pure. What a member makes of the coordinator's answers: one rule for each error code of each API.
//!
//! As the response handlers of `AbstractCoordinator` and `ConsumerCoordinator`. Driven by `classic`.

use super::{Classic, Shared, State, counts_of, millis};
use crate::consumer::assignors::{Assignments, Assignor, Member, PartitionCounts};
use crate::consumer::consumer_protocol::{self, PROTOCOL_TYPE};
use crate::consumer::membership::{Generation, GroupError, MemberId, Membership};
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;
use protocol::messages::{HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Classic {
    /// The coordinator answered JoinGroup.
    pub(super) fn joined(&mut self, response: &JoinGroupResponse, now: MonotonicMillis, random: u64) {
        if self.state != State::Joining {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => self.enter(response, now),
            ErrorCode::MemberIdRequired => {
                // KIP-394: the first answer gives an id, the second JoinGroup with it makes a member.
                self.member_id = MemberId::from(response.member_id.as_str());
            }
            code => self.turned_away(code, now, random),
        }
    }

    fn enter(&mut self, response: &JoinGroupResponse, now: MonotonicMillis) {
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let is_ours = response.protocol_type.as_deref().is_none_or(|kind| kind == PROTOCOL_TYPE);
        let Some(assignor) = Assignor::by_name(name).filter(|assignor| self.protocol.assignors.contains(assignor))
        else {
            return self.fail(GroupError::NotConsumers(format!("the assignor is {name:?}")));
        };
        if !is_ours {
            return self.fail(GroupError::NotConsumers(format!("the protocol is {:?}", response.protocol_type)));
        }
        self.member_id = MemberId::from(response.member_id.as_str());
        self.generation = Some(Generation(response.generation_id));
        self.assignor = Some(assignor);
        self.contact.answered_well(now);
        self.state = State::Syncing(Assignments::new());
        if response.leader != response.member_id {
            return;
        }
        let member = |member: &protocol::messages::join_group_response::JoinGroupResponseMember| Member {
            member_id: MemberId::from(member.member_id.as_str()),
            instance_id: member.group_instance_id.as_deref().map(Arc::from),
            // Whoever does not say what it wants gets nothing.
            subscription: consumer_protocol::decode_subscription(&member.metadata).unwrap_or_default(),
        };
        let members: Vec<Member> = response.members.iter().map(member).collect();
        // A static leader that is back has nothing to share, for nothing has changed, but goes on watching (KIP-814).
        self.state = State::Leading { members, shares: !response.skip_assignment };
    }

    /// Here is how many partitions the topics have that [`super::Step::Count`] asked for.
    pub(super) fn counted(&mut self, counts: &PartitionCounts) {
        let (State::Leading { members, shares }, Some(assignor)) = (&self.state, self.assignor) else { return };
        let topics: BTreeSet<Arc<str>> =
            members.iter().flat_map(|member| &member.subscription.topics).cloned().collect();
        let counts = counts_of(&topics, counts);
        let assignments = if *shares { assignor.assign(members, &counts) } else { Assignments::new() };
        self.shared = Some(Shared { topics, counts });
        self.state = State::Syncing(assignments);
    }

    /// The coordinator answered SyncGroup.
    pub(super) fn synced(&mut self, response: &SyncGroupResponse, now: MonotonicMillis, random: u64) {
        if !matches!(self.state, State::Syncing(_)) {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => match consumer_protocol::decode_assignment(&response.assignment) {
                Ok(assigned) => {
                    self.contact.answered_well(now);
                    self.heartbeat_at = now.plus(millis(self.protocol.heartbeat_interval));
                    self.state = State::Stable { adopt: Some(assigned) };
                }
                Err(error) => self.fail(GroupError::NotConsumers(error.to_string())),
            },
            code => self.turned_away(code, now, random),
        }
    }

    /// The coordinator answered Heartbeat.
    pub(super) fn heard(&mut self, response: &HeartbeatResponse, now: MonotonicMillis, random: u64) {
        if !self.is_stable() {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => self.contact.answered_well(now),
            ErrorCode::RebalanceInProgress => {
                self.contact.answered_well(now);
                self.want_rejoin("the group is rebalancing");
            }
            code => self.turned_away(code, now, random),
        }
    }

    /// What JoinGroup, SyncGroup and Heartbeat have in common.
    pub(super) fn turned_away(&mut self, code: ErrorCode, now: MonotonicMillis, random: u64) {
        match code {
            ErrorCode::UnknownMemberId => self.reset(true),
            // The id is still good: the coordinator has gone on without this member, or lost a generation (KAFKA-12983).
            ErrorCode::IllegalGeneration => self.reset(false),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => self.ask_another(now, random),
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::RebalanceInProgress => self.ask_again(now, random),
            ErrorCode::FencedInstanceId => {
                let instance_id = self.contact.options().instance_id.clone().unwrap_or_else(|| Arc::from(""));
                self.fail(GroupError::Fenced { instance_id });
            }
            code if code.is_retriable() => self.ask_again(now, random),
            code => self.fail(GroupError::Refused { code, message: None }),
        }
    }

    /// The coordinator is looked for again, after a while.
    pub(super) fn ask_another(&mut self, now: MonotonicMillis, random: u64) {
        self.contact.forget_coordinator();
        self.ask_again(now, random);
    }

    /// Whoever is on its way into a generation begins at its first step again, with what it has, after a while.
    fn ask_again(&mut self, now: MonotonicMillis, random: u64) {
        if self.is_joining() {
            self.state = State::Joining;
        }
        self.contact.retry_later(now, random);
    }

    pub(super) fn fail(&mut self, error: GroupError) {
        self.reset(true);
        self.state = State::Failed(error);
    }
}
