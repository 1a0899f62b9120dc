//! Where a group is to go on: what that comes to for each partition, and putting it there.
//!
//! What is asked for is brought into the log where it lies outside, and that is told (`GroupOffsetsResetter`).

use super::{ConsumerGroups, Scope, TopicScope};
use client::{ClientError, OffsetAndMetadata, PartitionName, admin::GroupState, consumer::group::committing::Offsets};
use protocol::{
    error_code::ErrorCode,
    ids::{Offset, PartitionIndex, WallMillis},
};
use std::collections::{BTreeMap, BTreeSet};

/// Where a group is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// At the first record that is left.
    Earliest,
    /// Behind the last record.
    Latest,
    /// At this offset of each partition.
    Offset(Offset),
    /// So many offsets further on, or back.
    Shift(i64),
    /// At the first record of this time or later.
    Time(WallMillis),
    /// Where it is: offsets that are old are kept for longer, and partitions without one get the end of their log.
    Current,
    /// At the offset that a plan names for each partition.
    Plan(BTreeMap<PartitionName, Offset>),
}

/// What a reset comes to for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Which partition.
    pub partition: PartitionName,
    /// What is committed.
    pub current: Option<Offset>,
    /// What is to be committed.
    pub to: Offset,
    /// Why that is not what was asked for.
    pub correction: Option<Correction>,
}

/// Why an offset is another one than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// It lies beyond the end of the log.
    AboveEnd {
        /// What was asked for.
        asked: Offset,
    },
    /// It lies before the log's first record.
    BelowStart {
        /// What was asked for.
        asked: Offset,
    },
    /// No record is that late: behind the last one.
    NothingSoLate,
    /// The group has committed nothing of it: behind the last record.
    NothingCommitted,
}

/// Why a group stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// Somebody is in the group, and commits where it is.
    #[error(
        "group {group} is {state}: stop its members first, or wait until their sessions end; offsets are changed only while a \
         group has none (gregor group describe {group} --members)"
    )]
    HasMembers {
        /// The group.
        group: String,
        /// What it is doing.
        state: GroupState,
    },
    /// There is no such topic.
    #[error("there is no topic {0}")]
    NoTopic(String),
    /// There are no such partitions.
    #[error("there is no partition {}", names(.0))]
    NoPartitions(Vec<PartitionName>),
    /// Nobody can say where these partitions begin and end.
    #[error("nobody leads {}: try again when somebody does", names(.0))]
    NoLeaders(Vec<PartitionName>),
    /// The group has committed nothing at all.
    #[error("group {0} has committed nothing: name topics with --topic")]
    NothingCommitted(String),
    /// There is no offset to go on from.
    #[error("{0}: the group has committed nothing of it that could be shifted; name an offset with --to-offset")]
    NotShiftable(PartitionName),
    /// The coordinator refuses.
    #[error("{partition}: {error}")]
    Refused {
        /// About which partition.
        partition: PartitionName,
        /// Why.
        error: ClientError,
    },
    /// Somebody does not answer, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn names(partitions: &[PartitionName]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The offset that is asked for, or the nearest one in the log.
fn within(asked: Offset, start: Offset, end: Offset) -> (Offset, Option<Correction>) {
    match asked {
        asked if asked > end => (end, Some(Correction::AboveEnd { asked })),
        asked if asked < start => (start, Some(Correction::BelowStart { asked })),
        asked => (asked, None),
    }
}

/// Reads a plan: `TOPIC,PARTITION,OFFSET` a line, or with the group before that, as Kafka's tool exports it. Lines of other
/// groups are left out.
///
/// # Errors
/// The line that is none, in words.
pub fn parse_plan(text: &str, group: &str) -> Result<BTreeMap<PartitionName, Offset>, String> {
    let unquoted = |field: &str| match field.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => field.trim().to_owned(),
    };
    let mut plan = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {}: '{line}' is not TOPIC,PARTITION,OFFSET", number + 1);
        // A topic has no comma in its name, a group may.
        let fields: Vec<&str> = line.rsplitn(4, ',').collect();
        let &[offset, partition, topic, ..] = fields.as_slice() else { return Err(wrong()) };
        let offset: i64 = unquoted(offset).parse().map_err(|_| wrong())?;
        let partition: i32 = unquoted(partition).parse().map_err(|_| wrong())?;
        if fields.get(3).is_none_or(|named| unquoted(named) == group) {
            plan.insert(PartitionName::new(&unquoted(topic), PartitionIndex(partition)), Offset(offset));
        }
    }
    Ok(plan)
}

impl ConsumerGroups {
    /// Makes sure that nobody is in a group. A group that is not there is as one that is empty.
    ///
    /// # Errors
    /// [`ResetError::HasMembers`], and when the coordinator does not answer.
    pub async fn check_empty(&self, group: &str) -> Result<(), ResetError> {
        let mut described = self.admin.describe_groups(&BTreeSet::from([group.to_owned()])).await;
        match described.remove(group) {
            Some(Ok(described)) if !described.state.has_no_members() => {
                Err(ResetError::HasMembers { group: group.to_owned(), state: described.state })
            }
            Some(Err(error)) if error.code() != Some(ErrorCode::GroupIdNotFound) => Err(error.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// What a reset comes to, a partition at a time, in order. Nothing is changed.
    ///
    /// # Errors
    /// [`ResetError`].
    pub async fn plan(&self, group: &str, scope: &Scope, goal: &Goal) -> Result<Vec<Reset>, ResetError> {
        let mut committed = self.admin.group_offsets(&BTreeSet::from([group.to_owned()])).await;
        let committed = committed.remove(group).transpose()?.unwrap_or_default();
        let partitions = self.meant(group, scope, goal, &committed).await?;
        let listed: Vec<PartitionName> = partitions.iter().cloned().collect();
        let starts = self.consumer.beginning_offsets(&listed, self.timeout).await?;
        let ends = self.consumer.end_offsets(&listed, self.timeout).await?;
        let late = match goal {
            Goal::Time(at) => {
                let wanted = listed.iter().map(|partition| (partition.clone(), *at)).collect();
                self.consumer.offsets_for_times(wanted, self.timeout).await?
            }
            _ => BTreeMap::new(),
        };
        let mut resets = Vec::new();
        for partition in listed {
            let (Some(start), Some(end)) = (starts.get(&partition), ends.get(&partition)) else {
                return Err(ResetError::NoLeaders(vec![partition]));
            };
            let current = committed.get(&partition).map(|committed| committed.offset);
            let (to, correction) = match goal {
                Goal::Earliest => (*start, None),
                Goal::Latest => (*end, None),
                Goal::Offset(asked) => within(*asked, *start, *end),
                Goal::Shift(by) => {
                    let from = current.ok_or_else(|| ResetError::NotShiftable(partition.clone()))?;
                    within(Offset(from.0.saturating_add(*by)), *start, *end)
                }
                Goal::Time(_) => match late.get(&partition).copied().flatten() {
                    Some(found) => (found.offset, None),
                    None => (*end, Some(Correction::NothingSoLate)),
                },
                Goal::Current => match current {
                    Some(current) => (current, None),
                    None => (*end, Some(Correction::NothingCommitted)),
                },
                Goal::Plan(plan) => within(plan[&partition], *start, *end),
            };
            resets.push(Reset { partition, current, to, correction });
        }
        Ok(resets)
    }

    /// The partitions that are meant: each is there, and somebody leads it.
    async fn meant(
        &self,
        group: &str,
        scope: &Scope,
        goal: &Goal,
        committed: &Offsets,
    ) -> Result<BTreeSet<PartitionName>, ResetError> {
        let named: BTreeSet<PartitionName> = match (scope, goal) {
            (Scope::Committed, _) => committed.keys().cloned().collect(),
            (_, Goal::Plan(plan)) => plan.keys().cloned().collect(),
            (Scope::Topics(_) | Scope::Plan, _) => BTreeSet::new(),
        };
        if matches!(scope, Scope::Committed) && named.is_empty() {
            return Err(ResetError::NothingCommitted(group.to_owned()));
        }
        let topics: &[TopicScope] = if let Scope::Topics(topics) = scope { topics } else { &[] };
        let of_names = named.iter().map(|partition| &*partition.topic);
        let there = self.partitions_of(of_names.chain(topics.iter().map(|topic| &*topic.topic)).collect()).await?;
        let mut meant = named;
        for topic in topics {
            if !there.keys().any(|partition| *partition.topic == *topic.topic) {
                return Err(ResetError::NoTopic(topic.topic.clone()));
            }
            meant.extend(topic.of(there.keys()));
        }
        let which = |wrong: &dyn Fn(&PartitionName) -> bool| -> Vec<PartitionName> {
            meant.iter().filter(|partition| wrong(partition)).cloned().collect()
        };
        let absent = which(&|partition| !there.contains_key(partition));
        if !absent.is_empty() {
            return Err(ResetError::NoPartitions(absent));
        }
        let leaderless = which(&|partition| !there[partition]);
        if !leaderless.is_empty() {
            return Err(ResetError::NoLeaders(leaderless));
        }
        Ok(meant)
    }

    /// Puts a group where a plan says.
    ///
    /// # Errors
    /// [`ResetError::HasMembers`] where somebody has joined meanwhile; the first refusal; and when the coordinator does not answer.
    pub async fn carry_out(&self, group: &str, plan: &[Reset]) -> Result<(), ResetError> {
        let committed = |to: Offset| OffsetAndMetadata { offset: to, leader_epoch: None, metadata: String::new() };
        let offsets: Offsets = plan.iter().map(|reset| (reset.partition.clone(), committed(reset.to))).collect();
        for (partition, outcome) in self.admin.alter_group_offsets(group, &offsets).await? {
            let Err(error) = outcome else { continue };
            if error.code() == Some(ErrorCode::UnknownMemberId) {
                self.check_empty(group).await?;
            }
            return Err(ResetError::Refused { partition, error });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_the_log_is_brought_into_it() {
        let (start, end) = (Offset(5), Offset(9));
        assert_eq!(within(Offset(7), start, end), (Offset(7), None));
        assert_eq!(within(end, start, end), (end, None));
        assert_eq!(within(Offset(10), start, end), (end, Some(Correction::AboveEnd { asked: Offset(10) })));
        assert_eq!(within(Offset(-3), start, end), (start, Some(Correction::BelowStart { asked: Offset(-3) })));
    }

    #[test]
    fn a_plan_is_read_with_and_without_groups() {
        let plan = |text: &str| {
            parse_plan(text, "a,b")
                .map(|plan| plan.iter().map(|(partition, offset)| format!("{partition}@{offset}")).collect::<Vec<_>>())
        };
        assert_eq!(plan("orders,0,7\n\"orders\",1,9\n\n"), Ok(vec!["orders-0@7".into(), "orders-1@9".into()]));
        assert_eq!(plan("\"a,b\",orders,0,7\nother,orders,1,9"), Ok(vec!["orders-0@7".into()]));
        for wrong in ["orders", "orders,0", "orders,x,1", "orders,0,many"] {
            assert!(plan(wrong).is_err_and(|said| said.contains("line 1")), "{wrong}");
        }
    }
}
