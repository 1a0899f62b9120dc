//! Pure. SyncGroup: the leader gives everybody its assignment.

use super::messages::{Answer, SyncAnswer, SyncRequest};
use super::{ClassicGroup, Moment, State};
use crate::effects::{Effects, Ticket};
use crate::ids::MemberId;
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};
use std::collections::BTreeMap;

impl ClassicGroup {
    /// Answers a SyncGroup at once, or keeps its ticket until the leader has given the assignment. With the leader's own
    /// request, the group is stable, and recorded; nobody is answered before that is committed.
    ///
    /// A member whose earlier SyncGroup still waits is answered there with `REBALANCE_IN_PROGRESS`; Kafka never answers it.
    ///
    /// As `GroupMetadataManager.classicGroupSyncToClassicGroup`, where the group is stable only once its record is committed.
    pub fn sync(
        &mut self,
        request: SyncRequest,
        ticket: Ticket,
        now: MonotonicMillis,
        wall: WallMillis,
    ) -> Effects<Answer> {
        let mut out = Effects::default();
        match self.check_sync(&request) {
            Err(error) => out.answers.push((ticket, Answer::Sync(SyncAnswer::refused(error)))),
            Ok(()) if self.state == State::Stable => {
                self.settle_sync(&request.member);
                out.answers.push((ticket, Answer::Sync(self.sync_answer(&request.member))));
            }
            Ok(()) => {
                if let Some(earlier) = self.roster.begin_sync(&request.member, ticket) {
                    let answer = SyncAnswer::refused(ErrorCode::RebalanceInProgress);
                    out.answers.push((earlier, Answer::Sync(answer)));
                }
                self.settle_sync(&request.member);
                if self.is_leader(&request.member) {
                    self.stabilize(request.assignments, Moment { now, wall }, &mut out);
                }
            }
        }
        self.assert_sound();
        out
    }

    /// Whether the group has an assignment for this member, or will have (`GroupMetadataManager.validateSyncGroup`).
    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.roster.check(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differ = |said: &Option<String>, is: &Option<String>| said.is_some() && is.is_some() && said != is;
        if differ(&request.protocol_type, &self.protocol_type) || differ(&request.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty | State::Dead => unreachable!("a group that is {} has no member", self.state),
        }
    }

    /// The leader has spoken: whoever it did not name has nothing, and whom it named that is no member is nobody.
    fn stabilize(&mut self, assignments: Vec<(MemberId, Bytes)>, at: Moment, out: &mut Effects<Answer>) {
        let mut assignments: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        self.transition(State::Stable, at.wall);
        for id in self.roster.ids() {
            self.roster.assign(&id, assignments.remove(&id).unwrap_or_default());
            if let Some(ticket) = self.roster.end_sync(&id) {
                out.answers.push((ticket, Answer::Sync(self.sync_answer(&id))));
                // Its session may have ended unnoticed while it waited.
                self.roster.keep_alive(&id, at.now);
            }
        }
        out.records.push(self.record());
    }

    fn sync_answer(&self, id: &MemberId) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.roster.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
