//! Pure. What a consumer group whose members all speak the classic protocol leaves to the classic group that it becomes.

use super::ConsumerGroup;
use super::topics::Topics;
use crate::embedded;
use crate::ids::{Generation, MemberId};
use crate::migration::Migrant;
use crate::record::{ClassicMember, MemberValue, TopicPartitions};
use std::collections::BTreeSet;

impl ConsumerGroup {
    /// Whether all members speak the classic protocol, but for these, who go; somebody must be left
    /// (`ConsumerGroup.allMembersUseClassicProtocolExcept`).
    pub(crate) fn is_classic_without(&self, going: &BTreeSet<MemberId>) -> bool {
        let mut staying = self.state().members().iter().filter(|(member, _)| !going.contains(*member)).peekable();
        staying.peek().is_some() && staying.all(|(_, value)| value.classic.is_some())
    }

    /// Whether everybody has what it is to have, and nobody is to have anything else, but for these.
    pub(crate) fn is_settled_without(&self, going: &BTreeSet<MemberId>) -> bool {
        let state = self.state();
        let mut staying = state.members().keys().filter(|member| !going.contains(*member));
        state.group_epoch() == state.target_epoch() && staying.all(|member| state.is_reconciled(member))
    }

    /// The generation of the classic group that it becomes.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.state().group_epoch().0)
    }

    /// What the members are to a classic group, without these, who go: each has what it is to have. Nothing where they could not
    /// be told so (`ClassicGroup.fromConsumerGroup`).
    pub(crate) fn migrants(&self, going: &BTreeSet<MemberId>, topics: &dyn Topics) -> Option<Vec<Migrant>> {
        let staying = self.state().members().iter().filter(|(member, _)| !going.contains(*member));
        staying.map(|(member, value)| self.migrant(member, value, topics)).collect()
    }

    fn migrant(&self, member: &MemberId, value: &MemberValue, topics: &dyn Topics) -> Option<Migrant> {
        let ClassicMember { session_timeout_ms, protocols } = value.classic.clone()?;
        Some(Migrant {
            member: member.clone(),
            instance: value.instance.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms,
            assignment: self.target_for(member, &protocols.first()?.1, topics)?,
            protocols,
        })
    }

    /// What a member is to have, for one that says this of itself.
    pub(crate) fn target_for(&self, member: &MemberId, said: &[u8], topics: &dyn Topics) -> Option<bytes::Bytes> {
        let nothing = TopicPartitions::new();
        let target = self.state().targets().get(member).unwrap_or(&nothing);
        Some(embedded::assign(target, embedded::version(said).ok()?, topics))
    }
}
