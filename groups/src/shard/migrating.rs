//! Pure. Groups that go over from one protocol to the other while they have members, and what members that speak the classic
//! protocol ask of consumer groups (KIP-848).

use super::{Answer, Clock, Group, GroupShard, JoinRequest, Left, MemberIdentity, SyncRequest};
use crate::{
    classic::{ClassicGroup, JoinAnswer, Legacy, SyncAnswer, distinct},
    consumer::{ClassicJoin, ConsumerGroup, HeartbeatError, Surroundings, Topics, upgraded},
    effects::{Effects, Ticket},
    ids::{GroupId, MemberId},
    migration::Migrant,
    record::Record,
};
use protocol::error_code::ErrorCode;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The consumer group that takes the place of a classic group, and the records that make it.
pub(super) struct Upgrade {
    pub group: ConsumerGroup,
    pub records: Vec<Record>,
}

impl GroupShard {
    /// The consumer group that a classic group with members becomes, as far as its members are concerned
    /// (`GroupMetadataManager.validateOnlineUpgrade`, `convertToConsumerGroup`).
    ///
    /// # Errors
    /// Why it stays a classic group.
    pub(super) fn upgrade(
        &self,
        id: &GroupId,
        classic: &ClassicGroup,
        topics: &dyn Topics,
    ) -> Result<Upgrade, HeartbeatError> {
        let refused = |reason| HeartbeatError::NotUpgraded { group: id.clone(), reason };
        if !self.config.migration.may_upgrade() {
            return Err(refused("online upgrade is disabled"));
        }
        if !classic.is_of_consumers() {
            return Err(refused("the group does not use the consumer embedded protocol"));
        }
        if classic.size() > self.config.consumer.size_max {
            return Err(refused("the group size exceeds the consumer group maximum size"));
        }
        let migrants = classic.migrants().ok_or_else(|| refused("its members do not speak one protocol"))?;
        let records = upgraded(id, classic.generation(), &migrants, topics).map_err(refused)?;
        let mut group = ConsumerGroup::new(id.clone());
        records.iter().for_each(|record| group.apply(record));
        runtime::reachable!("a classic group with members becomes a consumer group");
        Ok(Upgrade { group, records })
    }

    /// JoinGroup to a consumer group that has members.
    pub(super) fn join_consumer_group(
        &mut self,
        id: &GroupId,
        mut request: JoinRequest,
        ticket: Ticket,
        fresh: Uuid,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Effects<Answer> {
        let refused = |member, error| Effects::answer(ticket, Answer::Join(JoinAnswer::refused(member, error)));
        let allowed = self.config.classic.min_session_timeout_ms..=self.config.classic.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return refused(request.member, ErrorCode::InvalidSessionTimeout);
        }
        request.protocols = distinct(request.protocols);
        let there = self.groups.get(id).and_then(Group::consumer).expect("whoever asks has seen it");
        let around = Surroundings { topics, config: &self.config.consumer, wall: clock.wall, random: fresh };
        let joined = match there.classic_join(&request, &around) {
            Ok(joined) => joined,
            Err(error) => return refused(request.member, error),
        };
        if let Some(effects) = self.downgrade_by_joining(id, &request, &joined, ticket, topics, clock) {
            return effects;
        }
        self.heard = joined.heard.map(|heard| (id.clone(), heard));
        Effects { records: joined.records, answers: vec![(ticket, Answer::Join(joined.answer))] }
    }

    /// SyncGroup to a consumer group.
    pub(super) fn sync_consumer_group(
        &mut self,
        id: &GroupId,
        request: &SyncRequest,
        ticket: Ticket,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Effects<Answer> {
        let there = match self.groups.get_mut(id) {
            Some(Group::Consumer(there)) => there,
            Some(Group::Classic(_)) | None => unreachable!("whoever asks has seen it"),
        };
        let answer = there.classic_sync(request, topics, clock.now).unwrap_or_else(SyncAnswer::refused);
        self.note_due(id);
        Effects::answer(ticket, Answer::Sync(answer))
    }

    /// LeaveGroup to a consumer group.
    pub(super) fn leave_consumer_group(
        &mut self,
        id: &GroupId,
        leaving: Vec<MemberIdentity>,
        topics: &dyn Topics,
        clock: Clock,
    ) -> (Vec<Left>, Effects<Answer>) {
        let there = self.groups.get(id).and_then(Group::consumer).expect("whoever asks has seen it");
        let (left, going) = there.classic_leave(leaving);
        if going.is_empty() {
            return (left, Effects::default());
        }
        let removed = there.remove(&going, topics);
        (left, self.fence(id, &going, removed, topics, clock))
    }

    /// Members of a consumer group go for good, by these records; or else, where only such are left that speak the classic
    /// protocol, the group becomes a classic group without them (`GroupMetadataManager.consumerGroupFenceMembers`).
    pub(super) fn fence(
        &mut self,
        id: &GroupId,
        going: &BTreeSet<MemberId>,
        removed: Vec<Record>,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Effects<Answer> {
        let removed = Effects { records: removed, answers: Vec::new() };
        let Some(there) = self.groups.get(id).and_then(Group::consumer) else { return removed };
        let staying = there.state().members().len().saturating_sub(going.len());
        if going.is_empty() || !there.is_classic_without(going) || !self.may_downgrade(staying) {
            return removed;
        }
        let Some(members) = there.migrants(going, topics) else { return removed };
        let Some((mut heir, mut effects)) = self.heir(id, members, clock) else { return removed };
        effects.extend(heir.rebalance_as_heir(None, clock.now, clock.wall));
        self.succeed(id, heir);
        effects
    }

    /// Whether a consumer group may become a classic group of so many members.
    fn may_downgrade(&self, members: usize) -> bool {
        self.config.migration.may_downgrade() && members <= self.config.classic.max_size
    }

    /// By joining, a static member that speaks the classic protocol takes the place of the last that did not, and the group
    /// becomes a classic group (`GroupMetadataManager.validateOnlineDowngradeWithReplacedMember`).
    ///
    /// It has at once what the other was to have, unless it asks for other topics. Where others have not all that they are to
    /// have, or hold more, it waits for a rebalance too: Kafka does not, and so may have a partition read twice.
    fn downgrade_by_joining(
        &mut self,
        id: &GroupId,
        request: &JoinRequest,
        joined: &ClassicJoin,
        ticket: Ticket,
        topics: &dyn Topics,
        clock: Clock,
    ) -> Option<Effects<Answer>> {
        let joining = &joined.heard.as_ref()?.member;
        let there = self.groups.get(id).and_then(Group::consumer)?;
        let replaced = there.state().static_member(request.instance.as_ref()?)?.clone();
        let others = BTreeSet::from([replaced.clone()]);
        let (of_it, all) = (&there.state().members()[&replaced], there.state().members().len());
        let is_last = of_it.classic.is_none() && (all == 1 || there.is_classic_without(&others));
        if !is_last || !self.may_downgrade(all) {
            return None;
        }
        let goes_on = !joined.subscription_changed && there.is_settled_without(&others);
        let mut members = there.migrants(&others, topics)?;
        members.push(Migrant {
            member: joining.clone(),
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: crate::classic::rebalance_timeout_ms(
                request.rebalance_timeout_ms,
                request.session_timeout_ms,
            ),
            session_timeout_ms: request.session_timeout_ms,
            assignment: there.target_for(&replaced, &request.protocols.first()?.1, topics)?,
            protocols: request.protocols.clone(),
        });
        let (mut heir, mut effects) = self.heir(id, members, clock)?;
        effects.extend(if goes_on {
            heir.welcome_as_heir(joining, ticket)
        } else {
            heir.rebalance_as_heir(Some((joining, ticket)), clock.now, clock.wall)
        });
        self.succeed(id, heir);
        Some(effects)
    }

    /// The classic group that a consumer group becomes, and the records that leave nothing of that; nothing where there is no
    /// protocol that all members speak (`GroupMetadataManager.convertToClassicGroup`).
    fn heir(&self, id: &GroupId, members: Vec<Migrant>, clock: Clock) -> Option<(ClassicGroup, Effects<Answer>)> {
        let there = self.groups.get(id).and_then(Group::consumer)?;
        let speaks = |member: &Migrant, name: &str| member.protocols.iter().any(|(known, _)| known == name);
        let protocols = &members.first()?.protocols;
        if !protocols.iter().any(|(name, _)| members.iter().all(|member| speaks(member, name))) {
            return None;
        }
        let legacy = Legacy { group: id.clone(), generation: there.generation(), members };
        let heir = ClassicGroup::inherited(legacy, self.config.classic, clock.now, clock.wall);
        Some((heir, Effects { records: there.delete(), answers: Vec::new() }))
    }

    /// From now on the group is this classic group: what is decided of one is so at once.
    fn succeed(&mut self, id: &GroupId, heir: ClassicGroup) {
        runtime::reachable!("a consumer group with members becomes a classic group");
        self.groups.insert(id.clone(), Group::Classic(heir));
        self.note_due(id);
    }
}
