//! Pure. What a heartbeat changes: `GroupMetadataManager.consumerGroupHeartbeat`.
//!
//! Three steps. The member is added or brought up to date, and the group's epoch rises if its assignment may have to change for
//! it. If the epoch rose, what each member is to have is computed. Then this member, and only this, takes its next step.

use super::draft::Draft;
use super::reconcile::{Reconciliation, is_subset};
use super::request::{HeartbeatError, HeartbeatRequest};
use super::state::State;
use super::{ConsumerGroup, Surroundings, regexes, topics};
use crate::ids::{InstanceId, MemberEpoch, MemberId, TopicName};
use crate::record::{CurrentAssignmentValue, MemberState, MemberValue, Record, TopicPartitions};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub member_epoch: MemberEpoch,
    /// When it is to speak again; zero when it left.
    pub heartbeat_interval: Duration,
    /// What it may read, where that changed or where it may not know.
    pub assignment: Option<TopicPartitions>,
}

/// Who was heard, for [`ConsumerGroup::on_heard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The member.
    pub member: MemberId,
    /// Whether what is known of the topics was looked at.
    pub refreshed: bool,
    /// Whether it joined by the classic protocol, and is to ask for its assignment next.
    pub joined: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Heartbeat {
    /// What the member is told once the records are committed.
    pub answer: Answer,
    /// To append as one batch, and to apply.
    pub records: Vec<Record>,
    /// To pass on once they are applied; nothing when the member left.
    pub heard: Option<Heard>,
}

/// Whether the member may speak with this epoch (`throwIfConsumerGroupMemberEpochIsInvalid`).
///
/// A member that joins again may: it has given up all that it had. One that speaks with its epoch before may, if it owns nothing
/// that it does not have now: then it is an answer that was lost.
fn check_epoch(state: &State, member: &MemberId, request: &HeartbeatRequest) -> Result<(), HeartbeatError> {
    let current = state.current(member);
    let (got, expected) = (request.member_epoch, current.member_epoch);
    let missed_an_answer = || {
        got < expected
            && got == current.previous_member_epoch
            && request.owned.as_ref().is_some_and(|owned| is_subset(owned, &current.assigned))
    };
    if got == MemberEpoch::JOIN || got == expected || missed_an_answer() {
        return Ok(());
    }
    Err(HeartbeatError::FencedMemberEpoch { member: member.clone(), got, expected })
}

/// Finds the member, or makes room for it (`getOrMaybeSubscribeDynamicConsumerGroupMember`).
fn admit(draft: &Draft<'_>, member: &MemberId, request: &HeartbeatRequest) -> Result<(), HeartbeatError> {
    if !draft.members().contains_key(member) {
        return if request.member_epoch == MemberEpoch::JOIN {
            Ok(())
        } else {
            Err(HeartbeatError::UnknownMember { member: member.clone(), group: draft.id().clone() })
        };
    }
    check_epoch(draft, member, request)
}

/// Finds the static member, or makes room for it, or lets it take the place of the member that it was before it restarted
/// (`getOrMaybeSubscribeStaticConsumerGroupMember`, KIP-345).
///
/// A member that joins again under its own id was fenced and gave up all that it had: it goes on as a member without an
/// instance id would, where Kafka says `UNRELEASED_INSTANCE_ID` because of itself.
fn admit_static(
    draft: &mut Draft<'_>,
    member: &MemberId,
    instance: &InstanceId,
    request: &HeartbeatRequest,
) -> Result<(), HeartbeatError> {
    let joins = request.member_epoch == MemberEpoch::JOIN;
    let Some(owner) = draft.static_member(instance).cloned() else {
        return if joins { Ok(()) } else { Err(HeartbeatError::UnknownInstance { instance: instance.clone() }) };
    };
    let has_left = draft.member_epoch(&owner) == MemberEpoch::LEAVE_STATIC;
    let is_classic = draft.members()[&owner].classic.is_some();
    if joins && (has_left || is_classic) {
        take_over(draft, &owner, member);
        return Ok(());
    }
    if owner == *member {
        return check_epoch(draft, member, request);
    }
    let (member, instance) = (member.clone(), instance.clone());
    Err(if joins {
        HeartbeatError::UnreleasedInstanceId { member, instance, owner }
    } else {
        HeartbeatError::FencedInstanceId { member, instance, owner }
    })
}

/// Puts a member in the place of another: it has and is to have what the other had and was to have (`replaceMember`).
pub(super) fn take_over(draft: &mut Draft<'_>, before: &MemberId, after: &MemberId) {
    let value = draft.members().get(before).cloned();
    let target = draft.targets().get(before).cloned().unwrap_or_default();
    let current = CurrentAssignmentValue {
        member_epoch: MemberEpoch::JOIN,
        previous_member_epoch: MemberEpoch::JOIN,
        ..draft.current(before)
    };
    draft.remove_member(before);
    draft.add(Record::Member { group: draft.id().clone(), member: after.clone(), value });
    draft.set_target(after, Some(target));
    draft.set_current(after, Some(current));
}

/// What is known of a member with this heartbeat (`ConsumerGroupMember.Builder.maybeUpdate...`). Whoever sends one speaks the
/// consumer protocol.
fn updated(before: Option<&MemberValue>, request: &HeartbeatRequest) -> MemberValue {
    let names = request.topics.as_ref().map(|topics| {
        let names: BTreeSet<TopicName> = topics.iter().cloned().collect();
        names.into_iter().collect()
    });
    let regex = match &request.regex {
        Some(regex) => Some(regex.clone()).filter(|regex| !regex.is_empty()),
        None => before.and_then(|before| before.regex.clone()),
    };
    MemberValue {
        instance: request.instance.clone().or_else(|| before?.instance.clone()),
        rack: request.rack.clone().or_else(|| before?.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: names.or_else(|| Some(before?.topics.clone())).unwrap_or_default(),
        regex,
        rebalance_timeout_ms: request.rebalance_timeout_ms.or_else(|| Some(before?.rebalance_timeout_ms)).unwrap_or(-1),
        assignor: request.assignor.clone().or_else(|| before?.assignor.clone()),
        classic: None,
    }
}

/// Adds the member or brings it up to date; whether it asks for topics otherwise than before (`hasMemberSubscriptionChanged`).
pub(super) fn update_member(draft: &mut Draft<'_>, member: &MemberId, after: MemberValue) -> bool {
    let before = draft.members().get(member).cloned();
    if before.as_ref() == Some(&after) {
        return false;
    }
    let changed = before.map_or((Vec::new(), None), |before| (before.topics, before.regex))
        != (after.topics.clone(), after.regex.clone());
    draft.add(Record::Member { group: draft.id().clone(), member: member.clone(), value: Some(after) });
    changed
}

/// What a member's request changed of what an assignment depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    /// Whether the member asks for topics otherwise than before.
    pub subscription: bool,
    /// Whether regular expressions stand for other topics than before.
    pub topics: bool,
}

/// How a member went on.
pub(super) struct Stepped {
    /// To append as one batch, and to apply.
    pub records: Vec<Record>,
    /// What it has then.
    pub current: CurrentAssignmentValue,
    /// Whether it may read other partitions than before.
    pub has_moved: bool,
    /// Whether what is known of the topics was looked at.
    pub refreshed: bool,
}

/// The member's next step.
fn step(
    draft: &Draft<'_>,
    member: &MemberId,
    owned: Option<&TopicPartitions>,
    around: &Surroundings<'_>,
    subscription_changed: bool,
) -> Result<CurrentAssignmentValue, HeartbeatError> {
    if !subscription_changed && draft.is_reconciled(member) {
        return Ok(draft.current(member));
    }
    let value = &draft.members()[member];
    let resolved = value.regex.as_ref().and_then(|regex| draft.regexes().get(regex));
    let names = value.topics.iter().chain(resolved.into_iter().flat_map(|resolved| &resolved.topics));
    let nothing = TopicPartitions::new();
    let reconciliation = Reconciliation {
        state: draft,
        member,
        current: draft.current(member),
        target_epoch: draft.target_epoch(),
        target: draft.targets().get(member).unwrap_or(&nothing),
        asked: &draft.asked(value, &topics::known(around.topics, names)),
        subscription_changed,
        owned,
    };
    let next = reconciliation.next()?;
    match next.state {
        MemberState::Stable => runtime::reachable!("a member of a consumer group has all that it is to have"),
        MemberState::UnrevokedPartitions => runtime::reachable!("a member of a consumer group is to give back"),
        MemberState::UnreleasedPartitions => runtime::reachable!("a member of a consumer group waits for the others"),
        MemberState::Unknown => {}
    }
    Ok(next)
}

impl ConsumerGroup {
    /// Decides on a heartbeat: of a member that joins, goes on, or leaves.
    ///
    /// # Errors
    /// When the request makes no sense, or when the member is not, or no longer, who it says that it is.
    pub fn heartbeat(
        &self,
        request: &HeartbeatRequest,
        around: &Surroundings<'_>,
    ) -> Result<Heartbeat, HeartbeatError> {
        let state = self.state();
        request.validate(state.id(), around.config)?;
        let joins = request.member_epoch == MemberEpoch::JOIN;
        if !joins && state.is_absent() {
            return Err(HeartbeatError::GroupNotFound { group: state.id().clone() });
        }
        if request.member_epoch < MemberEpoch::JOIN {
            return self.leave(request, around.topics);
        }
        let size_max = around.config.size_max;
        if state.members().len() >= size_max && !state.members().contains_key(&request.member) {
            return Err(HeartbeatError::GroupMaxSizeReached { size_max });
        }
        let member = if request.member.is_empty() { around.random.to_string().into() } else { request.member.clone() };
        self.advance(member, request, around)
    }

    fn advance(
        &self,
        member: MemberId,
        request: &HeartbeatRequest,
        around: &Surroundings<'_>,
    ) -> Result<Heartbeat, HeartbeatError> {
        let mut draft = Draft::of(self.state());
        match &request.instance {
            Some(instance) => admit_static(&mut draft, &member, instance, request)?,
            None => admit(&draft, &member, request)?,
        }

        let after = updated(draft.members().get(&member), request);
        let subscription_changed = update_member(&mut draft, &member, after);
        let topics_changed = regexes::update(&mut draft, around)?;
        let changed = Changed { subscription: subscription_changed, topics: topics_changed };
        let Stepped { records, current, has_moved, refreshed } =
            self.step_on(draft, &member, changed, request.owned.as_ref(), around)?;
        let told = request.is_full() || has_moved;
        let answer = Answer {
            member: member.clone(),
            member_epoch: current.member_epoch,
            heartbeat_interval: around.config.heartbeat_interval,
            assignment: told.then_some(current.assigned),
        };
        Ok(Heartbeat { answer, records, heard: Some(Heard { member, refreshed, joined: false }) })
    }

    /// The second and the third step, of a member that was added or brought up to date.
    pub(super) fn step_on(
        &self,
        mut draft: Draft<'_>,
        member: &MemberId,
        changed: Changed,
        owned: Option<&TopicPartitions>,
        around: &Surroundings<'_>,
    ) -> Result<Stepped, HeartbeatError> {
        // A group that is new rises from zero even if its member asks for nothing.
        let is_new = draft.group_epoch().0 == 0;
        let due = is_new || changed.subscription || changed.topics;
        let refreshed = due || self.refresh;
        if refreshed {
            draft.raise_epoch(due, around.topics);
        }

        draft.assign(around);

        let before = draft.current(member);
        let current = step(&draft, member, owned, around, changed.subscription)?;
        let has_moved = current.assigned != before.assigned;
        let records =
            if current == before { draft.into_records() } else { draft.into_records_with(member, current.clone()) };
        Ok(Stepped { records, current, has_moved, refreshed })
    }
}
