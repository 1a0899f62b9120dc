//! Pure. A decision in the making: the records so far, and the group as it would be with them.

use super::state::State;
use super::topics::metadata_hash;
use super::{Surroundings, Topics};
use crate::ids::MemberId;
use crate::record::{ConsumerGroupValue, CurrentAssignmentValue, Record, TopicPartitions};
use std::borrow::Cow;
use std::ops::Deref;

/// A decision in the making. It reads as the state would be; the state itself is copied only if a record is drafted, which most
/// heartbeats do not do.
pub(super) struct Draft<'a> {
    state: Cow<'a, State>,
    records: Vec<Record>,
}

impl Deref for Draft<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl<'a> Draft<'a> {
    /// Nothing is decided yet.
    pub fn of(state: &'a State) -> Self {
        Self { state: Cow::Borrowed(state), records: Vec::new() }
    }

    /// Adds a record, and goes on as if it were applied.
    pub fn add(&mut self, record: Record) {
        self.state.to_mut().apply(&record);
        self.records.push(record);
    }

    /// The records, in order.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The records and one last, for which nothing has to be copied: most heartbeats that decide anything decide only this.
    pub fn into_records_with(mut self, member: &MemberId, current: CurrentAssignmentValue) -> Vec<Record> {
        let group = self.id().clone();
        self.records.push(Record::CurrentAssignment { group, member: member.clone(), value: Some(current) });
        self.records
    }

    /// Sets what the member has.
    pub fn set_current(&mut self, member: &MemberId, value: Option<CurrentAssignmentValue>) {
        self.add(Record::CurrentAssignment { group: self.id().clone(), member: member.clone(), value });
    }

    /// Sets what the member is to have.
    pub fn set_target(&mut self, member: &MemberId, value: Option<TopicPartitions>) {
        self.add(Record::TargetAssignment { group: self.id().clone(), member: member.clone(), value });
    }

    /// Takes a member out of the group: what it holds is free (`removeMember`).
    pub fn remove_member(&mut self, member: &MemberId) {
        self.set_current(member, None);
        self.set_target(member, None);
        self.add(Record::Member { group: self.id().clone(), member: member.clone(), value: None });
    }

    /// Forgets what regular expressions were resolved to that no member gives any more
    /// (`maybeDeleteResolvedRegularExpressions`).
    pub fn forget_regexes(&mut self) {
        let unused: Vec<_> = self.regexes().keys().filter(|regex| !self.is_regex_subscribed(regex)).cloned().collect();
        for regex in unused {
            self.add(Record::RegularExpression { group: self.id().clone(), regex, value: None });
        }
    }

    /// Raises the group's epoch if that is due, or if what is known of its topics is not what it was
    /// (`updateSubscriptionMetadata`).
    pub fn raise_epoch(&mut self, due: bool, topics: &dyn Topics) {
        let metadata_hash = metadata_hash(&self.known_topics(topics));
        if due || metadata_hash != self.metadata_hash() {
            let value = ConsumerGroupValue { epoch: self.group_epoch().next(), metadata_hash };
            self.add(Record::ConsumerGroup { group: self.id().clone(), value: Some(value) });
        }
    }

    /// Computes the target assignment, if the group's epoch is ahead of it.
    pub fn assign(&mut self, around: &Surroundings<'_>) {
        if self.group_epoch() <= self.target_epoch() {
            return;
        }
        for (member, target) in super::target::changes(self, around.topics, around.config) {
            self.set_target(&member, Some(target));
        }
        let epoch = self.group_epoch();
        self.add(Record::TargetEpoch { group: self.id().clone(), value: Some(epoch) });
    }
}
