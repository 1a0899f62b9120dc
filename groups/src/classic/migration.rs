//! Pure. A group that becomes a consumer group, or was one, while it has members (KIP-848).

use super::messages::{Answer, JoinAnswer};
use super::roster::{Member, Roster};
use super::{CONSUMER, ClassicGroup, Config, Moment, State};
use crate::effects::{Effects, Ticket};
use crate::ids::{Generation, GroupId, MemberId};
use crate::migration::Migrant;
use crate::record::{ClassicGroupValue, Record};
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};

/// What a consumer group leaves to the classic group that it becomes.
pub(crate) struct Legacy {
    /// Which group it is.
    pub group: GroupId,
    /// Its epoch.
    pub generation: Generation,
    /// Its members; there is one at least, and one protocol that all speak.
    pub members: Vec<Migrant>,
}

impl ClassicGroup {
    /// Ends the group here, because a consumer group takes its place: whoever waits is told to join again, and finds the
    /// consumer group then (`GroupMetadataManager.convertToConsumerGroup`).
    pub(crate) fn give_up(&mut self, wall: WallMillis) -> Effects<Answer> {
        let mut out = self.end(ErrorCode::RebalanceInProgress, wall);
        out.records.push(Record::ClassicGroup { group: self.group.clone(), value: None });
        out
    }

    /// What the members are to a consumer group: nothing where there is no protocol that they all speak. What they say for it
    /// comes first, as it is what a consumer group reads.
    pub(crate) fn migrants(&self) -> Option<Vec<Migrant>> {
        let speak = |protocol: &&str| self.roster.iter().all(|(_, member)| member.metadata(protocol).is_some());
        // A group that has never had a generation has chosen none.
        let protocol = self.protocol.as_deref().filter(speak).or_else(|| self.roster.common_protocol())?;
        let migrant = |(id, member): (&MemberId, &Member)| {
            let mut protocols = member.protocols.clone();
            protocols.sort_by_key(|(name, _)| name != protocol);
            Migrant {
                member: id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols,
                assignment: member.assignment.clone(),
            }
        };
        Some(self.roster.iter().map(migrant).collect())
    }

    /// A stable group that was a consumer group until now; everybody's session begins anew (`ClassicGroup.fromConsumerGroup`).
    pub(crate) fn inherited(legacy: Legacy, config: Config, now: MonotonicMillis, wall: WallMillis) -> Self {
        let mut heir = Self::new(legacy.group, config, wall);
        heir.state = State::Stable;
        heir.generation = legacy.generation;
        heir.protocol_type = Some(CONSUMER.to_owned());
        for migrant in legacy.members {
            heir.roster.inherit(migrant, now);
        }
        heir.leader = heir.roster.first().cloned();
        heir.protocol = heir.roster.favourite_protocol().map(ToOwned::to_owned);
        heir.subscribed = heir.subscribed_topics();
        heir.assert_sound();
        heir
    }

    /// Rebalances the group that was a consumer group until now, and records it (`GroupMetadataManager.convertToClassicGroup`).
    /// With `joining`, a member's JoinGroup waits for the generation that begins.
    ///
    /// The record names no leader. By that a coordinator that takes over before the generation has begun knows that somebody's
    /// partitions are yet to be given to others; Kafka's leaves them to nobody until the next rebalance.
    pub(crate) fn rebalance_as_heir(
        &mut self,
        joining: Option<(&MemberId, Ticket)>,
        now: MonotonicMillis,
        wall: WallMillis,
    ) -> Effects<Answer> {
        let mut out = Effects::default();
        let value = ClassicGroupValue { leader: None, ..self.to_value() };
        out.records.push(Record::ClassicGroup { group: self.group.clone(), value: Some(value) });
        if let Some((member, ticket)) = joining {
            self.roster.begin_join(member, ticket);
        }
        self.prepare_rebalance(Moment { now, wall }, &mut out);
        self.assert_sound();
        out
    }

    /// Records the group that was a consumer group until now, and tells the member by whose joining it is a classic group that
    /// it is in: it asks for its assignment, and assigns nothing.
    pub(crate) fn welcome_as_heir(&self, member: &MemberId, ticket: Ticket) -> Effects<Answer> {
        let answer = JoinAnswer { leader: MemberId::default(), members: Vec::new(), ..self.join_answer(member) };
        Effects { records: vec![self.record()], answers: vec![(ticket, Answer::Join(answer))] }
    }
}

impl Roster {
    fn inherit(&mut self, migrant: Migrant, now: MonotonicMillis) {
        let member = Member {
            instance: migrant.instance,
            client_id: migrant.client_id,
            client_host: migrant.client_host,
            rebalance_timeout_ms: migrant.rebalance_timeout_ms,
            session_timeout_ms: migrant.session_timeout_ms,
            protocols: migrant.protocols,
            assignment: migrant.assignment,
            ..Member::default()
        };
        self.add(migrant.member.clone(), member);
        self.keep_alive(&migrant.member, now);
    }

    /// A protocol that all members speak.
    fn common_protocol(&self) -> Option<&str> {
        let (_, first) = self.iter().next()?;
        let speak = |name: &&str| self.iter().all(|(_, member)| member.metadata(name).is_some());
        first.protocols.iter().map(|(name, _)| name.as_str()).find(speak)
    }
}
