//! Pure. What a member makes of the coordinator's answers: one rule for each error code of each API.
//!
//! As the response handlers of `AbstractCoordinator` and `ConsumerCoordinator`. Driven by `classic`'s shell.

use super::{Classic, Shared, State, counts_of, millis};
use crate::consumer::assignors::{Assignments, Assignor, Member};
use crate::consumer::consumer_protocol::{self, PROTOCOL_TYPE};
use crate::consumer::membership::{Generation, GroupError, GroupMetadata, Life, MemberId};
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;
use protocol::messages::{HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Classic {
    fn is_current(&self, life: Life) -> bool {
        life == Life(self.life)
    }

    /// No coordinator is known, or the one that is does not answer: look for it again, after a while.
    ///
    /// Whoever was joining joins anew. A member stays one: its session may outlive the coordinator.
    pub fn unanswered(&mut self, life: Life, now: MonotonicMillis, random: u64) {
        if !self.is_current(life) {
            return;
        }
        self.coordinator = None;
        self.join_anew();
        self.retry_later(now, random);
    }

    /// The group may not be asked about: nobody is told who coordinates it.
    pub fn find_refused(&mut self, life: Life, code: ErrorCode) {
        if self.is_current(life) {
            self.fail(GroupError::Refused(code));
        }
    }

    /// The coordinator answered JoinGroup.
    pub fn joined(&mut self, life: Life, response: &JoinGroupResponse, now: MonotonicMillis, random: u64) {
        if !self.is_current(life) || self.state != State::Joining {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => self.enter(response, now),
            ErrorCode::MemberIdRequired => {
                // KIP-394: the first answer gives an id, the second JoinGroup with it makes a member.
                self.member_id = MemberId::from(response.member_id.as_str());
            }
            code => self.refused(code, now, random),
        }
    }

    fn enter(&mut self, response: &JoinGroupResponse, now: MonotonicMillis) {
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let is_ours = response.protocol_type.as_deref().is_none_or(|kind| kind == PROTOCOL_TYPE);
        let Some(assignor) = Assignor::by_name(name).filter(|assignor| self.settings.assignors.contains(assignor))
        else {
            return self.fail(GroupError::NotConsumers(format!("the assignor is {name:?}")));
        };
        if !is_ours {
            return self.fail(GroupError::NotConsumers(format!("the protocol is {:?}", response.protocol_type)));
        }
        self.member_id = MemberId::from(response.member_id.as_str());
        self.generation = Some(Generation(response.generation_id));
        self.assignor = Some(assignor);
        self.failures = 0;
        self.heard_at = now;
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
    pub fn counted(&mut self, life: Life, count: impl Fn(&str) -> Option<i32>) {
        if !self.is_current(life) {
            return;
        }
        let (State::Leading { members, shares }, Some(assignor)) = (&self.state, self.assignor) else { return };
        let topics: BTreeSet<Arc<str>> =
            members.iter().flat_map(|member| &member.subscription.topics).cloned().collect();
        let counts = counts_of(&topics, count);
        let assignments = if *shares { assignor.assign(members, &counts) } else { Assignments::new() };
        self.shared = Some(Shared { topics, counts });
        self.state = State::Syncing(assignments);
    }

    /// The coordinator answered SyncGroup.
    pub fn synced(&mut self, life: Life, response: &SyncGroupResponse, now: MonotonicMillis, random: u64) {
        if !self.is_current(life) || !matches!(self.state, State::Syncing(_)) {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => match consumer_protocol::decode_assignment(&response.assignment) {
                Ok(assigned) => {
                    self.failures = 0;
                    self.heard_at = now;
                    self.heartbeat_at = now.plus(millis(self.settings.heartbeat_interval));
                    self.state = State::Stable { adopt: Some(assigned) };
                }
                Err(error) => self.fail(GroupError::NotConsumers(error.to_string())),
            },
            code => self.refused(code, now, random),
        }
    }

    /// The coordinator answered Heartbeat.
    pub fn heard(&mut self, life: Life, response: &HeartbeatResponse, now: MonotonicMillis, random: u64) {
        if !self.is_current(life) || !self.is_stable() {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => {
                self.failures = 0;
                self.heard_at = now;
            }
            ErrorCode::RebalanceInProgress => {
                self.heard_at = now;
                self.want_rejoin("the group is rebalancing");
            }
            code => self.refused(code, now, random),
        }
    }

    /// The coordinator refused a commit that was sent under this identity.
    pub fn commit_refused(&mut self, sent_as: &GroupMetadata, code: ErrorCode, now: MonotonicMillis, random: u64) {
        if *sent_as != self.metadata() || !self.is_stable() {
            return;
        }
        match code {
            ErrorCode::RebalanceInProgress => self.want_rejoin("a commit met a rebalance"),
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                self.refused(code, now, random);
            }
            // These say something of the commit, not of the member.
            _ => {}
        }
    }

    /// What JoinGroup, SyncGroup and Heartbeat have in common.
    fn refused(&mut self, code: ErrorCode, now: MonotonicMillis, random: u64) {
        match code {
            ErrorCode::UnknownMemberId => self.reset(true),
            // The id is still good: the coordinator has gone on without this member, or lost a generation (KAFKA-12983).
            ErrorCode::IllegalGeneration => self.reset(false),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.coordinator = None;
                self.join_anew();
                self.retry_later(now, random);
            }
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::RebalanceInProgress => {
                self.join_anew();
                self.retry_later(now, random);
            }
            ErrorCode::FencedInstanceId => {
                let instance_id = self.settings.instance_id.clone().unwrap_or_else(|| Arc::from(""));
                self.fail(GroupError::Fenced { instance_id });
            }
            code if code.is_retriable() => {
                self.join_anew();
                self.retry_later(now, random);
            }
            code => self.fail(GroupError::Refused(code)),
        }
    }

    /// Whoever is on its way into a generation begins at its first step again, with what it has.
    fn join_anew(&mut self) {
        if self.is_joining() {
            self.state = State::Joining;
        }
    }

    fn retry_later(&mut self, now: MonotonicMillis, random: u64) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.plus(millis(self.settings.retry_backoff.after(self.failures, random)));
    }

    fn fail(&mut self, error: GroupError) {
        self.reset(true);
        self.state = State::Failed(error);
    }
}
