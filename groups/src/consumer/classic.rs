//! Pure. Members that speak the classic protocol in a group for which the coordinator assigns (KIP-848): JoinGroup takes a
//! member's next step, SyncGroup tells it what it has, and Heartbeat whether it is to join again.
//!
//! Its generation is its member epoch. It gives partitions back by joining again without them.

use super::draft::Draft;
use super::heartbeat::{Changed, Heard, Stepped, take_over, update_member};
use super::topics::Topics;
use super::{ConsumerGroup, Surroundings, millis};
use crate::classic::{
    CONSUMER, JoinAnswer, JoinRequest, Left, MemberIdentity, SyncAnswer, SyncRequest, rebalance_timeout_ms,
};
use crate::embedded::{self, Subscription};
use crate::ids::{Generation, InstanceId, MemberEpoch, MemberId};
use crate::record::{ClassicMember, MemberState, MemberValue, Record};
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;
use std::collections::BTreeSet;

/// What a JoinGroup comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassicJoin {
    /// What the member is told once the records are committed.
    pub answer: JoinAnswer,
    /// To append as one batch, and to apply.
    pub records: Vec<Record>,
    /// To pass on once they are applied; nothing where the member is to come back with the id that it is given.
    pub heard: Option<Heard>,
    /// Whether it asks for topics otherwise than the member did whose place it has.
    pub subscription_changed: bool,
}

/// What is known of a member with this JoinGroup.
///
/// Kafka leaves it the regular expression of the member whose place it takes, though it cannot have asked for that.
fn updated(before: Option<&MemberValue>, request: &JoinRequest, said: Subscription) -> MemberValue {
    MemberValue {
        instance: request.instance.clone().or_else(|| before?.instance.clone()),
        rack: said.rack.or_else(|| before?.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: said.topics.into_iter().collect(),
        regex: None,
        rebalance_timeout_ms: rebalance_timeout_ms(request.rebalance_timeout_ms, request.session_timeout_ms),
        assignor: before.and_then(|before| before.assignor.clone()),
        classic: Some(ClassicMember {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
        }),
    }
}

/// Finds the static member, or makes room for it, or lets it take the place of the one that it was before it started again,
/// whichever protocol that spoke (`getOrMaybeSubscribeStaticConsumerGroupMember`).
fn admit_static(
    draft: &mut Draft<'_>,
    member: &MemberId,
    instance: &InstanceId,
    is_new: bool,
) -> Result<(), ErrorCode> {
    match draft.static_member(instance).cloned() {
        None if is_new => Ok(()),
        None => Err(ErrorCode::UnknownMemberId),
        Some(owner) if is_new => {
            take_over(draft, &owner, member);
            Ok(())
        }
        Some(owner) if owner != *member => Err(ErrorCode::FencedInstanceId),
        Some(_) => Ok(()),
    }
}

impl ConsumerGroup {
    /// Decides on a JoinGroup, which is answered at once: nobody is waited for. `request` names each protocol once
    /// (`GroupMetadataManager.classicGroupJoinToConsumerGroup`).
    ///
    /// # Errors
    /// What the member is told.
    pub(crate) fn classic_join(
        &self,
        request: &JoinRequest,
        around: &Surroundings<'_>,
    ) -> Result<ClassicJoin, ErrorCode> {
        let is_new = request.member.is_empty();
        let member = if is_new { around.random.to_string().into() } else { request.member.clone() };
        let members = self.state().members();
        if members.len() >= around.config.size_max && !members.contains_key(&member) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if is_new && request.instance.is_none() && request.member_id_required {
            let answer = JoinAnswer::refused(member, ErrorCode::MemberIdRequired);
            return Ok(ClassicJoin { answer, records: Vec::new(), heard: None, subscription_changed: false });
        }
        let (protocol, said) = request.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let mut draft = Draft::of(self.state());
        if let Some(instance) = &request.instance {
            admit_static(&mut draft, &member, instance, is_new)?;
        }
        // All protocols say the same. What cannot be read is an IllegalStateException in Kafka.
        let said = embedded::subscription(said, around.topics).map_err(|_| ErrorCode::UnknownServerError)?;
        let owned = said.owned.clone();
        // Nobody who holds partitions is new: it was thrown out, and does not know. Kafka takes it for new, and it would read on
        // beside those whom they were given to until it has given them up.
        if !is_new && !members.contains_key(&member) && owned.values().any(|partitions| !partitions.is_empty()) {
            return Err(ErrorCode::UnknownMemberId);
        }
        let after = updated(draft.members().get(&member), request, said);
        let subscription_changed = update_member(&mut draft, &member, after);
        draft.forget_regexes();
        let changed = Changed { subscription: subscription_changed, topics: false };
        let stepped = self.step_on(draft, &member, changed, Some(&owned), around).map_err(|error| error.code())?;
        let Stepped { records, current, refreshed, .. } = stepped;
        let answer = JoinAnswer {
            error: ErrorCode::None,
            generation: Generation(current.member_epoch.0),
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: Some(protocol.clone()),
            leader: MemberId::default(),
            skip_assignment: false,
            member: member.clone(),
            members: Vec::new(),
        };
        let heard = Some(Heard { member, refreshed, joined: true });
        Ok(ClassicJoin { answer, records, heard, subscription_changed })
    }

    /// Whether one that speaks these protocols could go on with the members that speak the classic protocol, if there were no
    /// others (`ConsumerGroup.supportsClassicProtocols`).
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        let members = self.state().members().values();
        let spoken: Vec<&ClassicMember> = members.filter_map(|member| member.classic.as_ref()).collect();
        let speaks = |member: &&ClassicMember, name: &String| member.protocols.iter().any(|(known, _)| known == name);
        protocol_type == CONSUMER && protocols.iter().any(|(name, _)| spoken.iter().all(|member| speaks(member, name)))
    }

    /// Whether somebody is a member that speaks the classic protocol, and in this generation (`validateConsumerGroupMember`,
    /// `throwIfMemberDoesNotUseClassicProtocol`, `throwIfGenerationIdUnmatched`).
    fn check_classic(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(&MemberValue, &ClassicMember), ErrorCode> {
        self.check_identity(member, instance)?;
        let value = self.state().members().get(member).ok_or(ErrorCode::UnknownMemberId)?;
        let classic = value.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if self.state().member_epoch(member) != MemberEpoch(generation.0) {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok((value, classic))
    }

    fn check_identity(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), ErrorCode> {
        match instance.map(|instance| self.state().static_member(instance)) {
            Some(None) => Err(ErrorCode::UnknownMemberId),
            Some(Some(owner)) if owner != member => Err(ErrorCode::FencedInstanceId),
            Some(Some(_)) => Ok(()),
            None if self.state().members().contains_key(member) => Ok(()),
            None => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// Answers a SyncGroup: what the member has, in the version in which it speaks
    /// (`GroupMetadataManager.classicGroupSyncToConsumerGroup`).
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS` where it is to join again first; whatever is wrong with who it says it is.
    pub(crate) fn classic_sync(
        &mut self,
        request: &SyncRequest,
        topics: &dyn Topics,
        now: MonotonicMillis,
    ) -> Result<SyncAnswer, ErrorCode> {
        let member = &request.member;
        let (value, classic) = self.check_classic(member, request.instance.as_ref(), request.generation)?;
        let (protocol, said) = classic.protocols.first().ok_or(ErrorCode::UnknownServerError)?;
        let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let current = self.state().current(member);
        let is_behind = self.state().group_epoch().0 > current.member_epoch.0;
        // One that is to give partitions back has joined, and joins again by itself once it has.
        if is_behind && current.state != MemberState::UnrevokedPartitions {
            let rebalance = millis(value.rebalance_timeout_ms);
            self.timers.begin_join(member, now, rebalance);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let version = embedded::version(said).map_err(|_| ErrorCode::UnknownServerError)?;
        let assignment = embedded::assign(&current.assigned, version, topics);
        let session = millis(classic.session_timeout_ms);
        self.timers.stop_sync(member);
        self.timers.start(member, now, session, None);
        let (protocol_type, protocol) = (request.protocol_type.clone(), request.protocol.clone());
        Ok(SyncAnswer { error: ErrorCode::None, protocol_type, protocol, assignment })
    }

    /// A member says that it lives: its session lasts its whole timeout again
    /// (`GroupMetadataManager.classicGroupHeartbeatToConsumerGroup`).
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS` where it is to join again, though it was heard: because the group has gone on, because it is to
    /// give partitions back, or because the others gave back all that it waits for. Whatever is wrong with who it says it is.
    pub(crate) fn classic_heartbeat(
        &mut self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
        now: MonotonicMillis,
    ) -> Result<(), ErrorCode> {
        let (value, classic) = self.check_classic(member, instance, generation)?;
        let (session, rebalance) = (millis(classic.session_timeout_ms), millis(value.rebalance_timeout_ms));
        let joins_again = self.joins_again(member);
        self.timers.start(member, now, session, None);
        if joins_again {
            self.timers.begin_join(member, now, rebalance);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn joins_again(&self, member: &MemberId) -> bool {
        let state = self.state();
        let current = state.current(member);
        current.member_epoch.0 < state.group_epoch().0
            || match current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            }
    }

    /// Whether something that the member is to have is held by others (`ConsumerGroup.waitingOnUnreleasedPartition`).
    fn waits_for_others(&self, member: &MemberId) -> bool {
        let state = self.state();
        let current = state.current(member);
        let target = state.targets().get(member).into_iter().flatten();
        let mut partitions = target.flat_map(|(topic, set)| set.iter().map(move |partition| (topic, partition)));
        partitions.any(|(topic, partition)| {
            let has = current.assigned.get(topic).is_some_and(|set| set.contains(partition));
            !has && state.owner(*topic, *partition).is_some()
        })
    }

    /// Who of those that a LeaveGroup names are members, and what is said of each; an administrator may send away members of
    /// either protocol (`GroupMetadataManager.classicGroupLeaveToConsumerGroup`).
    pub(crate) fn classic_leave(&self, leaving: Vec<MemberIdentity>) -> (Vec<Left>, BTreeSet<MemberId>) {
        let (mut left, mut going) = (Vec::with_capacity(leaving.len()), BTreeSet::new());
        for identity in leaving {
            let error = match self.leaver(&identity) {
                Ok(member) => {
                    going.insert(member);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            left.push(Left { identity, error });
        }
        (left, going)
    }

    fn leaver(&self, identity: &MemberIdentity) -> Result<MemberId, ErrorCode> {
        let MemberIdentity { member, instance } = identity;
        match instance {
            Some(instance) if member.is_empty() => {
                self.state().static_member(instance).cloned().ok_or(ErrorCode::UnknownMemberId)
            }
            _ => self.check_identity(member, instance.as_ref()).map(|()| member.clone()),
        }
    }
}
