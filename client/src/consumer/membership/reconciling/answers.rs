//! Pure. What a member by KIP-848 makes of the coordinator's answers: one rule for each error code.
//!
//! As `AbstractHeartbeatRequestManager.onErrorResponse` and `ConsumerHeartbeatRequestManager.handleSpecificError`. Driven by
//! `reconciling`.

use super::{Assignment, Reconciling, State};
use crate::consumer::membership::{GroupError, MemberEpoch, MemberId};
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, PartitionIndex, TopicId};
use protocol::messages::ConsumerGroupHeartbeatResponse;
use protocol::messages::consumer_group_heartbeat_response::Assignment as WireAssignment;
use std::sync::Arc;
use std::time::Duration;

impl Reconciling {
    /// The coordinator answered a heartbeat.
    pub(super) fn heard(&mut self, response: &ConsumerGroupHeartbeatResponse, now: MonotonicMillis, random: u64) {
        if !matches!(self.state, State::Joining | State::Joined) {
            return;
        }
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => self.accept(response, now),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => self.ask_another(now, random),
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => self.fenced(now, random),
            // A group of which nobody is left may be forgotten. Whoever was in it joins anew, where Kafka's client gives up;
            // of one that joins, it says that the group is of the other protocol.
            ErrorCode::GroupIdNotFound if self.state == State::Joined => self.fenced(now, random),
            code if code.is_retriable() => self.ask_again(now, random),
            code => self.turned_away(code, response.error_message.as_ref().map(ToString::to_string)),
        }
    }

    fn accept(&mut self, response: &ConsumerGroupHeartbeatResponse, now: MonotonicMillis) {
        self.contact.answered_well(now);
        self.state = State::Joined;
        self.member_epoch = MemberEpoch(response.member_epoch);
        if let Some(member_id) = &response.member_id {
            // Before KIP-1082, the coordinator had the last word.
            self.member_id = MemberId::from(member_id.as_str());
        }
        if let Ok(interval_ms @ 1..) = u64::try_from(response.heartbeat_interval_ms) {
            self.heartbeat_interval = Duration::from_millis(interval_ms);
        }
        if let Some(assignment) = &response.assignment {
            self.target = Some(read(assignment));
            self.has_looked = false;
            self.forget_names();
        }
    }

    /// The coordinator does not know the member any more, or has gone on without it: what it owns is lost, and it joins anew.
    /// Soon, unless that was what it tried.
    fn fenced(&mut self, now: MonotonicMillis, random: u64) {
        let was_joining = self.state == State::Joining;
        self.reset();
        if was_joining {
            self.contact.retry_later(now, random);
        }
    }

    /// The coordinator is looked for again, after a while.
    pub(super) fn ask_another(&mut self, now: MonotonicMillis, random: u64) {
        self.contact.forget_coordinator();
        self.ask_again(now, random);
    }

    /// Everything is said again, after a while.
    fn ask_again(&mut self, now: MonotonicMillis, random: u64) {
        self.said = None;
        self.contact.retry_later(now, random);
    }

    /// The coordinator would say the same again.
    pub(super) fn turned_away(&mut self, code: ErrorCode, message: Option<String>) {
        let error = match code {
            ErrorCode::FencedInstanceId => {
                let instance_id = self.contact.options().instance_id.clone().unwrap_or_else(|| Arc::from(""));
                GroupError::Fenced { instance_id }
            }
            ErrorCode::UnsupportedVersion => {
                // A pattern that was not understood need not be taken back, and could not be.
                self.has_said_pattern = false;
                GroupError::Unsupported { message: message.unwrap_or_else(|| code.to_string()) }
            }
            code => GroupError::Refused { code, message },
        };
        self.reset();
        self.state = State::Failed(error);
    }
}

fn read(assignment: &WireAssignment) -> Assignment {
    let topics = assignment.topic_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    topics
        .map(|topic| (TopicId(topic.topic_id), topic.partitions.iter().copied().map(PartitionIndex).collect()))
        .collect()
}
