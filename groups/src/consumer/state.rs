//! Pure. What is replicated of a consumer group: for each key, the value of its last record; and what follows from these.
//!
//! It is the same whichever records of a key came before the last, and in whichever order keys came, so that it can be rebuilt
//! from any compaction of its log.

use super::owners::{Owner, Owners};
use super::topics::{Topic, Topics};
use crate::ids::{GroupEpoch, GroupId, InstanceId, MemberEpoch, MemberId, TopicName};
use crate::record::{
    ConsumerGroupValue, CurrentAssignmentValue, MemberState, MemberValue, Record, RegularExpressionValue,
    TopicPartitions,
};
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// What is replicated of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    id: GroupId,
    group: Option<ConsumerGroupValue>,
    members: BTreeMap<MemberId, MemberValue>,
    regexes: BTreeMap<String, RegularExpressionValue>,
    target_epoch: Option<GroupEpoch>,
    targets: BTreeMap<MemberId, TopicPartitions>,
    currents: BTreeMap<MemberId, CurrentAssignmentValue>,
    /// From `currents`.
    owners: Owners,
    /// From `members`.
    instances: BTreeMap<InstanceId, MemberId>,
    /// How many members name a topic, and how many regular expressions were resolved to it: from `members` and `regexes`.
    subscriptions: BTreeMap<TopicName, usize>,
    /// How many members gave a regular expression: from `members`.
    regex_members: BTreeMap<String, usize>,
}

/// One more of that, or one less; what is left of nothing is forgotten.
fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K, more: bool) {
    let count = counts.entry(key.clone()).or_default();
    if more {
        *count += 1;
    } else {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Puts a value under a key, or takes it away; what was there.
fn set<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    }
}

impl State {
    /// Nothing is recorded yet.
    pub(super) fn new(id: GroupId) -> Self {
        Self {
            id,
            group: None,
            members: BTreeMap::new(),
            regexes: BTreeMap::new(),
            target_epoch: None,
            targets: BTreeMap::new(),
            currents: BTreeMap::new(),
            owners: Owners::default(),
            instances: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            regex_members: BTreeMap::new(),
        }
    }

    /// Takes a record. A value that deletes what is not there changes nothing (KAFKA-17306).
    ///
    /// # Panics
    /// When the record is another group's.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::ConsumerGroup { group, value } => {
                self.assert_own(group);
                self.group.clone_from(value);
            }
            Record::TargetEpoch { group, value } => {
                self.assert_own(group);
                self.target_epoch = *value;
            }
            Record::TargetAssignment { group, member, value } => {
                self.assert_own(group);
                set(&mut self.targets, member, value.as_ref());
            }
            Record::CurrentAssignment { group, member, value } => {
                self.assert_own(group);
                let before = set(&mut self.currents, member, value.as_ref());
                self.owners.replace(member, before.as_ref(), value.as_ref());
            }
            Record::Member { group, member, value } => {
                self.assert_own(group);
                let before = set(&mut self.members, member, value.as_ref());
                self.follow_member(member, before.as_ref(), false);
                self.follow_member(member, value.as_ref(), true);
            }
            Record::RegularExpression { group, regex, value } => {
                self.assert_own(group);
                let before = set(&mut self.regexes, regex, value.as_ref());
                for (value, more) in [(before.as_ref(), false), (value.as_ref(), true)] {
                    for topic in value.into_iter().flat_map(|value| &value.topics) {
                        count(&mut self.subscriptions, topic, more);
                    }
                }
            }
            // What Kafka before 4.1 remembered of topics is looked up anew; the others are not a consumer group's.
            Record::PartitionMetadata { group } | Record::ClassicGroup { group, .. } | Record::Offset { group, .. } => {
                self.assert_own(group);
            }
        }
    }

    fn assert_own(&self, group: &GroupId) {
        assert!(*group == self.id, "a record of group {group} came to group {}", self.id);
    }

    /// Keeps what follows from the members in step.
    fn follow_member(&mut self, member: &MemberId, value: Option<&MemberValue>, comes: bool) {
        let Some(value) = value else { return };
        for topic in &value.topics {
            count(&mut self.subscriptions, topic, comes);
        }
        if let Some(regex) = &value.regex {
            count(&mut self.regex_members, regex, comes);
        }
        if let Some(instance) = &value.instance {
            if comes {
                self.instances.insert(instance.clone(), member.clone());
            } else if self.instances.get(instance) == Some(member) {
                self.instances.remove(instance);
            }
        }
    }

    /// Which group it is.
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// Whether nothing is recorded.
    pub fn is_absent(&self) -> bool {
        self.group.is_none()
            && self.target_epoch.is_none()
            && self.members.is_empty()
            && self.regexes.is_empty()
            && self.targets.is_empty()
            && self.currents.is_empty()
    }

    /// The group's epoch: zero before the first member.
    pub fn group_epoch(&self) -> GroupEpoch {
        self.group.as_ref().map_or(GroupEpoch(0), |group| group.epoch)
    }

    /// The hash of what was known of its topics when its epoch last rose.
    pub fn metadata_hash(&self) -> i64 {
        self.group.as_ref().map_or(0, |group| group.metadata_hash)
    }

    /// The epoch of the target assignment: zero before the first.
    pub fn target_epoch(&self) -> GroupEpoch {
        self.target_epoch.unwrap_or(GroupEpoch(0))
    }

    /// The members.
    pub fn members(&self) -> &BTreeMap<MemberId, MemberValue> {
        &self.members
    }

    /// The member that has this instance id.
    pub fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.instances.get(instance)
    }

    /// What each member is to have.
    pub fn targets(&self) -> &BTreeMap<MemberId, TopicPartitions> {
        &self.targets
    }

    /// What each member has.
    pub fn currents(&self) -> &BTreeMap<MemberId, CurrentAssignmentValue> {
        &self.currents
    }

    /// What a member has; of one that is new, nothing.
    pub(super) fn current(&self, member: &MemberId) -> CurrentAssignmentValue {
        self.currents.get(member).cloned().unwrap_or_else(|| CurrentAssignmentValue {
            member_epoch: MemberEpoch::JOIN,
            previous_member_epoch: MemberEpoch::JOIN,
            state: MemberState::Stable,
            assigned: TopicPartitions::new(),
            pending_revocation: TopicPartitions::new(),
        })
    }

    /// A member's epoch.
    pub fn member_epoch(&self, member: &MemberId) -> MemberEpoch {
        self.currents.get(member).map_or(MemberEpoch::JOIN, |current| current.member_epoch)
    }

    /// Who holds a partition, whether to keep it or to give it back.
    pub fn owner(&self, topic: TopicId, partition: PartitionIndex) -> Option<&Owner> {
        self.owners.of(topic, partition)
    }

    /// Whether the member is to give partitions back.
    pub(super) fn is_revoking(&self, member: &MemberId) -> bool {
        self.currents.get(member).is_some_and(|current| {
            current.state == MemberState::UnrevokedPartitions && current.member_epoch != MemberEpoch::LEAVE_STATIC
        })
    }

    /// Whether the member has all that it is to have (`isReconciledTo`).
    pub(super) fn is_reconciled(&self, member: &MemberId) -> bool {
        self.currents.get(member).is_some_and(|current| {
            current.state == MemberState::Stable && current.member_epoch == MemberEpoch::from(self.target_epoch())
        })
    }

    /// The regular expressions that were resolved.
    pub fn regexes(&self) -> &BTreeMap<String, RegularExpressionValue> {
        &self.regexes
    }

    /// The regular expressions that members gave, resolved or not.
    pub(super) fn subscribed_regexes(&self) -> impl Iterator<Item = &String> {
        self.regex_members.keys()
    }

    /// Whether any member gave this regular expression.
    pub(super) fn is_regex_subscribed(&self, regex: &str) -> bool {
        self.regex_members.contains_key(regex)
    }

    /// The topics that the group reads, by name or because a regular expression was resolved to them; whether they exist or
    /// not. Their offsets do not expire and may not be deleted (`isSubscribedToTopic`).
    pub fn subscribed_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.subscriptions.keys()
    }

    /// Whether the group reads the topic.
    pub fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        self.subscriptions.contains_key(topic)
    }

    /// The topics that a member asks for, of those that are known. A regular expression that was not resolved asks for none.
    pub(super) fn asked(&self, member: &MemberValue, known: &BTreeMap<TopicName, Topic>) -> BTreeSet<TopicId> {
        let resolved = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        member.topics.iter().chain(by_regex).filter_map(|name| Some(known.get(name)?.id)).collect()
    }

    /// What is known of the topics that the group reads.
    pub(super) fn known_topics(&self, topics: &dyn Topics) -> BTreeMap<TopicName, Topic> {
        super::topics::known(topics, self.subscribed_topics())
    }
}
