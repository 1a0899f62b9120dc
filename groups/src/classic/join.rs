//! Pure. JoinGroup: somebody becomes a member, or a member says that it is ready for the next generation.

use super::messages::{Answer, JoinAnswer, JoinMember, JoinRequest, rebalance_timeout_ms};
use super::roster::Member;
use super::{ClassicGroup, Moment, State, SyncAnswer, millis};
use crate::effects::{Effects, Ticket};
use crate::ids::MemberId;
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};
use uuid::Uuid;

impl ClassicGroup {
    /// Answers a JoinGroup at once, or keeps its ticket until the members are complete.
    ///
    /// `fresh` is random, and becomes part of the member id of one that has none yet. A member whose earlier JoinGroup still
    /// waits is answered there with `REBALANCE_IN_PROGRESS`, which its client may try again; Kafka never answers it.
    ///
    /// As `GroupMetadataManager.classicGroupJoinToClassicGroup`, with the check of the session timeout that Kafka makes in
    /// `GroupCoordinatorService.joinGroup`.
    pub fn join(
        &mut self,
        mut request: JoinRequest,
        ticket: Ticket,
        fresh: Uuid,
        now: MonotonicMillis,
        wall: WallMillis,
    ) -> Effects<Answer> {
        request.protocols = distinct(request.protocols);
        request.rebalance_timeout_ms = rebalance_timeout_ms(request.rebalance_timeout_ms, request.session_timeout_ms);
        let at = Moment { now, wall };
        let mut out = Effects::default();
        match self.check_join(&request) {
            Ok(()) => self.admit(request, ticket, fresh, at, &mut out),
            Err(ErrorCode::GroupMaxSizeReached) => {
                refuse(MemberId::default(), ErrorCode::GroupMaxSizeReached, ticket, &mut out);
                self.forget(&request.member);
                // Kafka leaves the rest to the rebalance timeout, though nobody else may be waited for.
                self.maybe_complete_join(at, &mut out);
            }
            Err(error) => refuse(request.member, error, ticket, &mut out),
        }
        self.assert_sound();
        out
    }

    /// Whether somebody with such wishes may be a member at all.
    fn check_join(&self, request: &JoinRequest) -> Result<(), ErrorCode> {
        let allowed = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.has_room_for(&request.member) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether one more may join, or this member again (KIP-389, `GroupMetadataManager.acceptJoiningMember`).
    ///
    /// While a rebalance is prepared, those that wait are counted rather than the members: a group that was loaded with too
    /// many members loses the ones that join last.
    fn has_room_for(&self, member: &MemberId) -> bool {
        let known = self.roster.get(member);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                known.is_some_and(Member::is_joining) || self.roster.joining() < self.config.max_size
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.roster.len() < self.config.max_size,
        }
    }

    /// Whether the members could go on together with one that speaks these protocols: it is of their kind, and speaks one
    /// that they all speak (`ClassicGroup.supportsProtocols`).
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        match self.state {
            State::Empty => !protocol_type.is_empty() && !protocols.is_empty(),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable | State::Dead => {
                self.protocol_type.as_deref() == Some(protocol_type) && self.roster.speak_one_of(protocols)
            }
        }
    }

    /// A member id, if there is none, and then whatever the request means of somebody with that id.
    fn admit(&mut self, request: JoinRequest, ticket: Ticket, fresh: Uuid, at: Moment, out: &mut Effects<Answer>) {
        if !request.member.is_empty() {
            if request.instance.is_none() && self.roster.is_pending(&request.member) {
                self.add(request.member.clone(), request, ticket, at, out);
            } else {
                self.rejoin(request, ticket, at, out);
            }
            return;
        }
        let named_for = request.instance.as_deref().unwrap_or(&request.client_id);
        let id = MemberId::from(format!("{named_for}-{fresh}"));
        match &request.instance {
            Some(instance) => match self.roster.by_instance(instance).cloned() {
                Some(old) => self.replace(&old, id, request, ticket, at, out),
                None => self.add(id, request, ticket, at, out),
            },
            None if request.member_id_required => {
                self.roster.add_pending(id.clone(), at.now.plus(millis(request.session_timeout_ms)));
                refuse(id, ErrorCode::MemberIdRequired, ticket, out);
            }
            None => self.add(id, request, ticket, at, out),
        }
    }

    /// Somebody becomes a member (`GroupMetadataManager.addMemberThenRebalanceOrCompleteJoin`).
    ///
    /// It does not know its id before it is answered and so cannot say that it lives: its join may wait for as long as
    /// `new_member_join_timeout_ms`, whatever its session timeout is.
    fn add(&mut self, id: MemberId, request: JoinRequest, ticket: Ticket, at: Moment, out: &mut Effects<Answer>) {
        if let Some(phase) = &mut self.join_phase {
            phase.somebody_came();
        }
        if self.roster.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        let member = Member {
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            is_new: true,
            ..Member::default()
        };
        self.roster.add(id.clone(), member);
        self.roster.begin_join(&id, ticket);
        self.roster.keep_alive_for(&id, at.now, self.config.new_member_join_timeout_ms);
        self.prepare_or_complete(at, out);
    }

    /// A member joins again (`GroupMetadataManager.classicGroupJoinExistingMember`).
    ///
    /// Where nothing has changed, it may only have lost the answer, and is told of the generation that there is. A leader of a
    /// stable group wants another assignment though, for reasons that it need not give.
    fn rejoin(&mut self, request: JoinRequest, ticket: Ticket, at: Moment, out: &mut Effects<Answer>) {
        let id = request.member.clone();
        if let Err(error) = self.roster.check(&id, request.instance.as_ref()) {
            refuse(id, error, ticket, out);
            return;
        }
        let unchanged = self.roster.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let changes = match self.state {
            State::PreparingRebalance => true,
            State::CompletingRebalance => !unchanged,
            State::Stable => !unchanged || self.is_leader(&id),
            State::Empty | State::Dead => unreachable!("a group that is {} has no member {id}", self.state),
        };
        if changes {
            self.update_from(&id, request);
            self.wait_for_join(&id, ticket, out);
            self.prepare_or_complete(at, out);
        } else {
            out.answers.push((ticket, Answer::Join(self.join_answer(&id))));
        }
    }

    /// A static member has started again, and takes its place under another member id
    /// (`ClassicGroup.replaceStaticMember`, `GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin`, KIP-345).
    ///
    /// Whoever still waits under the old id is fenced. A stable group need not rebalance, as long as it would still choose the
    /// same protocol; it records who the member is now. While an assignment is being made, the leader knows the old id only,
    /// so that it has to be made again.
    fn replace(
        &mut self,
        old: &MemberId,
        id: MemberId,
        request: JoinRequest,
        ticket: Ticket,
        at: Moment,
        out: &mut Effects<Answer>,
    ) {
        let old_leader = self.leader.clone().unwrap_or_default();
        let may_skip_assignment = request.may_skip_assignment;
        self.fence(old, out);
        self.roster.rename(old, id.clone());
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(id.clone());
        }
        self.update_from(&id, request);
        self.roster.keep_alive(&id, at.now);
        match self.state {
            State::Stable if self.roster.favourite_protocol() == self.protocol.as_deref() => {
                self.subscribed = self.subscribed_topics();
                out.records.push(self.record());
                let answer = if may_skip_assignment {
                    JoinAnswer { skip_assignment: self.is_leader(&id), ..self.join_answer(&id) }
                } else {
                    // A client that cannot be told to skip the assignment is not told that it leads.
                    JoinAnswer { leader: old_leader, members: Vec::new(), ..self.join_answer(&id) }
                };
                out.answers.push((ticket, Answer::Join(answer)));
            }
            State::Stable | State::CompletingRebalance | State::PreparingRebalance => {
                self.wait_for_join(&id, ticket, out);
                self.prepare_or_complete(at, out);
            }
            State::Empty | State::Dead => unreachable!("a group that is {} has no member {old}", self.state),
        }
    }

    /// Answers what waits under a member id that another takes over.
    fn fence(&mut self, old: &MemberId, out: &mut Effects<Answer>) {
        self.answer_waiting(old, old, ErrorCode::FencedInstanceId, out);
    }

    /// What a member says of itself when it joins again.
    fn update_from(&mut self, id: &MemberId, request: JoinRequest) {
        self.roster.update(id, request.protocols, request.session_timeout_ms, request.rebalance_timeout_ms);
    }

    /// Keeps a member's JoinGroup until the next generation begins. An assignment that it waits for never comes.
    fn wait_for_join(&mut self, id: &MemberId, ticket: Ticket, out: &mut Effects<Answer>) {
        if let Some(earlier) = self.roster.begin_join(id, ticket) {
            refuse(id.clone(), ErrorCode::RebalanceInProgress, earlier, out);
        }
        if let Some(earlier) = self.roster.end_sync(id) {
            out.answers.push((earlier, Answer::Sync(SyncAnswer::refused(ErrorCode::RebalanceInProgress))));
        }
    }

    /// What a member is told of the generation that there is; the leader of everybody.
    pub(super) fn join_answer(&self, id: &MemberId) -> JoinAnswer {
        let member = |(id, member): (&MemberId, &Member)| JoinMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: self.metadata(member),
        };
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: id.clone(),
            members: if self.is_leader(id) { self.roster.iter().map(member).collect() } else { Vec::new() },
        }
    }
}

fn refuse(member: MemberId, error: ErrorCode, ticket: Ticket, out: &mut Effects<Answer>) {
    out.answers.push((ticket, Answer::Join(JoinAnswer::refused(member, error))));
}

/// Protocols with each name once: the first counts, as for whoever looks one up.
pub(crate) fn distinct(protocols: Vec<(String, Bytes)>) -> Vec<(String, Bytes)> {
    let mut distinct: Vec<(String, Bytes)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (name, metadata) in protocols {
        if seen.insert(name.clone()) {
            distinct.push((name, metadata));
        }
    }
    distinct
}
